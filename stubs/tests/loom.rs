//! Models of the lock-free parts, checked in every interleaving with at most two preemptions.
//!
//! The source files are included, not imported: here `crate::sync` is loom's, so the code that runs is the crate's own.
//! The queue and lazy functions are modelled in every test run. The models with epochs need a crossbeam-epoch that is
//! built for loom:
//!
//! ```text
//! RUSTFLAGS='--cfg crossbeam_loom' cargo test -p restub-stubs --release --test loom --target-dir target/loom
//! ```
#![allow(clippy::unwrap_used, reason = "a failure is a failed test")]
#![allow(
    unexpected_cfgs,
    reason = "crossbeam_loom is given by hand, as crossbeam's own models want it"
)]

mod sync {
    use std::time::Duration;

    pub(crate) use loom::sync::Arc;
    pub(crate) use loom::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, Ordering, fence};
    use loom::sync::{Condvar, Mutex};

    loom::lazy_static! {
        static ref FUTEX: (Mutex<()>, Condvar) = (Mutex::new(()), Condvar::new());
    }

    /// As the kernel's, without a limit: a thread that nobody wakes is a deadlock, which loom reports.
    pub(crate) fn sleep_on(word: &AtomicU32, value: u32, _: Duration) {
        let lock = FUTEX.0.lock().unwrap();
        if word.load(Ordering::Relaxed) == value {
            drop(FUTEX.1.wait(lock));
        }
    }

    pub(crate) fn wake(_: &AtomicU32) {
        let _lock = FUTEX.0.lock().unwrap();
        FUTEX.1.notify_all();
    }
}

/// What the system says of threads; the models say it themselves.
mod thread {
    pub(crate) fn current_id() -> i32 {
        unreachable!("models use `enter_as`")
    }

    pub(crate) fn has_ended(_: i32) -> bool {
        false
    }
}

#[path = "../src/interrupts.rs"]
#[allow(dead_code, reason = "the models' threads do not end with a handler running")]
mod interrupts;
#[path = "../src/lazy.rs"]
#[allow(dead_code, reason = "the models enter as threads that they number themselves")]
#[allow(unreachable_pub, reason = "the file is the crate's")]
mod lazy;

#[path = "../src/queue.rs"]
mod queue;

#[cfg(crossbeam_loom)]
#[path = "../src/epoch.rs"]
#[allow(dead_code, reason = "the models look for less long than the crate")]
mod epoch;

use interrupts::Interrupts;
use lazy::{LazyCell, Turn};
use queue::{Node, Queue};
use sync::{Arc, AtomicU32, Ordering};

/// Every interleaving in which no thread is interrupted more than twice, which is where defects show.
fn bounded(model: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(2);
    builder.max_branches = 100_000;
    builder.check(model);
}

#[test]
fn nothing_is_lost_between_pushes_and_a_drain() {
    bounded(|| {
        let queue = Arc::new(Queue::new());
        let pushers: Vec<_> = (0..2)
            .map(|thread| {
                let queue = Arc::clone(&queue);
                loom::thread::spawn(move || {
                    for i in 0..2 - thread {
                        queue.push(Node::new(Box::new(10 * thread + i)));
                    }
                })
            })
            .collect();
        let mut items = queue.drain();
        for pusher in pushers {
            pusher.join().unwrap();
        }
        items.extend(queue.drain());
        // What one thread pushed comes in the order in which it did.
        let of = |thread| items.iter().map(|item| **item).filter(move |item| item / 10 == thread);
        assert!(of(0).eq([0, 1]) && of(1).eq([10]), "{items:?}");
    });
}

/// Runs a body in three threads, which are numbered.
fn in_three_threads(body: impl Fn(i32) + Send + Sync + 'static) {
    let body = Arc::new(body);
    let others: Vec<_> = (1..3)
        .map(|me| {
            let body = Arc::clone(&body);
            loom::thread::spawn(move || body(me))
        })
        .collect();
    body(3);
    for other in others {
        other.join().unwrap();
    }
}

#[test]
fn a_lazy_function_is_found_once_and_everybody_gets_it_whole() {
    bounded(|| {
        let (cell, code) = (LazyCell::new(), loom::cell::UnsafeCell::new(0));
        let world = Arc::new(Shared((cell, code)));
        in_three_threads(move |me| {
            let (cell, code) = &world.0;
            match cell.enter_as(me, |_| false) {
                Turn::Mine(attempt) => {
                    assert!(matches!(cell.enter_as(me, |_| false), Turn::Recursive));
                    // SAFETY: what is being proved: this thread alone finds the function, and nobody looks meanwhile.
                    code.with_mut(|code| unsafe { *code += 1 });
                    attempt.publish(5);
                }
                Turn::Found(target) => {
                    // SAFETY: as above: it is not written any more.
                    assert_eq!((target, code.with(|code| unsafe { *code })), (5, 1));
                }
                turn => panic!("{turn:?}"),
            }
        });
    });
}

#[test]
fn whoever_waited_for_a_failure_is_told_and_whoever_did_not_tries_again() {
    bounded(|| {
        let (cell, attempts) = (LazyCell::new(), AtomicU32::new(0));
        let world = Arc::new(Shared((cell, attempts)));
        in_three_threads(move |me| {
            let (cell, attempts) = &world.0;
            match cell.enter_as(me, |_| false) {
                // The first attempt fails, every later one succeeds.
                Turn::Mine(attempt) => match attempts.fetch_add(1, Ordering::Relaxed) {
                    0 => drop(attempt),
                    _ => attempt.publish(5),
                },
                Turn::Found(target) => assert_eq!((target, attempts.load(Ordering::Relaxed)), (5, 2)),
                Turn::Failed => assert!(attempts.load(Ordering::Relaxed) > 0),
                Turn::Recursive => panic!("no thread asks twice"),
            }
        });
    });
}

