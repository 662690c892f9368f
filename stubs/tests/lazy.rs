//! One thread finds a function, others wait, and nobody waits for a thread that will not come back.
#![allow(clippy::unwrap_used, reason = "a failure is a failed test")]

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Barrier};
use std::thread;

use restub_stubs::{LazyCell, Turn};

#[test]
fn one_thread_finds_what_all_others_get() {
    const THREADS: u32 = 8;
    for _ in 0..500 {
        let (cell, start, found) = (LazyCell::new(), Barrier::new(THREADS as usize), AtomicU32::new(0));
        thread::scope(|scope| {
            for _ in 0..THREADS {
                scope.spawn(|| {
                    start.wait();
                    match cell.enter() {
                        Turn::Mine(attempt) => {
                            assert!(matches!(cell.enter(), Turn::Recursive));
                            found.fetch_add(1, Ordering::Relaxed);
                            attempt.publish(7);
                        }
                        turn => assert!(matches!(turn, Turn::Found(7)), "{turn:?}"),
                    }
                });
            }
        });
        assert_eq!(found.into_inner(), 1);
    }
}

#[test]
fn whoever_waits_for_a_failure_is_told_and_the_next_one_tries_again() {
    let (cell, mine, failed) = (LazyCell::new(), AtomicU32::new(0), AtomicU32::new(0));
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..2000 {
                    let count = match cell.enter() {
                        Turn::Mine(_) => &mine,
                        Turn::Failed => &failed,
                        turn => panic!("{turn:?}"),
                    };
                    count.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
    assert_eq!(mine.into_inner() + failed.into_inner(), 16_000);
    assert!(matches!(cell.enter(), Turn::Mine(_)));
}

#[test]
fn a_thread_that_ended_is_replaced() {
    let cell = Arc::new(LazyCell::new());
    let leaves = {
        let cell = Arc::clone(&cell);
        move || match cell.enter() {
            Turn::Mine(attempt) => std::mem::forget(attempt),
            turn => panic!("{turn:?}"),
        }
    };
    thread::spawn(leaves).join().unwrap();
    match cell.enter() {
        Turn::Mine(attempt) => attempt.publish(1),
        turn => panic!("{turn:?}"),
    }
    assert!(matches!(cell.enter(), Turn::Found(1)));
}

#[test]
fn a_child_does_not_wait_for_its_parents_threads() {
    let (cell, inside, leave) = (LazyCell::new(), Barrier::new(2), Barrier::new(2));
    thread::scope(|scope| {
        scope.spawn(|| {
            let Turn::Mine(attempt) = cell.enter() else {
                panic!("nobody else knows the cell")
            };
            inside.wait();
            leave.wait();
            attempt.publish(1);
        });
        inside.wait();
        // SAFETY: the child enters the cell and ends.
        let child = unsafe { libc::fork() };
        if child == 0 {
            let is_right = matches!(cell.enter(), Turn::Mine(_));
            // SAFETY: ends the child without running what is the parent's.
            unsafe { libc::_exit(if is_right { 42 } else { 1 }) };
        }
        let mut status = 0;
        // SAFETY: the child is this process's, and the pointer is to a local variable.
        assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
        assert_eq!(libc::WEXITSTATUS(status), 42, "{status:#x}");
        leave.wait();
        assert!(matches!(cell.enter(), Turn::Found(1)));
    });
}
