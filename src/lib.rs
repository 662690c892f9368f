//! restub
