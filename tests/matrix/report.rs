//! Totals by compiler, and the names of what failed or was skipped.
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// What happened so far; shared by the threads that run the cases.
#[derive(Default)]
pub(crate) struct Report(Mutex<State>);

#[derive(Default)]
struct State {
    compilers: BTreeMap<&'static str, Tally>,
    failed: Vec<String>,
    /// By reason.
    skipped: BTreeMap<String, Vec<String>>,
}

#[derive(Default)]
struct Tally {
    passed: usize,
    failed: usize,
    skipped: usize,
}

impl Report {
    /// A case was run.
    pub(crate) fn count(&self, compiler: &'static str, name: &str, passed: bool) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let tally = state.compilers.entry(compiler).or_default();
        if passed {
            tally.passed += 1;
        } else {
            tally.failed += 1;
            state.failed.push(name.to_owned());
        }
    }

    /// A case cannot be run here.
    pub(crate) fn skip(&self, compiler: &'static str, name: &str, reason: &str) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.compilers.entry(compiler).or_default().skipped += 1;
        state
            .skipped
            .entry(reason.to_owned())
            .or_default()
            .push(name.to_owned());
    }

    /// Prints it all.
    pub(crate) fn print(&self) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let sum = |field: fn(&Tally) -> usize| state.compilers.values().map(field).sum::<usize>();
        let (passed, failed, skipped) = (sum(|t| t.passed), sum(|t| t.failed), sum(|t| t.skipped));
        println!("{:<14}{:>8}{:>8}{:>8}", "compiler", "passed", "failed", "skipped");
        for (compiler, tally) in &state.compilers {
            println!(
                "{compiler:<14}{:>8}{:>8}{:>8}",
                tally.passed, tally.failed, tally.skipped
            );
        }
        println!("{:<14}{passed:>8}{failed:>8}{skipped:>8}", "total");
        for (reason, names) in &state.skipped {
            println!("skipped, because {reason}:");
            for name in names {
                println!("  {name}");
            }
        }
        state.failed.sort();
        for name in &state.failed {
            println!("failed: {name}");
        }
    }
}
