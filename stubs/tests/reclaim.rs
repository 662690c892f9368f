//! Guards hold back what was retired under them, and nothing else does.
#![allow(clippy::unwrap_used, reason = "a failure is a failed test")]

mod support;

use std::cell::RefCell;
use std::sync::atomic::{AtomicBool, AtomicPtr, Ordering};
use std::sync::mpsc;
use std::sync::{Arc, Barrier};
use std::thread;

use restub_stubs::{Amount, Guard, Reclaimer};
use support::wait_until;

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
    wait_until(|| reclaimer.stats().abandoned_threads == 1);
    let oldest = reclaimer.stats().oldest_guard.unwrap();
    assert_eq!((oldest.thread.name.as_str(), oldest.is_abandoned), ("leaver", true));
    assert_eq!(reclaimer.stats().held.items, 500);
}

#[test]
fn guards_of_threads_that_ended_are_released_when_asked_for() {
    let reclaimer = Arc::new(Reclaimer::<u32>::new());
    let (pinned, release) = (Arc::new(Barrier::new(2)), Arc::new(Barrier::new(2)));
    let leaver = Arc::clone(&reclaimer);
    let leaves = move || {
        for _ in 0..3 {
            std::mem::forget(leaver.pin());
        }
    };
    thread::spawn(leaves).join().unwrap();
    let stayer = {
        let (reclaimer, pinned, release) = (Arc::clone(&reclaimer), Arc::clone(&pinned), Arc::clone(&release));
        thread::spawn(move || {
            let _guard = reclaimer.pin();
            pinned.wait();
            release.wait();
        })
    };
    pinned.wait();
    reclaimer.retire(1, 1);
    wait_until(|| reclaimer.stats().abandoned_threads == 1);
    assert_eq!(reclaimer.stats().pinned_threads, 2);
    assert_eq!(reclaimer.release_abandoned(), 1);
    assert_eq!(reclaimer.stats().pinned_threads, 1);
    assert!(reclaimer.collect().is_empty(), "a thread that exists has a guard");
    assert_eq!(reclaimer.release_abandoned(), 0);
    release.wait();
    stayer.join().unwrap();
    assert_eq!(reclaimer.collect(), [1]);
}

#[test]
fn a_thread_that_is_about_to_end_keeps_its_guards() {
    /// Dropped after the thread's list of reclaimers, which was made first.
    struct Waits(Option<(Arc<Barrier>, Arc<Barrier>)>);
    impl Drop for Waits {
        fn drop(&mut self) {
            let (at, end) = self.0.take().unwrap();
            at.wait();
            end.wait();
        }
    }
    thread_local!(static LAST: RefCell<Waits> = const { RefCell::new(Waits(None)) });
    let reclaimer = Arc::new(Reclaimer::<u32>::new());
    let (ending, end) = (Arc::new(Barrier::new(2)), Arc::new(Barrier::new(2)));
    let body = {
        let (reclaimer, ending, end) = (Arc::clone(&reclaimer), Arc::clone(&ending), Arc::clone(&end));
        move || {
            LAST.with_borrow_mut(|last| last.0 = Some((ending, end)));
            std::mem::forget(reclaimer.pin());
        }
    };
    let thread = thread::spawn(body);
    ending.wait();
    reclaimer.retire(1, 1);
    assert_eq!(reclaimer.release_abandoned(), 0);
    assert!(reclaimer.collect().is_empty());
    end.wait();
    thread.join().unwrap();
    wait_until(|| reclaimer.release_abandoned() == 1);
    assert_eq!(reclaimer.collect(), [1]);
}

#[test]
fn slots_of_ended_threads_are_used_again() {
    let reclaimer = Arc::new(Reclaimer::<u32>::new());
    for i in 0..200 {
        let (abandons, reclaimer) = (i % 2 == 0, Arc::clone(&reclaimer));
        let body = move || {
            let guard = reclaimer.pin();
            if abandons {
                std::mem::forget(guard);
            }
        };
        thread::spawn(body).join().unwrap();
    }
    wait_until(|| reclaimer.stats().abandoned_threads == 100);
    assert_eq!(reclaimer.release_abandoned(), 100);
    reclaimer.retire(1, 1);
    assert_eq!(reclaimer.collect(), [1]);
}

#[test]
fn a_thread_can_release_the_guards_that_a_jump_has_left_behind() {
    let reclaimer = Reclaimer::new();
    for _ in 0..3 {
        std::mem::forget(reclaimer.pin());
    }
    reclaimer.retire(1, 1);
    assert_eq!(reclaimer.release_abandoned(), 0);
    assert!(reclaimer.collect().is_empty());
    // SAFETY: the guards have been forgotten.
    assert_eq!(unsafe { reclaimer.release_own() }, 3);
    assert_eq!(reclaimer.collect(), [1]);
    let _guard = reclaimer.pin();
    reclaimer.retire(2, 1);
    assert!(reclaimer.collect().is_empty(), "pinning works as before");
}

