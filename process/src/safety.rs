//! Whether the threads of a stopped process let code change: where each of them is, and where it will return to.

use std::ops::Range;

use crate::inject::resumption;
use crate::procfs::{Mapping, Procfs};
use crate::ptrace::Registers;
use crate::threads::StoppedThread;

/// The ABI's red zone: bytes below the stack pointer that may be in use (psABI section 3.2.2).
const RED_ZONE_BYTES: u64 = 128;
/// How much of a stack is looked at, from the stack pointer on.
const STACK_BYTES: u64 = 64 << 20;
const CHUNK_BYTES: usize = 64 * 1024;

/// Places where no thread may be, and to which none may return.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    /// Sorted, and apart from one another.
    ranges: Vec<(Range<u64>, String)>,
    /// Displaced instructions: a thread at one of them is moved to where it went.
    moves: Vec<(u64, Option<u64>)>,
}

/// What was found.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    /// Which of the observed ranges some thread is in, or may return to.
    pub(crate) occupied: Vec<bool>,
    /// Who is in the way, in words.
    pub(crate) blockers: Vec<String>,
    /// Threads to be moved to displaced instructions: their registers afterwards.
    pub(crate) moved: Vec<(i32, Registers)>,
}

/// Buffers and mappings, made before threads are stopped.
#[derive(Debug)]
pub(crate) struct Scanner {
    maps: Vec<Mapping>,
    chunk: Vec<u8>,
}

impl Watch {
    /// Adds a range whose first address is harmless: whoever is there has not begun yet.
    pub(crate) fn add(&mut self, range: Range<u64>, what: impl Into<String>) {
        if range.start + 1 < range.end {
            self.ranges.push((range.start + 1..range.end, what.into()));
        }
    }

    /// Adds a range with its first address.
    pub(crate) fn add_all(&mut self, range: Range<u64>, what: impl Into<String>) {
        if !range.is_empty() {
            self.ranges.push((range, what.into()));
        }
    }

    pub(crate) fn add_moves(&mut self, moves: &[(u64, Option<u64>)]) {
        self.moves.extend(moves);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// Puts the ranges in order; has to come before the first look.
    pub(crate) fn finish(&mut self) {
        self.ranges.sort_by_key(|(range, _)| range.start);
        let mut apart: Vec<(Range<u64>, String)> = Vec::with_capacity(self.ranges.len());
        for (range, what) in self.ranges.drain(..) {
            match apart.last_mut() {
                Some((last, _)) if range.start < last.end => last.end = last.end.max(range.end),
                _ => apart.push((range, what)),
            }
        }
        self.ranges = apart;
    }

    fn find(&self, address: u64) -> Option<(&Range<u64>, &str)> {
        let at = self.ranges.partition_point(|(range, _)| range.end <= address);
        let (range, what) = self.ranges.get(at)?;
        range.contains(&address).then_some((range, what))
    }
}

/// What one look is for.
struct Look<'w> {
    watch: &'w Watch,
    observed: &'w [Range<u64>],
    /// All that matters lies in here.
    bounds: Range<u64>,
}

impl Look<'_> {
    fn observe(&self, address: u64, findings: &mut Findings) {
        for (range, occupied) in self.observed.iter().zip(&mut findings.occupied) {
            *occupied |= range.contains(&address);
        }
    }
}

fn bounds(watch: &Watch, observed: &[Range<u64>]) -> Range<u64> {
    let all = || watch.ranges.iter().map(|(range, _)| range).chain(observed);
    let start = all().map(|range| range.start).min().unwrap_or(0);
    start..all().map(|range| range.end).max().unwrap_or(0)
}

impl Scanner {
    pub(crate) fn new(maps: Vec<Mapping>) -> Self {
        Scanner {
            maps,
            chunk: vec![0; CHUNK_BYTES],
        }
    }

    /// Looks at every thread: who is in the way, and which of the observed ranges are occupied.
    pub(crate) fn look(
        &mut self,
        procfs: &Procfs,
        threads: &[StoppedThread],
        watch: &Watch,
        observed: &[Range<u64>],
        findings: &mut Findings,
    ) {
        findings.blockers.clear();
        findings.moved.clear();
        findings.occupied.clear();
        findings.occupied.resize(observed.len(), false);
        if watch.is_empty() && observed.is_empty() {
            return;
        }
        let look = Look {
            bounds: bounds(watch, observed),
            watch,
            observed,
        };
        for thread in threads {
            self.look_at(procfs, thread, &look, findings);
        }
    }

