//! The planner under hostile input: the files of a target, the records in its memory and the patch may hold anything.
//!
//! The process is a folder with what `/proc` would have of it, and a file for its memory, so that no process is run.

mod difference;
mod recorded;

use restub_loader::{Input, PAGE_BYTES};

pub use difference::{check_difference, difference_input};

use crate::arena::Arena;
use crate::entry::LONG_BYTES;
use crate::error::Result;
use crate::plan::{Options, Plan, Planner};
use crate::registry::PatchRecord;
use crate::state::State;

const PARTS: usize = 3;

/// Writes an input of [`check_plan`]: an executable, a patch for it, and records of earlier patches.
#[must_use]
pub fn plan_input(executable: &[u8], patch: &[u8], records: &[u8]) -> Vec<u8> {
    let lengths = [executable, patch].map(|part| (part.len() as u32).to_le_bytes());
    [&lengths.concat(), executable, patch, records].concat()
}

fn parts(input: &[u8]) -> Option<[&[u8]; PARTS]> {
    let (lengths, rest) = input.split_at_checked(8)?;
    let length = |at: usize| {
        lengths[at..at + 4]
            .iter()
            .rev()
            .fold(0, |all, byte| all << 8 | usize::from(*byte))
    };
    let (executable, rest) = rest.split_at(length(0).min(rest.len()));
    let (patch, records) = rest.split_at(length(4).min(rest.len()));
    Some([executable, patch, records])
}

/// Plans a patch of a process, as `restub plan` would, and asks for the status of the process: whatever the bytes are,
/// there is an answer or an error, and a plan writes where it may, and leads to code that the patch has.
///
/// # Panics
/// If it does not.
pub fn check_plan(input: &[u8]) {
    let Some([executable, patch, records]) = parts(input) else {
        return;
    };
    let folder = tempfile::tempdir().expect("a folder");
    let procfs = recorded::process(folder.path(), executable, records).expect("a recorded process");
    let _ = crate::look::status_of(&procfs);
    let Ok(state) = State::read_at_once(&procfs) else {
        return;
    };
    let patch = [Input::from_bytes("patch.o", patch)];
    let plan = || Planner::new(&state, &Options::default()).plan(&patch);
    match (plan(), plan()) {
        (Ok(one), Ok(other)) => {
            assert_eq!(one.writes, other.writes);
            assert_eq!(one.entries, other.entries);
            check(&state, &one);
        }
        (Err(one), Err(other)) => assert_eq!(one.to_string(), other.to_string()),
        (one, other) => panic!("{one:?}, then {other:?}"),
    }
}

/// The records of a process after a patch, as JSON: what [`plan_input`] takes.
///
/// # Errors
/// If the process or the patch makes no sense.
pub fn records_after(executable: &[u8], patch: &[u8]) -> Result<Vec<u8>> {
    let folder = tempfile::tempdir().expect("a folder");
    let procfs = recorded::process(folder.path(), executable, &[]).expect("a recorded process");
    let state = State::read_at_once(&procfs)?;
    let patch = [Input::from_bytes("patch.o", patch)];
    let plan = Planner::new(&state, &Options::default()).plan(&patch)?;
    Ok(serde_json::to_vec(&plan.applied).expect("records are JSON"))
}

/// Whether a plan writes only to arenas, and to entries of functions what may stand there.
fn check(state: &State<'_>, plan: &Plan) {
    for arena in &plan.new_arenas {
        let taken = |start: u64, end: u64| start < arena.end() + PAGE_BYTES && arena.start - PAGE_BYTES < end;
        let mapped = state.maps.iter().find(|mapping| taken(mapping.start, mapping.end));
        assert!(mapped.is_none(), "{arena:x?} is in the way of {mapped:x?}");
        let others = plan.new_arenas.iter().filter(|other| *other != arena);
        assert!(
            others.clone().all(|other| !taken(other.start, other.end())),
            "{:x?}",
            plan.new_arenas
        );
    }
    let arenas = &plan.applied.arenas;
    let inside = |address: u64, bytes: u64| {
        let within = |arena: &Arena| arena.start <= address && address.saturating_add(bytes) <= arena.end();
        arenas.iter().any(within)
    };
    for (address, bytes) in &plan.writes {
        assert!(
            inside(*address, bytes.len() as u64),
            "{address:#x}, {} bytes",
            bytes.len()
        );
    }
    let code = plan.applied.patches.last().map(PatchRecord::code).unwrap_or_default();
    for function in &plan.report.functions {
        let end = function.new_address.saturating_add(function.new_size.max(1));
        let inside = code.contains(&function.new_address) && end <= code.end;
        assert!(inside, "{function:x?} is not in {code:x?}");
    }
    for entry in &plan.entries {
        assert!(
            entry.old.len() as u64 <= LONG_BYTES && entry.old.len() == entry.new.len(),
            "{entry:x?}"
        );
        let now = state.procfs.read_vec(entry.place, entry.old.len());
        assert_eq!(now.as_deref(), Some(&*entry.old), "{entry:x?}");
        let known = state
            .records
            .registry
            .slots
            .iter()
            .any(|slot| slot.place == entry.place);
        let code = state.modules.iter().any(|module| module.is_code(entry.place));
        assert!(known || code, "{entry:x?} is no code");
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::{check_difference, check_plan};

    /// Checks the seeds of a target, and each with one byte that is another one, all over the file.
    fn check_seeds(target: &str, check: fn(&[u8]), step: usize) {
        let folder = format!("{}/../fuzz/seeds/{target}", env!("CARGO_MANIFEST_DIR"));
        let mut count = 0;
        for seed in fs::read_dir(folder).unwrap() {
            let bytes = fs::read(seed.unwrap().path()).unwrap();
            check(&bytes);
            for at in (0..bytes.len()).step_by(step) {
                let mut changed = bytes.clone();
                changed[at] ^= 1 << (at % 8);
                check(&changed);
            }
            count += 1;
        }
        assert!(count >= 4, "{count} seeds of {target}");
    }

    #[test]
    fn seeds_are_planned_or_refused() {
        check_seeds("patch_plan", check_plan, 97);
    }

    #[test]
    fn seeds_are_compared_or_refused() {
        check_seeds("object_diff", check_difference, 97);
    }
}
