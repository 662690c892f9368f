//! A row with its size settled: everything that the bytes of an instruction depend on except its operands.

use crate::class::Slot;
use crate::row::{ABSENT, Axis, L_BY_VARIANT, NO_BYTE, Row, Space, W_BY_VARIANT, flag};

/// What the encoder works from. Small, and made in a constant where the operands' types are known.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Form {
    pub(crate) flags: u64,
    /// Where each operand goes.
    pub(crate) slots: [Slot; 5],
    /// Bytes of the operand where it is an immediate, an address or a branch target; 0 for the immediate of 4 bits.
    pub(crate) sizes: [u8; 5],
    /// ModRM.reg where it is part of the opcode, else [`ABSENT`].
    pub(crate) digit: u8,
    pub(crate) space: Space,
    pub(crate) map: u8,
    pub(crate) pp: u8,
    pub(crate) opcode: u8,
    /// REX.W, VEX.W, EVEX.W.
    pub(crate) w: bool,
    /// VEX.L, EVEX.L'L.
    pub(crate) l: u8,
    /// 66 for the operand size, or as part of the opcode.
    pub(crate) data16: bool,
    /// Legacy prefixes that the form has always, the first one lowest, and how many.
    pub(crate) lead: u16,
    pub(crate) lead_len: u8,
    /// Legacy opcode with its map, the first byte lowest, and how many bytes.
    pub(crate) code: u32,
    pub(crate) code_len: u8,
    /// Whether there is a ModRM byte made of operands.
    pub(crate) modrm: bool,
    /// Whether ModRM.rm is a vector register where it is no memory; its fifth bit is X.
    pub(crate) vector_rm: bool,
    /// Whether an operand may be an 8-bit register.
    pub(crate) bytes: bool,
    /// Whether one register is in both fields of ModRM.
    pub(crate) doubled: bool,
    /// Whether the last byte has a register, or an immediate of 4 bits.
    pub(crate) is4: bool,
    /// Whether there are immediates, branch targets or absolute addresses.
    pub(crate) immediate: bool,
    /// Whether the 32-bit immediate is sign-extended.
    pub(crate) signed: bool,
    pub(crate) tail: u16,
    pub(crate) last: u16,
    /// N of disp8*N, without and with broadcast.
    pub(crate) unit: u8,
    pub(crate) broadcast_unit: u8,
}

impl Form {
    /// The row in one of its variants.
    pub(crate) const fn new(row: &Row, variant: usize) -> Self {
        let operand_size = matches!(row.axis, Axis::Operand);
        let mut form = Self {
            flags: row.flags,
            slots: [Slot::Implied; 5],
            sizes: [0; 5],
            digit: row.digit,
            space: row.space,
            map: row.map,
            pp: row.pp,
            opcode: row.opcode,
            w: match row.w {
                W_BY_VARIANT => operand_size && variant == 2 && row.flags & (flag::DEFAULT64 | flag::IGNORE_W) == 0,
                w => w == 1,
            },
            l: match row.l {
                L_BY_VARIANT if matches!(row.axis, Axis::Vector) => variant as u8,
                L_BY_VARIANT => 0,
                l => l,
            },
            data16: false,
            lead: 0,
            lead_len: 0,
            code: 0,
            code_len: 0,
            modrm: row.digit != ABSENT,
            vector_rm: false,
            bytes: false,
            doubled: false,
            is4: false,
            immediate: false,
            signed: operand_size && variant == 2,
            tail: row.tail,
            last: row.last,
            unit: 1,
            broadcast_unit: 1,
        };
        let sized16 = operand_size && variant == 0;
        match row.space {
            Space::Legacy => {
                let size_prefix = sized16 && row.flags & flag::IGNORE_66 == 0;
                form.data16 = size_prefix || row.pp == 1 || row.flags & flag::DATA16 != 0;
                form.settle_legacy();
            }
            Space::Evex if sized16 && form.is_apx() => form.pp = 1,
            _ => {}
        }
        let mut i = 0;
        while i < row.len as usize {
            let class = row.ops[i];
            form.slots[i] = class.slot();
            form.sizes[i] = class.encoded_bytes(variant);
            form.vector_rm |= matches!(class.letter(), b'W' | b'U');
            form.bytes |= matches!(class.size(), b"b") || class.is_accumulator();
            form.doubled |= matches!(form.slots[i], Slot::RegAndRm);
            form.is4 |= matches!(form.slots[i], Slot::Is4) || matches!((class.letter(), class.size()), (b'I', b"4"));
            form.immediate |= form.sizes[i] != 0;
            form.modrm |= matches!(form.slots[i], Slot::Reg | Slot::Rm | Slot::RegAndRm);
            if matches!(row.space, Space::Evex) && row.map != 4 && class.memory_bytes(variant) != 0 {
                form.unit = if row.disp_n == 0 {
                    class.memory_bytes(variant)
                } else {
                    row.disp_n
                };
            }
            if class.broadcast_bytes() != 0 {
                form.broadcast_unit = class.broadcast_bytes();
            }
            i += 1;
        }
        form.modrm &= row.tail == NO_BYTE;
        form
    }

    /// Prefixes and opcode as they are where nothing else is said.
    const fn settle_legacy(&mut self) {
        if self.data16 {
            self.lead = 0x66;
            self.lead_len = 1;
        }
        if self.pp >= 2 {
            let repeat = if self.pp == 2 { 0xf3 } else { 0xf2 };
            self.lead |= repeat << (8 * self.lead_len);
            self.lead_len += 1;
        }
        let opcode = self.opcode as u32;
        (self.code, self.code_len) = match self.map {
            0 => (opcode, 1),
            1 => (0x0f | opcode << 8, 2),
            2 => (0x380f | opcode << 16, 3),
            _ => (0x3a0f | opcode << 16, 3),
        };
    }

    /// Whether the last byte of the EVEX prefix is that of APX: no vector length, no mask.
    pub(crate) const fn is_apx(&self) -> bool {
        self.map == 4 || self.flags & (flag::NF | flag::NDD) != 0
    }

    #[inline(always)]
    pub(crate) const fn has(&self, flag: u64) -> bool {
        self.flags & flag != 0
    }
}
