//! Signals that ask restub to end. What restub does to a process can be ended at any moment; but a patch on trial stays
//! if nobody takes it back.

use std::sync::atomic::{AtomicI32, Ordering};

const SIGNALS: [(i32, &str); 3] = [
    (libc::SIGHUP, "SIGHUP"),
    (libc::SIGINT, "SIGINT"),
    (libc::SIGTERM, "SIGTERM"),
];

static RECEIVED: AtomicI32 = AtomicI32::new(0);

extern "C" fn note(signal: i32) {
    RECEIVED.store(signal, Ordering::Relaxed);
}

/// From here on the signals are noted, and do nothing else. Those that are ignored, as by `nohup`, stay so.
pub(super) fn catch() {
    for (signal, _) in SIGNALS {
        // SAFETY: a structure of integers and addresses, for which zeros are valid.
        let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
        // SAFETY: the place for the old action lives.
        unsafe { libc::sigaction(signal, std::ptr::null(), &raw mut action) };
        if action.sa_sigaction != libc::SIG_IGN {
            action.sa_sigaction = note as *const () as usize;
            action.sa_flags = libc::SA_RESTART;
            // SAFETY: the handler stores a number, which is allowed in a signal handler.
            unsafe { libc::sigaction(signal, &raw const action, std::ptr::null_mut()) };
        }
    }
}

/// The name of a signal that has come.
pub(super) fn received() -> Option<&'static str> {
    let received = RECEIVED.load(Ordering::Relaxed);
    let known = SIGNALS.iter().find(|(signal, _)| *signal == received);
    known.map(|(_, name)| *name)
}
