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

#[test]
fn seeds_of_the_fuzz_target_are_what_the_model_says() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/seeds/session_history");
    let mut count = 0;
    for seed in std::fs::read_dir(folder).expect("seeds") {
        let seed = seed.expect("an entry").path();
        model::check_history(&std::fs::read(&seed).expect("a seed"));
        count += 1;
    }
    assert!(count >= 8, "{count} seeds");
}
