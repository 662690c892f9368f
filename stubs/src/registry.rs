//! The threads that pin a reclaimer. Each has a slot in a list that only grows, and slots of threads that have ended are
//! used again; so nothing here locks or frees, and whoever is interrupted, cancelled or forked away leaves no damage.

use std::cell::{Cell, UnsafeCell};
use std::mem::{ManuallyDrop, MaybeUninit};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, Ordering};

use crossbeam_epoch::LocalHandle;

use crate::interrupts::Interrupts;
use crate::thread::{self, ThreadName, process_id};

/// Who uses a slot, packed into one word: the process in the upper half, the thread in the lower one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Owner {
    process: i32,
    thread: i32,
}

impl Owner {
    /// Nobody does.
    const FREE: u64 = 0;
    /// Nobody will: it was another thread's at a `fork`, and may be half-changed.
    const GONE: u64 = u64::MAX;
    /// In place of a thread: it is about to get another owner, or none.
    const CHANGING: i32 = -1;

    fn me() -> u64 {
        Self::pack(thread::current_id())
    }

    /// A thread of this process.
    fn pack(thread: i32) -> u64 {
        u64::from(process_id().cast_unsigned()) << 32 | u64::from(thread.cast_unsigned())
    }

    fn unpack(word: u64) -> Self {
        Owner {
            process: (word >> 32) as i32,
            thread: word as i32,
        }
    }
}

/// Every slot that there has been.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    first: AtomicPtr<Slot>,
    /// Nothing new is retired.
    is_closed: AtomicBool,
}

/// One thread's part in the epochs.
#[derive(Debug)]
pub(crate) struct Slot {
    next: *const Slot,
    /// See [`Owner`].
    owner: AtomicU64,
    name: [AtomicU64; 2],
    /// When the outermost guard was made, or 0.
    since: AtomicU64,
    /// When the thread's own values were dropped, since boot, or 0: the thread ends soon after.
    left_at: AtomicU64,
    /// Guards that exist.
    depth: Cell<u32>,
    handle: LocalHandle,
    /// Equal to every guard of the handle: dropping a copy ends one pin. There from before the first owner on.
    guard: UnsafeCell<MaybeUninit<crossbeam_epoch::Guard>>,
    pub(crate) interrupts: Interrupts,
}

// SAFETY: what is not atomic in a slot belongs to its owner, and to whoever is changing the owner.
unsafe impl Send for Slot {}

// SAFETY: as above.
unsafe impl Sync for Slot {}

// SAFETY: the list's slots may be used by any thread, see above.
unsafe impl Send for Registry {}

// SAFETY: as above.
unsafe impl Sync for Registry {}

impl Registry {
    /// Gives the calling thread a slot. It stays valid as long as the registry.
    pub(crate) fn claim(&self, register: impl FnOnce() -> LocalHandle) -> &Slot {
        let changing = Owner::pack(Owner::CHANGING);
        let free = self.slots().find(|slot| slot.change(Owner::FREE, changing));
        let slot = free.unwrap_or_else(|| self.add(changing, register()));
        slot.left_at.store(0, Ordering::Relaxed);
        for (to, word) in slot.name.iter().zip(thread::current_name()) {
            to.store(word, Ordering::Relaxed);
        }
        slot.set_owner(Owner::me());
        slot
    }

    fn add(&self, owner: u64, handle: LocalHandle) -> &Slot {
        let slot = Box::into_raw(Box::new(Slot {
            next: ptr::null(),
            owner: AtomicU64::new(owner),
            name: Default::default(),
            since: AtomicU64::default(),
            left_at: AtomicU64::default(),
            depth: Cell::new(0),
            handle,
            guard: UnsafeCell::new(MaybeUninit::uninit()),
            interrupts: Interrupts::default(),
        }));
        let mut first = self.first.load(Ordering::Relaxed);
        loop {
            // SAFETY: the slot came from a box just above, and no other thread can see it yet.
            unsafe { (*slot).next = first };
            // Release: pairs with the acquire in `slots`; the exchange continues the sequence of the ones below it.
            let added = self
                .first
                .compare_exchange_weak(first, slot, Ordering::Release, Ordering::Relaxed);
            match added {
                Ok(_) => break,
                Err(now) => first = now,
            }
        }
        // SAFETY: slots live as long as the registry.
        let slot = unsafe { &*slot };
        // Not before the slot is in the list: a child would wait for this pin, and know of nothing to release.
        slot.learn_guard();
        slot
    }

