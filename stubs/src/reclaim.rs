//! When retired memory may be freed.
//!
//! A thread that calls through stubs holds a [`Guard`] meanwhile. What is retired is past its grace period once every
//! guard that existed at that moment has been dropped. Threads that never pin need a [scan](crate::scan()) on top.
//!
//! Nothing is freed behind the host's back: an epoch may end on any thread, inside of any call, so what happens there
//! is one compare-and-swap that moves the item to a queue. [`Reclaimer::collect`] empties it, where the host chooses.

use std::cell::{Cell, RefCell};
use std::marker::PhantomData;
use std::ops::Range;
use std::ptr::NonNull;
use std::rc::Rc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Once};
use std::time::Duration;

use rustix::time::ClockId;

use crate::epoch::{Epochs, IDLE_ROUNDS};
use crate::interrupts::{Interrupts, Running};
use crate::queue::{Node, Queue};
use crate::registry::{Registry, Slot};
use crate::scan::{ScanError, ScanOptions, ScanReport, scan};
use crate::thread::ThreadName;

/// Retired items of one session, and the guards that hold them back.
///
/// Nothing here takes a lock, so a thread can be cancelled, and a process forked, at any moment. After a `fork` parent
/// and child each reclaim their own: the child does not wait for the guards of threads that it does not have, and keeps
/// those of the thread that forked. (What another thread was about to retire or to return from a collection at that
/// moment stays allocated in the child.) A child made by a bare system call, without the C library, must not use it.
///
/// When it is dropped, what is past its grace period is dropped with it, and what guards still hold back is leaked.
#[derive(Debug)]
pub struct Reclaimer<T: Send + 'static> {
    /// Names the collector in the threads' lists of handles. Never used twice.
    id: u64,
    epochs: Epochs<Retired<T>>,
    registry: Arc<Registry>,
    /// Past their grace period, held back by a scan.
    found: Queue<Retired<T>>,
    /// Past their grace period, held back by handlers that were running then.
    interrupted: Queue<Batch<T>>,
    /// The value of [`FORKS`] at the last collection.
    forks: AtomicU32,
    retired: Counter,
    reclaimed: Counter,
}

#[derive(Debug)]
struct Retired<T> {
    item: T,
    bytes: u64,
}

/// Items that no guard holds back any more, and the handlers that still may.
#[derive(Debug)]
struct Batch<T> {
    items: Vec<Retired<T>>,
    handlers: Vec<(NonNull<Slot>, Running)>,
}

// SAFETY: the slots live as long as the registry, which is the reclaimer's as the batch is, and any thread may look at
// their handlers.
unsafe impl<T: Send> Send for Batch<T> {}

/// A number of items and their bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Amount {
    /// How many.
    pub items: u64,
    /// How many bytes they stand for.
    pub bytes: u64,
}

/// What has been retired, what has been reclaimed, and who holds the rest back.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReclaimStats {
    /// Retired since the beginning.
    pub retired: Amount,
    /// Of these, returned by a collection.
    pub reclaimed: Amount,
    /// The rest: held back by a guard or a scan, or not collected yet.
    pub held: Amount,
    /// How many threads hold a guard.
    pub pinned_threads: usize,
    /// Of these, the ones that have ended. See [`Reclaimer::release_abandoned`].
    pub abandoned_threads: usize,
    /// The guard that has existed for longest.
    pub oldest_guard: Option<OldestGuard>,
}

/// A guard that has existed for a while.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct OldestGuard {
    /// The thread that holds it.
    pub thread: ThreadName,
    /// The thread has ended and left the guard behind: it will never be dropped.
    pub is_abandoned: bool,
    /// Since when, to about 4 ms.
    pub age: Duration,
}

#[derive(Debug, Default)]
struct Counter {
    items: AtomicU64,
    bytes: AtomicU64,
}

impl Counter {
    fn add(&self, amount: Amount) {
        self.items.fetch_add(amount.items, Ordering::Relaxed);
        self.bytes.fetch_add(amount.bytes, Ordering::Relaxed);
    }

    fn get(&self) -> Amount {
        Amount {
            items: self.items.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
        }
    }
}

