//! Random histories of a session, beside a model of it; `RESTUB_FUZZ_CASES` says how many.

#![allow(missing_docs, reason = "tests have names")]

#[allow(unreachable_pub, reason = "the fuzz target is another crate")]
#[path = "history/mod.rs"]
mod model;

use restub::loader::fuzzing::entropy;

#[test]
fn sessions_are_what_a_model_of_them_says() {
    let count = std::env::var("RESTUB_FUZZ_CASES")
        .ok()
        .and_then(|count| count.parse().ok());
    for seed in 0..count.unwrap_or(200) {
        model::check_history(&entropy(seed));
    }
}
