//! Operands whose types say what they are, and where instructions go. [`crate::plan`] makes instructions of them.

use crate::EncodeError;
use crate::builder::Label;
use crate::class::kind;
use crate::encode::{CAPACITY, Fault};
use crate::operand::{Imm, Mem, Operand};
use crate::reg::{Gp8, Gp16, Gp32, Gp64, Mask, Mm, Reg, Segment, St, Tmm, Xmm, Ymm, Zmm};
use crate::row::Mnemonic;
use crate::select::seen;

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
    pub(crate) const fn at(&self, tier: usize) -> u64 {
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
