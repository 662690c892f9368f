//! The form of an instruction whose operands' types are known, chosen when the caller is compiled.
//!
//! The choice is the one that [`crate::select`] makes at run time, from the same rows: a register's type says its
//! class, a memory operand's its size, an immediate's how large it can be. What is left for run time are numbers, and
//! the few values that have a row of their own.

use core::marker::PhantomData;

use crate::EncodeError;
use crate::class::{Slot, kind};
use crate::encode::{self, Out, Parts};
use crate::form::Form;
use crate::prefix::Decoration;
use crate::row::{Mnemonic, Row, flag};
use crate::select::{Selected, Wanted, search, seen};
use crate::typed::{Emit, Kind, Typed, What};

/// No row.
const NO_ROW: u32 = u32::MAX;

/// A mnemonic with operands of these types.
struct Plan<const M: u16, A, B, C, D, E>(PhantomData<(A, B, C, D, E)>);

impl<const M: u16, A: Typed, B: Typed, C: Typed, D: Typed, E: Typed> Plan<M, A, B, C, D, E> {
    const KINDS: [Kind; 5] = [A::KIND, B::KIND, C::KIND, D::KIND, E::KIND];
    const LEN: usize = {
        let mut len = 0;
        while len < 5 && !matches!(Self::KINDS[len].what, What::Absent) {
            len += 1;
        }
        len
    };

    /// The row (index times 4 plus variant) for each size of the immediate, without and with registers above 15.
    const ROWS: [[u32; 3]; 2] = [
        [Self::row(0, false), Self::row(1, false), Self::row(2, false)],
        [Self::row(0, true), Self::row(1, true), Self::row(2, true)],
    ];

    const fn row(tier: usize, high: bool) -> u32 {
        match Self::selected(tier, high, false) {
            Selected::Row(row, variant) => (row as u32) << 2 | variant as u32,
            _ => NO_ROW,
        }
    }

    const fn selected(tier: usize, high: bool, special: bool) -> Selected {
        let mut signatures = [0; 5];
        let mut bits = 0;
        let mut i = 0;
        while i < Self::LEN {
            let kind = Self::KINDS[i];
            signatures[i] = kind.at(tier) | if special { kind.special } else { 0 };
            bits |= kind.seen;
            if high {
                bits |= match kind.what {
                    What::Vector => seen::HIGH_VECTOR,
                    What::Register | What::Memory => seen::HIGH_GENERAL,
                    _ => 0,
                };
            }
            i += 1;
        }
        search(&Wanted::plain(Mnemonic(M), signatures, Self::LEN, bits))
    }

    /// Whether only values tell the form: an operand is of no certain kind, or the row has demands of its own.
    const DYNAMIC: bool = {
        let mut dynamic = false;
        let mut i = 0;
        while i < Self::LEN {
            dynamic |= matches!(Self::KINDS[i].what, What::Dynamic);
            i += 1;
        }
        // Some values of the types have a form, as `cl` has for shifts.
        if Self::ROWS[0][0] == NO_ROW {
            dynamic |= matches!(Self::selected(0, false, true), Selected::Row(..));
        }
        let mut high = 0;
        while high < 2 {
            let mut tier = 0;
            while tier < 3 {
                if Self::ROWS[high][tier] != NO_ROW {
                    let row = Row::at((Self::ROWS[high][tier] >> 2) as u16);
                    dynamic |= is_special(row);
                }
                tier += 1;
            }
            high += 1;
        }
        dynamic
    };

    /// A branch that relaxation makes as long as it has to be: its short opcode.
    const JUMP: Option<u8> = {
        let row = Mnemonic(M).row();
        match row.flags & flag::RELAX != 0 && Self::LEN == 1 && matches!(A::KIND.what, What::Label) {
            true if row.opcode == 0xe9 => Some(0xeb),
            true => Some(row.opcode - 0x10),
            false => None,
        }
    };

    /// The values with which another row is the first (`add eax, imm32`, `shl eax, 1`, `xchg rax, rcx`), for each size of
    /// the immediate: a bit for each operand and [`SPECIAL`] kind.
    const SPECIAL: [u32; 3] = [Self::special(0), Self::special(1), Self::special(2)];

    const fn special(tier: usize) -> u32 {
        let mut bits = 0;
        let mut i = 0;
        while i < Self::LEN {
            let mut which = 0;
            while which < SPECIAL.len() {
                let kinds = Self::KINDS[i].special & SPECIAL[which];
                if kinds != 0 && Self::row_with(tier, i, kinds) != Self::row(tier, false) {
                    bits |= 1 << (i * SPECIAL.len() + which);
                }
                which += 1;
            }
            i += 1;
        }
        bits
    }

