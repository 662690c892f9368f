//! The encoder: one row, one variant and the operands to bytes.
//!
//! SDM volume 2, chapters 2.1 to 2.7. Prefixes come in GNU as's order: 9B, segment, 67, 66, F2 or F3, F0, REX.

use crate::EncodeError;
use crate::class::Slot;
use crate::inst::{Hints, Inst, Prefixes, Rounding};
use crate::operand::{DispSize, Imm, Mem, Operand, Symbolic};
use crate::reg::{Reg, RegClass};
use crate::row::{ABSENT, Axis, L_BY_VARIANT, NO_BYTE, Row, Space, W_BY_VARIANT, flag};
use crate::select::{Choice, check_prefixes, select};

/// The most bytes an instruction has (SDM 2.3.11), rounded up for the scratch that the encoder writes.
const CAPACITY: usize = 32;
const LONGEST: u8 = 15;

/// How the value of a [`Fixup`] is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FixupKind {
    /// The value, to be zero- or sign-extended.
    Absolute,
    /// The value, which the processor sign-extends to 64 bits.
    AbsoluteSigned,
    /// The value less the address after the instruction.
    Relative,
    /// As [`FixupKind::Relative`], the target of a branch or call.
    Branch,
}

/// An open place in the bytes of an instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fixup {
    /// Where in the instruction.
    pub offset: u8,
    /// How many bytes.
    pub size: u8,
    /// Bytes from the place to the end of the instruction; what a relative value is relative to.
    pub to_end: u8,
    /// How it is computed.
    pub kind: FixupKind,
    /// Whether a linker may rewrite the instruction if this is a GOT load: 1 without a REX prefix, 2 with one.
    pub relaxable: u8,
    /// What goes there.
    pub symbolic: Symbolic,
    /// What is added to it.
    pub addend: i64,
}

/// The bytes of one instruction and its open places.
#[derive(Clone, Copy, Debug)]
pub struct Encoded {
    bytes: [u8; CAPACITY],
    len: u8,
    fixup_count: u8,
    fixups: [Fixup; 2],
}

impl Encoded {
    const EMPTY: Self = Self {
        bytes: [0; CAPACITY],
        len: 0,
        fixup_count: 0,
        fixups: [Fixup {
            offset: 0,
            size: 0,
            to_end: 0,
            kind: FixupKind::Absolute,
            relaxable: 0,
            symbolic: Symbolic::NONE,
            addend: 0,
        }; 2],
    };

    /// The bytes; zero where a fixup is open.
    #[must_use]
    #[inline]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len as usize]
    }

    /// The open places.
    #[must_use]
    #[inline]
    pub fn fixups(&self) -> &[Fixup] {
        &self.fixups[..self.fixup_count as usize]
    }

    #[inline]
    fn put(&mut self, byte: u8) {
        self.bytes[self.len as usize] = byte;
        self.len += 1;
    }

    #[inline]
    fn put_value(&mut self, value: i64, size: u8) {
        let at = self.len as usize;
        self.bytes[at..at + 8].copy_from_slice(&value.to_le_bytes());
        self.len += size;
        // The bytes above are overwritten by what follows; `bytes()` never shows them.
    }

    fn put_fixup(&mut self, imm: Imm, size: u8, kind: FixupKind) {
        let fixup = Fixup {
            offset: self.len,
            size,
            to_end: 0,
            kind,
            relaxable: 0,
            symbolic: imm.symbolic,
            addend: imm.value,
        };
        self.fixups[self.fixup_count as usize & 1] = fixup;
        self.fixup_count += 1;
        self.put_value(0, size);
    }
}

/// Encodes one instruction.
///
/// # Errors
/// Where no form takes these operands, or where the operands leave its size open.
#[inline]
pub fn encode(inst: &Inst) -> Result<Encoded, EncodeError> {
    let choice = select(inst)?;
    encode_choice(choice, inst)
}

