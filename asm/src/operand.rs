//! Operands of one instruction, as values.

use crate::class::kind;
use crate::reg::{Reg, RegClass};

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
