//! Instructions as most are: the form is not [`is::RARE`](crate::form::is::RARE), nothing is [`rare`](crate::key::rare)
//! in the operands, and the line says nothing else.
//!
//! [`crate::prefix`] and [`crate::address`] write the same bytes, and all others. Here there is as little to decide as
//! can be: what may be missing is written all the same, and what comes next is written over it.

use crate::address::has_scale;
use crate::encode::{CAPACITY, Parts};
use crate::form::Form;
use crate::operand::Mem;
use crate::reg::{Reg, RegClass};
use crate::row::Space;

/// Whether this is an address as most are: of low 64-bit registers, with nothing that needs a prefix, a width that is
/// asked for, or a place to be filled in.
#[inline(always)]
pub(crate) fn is_simple(mem: &Mem) -> bool {
    let Some(Reg {
        class: RegClass::R64,
        num,
    }) = mem.base
    else {
        return false;
    };
    let bare = mem.segment | mem.broadcast | mem.disp_size as u8 == 0 && !mem.symbolic.is_some();
    let plain = bare && mem.disp == i64::from(mem.disp as i32);
    match mem.index {
        None => plain && num < 16,
        Some(index) => {
            plain && index.class == RegClass::R64 && index.num != 4 && (num | index.num) < 16 && has_scale(mem)
        }
    }
}

/// Writes an instruction. Returns how long it is.
#[inline(always)]
pub(crate) fn put(bytes: &mut [u8; CAPACITY], form: &Form, parts: &Parts<'_>) -> usize {
    let reg = parts.at(form.reg);
    let field = (reg & 7) << 3;
    let at = match parts.mem {
        Some(mem) => {
            let address = Address::of(mem, form.base ^ 0xc0 | field);
            let at = put_opcode(bytes, form, parts, [reg, address.index, address.base]);
            store(bytes, at, u32::from(address.modrm_and_sib).to_le_bytes());
            let at = at + address.len;
            store(bytes, at, (mem.disp as i32).to_le_bytes());
            at + address.disp_len
        }
        None => {
            let rm = parts.at(form.rm);
            let at = put_opcode(bytes, form, parts, [reg, 0, rm]);
            store(bytes, at, [form.base | field | rm & 7]);
            at + 1
        }
    };
    store(bytes, at, parts.value.to_le_bytes());
    at + form.trailers[0].size as usize
}

/// All prefixes and opcodes come to seven bytes, and an address to six: the processor of the numbers need not ask.
#[inline(always)]
fn store<const N: usize>(bytes: &mut [u8; CAPACITY], at: usize, word: [u8; N]) {
    bytes[at..at + N].copy_from_slice(&word);
}

/// ModRM, SIB and how long the displacement is.
struct Address {
    modrm_and_sib: u16,
    len: usize,
    disp_len: usize,
    base: u8,
    index: u8,
}

impl Address {
    /// `field`: what else there is in ModRM.
    #[inline(always)]
    fn of(mem: &Mem, field: u8) -> Self {
        let base = mem.base.map_or(0, |base| base.num);
        let low = base & 7;
        let (index, index_low) = mem.index.map_or((0, 4), |index| (index.num, index.num & 7));
        let has_sib = mem.index.is_some() || low == 4;
        let short = mem.disp == i64::from(mem.disp as i8);
        let (mode, disp_len) = match mem.disp == 0 && low != 5 {
            true => (0, 0),
            false if short => (1, 1),
            false => (2, 4),
        };
        let modrm = mode << 6 | field | if has_sib { 4 } else { low };
        let scale = mem.scale.trailing_zeros() as u8 & 3;
        Self {
            modrm_and_sib: u16::from_le_bytes([modrm, scale << 6 | index_low << 3 | low]),
            len: 1 + usize::from(has_sib),
            disp_len,
            base,
            index,
        }
    }
}

/// Prefixes and opcode, to where ModRM or the last byte of an opcode without one is.
#[inline(always)]
fn put_opcode(bytes: &mut [u8; CAPACITY], form: &Form, parts: &Parts<'_>, numbers: [u8; 3]) -> usize {
    match form.space {
        Space::Legacy => put_legacy(bytes, form, numbers),
        _ => put_vex(bytes, form, parts.at(form.vvvv), numbers),
    }
}

#[inline(always)]
fn put_legacy(bytes: &mut [u8; CAPACITY], form: &Form, [r, x, b]: [u8; 3]) -> usize {
    store(bytes, 0, form.lead.to_le_bytes());
    let at = usize::from(form.lead_len & 3);
    let rex = form.rex_w | (r & 8) >> 1 | (x & 8) >> 2 | (b & 8) >> 3;
    store(bytes, at, [0x40 | rex]);
    let at = at + usize::from(rex != 0);
    store(bytes, at, form.code.to_le_bytes());
    at + usize::from(form.head_len & 3)
}

#[inline(always)]
fn put_vex(bytes: &mut [u8; CAPACITY], form: &Form, vvvv: u8, [r, x, b]: [u8; 3]) -> usize {
    let tail = (!vvvv & 15) << 3 | (form.l & 1) << 2 | form.pp;
    let code = form.code.to_le_bytes();
    let at = if form.map == 1 && !form.w() && (x | b) & 8 == 0 {
        store(bytes, 0, [0xc5, (!r & 8) << 4 | tail]);
        2
    } else {
        let second = (!r & 8) << 4 | (!x & 8) << 3 | (!b & 8) << 2 | form.map;
        store(bytes, 0, [0xc4, second, u8::from(form.w()) << 7 | tail]);
        3
    };
    store(bytes, at, code);
    at + usize::from(form.head_len & 3)
}
