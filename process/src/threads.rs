//! Stopping every thread of a process, and letting all of them go again.
//!
//! Threads are seized first, which stops nobody, and interrupted then. The list of threads is read again until a pass
//! finds none that is not stopped: only a thread that runs can start another. Nothing here sends a signal, and
//! PTRACE_O_EXITKILL is not set, so that the kernel lets every thread go on if the caller dies.

use std::io;
use std::time::{Duration, Instant};

use crate::error::{Error, Result};
use crate::inject::undisturbed;
use crate::procfs::{self, Procfs, system};
use crate::ptrace::{self, Registers, Report};

/// A thread that this process traces.
#[derive(Debug)]
struct Thread {
    tid: i32,
    stopped: bool,
    /// A signal that was on its way to the thread when it stopped.
    signal: i32,
}

/// The hold on a process: one of its threads is traced, so that nobody else patches it at the same time.
///
/// A hold and all it leads to belongs to the thread that took it, since the kernel ties tracing to a thread; when that
/// thread ends, whatever is still traced goes on.
#[derive(Debug)]
pub(crate) struct Hold<'a> {
    pub(crate) procfs: &'a Procfs,
    threads: Vec<Thread>,
    suspends_seccomp: bool,
}

/// A thread of a stopped process.
#[derive(Debug, Clone, Copy)]
pub(crate) struct StoppedThread {
    pub(crate) tid: i32,
    pub(crate) registers: Registers,
}

/// Pauses between two looks at threads: each is twice the one before. The processor has to be left to the threads, since
/// they run to stop.
const FIRST_PAUSE: Duration = Duration::from_micros(5);
const LONGEST_PAUSE: Duration = Duration::from_millis(1);
/// While threads stand, the last one that stops should not be noticed late.
const LONGEST_PAUSE_OF_STOP: Duration = Duration::from_micros(50);

impl<'a> Hold<'a> {
    /// Takes hold of a process, and stops no thread.
    pub(crate) fn take(procfs: &'a Procfs) -> Result<Self> {
        let mut hold = Hold {
            procfs,
            threads: Vec::new(),
            suspends_seccomp: false,
        };
        let filtered = procfs.status("Seccomp").is_some_and(|mode| mode != "0");
        for tid in procfs::tasks(procfs.pid)? {
            if filtered && ptrace::seize(tid, true).is_ok() {
                hold.suspends_seccomp = true;
                hold.threads.push(Thread::new(tid));
                return Ok(hold);
            }
            if hold.seize(tid)? {
                return Ok(hold);
            }
        }
        Err(Error::NoProcess(procfs.pid))
    }

    /// Whether system calls made in the target's name are free of its seccomp filters.
    pub(crate) fn suspends_seccomp(&self) -> bool {
        self.suspends_seccomp
    }

    /// The threads that are traced.
    pub(crate) fn tids(&self) -> Vec<i32> {
        self.threads.iter().map(|thread| thread.tid).collect()
    }

