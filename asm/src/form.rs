//! Forms: everything that the bytes of an instruction depend on except its operands.

use crate::class::Slot;
use crate::row::{ABSENT, Axis, L_BY_VARIANT, NO_BYTE, Row, Space, W_BY_VARIANT, flag};

/// What is true of a form, one bit each.
pub(crate) mod is {
    macro_rules! bits {
        ($($(#[$doc:meta])* $name:ident)*) => { bits!(@ 0; $($(#[$doc])* $name)*); };
        (@ $bit:expr; $(#[$doc:meta])* $name:ident $($rest:tt)*) => {
            $(#[$doc])*
            pub(crate) const $name: u16 = 1 << ($bit);
            bits!(@ $bit + 1; $($rest)*);
        };
        (@ $bit:expr;) => {};
    }
    bits! {
        /// It asks more of its operands than their classes: [`crate::encode`] looks at the row.
        PARTICULAR
        /// A register's number is added to the last byte of the opcode, or to the fixed byte behind it.
        LOW
        /// 9B stands before it, or 67.
        LED
        /// REX2 always.
        REX2
        /// The address needs a SIB byte.
        SIB
        /// Between registers, the row behind it may be shorter.
        SWAP
        /// The last byte of the EVEX prefix is that of APX: no vector length, no mask.
        APX
        /// There is a new data destination, or zero upper; no flags are set; there are default flags.
        ND
        NF_SET
        DFV
        /// A branch that relaxation makes as long as it has to be.
        RELAX
        /// There is more to it than to most; [`crate::simple`] has the others.
        RARE
        /// There is a ModRM byte made of operands.
        MODRM
        /// ModRM.rm is a vector register where it is no memory; its fifth bit is X.
        VECTOR_RM
        /// The last byte has a register, or an immediate of 4 bits.
        IS4
        /// 66 for the operand size, or as part of the opcode.
        DATA16
    }
}

/// The place of an operand that the form does not have; that of the first one is 0, that of the second one 8.
const NOWHERE: u8 = 56;

/// An operand that is written behind the opcode and the address: an immediate, a branch target, an absolute address.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Trailer {
    /// Which operand.
    pub(crate) operand: u8,
    /// Bytes; 0 where there is none.
    pub(crate) size: u8,
}

/// What the encoder works from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Form {
    /// The row that it is of.
    pub(crate) row: u16,
    pub(crate) variant: u8,
    is: u16,
    /// The place of the operand in ModRM.reg, in ModRM.rm or the low bits of the opcode, in VEX.vvvv, in the high bits of the
    /// last byte.
    pub(crate) reg: u8,
    pub(crate) rm: u8,
    pub(crate) vvvv: u8,
    pub(crate) is4: u8,
    /// What there is in the byte behind `head_len` bytes of code besides registers: ModRM of registers, or the last byte of
    /// an opcode without one.
    pub(crate) base: u8,
    pub(crate) head_len: u8,
    pub(crate) space: Space,
    pub(crate) map: u8,
    pub(crate) pp: u8,
    /// REX.W, VEX.W, EVEX.W, as it is in REX.
    pub(crate) rex_w: u8,
    /// VEX.L, EVEX.L'L.
    pub(crate) l: u8,
    /// Legacy prefixes that the form has always, the first one lowest, and how many.
    pub(crate) lead: u16,
    pub(crate) lead_len: u8,
    /// The opcode and a fixed byte behind it, with the map where that is not in a prefix; the first byte lowest.
    pub(crate) code: u32,
    pub(crate) code_len: u8,
    pub(crate) trailers: [Trailer; 2],
    /// A fixed last byte, or [`NO_BYTE`].
    pub(crate) last: u16,
    /// N of disp8*N as a power of two, without and with broadcast.
    pub(crate) unit: u8,
    pub(crate) broadcast_unit: u8,
}

impl Form {
    /// The row in one of its variants.
    pub(crate) const fn new(index: u16, variant: u8) -> Self {
        let row = Row::at(index);
        let operand_size = matches!(row.axis, Axis::Operand);
        let mut form = Self {
            row: index,
            variant,
            is: 0,
            reg: NOWHERE,
            rm: NOWHERE,
            vvvv: NOWHERE,
            is4: NOWHERE,
            base: 0,
            head_len: 0,
            space: row.space,
            map: row.map,
            pp: row.pp,
            rex_w: match row.w {
                W_BY_VARIANT if !operand_size || row.flags & (flag::DEFAULT64 | flag::IGNORE_W) != 0 => 0,
                W_BY_VARIANT => (variant == 2) as u8 * 8,
                w => w * 8,
            },
            l: match row.l {
                L_BY_VARIANT if matches!(row.axis, Axis::Vector) => variant,
                L_BY_VARIANT => 0,
                l => l,
            },
            lead: 0,
            lead_len: 0,
            code: row.opcode as u32,
            code_len: 1,
            trailers: [Trailer { operand: 0, size: 0 }; 2],
            last: row.last,
            unit: 0,
            broadcast_unit: 0,
        };
        let sized16 = operand_size && variant == 0;
        match row.space {
            Space::Legacy => {
                let size_prefix = sized16 && row.flags & flag::IGNORE_66 == 0;
                if size_prefix || row.pp == 1 || row.flags & flag::DATA16 != 0 {
                    form.is |= is::DATA16;
                }
                form.settle_legacy();
            }
            Space::Evex if sized16 && is_apx(row) => form.pp = 1,
            _ => {}
        }
        if row.tail != NO_BYTE {
            form.code |= (row.tail as u32) << (8 * form.code_len);
            form.code_len += 1;
        }
        form.place_operands(row, variant as usize);
        form.settle_base(row);
        form.is |= traits(row);
        if form.is_rare(row) {
            form.is |= is::RARE;
        }
        form
    }

    /// Whether more than registers, one simple address and one immediate make the bytes.
    const fn is_rare(&self, row: &Row) -> bool {
        let mut rare = self.has(is::IS4) || self.last != NO_BYTE || self.trailers[1].size != 0;
        rare |= !matches!(row.space, Space::Legacy | Space::Vex);
        rare |= self.has(is::PARTICULAR | is::LED | is::REX2 | is::SIB | is::DFV);
        let mut i = 0;
        while i < row.len as usize {
            rare |= matches!(row.ops[i].slot(), Slot::Rel | Slot::Moffs);
            i += 1;
        }
        rare
    }

    const fn place_operands(&mut self, row: &Row, variant: usize) {
        let mut i = 0;
        while i < row.len as usize {
            let class = row.ops[i];
            let at = 8 * i as u8;
            match class.slot() {
                Slot::Implied if class.memory_bytes(0) != 0 || class.letter() == b's' || class.letter() == b'd' => {
                    self.is |= is::PARTICULAR;
                }
                Slot::Implied | Slot::Imm | Slot::Rel | Slot::Moffs => {}
                Slot::Reg => self.reg = at,
                Slot::Rm => self.rm = at,
                Slot::Vvvv => self.vvvv = at,
                Slot::Opcode => {
                    self.rm = at;
                    self.is |= is::LOW;
                }
                Slot::Is4 => self.is4 = at,
                Slot::RegAndRm => (self.reg, self.rm) = (at, at),
            }
            self.is |= match class.slot() {
                Slot::Reg | Slot::Rm | Slot::RegAndRm => is::MODRM,
                Slot::Is4 => is::IS4,
                _ => 0,
            };
            if class.is_4_bits() {
                self.is |= is::IS4 | is::PARTICULAR;
            }
            let size = class.encoded_bytes(variant);
            if size != 0 {
                let second = self.trailers[0].size != 0;
                self.trailers[second as usize] = Trailer { operand: i as u8, size };
            }
            if matches!(class.letter(), b'W' | b'U') {
                self.is |= is::VECTOR_RM;
            }
            if matches!(row.space, Space::Evex) && row.map != 4 && class.memory_bytes(variant) != 0 {
                let unit = if row.disp_n == 0 {
                    class.memory_bytes(variant)
                } else {
                    row.disp_n
                };
                self.unit = unit.trailing_zeros() as u8;
            }
            if class.broadcast_bytes() != 0 {
                self.broadcast_unit = class.broadcast_bytes().trailing_zeros() as u8;
            }
            i += 1;
        }
    }

    /// The byte that registers are in.
    const fn settle_base(&mut self, row: &Row) {
        if row.digit != ABSENT {
            self.is |= is::MODRM;
        }
        if row.tail != NO_BYTE {
            self.is &= !is::MODRM;
        }
        if self.modrm() {
            let digit = if row.digit == ABSENT { 0 } else { row.digit & 7 };
            (self.base, self.head_len) = (0xc0 | digit << 3, self.code_len);
        } else {
            self.head_len = self.code_len - 1;
            self.base = (self.code >> (8 * self.head_len)) as u8;
        }
    }

    /// Prefixes and opcode as they are where nothing else is said.
    const fn settle_legacy(&mut self) {
        if self.has(is::DATA16) {
            self.lead = 0x66;
            self.lead_len = 1;
        }
        if self.pp >= 2 {
            let repeat = if self.pp == 2 { 0xf3 } else { 0xf2 };
            self.lead |= repeat << (8 * self.lead_len);
            self.lead_len += 1;
        }
        (self.code, self.code_len) = match self.map {
            0 => (self.code, 1),
            1 => (0x0f | self.code << 8, 2),
            2 => (0x380f | self.code << 16, 3),
            _ => (0x3a0f | self.code << 16, 3),
        };
    }

    #[inline(always)]
    pub(crate) const fn has(&self, bits: u16) -> bool {
        self.is(bits) != 0
    }

    /// Those of the bits that are set.
    #[inline(always)]
    pub(crate) const fn is(&self, bits: u16) -> u16 {
        self.is & bits
    }

    /// Whether there is a ModRM byte made of operands.
    #[inline(always)]
    pub(crate) const fn modrm(&self) -> bool {
        self.has(is::MODRM)
    }

    /// Whether a 32-bit immediate is sign-extended.
    pub(crate) const fn is_signed(&self) -> bool {
        self.variant == 2 && matches!(Row::at(self.row).axis, Axis::Operand)
    }

    /// ModRM.reg where it is part of the opcode, else 0.
    #[inline(always)]
    pub(crate) const fn digit(&self) -> u8 {
        if self.modrm() { self.base >> 3 & 7 } else { 0 }
    }

    /// VEX.W, EVEX.W.
    #[inline(always)]
    pub(crate) const fn w(&self) -> bool {
        self.rex_w != 0
    }

    /// The opcode without its map, and with the lowest register.
    pub(crate) const fn opcode(&self) -> u8 {
        Row::at(self.row).opcode
    }
}

const fn is_apx(row: &Row) -> bool {
    row.map == 4 || row.flags & (flag::NF | flag::NDD) != 0
}

const fn traits(row: &Row) -> u16 {
    let of = [
        (
            flag::DISTINCT | flag::ADDRESS_REG | flag::ADDR64 | flag::NO_RIP,
            is::PARTICULAR,
        ),
        (flag::FWAIT | flag::ADDR32, is::LED),
        (flag::REX2, is::REX2),
        (flag::SIB, is::SIB),
        (flag::SWAP, is::SWAP),
        (flag::NDD | flag::ZU, is::ND),
        (flag::NF_SET, is::NF_SET),
        (flag::DFV, is::DFV),
        (flag::RELAX, is::RELAX),
    ];
    let mut bits = if is_apx(row) { is::APX } else { 0 };
    let mut i = 0;
    while i < of.len() {
        if row.flags & of[i].0 != 0 {
            bits |= of[i].1;
        }
        i += 1;
    }
    bits
}
