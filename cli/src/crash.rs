//! Says where loaded code crashed, and then lets the signal do what it does.

use std::ffi::{c_int, c_void};
use std::sync::OnceLock;

use restub::Session;

/// The unwinder's own (Itanium C++ ABI, "Exception Handling", section 1.3).
#[repr(C)]
struct UnwindContext {
    _private: [u8; 0],
}

unsafe extern "C" {
    fn _Unwind_Backtrace(
        trace: extern "C" fn(*mut UnwindContext, *mut c_void) -> c_int,
        argument: *mut c_void,
    ) -> c_int;
    fn _Unwind_GetIP(context: *mut UnwindContext) -> usize;
}

/// The session whose functions are named.
static SESSION: OnceLock<&'static Session> = OnceLock::new();

const SIGNALS: [(c_int, &str); 7] = [
    (libc::SIGSEGV, "SIGSEGV"),
    (libc::SIGBUS, "SIGBUS"),
    (libc::SIGILL, "SIGILL"),
    (libc::SIGFPE, "SIGFPE"),
    (libc::SIGTRAP, "SIGTRAP"),
    (libc::SIGSYS, "SIGSYS"),
    (libc::SIGABRT, "SIGABRT"),
];

/// Bytes of the stack on which crashes are reported: that of the program may be full.
const STACK_BYTES: usize = 64 * 1024;
/// How far up the stack a caller is looked for.
const SEARCHED_BYTES: u64 = 256 * 1024;
/// A fault this close to the stack pointer means that the stack is full; one frame may be skipped.
const OVERFLOW_BYTES: u64 = 64 * 1024;
const PAGE_BYTES: u64 = restub::loader::PAGE_BYTES;

/// Has crashes reported from now on, with the functions of a session.
///
/// The program may still handle these signals itself. Threads that it starts are reported as well, except when their
/// stack is full, because they have no other one.
pub(crate) fn report_in(session: &'static Session) {
    if SESSION.set(session).is_err() {
        return;
    }
    let stack: &'static mut [u8] = Box::leak(vec![0; STACK_BYTES].into_boxed_slice());
    let stack = libc::stack_t {
        ss_sp: stack.as_mut_ptr().cast(),
        ss_flags: 0,
        ss_size: stack.len(),
    };
    // SAFETY: the memory is never freed, and nothing else uses it.
    unsafe { libc::sigaltstack(&raw const stack, std::ptr::null_mut()) };
    for (signal, _) in SIGNALS {
        // SAFETY: a sigaction of zeros is valid: default action, empty mask.
        let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
        action.sa_sigaction = report as extern "C" fn(c_int, *mut libc::siginfo_t, *mut libc::c_void) as usize;
        // After one signal the default action is back, so that returning to the instruction ends the process by it.
        action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_RESETHAND;
        // SAFETY: the handler does only what is allowed in a signal handler.
        unsafe { libc::sigaction(signal, &raw const action, std::ptr::null_mut()) };
    }
}

extern "C" fn report(signal: c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    let name = SIGNALS
        .iter()
        .find(|(number, _)| *number == signal)
        .map_or("signal", |(_, name)| name);
    // SAFETY: the kernel passes the context of the interrupted thread.
    let context = unsafe { &*context.cast::<libc::ucontext_t>() };
    let register = |number: c_int| context.uc_mcontext.gregs[number as usize].cast_unsigned();
    let (at, stack) = (register(libc::REG_RIP), register(libc::REG_RSP));
    let mut message = Message::default();
    message.text("restub: ").text(name).text(" at ").hex(at);
    if !message.function(" in ", at) {
        // Most likely a library, which loaded code has called.
        message.text(" outside of the loaded code");
        // Unwinding may fail where the stack is damaged, so what is known goes out first.
        message.write();
        if !message.unwound_caller() {
            message.scanned_caller(stack);
        }
    }
    // SAFETY: the kernel passes the signal's information.
    let info = unsafe { &*info };
    // A signal that a process sent has no address.
    if matches!(signal, libc::SIGSEGV | libc::SIGBUS) && info.si_code > 0 {
        // SAFETY: these two signals have an address.
        let address = unsafe { info.si_addr() } as u64;
        message.text(", address ").hex(address);
        if signal == libc::SIGSEGV && address.abs_diff(stack) < OVERFLOW_BYTES {
            message.text(" (stack overflow)");
        }
    }
    message.text("\n");
    message.write();
    // SAFETY: raise is allowed in a signal handler. A signal sent by `kill` would otherwise not come again.
    unsafe { libc::raise(signal) };
}