/// What ModRM, SIB and the prefixes are made of.
#[derive(Default)]
struct Parts {
    reg: u8,
    /// The register in ModRM.rm, where it is no memory.
    rm: Option<Reg>,
    vvvv: u8,
    is4: Option<u8>,
    opcode_low: u8,
    mem: Option<Mem>,
    /// Size of the memory operand, for disp8*N.
    disp_unit: u8,
    /// REX has to be there (`spl`) or must not (`ah`).
    low_byte: bool,
    high_byte: bool,
    has_modrm: bool,
    opcode_high: u8,
}

pub(crate) fn encode_choice(choice: Choice, inst: &Inst) -> Result<Encoded, EncodeError> {
    let Choice { row, variant } = choice;
    if inst.prefixes != Prefixes::NONE {
        check_prefixes(row, inst)?;
    }
    let mut out = Encoded::EMPTY;
    let parts = parts_of(row, variant, inst)?;
    if row.flags & flag::ADDRESS_REG != 0 {
        check_address_size(inst)?;
    }
    if row.flags & (flag::ADDR64 | flag::NO_RIP) != 0 {
        check_address_kind(row, &parts, inst)?;
    }
    if row.flags & flag::DISTINCT != 0 {
        check_distinct(row, inst)?;
    }
    let has_rex = prefixes(&mut out, row, variant, inst, &parts)?;
    if row.tail != NO_BYTE {
        out.put(row.tail as u8 + parts.opcode_low);
    } else if parts.has_modrm {
        match &parts.mem {
            Some(mem) => memory(&mut out, row, mem, &parts)?,
            None => {
                let rm = parts.rm.map_or(0, |r| r.num);
                out.put(0xc0 | (parts.reg & 7) << 3 | rm & 7);
            }
        }
    }
    immediates(&mut out, row, variant, inst, &parts);
    for fixup in &mut out.fixups {
        fixup.to_end = out.len.wrapping_sub(fixup.offset);
        if fixup.kind == FixupKind::Relative {
            fixup.relaxable = relaxable(row, &parts, has_rex);
        }
    }
    if out.len > LONGEST {
        return Err(EncodeError::TooLong {
            mnemonic: inst.mnemonic.name(),
            length: out.len.into(),
        });
    }
    Ok(out)
}

/// The instructions of psABI B.2: `mov`, `test`, the eight binary operations, indirect `call` and `jmp`.
fn relaxable(row: &Row, parts: &Parts, has_rex: bool) -> u8 {
    let load = row.opcode == 0x8b || row.opcode == 0x85 || row.opcode & !0x38 == 0x03;
    let branch = row.opcode == 0xff && matches!(parts.reg & 7, 2 | 4) && row.digit != ABSENT;
    match row.space == Space::Legacy && row.map == 0 && (load || branch) {
        false => 0,
        true if has_rex => 2,
        true => 1,
    }
}

