//! Carrying out a plan, taking patches back, and telling what is there.

use std::ops::Range;
use std::time::{Duration, Instant};

use restub_loader::Input;

use crate::arena::Arena;
use crate::error::{Error, Result};
use crate::inject;
use crate::plan::{self, EntryChange, Options, Plan, PlanReport, Planner};
use crate::procfs::Procfs;
use crate::ptrace;
use crate::registry::{EventRecord, PatchRecord, Records, Registry, SlotRecord};
use crate::report::{EntryState, PatchReport, RevertReport, now};
use crate::safety::{Findings, Scanner, Watch};
use crate::state::{self, State};
use crate::threads::{Hold, StoppedThread};

/// How long all threads get to stop at the first attempt; twice that at the next one. Where processors are short, a
/// thread that only waits for one stops late, and the others should not stand for it at once.
const FIRST_LIMIT: Duration = Duration::from_millis(100);
/// Pauses between attempts to find all threads elsewhere.
const FIRST_PAUSE: Duration = Duration::from_millis(1);
const LONGEST_PAUSE: Duration = Duration::from_millis(50);
/// Threads that may be started between the list of them and the stop, without an allocation.
const SLACK: usize = 256;

/// Counts what was done, and for tests ends this process at one of the steps.
struct Steps {
    count: u64,
    kill_at: Option<u64>,
}

impl Steps {
    fn step(&mut self) {
        self.count += 1;
        if self.kill_at == Some(self.count) {
            ptrace::die();
        }
    }
}

/// Runs something in a thread of its own. Tracing ends with the thread that traces, whatever it leaves behind.
fn in_own_thread<R: Send>(function: impl FnOnce() -> R + Send) -> R {
    std::thread::scope(|scope| match scope.spawn(function).join() {
        Ok(result) => result,
        Err(panic) => std::panic::resume_unwind(panic),
    })
}

