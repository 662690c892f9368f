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

    /// Makes a name from what [`current_name`] returned in that thread.
    pub(crate) fn from_words(id: i32, words: [u64; 2]) -> Self {
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        let bytes = bytes.split(|&byte| byte == 0).next().unwrap_or_default();
        ThreadName {
            id,
            name: String::from_utf8_lossy(bytes).into_owned(),
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

/// The calling thread's name, zero-terminated.
pub(crate) fn current_name() -> [u64; 2] {
    let mut name = [0u64; 2];
    // SAFETY: writes at most 16 bytes.
    unsafe { libc::prctl(libc::PR_GET_NAME, name.as_mut_ptr()) };
    name
}

/// Nanoseconds since boot, on the clock by which the system dates threads.
pub(crate) fn since_boot() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    (now.tv_sec as u64) * 1_000_000_000 + now.tv_nsec as u64
}

/// Whether a thread began later than a moment [since boot](since_boot): then its number was another thread's before.
pub(crate) fn is_younger(task: i32, moment: u64) -> bool {
    /// The system counts hundredths of a second, whatever its own timer does.
    const TICK_NANOS: u64 = 10_000_000;
    /// The name in parentheses, which is the second field, may contain anything; the beginning is the 22nd.
    const BEHIND_NAME: usize = 22 - 3;
    let stat = fs::read_to_string(format!("/proc/self/task/{task}/stat")).unwrap_or_default();
    let (_, fields) = stat.rsplit_once(") ").unwrap_or_default();
    let began = fields
        .split(' ')
        .nth(BEHIND_NAME)
        .and_then(|ticks| ticks.parse::<u64>().ok());
    began.is_some_and(|ticks| ticks * TICK_NANOS > moment)
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
