//! Calling functions while others replace them.

use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering, fence};
use std::time::{Duration, Instant};

use restub_stubs::Guard;

use crate::error::{Error, Result};
use crate::fork;
use crate::function::{Function, FunctionPointer};
use crate::replace::pause;
use crate::retire::Retired;
use crate::session::Session;

/// Keeps the functions that its thread calls from being freed, however often they are replaced meanwhile.
///
/// Pins nest; one inside of another costs next to nothing. One that is never dropped delays the freeing of memory, and
/// nothing else: [`Session::stats`] names its thread.
#[derive(Debug)]
pub struct Pin<'session> {
    guard: Guard,
    session: &'session Session,
}

impl Session {
    /// Pins this thread.
    ///
    /// While a replacement [drains](crate::Consistency::Drain), a thread that is not pinned yet waits here for it to end.
    /// Not for signal handlers: a signal may arrive in the middle of a pin.
    pub fn pin(&self) -> Pin<'_> {
        loop {
            let guard = self.reclaimer().pin();
            // SeqCst: pairs with the fence in `drain`. Either this thread sees that the gate is closed, or whoever closed
            // it sees the pin.
            fence(Ordering::SeqCst);
            if !self.gate().is_closed() || !guard.is_outermost() {
                return Pin { guard, session: self };
            }
            drop(guard);
            self.gate().wait();
        }
    }

    /// Keeps threads from pinning, waits until those that are pinned have finished, and returns what lets them in again.
    pub(crate) fn drain(&self, limit: Duration) -> Result<Closed<'_>> {
        let since = Instant::now();
        let closed = self.gate().close();
        fence(Ordering::SeqCst);
        let finished = Arc::new(AtomicBool::new(false));
        self.retire(Retired::Mark(Arc::clone(&finished)), 0);
        loop {
            self.collect()?;
            // Acquire: pairs with the release store in `collect`.
            if finished.load(Ordering::Acquire) {
                return Ok(closed);
            }
            if since.elapsed() >= limit {
                let oldest = self.reclaimer().stats().oldest_guard;
                return Err(Error::Drain {
                    limit,
                    pinned: oldest.map(|guard| guard.thread.to_string()),
                });
            }
            std::thread::sleep(pause(since));
        }
    }
}

impl Pin<'_> {
    /// A function by its name, for as long as this thread is pinned.
    ///
    /// # Errors
    /// [`Error::NoSuchSymbol`] and [`Error::NotAFunction`].
    ///
    /// # Safety
    /// The function has the type `F`, in all the versions that there will be of it.
    pub unsafe fn function<F: FunctionPointer>(&self, name: &str) -> Result<Function<'_, F>> {
        // SAFETY: the caller's promise.
        unsafe { self.session.function(name) }
    }

    /// Lets go of what has been superseded so far, and holds on to what is superseded from here on: for long loops. Does
    /// nothing inside of another pin.
    pub fn repin(&mut self) {
        self.guard.repin();
        // SeqCst: as in `Session::pin`.
        fence(Ordering::SeqCst);
        while self.guard.is_outermost() && self.session.gate().is_closed() {
            let session = self.session;
            self.guard.repin_after(|| session.gate().wait());
            fence(Ordering::SeqCst);
        }
    }
}

/// Whether threads may pin.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    /// 0, or one more than the number of forks before the gate was closed: a child has no thread that would open it.
    closed: AtomicU64,
}

impl Gate {
    fn is_closed(&self) -> bool {
        let closed = self.closed.load(Ordering::SeqCst);
        closed != 0 && closed == fork::count() + 1
    }

    fn wait(&self) {
        let since = Instant::now();
        while self.is_closed() {
            std::thread::sleep(pause(since));
        }
    }

    fn close(&self) -> Closed<'_> {
        self.closed.store(fork::count() + 1, Ordering::SeqCst);
        Closed {
            gate: self,
            not_send: PhantomData,
        }
    }
}

/// A closed gate, which opens when this is dropped.
#[derive(Debug)]
pub(crate) struct Closed<'a> {
    gate: &'a Gate,
    not_send: PhantomData<*const ()>,
}

impl Drop for Closed<'_> {
    fn drop(&mut self) {
        // Release: who comes in sees the replacement. (Its stubs' words are ordered by themselves.)
        self.gate.closed.store(0, Ordering::Release);
    }
}
