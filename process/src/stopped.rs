//! Doing something while no thread runs, in as many attempts as time allows.

use std::ops::Range;
use std::time::{Duration, Instant};

use crate::error::{Error, Result};
use crate::safety::{Findings, Scanner, Watch};
use crate::threads::{Hold, StoppedThread};

/// How long all threads get to stop at the first attempt; twice that at the next one. Where processors are short, a
/// thread that only waits for one stops late, and the others should not stand for it at once.
const FIRST_LIMIT: Duration = Duration::from_millis(100);
/// Pauses between attempts to find all threads elsewhere.
const FIRST_PAUSE: Duration = Duration::from_millis(1);
const LONGEST_PAUSE: Duration = Duration::from_millis(50);
/// Threads that may be started between the list of them and the stop, without an allocation.
const SLACK: usize = 256;

/// Stops all threads, makes sure that none is in the way, and does something, in as many attempts as time allows.
pub(crate) struct Stopped {
    watch: Watch,
    observed: Vec<Range<u64>>,
    scanner: Scanner,
    pub(crate) findings: Findings,
    pub(crate) threads: Vec<StoppedThread>,
}

impl Stopped {
    pub(crate) fn new(hold: &mut Hold<'_>, watch: Watch, observed: Vec<Range<u64>>) -> Result<Self> {
        hold.seize_all()?;
        Ok(Stopped {
            watch,
            observed,
            scanner: Scanner::new(hold.procfs.maps()?),
            findings: Findings::default(),
            threads: Vec::with_capacity(hold.tids().len() + SLACK),
        })
    }

    /// Gives the time of the stop, the number of attempts, and the number of threads.
    pub(crate) fn run(
        &mut self,
        hold: &mut Hold<'_>,
        timeout: Duration,
        mut action: impl FnMut() -> Result<()>,
    ) -> Result<(Duration, u32, usize)> {
        let procfs = hold.procfs;
        let begin = Instant::now();
        let mut pause = FIRST_PAUSE;
        let mut limit = FIRST_LIMIT;
        for attempt in 1.. {
            let stop = match hold.stop_all(limit) {
                Ok(stop) => stop,
                Err(Error::NotStopped { .. }) if begin.elapsed() < timeout => {
                    limit *= 2;
                    continue;
                }
                Err(error) => return Err(error),
            };
            stop.threads(&mut self.threads)?;
            let (watch, observed) = (&self.watch, &self.observed);
            self.scanner
                .look(procfs, &self.threads, watch, observed, &mut self.findings);
            if self.findings.blockers.is_empty() {
                for (tid, registers) in &self.findings.moved {
                    stop.set_registers(*tid, registers)?;
                }
                action()?;
                let time = stop.end();
                return Ok((time, attempt, self.threads.len()));
            }
            drop(stop);
            if begin.elapsed() > timeout {
                break;
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
        Err(Error::Busy {
            pid: procfs.pid,
            blockers: std::mem::take(&mut self.findings.blockers),
            waited_ms: u64::try_from(begin.elapsed().as_millis()).unwrap_or(u64::MAX),
        })
    }
}
