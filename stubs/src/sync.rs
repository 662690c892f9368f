//! The primitives that the lock-free parts are built from, in one place so that their models can use others.

pub(crate) use std::sync::Arc;
pub(crate) use std::sync::atomic::{AtomicPtr, Ordering};
