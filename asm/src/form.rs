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
    /// Whether there is a ModRM byte made of operands.
    pub(crate) modrm: bool,
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
            modrm: row.digit != ABSENT,
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
            }
            Space::Evex if sized16 && form.is_apx() => form.pp = 1,
            _ => {}
        }
        let mut i = 0;
        while i < row.len as usize {
            let class = row.ops[i];
            form.slots[i] = class.slot();
            form.sizes[i] = class.encoded_bytes(variant);
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

    /// Whether the last byte of the EVEX prefix is that of APX: no vector length, no mask.
    pub(crate) const fn is_apx(&self) -> bool {
        self.map == 4 || self.flags & (flag::NF | flag::NDD) != 0
    }

    #[inline(always)]
    pub(crate) const fn has(&self, flag: u64) -> bool {
        self.flags & flag != 0
    }
}
