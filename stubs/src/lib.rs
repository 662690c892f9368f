//! Address-stable 14-byte jumps, through which a function can be replaced while other threads call it.
//!
//! The crate knows nothing of ELF: it deals in addresses. Loading lives in `restub-loader`, and the `restub` crate
//! joins the two.