#[inline]
fn parts_of(row: &Row, variant: usize, inst: &Inst) -> Result<Parts, EncodeError> {
    let mut parts = Parts::default();
    if row.digit != ABSENT {
        parts.reg = row.digit;
        parts.has_modrm = true;
    }
    for (index, operand) in inst.operands().iter().enumerate() {
        let class = row.ops[index];
        let slot = class.slot();
        match operand {
            Operand::Reg(reg) => {
                if matches!(reg.class, RegClass::R8 | RegClass::High8) {
                    parts.low_byte |= reg.class == RegClass::R8 && (4..8).contains(&reg.num);
                    parts.high_byte |= reg.class == RegClass::High8;
                }
                match slot {
                    Slot::Reg => parts.reg = reg.num,
                    Slot::Rm => parts.rm = Some(*reg),
                    Slot::RegAndRm => (parts.reg, parts.rm) = (reg.num, Some(*reg)),
                    Slot::Vvvv => parts.vvvv = reg.num,
                    Slot::Opcode => (parts.opcode_low, parts.opcode_high) = (reg.num & 7, reg.num),
                    Slot::Is4 => parts.is4 = Some(reg.num << 4 | parts.is4.unwrap_or(0)),
                    _ => {}
                }
                parts.has_modrm |= matches!(slot, Slot::Reg | Slot::Rm | Slot::RegAndRm);
            }
            Operand::Mem(mem) if slot == Slot::Implied => {
                // A string operand: only its segment and address size are encoded.
                check_string_operand(class.letter(), mem, inst)?;
                if class.letter() == b's' || parts.mem.is_none() {
                    let segment = if class.letter() == b's' { mem.segment } else { 0 };
                    parts.mem = Some(Mem { segment, ..*mem });
                }
            }
            Operand::Mem(mem) => {
                parts.mem = Some(*mem);
                parts.has_modrm |= slot == Slot::Rm;
                parts.disp_unit = match (mem.broadcast != 0, row.disp_n) {
                    (true, _) => class.broadcast_bytes(),
                    (false, 0) => class.memory_bytes(variant),
                    (false, n) => n,
                };
            }
            Operand::Imm(imm) if slot == Slot::Imm && class.size() == b"4" => {
                parts.is4 = Some(imm.value as u8 & 15 | parts.is4.unwrap_or(0));
            }
            _ => {}
        }
    }
    Ok(parts)
}

/// `ds:[rsi]` and `es:[rdi]`.
fn check_string_operand(letter: u8, mem: &Mem, inst: &Inst) -> Result<(), EncodeError> {
    let right = match (letter, mem.base, mem.index) {
        // `es` cannot be overridden, so stating it says nothing.
        (b'd', Some(base), None) => base.num == 7 && mem.segment <= 1,
        (b's', Some(base), None) => base.num == 6 || base.num == 3,
        // `moffs`
        _ => return Ok(()),
    };
    if right && mem.disp == 0 && !mem.symbolic.is_some() {
        return Ok(());
    }
    Err(EncodeError::NotAllowed {
        mnemonic: inst.mnemonic.name(),
        what: "this address: a string operand is [rsi] or es:[rdi]",
    })
}

fn check_distinct(row: &Row, inst: &Inst) -> Result<(), EncodeError> {
    let mut seen = 0u32;
    for operand in inst.operands() {
        let reg = match operand {
            Operand::Reg(reg) => reg,
            Operand::Mem(Mem { index: Some(index), .. }) if index.size_bytes() >= 16 => index,
            _ => continue,
        };
        if seen & 1 << reg.num != 0 && row.space != Space::Vex && reg.num == first_register(inst) {
            return Err(EncodeError::NotAllowed {
                mnemonic: inst.mnemonic.name(),
                what: "the same register twice",
            });
        }
        seen |= 1 << reg.num;
    }
    Ok(())
}

/// The register operand of `enqcmd` and `movdir64b` is an address of the memory operand's kind.
fn check_address_size(inst: &Inst) -> Result<(), EncodeError> {
    let (Operand::Reg(reg), Operand::Mem(mem)) = (&inst.operands[0], &inst.operands[1]) else {
        return Ok(());
    };
    let known = mem.base.is_some() || mem.index.is_some();
    if known && is_narrow(mem) != (reg.class == RegClass::R32) {
        return Err(EncodeError::NotAllowed {
            mnemonic: inst.mnemonic.name(),
            what: "addresses of two sizes",
        });
    }
    Ok(())
}

/// MPX instructions ignore an address size prefix, so the address would be another one.
fn check_address_kind(row: &Row, parts: &Parts, inst: &Inst) -> Result<(), EncodeError> {
    let Some(mem) = &parts.mem else {
        return Ok(());
    };
    let rip = mem.base.is_some_and(|base| base.class == RegClass::Rip);
    let what = match () {
        () if is_narrow(mem) => "a 32-bit address",
        () if rip && row.flags & flag::NO_RIP != 0 => "an address relative to rip",
        () => return Ok(()),
    };
    Err(EncodeError::NotAllowed {
        mnemonic: inst.mnemonic.name(),
        what,
    })
}

