//! System calls in the target's name: one of its threads makes them, and no function of the target is called.
//!
//! The thread runs a **detour**: a `syscall` instruction, then instructions that give every register its value back,
//! then a jump to where the thread was. While the caller lives it stops the thread at the end of the call and sets the
//! registers itself, exactly. If the caller is killed at any moment, the thread finishes the detour alone and goes on
//! as if nothing had been. That is why there is no breakpoint: a SIGTRAP that nobody takes would kill the target.
//!
//! The stack is not touched, so the red zone (psABI section 3.2.2) stays whole, nor are the flags.

use std::io;
use std::time::Duration;

use restub_asm::reg::{R8, R9, R10, R11, RAX, RCX, RDI, RDX, RSI};
use restub_asm::{Builder, Instructions as _, Mem};

use crate::error::{Error, Result};
use crate::procfs::{Mapping, Procfs, system};
use crate::ptrace::{self, Registers, Report};
use crate::threads::{Hold, wait_for};

/// Room for a detour in bytes.
pub(crate) const DETOUR_BYTES: usize = 128;
const SYSCALL_BYTES: u64 = 2;
/// How long a thread is waited for before another one is asked.
const PATIENCE: Duration = Duration::from_millis(200);
/// How long a system call may take.
const CALL_LIMIT: Duration = Duration::from_secs(5);
/// How often a call is begun anew because a signal comes first.
const ATTEMPTS: usize = 100;

/// A system call.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Call {
    pub(crate) name: &'static str,
    pub(crate) number: i64,
    pub(crate) arguments: [u64; 6],
}

/// Makes system calls in the target, in order, up to the first that fails.
///
/// `scratch` is executable memory of restub's own in the target, if there is some.
pub(crate) fn make_calls(hold: &mut Hold<'_>, scratch: Option<u64>, calls: &[Call]) -> Result<()> {
    refuse_seccomp(hold)?;
    let place = find_room(hold, scratch)?;
    let tid = stop_some_thread(hold)?;
    let result = run(hold, tid, place, calls);
    if let Err(error) = &result
        && !matches!(error, Error::Injected { .. })
    {
        // The thread may still be in the detour, which does no harm where it is.
        return result;
    }
    // Unused bytes at the end of a page of code, which were zeros before any detour was there.
    let restored = hold.procfs.write(place, &[0; DETOUR_BYTES]);
    hold.resume_one(tid);
    result.and(restored)
}

fn refuse_seccomp(hold: &Hold<'_>) -> Result<()> {
    let mode = hold.procfs.status("Seccomp").unwrap_or_default();
    let reason = match mode.as_str() {
        "1" => "it runs under strict seccomp, where mapping memory would kill it",
        "2" if !hold.suspends_seccomp() => {
            "it runs under a seccomp filter that restub may not suspend, and that may kill it for mapping memory; run \
             restub with CAP_SYS_ADMIN, and not under seccomp itself"
        }
        _ => return Ok(()),
    };
    Err(Error::Permission {
        pid: hold.procfs.pid,
        reason: reason.into(),
    })
}

/// Stops a thread that can make system calls: not one that waits in the kernel for what cannot be interrupted, and none
/// that has a signal on its way.
fn stop_some_thread(hold: &mut Hold<'_>) -> Result<i32> {
    let first = hold.tids();
    for tid in first {
        if usable(hold, tid)? {
            return Ok(tid);
        }
    }
    hold.seize_all()?;
    let all = hold.tids();
    for tid in &all {
        if usable(hold, *tid)? {
            return Ok(*tid);
        }
    }
    Err(Error::NotStopped {
        pid: hold.procfs.pid,
        threads: all.iter().map(|tid| hold.procfs.describe_thread(*tid)).collect(),
        waited_ms: u64::try_from(PATIENCE.as_millis()).unwrap_or(u64::MAX),
    })
}

fn usable(hold: &mut Hold<'_>, tid: i32) -> Result<bool> {
    for _ in 0..ATTEMPTS {
        if !hold.stop_one(tid, PATIENCE)? {
            return Ok(false);
        }
        if hold.signal_of(tid) == 0 {
            return Ok(true);
        }
        hold.resume_one(tid);
    }
    Ok(false)
}

