//! dynasm-rs: most of an instruction's bytes are made when the caller is compiled, and registers that vary are put into
//! them. Such a register takes a REX prefix and a SIB byte always, and jumps have 32 bits always.

#![allow(clippy::useless_conversion, reason = "the macro writes them")]

use dynasmrt::{DynasmApi as _, DynasmLabelApi as _, VecAssembler, dynasm, x64::X64Relocation};

use super::Round;

#[rustfmt::skip]
pub(super) fn mix(rounds: &[Round]) -> Vec<u8> {
    let mut ops = VecAssembler::<X64Relocation>::new(0);
    for round in rounds {
        let [a, b, c, d] = round.r;
        let [x, y, z] = round.x;
        let (small, large) = (round.small, round.large);
        dynasm!(ops
            ; .arch x64
            ; mov Rq(a), Rq(b)
            ; mov Rq(b), [Rq(c) + small.into()]
            ; mov [Rq(d) + large], Rq(a)
            ; add Rq(a), BYTE small
            ; sub Rq(b), DWORD large
            ; lea Rq(c), [Rq(a) + Rq(b) * 4 + small.into()]
            ; xor Rd(d), Rd(d)
            ; cmp Rq(a), Rq(c)
            ; test Rd(b), Rd(d)
            ; push Rq(a)
            ; pop Rq(b)
            ; movzx Rd(a), BYTE [Rq(b)]
            ; imul Rq(c), Rq(d)
            ; shl Rq(a), BYTE 3
            ; cmovl Rq(b), Rq(a)
            ; mov Rd(c), DWORD large
            ; movsd Rx(x), [Rq(a) + small.into()]
            ; addsd Rx(y), Rx(z)
            ; vaddps Rx(x), Rx(y), Rx(z)
            ; sete Rb(d)
        );
    }
    ops.finalize().expect("nothing is open")
}

#[rustfmt::skip]
pub(super) fn labels(rounds: &[Round]) -> Vec<u8> {
    let mut ops = VecAssembler::<X64Relocation>::new(0);
    for round in rounds {
        let [a, b, c, _] = round.r;
        let small = round.small;
        dynasm!(ops
            ; .arch x64
            ; again:
            ; cmp Rq(a), Rq(b)
            ; je >done
            ; mov Rq(c), [Rq(a) + small.into()]
            ; add Rq(c), Rq(b)
            ; test Rq(c), Rq(c)
            ; jne <again
            ; sub Rq(a), BYTE small
            ; jmp <again
            ; done:
            ; nop
        );
    }
    ops.finalize().expect("all labels are bound")
}