/// Says what [`patch`] would do. Nothing is stopped and nothing is written.
///
/// # Errors
/// Everything that would keep the patch from being applied, with reasons.
pub fn plan(pid: i32, inputs: &[Input<'_>], options: &Options) -> Result<PlanReport> {
    let procfs = state::open(pid)?;
    let state = State::read(&procfs)?;
    if let Some(report) = already_applied(&state, inputs) {
        return Ok(report);
    }
    let mut report = Planner::new(&state, options).plan(inputs)?.report;
    report.blockers = plan::inside_now(&procfs, &report.functions);
    Ok(report)
}

/// Patches a process: functions that objects define and the process has are replaced.
///
/// # Errors
/// With the reason; the process is as it was then.
pub fn patch(pid: i32, inputs: &[Input<'_>], options: &Options) -> Result<PatchReport> {
    in_own_thread(|| {
        let procfs = state::open(pid)?;
        let mut hold = Hold::take(&procfs)?;
        let mut steps = Steps {
            count: 0,
            kill_at: options.kill_at_step,
        };
        let state = State::read(&procfs)?;
        if let Some(plan) = already_applied(&state, inputs) {
            return Ok(PatchReport {
                plan,
                stop: None,
                attempts: 0,
                threads: 0,
            });
        }
        let plan = Planner::new(&state, options).plan(inputs)?;
        prepare(&mut hold, &state, &plan, &mut steps)?;
        switch(&mut hold, &state, plan, options.timeout, &mut steps)
    })
}

/// The report on a patch of the same contents that is applied.
fn already_applied(state: &State<'_>, inputs: &[Input<'_>]) -> Option<PlanReport> {
    let hash = plan::hash(inputs);
    let registry = &state.records.registry;
    let patch = registry.live().find(|patch| patch.hash == hash)?;
    let slot = patch
        .functions
        .first()
        .and_then(|function| registry.slot(function.slot));
    Some(PlanReport {
        pid: state.procfs.pid,
        name: patch.name.clone(),
        hash,
        module: slot.map_or_else(String::new, |slot| slot.module.clone()),
        build_id: slot.map_or_else(String::new, |slot| slot.build_id.clone()),
        already_applied: Some(patch.name.clone()),
        functions: Vec::new(),
        kept_variables: Vec::new(),
        new_symbols: Vec::new(),
        bytes: patch.segments.iter().map(|(_, bytes)| bytes).sum(),
        mapped_bytes: 0,
        needs_stop: false,
        notes: Vec::new(),
        blockers: Vec::new(),
    })
}

/// All that can fail: memory is mapped and written, where nothing reaches it yet.
fn prepare(hold: &mut Hold<'_>, state: &State<'_>, plan: &Plan, steps: &mut Steps) -> Result<()> {
    let procfs = state.procfs;
    if !plan.new_arenas.is_empty() {
        let calls: Vec<_> = plan.new_arenas.iter().flat_map(Arena::calls).collect();
        let scratch = state.arena.map(|arena| arena.detour());
        inject::make_calls(hold, scratch, &calls, &mut || steps.step())?;
    }
    for arena in &plan.new_arenas {
        procfs.write(arena.start, &arena.header())?;
        steps.step();
    }
    for (address, bytes) in &plan.writes {
        procfs.write(*address, bytes)?;
        steps.step();
    }
    let (first, records) = &plan.unwind;
    for (index, record) in records.iter().enumerate() {
        let entry = plan.arena.table_entry(first + index as u64);
        let words = record.bytes();
        // Without its end the entry matches nothing, whatever part of it is written.
        procfs.write(entry + 8, &[0; 8])?;
        procfs.write(entry, &words[..8])?;
        procfs.write(entry + 16, &words[16..])?;
        procfs.write(entry + 8, &words[8..16])?;
    }
    if !records.is_empty() {
        steps.step();
        procfs.write(plan.arena.table(), &(first + records.len() as u64).to_le_bytes())?;
        steps.step();
    }
    Ok(())
}

/// Records the slots, and switches: in a stop where entries change, else by one write.
fn switch(
    hold: &mut Hold<'_>,
    state: &State<'_>,
    plan: Plan,
    timeout: Duration,
    steps: &mut Steps,
) -> Result<PatchReport> {
    let procfs = state.procfs;
    let prepared = state.records.stage(procfs, &plan.arena, plan.prepared.clone())?;
    steps.step();
    commit(procfs, &plan.arena, &prepared)?;
    steps.step();
    let mut registry = plan.applied.clone();
    registry.note(event("patch", &plan.report, None));
    let applied = prepared.stage(procfs, &plan.arena, registry)?;
    steps.step();
    let mut report = PatchReport {
        plan: plan.report.clone(),
        stop: None,
        attempts: 0,
        threads: 0,
    };
    if !plan.report.needs_stop {
        commit(procfs, &plan.arena, &applied)?;
        steps.step();
        return Ok(report);
    }
    let retired = Retired::of(&plan.arena, &applied.registry);
    let mut stopped = Stopped::new(hold, plan.watch, retired.ranges())?;
    let (stop, attempts, threads) = stopped.run(hold, timeout, steps, |steps| {
        write_entries(procfs, &plan.entries, steps)?;
        commit(procfs, &plan.arena, &applied)?;
        steps.step();
        Ok(())
    })?;
    (report.stop, report.attempts, report.threads) = (Some(stop), attempts, threads);
    retired.settle(procfs, &plan.arena, &applied, &stopped.findings.occupied, steps)?;
    Ok(report)
}

fn event(action: &str, plan: &PlanReport, stop: Option<Duration>) -> EventRecord {
    EventRecord {
        time: now(),
        action: action.into(),
        patch: plan.name.clone(),
        hash: plan.hash.clone(),
        functions: plan.functions.len(),
        stop_ns: stop.map(|stop| u64::try_from(stop.as_nanos()).unwrap_or(u64::MAX)),
        user: user(),
    }
}

fn user() -> u32 {
    std::fs::metadata("/proc/self").map_or(0, |metadata| std::os::unix::fs::MetadataExt::uid(&metadata))
}

/// Writes the switch page: one page, which the kernel writes whole or not at all.
fn commit(procfs: &Procfs, arena: &Arena, records: &Records) -> Result<()> {
    procfs.write(arena.switch_page(), &records.page)
}

/// Writes the jumps. Each leads to the displaced instructions until the switch page says otherwise, so that the process
/// does the same with any number of them.
fn write_entries(procfs: &Procfs, entries: &[EntryChange], steps: &mut Steps) -> Result<()> {
    for entry in entries {
        let mut now = [0; crate::entry::LONG_BYTES as usize];
        let now = &mut now[..entry.old.len()];
        if !procfs.read(entry.place, now) || *now != *entry.old {
            return Err(Error::Changed {
                pid: procfs.pid,
                address: entry.place,
                expected: "the instructions that it held when the patch was planned",
            });
        }
        procfs.write(entry.place, &entry.new)?;
        steps.step();
    }
    Ok(())
}

/// Stops all threads, makes sure that none is in the way, and does something, in as many attempts as time allows.
struct Stopped {
    watch: Watch,
    observed: Vec<Range<u64>>,
    scanner: Scanner,
    findings: Findings,
    threads: Vec<StoppedThread>,
}

impl Stopped {
    fn new(hold: &mut Hold<'_>, watch: Watch, observed: Vec<Range<u64>>) -> Result<Self> {
        hold.seize_all()?;
        Ok(Stopped {
            watch,
            observed,
            scanner: Scanner::new(hold.procfs.maps()?),
            findings: Findings::default(),
            threads: Vec::with_capacity(hold.tids().len() + SLACK),
        })
    }

    /// Gives the time of the stop, the number of attempts, and the number of threads.
    fn run(
        &mut self,
        hold: &mut Hold<'_>,
        timeout: Duration,
        steps: &mut Steps,
        mut action: impl FnMut(&mut Steps) -> Result<()>,
    ) -> Result<(Duration, u32, usize)> {
        let procfs = hold.procfs;
        let begin = Instant::now();
        let mut pause = FIRST_PAUSE;
        let mut limit = FIRST_LIMIT;
        for attempt in 1.. {
            let stop = match hold.stop_all(limit) {
                Ok(stop) => stop,
                Err(Error::NotStopped { .. }) if begin.elapsed() < timeout => {
                    limit *= 2;
                    continue;
                }
                Err(error) => return Err(error),
            };
            steps.step();
            stop.threads(&mut self.threads)?;
            let (watch, observed) = (&self.watch, &self.observed);
            self.scanner
                .look(procfs, &self.threads, watch, observed, &mut self.findings);
            if self.findings.blockers.is_empty() {
                for (tid, registers) in &self.findings.moved {
                    stop.set_registers(*tid, registers)?;
                    steps.step();
                }
                action(steps)?;
                let time = stop.end();
                steps.step();
                return Ok((time, attempt, self.threads.len()));
            }
            drop(stop);
            if begin.elapsed() > timeout {
                break;
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
        Err(Error::Busy {
            pid: procfs.pid,
            blockers: std::mem::take(&mut self.findings.blockers),
            waited_ms: u64::try_from(begin.elapsed().as_millis()).unwrap_or(u64::MAX),
        })
    }
}

/// What to revert.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Which {
    /// The patch that was applied last.
    Last,
    /// A patch by its name.
    Name(String),
    /// All of them.
    All,
}

/// Takes patches back: functions run the version before, and entries that no patch redirects become what they were.
///
/// # Errors
/// With the reason; the process is as it was then.
pub fn revert(pid: i32, which: &Which, options: &Options) -> Result<RevertReport> {
    in_own_thread(|| {
        let procfs = state::open(pid)?;
        let mut hold = Hold::take(&procfs)?;
        let mut steps = Steps {
            count: 0,
            kill_at: options.kill_at_step,
        };
        let (arena, records) = state::records(&procfs, &procfs.maps()?)?;
        let ids = chosen(pid, &records.registry, which)?;
        let Some(arena) = arena.filter(|_| !ids.is_empty()) else {
            return Ok(RevertReport {
                pid,
                patches: Vec::new(),
                restored: Vec::new(),
                stop: None,
                lingering: Vec::new(),
            });
        };
        take_back(&mut hold, &arena, &records, &ids, options.timeout, &mut steps)
    })
}

/// The patches to revert, by their numbers.
fn chosen(pid: i32, registry: &Registry, which: &Which) -> Result<Vec<u64>> {
    let live: Vec<&PatchRecord> = registry.live().collect();
    let ids: Vec<u64> = match which {
        Which::All => live.iter().map(|patch| patch.id).collect(),
        Which::Last => live.last().map(|patch| patch.id).into_iter().collect(),
        Which::Name(name) => {
            let found = live.iter().find(|patch| patch.name == *name);
            let was = registry.patches.iter().any(|patch| !patch.live && patch.name == *name);
            match found {
                Some(patch) => vec![patch.id],
                None if was => Vec::new(),
                None => {
                    return Err(Error::NoPatch {
                        pid,
                        name: name.clone(),
                    });
                }
            }
        }
    };
    for id in &ids {
        let users = live
            .iter()
            .filter(|patch| !ids.contains(&patch.id) && patch.depends.contains(id));
        let users: Vec<String> = users.map(|patch| patch.name.clone()).collect();
        if !users.is_empty() {
            let name = registry.patch(*id).map_or_else(String::new, |patch| patch.name.clone());
            return Err(Error::Needed { pid, name, users });
        }
    }
    Ok(ids)
}

fn take_back(
    hold: &mut Hold<'_>,
    arena: &Arena,
    records: &Records,
    ids: &[u64],
    timeout: Duration,
    steps: &mut Steps,
) -> Result<RevertReport> {
    let procfs = hold.procfs;
    let mut registry = records.registry.clone();
    let mut names = Vec::new();
    for patch in registry.patches.iter_mut().filter(|patch| ids.contains(&patch.id)) {
        patch.live = false;
        patch.quiet = false;
        names.push((patch.name.clone(), patch.hash.clone(), patch.functions.len()));
    }
    for slot in &mut registry.slots {
        slot.stack.retain(|(id, _)| !ids.contains(id));
    }
    for (name, hash, functions) in &names {
        registry.note(EventRecord {
            time: now(),
            action: "revert".into(),
            patch: name.clone(),
            hash: hash.clone(),
            functions: *functions,
            stop_ns: None,
            user: user(),
        });
    }
    let entries = entries_to_restore(procfs, &registry);
    let staged = records.stage(procfs, arena, registry)?;
    steps.step();
    // Who is in the patches when they are switched off will leave them later; that is looked at and blocks nothing.
    let retired = Retired::of(arena, &staged.registry);
    let mut stopped = Stopped::new(hold, Watch::default(), retired.ranges())?;
    let (stop, _, _) = stopped.run(hold, timeout, steps, |steps| {
        commit(procfs, arena, &staged)?;
        steps.step();
        write_entries(procfs, &entries, steps)
    })?;
    let occupied = &stopped.findings.occupied;
    retired.settle(procfs, arena, &staged, occupied, steps)?;
    Ok(RevertReport {
        pid: procfs.pid,
        patches: names.into_iter().map(|(name, _, _)| name).collect(),
        restored: restored_names(&staged.registry, &entries),
        stop: Some(stop),
        lingering: retired.occupied(&staged.registry, occupied),
    })
}

/// What may be used again as soon as a stop has shown that no thread is in it: the code of patches that were reverted,
/// and pads that lead to no version any more.
struct Retired {
    patches: Vec<(u64, Range<u64>)>,
    slots: Vec<(u64, Range<u64>)>,
}

impl Retired {
    fn of(arena: &Arena, registry: &Registry) -> Self {
        let patches = registry
            .patches
            .iter()
            .filter(|patch| !patch.live && !patch.quiet && !patch.hash.is_empty());
        let slots = registry
            .slots
            .iter()
            .filter(|slot| slot.used_pads != slot.stacked_pads());
        Retired {
            patches: patches.map(|patch| (patch.id, patch.code())).collect(),
            slots: slots.map(|slot| (slot.slot, arena.passage(slot.slot))).collect(),
        }
    }

    fn ranges(&self) -> Vec<Range<u64>> {
        self.patches
            .iter()
            .chain(&self.slots)
            .map(|(_, range)| range.clone())
            .collect()
    }

    /// Records what no thread was in.
    fn settle(
        &self,
        procfs: &Procfs,
        arena: &Arena,
        records: &Records,
        occupied: &[bool],
        steps: &mut Steps,
    ) -> Result<()> {
        let (patches, slots) = occupied.split_at(self.patches.len().min(occupied.len()));
        if occupied.iter().all(|occupied| *occupied) {
            return Ok(());
        }
        let mut registry = records.registry.clone();
        for ((id, _), _) in self.patches.iter().zip(patches).filter(|(_, occupied)| !**occupied) {
            for patch in registry.patches.iter_mut().filter(|patch| patch.id == *id) {
                patch.quiet = true;
            }
        }
        for ((slot, _), _) in self.slots.iter().zip(slots).filter(|(_, occupied)| !**occupied) {
            for record in registry.slots.iter_mut().filter(|record| record.slot == *slot) {
                record.used_pads = record.stacked_pads();
            }
        }
        let settled = records.stage(procfs, arena, registry)?;
        steps.step();
        commit(procfs, arena, &settled)?;
        steps.step();
        Ok(())
    }

    /// The names of patches that threads are still in.
    fn occupied(&self, registry: &Registry, occupied: &[bool]) -> Vec<String> {
        let still = self.patches.iter().zip(occupied).filter(|(_, occupied)| **occupied);
        let mut names: Vec<String> = still
            .filter_map(|((id, _), _)| registry.patch(*id))
            .map(|patch| patch.name.clone())
            .collect();
        names.sort();
        names.dedup();
        names
    }
}

/// Entries that no patch redirects any more. The unwinder's stays as long as a patch is there to be found.
fn entries_to_restore(procfs: &Procfs, registry: &Registry) -> Vec<EntryChange> {
    let free = registry.slots.iter().filter(|slot| slot.stack.is_empty());
    let redirected = free.filter(|slot| entry_state(procfs, slot) == EntryState::Redirected);
    redirected
        .map(|slot| EntryChange {
            place: slot.place,
            old: slot.jump.clone(),
            new: slot.original.clone(),
        })
        .collect()
}

fn restored_names(registry: &Registry, entries: &[EntryChange]) -> Vec<String> {
    let restored = registry
        .slots
        .iter()
        .filter(|slot| entries.iter().any(|entry| entry.place == slot.place));
    restored.map(|slot| slot.name.clone()).collect()
}

pub(crate) fn entry_state(procfs: &Procfs, slot: &SlotRecord) -> EntryState {
    match procfs.read_vec(slot.place, slot.jump.len()) {
        Some(now) if now == slot.jump => EntryState::Redirected,
        Some(now) if now == slot.original => EntryState::Original,
        _ => EntryState::Foreign,
    }
}
