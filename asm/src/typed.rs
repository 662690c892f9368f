//! Instructions whose operands' types choose the form when the caller is compiled.
//!
//! The choice is the one that [`crate::select`] makes at run time, from the same rows: a register's type says its
//! class, a memory operand's its size, an immediate's how large it can be. What is left for run time are numbers.

use core::marker::PhantomData;

use crate::EncodeError;
use crate::builder::Label;
use crate::class::{Slot, kind};
use crate::encode::{self, CAPACITY, Fault, Out, Parts};
use crate::form::Form;
use crate::operand::{Imm, Mem, Operand};
use crate::prefix::Decoration;
use crate::reg::{Gp8, Gp16, Gp32, Gp64, Mask, Mm, Reg, Segment, St, Tmm, Xmm, Ymm, Zmm};
use crate::row::{Mnemonic, Row, flag};
use crate::select::{Selected, Wanted, search, seen};

mod sealed {
    pub trait Sealed {}
}
pub(crate) use sealed::Sealed;

/// What an operand's type says.
#[doc(hidden)]
#[derive(Clone, Copy, Debug)]
pub struct Kind {
    /// What the operand can stand for if it fits 8 bits, 32 bits, 64 bits; all the same but for immediates.
    pub(crate) kinds: [u64; 3],
    /// What only some values of the type are: `cl`, `st(0)`, the constant 1.
    pub(crate) special: u64,
    pub(crate) seen: u64,
    pub(crate) what: What,
}

impl Kind {
    /// What a value of this size can stand for; types whose values are all smaller say what those can.
    const fn at(&self, tier: usize) -> u64 {
        let mut tier = tier;
        while self.kinds[tier] == 0 && tier > 0 {
            tier -= 1;
        }
        self.kinds[tier]
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    Absent,
    Register,
    Vector,
    Memory,
    Immediate,
    Label,
    /// Only the value knows.
    Dynamic,
}

/// An operand of an instruction.
///
/// The register types of [`crate::reg`], [`Ptr`] and integers have forms that are chosen when the caller is compiled.
/// [`Operand`], [`Reg`], [`Mem`], [`Imm`] and [`Label`] are looked at when the code runs.
pub trait Typed: Copy + Sealed {
    #[doc(hidden)]
    const KIND: Kind;
    #[doc(hidden)]
    fn operand(self) -> Operand;
    /// The register, if it is one.
    #[doc(hidden)]
    #[inline(always)]
    fn register(self) -> Reg {
        Reg::new(crate::reg::RegClass::R64, 0)
    }
    #[doc(hidden)]
    #[inline(always)]
    fn memory(self) -> Mem {
        Mem::EMPTY
    }
    #[doc(hidden)]
    #[inline(always)]
    fn value(self) -> i64 {
        0
    }
    /// The highest register number.
    #[doc(hidden)]
    #[inline(always)]
    fn highest(self) -> u8 {
        0
    }
    #[doc(hidden)]
    #[inline(always)]
    fn label(self) -> Option<Label> {
        None
    }
}

/// No operand.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Absent;

impl Sealed for Absent {}
impl Typed for Absent {
    const KIND: Kind = Kind {
        kinds: [0; 3],
        special: 0,
        seen: 0,
        what: What::Absent,
    };
    fn operand(self) -> Operand {
        Operand::Reg(self.register())
    }
}

macro_rules! registers {
    ($($type:ident $kind:ident $what:ident $special:expr;)*) => {$(
        impl Sealed for $type {}
        impl Typed for $type {
            const KIND: Kind = Kind { kinds: [kind::$kind; 3], special: $special, seen: 0, what: What::$what };
            #[inline(always)]
            fn operand(self) -> Operand {
                self.into()
            }
            #[inline(always)]
            fn register(self) -> Reg {
                self.into()
            }
            #[inline(always)]
            fn highest(self) -> u8 {
                self.0
            }
        }
    )*};
}

registers! {
    Gp8 R8 Register kind::AL | kind::CL;
    Gp16 R16 Register kind::AX | kind::DX;
    Gp32 R32 Register kind::EAX | kind::ECX;
    Gp64 R64 Register kind::RAX | kind::RCX;
    Segment SEG Register kind::FS | kind::GS;
    Mm MM Register 0;
    Xmm XMM Vector kind::XMM0;
    Ymm YMM Vector 0;
    Zmm ZMM Vector 0;
    Mask K Register 0;
    St STI Register kind::ST0;
    Tmm TMM Register 0;
}

/// Memory of `SIZE` bytes, or of the size that the instruction has where `SIZE` is 0.
///
/// ```
/// use restub_asm::reg::{RAX, RCX, XMM1};
/// use restub_asm::{Buffer, Instructions, ptr};
///
/// let mut bytes = [0; 64];
/// let mut code = Buffer::new(&mut bytes);
/// code.mov(RAX, ptr(RCX, 8))?;
/// code.inc(ptr(RCX, 0).dword())?;
/// code.addsd(XMM1, ptr(RAX, 0).index(RCX, 8))?;
/// assert_eq!(code.bytes(), [0x48, 0x8b, 0x41, 8, 0xff, 0x01, 0xf2, 0x0f, 0x58, 0x0c, 0xc8]);
/// # Ok::<(), restub_asm::EncodeError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ptr<const SIZE: u16> {
    base: Gp64,
    index: Option<Gp64>,
    scale: u8,
    disp: i32,
}

