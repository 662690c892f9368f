//! Functions that are compiled on their first call.
//!
//! A stub without a definition leads to [`entry`], which asks [`LazyFunctions::resolve`] where the call goes on:
//!
//! ```text
//! let lazy = Arc::new(LazyFunctions::new(None));
//! let resolver = Arc::clone(&lazy);
//! let table = StubTable::new(memory, slot, OnUnbound::Resolve {
//!     entry: lazy::entry::address()?,
//!     resolver: Box::new(move |call| resolver.resolve(call).unwrap_or_else(|| unbound(call))),
//! });
//! let stub = table.add("f")?;
//! lazy.define(stub.index(), "f", move || { /* compile, load, publish */ Ok(stub.address()) });
//! ```
//!
//! What a compilation returns is where calls go on that came before its stub was published. The stub's own address is
//! right at all times, whatever is replaced meanwhile: the call then starts again.

pub(crate) mod entry;

use std::ffi::c_int;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, RwLock, TryLockError};

use restub_stubs::{LazyCell, Turn, UnboundCall};
use rustc_hash::FxHashMap;

use crate::Error;

/// Compiles a function, makes it the definition of its stub, and says where calls that wait for it go on.
type Compile = Box<dyn FnMut() -> Result<u64, Error> + Send>;

/// What is told when a lazy function cannot be compiled.
///
/// It runs on the thread of each call that wanted the function, and says where that call goes instead, once: the next
/// one tries again. If it has no answer, the process is aborted with a message. It may also unwind, by a panic or an
/// exception, into the caller.
pub type LazyHook = dyn Fn(&LazyFailure<'_>) -> Option<u64> + Send + Sync;

/// A call of a lazy function that could not be compiled.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct LazyFailure<'a> {
    /// The function.
    pub name: &'a str,
    /// The return address of the call: where it came from.
    pub caller: u64,
    /// Why.
    pub error: LazyError,
}

impl fmt::Display for LazyFailure<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let LazyFailure { name, caller, error } = self;
        write!(f, "call of `{name}` from {caller:#x}: {error}")
    }
}

/// Why a lazy function has no code.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum LazyError {
    /// Its compilation failed, in this thread or in the one that this thread waited for.
    #[error("{0}")]
    Compile(Arc<Error>),
    /// Its compilation calls it.
    #[error("it is being compiled by this very thread")]
    Recursive,
    /// Its compilation was left half-way, by a panic or, in a child, by `fork`.
    #[error("its compilation was not finished")]
    Unfinished,
}

/// The lazy functions of a table of stubs.
pub(crate) struct LazyFunctions {
    by_stub: RwLock<FxHashMap<u32, Arc<LazyFunction>>>,
    hook: Option<Box<LazyHook>>,
}

struct LazyFunction {
    name: Box<str>,
    cell: LazyCell,
    /// Locked by the thread whose turn it is, so it never waits.
    compile: Mutex<Compile>,
    failure: Mutex<Option<Arc<Error>>>,
}

impl fmt::Debug for LazyFunctions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LazyFunctions").finish_non_exhaustive()
    }
}

impl LazyFunctions {
    /// None yet. Without a hook, a function that cannot be compiled ends the process.
    pub(crate) fn new(hook: Option<Box<LazyHook>>) -> Self {
        LazyFunctions {
            by_stub: RwLock::default(),
            hook,
        }
    }

    /// Says how the function of a stub is compiled. It may be asked several times, until it has succeeded; never by two
    /// threads at once, and never while it runs.
    pub(crate) fn define(&self, stub: u32, name: &str, compile: impl FnMut() -> Result<u64, Error> + Send + 'static) {
        let function = LazyFunction {
            name: name.into(),
            cell: LazyCell::new(),
            compile: Mutex::new(Box::new(compile)),
            failure: Mutex::default(),
        };
        let mut functions = self.by_stub.write().unwrap_or_else(PoisonError::into_inner);
        functions.insert(stub, Arc::new(function));
    }

    /// Forgets how a stub's function is compiled. Calls that wait for it get their answer.
    pub(crate) fn remove(&self, stub: u32) {
        let mut functions = self.by_stub.write().unwrap_or_else(PoisonError::into_inner);
        functions.remove(&stub);
    }

    /// Where a call of a stub without a definition goes on; `None` if the stub is not that of a lazy function.
    pub(crate) fn resolve(&self, call: &UnboundCall<'_>) -> Option<u64> {
        let functions = self.by_stub.read().unwrap_or_else(PoisonError::into_inner);
        let function = Arc::clone(functions.get(&call.index)?);
        drop(functions);
        let error = match function.find() {
            Ok(target) => return Some(target),
            Err(error) => error,
        };
        let failure = LazyFailure {
            name: &function.name,
            caller: call.caller,
            error,
        };
        let answer = self.hook.as_ref().and_then(|hook| hook(&failure));
        Some(answer.unwrap_or_else(|| die(&failure)))
    }
}

impl LazyFunction {
    fn find(&self) -> Result<u64, LazyError> {
        let attempt = match self.cell.enter() {
            Turn::Found(target) => return Ok(target),
            Turn::Recursive => return Err(LazyError::Recursive),
            Turn::Failed => return Err(self.last_failure()),
            Turn::Mine(attempt) => attempt,
        };
        let _uncancelled = Uncancelled::begin();
        let mut compile = match self.compile.try_lock() {
            Ok(compile) => compile,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return Err(LazyError::Unfinished),
        };
        let failure = match compile() {
            Ok(target) => {
                attempt.publish(target);
                return Ok(target);
            }
            Err(error) => Arc::new(error),
        };
        drop(compile);
        self.set_failure(Some(Arc::clone(&failure)));
        drop(attempt); // whoever waits for it finds the failure
        Err(LazyError::Compile(failure))
    }

    fn set_failure(&self, failure: Option<Arc<Error>>) {
        *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = failure;
    }

    fn last_failure(&self) -> LazyError {
        let failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        failure.clone().map_or(LazyError::Unfinished, LazyError::Compile)
    }
}

#[expect(
    clippy::print_stderr,
    reason = "the last words of a process that nobody can return an error to"
)]
fn die(failure: &LazyFailure<'_>) -> ! {
    eprintln!("restub: {failure}");
    std::process::abort()
}

unsafe extern "C" {
    fn pthread_setcancelstate(state: c_int, old: *mut c_int) -> c_int;
}

/// Puts off the cancellation of this thread: compiling reads files and waits for processes, where a cancelled thread
/// would be unwound with the work half done.
struct Uncancelled(c_int);

impl Uncancelled {
    fn begin() -> Self {
        const PTHREAD_CANCEL_DISABLE: c_int = 1;
        let mut old = 0;
        // SAFETY: the state is one of the two, and the pointer is to a local variable.
        unsafe { pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &raw mut old) };
        Uncancelled(old)
    }
}

impl Drop for Uncancelled {
    fn drop(&mut self) {
        // SAFETY: the state is what the C library returned.
        unsafe { pthread_setcancelstate(self.0, std::ptr::null_mut()) };
    }
}

#[cfg(test)]
mod tests;
