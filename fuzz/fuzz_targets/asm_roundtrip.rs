//! What the assembler makes of a disassembled instruction is that instruction.

#![no_main]

use libfuzzer_sys::fuzz_target;
use restub_fuzz::asm::check_roundtrip;

fuzz_target!(|bytes: &[u8]| check_roundtrip(bytes));
