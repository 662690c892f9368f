//! Guards of signal handlers.
//!
//! A handler may interrupt its thread in the middle of a pin, so it cannot pin itself; nor may it free memory, which a
//! pin now and then does. So it counts itself in a word of its thread, and a collection asks, after the grace period,
//! who is counted: what has been cut off by then cannot be reached by a handler that begins later, and items wait for
//! the ones that are counted.

use crate::sync::{AtomicU64, Ordering, fence};

/// The handlers that run on a thread. Bits 0 to 15 count them, for they nest; the rest counts how often none was left.
#[derive(Debug, Default)]
pub(crate) struct Interrupts {
    word: AtomicU64,
}

/// Handlers that were running: see [`Interrupts::have_ended`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Running(u64);

const DEPTH: u64 = 0xffff;

impl Interrupts {
    /// On the thread itself: what is retired from here on waits.
    pub(crate) fn enter(&self) {
        self.word.fetch_add(1, Ordering::Relaxed);
        // SeqCst: pairs with the fence in `barrier`. Either the collection counts this handler, or this handler sees
        // the stores that cut off what is collected.
        fence(Ordering::SeqCst);
    }

    /// On the thread itself. A handler in the middle of this has ended by the time that it goes on.
    pub(crate) fn leave(&self) {
        let is_last = self.word.load(Ordering::Relaxed) & DEPTH == 1;
        let change = if is_last { DEPTH } else { 0u64.wrapping_sub(1) };
        // Release: pairs with the acquires of whoever collects: what this handler called, it has returned from.
        self.word.fetch_add(change, Ordering::Release);
    }

    /// On a thread that has ended: no handler runs on it.
    pub(crate) fn clear(&self) {
        self.word.fetch_or(DEPTH, Ordering::Relaxed);
        self.word.fetch_add(1, Ordering::Release);
    }

    /// For a collection, after the grace period and before [`running`](Self::running).
    pub(crate) fn barrier() {
        // SeqCst: pairs with the fence in `enter`.
        fence(Ordering::SeqCst);
    }

    /// The handlers that are running, if any.
    pub(crate) fn running(&self) -> Option<Running> {
        // Acquire: pairs with the release in `leave`.
        let word = self.word.load(Ordering::Acquire);
        (word & DEPTH != 0).then_some(Running(word & !DEPTH))
    }

    /// Whether these have ended, whatever runs meanwhile.
    pub(crate) fn have_ended(&self, running: Running) -> bool {
        self.running() != Some(running)
    }
}