    pub(crate) fn slots(&self) -> impl Iterator<Item = &Slot> {
        // Acquire: pairs with the release in `add`.
        let mut next = self.first.load(Ordering::Acquire).cast_const();
        std::iter::from_fn(move || {
            // SAFETY: slots live as long as the registry, and the pointer is to one of them or null.
            let slot = unsafe { next.as_ref() }?;
            next = slot.next;
            Some(slot)
        })
    }

    pub(crate) fn close(&self) {
        self.is_closed.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.is_closed.load(Ordering::Relaxed)
    }

    /// Frees the slots of threads that have ended, guards or not, and returns how many had guards.
    pub(crate) fn release_ended(&self) -> usize {
        self.slots().filter(|slot| slot.release_if_ended()).count()
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let mut next = *self.first.get_mut();
        while !next.is_null() {
            // SAFETY: the slots came from boxes, and whoever used one kept the registry.
            let slot = unsafe { Box::from_raw(next) };
            next = slot.next.cast_mut();
            if slot.owner.load(Ordering::Relaxed) != Owner::FREE {
                std::mem::forget(slot.handle); // dropping it would use what a lost thread may have left half-changed
            }
        }
    }
}

impl Slot {
    /// Gives the slot another owner in place of the given one. Whether it was that one's.
    fn change(&self, from: u64, to: u64) -> bool {
        // Acquire: pairs with the release in `set_owner`: what is not atomic is as the owner before left it.
        let changed = self
            .owner
            .compare_exchange(from, to, Ordering::Acquire, Ordering::Relaxed);
        changed.is_ok()
    }

    fn set_owner(&self, owner: u64) {
        // Release: pairs with the acquires in `change` and `release_if_ended`.
        self.owner.store(owner, Ordering::Release);
    }

    /// Of the owner: begins a pin. `now` is asked for the time if it is the outermost.
    #[inline]
    pub(crate) fn pin(&self, now: impl FnOnce() -> u64) {
        let depth = self.depth.get();
        if depth == 0 {
            self.since.store(now(), Ordering::Relaxed);
            std::mem::forget(self.handle.pin());
        }
        self.depth.set(depth + 1);
    }

    /// Of the owner: ends a pin.
    #[inline]
    pub(crate) fn unpin(&self) {
        let depth = self.depth.get() - 1;
        self.depth.set(depth);
        if depth == 0 {
            self.drop_guard();
            self.since.store(0, Ordering::Relaxed);
        }
    }

    /// Of the owner: whether there is but one guard.
    pub(crate) fn is_pinned_once(&self) -> bool {
        self.depth.get() == 1
    }

    /// Of the owner: ends the pin and begins it anew, if there is but one.
    pub(crate) fn repin(&self, now: impl FnOnce() -> u64) {
        if self.depth.get() == 1 {
            self.copy_of_guard().repin();
            self.since.store(now(), Ordering::Relaxed);
        }
    }

    /// Of the owner.
    pub(crate) fn handle(&self) -> &LocalHandle {
        &self.handle
    }

    /// Of the owner: gives the slot back, unless guards exist.
    pub(crate) fn give_back(&self) {
        if self.depth.get() == 0 {
            self.set_owner(Owner::FREE);
        }
    }