impl<T: Send + 'static> Default for Reclaimer<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: Send + 'static> Reclaimer<T> {
    /// A reclaimer with a collector of its own: guards of others do not hold its items back.
    pub fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Reclaimer {
            id: NEXT.fetch_add(1, Ordering::Relaxed),
            epochs: Epochs::new(),
            registry: Arc::default(),
            found: Queue::new(),
            interrupted: Queue::new(),
            forks: AtomicU32::new(forks()),
            retired: Counter::default(),
            reclaimed: Counter::default(),
        }
    }

    /// Keeps everything that is retired from here on, until the guard is dropped.
    ///
    /// Pins nest, and one inside of another costs next to nothing. A guard that is never dropped delays reclaim and
    /// nothing else. Not for signal handlers, which may interrupt a pin: see [`pin_in_handler`](Self::pin_in_handler).
    #[inline]
    pub fn pin(&self) -> Guard {
        Guard::new(self.local())
    }

    /// As [`pin`](Self::pin), for signal handlers: it may be called whatever its thread was doing.
    ///
    /// `None` if the thread has never pinned this reclaimer; nothing may be called then. A thread whose handlers will
    /// call can pin once beforehand.
    pub fn pin_in_handler(&self) -> Option<HandlerGuard<'_>> {
        if !HAS_PINNED.get() {
            return None;
        }
        // Refused while the thread is in the middle of its first pin of some reclaimer.
        let find = |locals: &RefCell<Vec<Cached>>| {
            let locals = locals.try_borrow().ok()?;
            let mine = locals.iter().find(|cached| cached.0.id == self.id)?;
            Some(mine.0.slot)
        };
        let slot = LOCALS.try_with(find).ok()??;
        // SAFETY: the slot lives as long as the registry, which this reclaimer keeps.
        let interrupts = unsafe { &(*slot.as_ptr()).interrupts };
        interrupts.enter();
        Some(HandlerGuard {
            interrupts,
            not_send: PhantomData,
        })
    }

    /// Lets go of what the guards of threads hold that have ended without dropping them, and returns how many threads
    /// that were: a guard in a frame that was left by `longjmp`, by a cancellation that did not unwind it, or one that
    /// was given to [`std::mem::forget`].
    ///
    /// That a thread has ended is what the system says, whatever number it had. A guard protects calls of its own
    /// thread, so this breaks no call; but who hands the address of a function that was obtained under a guard to
    /// another thread, and then leaks the guard on purpose, must not call this.
    pub fn release_abandoned(&self) -> usize {
        self.registry.release_ended()
    }

    /// Lets go of what the calling thread's own guards hold, and returns how many there were: after a `longjmp` past
    /// them.
    ///
    /// # Safety
    ///
    /// No guard of this reclaimer that the calling thread has made is used or dropped any more, and no call that one of
    /// them protected is going on.
    pub unsafe fn release_own(&self) -> u32 {
        self.local().slot().forget_guards()
    }

    /// Hands over an item that nobody can newly reach: every stub that led to it leads elsewhere.
    ///
    /// `bytes` is what the statistics count for it.
    pub fn retire(&self, item: T, bytes: u64) {
        self.retired.add(Amount { items: 1, bytes });
        self.epochs
            .retire(self.local().slot().handle(), Retired { item, bytes });
    }

    /// Takes what may be freed: what no guard that exists can lead to. In the order in which it was retired, nearly.
    ///
    /// Waits for nobody. Under a guard of the calling thread, nothing that was retired after it comes back.
    pub fn collect(&self) -> Vec<T> {
        let items = self.take();
        self.hand_out(items)
    }

    /// As [`collect`](Self::collect), for processes in which threads call without a guard: what is past its grace
    /// period is returned only if a [scan](crate::scan()) finds no address inside of it in any thread.
    ///
    /// The rest is kept for the next time, and the report says which threads hold it. `range` gives an item's
    /// addresses; an empty range is not looked for.
    ///
    /// # Errors
    ///
    /// [`ScanError`] if threads cannot be scanned at all; nothing is reclaimed then.
    pub fn collect_with_scan(
        &self,
        range: impl Fn(&T) -> Range<u64>,
        options: &ScanOptions,
    ) -> Result<(Vec<T>, ScanReport), ScanError> {
        let items = self.take();
        let ranges: Vec<_> = items.iter().map(|retired| range(&retired.item)).collect();
        let report = match scan(&ranges, options) {
            Ok(report) => report,
            Err(error) => {
                self.keep(items);
                return Err(error);
            }
        };
        let (mut clear, mut found) = (Vec::new(), Vec::new());
        for (i, retired) in items.into_iter().enumerate() {
            if report.is_clear(i) {
                clear.push(retired);
            } else {
                found.push(retired);
            }
        }
        self.keep(found);
        Ok((self.hand_out(clear), report))
    }

    /// What has been retired and reclaimed, and which guard is the oldest.
    pub fn stats(&self) -> ReclaimStats {
        let (retired, reclaimed) = (self.retired.get(), self.reclaimed.get());
        let pinned = self
            .registry
            .slots()
            .filter_map(|slot| Some((slot.pinned_since()?, slot)));
        let pinned: Vec<_> = pinned.map(|(since, slot)| (since, slot.thread())).collect();
        let oldest = pinned.iter().min_by_key(|(since, _)| *since);
        ReclaimStats {
            retired,
            reclaimed,
            held: Amount {
                items: retired.items.saturating_sub(reclaimed.items),
                bytes: retired.bytes.saturating_sub(reclaimed.bytes),
            },
            pinned_threads: pinned.len(),
            abandoned_threads: pinned.iter().filter(|(_, (_, has_ended))| *has_ended).count(),
            oldest_guard: oldest.map(|(since, (thread, has_ended))| OldestGuard {
                thread: thread.clone(),
                is_abandoned: *has_ended,
                age: Duration::from_nanos(now().saturating_sub(*since)),
            }),
        }
    }

    fn take(&self) -> Vec<Retired<T>> {
        if self.forks.swap(forks(), Ordering::Relaxed) != forks() {
            self.registry.release_ended(); // the parent's threads
        }
        let mut items = self.found.drain();
        let mut batches = self.interrupted.drain();
        let known = items.len() + batches.iter().map(|batch| batch.items.len()).sum::<usize>();
        let held = self.retired.get().items.saturating_sub(self.reclaimed.get().items);
        let wanted = held.saturating_sub(known as u64);
        let fresh = self.epochs.collect(self.local().slot().handle(), wanted, IDLE_ROUNDS);
        if !fresh.is_empty() {
            batches.push(self.batch(fresh));
        }
        for mut batch in batches {
            // SAFETY: as in `Batch`: the registry is this reclaimer's.
            let is_running = |slot: &NonNull<Slot>, running| unsafe { !slot.as_ref().interrupts.have_ended(running) };
            batch.handlers.retain(|(slot, running)| is_running(slot, *running));
            if batch.handlers.is_empty() {
                items.extend(batch.items);
            } else {
                self.interrupted.push(Node::new(batch));
            }
        }
        items
    }

    fn batch(&self, items: Vec<Retired<T>>) -> Batch<T> {
        Interrupts::barrier();
        let running = |slot: &Slot| Some((NonNull::from(slot), slot.interrupts.running()?));
        Batch {
            items,
            handlers: self.registry.slots().filter_map(running).collect(),
        }
    }

    fn keep(&self, items: Vec<Retired<T>>) {
        for item in items {
            self.found.push(Node::new(item));
        }
    }

    fn hand_out(&self, items: Vec<Retired<T>>) -> Vec<T> {
        self.reclaimed.add(Amount {
            items: items.len() as u64,
            bytes: items.iter().map(|retired| retired.bytes).sum(),
        });
        items.into_iter().map(|retired| retired.item).collect()
    }

    /// This thread's handle.
    #[inline]
    fn local(&self) -> Rc<Local> {
        let known = LOCALS.try_with(|locals| {
            let locals = locals.borrow();
            let mine = locals.iter().find(|cached| cached.0.id == self.id);
            mine.map(|cached| Rc::clone(&cached.0))
        });
        known.ok().flatten().unwrap_or_else(|| self.register())
    }

    #[cold]
    fn register(&self) -> Rc<Local> {
        let local = Rc::new(Local {
            id: self.id,
            slot: NonNull::from(self.registry.claim(|| self.epochs.register())),
            registry: Arc::clone(&self.registry),
        });
        // A thread that is ending has no list any more; then the handle lives as long as the guard.
        let _ = LOCALS.try_with(|locals| {
            let mut locals = locals.borrow_mut();
            locals.retain(|cached| !cached.0.registry.is_closed());
            locals.push(Cached(Rc::clone(&local)));
            HAS_PINNED.set(true);
        });
        local
    }
}