fn first_register(inst: &Inst) -> u8 {
    if let Operand::Reg(reg) = inst.operands[0] {
        reg.num
    } else {
        ABSENT
    }
}

const SEGMENT_PREFIX: [u8; 6] = [0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65];

/// The segment prefix, where it is not the one that the base register implies.
fn segment_prefix(mem: &Mem) -> Option<u8> {
    let stated = mem.segment.checked_sub(1)?;
    let stack = matches!(
        mem.base,
        Some(Reg {
            class: RegClass::R64 | RegClass::R32,
            num: 4 | 5
        })
    );
    let implied = if stack { 2 } else { 3 };
    (stated != implied).then(|| SEGMENT_PREFIX[stated as usize])
}

/// Everything up to and with the opcode. Returns whether there is a REX prefix.
#[inline]
fn prefixes(out: &mut Encoded, row: &Row, variant: usize, inst: &Inst, parts: &Parts) -> Result<bool, EncodeError> {
    if row.flags & flag::FWAIT != 0 || inst.prefixes.has(Prefixes::FWAIT) {
        out.put(0x9b);
    }
    let mut narrow = row.flags & flag::ADDR32 != 0 || inst.prefixes.has(Prefixes::ADDR32);
    if row.flags & flag::ADDRESS_REG != 0 {
        narrow |= matches!(
            inst.operands[0],
            Operand::Reg(Reg {
                class: RegClass::R32,
                ..
            })
        );
    }
    if let Some(mem) = &parts.mem {
        if let Some(prefix) = segment_prefix(mem) {
            out.put(prefix);
        }
        narrow |= is_narrow(mem);
    }
    if inst.prefixes.has(Prefixes::NOTRACK) {
        out.put(0x3e);
    }
    if narrow {
        out.put(0x67);
    }
    let w = match row.w {
        W_BY_VARIANT => {
            row.axis == Axis::Operand && variant == 2 && row.flags & (flag::DEFAULT64 | flag::IGNORE_W) == 0
        }
        w => w == 1,
    };
    match row.space {
        Space::Legacy => legacy(out, row, variant, inst, parts, w),
        Space::Vex | Space::Xop => vex(out, row, variant, inst, parts, w),
        Space::Evex => evex(out, row, variant, inst, parts, w),
    }
}

/// Whether the address is computed in 32 bits.
fn is_narrow(mem: &Mem) -> bool {
    [mem.base, mem.index].into_iter().flatten().any(|reg| {
        reg.class == RegClass::R32 || (matches!(reg.class, RegClass::Rip | RegClass::NoIndex) && reg.num == 1)
    })
}

/// The fourth bit of base (or ModRM.rm) and index, as 1 and 2.
fn extension_bits(parts: &Parts) -> (u8, u8) {
    match &parts.mem {
        Some(mem) => {
            let base = mem.base.filter(|r| r.class != RegClass::Rip).map_or(0, |r| r.num);
            let index = mem.index.filter(|r| r.class != RegClass::NoIndex).map_or(0, |r| r.num);
            (base, index)
        }
        None => (parts.rm.map_or(parts.opcode_high, |r| r.num), 0),
    }
}