    /// Of the owner: nothing of it will be used for long.
    pub(crate) fn leave(&self) {
        // Release: pairs with the acquire in `release_if_ended`.
        self.left_at.store(thread::since_boot(), Ordering::Release);
    }

    /// Of the owner, in a child after a `fork`: the slot is still this thread's.
    pub(crate) fn keep_after_fork(&self) {
        self.set_owner(Owner::me());
    }

    /// Of the owner: forgets every guard, and returns how many there were.
    pub(crate) fn forget_guards(&self) -> u32 {
        let depth = self.depth.replace(0);
        self.since.store(0, Ordering::Relaxed);
        while self.handle.is_pinned() {
            self.drop_guard();
        }
        depth
    }

    /// Frees the slot if its thread has ended. Whether that had guards.
    fn release_if_ended(&self) -> bool {
        // Acquire: pairs with the release in `set_owner`: `left_at` is this owner's.
        let word = self.owner.load(Ordering::Acquire);
        let owner = Owner::unpack(word);
        if matches!(word, Owner::FREE | Owner::GONE) {
            return false;
        }
        let is_lost = owner.process != process_id();
        // Acquire: pairs with the release in `leave`: what the thread did is seen.
        let left_at = self.left_at.load(Ordering::Acquire);
        if !is_lost && (owner.thread == Owner::CHANGING || !owner.has_ended(left_at)) {
            return false;
        }
        if !self.change(word, Owner::pack(Owner::CHANGING)) {
            return false;
        }
        if self.left_at.load(Ordering::Relaxed) != left_at {
            self.set_owner(word); // meanwhile another thread of that number has got the slot
            return false;
        }
        let had_guards = self.since.load(Ordering::Relaxed) != 0;
        self.interrupts.clear();
        if is_lost {
            // It may have been about to learn its guard, or to say that it is unpinned. A pin says so when it ends, though
            // the collector's debug assertions do not let it begin.
            let _ = catch_unwind(AssertUnwindSafe(|| self.learn_guard()));
        }
        self.forget_guards();
        self.set_owner(if is_lost { Owner::GONE } else { Owner::FREE });
        had_guards
    }

    /// Of the owner, or of whoever is changing it.
    fn learn_guard(&self) {
        let guard = self.handle.pin();
        // SAFETY: nobody else looks at it. A guard is a pointer to the handle's record; of the two, one is dropped here.
        unsafe { ptr::copy_nonoverlapping(&raw const guard, self.guard.get().cast(), 1) };
    }

    fn copy_of_guard(&self) -> ManuallyDrop<crossbeam_epoch::Guard> {
        // SAFETY: it has been learned. It is a pointer, and not dropped unless the handle is pinned, once for each pin.
        unsafe { ptr::read(self.guard.get().cast()) }
    }

    #[inline]
    fn drop_guard(&self) {
        drop(ManuallyDrop::into_inner(self.copy_of_guard()));
    }

    /// Since when there has been a guard.
    pub(crate) fn pinned_since(&self) -> Option<u64> {
        let since = self.since.load(Ordering::Relaxed);
        (since != 0).then_some(since)
    }

    /// The thread that uses the slot, and whether it has ended.
    pub(crate) fn thread(&self) -> (ThreadName, bool) {
        let owner = Owner::unpack(self.owner.load(Ordering::Relaxed));
        let left_at = self.left_at.load(Ordering::Relaxed);
        if owner.process == process_id() && !owner.has_ended(left_at) {
            return (ThreadName::of(owner.thread), false); // it may have been renamed
        }
        let words = self.name.each_ref().map(|word| word.load(Ordering::Relaxed));
        (ThreadName::from_words(owner.thread, words), true)
    }
}

impl Owner {
    /// Whether this thread of this process has ended. `left_at` is when it dropped its own values, or 0.
    fn has_ended(self, left_at: u64) -> bool {
        thread::has_ended(self.thread) || (left_at != 0 && thread::is_younger(self.thread, left_at))
    }
}
