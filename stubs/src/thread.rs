//! Threads of this process, as the system knows them.

use std::fs;

/// A thread of this process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ThreadName {
    /// The system's number of it, as in `/proc/self/task`.
    pub id: i32,
    /// Its name, at most 15 bytes; empty if the thread ended before it could be read.
    pub name: String,
}

impl ThreadName {
    /// Reads a thread's name.
    pub(crate) fn of(id: i32) -> Self {
        let name = fs::read_to_string(format!("/proc/self/task/{id}/comm")).unwrap_or_default();
        ThreadName {
            id,
            name: name.trim_end_matches('\n').to_owned(),
        }
    }
}

impl std::fmt::Display for ThreadName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "thread {} ({})", self.id, self.name)
    }
}

/// The calling thread's number.
pub(crate) fn current_id() -> i32 {
    rustix::thread::gettid().as_raw_nonzero().get()
}

/// This process's number. Safe to call from a signal handler.
pub(crate) fn process_id() -> i32 {
    // SAFETY: getpid takes nothing and cannot fail.
    unsafe { libc::getpid() }
}

/// Why a thread does not answer a signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Silence {
    /// It blocks the signal.
    Blocked,
    /// It is in uninterruptible sleep, inside of a system call.
    Uninterruptible,
    /// It is stopped, by a signal or a debugger.
    Stopped,
    /// Its stack could not be told from other memory, or not be read.
    UnknownStack,
    /// Nothing of that: it had no time before the deadline.
    NoAnswer,
}

impl Silence {
    /// Finds the reason of a thread that has not answered. `None` if it has ended.
    pub(crate) fn explain(self, task: i32, signal: i32) -> Option<Self> {
        let status = fs::read_to_string(format!("/proc/self/task/{task}/status")).ok()?;
        let state = Self::state(&status)?;
        let blocked = u64::from_str_radix(field(&status, "SigBlk:"), 16).unwrap_or(0);
        match state {
            _ if self != Silence::NoAnswer => Some(self),
            _ if blocked >> (signal - 1) & 1 == 1 => Some(Silence::Blocked),
            'D' => Some(Silence::Uninterruptible),
            'T' | 't' => Some(Silence::Stopped),
            _ => Some(self),
        }
    }

    /// What a thread is doing, from the text of its status. `None` if it has ended.
    fn state(status: &str) -> Option<char> {
        let state = field(status, "State:").chars().next()?;
        (!matches!(state, 'Z' | 'X')).then_some(state)
    }
}

fn field<'a>(status: &'a str, name: &str) -> &'a str {
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    line.map_or("", |line| line.trim_start())
}

/// The numbers of this process's threads.
pub(crate) fn tasks() -> std::io::Result<Vec<i32>> {
    let mut tasks = Vec::new();
    for entry in fs::read_dir("/proc/self/task")? {
        let name = entry?.file_name();
        tasks.extend(name.to_str().and_then(|name| name.parse::<i32>().ok()));
    }
    Ok(tasks)
}

/// Whether a thread of this process has ended: its number is free, or only its exit status is left.
///
/// In a child after a `fork`, the parent's other threads have ended.
pub(crate) fn has_ended(task: i32) -> bool {
    // SAFETY: takes no pointers, and signal 0 is none.
    let sent = unsafe { libc::syscall(libc::SYS_tgkill, process_id(), task, 0) };
    if sent != 0 {
        return std::io::Error::last_os_error().raw_os_error() == Some(libc::ESRCH);
    }
    // The first thread keeps its number until the last one has ended.
    let status = fs::read_to_string(format!("/proc/self/task/{task}/status"));
    status.is_ok_and(|status| Silence::state(&status).is_none())
}
