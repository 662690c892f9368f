//! The end of a program whose `main` has left by `pthread_exit`: the process ends with the last of its threads, of which
//! the follower is none.

use std::ffi::c_void;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use rustix::event::EventfdFlags;

/// How often one looks whether the program's threads have ended, once `main` has.
const PAUSE: Duration = Duration::from_millis(10);

/// Becomes readable when the main thread ends.
#[derive(Debug, Clone)]
pub(super) struct MainEnded(Arc<OwnedFd>);

impl MainEnded {
    /// Has the calling thread, which is the main one, tell when it ends by `pthread_exit`. The C library runs the
    /// destructors of thread-specific data then, and on the main thread no others.
    pub(super) fn new() -> std::io::Result<Self> {
        unsafe extern "C" fn tell(ended: *mut c_void) {
            // SAFETY: the pointer was leaked below, for this one call.
            let ended = unsafe { Box::from_raw(ended.cast::<MainEnded>()) };
            // Nobody is left to hear of a failure.
            let _ = rustix::io::write(ended.event(), &1_u64.to_ne_bytes());
        }
        let event = rustix::event::eventfd(0, EventfdFlags::CLOEXEC)?;
        let ended = MainEnded(Arc::new(event));
        let mut key = 0;
        // SAFETY: the key is this function's own, and the destructor takes what goes with it.
        let made = unsafe { libc::pthread_key_create(&raw mut key, Some(tell)) };
        if made != 0 {
            return Err(std::io::Error::from_raw_os_error(made));
        }
        let value = Box::into_raw(Box::new(ended.clone()));
        // SAFETY: the key has just been made.
        unsafe { libc::pthread_setspecific(key, value.cast()) };
        Ok(ended)
    }

    pub(super) fn event(&self) -> &OwnedFd {
        &self.0
    }
}

/// Waits until no other thread is left, and ends the process as the C library does then.
pub(super) fn end_with_the_last_thread() -> ! {
    while others_run().unwrap_or(true) {
        std::thread::sleep(PAUSE);
    }
    // SAFETY: the C library does the same when the last thread of a program ends; no other one runs.
    unsafe { libc::exit(0) }
}

/// Whether a thread other than this one runs. The main one stays as a zombie when it has ended.
fn others_run() -> std::io::Result<bool> {
    let own = rustix::thread::gettid().as_raw_nonzero().get().to_string();
    for entry in std::fs::read_dir("/proc/self/task")? {
        let entry = entry?;
        if entry.file_name() == *own {
            continue;
        }
        // A thread may end at any time, and its files with it.
        let status = std::fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        // The state comes behind the name, which is in parentheses and may contain some.
        let state = status.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next());
        if state.is_some_and(|state| !matches!(state, 'Z' | 'X')) {
            return Ok(true);
        }
    }
    Ok(false)
}
