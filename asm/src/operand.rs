//! Operands of one instruction, as values.

use crate::class::kind;
use crate::reg::{Reg, RegClass};
use crate::select::seen;

/// A value that is not known yet, as its owner numbers it; 0 is none.
///
/// The encoder does not know what a symbol is. It says where in the instruction the value goes ([`crate::Fixup`]).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Symbolic(pub u32);

impl Symbolic {
    /// Everything is known.
    pub const NONE: Self = Self(0);

    /// Whether there is an open value.
    #[must_use]
    pub const fn is_some(self) -> bool {
        self.0 != 0
    }
}

/// An operand.
// With a tag of its own: one hidden in the registers' classes takes longer to tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Operand {
    /// A register.
    Reg(Reg),
    /// Memory.
    Mem(Mem),
    /// An immediate.
    Imm(Imm),
    /// The target of a direct branch. A target without a symbol is an absolute address.
    Target(Imm),
}

/// An immediate: a constant, a symbolic value, or their sum.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Imm {
    /// The constant part.
    pub value: i64,
    /// The part that is not known.
    pub symbolic: Symbolic,
}

/// The width of a displacement, where the source insists on one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DispSize {
    /// The shortest that fits.
    #[default]
    Auto,
    /// `{disp8}`.
    Disp8,
    /// `{disp32}`.
    Disp32,
}

/// A memory operand: `segment:[base + index * scale + disp]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mem {
    /// Base register, or `rip`.
    pub base: Option<Reg>,
    /// Index register, general or vector.
    pub index: Option<Reg>,
    /// 1, 2, 4 or 8.
    pub scale: u8,
    /// Segment override: the segment register's number plus one, or 0.
    pub segment: u8,
    /// Size in bytes of what is accessed, or 0 where the instruction decides.
    pub size: u16,
    /// `{1toN}`: N, or 0.
    pub broadcast: u8,
    /// The displacement's width.
    pub disp_size: DispSize,
    /// The displacement, or the address where there is neither base nor index.
    pub disp: i64,
    /// The part of the displacement that is not known.
    pub symbolic: Symbolic,
}

impl Mem {
    pub(crate) const EMPTY: Self = Self {
        base: None,
        index: None,
        scale: 1,
        segment: 0,
        size: 0,
        broadcast: 0,
        disp_size: DispSize::Auto,
        disp: 0,
        symbolic: Symbolic::NONE,
    };

    /// `[base + disp]`
    #[must_use]
    pub fn base(base: impl Into<Reg>, disp: i32) -> Self {
        Self {
            base: Some(base.into()),
            disp: disp.into(),
            ..Self::EMPTY
        }
    }

    /// `[base + index * scale + disp]`
    #[must_use]
    pub fn indexed(base: impl Into<Reg>, index: impl Into<Reg>, scale: u8, disp: i32) -> Self {
        Self {
            index: Some(index.into()),
            scale,
            ..Self::base(base, disp)
        }
    }

    /// `[address]`: 32 bits, sign-extended.
    #[must_use]
    pub fn absolute(address: i64) -> Self {
        Self {
            disp: address,
            ..Self::EMPTY
        }
    }

    /// `[rip + disp]`
    #[must_use]
    pub fn rip(disp: i32) -> Self {
        Self::base(Reg::new(RegClass::Rip, 0), disp)
    }

    /// `[rip + symbol + disp]`
    #[must_use]
    pub fn symbol(symbolic: Symbolic, disp: i32) -> Self {
        Self {
            symbolic,
            ..Self::rip(disp)
        }
    }

    /// With an index register and no base: `[index * scale + disp]`.
    #[must_use]
    pub fn scaled(index: impl Into<Reg>, scale: u8, disp: i32) -> Self {
        Self {
            index: Some(index.into()),
            scale,
            disp: disp.into(),
            ..Self::EMPTY
        }
    }

    /// The same place, accessed as this many bytes.
    #[must_use]
    pub const fn size(mut self, bytes: u16) -> Self {
        self.size = bytes;
        self
    }

    /// The same place with a segment override.
    #[must_use]
    pub fn segment(mut self, segment: crate::reg::Segment) -> Self {
        self.segment = segment.0 + 1;
        self
    }

    /// The element is repeated `count` times.
    #[must_use]
    pub const fn broadcast(mut self, count: u8) -> Self {
        self.broadcast = count;
        self
    }

    #[inline(always)]
    fn signature(&self) -> u64 {
        if self.broadcast != 0 {
            return match self.size {
                0 => kind::BROADCAST,
                2 => kind::BC2,
                4 => kind::BC4,
                8 => kind::BC8,
                _ => 0,
            };
        }
        match self.index.map(|r| r.class) {
            Some(RegClass::Xmm) => return kind::VSIBX,
            Some(RegClass::Ymm) => return kind::VSIBY,
            Some(RegClass::Zmm) => return kind::VSIBZ,
            _ => {}
        }
        let absolute = if self.base.is_none() && self.index.is_none() {
            kind::MOFFS
        } else {
            0
        };
        kind::MEM | memory_kind(self.size) | absolute
    }
}

/// Memory of this many bytes; of any size where it is 0.
pub(crate) const fn memory_kind(size: u16) -> u64 {
    match size {
        0 => kind::ANY_SIZE,
        1 => kind::M8,
        2 => kind::M16,
        4 => kind::M32,
        6 => kind::M48,
        8 => kind::M64,
        10 => kind::M80,
        16 => kind::M128,
        32 => kind::M256,
        64 => kind::M512,
        _ => 0,
    }
}

