//! What happens when a stub without a definition is called.

use std::ffi::{c_int, c_void};
use std::fmt;
use std::io::Write;
use std::sync::{Arc, RwLock, TryLockError};

use crate::slot::Handler;

/// What a table does with calls of stubs that have no definition.
#[non_exhaustive]
pub enum OnUnbound {
    /// Write the symbol's name to standard error, and abort.
    Abort,
    /// Call a hook, and abort if it returns.
    ///
    /// It runs on the thread that made the call, with that call's arguments lost, and whatever locks the thread holds.
    Hook(Box<dyn Fn(&UnboundCall<'_>) + Send + Sync>),
    /// Ask for an address, and go on there as if the call had gone there in the first place.
    Resolve {
        /// Code that does what [`Handler`] says, and gets the address from [`resolve_unbound`].
        entry: u64,
        /// Says where a call goes on. The stub's own address is a good answer once it has a definition: the call then
        /// meets whatever is current when it gets there.
        ///
        /// It runs on the thread that made the call, with whatever locks that holds, and may unwind into the caller.
        resolver: Box<dyn Fn(&UnboundCall<'_>) -> u64 + Send + Sync>,
    },
    /// Jump to a handler of the host's own. See [`Handler`].
    Resolver(Handler),
}

impl fmt::Debug for OnUnbound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OnUnbound::Abort => f.write_str("Abort"),
            OnUnbound::Hook(_) => f.write_str("Hook(..)"),
            OnUnbound::Resolve { entry, .. } => f.debug_struct("Resolve").field("entry", entry).finish_non_exhaustive(),
            OnUnbound::Resolver(handler) => f.debug_tuple("Resolver").field(handler).finish(),
        }
    }
}

/// A call of a stub that has no definition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnboundCall<'a> {
    /// The symbol that the stub stands for. `None` only while another thread is adding stubs without pause.
    pub name: Option<&'a str>,
    /// The stub's index.
    pub index: u32,
    /// The return address of the call: where it came from.
    pub caller: u64,
}

impl fmt::Display for UnboundCall<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name {
            Some(name) => write!(f, "call of `{name}`")?,
            None => write!(f, "call of stub {}", self.index)?,
        }
        write!(f, ", which has no definition, from {:#x}", self.caller)
    }
}

/// The symbols' names, and what to do when one is called in vain. Its address is a block's context.
pub(crate) struct Unbound {
    names: RwLock<Vec<Arc<str>>>,
    action: OnUnbound,
}

impl fmt::Debug for Unbound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Unbound")
            .field("action", &self.action)
            .finish_non_exhaustive()
    }
}

impl Unbound {
    pub(crate) fn new(action: OnUnbound) -> Arc<Self> {
        Arc::new(Unbound {
            names: RwLock::new(Vec::new()),
            action,
        })
    }

    /// The handler to encode into blocks. Its context is valid as long as `this` is.
    pub(crate) fn handler(this: &Arc<Self>) -> Handler {
        let entry = match this.action {
            OnUnbound::Resolver(handler) => return handler,
            OnUnbound::Resolve { entry, .. } => entry,
            _ => enter as *const () as u64,
        };
        Handler {
            entry,
            context: Arc::as_ptr(this).expose_provenance() as u64,
        }
    }

    pub(crate) fn set_name(&self, index: u32, name: &str) {
        let mut names = self.names.write().unwrap_or_else(|poisoned| poisoned.into_inner());
        let index = index as usize;
        if names.len() <= index {
            names.resize(index + 1, Arc::from(""));
        }
        names[index] = Arc::from(name);
    }

    /// The name of a stub's symbol.
    ///
    /// Does not wait: the call may have interrupted, on this very thread, whoever holds the lock.
    pub(crate) fn name(&self, index: u32) -> Option<Arc<str>> {
        for _ in 0..1000 {
            let names = match self.names.try_read() {
                Ok(names) => names,
                Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
                Err(TryLockError::WouldBlock) => {
                    std::thread::yield_now();
                    continue;
                }
            };
            return names.get(index as usize).cloned();
        }
        None
    }

    /// Where a call goes on, if anywhere.
    fn answer(&self, index: u32, caller: u64) -> Option<u64> {
        let name = self.name(index);
        let call = UnboundCall {
            name: name.as_deref(),
            index,
            caller,
        };
        match &self.action {
            OnUnbound::Resolve { resolver, .. } => return Some(resolver(&call)),
            OnUnbound::Hook(hook) => hook(&call),
            // Nobody is left to return an error to: the process is about to die, and this is its last word.
            _ => _ = writeln!(std::io::stderr(), "restub: {call}"),
        }
        None
    }
}

/// Where blocks jump to: on the stack are the context, the stub's index, and the return address of the call.
#[unsafe(naked)]
extern "C" fn enter() {
    std::arch::naked_asm!(
        ".cfi_startproc",
        ".cfi_adjust_cfa_offset 16",
        "endbr64",
        "pop rdi",
        ".cfi_adjust_cfa_offset -8",
        "pop rsi",
        ".cfi_adjust_cfa_offset -8",
        "mov rdx, [rsp]",
        "push rbp",
        ".cfi_adjust_cfa_offset 8",
        ".cfi_rel_offset rbp, 0",
        "mov rbp, rsp",
        ".cfi_def_cfa_register rbp",
        "and rsp, -16",
        "call {die}",
        "ud2",
        ".cfi_endproc",
        die = sym die,
    )
}

extern "C" fn die(context: *const Unbound, index: u64, caller: u64) -> ! {
    // SAFETY: the block that jumped here was encoded with this context, and the table that keeps it alive also keeps the
    // block; a stub must not be called once its table is gone.
    let unbound = unsafe { &*context };
    unbound.answer(index as u32, caller);
    std::process::abort()
}

/// Answers [`OnUnbound::Resolve`]'s entry with the address at which a call goes on. Preserves `errno`, as the call that
/// it delays may be to a function that reads it.
///
/// # Safety
///
/// The arguments are what the entry found: the context, the stub's index, and the return address of the call.
pub unsafe extern "C-unwind" fn resolve_unbound(context: *const c_void, index: u64, caller: u64) -> u64 {
    let _errno = Errno::save();
    // SAFETY: as in `die`: the context is the one that the block was encoded with.
    let unbound = unsafe { &*context.cast::<Unbound>() };
    let answer = unbound.answer(index as u32, caller);
    answer.unwrap_or_else(|| std::process::abort())
}

/// The thread's `errno`, put back at the end.
struct Errno(c_int);

impl Errno {
    fn save() -> Self {
        // SAFETY: the C library returned the address of this thread's `errno`.
        Errno(unsafe { *Self::place() })
    }

    fn place() -> *mut c_int {
        // SAFETY: takes nothing and cannot fail.
        unsafe { libc::__errno_location() }
    }
}

impl Drop for Errno {
    fn drop(&mut self) {
        // SAFETY: as in `save`.
        unsafe { *Self::place() = self.0 };
    }
}
