//! Objects, generated, broken or arbitrary, link as the psABI says, or leave nothing behind.

#![no_main]

use libfuzzer_sys::fuzz_target;
use restub::loader::fuzzing::check_link_bytes;

fuzz_target!(|bytes: &[u8]| check_link_bytes(bytes));
