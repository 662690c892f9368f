//! What is left of patches that were reverted: when it may be used again, and when it is free.
//!
//! Nothing enters a patch that is not applied. Threads may still be in it, return to it, or be on their way to it; a
//! stop shows which. What no thread is in may be used again for the same patch, which puts the same bytes there. To be
//! free for any other, nothing in the process may hold an address of it either:
//!
//! - A patch whose code takes no address of its own code, constants and variables has given none away. All that can
//!   point to it are return addresses, also those on stacks that no thread uses at the moment, as of coroutines. They
//!   stay where they are for as long as they are of use, so that all memory can be searched for them after the stop,
//!   while the process runs.
//! - Of a patch that takes such addresses, nobody but the program's author knows who keeps them. It stays, unless the
//!   caller promises that they are kept nowhere ([`Exposed::Free`]); memory is searched even then.
//! - A patch whose constructors ran, or that has thread-local variables, stays: they leave addresses with the C library.
//!
//! Searching memory takes time, though none of the process's, so it is done for several patches at a time.

use std::ops::Range;

use crate::arena::Arena;
use crate::procfs::{Mapping, Procfs, word};
use crate::registry::{PatchRecord, Registry};
use crate::stopped::Stopped;
use crate::threads::StoppedThread;

/// What becomes of the memory of reverted patches whose addresses the program may have stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Exposed {
    /// It stays.
    #[default]
    Keep,
    /// It is freed like that of others: the caller promises that the program keeps no address of such a patch.
    Free,
}

/// Reverted patches that memory is searched for at a time, or how many bytes of them.
const BATCH: usize = 16;
const BATCH_BYTES: u64 = 64 << 10;
/// The most memory of a process that is searched.
const SEARCHED_BYTES: u64 = 16 << 30;

/// Patches and pads that a stop may show to be unused.
pub(crate) struct Retired {
    exposed: Exposed,
    patches: Vec<Candidate>,
    slots: Vec<(u64, Range<u64>)>,
}

struct Candidate {
    id: u64,
    ranges: Vec<Range<u64>>,
}

impl Retired {
    /// `registry` is what will be in force when the threads go on.
    pub(crate) fn of(arena: &Arena, registry: &Registry, exposed: Exposed) -> Self {
        // What was shown to be unused and will not be freed needs no further look.
        let of_interest = |patch: &&PatchRecord| !patch.quiet || patch.may_be_freed(exposed);
        let retired = registry.patches.iter().filter(|patch| patch.is_retired());
        let patches = retired.filter(of_interest).map(|patch| Candidate {
            id: patch.id,
            ranges: places(arena, patch),
        });
        let slots = registry
            .slots
            .iter()
            .filter(|slot| slot.used_pads != slot.stacked_pads());
        Retired {
            exposed,
            patches: patches.collect(),
            slots: slots.map(|slot| (slot.slot, arena.passage(slot.slot))).collect(),
        }
    }

    /// Where the scan of the threads has to look.
    pub(crate) fn ranges(&self) -> Vec<Range<u64>> {
        let patches = self
            .patches
            .iter()
            .flat_map(|candidate| candidate.ranges.iter().cloned());
        patches
            .chain(self.slots.iter().map(|(_, range)| range.clone()))
            .collect()
    }

    /// After the stop: takes what no thread was in, and what nothing else has an address of, from the records. What was
    /// found is in the order of the ranges.
    pub(crate) fn settle(&self, procfs: &Procfs, registry: &mut Registry, stopped: &Stopped) {
        let occupied = &stopped.findings.occupied;
        let mut unused = Vec::new();
        for (candidate, _) in self.with(occupied).filter(|(_, occupied)| !occupied) {
            if let Some(patch) = registry.patches.iter_mut().find(|patch| patch.id == candidate.id) {
                patch.quiet = !patch.stays;
                unused.extend(patch.may_be_freed(self.exposed).then(|| patch.clone()));
            }
        }
        let first = self
            .patches
            .iter()
            .map(|candidate| candidate.ranges.len())
            .sum::<usize>();
        let of_slots = occupied.get(first..).unwrap_or_default();
        for ((slot, _), _) in self.slots.iter().zip(of_slots).filter(|(_, occupied)| !**occupied) {
            if let Some(record) = registry.slots.iter_mut().find(|record| record.slot == *slot) {
                record.used_pads = record.stacked_pads();
            }
        }
        if unused.len() >= BATCH || unused.iter().map(PatchRecord::bytes).sum::<u64>() >= BATCH_BYTES {
            let found = Search::new(procfs, registry, stopped).find(&unused);
            let mut found = found.iter();
            unused.retain(|_| found.next() == Some(&false));
            registry
                .patches
                .retain(|patch| unused.iter().all(|free| free.id != patch.id));
        }
    }