    /// Traces a thread. Returns whether there is something to trace.
    pub(crate) fn seize(&mut self, tid: i32) -> Result<bool> {
        let pid = self.procfs.pid;
        match ptrace::seize(tid, self.suspends_seccomp) {
            Ok(()) => {
                self.threads.push(Thread::new(tid));
                Ok(true)
            }
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) => Ok(false),
            Err(error) if error.raw_os_error() == Some(libc::EPERM) => {
                // A main thread that has ended before the others stays as a zombie, which nobody can trace.
                if matches!(procfs::state(pid, tid), None | Some(b'Z' | b'X')) {
                    return Ok(false);
                }
                Err(match procfs::tracer(pid, tid) {
                    Some((tracer, name)) => Error::Traced { pid, tid, tracer, name },
                    None => Error::Permission {
                        pid,
                        reason: procfs::forbidden(pid),
                    },
                })
            }
            Err(error) => Err(system(pid, "tracing a thread", error)),
        }
    }

    /// Traces every thread that is not traced yet. Returns how many that are.
    fn seize_new(&mut self) -> Result<usize> {
        let before = self.threads.len();
        for tid in procfs::tasks(self.procfs.pid)? {
            // The list is in order, but threads may have been seized in another one.
            if !self.threads.iter().any(|thread| thread.tid == tid) {
                self.seize(tid)?;
            }
        }
        Ok(self.threads.len() - before)
    }

    /// Traces every thread, and stops none.
    pub(crate) fn seize_all(&mut self) -> Result<()> {
        self.seize_new().map(|_| ())
    }

    /// Stops every thread. On an error all of them go on.
    pub(crate) fn stop_all(&mut self, limit: Duration) -> Result<Stop<'_, 'a>> {
        self.seize_new()?;
        ptrace::hurry(true);
        let begin = Instant::now();
        let stop = Stop { hold: self, begin };
        loop {
            stop.hold.interrupt_running();
            stop.hold.wait_all(begin, limit)?;
            if stop.hold.seize_new()? == 0 {
                return Ok(stop);
            }
        }
    }

    fn interrupt_running(&mut self) {
        for thread in self.threads.iter_mut().filter(|thread| !thread.stopped) {
            // One that was too late for the attempt before has stopped meanwhile.
            if let Ok(Some(report @ (Report::Stopped | Report::Signal(_)))) = ptrace::poll(thread.tid) {
                thread.stop(report, self.procfs);
                continue;
            }
            // A thread that is gone cannot be interrupted, and says so when it is waited for.
            let _ = ptrace::interrupt(thread.tid);
        }
    }

    /// Waits for one thread after the other. All have been asked already, so that while one is waited for the others
    /// stop; and each look is one system call, whatever the number of threads.
    fn wait_all(&mut self, begin: Instant, limit: Duration) -> Result<()> {
        let (procfs, pid) = (self.procfs, self.procfs.pid);
        let mut gone = false;
        let mut late = false;
        for thread in self.threads.iter_mut().filter(|thread| !thread.stopped) {
            let mut pause = FIRST_PAUSE;
            loop {
                match ptrace::poll(thread.tid).map_err(|error| system(pid, "waiting for a thread", error))? {
                    Some(Report::Gone) => {
                        thread.tid = 0;
                        gone = true;
                        break;
                    }
                    Some(report) => {
                        thread.stop(report, procfs);
                        break;
                    }
                    None if begin.elapsed() > limit => {
                        late = true;
                        break;
                    }
                    None => {}
                }
                std::thread::sleep(pause);
                pause = (pause * 2).min(LONGEST_PAUSE_OF_STOP);
            }
        }
        if gone {
            self.threads.retain(|thread| thread.tid != 0);
        }
        if late { Err(self.not_stopped(limit)) } else { Ok(()) }
    }

    fn not_stopped(&self, limit: Duration) -> Error {
        let running = self.threads.iter().filter(|thread| !thread.stopped);
        Error::NotStopped {
            pid: self.procfs.pid,
            threads: running.map(|thread| self.procfs.describe_thread(thread.tid)).collect(),
            waited_ms: u64::try_from(limit.as_millis()).unwrap_or(u64::MAX),
        }
    }

    /// Stops one of the traced threads, and says whether it did in time.
    pub(crate) fn stop_one(&mut self, tid: i32, limit: Duration) -> Result<bool> {
        let pid = self.procfs.pid;
        let Some(at) = self.threads.iter().position(|thread| thread.tid == tid) else {
            return Ok(false);
        };
        if ptrace::interrupt(tid).is_err() {
            return Ok(false);
        }
        match wait_for(tid, limit).map_err(|error| system(pid, "waiting for a thread", error))? {
            Some(Report::Gone) => {
                self.threads.remove(at);
                Ok(false)
            }
            Some(report) => {
                self.threads[at].stop(report, self.procfs);
                Ok(true)
            }
            None => Ok(false),
        }
    }

    /// Lets a stopped thread go on; it stays traced.
    pub(crate) fn resume_one(&mut self, tid: i32) {
        if let Some(thread) = self
            .threads
            .iter_mut()
            .find(|thread| thread.tid == tid && thread.stopped)
        {
            // A thread that was killed meanwhile needs no resuming.
            let _ = ptrace::resume(tid, thread.signal);
            thread.stopped = false;
            thread.signal = 0;
        }
    }

    /// Notes a signal that is to be delivered when the stopped thread goes on.
    pub(crate) fn hold_back(&mut self, tid: i32, signal: i32) {
        if let Some(thread) = self.threads.iter_mut().find(|thread| thread.tid == tid) {
            thread.signal = signal;
        }
    }

    pub(crate) fn signal_of(&self, tid: i32) -> i32 {
        let thread = self.threads.iter().find(|thread| thread.tid == tid);
        thread.map_or(0, |thread| thread.signal)
    }

    fn resume_all(&mut self) {
        for thread in self.threads.iter_mut().filter(|thread| thread.stopped) {
            let _ = ptrace::resume(thread.tid, thread.signal);
            thread.stopped = false;
            thread.signal = 0;
        }
    }
}

