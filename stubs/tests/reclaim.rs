//! Guards hold back what was retired under them, and nothing else does.
#![allow(clippy::unwrap_used, reason = "a failure is a failed test")]

use std::cell::RefCell;
use std::sync::mpsc;
use std::sync::{Arc, Barrier};
use std::thread;

use restub_stubs::{Amount, Guard, Reclaimer};

#[test]
fn without_guards_everything_comes_back_in_order() {
    let reclaimer = Reclaimer::new();
    for i in 0..1000u64 {
        reclaimer.retire(i, 10);
    }
    assert_eq!(reclaimer.stats().held.items, 1000);
    assert_eq!(reclaimer.collect(), (0..1000).collect::<Vec<_>>());
    let all = Amount {
        items: 1000,
        bytes: 10_000,
    };
    let stats = reclaimer.stats();
    assert_eq!(
        (stats.retired, stats.reclaimed, stats.held),
        (all, all, Amount::default())
    );
    assert_eq!(stats.oldest_guard, None);
}

#[test]
fn a_guard_holds_back_what_was_retired_after_it() {
    let reclaimer = Reclaimer::new();
    reclaimer.retire("before", 1);
    assert_eq!(reclaimer.collect(), ["before"]);
    let outer = reclaimer.pin();
    let inner = reclaimer.pin();
    reclaimer.retire("under", 1);
    drop(outer);
    assert!(reclaimer.collect().is_empty());
    drop(inner);
    assert_eq!(reclaimer.collect(), ["under"]);
}

#[test]
fn repin_lets_go() {
    let reclaimer = Reclaimer::new();
    let mut guard = reclaimer.pin();
    reclaimer.retire(1, 1);
    let mut collected = Vec::new();
    for _ in 0..10 {
        guard.repin();
        collected.extend(reclaimer.collect());
    }
    assert_eq!(collected, [1]);
}

#[test]
fn a_guard_of_another_reclaimer_holds_nothing_back() {
    let (one, other) = (Reclaimer::new(), Reclaimer::<i32>::new());
    let _guard = other.pin();
    one.retire(1, 1);
    assert_eq!(one.collect(), [1]);
}

#[test]
fn the_oldest_guard_is_named() {
    let reclaimer = Arc::new(Reclaimer::<i32>::new());
    let (pinned, release) = (Arc::new(Barrier::new(2)), Arc::new(Barrier::new(2)));
    let body = {
        let (reclaimer, pinned, release) = (Arc::clone(&reclaimer), Arc::clone(&pinned), Arc::clone(&release));
        move || {
            let _guard = reclaimer.pin();
            pinned.wait();
            release.wait();
        }
    };
    let holder = thread::Builder::new().name("holder".to_owned()).spawn(body).unwrap();
    pinned.wait();
    reclaimer.retire(1, 64);
    assert!(reclaimer.collect().is_empty());
    let stats = reclaimer.stats();
    let oldest = stats.oldest_guard.unwrap();
    assert_eq!((oldest.thread.name.as_str(), oldest.is_abandoned), ("holder", false));
    assert_eq!((stats.pinned_threads, stats.held), (1, Amount { items: 1, bytes: 64 }));
    release.wait();
    holder.join().unwrap();
    assert_eq!(reclaimer.collect(), [1]);
}

#[test]
fn a_guard_that_is_never_dropped_delays_reclaim_only() {
    let reclaimer = Arc::new(Reclaimer::<u32>::new());
    let body = {
        let reclaimer = Arc::clone(&reclaimer);
        move || std::mem::forget(reclaimer.pin())
    };
    thread::Builder::new()
        .name("leaver".to_owned())
        .spawn(body)
        .unwrap()
        .join()
        .unwrap();
    for i in 0..500 {
        reclaimer.retire(i, 1);
        assert!(reclaimer.collect().is_empty());
    }
    let oldest = reclaimer.stats().oldest_guard.unwrap();
    assert_eq!((oldest.thread.name.as_str(), oldest.is_abandoned), ("leaver", true));
    assert_eq!(reclaimer.stats().held.items, 500);
}

/// An item that reports the thread on which it is dropped.
struct Dropped(mpsc::Sender<thread::ThreadId>);

impl Drop for Dropped {
    fn drop(&mut self) {
        let _ = self.0.send(thread::current().id());
    }
}

#[test]
fn items_are_never_dropped_on_a_callers_thread() {
    let (dropped, drops) = mpsc::channel();
    let reclaimer = Arc::new(Reclaimer::new());
    let callers: Vec<_> = (0..4)
        .map(|_| {
            let reclaimer = Arc::clone(&reclaimer);
            thread::spawn(move || (0..20_000).for_each(|_| drop(reclaimer.pin())))
        })
        .collect();
    for _ in 0..2000 {
        reclaimer.retire(Dropped(dropped.clone()), 1);
    }
    for caller in callers {
        caller.join().unwrap();
    }
    drop(dropped);
    assert!(drops.try_recv().is_err(), "an item was dropped before it was collected");
    assert_eq!(reclaimer.collect().len(), 2000);
    assert!(drops.iter().all(|thread| thread == thread::current().id()));
}

#[test]
fn a_guard_outlives_its_reclaimer() {
    let guard: Guard = Reclaimer::<u32>::new().pin();
    drop(guard);
    let (dropped, drops) = mpsc::channel();
    let reclaimer = Reclaimer::new();
    let guard = reclaimer.pin();
    reclaimer.retire(Dropped(dropped), 1);
    drop(reclaimer);
    drop(guard);
    assert!(drops.try_recv().is_err(), "what a guard holds back is leaked");
}

type Probe = (Arc<Reclaimer<u32>>, mpsc::Sender<usize>);

thread_local! {
    static AT_EXIT: RefCell<Option<Probe>> = const { RefCell::new(None) };
}

/// Pins when its thread's other values may be gone.
struct PinsAtExit;

impl Drop for PinsAtExit {
    fn drop(&mut self) {
        AT_EXIT.with_borrow(|state| {
            let (reclaimer, pinned) = state.as_ref().unwrap();
            let _guard = reclaimer.pin();
            pinned.send(reclaimer.stats().pinned_threads).unwrap();
        });
    }
}

#[test]
fn ending_threads_can_pin() {
    thread_local!(static LAST: PinsAtExit = const { PinsAtExit });
    let reclaimer = Arc::new(Reclaimer::new());
    let (pinned, pins) = mpsc::channel();
    let state = (Arc::clone(&reclaimer), pinned);
    thread::spawn(move || {
        AT_EXIT.set(Some(state));
        LAST.with(|_| drop(AT_EXIT.with_borrow(|state| state.as_ref().unwrap().0.pin())));
    })
    .join()
    .unwrap();
    assert_eq!(pins.recv().unwrap(), 1);
    reclaimer.retire(1, 1);
    assert_eq!(reclaimer.collect(), [1]);
    assert_eq!(reclaimer.stats().pinned_threads, 0);
}
