//! The lock-free parts on their own, with real threads and nothing of the system's but futexes: what Miri can run too.

use std::thread;

use crate::epoch::{Epochs, IDLE_ROUNDS};
use crate::interrupts::Interrupts;
use crate::lazy::{LazyCell, Turn};
use crate::queue::{Node, Queue};

/// Miri takes a thousand times as long.
const TURNS: usize = if cfg!(miri) { 20 } else { 5000 };

#[test]
fn everything_pushed_is_drained_once() {
    let queue = Queue::new();
    let mut items = thread::scope(|scope| {
        for thread in 0..3 {
            let queue = &queue;
            scope.spawn(move || (0..TURNS).for_each(|i| queue.push(Node::new(Box::new(3 * i + thread)))));
        }
        let mut items = Vec::new();
        while items.len() < 3 * TURNS {
            items.extend(queue.drain().into_iter().map(|item| *item));
        }
        items
    });
    for thread in 0..3 {
        assert!(items.iter().filter(|&&item| item % 3 == thread).is_sorted());
    }
    items.sort_unstable();
    assert!(items.into_iter().eq(0..3 * TURNS));
}

#[test]
fn what_is_retired_comes_back_after_the_last_pin() {
    let epochs = Epochs::new();
    let collected = thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let handle = epochs.register();
                for i in 0..TURNS {
                    let _guard = handle.pin();
                    epochs.retire(&handle, Box::new(i));
                }
            });
        }
        let handle = epochs.register();
        (0..TURNS)
            .map(|_| epochs.collect(&handle, u64::MAX, 1).len())
            .sum::<usize>()
    });
    let handle = epochs.register();
    let guard = handle.pin();
    epochs.retire(&handle, Box::new(0));
    let rest = epochs.collect(&handle, u64::MAX, IDLE_ROUNDS).len();
    assert!(collected + rest <= 2 * TURNS, "an item came back under a pin");
    drop(guard);
    let last = epochs.collect(&handle, u64::MAX, IDLE_ROUNDS).len();
    assert_eq!(collected + rest + last, 2 * TURNS + 1);
}

#[test]
fn one_thread_finds_a_lazy_function_after_failures() {
    let (cell, mut attempts) = (LazyCell::new(), 0);
    let counter = std::sync::Mutex::new(&mut attempts);
    thread::scope(|scope| {
        for me in 1..4 {
            let (cell, counter) = (&cell, &counter);
            scope.spawn(move || {
                loop {
                    match cell.enter_as(me, |_| false) {
                        Turn::Found(target) => break assert_eq!(target, 7),
                        Turn::Failed => {}
                        Turn::Recursive => panic!("no thread asks while it looks"),
                        Turn::Mine(attempt) => {
                            let mut counter = counter.lock().unwrap();
                            **counter += 1;
                            if **counter == 3 {
                                attempt.publish(7);
                            }
                        }
                    }
                }
            });
        }
    });
    assert_eq!(attempts, 3);
}

#[test]
fn handlers_nest() {
    let interrupts = Interrupts::default();
    assert_eq!(interrupts.running(), None);
    interrupts.enter();
    let outer = interrupts.running().unwrap();
    interrupts.enter();
    interrupts.leave();
    assert!(!interrupts.have_ended(outer));
    interrupts.leave();
    assert!(interrupts.have_ended(outer));
    interrupts.enter();
    assert!(interrupts.have_ended(outer), "another one runs");
    assert!(interrupts.running().is_some());
    interrupts.clear();
    assert_eq!(interrupts.running(), None);
}
