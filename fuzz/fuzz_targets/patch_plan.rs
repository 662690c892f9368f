//! Whatever a process's files and memory hold, a patch of it is planned or refused.

#![no_main]

use libfuzzer_sys::fuzz_target;
use restub_process::fuzzing::check_plan;

fuzz_target!(|bytes: &[u8]| check_plan(bytes));
