//! `ptrace`, call by call. The only system calls of this crate that the standard library does not have.

use std::io;
use std::mem::MaybeUninit;
use std::ptr;

use crate::steps;

/// Not in libc: the request that stops a thread with `PTRACE_EVENT_STOP`.
const PTRACE_EVENT_STOP: i32 = 128;
/// Stops at system calls are told apart from signals by this bit.
const SYSCALL_STOP: i32 = libc::SIGTRAP | 0x80;

pub(crate) type Registers = libc::user_regs_struct;

/// How a thread came to report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Report {
    /// It stopped because it was asked to, or with its process (`SIGSTOP`).
    Stopped,
    /// It stopped before this signal is delivered to it.
    Signal(i32),
    /// It stopped at the start or the end of a system call.
    SystemCall,
    /// It is gone.
    Gone,
}

fn request(request: libc::c_uint, tid: i32, address: usize, data: usize) -> io::Result<i64> {
    // SAFETY: the callers below pass the arguments that `request` takes; those that are pointers point to what they own.
    let result = unsafe { libc::ptrace(request, tid, address, data) };
    if result == -1 {
        return Err(io::Error::last_os_error());
    }
    if request != libc::PTRACE_GETREGS {
        steps::step();
    }
    Ok(result)
}

/// Attaches to a thread without stopping it. If the caller dies, the thread goes on: PTRACE_O_EXITKILL is not set.
pub(crate) fn seize(tid: i32, suspend_seccomp: bool) -> io::Result<()> {
    let options = libc::PTRACE_O_TRACESYSGOOD
        | if suspend_seccomp {
            libc::PTRACE_O_SUSPEND_SECCOMP
        } else {
            0
        };
    request(libc::PTRACE_SEIZE, tid, 0, options as usize).map(|_| ())
}

/// Asks a thread to stop.
pub(crate) fn interrupt(tid: i32) -> io::Result<()> {
    request(libc::PTRACE_INTERRUPT, tid, 0, 0).map(|_| ())
}

/// Lets a stopped thread go for good, with a signal that was held back, or 0.
pub(crate) fn detach(tid: i32, signal: i32) -> io::Result<()> {
    request(libc::PTRACE_DETACH, tid, 0, signal as usize).map(|_| ())
}

/// Lets a stopped thread go on, with a signal that was held back, or 0.
pub(crate) fn resume(tid: i32, signal: i32) -> io::Result<()> {
    request(libc::PTRACE_CONT, tid, 0, signal as usize).map(|_| ())
}

/// Lets a stopped thread go on to the start or the end of a system call.
pub(crate) fn resume_to_system_call(tid: i32) -> io::Result<()> {
    request(libc::PTRACE_SYSCALL, tid, 0, 0).map(|_| ())
}

/// The registers of a stopped thread.
pub(crate) fn registers(tid: i32) -> io::Result<Registers> {
    let mut registers = MaybeUninit::<Registers>::uninit();
    request(libc::PTRACE_GETREGS, tid, 0, registers.as_mut_ptr().expose_provenance())?;
    // SAFETY: the kernel has filled all of it.
    Ok(unsafe { registers.assume_init() })
}

/// Sets the registers of a stopped thread.
pub(crate) fn set_registers(tid: i32, registers: &Registers) -> io::Result<()> {
    let data = ptr::from_ref(registers).expose_provenance();
    request(libc::PTRACE_SETREGS, tid, 0, data).map(|_| ())
}

/// What a traced thread reports, if it has something to report.
pub(crate) fn poll(tid: i32) -> io::Result<Option<Report>> {
    let mut status = 0;
    let options = libc::__WALL | libc::__WNOTHREAD | libc::WNOHANG;
    // SAFETY: the status is a place for an int.
    let found = unsafe { libc::waitpid(tid, &raw mut status, options) };
    match found {
        0 => Ok(None),
        -1 => match io::Error::last_os_error() {
            error if error.raw_os_error() == Some(libc::ECHILD) => Ok(Some(Report::Gone)),
            error if error.kind() == io::ErrorKind::Interrupted => Ok(None),
            error => Err(error),
        },
        _ if !libc::WIFSTOPPED(status) => Ok(Some(Report::Gone)),
        _ => Ok(Some(match (status >> 16, libc::WSTOPSIG(status)) {
            (PTRACE_EVENT_STOP, _) => Report::Stopped,
            (_, SYSCALL_STOP) => Report::SystemCall,
            (_, signal) => Report::Signal(signal),
        })),
    }
}

/// Lets the calling thread run before all others, or as others do. Without the permission it stays as it is, and threads
/// stand longer.
pub(crate) fn hurry(yes: bool) {
    let (policy, priority) = if yes {
        (libc::SCHED_FIFO, 1)
    } else {
        (libc::SCHED_OTHER, 0)
    };
    let parameters = libc::sched_param {
        sched_priority: priority,
    };
    // SAFETY: takes a number; the kernel wakes this thread when asked, and not up to 50 microseconds later.
    unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, 1) };
    // SAFETY: the parameters live for the call, which concerns this thread alone.
    unsafe { libc::sched_setscheduler(0, policy, &raw const parameters) };
}

/// Ends this process at once, as the test of what happens then asks for.
pub(crate) fn die() -> ! {
    // SAFETY: sends a signal that nothing can handle, to this process alone.
    unsafe { libc::kill(std::process::id().cast_signed(), libc::SIGKILL) };
    loop {
        std::thread::park();
    }
}
