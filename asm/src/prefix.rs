//! Prefixes and opcode (SDM 2.1 to 2.3, 2.7; APX specification 3.1).

use crate::address::segment_prefix;
use crate::encode::{Fault, Out, Parts};
use crate::form::Form;
use crate::inst::{Hints, Prefixes, Rounding};
use crate::operand::Mem;
use crate::reg::RegClass;
use crate::row::{ABSENT, NO_BYTE, Space, flag};

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
    with: &Decoration,
) -> Result<bool, Fault> {
    if form.has(flag::FWAIT) || with.prefixes.has(Prefixes::FWAIT) {
        out.put(0x9b);
    }
    let narrow = form.has(flag::ADDR32) || parts.narrow || with.prefixes.has(Prefixes::ADDR32);
    if let Some(mem) = parts.mem
        && let Some(prefix) = segment_prefix(mem).filter(|_| parts.segment)
    {
        out.put(prefix);
    }
    if with.prefixes.has(Prefixes::NOTRACK) {
        out.put(0x3e);
    }
    if narrow {
        out.put(0x67);
    }
    match form.space {
        Space::Legacy => legacy(out, form, parts, with.prefixes),
        Space::Vex | Space::Xop => {
            vex(out, form, parts, with.hints);
            Ok(false)
        }
        Space::Evex => evex(out, form, parts, with).map(|()| false),
    }
}

/// The number of base (or ModRM.rm, or the register in the opcode) and that of the index.
#[inline(always)]
fn extended(parts: &Parts<'_>) -> (u8, u8) {
    match parts.mem {
        Some(Mem { base, index, .. }) => {
            let base = base.filter(|r| r.class != RegClass::Rip).map_or(0, |r| r.num);
            let index = index.filter(|r| r.class != RegClass::NoIndex).map_or(0, |r| r.num);
            (base, index)
        }
        None => (parts.rm(), 0),
    }
}

#[inline(always)]
fn reg(form: &Form, parts: &Parts<'_>) -> u8 {
    if form.digit == ABSENT { parts.reg(form) } else { 0 }
}

#[inline(always)]
fn opcode(form: &Form, parts: &Parts<'_>) -> u8 {
    form.opcode + if form.tail == NO_BYTE { parts.opcode_low() } else { 0 }
}

#[inline(always)]
fn legacy<const OPEN: bool>(
    out: &mut Out<'_, OPEN>,
    form: &Form,
    parts: &Parts<'_>,
    prefixes: Prefixes,
) -> Result<bool, Fault> {
    if prefixes != Prefixes::NONE {
        stated(out, form, prefixes);
    } else if form.lead_len != 0 {
        out.put_word(form.lead.into(), form.lead_len);
    }
    let (b, x) = extended(parts);
    let r = reg(form, parts);
    let w = form.w || prefixes.has(Prefixes::REX64);
    let rex = u8::from(w) << 3 | (r >> 3 & 1) << 2 | (x >> 3 & 1) << 1 | b >> 3 & 1;
    let wide = (r | x | b) & 16 != 0 || form.has(flag::REX2) || prefixes.has(Prefixes::REX2);
    let needed = rex != 0 || parts.low_byte || prefixes.has(Prefixes::REX);
    if parts.high_byte && (needed || wide) {
        return Err(Fault::HighByte);
    }
    let low = u32::from(if form.tail == NO_BYTE { parts.opcode_low() } else { 0 });
    if wide {
        out.put(0xd5);
        out.put(u8::from(form.map == 1) << 7 | (r >> 4) << 6 | (x >> 4) << 5 | (b >> 4) << 4 | rex);
        out.put(form.opcode + low as u8);
    } else {
        if needed {
            out.put(0x40 | rex);
        }
        out.put_word(form.code + (low << (8 * (form.code_len - 1))), form.code_len);
    }
    Ok(needed)
}

/// Prefixes with those that the source wrote: 66, F2 or F3, F0.
fn stated<const OPEN: bool>(out: &mut Out<'_, OPEN>, form: &Form, prefixes: Prefixes) {
    if form.data16 || prefixes.has(Prefixes::DATA16) {
        out.put(0x66);
    }
    if form.pp == 3 || prefixes.has(Prefixes::REPNE) || prefixes.has(Prefixes::XACQUIRE) {
        out.put(0xf2);
    }
    if form.pp == 2 || prefixes.has(Prefixes::REP) || prefixes.has(Prefixes::XRELEASE) {
        out.put(0xf3);
    }
    if prefixes.has(Prefixes::LOCK) {
        out.put(0xf0);
    }
}

#[inline(always)]
fn vex<const OPEN: bool>(out: &mut Out<'_, OPEN>, form: &Form, parts: &Parts<'_>, hints: Hints) {
    let (b, x) = extended(parts);
    let r = reg(form, parts);
    let inverted = |bit: u8| u8::from(bit & 8 == 0);
    let tail = (!parts.vvvv() & 15) << 3 | (form.l & 1) << 2 | form.pp;
    let short = form.space == Space::Vex && form.map == 1 && !form.w && (x | b) & 8 == 0 && !hints.has(Hints::VEX3);
    if short {
        out.put(0xc5);
        out.put(inverted(r) << 7 | tail);
    } else {
        out.put(if form.space == Space::Vex { 0xc4 } else { 0x8f });
        out.put(inverted(r) << 7 | inverted(x) << 6 | inverted(b) << 5 | form.map);
        out.put(u8::from(form.w) << 7 | tail);
    }
    out.put(form.opcode);
}

#[inline(always)]
fn evex<const OPEN: bool>(
    out: &mut Out<'_, OPEN>,
    form: &Form,
    parts: &Parts<'_>,
    with: &Decoration,
) -> Result<(), Fault> {
    if parts.high_byte {
        return Err(Fault::HighByte);
    }
    let (b, mut x) = extended(parts);
    let r = reg(form, parts);
    let (mut b4, mut x4) = (0, 1);
    let mut v4 = u8::from(parts.vvvv() & 16 == 0);
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
        None if form.vector_rm => x = (b >> 4) << 3,
        None => b4 = b >> 4 & 1,
    }
    let inverted = |value: u8, bit: u8| u8::from(value & bit == 0);
    out.put(0x62);
    out.put(
        inverted(r, 8) << 7 | inverted(x, 8) << 6 | inverted(b, 8) << 5 | inverted(r, 16) << 4 | b4 << 3 | form.map,
    );
    let vvvv = if form.has(flag::DFV) {
        with.default_flags
    } else {
        !parts.vvvv() & 15
    };
    out.put(u8::from(form.w) << 7 | vvvv << 3 | x4 << 2 | form.pp);
    if form.has(flag::DFV) {
        // The condition stands in the low four bits; the row keeps it as its fixed last byte.
        out.put(form.last as u8 & 15);
    } else if form.is_apx() {
        let new_destination = form.has(flag::NDD | flag::ZU);
        let no_flags = form.has(flag::NF_SET) || with.hints.has(Hints::NF);
        out.put(u8::from(new_destination) << 4 | v4 << 3 | u8::from(no_flags) << 2);
    } else {
        // With a rounding, the length is 512 or scalar, and L'L is the rounding.
        let l = match with.rounding {
            Rounding::None => form.l,
            Rounding::Sae => 0,
            mode => mode as u8 - 1,
        };
        let broadcast = parts.mem.is_some_and(|m| m.broadcast != 0) || with.rounding != Rounding::None;
        out.put(u8::from(with.zeroing) << 7 | l << 5 | u8::from(broadcast) << 4 | v4 << 3 | with.mask);
    }
    out.put(opcode(form, parts));
    Ok(())
}
