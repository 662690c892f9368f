//! Grace periods: what is retired reaches the queue once every thread that was pinned then has unpinned.
//!
//! This is the part of reclamation that is proved on models (`tests/loom.rs`), so it holds the protocol and nothing
//! else: handles are given by the caller, and there are no clocks and no statistics.

use crossbeam_epoch::{Collector, Guard, LocalHandle};

use crate::queue::{Node, Queue};
use crate::sync::Arc;

/// So many times in a row, a collection may find nothing before it ends. An epoch must advance twice before what was
/// retired in it is free, and once more for a bag that is sealed meanwhile; and in front of it there may be bags with
/// nothing but the memory of ones that threads emptied while they pinned, one for each 64 of them, of which eight are
/// emptied each time.
pub(crate) const IDLE_ROUNDS: u32 = 32;

/// A collector of its own, and the queue behind it.
#[derive(Debug)]
pub(crate) struct Epochs<T> {
    collector: Collector,
    queue: Arc<Queue<Found<T>>>,
}

/// What was in a bag that is past its grace period.
#[derive(Debug)]
enum Found<T> {
    Item(T),
    /// The collector's own memory: a collection gives back that of the bags that it empties in bags as well. They may be
    /// many, and while it finds some it has not come to the end.
    Memory,
}

impl<T: Send + 'static> Epochs<T> {
    pub(crate) fn new() -> Self {
        Epochs {
            collector: Collector::new(),
            queue: Arc::new(Queue::new()),
        }
    }

    pub(crate) fn register(&self) -> LocalHandle {
        self.collector.register()
    }

    /// Hands an item over. Whoever could reach it must have been cut off before, by a store that is at least a release.
    ///
    /// `flush` seals the bag with a sequentially consistent fence, which pairs with the one in `pin`: a thread whose pin
    /// the collector does not see sees the store that cut the item off.
    pub(crate) fn retire(&self, handle: &LocalHandle, item: T) {
        let guard = handle.pin();
        self.defer(&guard, Found::Item(item));
        guard.flush(); // else the item waits in this thread's bag until this thread pins again
    }

    fn defer(&self, guard: &Guard, found: Found<T>) {
        let node = Node::new(found);
        let queue = Arc::clone(&self.queue);
        guard.defer(move || queue.push(node));
    }

    /// Advances the epoch as far as pinned threads allow, and takes what is past its grace period. Having found `wanted`
    /// items, or none for so many rounds, it looks no further.
    pub(crate) fn collect(&self, handle: &LocalHandle, wanted: u64, idle_rounds: u32) -> Vec<T> {
        let mut items = Vec::new();
        let (mut idle, mut emptied) = (0, 0);
        loop {
            let guard = handle.pin();
            // Not for a single one, which may be this itself: they would follow each other for ever.
            if emptied > 1 {
                self.defer(&guard, Found::Memory);
            }
            guard.flush();
            drop(guard);
            let found = self.queue.drain();
            emptied = found.len();
            idle = if emptied == 0 { idle + 1 } else { 0 };
            items.extend(found.into_iter().filter_map(|found| match found {
                Found::Item(item) => Some(item),
                Found::Memory => None,
            }));
            if idle == idle_rounds || items.len() as u64 >= wanted {
                return items;
            }
        }
    }
}
