//! Why a process cannot be looked at or patched, in words for the one who asked.

use std::fmt;

/// A result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why something was refused or failed. The process goes on as it was.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There is no such process, or it ended meanwhile.
    #[error("process {0} does not exist")]
    NoProcess(i32),
    /// The process has executed another program since it was looked at.
    #[error("process {0} has become another program meanwhile (execve), which is as it was")]
    Executed(i32),
    /// The dynamic linker is at work in the process.
    #[error("process {0} is still being started, or loads a library just now; try again")]
    Loading(i32),
    /// The process is of a kind that cannot be patched.
    #[error("process {pid}: {reason}")]
    Unsupported {
        /// The process.
        pid: i32,
        /// What it is.
        reason: String,
    },
    /// The system forbids it.
    #[error("process {pid}: {reason}")]
    Permission {
        /// The process.
        pid: i32,
        /// What forbids it, and what to do about it.
        reason: String,
    },
    /// A debugger or another patcher has the process.
    #[error("process {pid}: thread {tid} is traced by process {tracer} ({name}); end that first")]
    Traced {
        /// The process.
        pid: i32,
        /// The thread.
        tid: i32,
        /// Who traces it.
        tracer: i32,
        /// The tracer's name.
        name: String,
    },
    /// Some threads did not stop in time.
    #[error("process {pid}: {} did not stop in {waited_ms} ms: {}", count(.threads.len(), "thread"), List(.threads))]
    NotStopped {
        /// The process.
        pid: i32,
        /// The threads, each with what it does.
        threads: Vec<String>,
        /// How long they were waited for.
        waited_ms: u64,
    },
    /// Threads are where nothing may change, and did not leave in time.
    #[error("process {pid}: cannot switch, and did not within {waited_ms} ms: {}", List(.blockers))]
    Busy {
        /// The process.
        pid: i32,
        /// The threads, each with what it is in.
        blockers: Vec<String>,
        /// How long it was tried.
        waited_ms: u64,
    },
    /// A system call fails.
    #[error("process {pid}: {operation}: {source}")]
    System {
        /// The process.
        pid: i32,
        /// The operation.
        operation: &'static str,
        /// The system's reason.
        source: std::io::Error,
    },
    /// A system call that was made in the target's name fails.
    #[error("process {pid}: {call} in the target fails: {source}")]
    Injected {
        /// The process.
        pid: i32,
        /// The system call.
        call: &'static str,
        /// The system's reason.
        source: std::io::Error,
    },
    /// Memory of the target does not hold what it should.
    #[error("process {pid}: memory at {address:#x} does not hold {expected}; something else writes there")]
    Changed {
        /// The process.
        pid: i32,
        /// Where.
        address: u64,
        /// What it should hold.
        expected: &'static str,
    },
    /// The records of earlier patches make no sense.
    #[error("process {pid}: its patch records are damaged: {reason}")]
    Registry {
        /// The process.
        pid: i32,
        /// What does not hold.
        reason: String,
    },
    /// Things that make a patch impossible or unsafe: all of them.
    #[error("{}", Lines(.0))]
    Refused(Vec<Refusal>),
    /// The objects cannot be linked for the target.
    #[error(transparent)]
    Link(#[from] restub_loader::Error),
    /// There is no such patch in the process.
    #[error("process {pid}: no patch named {name}")]
    NoPatch {
        /// The process.
        pid: i32,
        /// The name asked for.
        name: String,
    },
    /// Another patch uses what is to go.
    #[error("process {pid}: patch {name} cannot be reverted before {}, which use what it defines", List(.users))]
    Needed {
        /// The process.
        pid: i32,
        /// The patch.
        name: String,
        /// Who needs it.
        users: Vec<String>,
    },
}

/// One reason why a patch is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// A stable name of the kind of reason.
    pub code: &'static str,
    /// What is refused: a function, a variable, or a file.
    pub subject: String,
    /// The reason.
    pub reason: String,
}

impl Refusal {
    pub(crate) fn new(code: &'static str, subject: impl Into<String>, reason: impl Into<String>) -> Self {
        Refusal {
            code,
            subject: subject.into(),
            reason: reason.into(),
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} [{}]", self.subject, self.reason, self.code)
    }
}

struct Lines<'a>(&'a [Refusal]);

impl fmt::Display for Lines<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, refusal) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{refusal}")?;
        }
        Ok(())
    }
}

struct List<'a>(&'a [String]);

impl fmt::Display for List<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join(", "))
    }
}

fn count(number: usize, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}