impl<T: Send + 'static> Drop for Reclaimer<T> {
    fn drop(&mut self) {
        drop(self.collect());
        self.registry.close();
    }
}

thread_local! {
    /// This thread's handles, one for each reclaimer that it has pinned.
    static LOCALS: RefCell<Vec<Cached>> = const { RefCell::new(Vec::new()) };
    /// Whether that list has ever had an entry: before, a signal handler must not touch it.
    static HAS_PINNED: Cell<bool> = const { Cell::new(false) };
}

/// How many forks lie between this process and the one in which the first reclaimer was made.
static FORKS: AtomicU32 = AtomicU32::new(0);

fn forks() -> u32 {
    static WATCH: Once = Once::new();
    // SAFETY: the handler only stores numbers.
    WATCH.call_once(|| _ = unsafe { libc::pthread_atfork(None, None, Some(keep_slots)) });
    FORKS.load(Ordering::Relaxed)
}

/// In a child after a `fork`: the thread has another number.
extern "C" fn keep_slots() {
    FORKS.fetch_add(1, Ordering::Relaxed);
    let keep = |locals: &RefCell<Vec<Cached>>| {
        for cached in locals.borrow().iter() {
            cached.0.slot().keep_after_fork();
        }
    };
    if HAS_PINNED.get() {
        let _ = LOCALS.try_with(keep);
    }
}

