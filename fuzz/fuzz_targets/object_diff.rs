//! Any two files are compared or refused, and what differs is a patch.

#![no_main]

use libfuzzer_sys::fuzz_target;
use restub_process::fuzzing::check_difference;

fuzz_target!(|bytes: &[u8]| check_difference(bytes));
