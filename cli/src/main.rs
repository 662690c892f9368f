//! The `restub` command.
fn main() {}
