//! Says where loaded code crashed, and then lets the signal do what it does.

use std::sync::OnceLock;

use restub::loader::{Image, SymbolKind};

/// The functions of the loaded program, by address.
static FUNCTIONS: OnceLock<Vec<Function>> = OnceLock::new();

struct Function {
    start: u64,
    end: u64,
    /// `signal` goes before this: ` in NAME (OBJECT)`.
    words: String,
}

const SIGNALS: [(libc::c_int, &str); 5] = [
    (libc::SIGSEGV, "SIGSEGV"),
    (libc::SIGBUS, "SIGBUS"),
    (libc::SIGILL, "SIGILL"),
    (libc::SIGFPE, "SIGFPE"),
    (libc::SIGTRAP, "SIGTRAP"),
];

/// Has crashes in the image reported from now on.
///
/// A signal that something handles already, such as the program's constructors, is left alone.
pub(crate) fn report_in(image: &Image) {
    let functions = image
        .symbols
        .iter()
        .filter(|symbol| symbol.kind == SymbolKind::Function);
    let mut functions: Vec<Function> = functions
        .map(|symbol| Function {
            start: symbol.address,
            end: symbol.address + symbol.size.max(1),
            words: format!("{} ({})", symbol.name, image.objects[symbol.object as usize]),
        })
        .collect();
    functions.sort_by_key(|function| function.start);
    if FUNCTIONS.set(functions).is_err() {
        return;
    }
    for (signal, _) in SIGNALS {
        // SAFETY: a sigaction of zeros is valid: default action, empty mask.
        let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
        let mut old = action;
        // SAFETY: only reads the present action.
        unsafe { libc::sigaction(signal, std::ptr::null(), &raw mut old) };
        if old.sa_sigaction != libc::SIG_DFL && !is_rusts(signal) {
            continue;
        }
        action.sa_sigaction = report as extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void) as usize;
        // After one signal the default action is back, so that returning to the instruction ends the process by it.
        action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_RESETHAND;
        // SAFETY: the handler does only what is allowed in a signal handler.
        unsafe { libc::sigaction(signal, &raw const action, std::ptr::null_mut()) };
    }
}

/// Rust's runtime handles these two to report stack overflows of its own threads.
fn is_rusts(signal: libc::c_int) -> bool {
    matches!(signal, libc::SIGSEGV | libc::SIGBUS)
}

extern "C" fn report(signal: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    let name = SIGNALS
        .iter()
        .find(|(number, _)| *number == signal)
        .map_or("signal", |(_, name)| name);
    // SAFETY: the kernel passes the context of the interrupted thread.
    let context = unsafe { &*context.cast::<libc::ucontext_t>() };
    let at = context.uc_mcontext.gregs[libc::REG_RIP as usize].cast_unsigned();
    let mut message = Message::default();
    message.text("restub: ").text(name).text(" at ").hex(at);
    if let Some(function) = function_at(at) {
        message
            .text(" in ")
            .text(&function.words)
            .text("+")
            .hex(at - function.start);
    }
    if matches!(signal, libc::SIGSEGV | libc::SIGBUS) {
        // SAFETY: the kernel passes the signal's information.
        let info = unsafe { &*info };
        // SAFETY: these two signals come with an address.
        let address = unsafe { info.si_addr() };
        message.text(", address ").hex(address as u64);
    }
    message.text("\n");
    // SAFETY: the buffer is valid; write is allowed in a signal handler.
    unsafe { libc::write(libc::STDERR_FILENO, message.bytes.as_ptr().cast(), message.length) };
    // SAFETY: raise is allowed in a signal handler. A signal sent by `kill` would otherwise not come again.
    unsafe { libc::raise(signal) };
}

fn function_at(address: u64) -> Option<&'static Function> {
    let functions = FUNCTIONS.get()?;
    let after = functions.partition_point(|function| function.start <= address);
    functions[..after].last().filter(|function| address < function.end)
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
}
