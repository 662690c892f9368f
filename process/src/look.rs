//! Telling what is patched in a process, and what was done to it. Nothing is stopped and nothing is written.

use std::time::Duration;

use crate::apply::entry_state;
use crate::error::Result;
use crate::procfs::Procfs;
use crate::report::{EntryState, Event, FunctionStatus, PatchStatus, Status};
use crate::state;

/// Says what is patched in a process, by its records and by a look at its code.
///
/// # Errors
/// If the process cannot be read, or if its records make no sense.
pub fn status(pid: i32) -> Result<Status> {
    status_of(&state::open(pid)?)
}

pub(crate) fn status_of(procfs: &Procfs) -> Result<Status> {
    let (arena, records) = state::records(procfs, &procfs.maps()?)?;
    let registry = &records.registry;
    let name_of = |id: u64| registry.patch(id).map_or_else(String::new, |patch| patch.name.clone());
    let executable = std::fs::read_link(procfs.path("exe")).unwrap_or_default();
    let patches = registry.live().map(|patch| PatchStatus {
        name: patch.name.clone(),
        hash: patch.hash.clone(),
        files: patch.files.clone(),
        time: patch.time,
        functions: patch.functions.iter().map(|function| function.name.clone()).collect(),
        bytes: patch.segments.iter().map(|(_, bytes)| bytes).sum(),
        depends: patch.depends.iter().map(|id| name_of(*id)).collect(),
    });
    let shown = registry
        .slots
        .iter()
        .filter(|slot| Some(slot.slot) != registry.unwind_slot && slot.address != 0);
    let functions = shown.map(|slot| {
        let entry = entry_state(procfs, slot);
        let top = slot
            .stack
            .last()
            .filter(|_| entry == EntryState::Redirected)
            .and_then(|(id, _)| registry.patch(*id));
        let version = top.and_then(|patch| patch.functions.iter().find(|function| function.slot == slot.slot));
        FunctionStatus {
            name: slot.name.clone(),
            module: slot.module.clone(),
            build_id: slot.build_id.clone(),
            address: slot.address,
            entry,
            runs: top.map(|patch| patch.name.clone()),
            runs_at: version.map_or(slot.address, |version| version.address),
            stack: slot.stack.iter().map(|(id, _)| name_of(*id)).collect(),
            original: slot.original.clone(),
        }
    });
    let retained = registry
        .patches
        .iter()
        .filter(|patch| !patch.live && !patch.name.is_empty());
    Ok(Status {
        pid: procfs.pid,
        executable: executable.display().to_string(),
        patched_before: arena.is_some(),
        patches: patches.collect(),
        functions: functions.collect(),
        mapped_bytes: registry.arenas.iter().map(|arena| arena.end() - arena.start).sum(),
        retained_bytes: retained.flat_map(|patch| patch.segments).map(|(_, bytes)| bytes).sum(),
    })
}

/// Says what was done to a process, the oldest first.
///
/// # Errors
/// If the process cannot be read, or if its records make no sense.
pub fn history(pid: i32) -> Result<Vec<Event>> {
    let procfs = state::open(pid)?;
    let (_, records) = state::records(&procfs, &procfs.maps()?)?;
    let events = records.registry.history.into_iter().map(|event| Event {
        time: event.time,
        action: event.action,
        patch: event.patch,
        hash: event.hash,
        functions: event.functions,
        stop: event.stop_ns.map(Duration::from_nanos),
        user: event.user,
    });
    Ok(events.collect())
}
