//! Advanced Performance Extensions: instructions that only they have.

#[rustfmt::skip]
pub(super) const ROWS: &[&str] = &[
];
