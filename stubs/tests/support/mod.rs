//! Real memory and real functions for the tests.
#![allow(dead_code, reason = "each test uses a part")]
#![allow(unreachable_pub, reason = "the files are also included by the crate's example")]

include!("memory.rs");
include!("code.rs");
include!("leave.rs");

/// Waits for something that happens soon, such as the end of a thread that has been joined.
pub fn wait_until(is_so: impl Fn() -> bool) {
    let end = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while !is_so() {
        assert!(std::time::Instant::now() < end, "it has not happened");
        std::thread::yield_now();
    }
}