#[test]
fn a_handlers_guard_holds_back_what_is_collected_under_it() {
    let reclaimer = Reclaimer::new();
    assert!(reclaimer.pin_in_handler().is_none(), "the thread is not known yet");
    drop(reclaimer.pin());
    let outer = reclaimer.pin_in_handler().unwrap();
    reclaimer.retire(1, 1);
    let inner = reclaimer.pin_in_handler().unwrap();
    assert!(reclaimer.collect().is_empty());
    drop(inner);
    assert!(reclaimer.collect().is_empty());
    drop(outer);
    let later = reclaimer.pin_in_handler().unwrap();
    assert_eq!(reclaimer.collect(), [1], "it was cut off before the later guard");
    reclaimer.retire(2, 1);
    assert!(reclaimer.collect().is_empty());
    drop(later);
    assert_eq!(reclaimer.collect(), [2]);
}

/// Runs a body in a child process, which has to return true there.
fn in_child(body: impl FnOnce() -> bool) {
    // SAFETY: the child runs the body and ends.
    let child = unsafe { libc::fork() };
    if child == 0 {
        let is_right = std::panic::catch_unwind(std::panic::AssertUnwindSafe(body)).unwrap_or(false);
        // SAFETY: ends the child without running what is the parent's.
        unsafe { libc::_exit(if is_right { 42 } else { 1 }) };
    }
    let mut status = 0;
    // SAFETY: the child is this process's, and the pointer is to a local variable.
    assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
    assert_eq!(libc::WEXITSTATUS(status), 42, "{status:#x}");
}

#[test]
fn a_child_reclaims_without_its_parents_threads_and_the_parent_goes_on() {
    let reclaimer = Arc::new(Reclaimer::<u32>::new());
    let (pinned, release) = (Arc::new(Barrier::new(2)), Arc::new(Barrier::new(2)));
    let holder = {
        let (reclaimer, pinned, release) = (Arc::clone(&reclaimer), Arc::clone(&pinned), Arc::clone(&release));
        thread::spawn(move || {
            let _guard = reclaimer.pin();
            pinned.wait();
            release.wait();
        })
    };
    pinned.wait();
    reclaimer.retire(1, 1);
    let mut own = Some(reclaimer.pin());
    reclaimer.retire(2, 1);
    in_child(|| {
        // The thread that forked has kept its guard.
        let other = Arc::clone(&reclaimer);
        let others = thread::spawn(move || (other.collect(), other.stats())).join().unwrap();
        let is_held = others.0.iter().all(|&item| item == 1);
        own = None;
        let rest = reclaimer.collect();
        let guard = reclaimer.pin();
        reclaimer.retire(3, 1);
        let is_held = is_held && reclaimer.collect().is_empty();
        drop(guard);
        let last = reclaimer.collect();
        others.1.pinned_threads == 1 && is_held && [others.0, rest].concat() == [1, 2] && last == [3]
    });
    drop(own);
    assert!(reclaimer.collect().is_empty(), "the other thread still has its guard");
    release.wait();
    holder.join().unwrap();
    assert_eq!(reclaimer.collect(), [1, 2]);
}

#[test]
fn forking_while_others_pin_and_retire_never_blocks_the_child() {
    let (reclaimer, stop) = (Arc::new(Reclaimer::<u32>::new()), Arc::new(AtomicBool::new(false)));
    let busy: Vec<_> = (0..2)
        .map(|i| {
            let (reclaimer, stop) = (Arc::clone(&reclaimer), Arc::clone(&stop));
            thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let _guard = reclaimer.pin();
                    if i == 0 {
                        reclaimer.retire(0, 1);
                    }
                }
            })
        })
        .collect();
    for i in 1..40 {
        in_child(|| {
            reclaimer.retire(i, 1);
            reclaimer.collect().contains(&i)
        });
        reclaimer.collect();
    }
    stop.store(true, Ordering::Relaxed);
    for thread in busy {
        thread.join().unwrap();
    }
}

#[test]
fn forking_while_another_thread_pins_for_the_first_time_never_blocks_the_child() {
    let fresh = || Box::into_raw(Box::new(Reclaimer::<u32>::new()));
    let (current, stop) = (Arc::new(AtomicPtr::new(fresh())), Arc::new(AtomicBool::new(false)));
    let other = {
        let (current, stop) = (Arc::clone(&current), Arc::clone(&stop));
        thread::spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                let next = fresh();
                let old = current.swap(next, Ordering::AcqRel);
                // SAFETY: it came from a box, and only a child, which has a copy of its own, looks at it.
                drop(unsafe { Box::from_raw(old) });
                // SAFETY: it came from a box that this thread alone frees.
                drop(unsafe { &*next }.pin());
            }
        })
    };
    for _ in 0..300 {
        in_child(|| {
            // SAFETY: what is current has not been freed, and the thread that would is not in this process.
            let reclaimer = unsafe { &*current.load(Ordering::Acquire) };
            reclaimer.retire(1, 1);
            reclaimer.collect() == [1]
        });
    }
    stop.store(true, Ordering::Relaxed);
    other.join().unwrap();
    // SAFETY: the other thread, which would free it, has ended.
    drop(unsafe { Box::from_raw(current.load(Ordering::Acquire)) });
}

#[test]
fn a_collection_gets_to_the_end_however_much_there_is_in_front() {
    let reclaimer = Reclaimer::new();
    let guard = reclaimer.pin();
    for i in 0..50_000 {
        reclaimer.retire(i, 1);
    }
    drop(guard);
    assert_eq!(reclaimer.collect().len(), 50_000);
    // The collector's own memory for these.
    reclaimer.retire(1, 1);
    assert_eq!(reclaimer.collect(), [1]);
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
