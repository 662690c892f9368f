//! Errors of the encoder.

use alloc::string::String;
use alloc::vec::Vec;

use crate::reg::Reg;

/// Why an instruction cannot be encoded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// The mnemonic never takes that many operands.
    #[error("`{mnemonic}` with {given} operands; it takes {}", counts(accepted))]
    OperandCount {
        /// The mnemonic.
        mnemonic: &'static str,
        /// Operands given.
        given: usize,
        /// Counts that exist.
        accepted: Vec<u8>,
    },
    /// No form takes operands of these kinds.
    #[error("`{mnemonic}` does not take these operands; it takes: {candidates}")]
    NoForm {
        /// The mnemonic.
        mnemonic: &'static str,
        /// Forms with as many operands.
        candidates: String,
    },
    /// Operands would do, but not with this.
    #[error("`{mnemonic}` does not take {what} here")]
    NotAllowed {
        /// The mnemonic.
        mnemonic: &'static str,
        /// What it does not take.
        what: &'static str,
    },
    /// Nothing says how wide the operation is.
    #[error("nothing says the operand size of `{mnemonic}`: name a register, a size suffix or a size PTR")]
    AmbiguousSize {
        /// The mnemonic.
        mnemonic: &'static str,
    },
    /// `ah`…`bh` cannot stand in an instruction with a REX prefix.
    #[error("`{mnemonic}` needs a REX or EVEX prefix, with which ah, ch, dh and bh cannot be encoded")]
    HighByteWithRex {
        /// The mnemonic.
        mnemonic: &'static str,
    },
    /// `rsp` cannot be an index.
    #[error("{register} cannot be an index register")]
    BadIndex {
        /// The register.
        register: Reg,
    },
    /// The displacement has more than 32 bits.
    #[error("displacement {value:#x} does not fit 32 bits signed")]
    Displacement {
        /// The displacement.
        value: i64,
    },
    /// The caller's buffer is full.
    #[error("no room for `{mnemonic}`")]
    NoRoom {
        /// The mnemonic.
        mnemonic: &'static str,
    },
    /// Only a [`crate::Builder`] has labels.
    #[error("`{mnemonic}` refers to a label or symbol, which plain bytes cannot")]
    Open {
        /// The mnemonic.
        mnemonic: &'static str,
    },
    /// More than 15 bytes.
    #[error("`{mnemonic}` with these prefixes has {length} bytes; an instruction has 15 at most")]
    TooLong {
        /// The mnemonic.
        mnemonic: &'static str,
        /// Its length.
        length: usize,
    },
}

fn counts(accepted: &[u8]) -> String {
    let all: Vec<String> = accepted.iter().map(|n| alloc::format!("{n}")).collect();
    all.join(" or ")
}
