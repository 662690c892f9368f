//! The part of a scan that runs in each thread, inside of a signal handler.
//!
//! What it may do there is little: it reads a job that was complete before the signal was sent, makes system calls, and
//! stores into atomics. It allocates, locks and frees nothing. It reads stacks with `process_vm_readv`, which returns
//! an error where a plain load would fault, should a mapping have gone since the snapshot.

use std::ffi::{c_int, c_void};
use std::io;
use std::ops::Range;
use std::ptr;
use std::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::ScanHit;
use super::stacks::Stacks;
use crate::sync::{sleep_on, wake};
use crate::thread::{self, ThreadName, process_id};

/// Below the stack pointer a leaf function may keep this many bytes (psABI, 3.2.2).
const RED_ZONE_BYTES: u64 = 128;
/// How much of a stack is looked at with one system call.
const BUFFER_WORDS: usize = 512;
/// What the handler itself needs of an alternate stack. It cannot get more than what two signal frames leave.
const HANDLER_BYTES: u64 = 2048;
/// How often threads that have not answered are checked for having ended.
const CHECK: Duration = Duration::from_millis(10);

/// The job that handlers work on, or null.
static CURRENT: AtomicPtr<Job> = AtomicPtr::new(ptr::null_mut());
/// Handlers that may be using it.
static ACTIVE: AtomicU32 = AtomicU32::new(0);
/// Signals that have our handler, one bit each.
static INSTALLED: AtomicU64 = AtomicU64::new(0);

/// What to look for, and where the answers go.
#[derive(Debug)]
pub(super) struct Job {
    ranges: Vec<Range<u64>>,
    /// From the lowest start to the highest end.
    bounds: Range<u64>,
    stacks: Stacks,
    /// Ascending by thread.
    answers: Vec<Answer>,
    /// Answers given: the word that the scanning thread sleeps on.
    done: AtomicU32,
}

/// A thread's answer.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) task: i32,
    state: AtomicU32,
    /// For each range the first word found.
    found: Vec<Found>,
    /// Where the thread copies its stack to, piece by piece: there may be no room for that on the stack itself.
    buffer: Vec<AtomicU64>,
}

#[derive(Debug, Default)]
struct Found {
    /// 0 if there is none: no range contains 0.
    word: AtomicU64,
    /// Where on the stack; 0 for a register.
    place: AtomicU64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub(super) enum State {
    Waiting,
    Done,
    /// The stack could not be told from other memory: it was made after the snapshot, or cannot be read.
    UnknownStack,
    /// The thread ended first.
    Gone,
}

impl Answer {
    fn new(task: i32, ranges: usize) -> Self {
        Answer {
            task,
            state: AtomicU32::new(State::Waiting as u32),
            found: (0..ranges).map(|_| Found::default()).collect(),
            buffer: (0..BUFFER_WORDS).map(|_| AtomicU64::new(0)).collect(),
        }
    }

    pub(super) fn state(&self) -> State {
        // Acquire: pairs with the release in `give`; the words found are then visible.
        match self.state.load(Ordering::Acquire) {
            state if state == State::Done as u32 => State::Done,
            state if state == State::UnknownStack as u32 => State::UnknownStack,
            state if state == State::Gone as u32 => State::Gone,
            _ => State::Waiting,
        }
    }

    fn give(&self, state: State) {
        // Release: pairs with the acquire in `state`.
        self.state.store(state as u32, Ordering::Release);
    }

    pub(super) fn hits(&self) -> Vec<ScanHit> {
        let hits = self.found.iter().enumerate().filter_map(|(range, found)| {
            let word = found.word.load(Ordering::Relaxed);
            let place = found.place.load(Ordering::Relaxed);
            (word != 0).then(|| ScanHit {
                range,
                thread: ThreadName::of(self.task),
                word,
                stack_address: (place != 0).then_some(place),
            })
        });
        hits.collect()
    }
}

impl Job {
    pub(super) fn new(ranges: &[Range<u64>], stacks: Stacks, tasks: impl IntoIterator<Item = i32>) -> Box<Self> {
        let mut answers: Vec<Answer> = tasks.into_iter().map(|task| Answer::new(task, ranges.len())).collect();
        answers.sort_by_key(|answer| answer.task);
        let used = || ranges.iter().filter(|range| !range.is_empty());
        let start = used().map(|range| range.start).min().unwrap_or(0).max(1);
        let end = used().map(|range| range.end).max().unwrap_or(0);
        Box::new(Job {
            ranges: ranges.to_vec(),
            bounds: start..end,
            stacks,
            answers,
            done: AtomicU32::new(0),
        })
    }

