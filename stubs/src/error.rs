//! What can go wrong.

use crate::MemoryError;

/// Why an operation on stubs failed. The table is as it was before.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StubError {
    /// The memory of stubs could not be had or written.
    #[error("{operation} for stubs: {source}")]
    Memory {
        /// What was attempted.
        operation: &'static str,
        /// What the memory says.
        source: MemoryError,
    },
    /// Memory was given at an address where stubs cannot be.
    #[error("stubs at {code:#x} with their words at {words:#x}: {reason}")]
    Block {
        /// Start of the code.
        code: u64,
        /// Start of the target words.
        words: u64,
        /// What is wrong with them.
        reason: String,
    },
    /// The stub has been freed.
    #[error("stub {index} at {address:#x} has been freed")]
    Freed {
        /// The stub's index.
        index: u32,
        /// The stub's address.
        address: u64,
    },
    /// The stub leads to a definition.
    #[error("stub {index} at {address:#x} still leads to a definition")]
    Bound {
        /// The stub's index.
        index: u32,
        /// The stub's address.
        address: u64,
    },
    /// The instruction that names a stub to the unbound handler holds 31 bits.
    #[error("a table holds at most {} stubs", i32::MAX)]
    Full,
}
