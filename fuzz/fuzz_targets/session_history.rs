//! A session does what a simple model of it does.

#![no_main]

use libfuzzer_sys::fuzz_target;
use restub_fuzz::history::check_history;

fuzz_target!(|bytes: &[u8]| check_history(bytes));