    pub(super) fn into_answers(self) -> Vec<Answer> {
        self.answers
    }

    /// Scans the calling thread, from `frame` (see [`with_frame`]) to its stack's end.
    pub(super) fn scan_caller(&self, frame: u64) {
        let mut alternate = unset_stack();
        // SAFETY: a null pointer asks for no change, and the other is to a local variable.
        let known = unsafe { libc::sigaltstack(ptr::null(), &raw mut alternate) };
        debug_assert_eq!(known, 0);
        self.scan_stack(&self.answers[0], frame, &alternate);
    }

    /// Scans the interrupted thread.
    fn scan_thread(&self, answer: &Answer, context: &libc::ucontext_t) {
        let alternate = &context.uc_stack;
        let room = (&raw const alternate as u64).wrapping_sub(alternate.ss_sp as u64);
        if room < HANDLER_BYTES {
            return answer.give(State::UnknownStack); // to go on would write below the alternate stack
        }
        for &register in &context.uc_mcontext.gregs {
            self.check(answer, register.cast_unsigned(), 0);
        }
        let vectors = context.uc_mcontext.fpregs as u64;
        if vectors != 0 {
            self.scan_words(answer, vectors..vectors + vector_bytes(vectors), true);
        }
        let stack_pointer = context.uc_mcontext.gregs[libc::REG_RSP as usize].cast_unsigned();
        self.scan_stack(answer, stack_pointer - RED_ZONE_BYTES, &context.uc_stack);
    }

    /// Scans the stack that is in use, and the thread's own one if that is another.
    fn scan_stack(&self, answer: &Answer, from: u64, alternate: &libc::stack_t) {
        let thread = thread_pointer();
        let is_main = answer.task == process_id();
        let own = if is_main {
            Some(self.stacks.main())
        } else {
            self.stacks.around(thread)
        };
        // The C library keeps its record of a thread at the upper end of the thread's stack.
        let own = own.map(|own| if is_main { own } else { own.start..thread });
        let alternate = alternate.ss_sp as u64..alternate.ss_sp as u64 + alternate.ss_size as u64;
        let is_readable = match own {
            None => false,
            Some(own) if alternate.contains(&(from + RED_ZONE_BYTES)) => {
                self.scan_words(answer, from..alternate.end, false) && self.scan_words(answer, own, false)
            }
            // The main stack may have grown since the snapshot.
            Some(own) if own.contains(&from) || (is_main && from < own.end && self.stacks.around(from).is_none()) => {
                self.scan_words(answer, from..own.end, false)
            }
            // A coroutine's stack, or one that the host has made itself.
            Some(own) => match self.stacks.around(from) {
                Some(stack) => self.scan_words(answer, from..stack.end, false) && self.scan_words(answer, own, false),
                None => false,
            },
        };
        answer.give(if is_readable { State::Done } else { State::UnknownStack });
    }

    /// Looks at every aligned word of some memory, as far as it is mapped. Whether any of it could be read.
    fn scan_words(&self, answer: &Answer, memory: Range<u64>, are_registers: bool) -> bool {
        let mut at = memory.start.next_multiple_of(8);
        let mut is_readable = at >= memory.end;
        while at < memory.end {
            let wanted = ((memory.end - at) / 8).min(BUFFER_WORDS as u64) as usize;
            let read = read_own_memory(at, &answer.buffer[..wanted]);
            if read == 0 {
                break;
            }
            is_readable = true;
            for (i, word) in answer.buffer[..read].iter().enumerate() {
                let place = if are_registers { 0 } else { at + 8 * i as u64 };
                self.check(answer, word.load(Ordering::Relaxed), place);
            }
            at += 8 * read as u64;
        }
        is_readable
    }

    #[inline]
    fn check(&self, answer: &Answer, word: u64, place: u64) {
        if self.bounds.contains(&word) {
            self.check_ranges(answer, word, place);
        }
    }