    fn look_at(&mut self, procfs: &Procfs, thread: &StoppedThread, look: &Look<'_>, findings: &mut Findings) {
        let watch = look.watch;
        let registers = &thread.registers;
        let (pc, _) = resumption(registers);
        look.observe(pc, findings);
        if let Some((_, what)) = watch.find(pc) {
            match watch.moves.iter().find(|(old, _)| *old == pc) {
                Some((_, Some(new))) => {
                    // The kernel takes the instruction's length off again if it restarts a system call.
                    let rip = new + (registers.rip - pc);
                    findings.moved.push((thread.tid, Registers { rip, ..*registers }));
                }
                _ => findings.blockers.push(format!(
                    "thread {} ({}) is in {what} at {pc:#x}",
                    thread.tid,
                    procfs.thread_name(thread.tid)
                )),
            }
        }
        for range in self.stacks(thread) {
            if let Some((at, address)) = self.search(procfs, range, look, findings) {
                let what = watch.find(address).map_or("", |(_, what)| what);
                findings.blockers.push(format!(
                    "thread {} ({}) may return into {what} at {address:#x} (word on its stack at {at:#x})",
                    thread.tid,
                    procfs.thread_name(thread.tid)
                ));
                return;
            }
        }
    }

    /// The stack that a thread uses; and while it uses another one for signals, the one that its thread control block
    /// lies above.
    fn stacks(&self, thread: &StoppedThread) -> Vec<Range<u64>> {
        let start = thread.registers.rsp.saturating_sub(RED_ZONE_BYTES) & !7;
        let of = |address: u64| self.maps.iter().find(|mapping| mapping.contains(address));
        let current = of(thread.registers.rsp);
        let end = current.map_or(start.saturating_add(STACK_BYTES), |mapping| mapping.end);
        let mut stacks = Vec::with_capacity(3);
        stacks.push(start..end.min(start.saturating_add(STACK_BYTES)));
        let main = self.maps.iter().find(|mapping| mapping.path.as_os_str() == "[stack]");
        let own = of(thread.registers.fs_base).filter(|mapping| mapping.is_writable() && mapping.inode == 0);
        // The main thread's control block is not on a stack.
        let is_main = main.is_some_and(|main| main.contains(thread.registers.rsp));
        if let (Some(own), Some(current)) = (own, current)
            && !is_main
            && own.start != current.start
        {
            let start = own.start.max(thread.registers.fs_base.saturating_sub(STACK_BYTES));
            stacks.push(start & !7..thread.registers.fs_base & !7);
            stacks.extend(main.map(|main| main.start..main.end));
        }
        stacks
    }

    /// The first word in a range of memory that lies in a watched range, with where it is.
    fn search(
        &mut self,
        procfs: &Procfs,
        range: Range<u64>,
        look: &Look<'_>,
        findings: &mut Findings,
    ) -> Option<(u64, u64)> {
        let bounds = &look.bounds;
        let span = bounds.end - bounds.start;
        let mut at = range.start;
        while at < range.end {
            let wanted = CHUNK_BYTES.min(usize::try_from(range.end - at).unwrap_or(CHUNK_BYTES));
            let read = procfs.read_some(at, &mut self.chunk[..wanted]);
            for (index, word) in self.chunk[..read].chunks_exact(8).enumerate() {
                let word = crate::procfs::word(word);
                if word.wrapping_sub(bounds.start) < span {
                    if look.watch.find(word).is_some() {
                        return Some((at + index as u64 * 8, word));
                    }
                    look.observe(word, findings);
                }
            }
            if read < wanted {
                return None;
            }
            at += wanted as u64;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_start_of_a_range_is_harmless_and_ranges_are_joined() {
        let mut watch = Watch::default();
        watch.add(0x100..0x110, "f");
        watch.add(0x200..0x201, "empty");
        watch.add_all(0x108..0x120, "g");
        watch.finish();
        assert_eq!(watch.find(0x100), None);
        assert!(watch.find(0x101).is_some() && watch.find(0x11f).is_some());
        assert_eq!(watch.find(0x120), None);
        assert_eq!(watch.find(0x200), None);
        assert_eq!(bounds(&watch, &[]), 0x101..0x120);
        assert_eq!(bounds(&watch, &[0x10..0x20, 0x400..0x500]), 0x10..0x500);
    }
}
