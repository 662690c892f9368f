//! Any text is assembled or refused, and what is assembled is an object.

#![no_main]

use libfuzzer_sys::fuzz_target;
use restub_fuzz::asm::check_text;

fuzz_target!(|bytes: &[u8]| check_text(bytes));
