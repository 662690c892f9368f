//! Nothing: cargo wants a library or a program in every package, and the bench is neither.
