//! The primitives that the lock-free parts are built from, in one place so that their models can use others.

pub(crate) use std::sync::Arc;
pub(crate) use std::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, Ordering, fence};
use std::time::Duration;

/// Sleeps while the word has this value, until it is woken or the limit is past. It may wake for no reason.
pub(crate) fn sleep_on(word: &AtomicU32, value: u32, limit: Duration) {
    let limit = libc::timespec {
        tv_sec: limit.as_secs() as libc::time_t,
        tv_nsec: i64::from(limit.subsec_nanos()),
    };
    let wait = libc::FUTEX_WAIT | libc::FUTEX_PRIVATE_FLAG;
    // SAFETY: the word and the limit live for the length of the call.
    unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), wait, value, &raw const limit) };
}

/// Wakes every thread that sleeps on the word. Safe to call from a signal handler.
pub(crate) fn wake(word: &AtomicU32) {
    let wake = libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG;
    // SAFETY: the word lives for the length of the call.
    unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), wake, i32::MAX) };
}