/// `[base + disp]`
#[inline(always)]
#[must_use]
pub const fn ptr(base: Gp64, disp: i32) -> Ptr<0> {
    Ptr {
        base,
        index: None,
        scale: 1,
        disp,
    }
}

macro_rules! sizes {
    ($($(#[$doc:meta])* $name:ident = $size:literal;)*) => {
        impl Ptr<0> {$(
            $(#[$doc])*
            #[inline(always)]
            #[must_use]
            pub const fn $name(self) -> Ptr<$size> {
                Ptr { base: self.base, index: self.index, scale: self.scale, disp: self.disp }
            }
        )*}
    };
}

sizes! {
    /// As 8 bits.
    byte = 1;
    /// As 16 bits.
    word = 2;
    /// As 32 bits.
    dword = 4;
    /// As 64 bits.
    qword = 8;
    /// As 80 bits.
    tbyte = 10;
    /// As 128 bits.
    xmmword = 16;
    /// As 256 bits.
    ymmword = 32;
    /// As 512 bits.
    zmmword = 64;
}

impl<const SIZE: u16> Ptr<SIZE> {
    /// `[base + index * scale + disp]`; the scale is 1, 2, 4 or 8.
    #[inline(always)]
    #[must_use]
    pub const fn index(self, index: Gp64, scale: u8) -> Self {
        Self {
            index: Some(index),
            scale,
            ..self
        }
    }
}

impl<const SIZE: u16> From<Ptr<SIZE>> for Mem {
    #[inline(always)]
    fn from(ptr: Ptr<SIZE>) -> Self {
        Self {
            base: Some(ptr.base.into()),
            index: ptr.index.map(Reg::from),
            scale: ptr.scale,
            size: SIZE,
            disp: ptr.disp as i64,
            ..Self::EMPTY
        }
    }
}

impl<const SIZE: u16> From<Ptr<SIZE>> for Operand {
    fn from(ptr: Ptr<SIZE>) -> Self {
        Self::Mem(ptr.into())
    }
}

impl<const SIZE: u16> Sealed for Ptr<SIZE> {}
impl<const SIZE: u16> Typed for Ptr<SIZE> {
    const KIND: Kind = Kind {
        kinds: [kind::MEM | crate::operand::memory_kind(SIZE); 3],
        special: 0,
        seen: if SIZE == 0 {
            seen::MEMORY | seen::UNSIZED
        } else {
            seen::MEMORY
        },
        what: What::Memory,
    };
    fn operand(self) -> Operand {
        self.into()
    }
    #[inline(always)]
    fn memory(self) -> Mem {
        self.into()
    }
    #[inline(always)]
    fn highest(self) -> u8 {
        match self.index {
            Some(index) => self.base.0 | index.0,
            None => self.base.0,
        }
    }
}

/// What a value of 8, 32 and 64 bits can stand for.
const TIERS: [u64; 3] = {
    use kind::*;
    let wide = I32S | I64;
    [I8S16 | I8S32 | I8S64 | I8 | I16 | I32 | wide, I32 | wide, I64]
};

macro_rules! integers {
    ($($type:ident $kinds:expr;)*) => {$(
        impl Sealed for $type {}
        impl Typed for $type {
            const KIND: Kind = Kind { kinds: $kinds, special: kind::ONE | kind::I4, seen: 0, what: What::Immediate };
            #[inline(always)]
            fn operand(self) -> Operand {
                self.into()
            }
            #[inline(always)]
            fn value(self) -> i64 {
                self as i64
            }
        }
    )*};
}

integers! {
    i8 [TIERS[0], 0, 0];
    i16 [TIERS[0], TIERS[1] | kind::I16, 0];
    i32 [TIERS[0], TIERS[1], 0];
    i64 TIERS;
    u8 [TIERS[0], TIERS[1] | kind::I16 | kind::I8, 0];
    u16 [TIERS[0], TIERS[1] | kind::I16, 0];
    u32 [TIERS[0], TIERS[1], kind::I32 | kind::I64];
    u64 TIERS;
}

macro_rules! dynamic {
    ($($type:ident $what:ident;)*) => {$(
        impl Sealed for $type {}
        impl Typed for $type {
            const KIND: Kind = Kind { kinds: [0; 3], special: 0, seen: 0, what: What::$what };
            #[inline(always)]
            fn operand(self) -> Operand {
                self.into()
            }
        }
    )*};
}

dynamic! {
    Operand Dynamic;
    Reg Dynamic;
    Mem Dynamic;
    Imm Dynamic;
}

impl Sealed for Label {}
impl Typed for Label {
    const KIND: Kind = Kind {
        kinds: [kind::REL; 3],
        special: 0,
        seen: 0,
        what: What::Label,
    };
    #[inline(always)]
    fn operand(self) -> Operand {
        self.into()
    }
    #[inline(always)]
    fn label(self) -> Option<Label> {
        Some(self)
    }
}

/// Where instructions go; [`crate::Instructions`] has one method a mnemonic.
pub trait Emit: Sized + Sealed {
    /// Appends an instruction of which nothing is known before the code runs.
    ///
    /// # Errors
    /// As [`crate::encode`], and if there is no room.
    fn op(&mut self, mnemonic: Mnemonic, operands: &[Operand]) -> Result<(), EncodeError>;

    /// Appends what `write` makes of an instruction's room.
    #[doc(hidden)]
    fn append(
        &mut self,
        mnemonic: Mnemonic,
        write: impl FnOnce(&mut [u8; CAPACITY]) -> Result<usize, Fault>,
    ) -> Result<(), EncodeError>;

    /// Appends a `jmp` (eb) or `jcc` (70 + condition) that gets as long as it has to be.
    #[doc(hidden)]
    fn jump(&mut self, short_opcode: u8, target: Label) -> Result<(), EncodeError>;
}

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
                    What::Memory => parts.memory(&memories[index], false),
                    _ => {}
                }
                index += 1;
            )*};
        }
        place!(a A b B c C d D);
        if matches!(E::KIND.what, What::Register | What::Vector) {
            parts.register(index, e.register());
        }
        encode::put_head::<false, false>(&mut out, form, &parts, &Decoration::NONE)?;
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
    use crate::{Buffer, Instructions};

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
