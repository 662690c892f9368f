//! restub's x86-64 assembler: instructions from Rust, or `.s` text, to machine code and ELF objects.
//!
//! The instruction set is a table, one form a row in the notation of Intel's manual; the first row that takes the
//! operands wins, which makes the bytes those of GNU as. From there up:
//!
//! * [`encode`] turns one [`Inst`] into bytes and open places,
//! * [`Instructions`] has a method a mnemonic, for [`Builder`] and [`Buffer`],
//! * [`Builder`] adds labels, data and sections, and yields bytes at an address or an object,
//! * [`Buffer`] writes into the caller's memory and allocates nothing,
//! * [`assemble`] reads AT&T and Intel source as compilers write it, and yields an object.
//!
//! Without the default feature `std` there is no text assembler, and the crate needs nothing but `alloc`.
//! The crate depends on nothing of restub's, so that every other crate may use it for the code that it generates.
//!
//! ```
//! use restub_asm::reg::{EAX, EDI};
//! use restub_asm::{Builder, Instructions, Options, assemble};
//!
//! // A function that counts down, as bytes for one address.
//! let mut code = Builder::new();
//! let done = code.label();
//! code.xor(EAX, EAX)?;
//! let again = code.here();
//! code.test(EDI, EDI)?;
//! code.je(done)?;
//! code.add(EAX, EDI)?;
//! code.dec(EDI)?;
//! code.jmp(again)?;
//! code.bind(done)?;
//! code.ret()?;
//! let bytes = code.finish_at(0x40_0000, |_name| None)?;
//! assert_eq!(bytes[..4], [0x31, 0xc0, 0x85, 0xff]);
//!
//! // The same from text, as an ELF object.
//! let source = "
//!     .globl sum
//!     .type sum, @function
//! sum:
//!     xorl %eax, %eax
//! 1:  testl %edi, %edi
//!     je 2f
//!     addl %edi, %eax
//!     decl %edi
//!     jmp 1b
//! 2:  ret
//!     .size sum, .-sum
//! ";
//! let object = assemble(source, &Options::default())?;
//! assert!(object.windows(bytes.len()).any(|window| window == bytes));
//!
//! // Mistakes are shown where they are.
//! let errors = assemble("movl %rax, %ebx\n", &Options::default()).unwrap_err();
//! assert!(errors.to_string().starts_with("<source>:1:1: `mov` does not take"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![forbid(unsafe_code)]
#![cfg_attr(not(feature = "std"), no_std)]
#![cfg_attr(
    not(feature = "std"),
    allow(dead_code, reason = "parts of sections and symbols are for the text assembler")
)]
#![allow(
    long_running_const_eval,
    reason = "the instruction table is compiled in one constant"
)]

extern crate alloc;

mod address;
mod buffer;
mod builder;
mod choices;
mod class;
mod elf_file;
mod elf_writer;
mod encode;
mod error;
mod form;
mod inst;
mod instructions;
mod jumps;
mod key;
mod layout;
mod nop;
mod notation;
mod operand;
mod plan;
mod prefix;
pub mod reg;
mod relax;
mod relocation;
mod row;
mod rows;
mod section;
mod select;
mod simple;
mod symbol;
mod table;
mod tail;
#[cfg(feature = "std")]
mod text;
mod typed;
mod unit;

#[cfg(test)]
mod row_tests;

pub use buffer::Buffer;
pub use builder::{BuildError, Builder, Label};
pub use encode::{Encoded, Fixup, FixupKind, encode};
pub use error::EncodeError;
pub use inst::{Hints, Inst, Prefixes, Rounding, Syntax};
pub use instructions::Instructions;
pub use operand::{DispSize, Imm, Mem, Operand, Symbolic};
pub use row::Mnemonic;
#[cfg(feature = "std")]
pub use text::{Assembly, Diagnostic, Errors, Options, Severity, assemble, assemble_with_messages};
pub use typed::{Emit, Ptr, Typed, ptr};
