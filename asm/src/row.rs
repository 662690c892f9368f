//! The rows of the instruction table.
//!
//! A row is one instruction form in the SDM's notation and operand order:
//!
//! ```text
//! "add Ev,Is : 83 /0 lock"
//! "vaddpd Vx,Hx,Wx/8 : EVEX.66.0F.W1 58 kz er"
//! "set{o,no,b|c|nae,...} Eb : 0F 90+n"
//! ```
//!
//! `{a,b|c}` in a mnemonic makes one form for each name; `n` in the encoding is the position in that list. The operand
//! classes are those of [`crate::class`]. [`crate::notation`] reads rows when this crate is compiled, so a row that does
//! not parse does not build.

use crate::class::Class;
use crate::table::TABLE;

/// An instruction's name: the first row that has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Mnemonic(pub(crate) u16);

/// How the opcode is introduced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Space {
    Legacy,
    Vex,
    Xop,
    Evex,
}

/// What the three variants of a row vary in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Axis {
    /// One variant only.
    None,
    /// Operand size: 16, 32, 64 bits.
    Operand,
    /// Vector length: 128, 256, 512 bits.
    Vector,
}

/// Flags of a row; the names are those that the rows use.
pub(crate) mod flag {
    macro_rules! flags {
        ($($(#[$doc:meta])* $name:ident = $text:literal;)*) => {
            flags!(@ 0; $($name)*);
            pub(crate) const NAMES: &[(&[u8], u64)] = &[$(($text.as_bytes(), $name)),*];
        };
        (@ $bit:expr; $name:ident $($rest:ident)*) => {
            pub(crate) const $name: u64 = 1 << ($bit);
            flags!(@ $bit + 1; $($rest)*);
        };
        (@ $bit:expr;) => {};
    }
    flags! {
        // `lock` may stand before it when the destination is memory.
        LOCK = "lock";
        // `rep` and its kin may.
        REP = "rep";
        // Takes {%k}; takes {z} too; does not work without {%k}.
        MASK = "k"; ZEROING = "kz"; NEEDS_MASK = "km";
        // Rounding, and suppressing exceptions.
        ROUNDING = "er"; SAE = "sae";
        // Operand size is 64 without REX.W, and cannot be 32.
        DEFAULT64 = "d64";
        // 32 where nothing says the size.
        DEFAULT32 = "d32";
        // Only in one syntax.
        ATT = "att"; INTEL = "intel";
        // Register to register, the row after it is shorter where only ModRM.rm needs an extension bit.
        SWAP = "swap";
        // Takes no register above 15 and no REX2 prefix.
        NO_EGPR = "noegpr";
        // 9B stands before it.
        FWAIT = "fwait";
        // A branch that relaxation may shorten or lengthen.
        RELAX = "relax";
        // A branch or call: a bare operand is its target, 64-bit by default.
        BRANCH = "branch";
        // The memory operand needs a SIB byte.
        SIB = "sib";
        // APX: takes {nf}; has NF set always; is a form with a new data destination; takes {dfv=}; has ZU set.
        NF = "nf"; NF_SET = "nf1"; NDD = "nd"; DFV = "dfv"; ZU = "zu";
        // Takes no AT&T size suffix.
        NO_SFX = "nosfx";
        // A memory operand has to say its size.
        SIZED = "sized";
        // A memory operand does not say its size.
        BARE = "bare";
        // AT&T keeps the operands in the manual's order.
        SAME_ORDER = "same";
        // A REX2 prefix always.
        REX2 = "rex2";
        // The variants that a vector row has, where they are not all.
        L01 = "xy"; L12 = "yz"; L2 = "zz"; L0 = "xx";
        // Variants of an operand-size row.
        NO16 = "no16"; ONLY64 = "only64"; NO64 = "no64";
        // REX.W (or W) is not set for the 64-bit variant.
        IGNORE_W = "iw";
        // 66 is not emitted for the 16-bit variant.
        IGNORE_66 = "i66";
        // The operands must be different registers (gathers, FP16 complex multiplication).
        DISTINCT = "dist";
        // All the sizes that AT&T suffixes may state.
        SFX_B = "~b"; SFX_W = "~w"; SFX_L = "~l"; SFX_Q = "~q"; SFX_S = "~s"; SFX_T = "~t";
        // 66 besides the mandatory prefix.
        DATA16 = "o16";
        // The address size is that of the first or second operand, a register.
        ADDRESS_REG = "adr";
        // Address size prefix 67 always.
        ADDR32 = "a32";
        // The address is computed in 64 bits; and is not relative to rip.
        ADDR64 = "a64"; NO_RIP = "norip";
        // Never chosen unless asked for by an encoding hint.
        HINT_ONLY = "hint";
        // The VEX form counts as an extension that has to be asked for with {vex}.
        VEX_HINT = "vexhint";
    }
    /// Every suffix flag.
    pub(crate) const SFX: u64 = SFX_B | SFX_W | SFX_L | SFX_Q | SFX_S | SFX_T;
}

/// W: 0, 1, or whatever the variant says.
pub(crate) const W_BY_VARIANT: u8 = 2;
/// L from the variant.
pub(crate) const L_BY_VARIANT: u8 = 3;
/// No fixed ModRM byte, no opcode extension.
pub(crate) const ABSENT: u8 = 0xff;

/// One compiled row.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Row {
    pub(crate) ops: [Class; 5],
    pub(crate) flags: u64,
    /// The next row of the same mnemonic, or 0.
    pub(crate) next: u16,
    pub(crate) len: u8,
    pub(crate) space: Space,
    /// 0 legacy one-byte, 1 0F, 2 0F38, 3 0F3A, else as VEX, EVEX and XOP number them.
    pub(crate) map: u8,
    /// Mandatory prefix: 0 none, 1 66, 2 F3, 3 F2.
    pub(crate) pp: u8,
    pub(crate) w: u8,
    pub(crate) l: u8,
    pub(crate) opcode: u8,
    /// ModRM.reg where it is part of the opcode.
    pub(crate) digit: u8,
    /// A whole fixed ModRM byte; has 256 values, so it is kept with a flag bit above.
    pub(crate) tail: u16,
    /// A fixed last byte (3DNow!, pseudo operations), or [`NO_BYTE`].
    pub(crate) last: u16,
    pub(crate) axis: Axis,
    /// Which variants exist.
    pub(crate) variants: u8,
    /// Overrides the size of the memory operand for disp8*N; 0: none; [`N_VECTOR`].
    pub(crate) disp_n: u8,
    /// The line it came from, for messages.
    pub(crate) source: (u8, u16),
    /// The form of its first variant; those of the others follow.
    pub(crate) forms: u16,
}

/// [`Row::tail`] or [`Row::last`] is absent.
pub(crate) const NO_BYTE: u16 = 0x100;

impl Row {
    /// No row yet.
    pub(crate) const BLANK: Self = Self {
        ops: [Class::NONE; 5],
        flags: 0,
        next: 0,
        len: 0,
        space: Space::Legacy,
        map: 0,
        pp: 0,
        w: W_BY_VARIANT,
        l: L_BY_VARIANT,
        opcode: 0,
        digit: ABSENT,
        tail: NO_BYTE,
        last: NO_BYTE,
        axis: Axis::None,
        variants: 1,
        disp_n: 0,
        source: (0, 0),
        forms: 0,
    };
}

impl Row {
    /// The row at position `n` of a list, from those at 0 and 1.
    pub(crate) const fn stepped(&self, first: &Self, n: u8) -> Self {
        let n16 = n as u16;
        Self {
            opcode: self
                .opcode
                .wrapping_add(first.opcode.wrapping_sub(self.opcode).wrapping_mul(n)),
            digit: self
                .digit
                .wrapping_add(first.digit.wrapping_sub(self.digit).wrapping_mul(n)),
            tail: self
                .tail
                .wrapping_add(first.tail.wrapping_sub(self.tail).wrapping_mul(n16)),
            last: self
                .last
                .wrapping_add(first.last.wrapping_sub(self.last).wrapping_mul(n16)),
            ..*self
        }
    }

