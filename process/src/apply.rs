//! Carrying out a plan, and taking patches back.

use std::path::Path;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use restub_loader::Input;

use crate::arena::Arena;
use crate::error::{Error, Result};
use crate::inject;
use crate::jit::{self, Jit};
use crate::plan::{self, EntryChange, Options, Plan, PlanReport, Planner};
use crate::procfs::{self, Procfs};
use crate::registry::{EventRecord, PatchRecord, Records, Registry, SlotRecord};
use crate::report::{EntryState, PatchReport, RevertReport, now};
use crate::retired::Retired;
use crate::safety::Watch;
use crate::state::{self, State};
use crate::steps;
use crate::stopped::Stopped;
use crate::threads::Hold;
use crate::unwind;

/// How often a patch is planned, where the target itself maps what was free.
const PLANS: usize = 10;
/// Between looks at a thread that is about to be gone.
const END_PAUSE: Duration = Duration::from_micros(50);
/// For a machine on which threads do not get to run, and a number that another thread has got meanwhile.
const END_LIMIT: Duration = Duration::from_secs(10);

/// Takes hold of a process and does something to it, in a thread of its own: tracing ends with the thread that traces,
/// whatever it leaves behind.
fn with_hold<R: Send>(
    pid: i32,
    options: &Options,
    operation: impl FnOnce(&mut Hold<'_>) -> Result<R> + Send,
) -> Result<R> {
    let tracer = OnceLock::new();
    let run = || {
        let _ = tracer.set(std::fs::read_link("/proc/thread-self"));
        steps::kill_at(options.kill_at_step);
        let procfs = state::open(pid)?;
        let mut hold = Hold::take(&procfs)?;
        operation(&mut hold)
    };
    let result = std::thread::scope(|scope| scope.spawn(run).join());
    if let Some(Ok(tracer)) = tracer.get() {
        wait_for_end(&Path::new("/proc").join(tracer));
    }
    match result {
        Ok(Err(Error::NoProcess(_))) if procfs::is_alive(pid) => Err(Error::Executed(pid)),
        Ok(result) => result,
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

/// Waits until nothing is left of a thread of this process. One that has been joined may still be on its way out, and
/// only there does it let go what it traced: whoever traces next would be refused.
fn wait_for_end(task: &Path) {
    let begin = Instant::now();
    while task.exists() && begin.elapsed() < END_LIMIT {
        std::thread::sleep(END_PAUSE);
    }
}

/// Says what [`patch`] would do. Nothing is stopped and nothing is written.
///
/// # Errors
/// Everything that would keep the patch from being applied, with reasons.
pub fn plan(pid: i32, inputs: &[Input<'_>], options: &Options) -> Result<PlanReport> {
    let procfs = state::open(pid)?;
    let state = State::read(&procfs)?;
    if let Some(report) = already_applied(&state, inputs, options) {
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
    with_hold(pid, options, |hold| {
        let mut plans = 0;
        loop {
            let state = State::read(hold.procfs)?;
            if let Some(plan) = already_applied(&state, inputs, options) {
                return Ok(PatchReport {
                    plan,
                    stop: None,
                    attempts: 0,
                    threads: 0,
                });
            }
            let plan = Planner::new(&state, options).plan(inputs)?;
            plans += 1;
            match prepare(hold, &state, &plan) {
                Ok(()) => return switch(hold, &state, plan, options),
                Err(error) if is_taken(&error) && plans < PLANS => {}
                Err(error) => return Err(error),
            }
        }
    })
}

/// Whether the target has mapped something since the plan was made, where the plan has restub's memory.
fn is_taken(error: &Error) -> bool {
    matches!(error, Error::Injected { source, .. } if source.raw_os_error() == Some(libc::EEXIST))
}

/// The report on a patch of the same contents that is applied; with `replace`, and is the only one.
fn already_applied(state: &State<'_>, inputs: &[Input<'_>], options: &Options) -> Option<PlanReport> {
    let hash = plan::hash(inputs);
    let registry = &state.records.registry;
    let patch = registry.live().find(|patch| patch.hash == hash)?;
    if options.replace && registry.live().count() > 1 {
        return None;
    }
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
        replaces: Vec::new(),
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
fn prepare(hold: &mut Hold<'_>, state: &State<'_>, plan: &Plan) -> Result<()> {
    let procfs = state.procfs;
    if let Some(arena) = &state.arena {
        tidy(procfs, arena, &state.records.registry)?;
    }
    if !plan.new_arenas.is_empty() {
        let calls: Vec<_> = plan.new_arenas.iter().flat_map(Arena::calls).collect();
        let scratch = state.arena.map(|arena| arena.detour());
        inject::make_calls(hold, scratch, &calls)?;
    }
    for arena in &plan.new_arenas {
        procfs.write(arena.start, &arena.header())?;
    }
    for (address, bytes) in &plan.writes {
        procfs.write(*address, bytes)?;
    }
    let (first, records) = &plan.unwind;
    unwind::write(procfs, &plan.arena, *first, records, plan.applied.unwind_entries)
}

/// Brings what is beside the records in line with them. A patcher that was killed, or whose patch was refused at last,
/// may have left it otherwise; it is in nobody's way until the memory that it leads to is written anew.
fn tidy(procfs: &Procfs, arena: &Arena, registry: &Registry) -> Result<()> {
    unwind::sweep(procfs, arena, registry)?;
    jit::update(procfs, registry)
}

/// Records the slots, and switches: in a stop where entries change, else by one write.
fn switch(hold: &mut Hold<'_>, state: &State<'_>, plan: Plan, options: &Options) -> Result<PatchReport> {
    let procfs = state.procfs;
    let prepared = state.records.stage(procfs, &plan.arena, plan.prepared.clone())?;
    commit(procfs, &plan.arena, &prepared)?;
    let mut registry = plan.applied.clone();
    for (name, hash, functions) in &plan.superseded {
        registry.note(event("revert", name, hash, *functions));
    }
    registry.note(event(
        "patch",
        &plan.report.name,
        &plan.report.hash,
        plan.report.functions.len(),
    ));
    let mut report = PatchReport {
        plan: plan.report.clone(),
        stop: None,
        attempts: 0,
        threads: 0,
    };
    let change = Change {
        arena: &plan.arena,
        before: &plan.entries,
        staged: prepared.stage(procfs, &plan.arena, registry)?,
        after: &plan.restore,
        events: plan.superseded.len() + 1,
        jit: plan.applied.jit.as_ref().filter(|jit| !jit.is_linked(procfs)),
    };
    if !plan.report.needs_stop {
        commit(procfs, &plan.arena, &change.staged)?;
        tidy(procfs, &plan.arena, &change.staged.registry)?;
        return Ok(report);
    }
    let done = change.in_a_stop(hold, plan.watch, options)?;
    (report.stop, report.attempts, report.threads) = (Some(done.stop), done.attempts, done.threads);
    Ok(report)
}

/// What a stop is for: entries, then the switch page, then entries.
struct Change<'c> {
    arena: &'c Arena,
    /// Jumps, which lead to the displaced instructions until the page says otherwise.
    before: &'c [EntryChange],
    staged: Records,
    /// Entries that become what they were.
    after: &'c [EntryChange],
    /// How many events the history tells of it: the last ones.
    events: usize,
    /// The list of debuggers, if it does not lead to restub's.
    jit: Option<&'c Jit>,
}

/// How a stop went.
struct Done {
    stop: Duration,
    attempts: u32,
    threads: usize,
    /// The patches that threads are still in.
    lingering: Vec<String>,
}

impl Change<'_> {
    /// Makes the change while no thread runs, and after that looks what of earlier patches is unused.
    fn in_a_stop(&self, hold: &mut Hold<'_>, watch: Watch, options: &Options) -> Result<Done> {
        let procfs = hold.procfs;
        let (arena, staged) = (self.arena, &self.staged);
        let retired = Retired::of(arena, &staged.registry, options.exposed);
        let mut stopped = Stopped::new(hold, watch, retired.ranges())?;
        let (stop, attempts, threads) = stopped.run(hold, options.timeout, || {
            write_entries(procfs, self.before)?;
            commit(procfs, arena, staged)?;
            write_entries(procfs, self.after)?;
            if let Some(jit) = self.jit {
                jit.link(procfs);
            }
            Ok(())
        })?;
        // It is done, so that nothing from here on is a failure of it; the next operation makes up for what is missed.
        let _ = self.settle(procfs, &retired, &stopped, stop);
        Ok(Done {
            stop,
            attempts,
            threads,
            lingering: retired.occupied(&staged.registry, &stopped.findings.occupied),
        })
    }

    /// Records how long the stop took and what it has shown to be unused, while the threads run again.
    fn settle(&self, procfs: &Procfs, retired: &Retired, stopped: &Stopped, stop: Duration) -> Result<()> {
        let mut registry = self.staged.registry.clone();
        for event in registry.history.iter_mut().rev().take(self.events) {
            event.stop_ns = u64::try_from(stop.as_nanos()).ok();
        }
        retired.settle(procfs, &mut registry, stopped);
        let settled = self.staged.stage(procfs, self.arena, registry)?;
        commit(procfs, self.arena, &settled)?;
        tidy(procfs, self.arena, &settled.registry)
    }
}

fn event(action: &str, patch: &str, hash: &str, functions: usize) -> EventRecord {
    EventRecord {
        time: now(),
        action: action.into(),
        patch: patch.to_owned(),
        hash: hash.to_owned(),
        functions,
        stop_ns: None,
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
fn write_entries(procfs: &Procfs, entries: &[EntryChange]) -> Result<()> {
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
    }
    Ok(())
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
    with_hold(pid, options, |hold| {
        let (arena, records) = state::records(hold.procfs, &hold.procfs.maps()?)?;
        let ids = chosen(pid, &records.registry, which)?;
        // Jumps that a patcher left behind that was killed lead to the originals.
        let left_behind = || !entries_to_restore(hold.procfs, &records.registry).is_empty();
        match arena.filter(|_| !ids.is_empty() || left_behind()) {
            Some(arena) => take_back(hold, &arena, &records, &ids, options),
            None => Ok(RevertReport {
                pid,
                patches: Vec::new(),
                restored: Vec::new(),
                stop: None,
                lingering: Vec::new(),
            }),
        }
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
    options: &Options,
) -> Result<RevertReport> {
    let procfs = hold.procfs;
    let mut registry = records.registry.clone();
    let superseded = registry.take_back(ids);
    for (name, hash, functions) in &superseded {
        registry.note(event("revert", name, hash, *functions));
    }
    let entries = entries_to_restore(procfs, &registry);
    let change = Change {
        arena,
        before: &[],
        staged: records.stage(procfs, arena, registry)?,
        after: &entries,
        events: superseded.len(),
        jit: None,
    };
    // Who is in the patches when they are switched off will leave them later; that is looked at and blocks nothing.
    let done = change.in_a_stop(hold, Watch::default(), options)?;
    Ok(RevertReport {
        pid: procfs.pid,
        patches: superseded.into_iter().map(|(name, _, _)| name).collect(),
        restored: restored_names(&change.staged.registry, &entries),
        stop: Some(done.stop),
        lingering: done.lingering,
    })
}

/// Entries that no patch redirects any more. The unwinder's stays as long as a patch is there to be found.
pub(crate) fn entries_to_restore(procfs: &Procfs, registry: &Registry) -> Vec<EntryChange> {
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