#[inline]
fn legacy(
    out: &mut Encoded,
    row: &Row,
    variant: usize,
    inst: &Inst,
    parts: &Parts,
    w: bool,
) -> Result<bool, EncodeError> {
    let sized16 = row.axis == Axis::Operand && variant == 0 && row.flags & flag::IGNORE_66 == 0;
    if sized16 || row.pp == 1 || row.flags & flag::DATA16 != 0 || inst.prefixes.has(Prefixes::DATA16) {
        out.put(0x66);
    }
    if row.pp == 3 || inst.prefixes.has(Prefixes::REPNE) || inst.prefixes.has(Prefixes::XACQUIRE) {
        out.put(0xf2);
    }
    if row.pp == 2 || inst.prefixes.has(Prefixes::REP) || inst.prefixes.has(Prefixes::XRELEASE) {
        out.put(0xf3);
    }
    if inst.prefixes.has(Prefixes::LOCK) {
        out.put(0xf0);
    }
    let (b, x) = extension_bits(parts);
    let r = if row.digit == ABSENT { parts.reg } else { 0 };
    let w = w || inst.prefixes.has(Prefixes::REX64);
    let rex = u8::from(w) << 3 | (r >> 3 & 1) << 2 | (x >> 3 & 1) << 1 | b >> 3 & 1;
    let wide = (r | x | b) & 16 != 0 || row.flags & flag::REX2 != 0 || inst.prefixes.has(Prefixes::REX2);
    let needed = rex != 0 || parts.low_byte || inst.prefixes.has(Prefixes::REX);
    if parts.high_byte && (needed || wide) {
        return Err(EncodeError::HighByteWithRex {
            mnemonic: inst.mnemonic.name(),
        });
    }
    if wide {
        out.put(0xd5);
        out.put(u8::from(row.map == 1) << 7 | (r >> 4) << 6 | (x >> 4) << 5 | (b >> 4) << 4 | rex);
    } else {
        if needed {
            out.put(0x40 | rex);
        }
        match row.map {
            0 => {}
            1 => out.put(0x0f),
            map => {
                out.put(0x0f);
                out.put(if map == 2 { 0x38 } else { 0x3a });
            }
        }
    }
    let low = if row.tail == NO_BYTE { parts.opcode_low } else { 0 };
    out.put(row.opcode + low);
    Ok(needed)
}

fn vex(out: &mut Encoded, row: &Row, variant: usize, inst: &Inst, parts: &Parts, w: bool) -> Result<bool, EncodeError> {
    let (b, x) = extension_bits(parts);
    let r = if row.digit == ABSENT { parts.reg } else { 0 };
    let l = vector_length(row, variant);
    let inverted = |bit: u8| u8::from(bit & 8 == 0);
    let tail = (!parts.vvvv & 15) << 3 | (l & 1) << 2 | row.pp;
    let short = row.space == Space::Vex && row.map == 1 && !w && (x | b) & 8 == 0 && !inst.hints.has(Hints::VEX3);
    if short {
        out.put(0xc5);
        out.put(inverted(r) << 7 | tail);
    } else {
        out.put(if row.space == Space::Vex { 0xc4 } else { 0x8f });
        out.put(inverted(r) << 7 | inverted(x) << 6 | inverted(b) << 5 | row.map);
        out.put(u8::from(w) << 7 | tail);
    }
    out.put(row.opcode);
    Ok(false)
}

fn vector_length(row: &Row, variant: usize) -> u8 {
    match row.l {
        L_BY_VARIANT if row.axis == Axis::Vector => variant as u8,
        L_BY_VARIANT => 0,
        l => l,
    }
}