    #[cold]
    fn check_ranges(&self, answer: &Answer, word: u64, place: u64) {
        for (range, found) in self.ranges.iter().zip(&answer.found) {
            // A stack is scanned after the registers; whatever was found first stays.
            if range.contains(&word) && found.word.load(Ordering::Relaxed) == 0 {
                found.place.store(place, Ordering::Relaxed);
                found.word.store(word, Ordering::Relaxed);
            }
        }
    }
}

/// Asks the threads of a job, and waits until each has answered or the deadline is past.
pub(super) fn ask(job: Box<Job>, signal: c_int, deadline: Instant) -> Vec<Answer> {
    let job = Box::into_raw(job);
    // SAFETY: the job is freed at the end of this function at the earliest.
    let shared = unsafe { &*job };
    // SeqCst: pairs with the load in `answer`, see there.
    CURRENT.store(job, Ordering::SeqCst);
    let process = process_id();
    for answer in &shared.answers {
        // SAFETY: tgkill takes no pointers; the signal has a handler that does nothing but answer.
        let sent = unsafe { libc::syscall(libc::SYS_tgkill, process, answer.task, signal) };
        if sent != 0 && io::Error::last_os_error().raw_os_error() == Some(libc::ESRCH) {
            answer.give(State::Gone);
        }
    }
    wait(shared, deadline);
    // SeqCst: pairs with the increment in `answer`: a handler that still finds the job is counted below.
    CURRENT.store(ptr::null_mut(), Ordering::SeqCst);
    let patience = Instant::now() + Duration::from_secs(1);
    // SeqCst: as above; it also acquires what the last handler wrote.
    while ACTIVE.load(Ordering::SeqCst) != 0 {
        if Instant::now() > patience {
            // A thread is stopped inside of the handler: it keeps the job, and counts as one that did not answer.
            return shared.answers.iter().map(Answer::copy).collect();
        }
        std::thread::yield_now();
    }
    // SAFETY: the pointer came from a box above, no handler can find it any more, and none is using it.
    unsafe { Box::from_raw(job) }.into_answers()
}

impl Answer {
    fn copy(&self) -> Self {
        let copy = Answer::new(self.task, self.found.len());
        copy.give(self.state());
        for (to, from) in copy.found.iter().zip(&self.found) {
            to.word.store(from.word.load(Ordering::Relaxed), Ordering::Relaxed);
            to.place.store(from.place.load(Ordering::Relaxed), Ordering::Relaxed);
        }
        copy
    }
}

fn wait(job: &Job, deadline: Instant) {
    let mut next_check = Instant::now() + CHECK;
    loop {
        let done = job.done.load(Ordering::Relaxed);
        let waiting = || job.answers.iter().filter(|answer| answer.state() == State::Waiting);
        if waiting().next().is_none() || Instant::now() >= deadline {
            return;
        }
        if Instant::now() >= next_check {
            next_check = Instant::now() + CHECK;
            for answer in waiting().filter(|answer| thread::has_ended(answer.task)) {
                answer.give(State::Gone);
            }
        }
        let rest = deadline.saturating_duration_since(Instant::now()).min(CHECK);
        sleep_on(&job.done, done, rest);
    }
}

/// Installs the handler, once for each signal. It stays: a thread that blocks the signal gets it much later.
pub(super) fn install(signal: Option<c_int>) -> io::Result<c_int> {
    let installed = |signal: c_int| INSTALLED.load(Ordering::Relaxed) >> (signal - 1) & 1 == 1;
    let known = (libc::SIGRTMIN()..=libc::SIGRTMAX()).rev();
    let signal = match signal {
        Some(signal) => signal,
        None => known
            .into_iter()
            .find(|&signal| installed(signal) || is_unused(signal))
            .ok_or(io::ErrorKind::ResourceBusy)?,
    };
    if !(1..=64).contains(&signal) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    if installed(signal) {
        return Ok(signal);
    }
    let mut action = no_action();
    let answer: extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void) = answer;
    action.sa_sigaction = answer as usize;
    action.sa_flags = libc::SA_SIGINFO | libc::SA_RESTART | libc::SA_ONSTACK;
    // SAFETY: the set is a field of a local variable.
    unsafe { libc::sigfillset(&raw mut action.sa_mask) };
    // SAFETY: the action is complete, and its handler does only what a handler may.
    let set = unsafe { libc::sigaction(signal, &raw const action, ptr::null_mut()) };
    if set != 0 {
        return Err(io::Error::last_os_error());
    }
    INSTALLED.fetch_or(1 << (signal - 1), Ordering::Relaxed);
    Ok(signal)
}

fn is_unused(signal: c_int) -> bool {
    let mut action = no_action();
    // SAFETY: a null pointer asks for no change, and the other is to a local variable.
    let known = unsafe { libc::sigaction(signal, ptr::null(), &raw mut action) };
    known == 0 && action.sa_sigaction == libc::SIG_DFL
}

