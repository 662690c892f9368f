//! Any bytes are read as an object or refused.

#![no_main]

use libfuzzer_sys::fuzz_target;
use restub::loader::fuzzing::check_object;

fuzz_target!(|bytes: &[u8]| check_object(bytes));