    /// The row if one of the operands has a special value besides.
    const fn row_with(tier: usize, operand: usize, kinds: u64) -> u32 {
        let mut signatures = [0; 5];
        let mut bits = 0;
        let mut i = 0;
        while i < Self::LEN {
            signatures[i] = Self::KINDS[i].at(tier);
            bits |= Self::KINDS[i].seen;
            i += 1;
        }
        signatures[operand] |= kinds;
        match search(&Wanted::plain(Mnemonic(M), signatures, Self::LEN, bits)) {
            Selected::Row(row, variant) => (row as u32) << 2 | variant as u32,
            _ => NO_ROW,
        }
    }

    const POSSIBLE: () = {
        if !Self::DYNAMIC {
            let mut any = false;
            let mut ambiguous = false;
            let mut tier = 0;
            while tier < 3 {
                any |= Self::ROWS[0][tier] != NO_ROW;
                ambiguous |= matches!(Self::selected(tier, false, false), Selected::Ambiguous);
                tier += 1;
            }
            assert!(
                any || !ambiguous,
                "nothing says the operand size: give the memory operand one"
            );
            assert!(any, "this instruction does not take operands of these types");
        }
    };

    const FORMS: [[Form; 3]; 2] = [
        [Self::form(0, 0), Self::form(0, 1), Self::form(0, 2)],
        [Self::form(1, 0), Self::form(1, 1), Self::form(1, 2)],
    ];

    const fn form(high: usize, tier: usize) -> Form {
        let row = Self::ROWS[high][tier];
        let row = if row == NO_ROW { 0 } else { row };
        Form::new((row >> 2) as u16, (row & 3) as u8)
    }

    /// The sizes of the immediate matter.
    const TIERED: bool = Self::ROWS[0][0] != Self::ROWS[0][1] || Self::ROWS[0][1] != Self::ROWS[0][2];
    /// Registers above 15 matter.
    const SPLIT: bool = Self::ROWS[0][0] != Self::ROWS[1][0]
        || Self::ROWS[0][1] != Self::ROWS[1][1]
        || Self::ROWS[0][2] != Self::ROWS[1][2];
}

/// Rows that look at more than their operands' classes, or whose register forms depend on numbers.
const fn is_special(row: &Row) -> bool {
    let mut special = row.flags & (flag::DISTINCT | flag::ADDRESS_REG | flag::ADDR64 | flag::NO_RIP | flag::SWAP) != 0;
    let mut i = 0;
    while i < row.len as usize {
        special |= matches!(row.ops[i].slot(), Slot::Implied | Slot::Moffs) && row.ops[i].memory_bytes(0) != 0;
        special |= matches!(row.ops[i].slot(), Slot::Rel);
        special |= matches!(row.ops[i].letter(), b'I') && matches!(row.ops[i].size(), b"4");
        i += 1;
    }
    special
}

/// What registers 0 to 2 are alone, and what only the constant 1 is.
const SPECIAL: [u64; 4] = {
    use kind::*;
    [AL | AX | EAX | RAX | XMM0 | ST0, CL | ECX | RCX, DX, ONE]
};

/// Whether a register or value is one of those of [`Plan::SPECIAL`].
#[inline(always)]
fn is_one_of(special: u32, numbers: [u8; 3], values: [i64; 3]) -> bool {
    let mut found = false;
    for i in 0..numbers.len() {
        for which in 0..SPECIAL.len() {
            if special >> (i * SPECIAL.len() + which) & 1 != 0 {
                found |= match which {
                    3 => values[i] == 1,
                    _ => usize::from(numbers[i]) == which,
                };
            }
        }
    }
    found
}