extern "C" fn answer(_signal: c_int, _info: *mut libc::siginfo_t, context: *mut c_void) {
    // SAFETY: takes nothing and cannot fail.
    let errno = unsafe { libc::__errno_location() };
    // SAFETY: the C library returned the address of this thread's `errno`.
    let saved = unsafe { *errno };
    // SeqCst, here and in the next load, pairs with the store of null and the load of `ACTIVE` in `ask`: either this
    // thread finds null, or `ask` finds this thread counted.
    ACTIVE.fetch_add(1, Ordering::SeqCst);
    let job = CURRENT.load(Ordering::SeqCst);
    // SAFETY: the job is not freed while this thread is counted in `ACTIVE`.
    if let Some(job) = unsafe { job.as_ref() } {
        let task = thread::current_id();
        if let Ok(i) = job.answers.binary_search_by_key(&task, |answer| answer.task)
            && job.answers[i].state() == State::Waiting
        {
            // SAFETY: the kernel passes the interrupted context to a handler with `SA_SIGINFO`.
            let context = unsafe { &*context.cast::<libc::ucontext_t>() };
            job.scan_thread(&job.answers[i], context);
            job.done.fetch_add(1, Ordering::Relaxed);
            wake(&job.done);
        }
    }
    // Release: pairs with the load of `ACTIVE` in `ask`, which frees the job.
    ACTIVE.fetch_sub(1, Ordering::Release);
    // SAFETY: as above.
    unsafe { *errno = saved };
}

/// Calls `body` with its argument and the address of a frame that starts with every register a callee must preserve,
/// followed by the caller's frames: everything that the caller's callers can still use.
#[unsafe(naked)]
pub(super) extern "C" fn with_frame(_argument: *mut c_void, _body: extern "C" fn(*mut c_void, u64)) {
    std::arch::naked_asm!(
        ".cfi_startproc",
        "push rbp",
        ".cfi_adjust_cfa_offset 8",
        "push rbx",
        ".cfi_adjust_cfa_offset 8",
        "push r12",
        ".cfi_adjust_cfa_offset 8",
        "push r13",
        ".cfi_adjust_cfa_offset 8",
        "push r14",
        ".cfi_adjust_cfa_offset 8",
        "push r15",
        ".cfi_adjust_cfa_offset 8",
        "mov rax, rsi",
        "mov rsi, rsp",
        "sub rsp, 8",
        ".cfi_adjust_cfa_offset 8",
        "call rax",
        "add rsp, 56",
        ".cfi_adjust_cfa_offset -56",
        "ret",
        ".cfi_endproc",
    )
}

/// Size in bytes of the vector registers that a signal frame holds.
fn vector_bytes(area: u64) -> u64 {
    const LEGACY_BYTES: u64 = 512;
    /// `FP_XSTATE_MAGIC1`: the frame says how large it is (Linux, `sigcontext.h`).
    const MAGIC: u32 = 0x4650_5853;
    let sizes = [AtomicU64::new(0)];
    let read = read_own_memory(area + 464, &sizes);
    let [magic_and_size] = sizes.map(AtomicU64::into_inner);
    if read != 1 || magic_and_size as u32 != MAGIC {
        return LEGACY_BYTES;
    }
    magic_and_size >> 32
}

/// Copies this process's memory as far as it is mapped, and returns the number of words.
fn read_own_memory(from: u64, to: &[AtomicU64]) -> usize {
    let size = size_of_val(to);
    let local = libc::iovec {
        iov_base: to.as_ptr().cast_mut().cast(),
        iov_len: size,
    };
    let remote = libc::iovec {
        iov_base: ptr::with_exposed_provenance_mut(from as usize),
        iov_len: size,
    };
    // SAFETY: the local vector is the whole of `to`, whose words may change while shared; the remote one is only read, and need not be mapped.
    let read = unsafe { libc::process_vm_readv(process_id(), &raw const local, 1, &raw const remote, 1, 0) };
    usize::try_from(read).unwrap_or(0) / 8
}

/// The address of the C library's record of this thread (psABI, thread-local storage: the word at `%fs:0`).
fn thread_pointer() -> u64 {
    let pointer: u64;
    // SAFETY: the psABI requires this word; reading it changes nothing.
    unsafe {
        std::arch::asm!("mov {}, qword ptr fs:[0]", out(reg) pointer, options(nostack, readonly, preserves_flags))
    };
    pointer
}

fn unset_stack() -> libc::stack_t {
    libc::stack_t {
        ss_sp: ptr::null_mut(),
        ss_flags: 0,
        ss_size: 0,
    }
}

fn no_action() -> libc::sigaction {
    // SAFETY: every field is an integer or an optional pointer, of which zero is a value.
    unsafe { std::mem::zeroed() }
}
