//! The first call of a function that has no code yet: one thread finds it, the others wait.

use std::marker::PhantomData;
use std::time::Duration;

use crate::sync::{AtomicU32, AtomicU64, Ordering, sleep_on, wake};
use crate::thread;

/// How often a thread that waits looks whether the one it waits for still exists.
const CHECK: Duration = Duration::from_millis(100);

/// Where a function is that is compiled on its first call. However many threads ask, one of them finds it.
///
/// ```
/// use restub_stubs::{LazyCell, Turn};
///
/// let cell = LazyCell::new();
/// match cell.enter() {
///     Turn::Mine(attempt) => attempt.publish(0x1000), // dropped instead, the attempt would have failed
///     _ => unreachable!("nobody else knows the cell"),
/// }
/// assert!(matches!(cell.enter(), Turn::Found(0x1000)));
/// ```
#[derive(Debug, Default)]
pub struct LazyCell {
    /// See [`State`].
    state: AtomicU64,
    /// Meaningful once the state is `FOUND`.
    target: AtomicU64,
    /// Incremented behind each change of the state: what waiting threads sleep on.
    changes: AtomicU32,
}

/// Whose turn it is.
#[derive(Debug)]
pub enum Turn<'a> {
    /// The function has been found, here.
    Found(u64),
    /// The calling thread is to find it.
    Mine(Attempt<'a>),
    /// Another thread looked for it while this one waited, and failed. Whoever asks next tries again.
    Failed,
    /// The calling thread is looking for it already: what it does for that needs the function itself.
    Recursive,
}

/// The right to find a function. Dropping it means failure.
#[derive(Debug)]
#[must_use = "an attempt that is dropped has failed"]
pub struct Attempt<'a> {
    cell: &'a LazyCell,
    number: u32,
    /// The cell knows whose attempt it is by the thread.
    not_send: PhantomData<*const ()>,
}

const IDLE: u32 = 0;
const BUSY: u32 = 1;
const FOUND: u32 = 2;

/// What a cell's state says, packed into one word: bits 0 and 1 what, 2 to 31 the number of the latest attempt, and
/// 32 to 63 the thread that makes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct State {
    what: u32,
    attempt: u32,
    owner: i32,
}

impl State {
    fn unpack(word: u64) -> Self {
        State {
            what: word as u32 & 3,
            attempt: word as u32 >> 2,
            owner: (word >> 32) as i32,
        }
    }

    fn pack(self) -> u64 {
        let low = (self.attempt << 2) | self.what;
        u64::from(self.owner.cast_unsigned()) << 32 | u64::from(low)
    }
}

impl LazyCell {
    /// A cell whose function has not been looked for.
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks for the function, and waits if another thread is about to find it.
    ///
    /// A thread that ends without finishing its attempt is noticed and replaced; so is, in a child after a `fork`,
    /// every thread of the parent's.
    pub fn enter(&self) -> Turn<'_> {
        self.enter_as(thread::current_id(), thread::has_ended)
    }

    pub(crate) fn enter_as(&self, me: i32, has_ended: impl Fn(i32) -> bool) -> Turn<'_> {
        let mut awaited = None;
        loop {
            // Acquire: pairs with the increment in `change`, so that what is slept through below is no change.
            let changes = self.changes.load(Ordering::Acquire);
            // Acquire: pairs with the release in `change`, which the target precedes.
            let word = self.state.load(Ordering::Acquire);
            let state = State::unpack(word);
            match state.what {
                FOUND => return Turn::Found(self.target.load(Ordering::Relaxed)),
                BUSY if state.owner == me => return Turn::Recursive,
                _ if awaited.is_some_and(|attempt| attempt != state.attempt || state.what == IDLE) => {
                    return Turn::Failed;
                }
                BUSY if awaited.is_none() || !has_ended(state.owner) => {
                    awaited = Some(state.attempt);
                    sleep_on(&self.changes, changes, CHECK);
                }
                _ => {
                    if let Some(attempt) = self.begin(word, me) {
                        return Turn::Mine(attempt);
                    }
                }
            }
        }
    }

    /// Makes an attempt the calling thread's own, unless the state has changed.
    fn begin(&self, word: u64, me: i32) -> Option<Attempt<'_>> {
        let state = State::unpack(word);
        // Whoever waits for an attempt waits on if another thread takes it over.
        let number = match state.what {
            BUSY => state.attempt,
            _ => (state.attempt + 1) & (u32::MAX >> 2),
        };
        let next = State {
            what: BUSY,
            attempt: number,
            owner: me,
        };
        // Acquire: pairs with the release in `change`: what an earlier attempt has done is seen.
        let begun = self
            .state
            .compare_exchange(word, next.pack(), Ordering::Acquire, Ordering::Relaxed);
        begun.ok().map(|_| Attempt {
            cell: self,
            number,
            not_send: PhantomData,
        })
    }

    fn change(&self, what: u32, attempt: u32) {
        let next = State {
            what,
            attempt,
            owner: 0,
        };
        // Release: pairs with the acquires in `enter_as` and `begin`.
        self.state.store(next.pack(), Ordering::Release);
        // Release: pairs with the acquire in `enter_as`: whoever sees the increment sees the state.
        self.changes.fetch_add(1, Ordering::Release);
        wake(&self.changes);
    }
}

impl Attempt<'_> {
    /// Tells every thread, waiting or to come, where the function is.
    pub fn publish(self, target: u64) {
        self.cell.target.store(target, Ordering::Relaxed); // the release in `change` orders it
        self.cell.change(FOUND, self.number);
        std::mem::forget(self);
    }
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        self.cell.change(IDLE, self.number);
    }
}