/// A handler calls through a word while another thread replaces what it leads to, and frees that.
#[test]
fn what_a_handler_calls_is_freed_after_it() {
    bounded(|| {
        let functions = [0, 1].map(loom::cell::UnsafeCell::new);
        let world = Arc::new(Shared((Interrupts::default(), AtomicU32::new(0), functions)));
        let handler = {
            let world = Arc::clone(&world);
            loom::thread::spawn(move || {
                let (interrupts, word, functions) = &world.0;
                for _ in 0..2 {
                    interrupts.enter();
                    let function = word.load(Ordering::Relaxed) as usize;
                    // SAFETY: what is being proved: nobody frees the function meanwhile.
                    functions[function].with(|function| unsafe { *function });
                    interrupts.leave();
                }
            })
        };
        let (interrupts, word, functions) = &world.0;
        word.store(1, Ordering::Relaxed);
        Interrupts::barrier();
        let is_free = match interrupts.running() {
            None => true,
            Some(running) => interrupts.have_ended(running),
        };
        if is_free {
            // SAFETY: as above.
            functions[0].with_mut(|function| unsafe { *function = 99 });
        }
        handler.join().unwrap();
    });
}

/// What the models' threads share.
struct Shared<T>(T);

// SAFETY: the models share cells on purpose; loom checks every access.
unsafe impl<T> Sync for Shared<T> {}

// SAFETY: as above.
unsafe impl<T> Send for Shared<T> {}

#[cfg(crossbeam_loom)]
mod epochs {
    use loom::cell::UnsafeCell;
    use loom::sync::atomic::AtomicUsize;

    use super::bounded;
    use super::epoch::Epochs;
    use super::sync::{Arc, Ordering};

    /// What an item needs at least: two of the epoch, and one for a bag that is sealed meanwhile.
    const ADVANCES: u32 = 3;

    /// A stub and the functions that it may lead to. Freeing one writes to it: a caller that is still inside, or comes
    /// later, is a data race, which loom reports.
    struct World {
        epochs: Epochs<usize>,
        word: AtomicUsize,
        functions: [UnsafeCell<usize>; 3],
    }

    // SAFETY: the models share functions on purpose; loom checks every access.
    unsafe impl Sync for World {}

    const FREED: usize = 99;

    impl World {
        fn new() -> Arc<Self> {
            Arc::new(World {
                epochs: Epochs::new(),
                word: AtomicUsize::new(0),
                functions: [0, 1, 2].map(UnsafeCell::new),
            })
        }

        /// A call through the stub under a guard: returns what the function does.
        fn call(&self) -> usize {
            let handle = self.epochs.register();
            let _guard = handle.pin();
            // Acquire: pairs with the release in `replace`.
            let function = self.word.load(Ordering::Acquire);
            // SAFETY: what is being proved: nobody frees the function under this guard.
            self.functions[function].with(|value| unsafe { *value })
        }

        fn replace(&self, handle: &crossbeam_epoch::LocalHandle, old: usize, new: usize) {
            // Release: pairs with the acquire in `call`.
            self.word.store(new, Ordering::Release);
            self.epochs.retire(handle, old);
        }

        fn free(&self, items: Vec<usize>) {
            for item in items {
                // SAFETY: as in `call`.
                self.functions[item].with_mut(|value| unsafe { *value = FREED });
            }
        }
    }

    #[test]
    fn a_function_is_freed_after_its_last_caller() {
        bounded(|| {
            let world = World::new();
            let caller = loom::thread::spawn({
                let world = Arc::clone(&world);
                move || world.call()
            });
            let handle = world.epochs.register();
            world.replace(&handle, 0, 1);
            world.free(world.epochs.collect(&handle, u64::MAX, ADVANCES));
            let result = caller.join().unwrap();
            assert!(result < 2, "a freed function ran");
        });
    }

    /// The word is a slot: it leads to function 0, is freed (aimed at function 1, the unbound handler), and after its
    /// grace period belongs to another symbol, function 2. Who took the address before must never reach that.
    #[test]
    fn a_slot_is_reused_after_its_last_caller() {
        bounded(|| {
            let world = World::new();
            let is_exported = Arc::new(AtomicUsize::new(1));
            let caller = loom::thread::spawn({
                let (world, is_exported) = (Arc::clone(&world), Arc::clone(&is_exported));
                move || {
                    let handle = world.epochs.register();
                    let _guard = handle.pin();
                    // Acquire: pairs with the release below, by which the last reference to the stub goes away.
                    if is_exported.load(Ordering::Acquire) == 0 {
                        return 1;
                    }
                    // Acquire: pairs with the releases of the other thread's stores to the word.
                    world.word.load(Ordering::Acquire)
                }
            });
            let handle = world.epochs.register();
            // Release: pairs with the acquire above.
            is_exported.store(0, Ordering::Release);
            world.replace(&handle, 0, 1);
            if !world.epochs.collect(&handle, u64::MAX, ADVANCES).is_empty() {
                // Release: pairs with the acquire above.
                world.word.store(2, Ordering::Release);
            }
            assert_ne!(caller.join().unwrap(), 2, "a call reached another symbol's function");
        });
    }
}
