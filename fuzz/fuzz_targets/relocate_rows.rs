//! Each row of the relocation table computes what the psABI says.

#![no_main]

use libfuzzer_sys::fuzz_target;
use restub::loader::fuzzing::check_row_bytes;

fuzz_target!(|bytes: &[u8]| check_row_bytes(bytes));
