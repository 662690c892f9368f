//! Grace periods: what is retired reaches the queue once every thread that was pinned then has unpinned.
//!
//! This is the part of reclamation that is proved on models (`tests/loom.rs`), so it holds the protocol and nothing
//! else: handles are given by the caller, and there are no clocks and no statistics.

use crossbeam_epoch::{Collector, LocalHandle};

use crate::queue::{Node, Queue};
use crate::sync::Arc;

/// So many times in a row, a collection may find nothing before it ends. An epoch must advance twice before what was
/// retired in it is free, and once more for a bag that is sealed meanwhile; and in front of it there may be bags with
/// nothing but the collector's own memory, of which eight are emptied each time.
pub(crate) const IDLE_ROUNDS: u32 = 32;
/// Ends a collection during which others retire without pause.
const ROUNDS: u32 = 4096;

/// A collector of its own, and the queue behind it.
#[derive(Debug)]
pub(crate) struct Epochs<T> {
    collector: Collector,
    queue: Arc<Queue<T>>,
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
        let node = Node::new(item);
        let queue = Arc::clone(&self.queue);
        let guard = handle.pin();
        guard.defer(move || queue.push(node));
        guard.flush(); // else the item waits in this thread's bag until this thread pins again
    }

    /// Advances the epoch as far as pinned threads allow, and takes what is past its grace period. Having found `wanted`
    /// items, or none for so many rounds, it looks no further.
    pub(crate) fn collect(&self, handle: &LocalHandle, wanted: u64, idle_rounds: u32) -> Vec<T> {
        let mut items = Vec::new();
        let mut idle = 0;
        for _ in 0..ROUNDS {
            handle.pin().flush();
            let found = self.queue.drain();
            idle = if found.is_empty() { idle + 1 } else { 0 };
            items.extend(found);
            if idle == idle_rounds || items.len() as u64 >= wanted {
                break;
            }
        }
        items
    }
}
