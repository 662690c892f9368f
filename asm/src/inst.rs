//! One instruction before it is encoded.

use crate::operand::{Imm, Operand, Symbolic};
use crate::prefix::Decoration;
use crate::row::Mnemonic;

/// A set of prefixes that the source wrote.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Prefixes(pub(crate) u16);

macro_rules! bits {
    ($type:ident: $($(#[$doc:meta])* $name:ident = $value:expr;)*) => {
        impl $type {
            $($(#[$doc])* pub const $name: Self = Self($value);)*
            /// Nothing.
            pub const NONE: Self = Self(0);
            /// Whether all of `other` is in here.
            #[must_use]
            pub const fn has(self, other: Self) -> bool {
                self.0 & other.0 == other.0
            }
            /// Both.
            #[must_use]
            pub const fn with(self, other: Self) -> Self {
                Self(self.0 | other.0)
            }
        }
    };
}

bits! { Prefixes:
    /// `lock`
    LOCK = 1;
    /// `rep`, `repe`
    REP = 2;
    /// `repne`, and `bnd`
    REPNE = 4;
    /// `data16`
    DATA16 = 8;
    /// `addr32`
    ADDR32 = 16;
    /// `notrack`
    NOTRACK = 32;
    /// `rex64`: a REX prefix with W.
    REX64 = 64;
    /// `rex`: a REX prefix without anything.
    REX = 128;
    /// `wait`, `fwait` on the same line
    FWAIT = 256;
    /// `rex2`
    REX2 = 512;
    /// `xacquire` (F2 with `lock`)
    XACQUIRE = 1024;
    /// `xrelease` (F3)
    XRELEASE = 2048;
}

/// What the source asked of the encoding: `{vex3}`, `{load}` and so on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hints(pub(crate) u16);

bits! { Hints:
    /// `{vex}`
    VEX = 1;
    /// `{vex3}`
    VEX3 = 2;
    /// `{evex}`
    EVEX = 4;
    /// `{load}`
    LOAD = 8;
    /// `{store}`
    STORE = 16;
    /// `{nf}`
    NF = 32;
    /// `{nooptimize}`: keep to the row that matched.
    KEEP = 64;
    /// Branches take the 8-bit form (`{disp8}`).
    DISP8 = 128;
    /// Branches take the 32-bit form (`{disp32}`).
    DISP32 = 256;
    /// `{dfv=...}` is given.
    DFV = 512;
}

/// Rounding of an EVEX instruction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum Rounding {
    /// None stated.
    #[default]
    None,
    /// `{rn-sae}`
    Nearest,
    /// `{rd-sae}`
    Down,
    /// `{ru-sae}`
    Up,
    /// `{rz-sae}`
    Zero,
    /// `{sae}`
    Sae,
}

/// Which of the two mnemonic dialects a line is in. They differ where one name means two things.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Syntax {
    /// Source before destination, size suffixes.
    #[default]
    Att,
    /// Destination first, `QWORD PTR`. Also what the builder speaks.
    Intel,
}

/// An instruction: mnemonic, operands in the SDM's order (destination first), and everything else a line can say.
#[derive(Clone, Copy, Debug)]
pub struct Inst {
    pub(crate) mnemonic: Mnemonic,
    pub(crate) operands: [Operand; 5],
    pub(crate) len: u8,
    /// Prefixes on the line.
    pub prefixes: Prefixes,
    /// Encoding hints.
    pub hints: Hints,
    /// `{%k1}`…`{%k7}`, or 0.
    pub mask: u8,
    /// `{z}`
    pub zeroing: bool,
    /// `{rn-sae}` and so on.
    pub rounding: Rounding,
    /// The AT&T size suffix that was taken off the mnemonic, or 0.
    pub suffix: u8,
    /// The default flags value of `ccmp` and `ctest`: `of` 8, `sf` 4, `zf` 2, `cf` 1.
    pub default_flags: u8,
    /// The dialect.
    pub syntax: Syntax,
}

impl Inst {
    const NO_OPERAND: Operand = Operand::Imm(Imm {
        value: 0,
        symbolic: Symbolic::NONE,
    });

    /// An instruction without operands.
    #[must_use]
    #[inline]
    pub const fn new(mnemonic: Mnemonic) -> Self {
        Self {
            mnemonic,
            operands: [Self::NO_OPERAND; 5],
            len: 0,
            prefixes: Prefixes::NONE,
            hints: Hints::NONE,
            mask: 0,
            zeroing: false,
            rounding: Rounding::None,
            suffix: 0,
            default_flags: 0,
            syntax: Syntax::Intel,
        }
    }

    /// An instruction with these operands.
    ///
    /// # Panics
    /// With more than five operands; no instruction has more.
    #[must_use]
    #[inline]
    pub fn with(mnemonic: Mnemonic, operands: &[Operand]) -> Self {
        let mut inst = Self::new(mnemonic);
        assert!(
            operands.len() <= inst.operands.len(),
            "an instruction has five operands at most"
        );
        for (to, from) in inst.operands.iter_mut().zip(operands) {
            *to = *from;
        }
        inst.len = operands.len() as u8;
        inst
    }

    /// The operands, destination first.
    #[must_use]
    #[inline]
    pub fn operands(&self) -> &[Operand] {
        &self.operands[..self.len as usize]
    }

    /// Whether the bytes depend on nothing but mnemonic, operands, suffix and dialect.
    #[inline(always)]
    pub(crate) fn is_plain(&self) -> bool {
        let words = self.prefixes.0 | self.hints.0;
        words | u16::from(self.mask | self.rounding as u8 | self.default_flags | u8::from(self.zeroing)) == 0
    }

    /// Everything besides mnemonic and operands.
    pub(crate) fn decoration(&self) -> Decoration {
        Decoration {
            prefixes: self.prefixes,
            hints: self.hints,
            mask: self.mask,
            zeroing: self.zeroing,
            rounding: self.rounding,
            default_flags: self.default_flags,
        }
    }

    /// Appends an operand; `false` if there are five already.
    pub(crate) fn push(&mut self, operand: Operand) -> bool {
        let Some(free) = self.operands.get_mut(self.len as usize) else {
            return false;
        };
        *free = operand;
        self.len += 1;
        true
    }
}
