//! The oracles of targets that are about more than one crate. Those of the loader are in `restub::loader::fuzzing`.

pub mod asm;
#[path = "../../tests/history/mod.rs"]
pub mod history;