impl Imm {
    #[inline(always)]
    fn signature(self) -> u64 {
        use kind::*;
        if self.symbolic.is_some() {
            return I8 | I16 | I32S | I32 | I64;
        }
        let v = self.value;
        if v == i64::from(v as i8) {
            let small = if (0..16).contains(&v) { I4 } else { 0 };
            let one = if v == 1 { ONE } else { 0 };
            return small | one | I8S16 | I8S32 | I8S64 | I8 | I16 | I32S | I32 | I64;
        }
        wide_signature(v)
    }
}

/// Of a value that is not one of 8 bits signed.
fn wide_signature(v: i64) -> u64 {
    use kind::*;
    let when = |condition: bool, kind: u64| if condition { kind } else { 0 };
    let is16 = (-0x8000..=0xffff).contains(&v);
    let is32 = (-0x8000_0000..=0xffff_ffff).contains(&v);
    when(is16 && (v as i16) == i16::from(v as i8), I8S16)
        | when(is32 && (v as i32) == i32::from(v as i8), I8S32)
        | when((0..=0xff).contains(&v), I8)
        | when(is16, I16)
        | when(v == i64::from(v as i32), I32S)
        | when(is32, I32)
        | I64
}

/// What a register of this class and number can stand for; numbers above 7 are all the same.
const fn signature_of(class: RegClass, num: usize) -> u64 {
    use kind::*;
    let (kinds, specials) = match class {
        RegClass::R8 => (R8, [AL, CL, 0]),
        RegClass::High8 => (R8, [0; 3]),
        RegClass::R16 => (R16, [AX, 0, DX]),
        RegClass::R32 => (R32, [EAX, ECX, 0]),
        RegClass::R64 => (R64, [RAX, RCX, 0]),
        RegClass::Seg if num == 4 => (SEG | FS, [0; 3]),
        RegClass::Seg if num == 5 => (SEG | GS, [0; 3]),
        RegClass::Seg => (SEG, [0; 3]),
        RegClass::Cr => (CR, [0; 3]),
        RegClass::Dr => (DR, [0; 3]),
        RegClass::St => (STI, [ST0, 0, 0]),
        RegClass::Mm => (MM, [0; 3]),
        RegClass::Xmm => (XMM, [XMM0, 0, 0]),
        RegClass::Ymm => (YMM, [0; 3]),
        RegClass::Zmm => (ZMM, [0; 3]),
        RegClass::K => (K, [0; 3]),
        RegClass::Tmm => (TMM, [0; 3]),
        RegClass::Bnd => (BND, [0; 3]),
        RegClass::Rip | RegClass::NoIndex => (0, [0; 3]),
    };
    kinds | if num < 3 { specials[num] } else { 0 }
}

static REGISTERS: [[u64; 8]; RegClass::ALL.len()] = {
    let mut all = [[0; 8]; RegClass::ALL.len()];
    let mut class = 0;
    while class < RegClass::ALL.len() {
        let mut num = 0;
        while num < 8 {
            all[class][num] = signature_of(RegClass::ALL[class], num);
            num += 1;
        }
        class += 1;
    }
    all
};

/// What a register above 15 of each class is.
static HIGH: [u64; RegClass::ALL.len()] = {
    let mut all = [seen::HIGH_GENERAL; RegClass::ALL.len()];
    let vectors = [RegClass::Xmm, RegClass::Ymm, RegClass::Zmm];
    let mut i = 0;
    while i < vectors.len() {
        all[vectors[i] as usize] = seen::HIGH_VECTOR;
        i += 1;
    }
    all
};

impl Reg {
    #[inline(always)]
    fn signature(self) -> u64 {
        REGISTERS[self.class as usize][self.num.min(7) as usize]
    }

    /// Whether only some encodings have it.
    #[inline(always)]
    fn seen(self) -> u64 {
        HIGH[self.class as usize] * u64::from(self.num >> 4)
    }
}

impl Operand {
    /// The set of kinds that this operand can stand for.
    #[inline(always)]
    pub(crate) fn signature(&self) -> u64 {
        match self {
            Self::Reg(reg) => reg.signature(),
            Self::Mem(mem) => mem.signature(),
            Self::Imm(imm) => imm.signature(),
            Self::Target(_) => kind::REL,
        }
    }

    /// What else rows are chosen by.
    #[inline(always)]
    pub(crate) fn seen(&self) -> u64 {
        match self {
            Self::Reg(reg) => reg.seen(),
            Self::Mem(mem) => {
                let unsized_bit = if mem.size == 0 && mem.broadcast == 0 {
                    seen::UNSIZED
                } else {
                    0
                };
                let registers = mem.base.map_or(0, Reg::seen) | mem.index.map_or(0, Reg::seen);
                seen::MEMORY | unsized_bit | registers
            }
            _ => 0,
        }
    }
}

impl<R: Into<Reg>> From<R> for Operand {
    fn from(reg: R) -> Self {
        Self::Reg(reg.into())
    }
}

impl From<Mem> for Operand {
    fn from(mem: Mem) -> Self {
        Self::Mem(mem)
    }
}

impl From<Imm> for Operand {
    fn from(imm: Imm) -> Self {
        Self::Imm(imm)
    }
}

macro_rules! integers {
    ($($int:ty)*) => {$(
        impl From<$int> for Operand {
            fn from(value: $int) -> Self {
                Self::Imm(Imm { value: value as i64, symbolic: Symbolic::NONE })
            }
        }
    )*};
}
integers!(i8 i16 i32 i64 u8 u16 u32 u64);
