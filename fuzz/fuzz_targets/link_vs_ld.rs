//! GNU ld and lld make the same of generated objects.

#![no_main]

use libfuzzer_sys::fuzz_target;
use restub::loader::fuzzing::check_peers_bytes;

fuzz_target!(|bytes: &[u8]| check_peers_bytes(bytes));