fn run(hold: &mut Hold<'_>, tid: i32, place: u64, calls: &[Call]) -> Result<()> {
    let procfs = hold.procfs;
    let traced = |error: io::Error| system(procfs.pid, "running a system call in it", error);
    let mut attempts = 0;
    let mut next = 0;
    while next < calls.len() {
        // Where the thread is now; after a signal that is somewhere else.
        let home = ptrace::registers(tid).map_err(traced)?;
        procfs.write(place, &detour(&home, place)?)?;
        let (done, ended) = run_in_detour(tid, place, &home, &calls[next..]).map_err(traced)?;
        for (call, result) in calls[next..].iter().zip(&done) {
            if (-4095..0).contains(result) {
                return_home(hold, tid, &home, ended).map_err(traced)?;
                return Err(Error::Injected {
                    pid: procfs.pid,
                    call: call.name,
                    source: io::Error::from_raw_os_error(i32::try_from(-result).unwrap_or(libc::EINVAL)),
                });
            }
        }
        next += done.len();
        return_home(hold, tid, &home, ended).map_err(traced)?;
        attempts += 1;
        if attempts > ATTEMPTS {
            return Err(traced(io::Error::other("signals keep coming first")));
        }
    }
    Ok(())
}

/// How the thread stands after some calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ended {
    /// At the end of a system call, where the kernel does not restart the one that was interrupted before.
    AtCall,
    /// At another stop, perhaps with a signal on its way.
    Elsewhere(i32),
}

/// Runs calls, up to the first that fails, and gives their results.
fn run_in_detour(tid: i32, place: u64, home: &Registers, calls: &[Call]) -> io::Result<(Vec<i64>, Ended)> {
    let mut done = Vec::with_capacity(calls.len());
    for call in calls {
        let [a, b, c, d, e, f] = call.arguments;
        let registers = Registers {
            rip: place,
            rax: call.number.cast_unsigned(),
            orig_rax: u64::MAX,
            rdi: a,
            rsi: b,
            rdx: c,
            r10: d,
            r8: e,
            r9: f,
            ..*home
        };
        ptrace::set_registers(tid, &registers)?;
        // The start of the call, then its end.
        for at_end in [false, true] {
            ptrace::resume_to_system_call(tid)?;
            let Some(report) = wait_for(tid, CALL_LIMIT)? else {
                return Err(io::Error::from_raw_os_error(libc::ETIMEDOUT));
            };
            let signal = match report {
                Report::SystemCall => continue,
                Report::Gone => return Err(io::Error::from_raw_os_error(libc::ESRCH)),
                Report::Signal(signal) => signal,
                Report::Stopped => 0,
            };
            debug_assert!(!at_end, "a system call that has begun ends with a stop");
            return Ok((done, Ended::Elsewhere(signal)));
        }
        let result = ptrace::registers(tid)?.rax.cast_signed();
        done.push(result);
        if (-4095..0).contains(&result) {
            break;
        }
    }
    Ok((done, Ended::AtCall))
}

/// Gives the thread its registers back and stops it where the kernel restarts the system call that it was in.
fn return_home(hold: &mut Hold<'_>, tid: i32, home: &Registers, ended: Ended) -> io::Result<()> {
    let mut signal = 0;
    match ended {
        Ended::AtCall => {
            // The order matters: with the interrupt on its way, the kernel looks at the registers again before the
            // thread runs, and restarts the call, also if this process is gone by then.
            ptrace::interrupt(tid)?;
            ptrace::set_registers(tid, home)?;
        }
        Ended::Elsewhere(on_its_way) => {
            ptrace::set_registers(tid, home)?;
            ptrace::interrupt(tid)?;
            signal = on_its_way;
        }
    }
    ptrace::resume(tid, signal)?;
    match wait_for(tid, CALL_LIMIT)? {
        Some(Report::Signal(signal)) => {
            hold.hold_back(tid, signal);
            Ok(())
        }
        Some(Report::Stopped | Report::SystemCall) => Ok(()),
        Some(Report::Gone) => Err(io::Error::from_raw_os_error(libc::ESRCH)),
        None => Err(io::Error::from_raw_os_error(libc::ETIMEDOUT)),
    }
}

