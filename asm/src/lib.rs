//! restub's x86-64 assembler: typed instructions and `.s` text to machine code and ELF objects.
//!
//! The crate depends on nothing of restub's, so that every other crate may use it for the code that it generates.

#![forbid(unsafe_code)]
