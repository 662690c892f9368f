//! Prefixes and opcode (SDM 2.1 to 2.3, 2.7; APX specification 3.1).

use crate::address::{Address, segment_prefix};
use crate::encode::{Fault, Out, Parts};
use crate::form::{Form, is};
use crate::inst::{Hints, Prefixes, Rounding};
use crate::key::rare;
use crate::row::{Row, Space, flag};

/// Everything that can be said of an instruction besides its operands.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Decoration {
    pub(crate) prefixes: Prefixes,
    pub(crate) hints: Hints,
    pub(crate) mask: u8,
    pub(crate) zeroing: bool,
    pub(crate) rounding: Rounding,
    pub(crate) default_flags: u8,
}

impl Decoration {
    pub(crate) const NONE: Self = Self {
        prefixes: Prefixes::NONE,
        hints: Hints::NONE,
        mask: 0,
        zeroing: false,
        rounding: Rounding::None,
        default_flags: 0,
    };
}

/// Everything up to and with the opcode, in GNU as's order: 9B, segment, 67, 66, F2 or F3, F0, REX.
/// Returns whether there is a REX prefix.
#[inline(always)]
pub(crate) fn put<const OPEN: bool>(
    out: &mut Out<'_, OPEN>,
    form: &Form,
    parts: &Parts<'_>,
    address: &Address,
    with: &Decoration,
) -> Result<bool, Fault> {
    let led = if form.has(is::LED) { Row::at(form.row).flags } else { 0 };
    if led & flag::FWAIT != 0 || with.prefixes.has(Prefixes::FWAIT) {
        out.put(0x9b, 1);
    }
    if let Some(mem) = parts.mem
        && let Some(prefix) = segment_prefix(mem).filter(|_| parts.segment)
    {
        out.put(prefix.into(), 1);
    }
    if with.prefixes.has(Prefixes::NOTRACK) {
        out.put(0x3e, 1);
    }
    if led & flag::ADDR32 != 0 || parts.narrow() || with.prefixes.has(Prefixes::ADDR32) {
        out.put(0x67, 1);
    }
    match form.space {
        Space::Legacy => legacy(out, form, parts, address, with.prefixes),
        Space::Vex | Space::Xop => {
            vex(out, form, parts, address, with.hints);
            Ok(false)
        }
        Space::Evex => evex(out, form, parts, address, with).map(|()| false),
    }
}

/// The opcode and the fixed byte behind it, with a register's number in the last of them.
#[inline(always)]
fn code(form: &Form, address: &Address) -> u64 {
    // Few forms have a register there, so that asking first is faster.
    if !form.has(is::LOW) {
        return form.code.into();
    }
    (form.code + (u32::from(address.base & 7) << (8 * (form.code_len - 1)))).into()
}

#[inline(always)]
fn legacy<const OPEN: bool>(
    out: &mut Out<'_, OPEN>,
    form: &Form,
    parts: &Parts<'_>,
    address: &Address,
    prefixes: Prefixes,
) -> Result<bool, Fault> {
    let (r, x, b) = (parts.at(form.reg), address.index, address.base);
    let w = form.rex_w | if prefixes.has(Prefixes::REX64) { 8 } else { 0 };
    let rex = w | (r & 8) >> 1 | (x & 8) >> 2 | (b & 8) >> 3;
    let needed = rex != 0 || parts.rare & rare::LOW_BYTE != 0 || prefixes.has(Prefixes::REX);
    let code = code(form, address);
    let wide = (r | x | b) & 16 != 0 || form.has(is::REX2) || prefixes.has(Prefixes::REX2);
    if parts.rare & rare::HIGH_BYTE != 0 && (needed || wide) {
        return Err(Fault::HighByte);
    }
    if prefixes != Prefixes::NONE {
        stated(out, form, prefixes);
    } else {
        out.put(form.lead.into(), form.lead_len);
    }
    if wide {
        let second = u8::from(form.map == 1) << 7 | (r >> 4) << 6 | (x >> 4) << 5 | (b >> 4) << 4 | rex;
        out.put(0xd5 | u64::from(second) << 8, 2);
        // The map is in the prefix, and there are two.
        let map_len = u8::from(form.map == 1);
        out.put(code >> (8 * map_len), form.code_len - map_len);
        return Ok(needed);
    }
    let rex_len = u8::from(needed);
    let rex = if needed { u64::from(0x40 | rex) } else { 0 };
    let code = rex | code << (8 * rex_len);
    let code_len = form.code_len + rex_len;
    out.put(code, code_len);
    Ok(needed)
}

