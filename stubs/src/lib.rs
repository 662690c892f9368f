//! Address-stable 14-byte jumps, through which a function can be replaced while other threads call it.
//!
//! The crate knows nothing of ELF: it deals in addresses. Loading lives in `restub-loader`, and the `restub` crate
//! joins the two.

mod epoch;
mod error;
mod queue;
mod reclaim;
mod scan;
mod slot;
mod sync;
mod table;
mod thread;
mod unbound;

pub use error::StubError;
pub use reclaim::{Amount, Guard, OldestGuard, ReclaimStats, Reclaimer};
pub use scan::{ScanError, ScanHit, ScanOptions, ScanReport, SilentThread, scan};
pub use slot::{BLOCK_BYTES, Block, BlockBytes, Handler, Slot, encode_block};
pub use table::{FreedSlot, MemoryError, Stub, StubMemory, StubTable, TableStats, WordStore};
pub use thread::{Silence, ThreadName};
pub use unbound::{OnUnbound, UnboundCall};