/// Where the thread goes on, and with what in `rax`, if nobody restarts its system call.
///
/// The kernel's rule (`arch_do_signal_or_restart`): a call that was interrupted is made again, by its number or, if it
/// has a time limit, as `restart_syscall`.
pub(crate) fn resumption(registers: &Registers) -> (u64, u64) {
    const ERESTARTSYS: i64 = -512;
    const ERESTARTNOHAND: i64 = -514;
    const ERESTART_RESTARTBLOCK: i64 = -516;
    let in_call = registers.orig_rax.cast_signed() >= 0;
    match registers.rax.cast_signed() {
        ERESTARTNOHAND..=ERESTARTSYS if in_call => (registers.rip - SYSCALL_BYTES, registers.orig_rax),
        ERESTART_RESTARTBLOCK if in_call => (registers.rip - SYSCALL_BYTES, libc::SYS_restart_syscall.cast_unsigned()),
        _ => (registers.rip, registers.rax),
    }
}

/// The registers of a stopped thread, without what the stop alone has done to it.
///
/// Some system calls fail with EINTR when a thread is stopped, though no handler of a signal runs (signal(7),
/// "Interruption of system calls by stop signals"), and programs do not expect that. They are made again, unless there
/// is a signal for which the program waits to be told so.
pub(crate) fn undisturbed(procfs: &Procfs, tid: i32, registers: Registers) -> Registers {
    const FAIL_WHEN_STOPPED: [i64; 9] = [
        libc::SYS_epoll_wait,
        libc::SYS_epoll_pwait,
        libc::SYS_epoll_pwait2,
        libc::SYS_semop,
        libc::SYS_semtimedop,
        libc::SYS_rt_sigtimedwait,
        libc::SYS_io_getevents,
        libc::SYS_msgrcv,
        libc::SYS_msgsnd,
    ];
    let failed = registers.rax.cast_signed() == -i64::from(libc::EINTR);
    let call = registers.orig_rax.cast_signed();
    if !failed || !FAIL_WHEN_STOPPED.contains(&call) || procfs.has_signal(tid) {
        return registers;
    }
    Registers {
        rip: registers.rip - SYSCALL_BYTES,
        rax: registers.orig_rax,
        ..registers
    }
}

/// The bytes of a detour for a thread with these registers.
fn detour(home: &Registers, place: u64) -> Result<Vec<u8>> {
    let (rip, rax) = resumption(home);
    let build = || -> std::result::Result<Vec<u8>, Box<dyn std::error::Error>> {
        let mut code = Builder::new();
        code.syscall()?;
        let values = [
            (RAX, rax),
            (RCX, home.rcx),
            (RDX, home.rdx),
            (RSI, home.rsi),
            (RDI, home.rdi),
            (R8, home.r8),
            (R9, home.r9),
            (R10, home.r10),
            (R11, home.r11),
        ];
        for (register, value) in values {
            code.movabs(register, value.cast_signed())?;
        }
        code.jmp(Mem::rip(0).size(8))?;
        code.bytes(&rip.to_le_bytes());
        Ok(code.finish_at(place, |_| None)?)
    };
    build().map_err(|error| Error::Unsupported {
        pid: 0,
        reason: format!("no detour for it: {error}"),
    })
}