impl Drop for Hold<'_> {
    /// Lets everything go that is stopped. What is not goes on when the thread that traces it ends.
    fn drop(&mut self) {
        for thread in self.threads.iter().filter(|thread| thread.stopped) {
            let _ = ptrace::detach(thread.tid, thread.signal);
        }
    }
}

impl Thread {
    fn new(tid: i32) -> Self {
        Thread {
            tid,
            stopped: false,
            signal: 0,
        }
    }

    fn stop(&mut self, report: Report, procfs: &Procfs) {
        self.stopped = true;
        match report {
            Report::Signal(signal) => self.signal = signal,
            // Whatever becomes of the stop, a call that it made fail is made again.
            _ => undisturb(self.tid, procfs),
        }
    }
}

fn undisturb(tid: i32, procfs: &Procfs) {
    let Ok(found) = ptrace::registers(tid) else {
        return;
    };
    let registers = undisturbed(procfs, tid, found);
    if registers.rip != found.rip {
        // It fails only for a thread that was killed meanwhile.
        let _ = ptrace::set_registers(tid, &registers);
    }
}

/// A process of which no thread runs, until this is dropped.
#[derive(Debug)]
pub(crate) struct Stop<'h, 'a> {
    hold: &'h mut Hold<'a>,
    begin: Instant,
}

impl Stop<'_, '_> {
    /// Fills the list of threads with their registers. A list with room for all allocates nothing.
    pub(crate) fn threads(&self, list: &mut Vec<StoppedThread>) -> Result<()> {
        list.clear();
        for thread in self.hold.threads.iter().filter(|thread| thread.stopped) {
            match ptrace::registers(thread.tid) {
                Ok(registers) => list.push(StoppedThread {
                    tid: thread.tid,
                    registers,
                }),
                // Killed meanwhile.
                Err(error) if error.raw_os_error() == Some(libc::ESRCH) => {}
                Err(error) => return Err(system(self.hold.procfs.pid, "reading registers", error)),
            }
        }
        Ok(())
    }

    pub(crate) fn set_registers(&self, tid: i32, registers: &Registers) -> Result<()> {
        ptrace::set_registers(tid, registers).map_err(|error| system(self.hold.procfs.pid, "setting registers", error))
    }

    /// Lets all threads go on, and says for how long they stood.
    pub(crate) fn end(self) -> Duration {
        self.hold.resume_all();
        let time = self.begin.elapsed();
        ptrace::hurry(false);
        time
    }
}

impl Drop for Stop<'_, '_> {
    fn drop(&mut self) {
        self.hold.resume_all();
        ptrace::hurry(false);
    }
}

/// Waits until a thread reports; `None` if it does not in time.
pub(crate) fn wait_for(tid: i32, limit: Duration) -> io::Result<Option<Report>> {
    let begin = Instant::now();
    let mut pause = FIRST_PAUSE;
    loop {
        if let Some(report) = ptrace::poll(tid)? {
            return Ok(Some(report));
        }
        if begin.elapsed() > limit {
            return Ok(None);
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}
