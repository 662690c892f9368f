//! Any bytes are read as an archive or refused, and link if they can.

#![no_main]

use libfuzzer_sys::fuzz_target;
use restub::loader::fuzzing::check_archive;

fuzz_target!(|bytes: &[u8]| check_archive(bytes));
