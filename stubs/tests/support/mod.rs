//! Real memory and real functions for the tests.
#![allow(dead_code, reason = "each test uses a part")]
#![allow(unreachable_pub, reason = "the files are also included by the crate's example")]

include!("memory.rs");
include!("code.rs");