    /// The row of this index.
    #[inline]
    pub(crate) const fn at(index: u16) -> &'static Self {
        &TABLE.rows[index as usize]
    }

    /// The number of its form in one of its variants, in [`crate::table::FORMS`].
    pub(crate) const fn form(&self, variant: u8) -> u16 {
        self.forms + (self.variants & ((1 << variant) - 1)).count_ones() as u16
    }

    #[inline]
    pub(crate) fn following(&self) -> Option<&'static Self> {
        if self.next == 0 {
            None
        } else {
            Some(&TABLE.rows[self.next as usize])
        }
    }

    /// Whether AT&T syntax has the operands in the same order as Intel's.
    pub(crate) fn keeps_order(&self) -> bool {
        self.flags & flag::SAME_ORDER != 0
    }

    /// Whether the syntax has this row.
    #[cfg(test)]
    pub(crate) fn is_of(&self, syntax: crate::Syntax) -> bool {
        let foreign = match syntax {
            crate::Syntax::Att => flag::INTEL,
            crate::Syntax::Intel => flag::ATT,
        };
        self.flags & foreign == 0
    }

    /// Whether the row is one of the APX family.
    #[cfg(test)]
    pub(crate) fn is_apx(&self) -> bool {
        self.source.0 as usize == crate::rows::FAMILIES.len() - 1
    }

    /// Whether the row is one of the AVX10.2 family.
    #[cfg(test)]
    pub(crate) fn is_avx10(&self) -> bool {
        self.source.0 as usize == crate::rows::FAMILIES.len() - 2
    }

    /// All names of the line that this row came from.
    #[cfg(test)]
    pub(crate) fn names(&self) -> impl Iterator<Item = alloc::string::String> {
        use crate::notation::{NameList, count_names, find, slice};
        let text = self.text().as_bytes();
        let mut list = NameList::new(slice(text, 0, find(text, b' ', 0)));
        (0..count_names(text)).map(move |_| {
            let (name, len, _) = list.next();
            alloc::string::String::from_utf8_lossy(&name[..len]).into_owned()
        })
    }

    /// The line of the table that this row came from.
    #[cfg(test)]
    pub(crate) fn text(&self) -> &'static str {
        crate::rows::FAMILIES[self.source.0 as usize][self.source.1 as usize]
    }
}
