//! Items that are past their grace period: any thread may add one, and a collector takes all at once.
//!
//! An item is added by whichever thread happens to end an epoch, in the middle of somebody else's call. So adding is
//! one compare-and-swap: the node was allocated when the item was retired, and nothing is freed, locked or waited for.

use std::marker::PhantomData;
use std::ptr;

use crate::sync::{AtomicPtr, Ordering};

/// An item on its way to a queue.
#[derive(Debug)]
pub(crate) struct Node<T> {
    item: T,
    next: *mut Node<T>,
}

// SAFETY: a node is the item, and a pointer that only the queue follows; the item may be sent.
unsafe impl<T: Send> Send for Node<T> {}

impl<T> Node<T> {
    pub(crate) fn new(item: T) -> Box<Self> {
        Box::new(Node {
            item,
            next: ptr::null_mut(),
        })
    }
}

/// A queue that is emptied as a whole. What is left in it when it is dropped is leaked: the last owner may be any
/// thread, and items must not be dropped there.
#[derive(Debug)]
pub(crate) struct Queue<T> {
    head: AtomicPtr<Node<T>>,
    owns: PhantomData<T>,
}

// SAFETY: items only pass through, from the thread that pushes to the one that drains; no reference to one is shared.
unsafe impl<T: Send> Sync for Queue<T> {}

impl<T> Queue<T> {
    pub(crate) fn new() -> Self {
        Queue {
            head: AtomicPtr::new(ptr::null_mut()),
            owns: PhantomData,
        }
    }

    pub(crate) fn push(&self, node: Box<Node<T>>) {
        let node = Box::into_raw(node);
        let mut head = self.head.load(Ordering::Relaxed);
        loop {
            // SAFETY: the node came from a box just above, and no other thread can see it yet.
            unsafe { (*node).next = head };
            // Release: pairs with the swap in `drain`, which then sees the item and `next`. The exchange continues
            // the release sequence of the pushes below it, so their nodes are seen too.
            let pushed = self
                .head
                .compare_exchange_weak(head, node, Ordering::Release, Ordering::Relaxed);
            match pushed {
                Ok(_) => return,
                Err(now) => head = now,
            }
        }
    }

    /// Takes everything, first in first out.
    pub(crate) fn drain(&self) -> Vec<T> {
        // Acquire: pairs with the exchange in `push`. No node is ever pushed twice, so there is no ABA to fear.
        let mut node = self.head.swap(ptr::null_mut(), Ordering::Acquire);
        let mut items = Vec::new();
        while !node.is_null() {
            // SAFETY: the node came from a box in `push`, and the swap made this thread its only owner.
            let taken = unsafe { Box::from_raw(node) };
            node = taken.next;
            items.push(taken.item);
        }
        items.reverse();
        items
    }
}