fn evex(
    out: &mut Encoded,
    row: &Row,
    variant: usize,
    inst: &Inst,
    parts: &Parts,
    w: bool,
) -> Result<bool, EncodeError> {
    if parts.high_byte {
        return Err(EncodeError::HighByteWithRex {
            mnemonic: inst.mnemonic.name(),
        });
    }
    let (b, mut x) = extension_bits(parts);
    let r = if row.digit == ABSENT { parts.reg } else { 0 };
    let mut b4 = 0;
    let mut x4 = 1;
    let mut v4 = u8::from(parts.vvvv & 16 == 0);
    match (&parts.mem, parts.rm) {
        (Some(mem), _) => {
            // A vector index keeps its fifth bit in V', a general one in X4 (inverted), a general base in B4.
            let vector_index = mem.index.is_some_and(|i| i.size_bytes() >= 16);
            if vector_index {
                v4 = u8::from(x & 16 == 0);
            } else {
                x4 = u8::from(x & 16 == 0);
            }
            b4 = b >> 4 & 1;
        }
        (None, Some(rm)) if rm.size_bytes() >= 16 => x = (rm.num >> 4) << 3,
        (None, Some(rm)) => b4 = rm.num >> 4 & 1,
        (None, None) => {}
    }
    let inverted = |value: u8, bit: u8| u8::from(value & bit == 0);
    let broadcast = parts.mem.is_some_and(|m| m.broadcast != 0);
    let mut l = vector_length(row, variant);
    match inst.rounding {
        Rounding::None => {}
        // The length is 512 or scalar; L'L is not read.
        Rounding::Sae => l = 0,
        mode => l = mode as u8 - 1,
    }
    let map4 = row.map == 4 || row.flags & (flag::NF | flag::NDD) != 0;
    let mut pp = row.pp;
    if map4 && row.axis == Axis::Operand && variant == 0 {
        pp = 1;
    }
    out.put(0x62);
    out.put(inverted(r, 8) << 7 | inverted(x, 8) << 6 | inverted(b, 8) << 5 | inverted(r, 16) << 4 | b4 << 3 | row.map);
    let vvvv = if row.flags & flag::DFV != 0 {
        inst.default_flags
    } else {
        !parts.vvvv & 15
    };
    out.put(u8::from(w) << 7 | vvvv << 3 | x4 << 2 | pp);
    let b_bit = broadcast || inst.rounding != Rounding::None;
    if row.flags & flag::DFV != 0 {
        // The condition stands in the low four bits; the row keeps it as its fixed last byte.
        out.put(row.last as u8 & 15);
    } else if map4 {
        let new_destination = row.flags & (flag::NDD | flag::ZU) != 0;
        let no_flags = row.flags & flag::NF_SET != 0 || inst.hints.has(Hints::NF);
        out.put(u8::from(new_destination) << 4 | v4 << 3 | u8::from(no_flags) << 2);
    } else {
        out.put(u8::from(inst.zeroing) << 7 | l << 5 | u8::from(b_bit) << 4 | v4 << 3 | inst.mask);
    }
    out.put(row.opcode + if row.tail == NO_BYTE { parts.opcode_low } else { 0 });
    Ok(false)
}

/// ModRM, SIB and displacement (SDM 2.1.5, 2.7.5).
fn memory(out: &mut Encoded, row: &Row, mem: &Mem, parts: &Parts) -> Result<(), EncodeError> {
    let reg = (parts.reg & 7) << 3;
    if mem.base.is_some_and(|base| base.class == RegClass::Rip) {
        out.put(reg | 5);
        return displacement32(out, mem, FixupKind::Relative);
    }
    let index_class = mem.index.map(|i| i.class);
    let index = match (mem.index, index_class) {
        (Some(index), Some(RegClass::R32 | RegClass::R64)) if index.num == 4 => {
            return Err(EncodeError::BadIndex { register: index });
        }
        (Some(index), Some(RegClass::NoIndex)) => Some(Reg::new(index.class, 4)),
        (index, _) => index,
    };
    let scale = mem.scale.trailing_zeros() as u8 & 3;
    let sib = |index: Option<Reg>, base: u8| scale << 6 | (index.map_or(4, |i| i.num) & 7) << 3 | base & 7;
    let Some(base) = mem.base else {
        out.put(reg | 4);
        out.put(sib(index, 5));
        let kind = if is_narrow(mem) {
            FixupKind::Absolute
        } else {
            FixupKind::AbsoluteSigned
        };
        return displacement32(out, mem, kind);
    };
    let (mode, disp) = displacement_mode(row, mem, base, parts.disp_unit);
    if index.is_some() || base.num & 7 == 4 || row.flags & flag::SIB != 0 {
        out.put(mode << 6 | reg | 4);
        out.put(sib(index, base.num));
    } else {
        out.put(mode << 6 | reg | base.num & 7);
    }
    match mode {
        0 => Ok(()),
        1 => {
            out.put(disp as u8);
            Ok(())
        }
        _ => displacement32(
            out,
            mem,
            if is_narrow(mem) {
                FixupKind::Absolute
            } else {
                FixupKind::AbsoluteSigned
            },
        ),
    }
}

