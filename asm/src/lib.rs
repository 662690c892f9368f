//! restub's x86-64 assembler: typed instructions and `.s` text to machine code and ELF objects.
//!
//! The crate depends on nothing of restub's, so that every other crate may use it for the code that it generates.

#![forbid(unsafe_code)]
#![allow(
    long_running_const_eval,
    reason = "the instruction table is compiled in one constant, in a second or two"
)]

extern crate alloc;

mod class;
mod elf_writer;
mod encode;
mod error;
mod inst;
mod layout;
mod nop;
mod operand;
pub mod reg;
mod relax;
mod row;
mod rows;
mod section;
mod select;
mod symbol;
mod text;
mod unit;

#[cfg(test)]
mod row_tests;

pub use encode::{Encoded, Fixup, FixupKind, encode};
pub use error::EncodeError;
pub use inst::{Hints, Inst, Prefixes, Rounding, Syntax};
pub use operand::{DispSize, Imm, Mem, Operand, Symbolic};
pub use row::Mnemonic;
pub use text::{Diagnostic, Errors, Options, assemble};
