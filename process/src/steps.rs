//! Fault injection: for tests, this process kills itself after one of the steps by which it acts on another one.
//!
//! Every `ptrace` request that does something and every write to memory is a step, wherever it is made, so that none can
//! be left out. The count goes on from one operation to the next: to the one that takes a patch back, for example.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::ptrace;

static COUNT: AtomicU64 = AtomicU64::new(0);

thread_local! {
    static KILL_AT: Cell<Option<u64>> = const { Cell::new(None) };
}

/// Says at which step the process is to be killed, if it is one of this thread's.
pub(crate) fn kill_at(step: Option<u64>) {
    KILL_AT.set(step);
}

/// Whether steps are counted.
pub(crate) fn matter() -> bool {
    KILL_AT.get().is_some()
}

/// Counts what has just been done.
pub(crate) fn step() {
    let Some(last) = KILL_AT.get() else { return };
    if COUNT.fetch_add(1, Ordering::Relaxed) + 1 == last {
        ptrace::die();
    }
}