/// ModRM.mod, and the 8-bit displacement if it is 1.
fn displacement_mode(row: &Row, mem: &Mem, base: Reg, unit: u8) -> (u8, i64) {
    if mem.symbolic.is_some() || mem.disp_size == DispSize::Disp32 {
        return (2, 0);
    }
    let unit = if row.space == Space::Evex && row.map != 4 && unit != 0 {
        i64::from(unit)
    } else {
        1
    };
    let disp = if is_narrow(mem) {
        i64::from(mem.disp as i32)
    } else {
        mem.disp
    };
    if disp == 0 && base.num & 7 != 5 && mem.disp_size == DispSize::Auto {
        return (0, 0);
    }
    match disp % unit == 0 && i8::try_from(disp / unit).is_ok() {
        true => (1, disp / unit),
        false => (2, disp),
    }
}

fn displacement32(out: &mut Encoded, mem: &Mem, kind: FixupKind) -> Result<(), EncodeError> {
    if mem.symbolic.is_some() {
        out.put_fixup(
            Imm {
                value: mem.disp,
                symbolic: mem.symbolic,
            },
            4,
            kind,
        );
        return Ok(());
    }
    let high = if kind == FixupKind::Absolute {
        i64::from(u32::MAX)
    } else {
        i64::from(i32::MAX)
    };
    if !(i64::from(i32::MIN)..=high).contains(&mem.disp) {
        return Err(EncodeError::Displacement { value: mem.disp });
    }
    out.put_value(mem.disp, 4);
    Ok(())
}

/// Immediates, branch targets, absolute addresses and fixed last bytes.
fn immediates(out: &mut Encoded, row: &Row, variant: usize, inst: &Inst, parts: &Parts) {
    for (index, operand) in inst.operands().iter().enumerate() {
        let class = row.ops[index];
        match (class.slot(), operand) {
            (Slot::Imm, Operand::Imm(imm)) => {
                let size = match class.size() {
                    b"b" | b"s" => 1,
                    b"w" => 2,
                    b"d" => 4,
                    b"q" => 8,
                    b"z" => [2, 4, 4][variant],
                    b"v" => [2, 4, 8][variant],
                    _ => 0,
                };
                let signed = size == 4 && variant == 2 && row.axis == Axis::Operand;
                put_immediate(
                    out,
                    *imm,
                    size,
                    if signed {
                        FixupKind::AbsoluteSigned
                    } else {
                        FixupKind::Absolute
                    },
                );
            }
            (Slot::Rel, Operand::Target(target)) => {
                let size = if class.size() == b"b" { 1 } else { 4 };
                out.put_fixup(*target, size, FixupKind::Branch);
            }
            (Slot::Moffs, Operand::Mem(mem)) => {
                put_immediate(
                    out,
                    Imm {
                        value: mem.disp,
                        symbolic: mem.symbolic,
                    },
                    8,
                    FixupKind::Absolute,
                );
            }
            _ => {}
        }
    }
    if let Some(is4) = parts.is4 {
        out.put(is4);
    }
    if row.last != NO_BYTE && row.flags & flag::DFV == 0 {
        out.put(row.last as u8);
    }
}

#[inline]
fn put_immediate(out: &mut Encoded, imm: Imm, size: u8, kind: FixupKind) {
    if size == 0 {
        return;
    }
    if imm.symbolic.is_some() {
        out.put_fixup(imm, size, kind);
    } else {
        out.put_value(imm.value, size);
    }
}