/// One instruction.
#[inline(always)]
pub(crate) fn emit<const M: u16, S: Emit, A: Typed, B: Typed, C: Typed, D: Typed, E: Typed>(
    sink: &mut S,
    (a, b, c, d, e): (A, B, C, D, E),
) -> Result<(), EncodeError> {
    const {
        assert!(Plan::<M, A, B, C, D, E>::LEN <= 5);
        Plan::<M, A, B, C, D, E>::POSSIBLE
    };
    if let (Some(opcode), Some(label)) = (Plan::<M, A, B, C, D, E>::JUMP, a.label()) {
        return sink.jump(opcode, label);
    }
    if Plan::<M, A, B, C, D, E>::DYNAMIC {
        return at_run_time::<M, S, A, B, C, D, E>(sink, (a, b, c, d, e));
    }
    let tier = if Plan::<M, A, B, C, D, E>::TIERED {
        tier([a.value(), b.value(), c.value(), d.value()])
    } else {
        0
    };
    let high =
        Plan::<M, A, B, C, D, E>::SPLIT && (a.highest() | b.highest() | c.highest() | d.highest() | e.highest()) > 15;
    let operands = (a, b, c, d, e);
    match (high, tier) {
        (false, 0) => one::<M, 0, 0, S, A, B, C, D, E>(sink, operands),
        (false, 1) => one::<M, 0, 1, S, A, B, C, D, E>(sink, operands),
        (false, _) => one::<M, 0, 2, S, A, B, C, D, E>(sink, operands),
        (true, 0) => one::<M, 1, 0, S, A, B, C, D, E>(sink, operands),
        (true, 1) => one::<M, 1, 1, S, A, B, C, D, E>(sink, operands),
        (true, _) => one::<M, 1, 2, S, A, B, C, D, E>(sink, operands),
    }
}

/// The smallest of 8, 32 and 64 bits that all values fit.
#[inline(always)]
fn tier(values: [i64; 4]) -> u8 {
    let one = |value: i64| match value {
        _ if value == i64::from(value as i8) => 0,
        _ if value == i64::from(value as i32) => 1,
        _ => 2,
    };
    one(values[0])
        .max(one(values[1]))
        .max(one(values[2]))
        .max(one(values[3]))
}

#[inline(never)]
fn at_run_time<const M: u16, S: Emit, A: Typed, B: Typed, C: Typed, D: Typed, E: Typed>(
    sink: &mut S,
    (a, b, c, d, e): (A, B, C, D, E),
) -> Result<(), EncodeError> {
    let operands = [a.operand(), b.operand(), c.operand(), d.operand(), e.operand()];
    sink.op(Mnemonic(M), &operands[..Plan::<M, A, B, C, D, E>::LEN])
}

/// One instruction whose form is settled.
#[inline(always)]
fn one<
    const M: u16,
    const HIGH: usize,
    const TIER: usize,
    S: Emit,
    A: Typed,
    B: Typed,
    C: Typed,
    D: Typed,
    E: Typed,
