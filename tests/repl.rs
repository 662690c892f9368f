//! The example `repl`, with fewer functions and changes. What it finds wrong is a panic.
#![allow(missing_docs, reason = "tests have names")]

#[allow(dead_code, reason = "its `main` is not called")]
#[path = "../examples/repl.rs"]
mod repl;

#[test]
fn functions_that_call_one_another_are_changed_while_threads_run_them() {
    repl::run(200, 1000).unwrap_or_else(|error| panic!("{error}"));
}
