//! When retired memory may be freed.
//!
//! A thread that calls through stubs holds a [`Guard`] meanwhile. What is retired is past its grace period once every
//! guard that existed at that moment has been dropped. Threads that never pin need a [scan](crate::scan()) on top.
//!
//! Nothing is freed behind the host's back: an epoch may end on any thread, inside of any call, so what happens there
//! is one compare-and-swap that moves the item to a queue. [`Reclaimer::collect`] empties it, where the host chooses.

use std::cell::{Cell, RefCell};
use std::ops::Range;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::time::Duration;

use crossbeam_epoch::LocalHandle;
use rustix::time::ClockId;

use crate::epoch::Epochs;
use crate::scan::{ScanError, ScanOptions, ScanReport, scan};
use crate::thread::{ThreadName, current_id};

/// Retired items of one session, and the guards that hold them back.
///
/// After a `fork` the child has the guards of threads that it does not have: if there were any, what it retires is kept.
///
/// When it is dropped, what is past its grace period is dropped with it, and what guards still hold back is leaked.
#[derive(Debug)]
pub struct Reclaimer<T: Send + 'static> {
    /// Names the collector in the threads' lists of handles. Never used twice.
    id: u64,
    epochs: Epochs<Retired<T>>,
    threads: Arc<Mutex<Vec<Arc<Record>>>>,
    /// Past their grace period, held back by a scan.
    found: Mutex<Vec<Retired<T>>>,
    retired: Counter,
    reclaimed: Counter,
}

#[derive(Debug)]
struct Retired<T> {
    item: T,
    bytes: u64,
}

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
            threads: Arc::default(),
            found: Mutex::default(),
            retired: Counter::default(),
            reclaimed: Counter::default(),
        }
    }

    /// Keeps everything that is retired from here on, until the guard is dropped.
    ///
    /// Pins nest, and one inside of another costs next to nothing. A guard that is never dropped delays reclaim and
    /// nothing else. Not for signal handlers: a signal may arrive in the middle of a pin.
    #[inline]
    pub fn pin(&self) -> Guard {
        Guard::new(self.local())
    }

    /// Hands over an item that nobody can newly reach: every stub that led to it leads elsewhere.
    ///
    /// `bytes` is what the statistics count for it.
    pub fn retire(&self, item: T, bytes: u64) {
        self.retired.add(Amount { items: 1, bytes });
        self.epochs.retire(&self.local().handle, Retired { item, bytes });
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
                self.found().extend(items);
                return Err(error);
            }
        };
        let mut clear = Vec::new();
        let mut found = self.found();
        for (i, retired) in items.into_iter().enumerate() {
            if report.is_clear(i) {
                clear.push(retired);
            } else {
                found.push(retired);
            }
        }
        drop(found);
        Ok((self.hand_out(clear), report))
    }

    /// What has been retired and reclaimed, and which guard is the oldest.
    pub fn stats(&self) -> ReclaimStats {
        let (retired, reclaimed) = (self.retired.get(), self.reclaimed.get());
        let threads = lock(&self.threads);
        let pinned = threads
            .iter()
            .filter_map(|record| Some((record.pinned_since()?, record)));
        let pinned: Vec<_> = pinned.collect();
        let oldest = pinned.iter().min_by_key(|(since, _)| *since);
        ReclaimStats {
            retired,
            reclaimed,
            held: Amount {
                items: retired.items.saturating_sub(reclaimed.items),
                bytes: retired.bytes.saturating_sub(reclaimed.bytes),
            },
            pinned_threads: pinned.len(),
            oldest_guard: oldest.map(|(since, record)| record.oldest(*since)),
        }
    }

    fn take(&self) -> Vec<Retired<T>> {
        let mut items = std::mem::take(&mut *self.found());
        let held = self.retired.get().items.saturating_sub(self.reclaimed.get().items);
        let wanted = held.saturating_sub(items.len() as u64);
        items.extend(self.epochs.collect(&self.local().handle, wanted));
        items
    }

    fn hand_out(&self, items: Vec<Retired<T>>) -> Vec<T> {
        self.reclaimed.add(Amount {
            items: items.len() as u64,
            bytes: items.iter().map(|retired| retired.bytes).sum(),
        });
        items.into_iter().map(|retired| retired.item).collect()
    }

    fn found(&self) -> MutexGuard<'_, Vec<Retired<T>>> {
        lock(&self.found)
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
        let record = Arc::new(Record {
            thread: ThreadName::of(current_id()),
            since: AtomicU64::new(0),
            has_ended: AtomicBool::new(false),
        });
        lock(&self.threads).push(Arc::clone(&record));
        let local = Rc::new(Local {
            id: self.id,
            handle: self.epochs.register(),
            depth: Cell::new(0),
            record,
            threads: Arc::downgrade(&self.threads),
        });
        // A thread that is ending has no list any more; then the handle lives as long as the guard.
        let _ = LOCALS.try_with(|locals| {
            let mut locals = locals.borrow_mut();
            locals.retain(|cached| cached.0.threads.strong_count() > 0);
            locals.push(Cached(Rc::clone(&local)));
        });
        local
    }
}