/// Prefixes with those that the source wrote: 66, F2 or F3, F0.
fn stated<const OPEN: bool>(out: &mut Out<'_, OPEN>, form: &Form, prefixes: Prefixes) {
    if form.has(is::DATA16) || prefixes.has(Prefixes::DATA16) {
        out.put(0x66, 1);
    }
    if form.pp == 3 || prefixes.has(Prefixes::REPNE) || prefixes.has(Prefixes::XACQUIRE) {
        out.put(0xf2, 1);
    }
    if form.pp == 2 || prefixes.has(Prefixes::REP) || prefixes.has(Prefixes::XRELEASE) {
        out.put(0xf3, 1);
    }
    if prefixes.has(Prefixes::LOCK) {
        out.put(0xf0, 1);
    }
}

/// Bytes, the first one lowest.
#[inline(always)]
fn word<const N: usize>(bytes: [u8; N]) -> u64 {
    bytes.iter().rev().fold(0, |word, &byte| word << 8 | u64::from(byte))
}

#[inline(always)]
fn vex<const OPEN: bool>(out: &mut Out<'_, OPEN>, form: &Form, parts: &Parts<'_>, address: &Address, hints: Hints) {
    let (r, x, b) = (parts.at(form.reg), address.index, address.base);
    let inverted = |bit: u8| u8::from(bit & 8 == 0);
    let tail = (!parts.at(form.vvvv) & 15) << 3 | (form.l & 1) << 2 | form.pp;
    let is_vex = form.space == Space::Vex;
    let short = is_vex && form.map == 1 && !form.w() && (x | b) & 8 == 0 && !hints.has(Hints::VEX3);
    let code = code(form, address);
    if short {
        out.put(word([0xc5, inverted(r) << 7 | tail]) | code << 16, 2 + form.code_len);
    } else {
        let first = if is_vex { 0xc4 } else { 0x8f };
        let second = inverted(r) << 7 | inverted(x) << 6 | inverted(b) << 5 | form.map;
        let third = u8::from(form.w()) << 7 | tail;
        out.put(word([first, second, third]) | code << 24, 3 + form.code_len);
    }
}

#[inline(always)]
fn evex<const OPEN: bool>(
    out: &mut Out<'_, OPEN>,
    form: &Form,
    parts: &Parts<'_>,
    address: &Address,
    with: &Decoration,
) -> Result<(), Fault> {
    if parts.rare & rare::HIGH_BYTE != 0 {
        return Err(Fault::HighByte);
    }
    let (r, mut x, b) = (parts.at(form.reg), address.index, address.base);
    let (mut b4, mut x4) = (0, 1);
    let mut v4 = u8::from(parts.at(form.vvvv) & 16 == 0);
    match parts.mem {
        Some(mem) => {
            // A vector index keeps its fifth bit in V', a general one in X4 (inverted), a general base in B4.
            if mem.index.is_some_and(|i| i.size_bytes() >= 16) {
                v4 = u8::from(x & 16 == 0);
            } else {
                x4 = u8::from(x & 16 == 0);
            }
            b4 = b >> 4 & 1;
        }
        None if form.has(is::VECTOR_RM) => x = (b >> 4) << 3,
        None => b4 = b >> 4 & 1,
    }
    let inverted = |value: u8, bit: u8| u8::from(value & bit == 0);
    let second =
        inverted(r, 8) << 7 | inverted(x, 8) << 6 | inverted(b, 8) << 5 | inverted(r, 16) << 4 | b4 << 3 | form.map;
    let vvvv = if form.has(is::DFV) {
        with.default_flags
    } else {
        !parts.at(form.vvvv) & 15
    };
    let third = u8::from(form.w()) << 7 | vvvv << 3 | x4 << 2 | form.pp;
    let fourth = if form.has(is::DFV) {
        // The condition stands in the low four bits; the row keeps it as its fixed last byte.
        form.last as u8 & 15
    } else if form.has(is::APX) {
        let no_flags = form.has(is::NF_SET) || with.hints.has(Hints::NF);
        u8::from(form.has(is::ND)) << 4 | v4 << 3 | u8::from(no_flags) << 2
    } else {
        // With a rounding, the length is 512 or scalar, and L'L is the rounding.
        let l = match with.rounding {
            Rounding::None => form.l,
            Rounding::Sae => 0,
            mode => mode as u8 - 1,
        };
        let broadcast = parts.mem.is_some_and(|m| m.broadcast != 0) || with.rounding != Rounding::None;
        u8::from(with.zeroing) << 7 | l << 5 | u8::from(broadcast) << 4 | v4 << 3 | with.mask
    };
    let code = code(form, address);
    out.put(word([0x62, second, third, fourth]) | code << 32, 4 + form.code_len);
    Ok(())
}