/// A handle in its thread's list, from which it goes when the thread ends.
struct Cached(Rc<Local>);

impl Drop for Cached {
    fn drop(&mut self) {
        self.0.slot().leave();
    }
}

/// A thread's slot of a reclaimer.
#[derive(Debug)]
struct Local {
    id: u64,
    slot: NonNull<Slot>,
    /// Keeps the slot.
    registry: Arc<Registry>,
}

impl Local {
    #[inline]
    fn slot(&self) -> &Slot {
        // SAFETY: slots live as long as their registry.
        unsafe { self.slot.as_ref() }
    }
}

impl Drop for Local {
    fn drop(&mut self) {
        self.slot().give_back();
    }
}

/// Keeps what is retired while it exists from being reclaimed. Stays on the thread that made it.
#[derive(Debug)]
pub struct Guard {
    local: Rc<Local>,
}

impl Guard {
    #[inline]
    fn new(local: Rc<Local>) -> Self {
        local.slot().pin(now);
        Guard { local }
    }

    /// Whether its thread holds no other guard of the reclaimer.
    pub fn is_outermost(&self) -> bool {
        self.local.slot().is_pinned_once()
    }

    /// As [`repin`](Self::repin), with something in between that is done without a guard. Inside of another guard, that
    /// one still holds.
    pub fn repin_after<R>(&mut self, between: impl FnOnce() -> R) -> R {
        if !self.is_outermost() {
            return between();
        }
        /// Pins again, also if what was done in between panics.
        struct Again<'a>(&'a Slot);

        impl Drop for Again<'_> {
            fn drop(&mut self) {
                self.0.pin(now);
            }
        }

        self.local.slot().unpin();
        let _again = Again(self.local.slot());
        between()
    }

    /// Lets go of what has been retired so far, and holds on to what is retired from here on.
    ///
    /// For long loops, and only if this is the thread's one guard: else it does nothing.
    pub fn repin(&mut self) {
        self.local.slot().repin(now);
    }
}

impl Drop for Guard {
    #[inline]
    fn drop(&mut self) {
        self.local.slot().unpin();
    }
}

/// A signal handler's guard: keeps what is retired while it exists from being reclaimed.
#[derive(Debug)]
pub struct HandlerGuard<'a> {
    interrupts: &'a Interrupts,
    not_send: PhantomData<*const ()>,
}

impl Drop for HandlerGuard<'_> {
    fn drop(&mut self) {
        self.interrupts.leave();
    }
}

/// Nanoseconds since boot, by the clock that costs least: it moves with the timer tick.
#[inline]
fn now() -> u64 {
    let now = rustix::time::clock_gettime(ClockId::MonotonicCoarse);
    (now.tv_sec as u64) * 1_000_000_000 + now.tv_nsec as u64
}