impl<T: Send + 'static> Drop for Reclaimer<T> {
    fn drop(&mut self) {
        drop(self.collect());
    }
}

thread_local! {
    /// This thread's handles, one for each reclaimer that it has pinned.
    static LOCALS: RefCell<Vec<Cached>> = const { RefCell::new(Vec::new()) };
}

/// A handle in its thread's list, from which it goes when the thread ends.
struct Cached(Rc<Local>);

impl Drop for Cached {
    fn drop(&mut self) {
        self.0.record.has_ended.store(true, Ordering::Relaxed);
    }
}

/// A thread's handle of a collector.
#[derive(Debug)]
struct Local {
    id: u64,
    handle: LocalHandle,
    /// Guards that exist.
    depth: Cell<u32>,
    record: Arc<Record>,
    threads: Weak<Mutex<Vec<Arc<Record>>>>,
}

impl Drop for Local {
    fn drop(&mut self) {
        if let Some(threads) = self.threads.upgrade() {
            lock(&threads).retain(|record| !Arc::ptr_eq(record, &self.record));
        }
    }
}

/// What others may know of a thread.
#[derive(Debug)]
struct Record {
    thread: ThreadName,
    /// When the outermost guard was made, or 0.
    since: AtomicU64,
    has_ended: AtomicBool,
}

impl Record {
    fn pinned_since(&self) -> Option<u64> {
        let since = self.since.load(Ordering::Relaxed);
        (since != 0).then_some(since)
    }

    fn oldest(&self, since: u64) -> OldestGuard {
        let is_abandoned = self.has_ended.load(Ordering::Relaxed);
        let thread = match is_abandoned {
            true => self.thread.clone(),
            false => ThreadName::of(self.thread.id), // it may have been renamed
        };
        OldestGuard {
            thread,
            is_abandoned,
            age: Duration::from_nanos(now().saturating_sub(since)),
        }
    }
}

/// Keeps what is retired while it exists from being reclaimed. Stays on the thread that made it.
#[derive(Debug)]
pub struct Guard {
    /// Dropped before the handle.
    _epoch: crossbeam_epoch::Guard,
    local: Rc<Local>,
}

impl Guard {
    #[inline]
    fn new(local: Rc<Local>) -> Self {
        let depth = local.depth.get();
        local.depth.set(depth + 1);
        if depth == 0 {
            local.record.since.store(now(), Ordering::Relaxed);
        }
        Guard {
            _epoch: local.handle.pin(),
            local,
        }
    }

    /// Whether its thread holds no other guard of the reclaimer.
    pub fn is_outermost(&self) -> bool {
        self.local.depth.get() == 1
    }

    /// As [`repin`](Self::repin), with something in between that is done without a guard. Inside of another guard, that
    /// one still holds.
    pub fn repin_after<R>(&mut self, between: impl FnOnce() -> R) -> R {
        if !self.is_outermost() {
            return between();
        }
        self.local.record.since.store(0, Ordering::Relaxed);
        let result = self._epoch.repin_after(between);
        self.local.record.since.store(now(), Ordering::Relaxed);
        result
    }

    /// Lets go of what has been retired so far, and holds on to what is retired from here on.
    ///
    /// For long loops, and only if this is the thread's one guard: else it does nothing.
    pub fn repin(&mut self) {
        if self.local.depth.get() == 1 {
            self._epoch.repin();
            self.local.record.since.store(now(), Ordering::Relaxed);
        }
    }
}

impl Drop for Guard {
    #[inline]
    fn drop(&mut self) {
        let depth = self.local.depth.get() - 1;
        self.local.depth.set(depth);
        if depth == 0 {
            self.local.record.since.store(0, Ordering::Relaxed);
        }
    }
}

/// Nanoseconds since boot, by the clock that costs least: it moves with the timer tick.
#[inline]
fn now() -> u64 {
    let now = rustix::time::clock_gettime(ClockId::MonotonicCoarse);
    (now.tv_sec as u64) * 1_000_000_000 + now.tv_nsec as u64
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}