/// Room for a detour: `scratch`, or zeros at the end of the last page of a mapping of code, where no instruction is.
fn find_room(hold: &mut Hold<'_>, scratch: Option<u64>) -> Result<u64> {
    // Twice the room, so that the zeros are not the end of the last instruction.
    const FREE_BYTES: usize = 2 * DETOUR_BYTES;
    let procfs = hold.procfs;
    let maps = procfs.maps()?;
    let is_code = |mapping: &&Mapping| {
        let from_file = mapping.inode != 0 || mapping.path.as_os_str() == "[vdso]";
        mapping.is_executable() && mapping.is_readable() && !mapping.is_writable() && from_file
    };
    let mut left_behind = Vec::new();
    if let Some(place) = scratch {
        let bytes = procfs
            .read_vec(place, DETOUR_BYTES)
            .ok_or(Error::NoProcess(procfs.pid))?;
        if bytes.iter().all(|byte| *byte == 0) {
            return Ok(place);
        }
        left_behind.push(place);
    }
    for mapping in maps.iter().filter(is_code) {
        let start = mapping.end.saturating_sub(FREE_BYTES as u64);
        let Some(tail) = procfs.read_vec(start, FREE_BYTES) else {
            continue;
        };
        let (before, place) = tail.split_at(DETOUR_BYTES);
        if before.iter().any(|byte| *byte != 0) {
            continue;
        }
        if place.iter().all(|byte| *byte == 0) {
            return Ok(start + DETOUR_BYTES as u64);
        }
        if is_detour(place) {
            left_behind.push(start + DETOUR_BYTES as u64);
        }
    }
    // A patcher that was killed leaves its detour behind; whoever was in it has left, unless that is just now.
    let mut threads = Vec::new();
    if !left_behind.is_empty() {
        hold.stop_all(CALL_LIMIT)?.threads(&mut threads)?;
    }
    left_behind.retain(|place| {
        let detour = *place..*place + DETOUR_BYTES as u64;
        threads.iter().all(|thread| !detour.contains(&thread.registers.rip))
    });
    left_behind.first().copied().ok_or_else(|| Error::Unsupported {
        pid: procfs.pid,
        reason: "no mapping of code has 256 free bytes at its end, to make system calls from".into(),
    })
}

/// Whether bytes are a detour, whatever its registers are.
fn is_detour(bytes: &[u8]) -> bool {
    const SYSCALL: [u8; 2] = [0x0f, 0x05];
    const MOVES: [[u8; 2]; 9] = [
        [0x48, 0xb8],
        [0x48, 0xb9],
        [0x48, 0xba],
        [0x48, 0xbe],
        [0x48, 0xbf],
        [0x49, 0xb8],
        [0x49, 0xb9],
        [0x49, 0xba],
        [0x49, 0xbb],
    ];
    const MOVE_BYTES: usize = 10;
    let moves = bytes[SYSCALL.len()..].chunks_exact(MOVE_BYTES).zip(MOVES);
    bytes.starts_with(&SYSCALL) && moves.into_iter().all(|(bytes, opcode)| bytes.starts_with(&opcode))
}

#[cfg(test)]
mod tests {
    use iced_x86::{Decoder, DecoderOptions, Mnemonic};

    use super::*;

    fn registers() -> Registers {
        // SAFETY: a structure of integers.
        let mut registers: Registers = unsafe { std::mem::zeroed() };
        registers.rip = 0x5555_0000_1000;
        registers.rcx = 0x11;
        registers.r11 = 0x246;
        registers
    }

    #[test]
    fn an_interrupted_call_is_made_again() {
        let mut registers = registers();
        (registers.rax, registers.orig_rax) = ((-514_i64).cast_unsigned(), 34);
        assert_eq!(resumption(&registers), (0x5555_0000_0ffe, 34));
        registers.rax = (-516_i64).cast_unsigned();
        assert_eq!(resumption(&registers), (0x5555_0000_0ffe, 219));
        registers.orig_rax = u64::MAX;
        assert_eq!(resumption(&registers), (registers.rip, registers.rax));
        (registers.rax, registers.orig_rax) = ((-4_i64).cast_unsigned(), 34);
        assert_eq!(resumption(&registers), (registers.rip, registers.rax));
    }

    #[test]
    fn a_detour_ends_where_the_thread_was() {
        let bytes = detour(&registers(), 0x7000_0000).unwrap();
        assert!(bytes.len() <= DETOUR_BYTES, "{}", bytes.len());
        let mut decoder = Decoder::with_ip(64, &bytes, 0x7000_0000, DecoderOptions::NONE);
        assert_eq!(decoder.decode().mnemonic(), Mnemonic::Syscall);
        let mut last = decoder.decode();
        while last.mnemonic() == Mnemonic::Mov {
            last = decoder.decode();
        }
        assert_eq!(last.mnemonic(), Mnemonic::Jmp);
        assert_eq!(last.ip_rel_memory_address(), last.next_ip());
        assert_eq!(bytes[bytes.len() - 8..], 0x5555_0000_1000_u64.to_le_bytes());
        assert!(is_detour(&bytes) && !is_detour(&[0; DETOUR_BYTES]));
    }
}
