//! Nothing: cargo wants a library or a program in every package, and this one has tests.
