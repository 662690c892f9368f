//! The rows, by family. [`crate::row`] has the notation.
//!
//! Order is part of the specification: the first row of a mnemonic that takes the operands wins, and the order is the
//! one in which GNU as prefers forms.

mod amd;
mod amx;
mod apx;
mod avx;
mod avx10;
mod avx512;
mod avx512_fp16;
mod avx512_integer;
mod branch;
mod compare;
mod fma;
mod integer;
mod sse;
mod system;
mod x87;

/// Legacy before VEX before EVEX; general before vector where a mnemonic has both.
pub(crate) const FAMILIES: &[&[&str]] = &[
    integer::ROWS,
    branch::ROWS,
    system::ROWS,
    x87::ROWS,
    sse::ROWS,
    avx::ROWS,
    fma::ROWS,
    amd::ROWS,
    compare::ROWS,
    avx512::ROWS,
    avx512_integer::ROWS,
    avx512_fp16::ROWS,
    amx::ROWS,
    avx10::ROWS,
    apx::ROWS,
];

/// The condition codes in the order of their numbers, with their aliases.
macro_rules! each_condition {
    ($prefix:literal, $rest:literal) => {
        concat!(
            $prefix,
            "{o,no,b|c|nae,ae|nb|nc,e|z,ne|nz,be|na,a|nbe,s,ns,p|pe,np|po,l|nge,ge|nl,le|ng,g|nle}",
            $rest
        )
    };
}

/// The conditions of `ccmp` and `ctest`: always and never stand where the parity flag's two do elsewhere.
macro_rules! each_compare_condition {
    ($prefix:literal, $rest:literal) => {
        concat!(
            $prefix,
            "{o,no,b|c|nae,ae|nb|nc,e|z,ne|nz,be|na,a|nbe,s,ns,t,f,l|nge,ge|nl,le|ng,g|nle}",
            $rest
        )
    };
}
use {each_compare_condition, each_condition};
