//! Address-stable 14-byte jumps, through which a function can be replaced while other threads call it.
//!
//! A **stub** is a jump through a word in memory. Callers call the stub, whose address never changes; storing another
//! address into the word sends them elsewhere, without stopping a thread and without changing an instruction. What is
//! left is to know when the old function may be freed.
//!
//! | question | answer |
//! |---|---|
//! | What does a stub look like? | [`Slot`]: four layouts, with and without a landing pad, the word beside the jump or on a page of data |
//! | Who has the memory? | the host, behind [`StubMemory`]: the crate deals in addresses, of this process or another |
//! | Who adds, retargets and frees stubs? | [`StubTable`] |
//! | What if a stub has no definition? | its thunk tells the unbound handler which one it is: [`OnUnbound`] |
//! | What if it is compiled on its first call? | [`OnUnbound::Resolve`] finds the address, once: [`LazyCell`] |
//! | When may the old function be freed? | [`Reclaimer`]: when every [`Guard`] that existed at its retirement is gone |
//! | And if threads call without a guard? | [`scan()`]: no thread has an address inside of it in registers or on its stack |
//! | When may a freed stub's slot be reused? | [`FreedSlot`] |
//!
//! The crate knows nothing of ELF. Loading lives in `restub-loader`, and the `restub` crate joins the two.
//!
//! # Example
//!
//! `TwoViews`, memory of this process that is executable at one address and writable at another, and `Page`, a function
//! on a page of its own, are in `tests/support`.
//!
//! ```
//! # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/memory.rs"));
//! # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/code.rs"));
//! use restub_stubs::{OnUnbound, Reclaimer, Slot, StubTable};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let mut table = StubTable::new(TwoViews::new()?, Slot::Inline, OnUnbound::Abort);
//! let reclaimer = Reclaimer::new();
//!
//! let answer = table.add("answer")?;
//! let old = Page::returning(41, 1)?;
//! table.publish(answer, old.address())?;
//! // SAFETY: the stub has a definition, and the threads below call it under a guard.
//! let call = unsafe { function(answer.address()) };
//!
//! std::thread::scope(|scope| {
//!     let caller = scope.spawn(|| loop {
//!         let _guard = reclaimer.pin();
//!         // SAFETY: the guard keeps the function that is reached from being freed.
//!         match unsafe { call() } {
//!             41 => continue,
//!             value => break value,
//!         }
//!     });
//!     let new = Page::returning(42, 1).unwrap();
//!     table.publish(answer, new.address()).unwrap();
//!     reclaimer.retire(old, 4096); // nobody can newly reach it
//!     assert_eq!(caller.join().unwrap(), 42);
//!     drop(reclaimer.collect()); // nobody is in it any more: unmapped
//!     reclaimer.retire(new, 4096);
//! });
//! assert_eq!(reclaimer.stats().reclaimed.items, 1);
//! # Ok(())
//! # }
//! ```

mod epoch;
mod error;
mod interrupts;
mod lazy;
#[cfg(test)]
mod lock_free_tests;
mod queue;
mod reclaim;
mod registry;
mod scan;
mod slot;
mod sync;
mod table;
mod thread;
mod unbound;

pub use error::StubError;
pub use lazy::{Attempt, LazyCell, Turn};
pub use reclaim::{Amount, Guard, HandlerGuard, OldestGuard, ReclaimStats, Reclaimer};
pub use scan::{ScanError, ScanHit, ScanOptions, ScanReport, SilentThread, scan};
pub use slot::{BLOCK_BYTES, Block, BlockBytes, Handler, Slot, encode_block};
pub use table::{FreedSlot, MemoryError, Stub, StubMemory, StubSet, StubTable, TableStats, WordStore};
pub use thread::{Silence, ThreadName};
pub use unbound::{OnUnbound, UnboundCall, resolve_unbound};