>(
    sink: &mut S,
    (a, b, c, d, e): (A, B, C, D, E),
) -> Result<(), EncodeError> {
    if const { Plan::<M, A, B, C, D, E>::ROWS[HIGH][TIER] == NO_ROW } {
        return at_run_time::<M, S, A, B, C, D, E>(sink, (a, b, c, d, e));
    }
    let special = const { Plan::<M, A, B, C, D, E>::SPECIAL[TIER] };
    let numbers = [a.register().num, b.register().num, c.register().num];
    if special != 0 && is_one_of(special, numbers, [a.value(), b.value(), c.value()]) {
        return at_run_time::<M, S, A, B, C, D, E>(sink, (a, b, c, d, e));
    }
    let form = const { &Plan::<M, A, B, C, D, E>::FORMS[HIGH][TIER] };
    sink.append(Mnemonic(M), |bytes| {
        let mut out = Out::<false>::new(bytes);
        let mut parts = Parts::new();
        let memories = [a.memory(), b.memory(), c.memory(), d.memory()];
        let mut index = 0;
        macro_rules! place {
            ($($operand:ident $type:ident)*) => {$(
                match $type::KIND.what {
                    What::Register | What::Vector => parts.register(index, $operand.register()),
                    What::Memory => parts.mem = Some(&memories[index]),
                    _ => {}
                }
                index += 1;
            )*};
        }
        place!(a A b B c C d D);
        if matches!(E::KIND.what, What::Register | What::Vector) {
            parts.register(index, e.register());
        }
        encode::put_head(&mut out, form, &parts, &Decoration::NONE)?;
        let values = [a.value(), b.value(), c.value(), d.value(), e.value()];
        for trailer in form.trailers {
            if trailer.size != 0 {
                out.put(values[trailer.operand as usize] as u64, trailer.size);
            }
        }
        encode::put_last(&mut out, form, &parts);
        Ok(out.len())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reg::*;
    use crate::{Buffer, Instructions, Operand, ptr};

    /// What the typed method writes, and what the same operands come to at run time.
    macro_rules! both {
        ($method:ident = $name:literal: $($operand:expr),*) => {{
            let (mut typed, mut dynamic) = ([0; 64], [0; 64]);
            let (mut a, mut b) = (Buffer::new(&mut typed), Buffer::new(&mut dynamic));
            a.$method($($operand),*).unwrap();
            b.op(Mnemonic::constant($name), &[$(Operand::from($operand)),*]).unwrap();
            assert_eq!(a.bytes(), b.bytes(), "{} {:?}", $name, ($($operand,)*));
        }};
    }

    #[test]
    fn types_choose_what_values_choose() {
        for value in [0, 1, -1, 127, 128, -128, -129, 255, 256, i32::MAX, i32::MIN] {
            both!(add = "add": RBX, value);
            both!(mov = "mov": R9D, value);
            both!(mov = "mov": ptr(RBP, value).qword(), value);
            both!(push = "push": value);
            both!(imul_3 = "imul": RCX, ptr(R13, value), value);
        }
        for value in [0, 127, -129, i64::from(i32::MAX) + 1, i64::from(u32::MAX), i64::MIN] {
            both!(mov = "mov": R12, value);
        }
        for n in 0..32 {
            let (x, y, z) = (Xmm(n), Ymm(31 - n), Zmm(n));
            both!(vaddps = "vaddps": x, Xmm(31 - n), ptr(RSP, 16));
            both!(vpaddd = "vpaddd": y, y, Ymm(n));
            both!(vmovups = "vmovups": ptr(R12, 64 * i32::from(n)).zmmword(), z);
            both!(vmovaps = "vmovaps": x, Xmm(31 - n));
            let (g, r, b) = (Gp32(n), Gp64(31 - n), Gp8(n));
            both!(mov = "mov": g, ptr(r, 1));
            both!(movzx = "movzx": g, b);
            both!(andn = "andn": g, g, ptr(r, 0));
            both!(sete = "sete": b);
            both!(vcvtsi2sd = "vcvtsi2sd": x, x, r);
            both!(add_3 = "add": r, r, r);
        }
        for value in [0, 1, 127, 128, -129, i32::MAX] {
            both!(add = "add": RAX, value);
            both!(cmp = "cmp": EAX, value);
            both!(sub = "sub": AX, value as i16);
            both!(test = "test": EAX, value);
            both!(test = "test": ECX, value);
            both!(shl = "shl": RDX, (value & 63) as i8);
            both!(rol = "rol": ptr(RDX, 0).byte(), (value & 7) as u8);
        }
        both!(cmp = "cmp": AL, 5i8);
        both!(test = "test": AL, 5i8);
        both!(xchg = "xchg": RAX, R9);
        both!(xchg = "xchg": R9, RAX);
        both!(xchg = "xchg": R9, R10);
        both!(xchg = "xchg": EAX, EAX);
        both!(xchg = "xchg": RAX, RAX);
        both!(shl = "shl": RDX, 4u8);
        both!(shl = "shl": RDX, CL);
        both!(blendvps = "blendvps": XMM1, XMM2, XMM0);
        both!(out = "out": 0x80u8, AL);
        both!(fadd = "fadd": ST0, ST3);
        both!(fadd = "fadd": ST3, ST0);
        both!(mov = "mov": FS, EAX);
        both!(tdpbssd = "tdpbssd": TMM1, TMM2, TMM3);
        both!(kandw = "kandw": K1, K2, K3);
        both!(pxor = "pxor": MM1, ptr(RAX, 0).qword());
        both!(lea = "lea": RAX, ptr(RCX, 8).index(RDX, 8));
        both!(movsb_2 = "movsb": ptr(RDI, 0).byte(), ptr(RSI, 0).byte());
    }

    #[test]
    fn values_that_no_form_takes_are_refused() {
        let mut memory = [0; 64];
        let mut code = Buffer::new(&mut memory);
        assert!(matches!(code.add(AX, 0x1_0000), Err(EncodeError::NoForm { .. })));
        assert!(matches!(code.shl(EAX, 300), Err(EncodeError::NoForm { .. })));
        let rsp_index = ptr(RAX, 0).index(RSP, 2);
        assert!(matches!(code.mov(EAX, rsp_index), Err(EncodeError::BadIndex { .. })));
        assert!(matches!(
            code.vtestps(Xmm(20), XMM1),
            Err(EncodeError::NotAllowed { .. })
        ));
        let mut small = [0; 3];
        let mut code = Buffer::new(&mut small);
        assert_eq!(code.mov(RAX, RBX), Ok(()));
        assert!(matches!(code.ret(), Err(EncodeError::NoRoom { .. })));
        assert_eq!(code.bytes(), [0x48, 0x89, 0xd8]);
    }
}