    /// The patches, each with whether a thread is in it.
    fn with<'o>(&'o self, occupied: &'o [bool]) -> impl Iterator<Item = (&'o Candidate, bool)> {
        let mut rest = occupied;
        self.patches.iter().map(move |candidate| {
            let (own, others) = rest.split_at(candidate.ranges.len().min(rest.len()));
            rest = others;
            (candidate, own.is_empty() || own.iter().any(|occupied| *occupied))
        })
    }

    /// The names of patches that threads are still in.
    pub(crate) fn occupied(&self, registry: &Registry, occupied: &[bool]) -> Vec<String> {
        let still = self.with(occupied).filter(|(_, occupied)| *occupied);
        let mut names: Vec<String> = still
            .filter_map(|(candidate, _)| registry.patch(candidate.id))
            .map(|patch| patch.name.clone())
            .collect();
        names.sort();
        names.dedup();
        names
    }
}

impl PatchRecord {
    fn is_retired(&self) -> bool {
        // The one without a name is restub's own.
        !self.live && !self.hash.is_empty()
    }

    fn may_be_freed(&self, exposed: Exposed) -> bool {
        self.is_retired() && !self.stays && (!self.exposed || exposed == Exposed::Free)
    }
}

/// Where threads can be that are in a patch, or on their way to it.
fn places(arena: &Arena, patch: &PatchRecord) -> Vec<Range<u64>> {
    let slots = patch.functions.iter().map(|function| arena.passage(function.slot));
    let gate = patch.gate.0..patch.gate.0 + patch.gate.1;
    [patch.code(), gate]
        .into_iter()
        .filter(|range| !range.is_empty())
        .chain(slots)
        .collect()
}

/// A search of the process's memory, while it runs, for addresses of patches.
struct Search<'s> {
    procfs: &'s Procfs,
    /// What is not searched: restub's own memory, and stacks of threads, whose parts in use the stop has shown.
    passed_over: Vec<Range<u64>>,
    /// Data of patches that are applied.
    own: Vec<Range<u64>>,
    maps: Vec<Mapping>,
}

impl<'s> Search<'s> {
    fn new(procfs: &'s Procfs, registry: &Registry, stopped: &Stopped) -> Self {
        let maps = procfs.maps().unwrap_or_default();
        let arenas = registry.arenas.iter().map(Arena::range);
        let stacks = stopped.threads.iter().filter_map(|thread| own_stack(&maps, thread));
        let main = maps.iter().filter(|mapping| mapping.path.as_os_str() == "[stack]");
        let main = main.map(|mapping| mapping.start..mapping.end);
        let data = |patch: &PatchRecord| [patch.segments[2], patch.segments[3]];
        let own = registry.live().flat_map(data).filter(|(_, bytes)| *bytes > 0);
        Search {
            procfs,
            passed_over: arenas.chain(stacks).chain(main).collect(),
            own: own.map(|(start, bytes)| start..start + bytes).collect(),
            maps,
        }
    }

    /// For each patch, whether some word lies in its memory.
    fn find(&self, patches: &[PatchRecord]) -> Vec<bool> {
        let mut found = vec![false; patches.len()];
        let of = |(index, patch): (usize, &PatchRecord)| patch.ranges().map(|range| (range, index)).collect::<Vec<_>>();
        let mut ranges: Vec<(Range<u64>, usize)> = patches.iter().enumerate().flat_map(of).collect();
        ranges.sort_by_key(|(range, _)| range.start);
        let low = ranges.first().map_or(0, |(range, _)| range.start);
        let high = ranges.last().map_or(0, |(range, _)| range.end);
        let mut look = |bytes: &[u8]| {
            for value in bytes.chunks_exact(8).map(word) {
                if value.wrapping_sub(low) >= high - low {
                    continue;
                }
                let at = ranges.partition_point(|(range, _)| range.end <= value);
                let hit = ranges.get(at).filter(|(range, _)| range.contains(&value));
                if let Some((_, index)) = hit {
                    found[*index] = true;
                }
            }
        };
        let passed_over = |mapping: &Mapping| self.passed_over.iter().any(|range| range.contains(&mapping.start));
        let others = self
            .maps
            .iter()
            .filter(|mapping| mapping.is_writable() && !passed_over(mapping));
        let all = others
            .map(|mapping| mapping.start..mapping.end)
            .chain(self.own.iter().cloned());
        let mut left = SEARCHED_BYTES;
        for range in all {
            if !self.procfs.each_page_in_use(&range, &mut left, &mut look) {
                // What was not looked at may hold anything.
                return vec![true; patches.len()];
            }
        }
        found
    }
}

/// The stack that a thread was given, if it uses that: its control block lies above it on the same mapping, and below is
/// one that nobody may touch. What is below the stack pointer is left from calls that have returned.
fn own_stack(maps: &[Mapping], thread: &StoppedThread) -> Option<Range<u64>> {
    let at = maps.iter().position(|mapping| mapping.contains(thread.registers.rsp))?;
    let (stack, below) = (&maps[at], maps.get(at.checked_sub(1)?)?);
    let guarded = below.end == stack.start && below.permissions.starts_with(b"---");
    (guarded && stack.contains(thread.registers.fs_base)).then_some(stack.start..stack.end)
}