/// A message built without allocating; what does not fit is cut off.
struct Message {
    bytes: [u8; 1024],
    length: usize,
}

impl Default for Message {
    fn default() -> Self {
        Message {
            bytes: [0; 1024],
            length: 0,
        }
    }
}

impl Message {
    fn text(&mut self, text: &str) -> &mut Self {
        let room = &mut self.bytes[self.length..];
        let count = text.len().min(room.len());
        room[..count].copy_from_slice(&text.as_bytes()[..count]);
        self.length += count;
        self
    }

    fn hex(&mut self, number: u64) -> &mut Self {
        const DIGITS: &str = "0123456789abcdef";
        self.text("0x");
        let first = (0..16).find(|digit| number >> (60 - digit * 4) != 0).unwrap_or(15);
        for digit in first..16 {
            let value = (number >> (60 - digit * 4) & 15) as usize;
            self.text(&DIGITS[value..=value]);
        }
        self
    }

    /// `before`, and `NAME+OFFSET (OBJECT)` of the loaded function at an address. Returns whether there is one.
    fn function(&mut self, before: &str, address: u64) -> bool {
        let Some(session) = SESSION.get() else { return false };
        session.function_at(address, |name, offset, object| {
            self.text(before).text(name).text("+").hex(offset);
            self.text(" (").text(object).text(")");
        })
    }

    /// Writes the text to standard error, and starts again.
    fn write(&mut self) {
        // SAFETY: the buffer is valid; write is allowed in a signal handler.
        unsafe { libc::write(libc::STDERR_FILENO, self.bytes.as_ptr().cast(), self.length) };
        self.length = 0;
    }

    /// The loaded function that the caller of an address is in. Returns whether there is one.
    fn caller_at(&mut self, return_address: u64) -> bool {
        // A call in the last instruction of a function returns behind it.
        self.function(", called from ", return_address.wrapping_sub(1))
    }

    /// The innermost loaded function that unwinding the stack finds. Returns whether there is one.
    fn unwound_caller(&mut self) -> bool {
        extern "C" fn frame(context: *mut UnwindContext, search: *mut c_void) -> c_int {
            const CONTINUE: c_int = 0;
            const STOP: c_int = 4;
            // SAFETY: the search below, to which nothing else refers meanwhile.
            let (message, found) = unsafe { &mut *search.cast::<(&mut Message, bool)>() };
            // SAFETY: the unwinder passes its context.
            *found = message.caller_at(unsafe { _Unwind_GetIP(context) } as u64);
            if *found { STOP } else { CONTINUE }
        }
        let mut search = (self, false);
        // SAFETY: the callback takes what is passed with it. The unwinder's tables are read without locks on the way that
        // matters here, and its failure ends the process by the signal that is being reported.
        unsafe { _Unwind_Backtrace(frame, (&raw mut search).cast()) };
        search.1
    }

    /// The loaded function that the nearest return address on the stack belongs to, for code without unwind tables.
    /// An older address that was not overwritten can come first.
    fn scanned_caller(&mut self, stack: u64) {
        let mut page = [0_u64; PAGE_BYTES as usize / 8];
        let mut from = stack & !7;
        let end = from.saturating_add(SEARCHED_BYTES);
        let process = std::process::id().cast_signed();
        while from < end {
            let bytes = PAGE_BYTES - from % PAGE_BYTES;
            let local = libc::iovec {
                iov_base: page.as_mut_ptr().cast(),
                iov_len: bytes as usize,
            };
            let remote = libc::iovec {
                iov_base: std::ptr::with_exposed_provenance_mut(from as usize),
                iov_len: bytes as usize,
            };
            // SAFETY: the kernel checks the range that is read, and the buffer holds a page.
            let read = unsafe { libc::process_vm_readv(process, &raw const local, 1, &raw const remote, 1, 0) };
            if read != bytes.cast_signed() as isize {
                return;
            }
            // A call in the last instruction of a function returns behind it.
            let words = &page[..bytes as usize / 8];
            if words
                .iter()
                .any(|word| self.function(", called from ", word.wrapping_sub(1)))
            {
                return;
            }
            from += bytes;
        }
    }
}
