//! Failures on purpose: whatever the system may refuse asks here first, so that a test can have each of it refused in
//! turn. Without the feature `fault`, which only tests enable, nothing fails here.
//!
//! The heap is not among it: Rust's collections end the process if it has nothing left.

#[cfg(feature = "fault")]
pub use enabled::{calls, fail_after, stop};

/// Stands before a system call that may fail.
#[inline]
pub(crate) fn point() -> rustix::io::Result<()> {
    if is_due() {
        Err(rustix::io::Errno::NOMEM)
    } else {
        Ok(())
    }
}

/// Whether the call that comes has to fail.
#[inline]
pub(crate) fn is_due() -> bool {
    #[cfg(feature = "fault")]
    return enabled::is_due();
    #[cfg(not(feature = "fault"))]
    false
}

#[cfg(feature = "fault")]
mod enabled {
    use std::cell::Cell;

    thread_local! {
        /// Calls until one fails.
        static LEFT: Cell<Option<u64>> = const { Cell::new(None) };
        static CALLS: Cell<u64> = const { Cell::new(0) };
    }

    /// Has one call of this thread fail, after as many that succeed.
    pub fn fail_after(calls: u64) {
        LEFT.set(Some(calls));
    }

    /// Has no call fail any more. Returns whether one was still to fail.
    pub fn stop() -> bool {
        LEFT.take().is_some()
    }

    /// How many calls of this thread could have failed so far.
    #[must_use]
    pub fn calls() -> u64 {
        CALLS.get()
    }

    pub(super) fn is_due() -> bool {
        CALLS.set(CALLS.get() + 1);
        match LEFT.get() {
            Some(0) => LEFT.take().is_some(),
            Some(left) => {
                LEFT.set(Some(left - 1));
                false
            }
            None => false,
        }
    }
}
