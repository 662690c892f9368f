//! Proof that no thread can return into memory, for threads that never pin.
//!
//! Every thread of the process gets a signal, in whose handler it looks at its own registers, its stack up to the
//! stack's end and, if it runs on one, its alternate stack, for any word inside of the given address ranges. It is
//! *conservative*: an integer that looks like an address counts as one, so memory may be kept for nothing, but it is
//! never let go too early.
//!
//! What makes the answers of different moments one proof: nobody can newly enter the ranges, since every stub leads
//! elsewhere; frames do not move from thread to thread; and threads are listed again until no unknown one is left. What
//! it does **not** see: addresses in the heap, in globals, and on the stacks of coroutines that are not running.

mod handler;
mod stacks;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::thread::{self, Silence, ThreadName};
use handler::{Answer, Job, State};
use stacks::Stacks;

/// How to scan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScanOptions {
    /// How long to wait for answers. A thread that has not answered by then counts as one that holds every range.
    pub deadline: Duration,
    /// The signal to use. By default the highest real-time signal that nobody handles; its handler stays installed.
    pub signal: Option<i32>,
}

impl Default for ScanOptions {
    fn default() -> Self {
        ScanOptions {
            deadline: Duration::from_secs(1),
            signal: None,
        }
    }
}

/// Why threads could not be scanned.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ScanError {
    /// There is no signal to use.
    #[error("signal {signal:?} cannot be used to scan threads: {source}")]
    Signal {
        /// The one asked for, if any.
        signal: Option<i32>,
        /// What the system says.
        source: std::io::Error,
    },
    /// The process's threads or mappings cannot be listed.
    #[error("{path}: {source}")]
    Proc {
        /// What was to be read.
        path: &'static str,
        /// What the system says.
        source: std::io::Error,
    },
}

/// What a scan found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct ScanReport {
    /// How many threads answered, the calling one among them.
    pub threads: usize,
    /// Words that point into the ranges: for each thread and range the first that was found.
    pub hits: Vec<ScanHit>,
    /// Threads that did not answer. They may hold anything.
    pub silent: Vec<SilentThread>,
}

impl ScanReport {
    /// Whether no thread holds an address inside of this range (by its place in the list given to [`scan()`]).
    pub fn is_clear(&self, range: usize) -> bool {
        self.silent.is_empty() && self.hits.iter().all(|hit| hit.range != range)
    }
}

/// A word that points into a range.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ScanHit {
    /// Which range, by its place in the list.
    pub range: usize,
    /// The thread that holds the word.
    pub thread: ThreadName,
    /// The word.
    pub word: u64,
    /// Where it is on the stack; `None` if in a register.
    pub stack_address: Option<u64>,
}

/// A thread that did not answer.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SilentThread {
    /// Which.
    pub thread: ThreadName,
    /// Why, as far as can be seen.
    pub reason: Silence,
}

/// One scan at a time: the handler knows one job.
static ONE: Mutex<()> = Mutex::new(());

/// What a thread does not look at: its own work.
struct Call<'a> {
    ranges: &'a [Range<u64>],
    options: &'a ScanOptions,
    result: Result<ScanReport, ScanError>,
}

/// Looks for words inside of any of the ranges, in every thread of the process.
///
/// The calling thread is scanned from its caller's frames on, so a caller that keeps addresses of the ranges in local
/// variables finds itself.
///
/// # Errors
///
/// [`ScanError`] if there is no signal, or if `/proc` cannot be read. A thread that does not answer is no error.
pub fn scan(ranges: &[Range<u64>], options: &ScanOptions) -> Result<ScanReport, ScanError> {
    if ranges.iter().all(Range::is_empty) {
        return Ok(ScanReport::default());
    }
    // On the heap: what it holds must not be found on this stack.
    let mut call = Box::new(Call {
        ranges,
        options,
        result: Ok(ScanReport::default()),
    });
    handler::with_frame((&raw mut *call).cast(), enter);
    call.result
}

extern "C" fn enter(call: *mut std::ffi::c_void, frame: u64) {
    // SAFETY: `scan` passes a call that it owns and does not touch before this returns.
    let call = unsafe { &mut *call.cast::<Call<'_>>() };
    call.result = run(call.ranges, call.options, frame);
}

fn run(ranges: &[Range<u64>], options: &ScanOptions, frame: u64) -> Result<ScanReport, ScanError> {
    let _one = ONE.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let signal = handler::install(options.signal).map_err(|source| ScanError::Signal {
        signal: options.signal,
        source,
    })?;
    let deadline = Instant::now() + options.deadline;
    let mut report = ScanReport::default();
    let own = thread::current_id();
    let own_job = Job::new(ranges, Stacks::read()?, [own]);
    own_job.scan_caller(frame);
    let mut seen = BTreeSet::new();
    let mut silent = record(own_job.into_answers(), &mut seen, &mut report);
    loop {
        let tasks = thread::tasks().map_err(|source| ScanError::Proc {
            path: "/proc/self/task",
            source,
        })?;
        let fresh: Vec<i32> = tasks.into_iter().filter(|task| !seen.contains(task)).collect();
        let is_late = Instant::now() >= deadline;
        if fresh.is_empty() || is_late {
            silent.extend(fresh.into_iter().map(|task| (task, Silence::NoAnswer)));
            break;
        }
        let job = Job::new(ranges, Stacks::read()?, fresh);
        let answers = handler::ask(job, signal, deadline);
        let again = record(answers, &mut seen, &mut report);
        if !again.is_empty() {
            std::thread::sleep(Duration::from_millis(1)); // whoever was on a strange stack may be off it then
        }
        silent.extend(again);
    }
    // A thread that could not answer at first may have answered when it was asked again.
    let silent: BTreeMap<i32, Silence> = silent.into_iter().filter(|(task, _)| !seen.contains(task)).collect();
    report.silent.extend(silent.into_iter().filter_map(|(task, reason)| {
        Some(SilentThread {
            reason: reason.explain(task, signal)?,
            thread: ThreadName::of(task),
        })
    }));
    Ok(report)
}

/// Adds answers to the report and their threads to `seen`. Returns the threads that are still to answer.
fn record(answers: Vec<Answer>, seen: &mut BTreeSet<i32>, report: &mut ScanReport) -> Vec<(i32, Silence)> {
    let mut silent = Vec::new();
    for answer in answers {
        match answer.state() {
            State::Done => {
                seen.insert(answer.task);
                report.threads += 1;
                report.hits.extend(answer.hits());
            }
            State::Gone => _ = seen.insert(answer.task),
            State::UnknownStack => silent.push((answer.task, Silence::UnknownStack)),
            State::Waiting => silent.push((answer.task, Silence::NoAnswer)),
        }
    }
    silent
}
