//! The encoder: a form and its operands to bytes.

use crate::EncodeError;
use crate::address::{self, Address};
use crate::choices::choose;
use crate::class::Slot;
use crate::form::{Form, is};
use crate::inst::{Hints, Inst, Prefixes};
use crate::key::{Key, look, rare};
use crate::operand::{Mem, Operand, Symbolic};
use crate::prefix::{self, Decoration};
use crate::reg::{Reg, RegClass};
use crate::row::{Mnemonic, NO_BYTE, Row, Space, flag};
use crate::select::{Selected, check_prefixes, prefer_short, refusal, select_hinted, wrong_count};
use crate::simple;

/// Room for one instruction: 15 bytes at most (SDM 2.3.11), and what the encoder writes behind them.
pub(crate) const CAPACITY: usize = 32;
const LONGEST: usize = 15;

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

const NO_FIXUPS: [Fixup; 2] = [Fixup {
    offset: 0,
    size: 0,
    to_end: 0,
    kind: FixupKind::Absolute,
    relaxable: 0,
    symbolic: Symbolic::NONE,
    addend: 0,
}; 2];

/// The bytes of one instruction and its open places.
#[derive(Clone, Copy, Debug)]
pub struct Encoded {
    bytes: [u8; CAPACITY],
    len: u8,
    fixup_count: u8,
    fixups: [Fixup; 2],
}

impl Encoded {
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
}

/// Why a form cannot take its operands after all; [`Fault::explain`] makes the error of it.
#[doc(hidden)]
#[derive(Clone, Copy, Debug)]
pub enum Fault {
    HighByte,
    BadIndex(Reg),
    Displacement(i64),
    NotAllowed(&'static str),
    TooLong(usize),
}

impl Fault {
    #[cold]
    pub(crate) fn explain(self, mnemonic: Mnemonic) -> EncodeError {
        let mnemonic = mnemonic.name();
        match self {
            Self::HighByte => EncodeError::HighByteWithRex { mnemonic },
            Self::BadIndex(register) => EncodeError::BadIndex { register },
            Self::Displacement(value) => EncodeError::Displacement { value },
            Self::NotAllowed(what) => EncodeError::NotAllowed { mnemonic, what },
            Self::TooLong(length) => EncodeError::TooLong { mnemonic, length },
        }
    }
}

/// Where the bytes go. Where the caller knows that nothing is open, there are no fixups, and nothing is paid for them.
pub(crate) struct Out<'a, const OPEN: bool> {
    bytes: &'a mut [u8; CAPACITY],
    len: usize,
    fixups: [Fixup; 2],
    fixup_count: usize,
}

impl<'a, const OPEN: bool> Out<'a, OPEN> {
    #[inline(always)]
    pub(crate) fn new(bytes: &'a mut [u8; CAPACITY]) -> Self {
        Self {
            bytes,
            len: 0,
            fixups: NO_FIXUPS,
            fixup_count: 0,
        }
    }

    /// The low `len` bytes of eight, which all are written: what is behind is overwritten or not shown.
    #[inline(always)]
    pub(crate) fn put(&mut self, word: u64, len: u8) {
        // What is longer is refused in the end.
        let at = self.len % 16;
        self.bytes[at..at + 8].copy_from_slice(&word.to_le_bytes());
        self.len += len as usize;
    }

    /// An open place, `before` bytes behind what is written.
    #[inline(always)]
    pub(crate) fn put_fixup(&mut self, before: u8, symbolic: Symbolic, addend: i64, size: u8, kind: FixupKind) {
        if OPEN {
            self.fixups[self.fixup_count & 1] = Fixup {
                offset: self.len as u8 + before,
                size,
                to_end: 0,
                kind,
                relaxable: 0,
                symbolic,
                addend,
            };
            self.fixup_count += 1;
        }
    }

    #[inline(always)]
    pub(crate) fn len(&self) -> usize {
        self.len
    }
}

/// The operands as the encoder wants them.
#[derive(Clone, Copy)]
pub(crate) struct Parts<'a> {
    /// The number of each operand that is a register, in eight bits each.
    registers: u64,
    pub(crate) mem: Option<&'a Mem>,
    /// The immediate, if there is one only.
    pub(crate) value: u64,
    /// The immediate of 4 bits in the last byte.
    low4: u8,
    /// The segment of the memory operand can be overridden.
    pub(crate) segment: bool,
    /// What is rare of the operands, as [`rare`] has it.
    pub(crate) rare: u16,
}

impl<'a> Parts<'a> {
    #[inline(always)]
    pub(crate) fn new() -> Self {
        Self {
            registers: 0,
            mem: None,
            value: 0,
            low4: 0,
            segment: true,
            rare: 0,
        }
    }

    /// The register that is this operand, of which it is known that the form takes it.
    #[inline(always)]
    pub(crate) fn register(&mut self, operand: usize, reg: Reg) {
        if reg.class == RegClass::R8 && (4..8).contains(&reg.num) {
            self.rare |= rare::LOW_BYTE;
        }
        self.number(operand, reg.num);
    }

    /// The number of the register that is this operand.
    #[inline(always)]
    pub(crate) fn number(&mut self, operand: usize, number: u8) {
        self.registers |= u64::from(number) << (8 * operand as u32 % u64::BITS);
    }

    /// Whether the address is computed in 32 bits.
    #[inline(always)]
    pub(crate) fn narrow(&self) -> bool {
        self.rare & rare::NARROW != 0
    }

    /// The register in a place that a form has; 0 in one that it does not have.
    #[inline(always)]
    pub(crate) fn at(&self, place: u8) -> u8 {
        (self.registers >> (u32::from(place) % u64::BITS)) as u8
    }
}

/// Writes everything but immediates. Returns whether there is a REX prefix.
#[inline(always)]
pub(crate) fn put_head<const OPEN: bool>(
    out: &mut Out<'_, OPEN>,
    form: &Form,
    parts: &Parts<'_>,
    with: &Decoration,
) -> Result<bool, Fault> {
    let reg = (parts.at(form.reg) | form.digit()) & 7;
    let address = match parts.mem {
        Some(mem) if form.modrm() => address::address(form, mem, reg, parts.narrow())?,
        Some(_) => Address::NONE,
        None => {
            let rm = parts.at(form.rm);
            Address {
                bytes: u64::from(0xc0 | reg << 3 | rm & 7),
                len: form.modrm().into(),
                base: rm,
                index: 0,
                open: None,
            }
        }
    };
    let has_rex = prefix::put(out, form, parts, &address, with)?;
    if OPEN
        && let Some((before, kind)) = address.open
        && let Some(mem) = parts.mem
    {
        out.put_fixup(before, mem.symbolic, mem.disp, 4, kind);
    }
    out.put(address.bytes, address.len);
    Ok(has_rex)
}

/// Writes the last byte.
#[inline(always)]
pub(crate) fn put_last<const OPEN: bool>(out: &mut Out<'_, OPEN>, form: &Form, parts: &Parts<'_>) {
    if form.has(is::IS4) {
        out.put(u64::from(parts.at(form.is4) << 4 | parts.low4), 1);
    }
    if form.last != NO_BYTE && !form.has(is::DFV) {
        out.put(form.last.into(), 1);
    }
}

/// Encodes one instruction.
///
/// # Errors
/// Where no form takes these operands, or where the operands leave its size open.
#[inline]
pub fn encode(inst: &Inst) -> Result<Encoded, EncodeError> {
    let (numbers, mut parts) = look(inst.operands());
    let chosen = if inst.hints == Hints::NONE {
        choose(Key::of(inst, numbers))
    } else {
        select_hinted(inst, numbers)
    };
    let mut form = match chosen {
        Ok(form) => form,
        Err(selected) => return Err(refusal(selected, inst, numbers)),
    };
    if form.has(is::SWAP) {
        form = prefer_short(form, inst.hints, &parts);
    }
    let mut encoded = Encoded {
        bytes: [0; CAPACITY],
        len: 0,
        fixup_count: 0,
        fixups: NO_FIXUPS,
    };
    let written = if inst.is_plain() && parts.rare & rare::OPEN == 0 {
        put_closed(&mut encoded.bytes, form, inst.operands(), parts)
    } else {
        if inst.prefixes != Prefixes::NONE {
            check_prefixes(Row::at(form.row), inst)?;
        }
        put_open(&mut encoded, form, inst.operands(), &mut parts, &inst.decoration())
    };
    match written {
        Ok(len) => {
            encoded.len = len as u8;
            Ok(encoded)
        }
        Err(fault) => Err(fault.explain(inst.mnemonic)),
    }
}

/// Encodes an instruction without decorations. Returns how long it is; `None` if something is open in it.
#[inline(always)]
pub(crate) fn encode_closed(
    bytes: &mut [u8; CAPACITY],
    mnemonic: Mnemonic,
    operands: &[Operand],
) -> Result<Option<usize>, EncodeError> {
    if operands.len() > 5 {
        return Err(wrong_count(mnemonic, operands.len()));
    }
    let (numbers, parts) = look(operands);
    let form = match choose(Key::plain(mnemonic, numbers)) {
        Ok(form) => form,
        Err(selected) => return Err(refusal_of(selected, mnemonic, operands, numbers)),
    };
    if parts.rare | form.is(is::RARE | is::SWAP) != 0 {
        return encode_rare(bytes, form, mnemonic, operands);
    }
    Ok(Some(simple::put(bytes, form, &parts)))
}

/// Looks again, which takes less time than to keep for few what was seen.
#[inline(never)]
fn encode_rare(
    bytes: &mut [u8; CAPACITY],
    mut form: &'static Form,
    mnemonic: Mnemonic,
    operands: &[Operand],
) -> Result<Option<usize>, EncodeError> {
    let (_, parts) = look(operands);
    if parts.rare & rare::OPEN != 0 {
        return Ok(None);
    }
    if form.has(is::SWAP) {
        form = prefer_short(form, Hints::NONE, &parts);
    }
    match put_closed(bytes, form, operands, parts) {
        Ok(len) => Ok(Some(len)),
        Err(fault) => Err(fault.explain(mnemonic)),
    }
}

#[cold]
#[inline(never)]
fn refusal_of(selected: Selected, mnemonic: Mnemonic, operands: &[Operand], numbers: u64) -> EncodeError {
    refusal(selected, &Inst::with(mnemonic, operands), numbers)
}

/// Writes an instruction without decorations in which nothing is open.
#[inline(always)]
fn put_closed<'a>(
    bytes: &mut [u8; CAPACITY],
    form: &Form,
    operands: &'a [Operand],
    parts: Parts<'a>,
) -> Result<usize, Fault> {
    if parts.rare != 0 || form.has(is::RARE) {
        return put_rare(bytes, form, operands, parts);
    }
    Ok(simple::put(bytes, form, &parts))
}

#[inline(never)]
fn put_rare<'a>(
    bytes: &mut [u8; CAPACITY],
    form: &Form,
    operands: &'a [Operand],
    mut parts: Parts<'a>,
) -> Result<usize, Fault> {
    let mut out = Out::<false>::new(bytes);
    put(&mut out, form, operands, &mut parts, &Decoration::NONE)?;
    Ok(out.len)
}

/// Writes any instruction, with its open places.
#[inline(never)]
fn put_open<'a>(
    encoded: &mut Encoded,
    form: &Form,
    operands: &'a [Operand],
    parts: &mut Parts<'a>,
    with: &Decoration,
) -> Result<usize, Fault> {
    let mut out = Out::<true>::new(&mut encoded.bytes);
    let has_rex = put(&mut out, form, operands, parts, with)?;
    finish_fixups(&mut out, form, has_rex);
    let len = out.len;
    (encoded.fixups, encoded.fixup_count) = (out.fixups, out.fixup_count as u8);
    // What is behind the instruction is nobody's, and what is open is zero.
    Ok(len)
}

/// Writes one instruction of a form that takes its operands. Returns whether there is a REX prefix.
#[inline(always)]
fn put<'a, const OPEN: bool>(
    out: &mut Out<'_, OPEN>,
    form: &Form,
    operands: &'a [Operand],
    parts: &mut Parts<'a>,
    with: &Decoration,
) -> Result<bool, Fault> {
    if form.has(is::PARTICULAR) {
        look_closely(Row::at(form.row), operands, parts)?;
    }
    let has_rex = put_head(out, form, parts, with)?;
    if form.trailers[0].size != 0 {
        put_trailer(out, form, 0, operands);
        if form.trailers[1].size != 0 {
            put_trailer(out, form, 1, operands);
        }
    }
    put_last(out, form, parts);
    if out.len > LONGEST {
        return Err(Fault::TooLong(out.len));
    }
    Ok(has_rex)
}

/// What some rows ask of their operands besides their classes.
#[cold]
#[inline(never)]
fn look_closely<'a>(row: &Row, operands: &'a [Operand], parts: &mut Parts<'a>) -> Result<(), Fault> {
    let mut string = false;
    for (class, operand) in row.ops.iter().zip(operands) {
        match operand {
            // Of string operands only the segment of `ds:[rsi]` and the address size are encoded.
            Operand::Mem(mem) if class.slot() == Slot::Implied => {
                let source = class.letter() == b's';
                check_string_operand(class.letter(), mem)?;
                if source || !string {
                    parts.mem = Some(mem);
                    parts.segment = source;
                }
                string = true;
            }
            Operand::Imm(imm) if class.is_4_bits() => parts.low4 = imm.value as u8 & 15,
            _ => {}
        }
    }
    if row.flags & (flag::DISTINCT | flag::ADDRESS_REG | flag::ADDR64 | flag::NO_RIP) != 0 {
        let narrow = check_operands(row, operands, parts.mem)?;
        parts.rare |= if narrow { rare::NARROW } else { 0 };
    }
    Ok(())
}

/// Immediates, branch targets and absolute addresses.
#[inline(always)]
fn put_trailer<const OPEN: bool>(out: &mut Out<'_, OPEN>, form: &Form, which: usize, operands: &[Operand]) {
    let trailer = form.trailers[which];
    let size = trailer.size;
    let (value, symbolic, kind) = match operands.get(trailer.operand as usize) {
        Some(Operand::Imm(imm)) => {
            let kind = if form.is_signed() && size == 4 {
                FixupKind::AbsoluteSigned
            } else {
                FixupKind::Absolute
            };
            (imm.value, imm.symbolic, kind)
        }
        Some(Operand::Target(target)) => {
            // An absolute target is open too: nobody knows yet where the instruction is.
            out.put_fixup(0, target.symbolic, target.value, size, FixupKind::Branch);
            out.put(0, size);
            return;
        }
        Some(Operand::Mem(mem)) => (mem.disp, mem.symbolic, FixupKind::Absolute),
        _ => return,
    };
    if OPEN && symbolic.is_some() {
        out.put_fixup(0, symbolic, value, size, kind);
        out.put(0, size);
    } else {
        out.put(value as u64, size);
    }
}

fn finish_fixups<const OPEN: bool>(out: &mut Out<'_, OPEN>, form: &Form, has_rex: bool) {
    for fixup in &mut out.fixups {
        fixup.to_end = (out.len as u8).wrapping_sub(fixup.offset);
        if fixup.kind == FixupKind::Relative {
            fixup.relaxable = relaxable(form, has_rex);
        }
    }
}

/// The instructions of psABI B.2: `mov`, `test`, the eight binary operations, indirect `call` and `jmp`.
fn relaxable(form: &Form, has_rex: bool) -> u8 {
    let opcode = form.opcode();
    let load = opcode == 0x8b || opcode == 0x85 || opcode & !0x38 == 0x03;
    let branch = opcode == 0xff && matches!(form.digit(), 2 | 4);
    match form.space == Space::Legacy && form.map == 0 && (load || branch) {
        false => 0,
        true if has_rex => 2,
        true => 1,
    }
}

/// `ds:[rsi]` and `es:[rdi]`.
fn check_string_operand(letter: u8, mem: &Mem) -> Result<(), Fault> {
    let right = match (letter, mem.base, mem.index) {
        // `es` cannot be overridden, so stating it says nothing.
        (b'd', Some(base), None) => base.num == 7 && mem.segment <= 1,
        (b's', Some(base), None) => base.num == 6 || base.num == 3,
        _ => false,
    };
    if right && mem.disp == 0 && !mem.symbolic.is_some() {
        return Ok(());
    }
    Err(Fault::NotAllowed("this address: a string operand is [rsi] or es:[rdi]"))
}

/// Returns whether the address size is 32 bits.
fn check_operands(row: &Row, operands: &[Operand], mem: Option<&Mem>) -> Result<bool, Fault> {
    if let Some(mem) = mem {
        address::check(row, mem)?;
    }
    if row.flags & flag::DISTINCT != 0 && row.space != Space::Vex {
        check_distinct(operands)?;
    }
    // The register operand of `enqcmd` and `movdir64b` is an address of the memory operand's kind.
    let (true, [Operand::Reg(reg), Operand::Mem(mem), ..]) = (row.flags & flag::ADDRESS_REG != 0, operands) else {
        return Ok(false);
    };
    let narrow = reg.class == RegClass::R32;
    let known = mem.base.is_some() || mem.index.is_some();
    if known && address::is_narrow(mem) != narrow {
        return Err(Fault::NotAllowed("addresses of two sizes"));
    }
    Ok(narrow)
}

/// The destination is none of the sources.
fn check_distinct(operands: &[Operand]) -> Result<(), Fault> {
    let register = |operand: &Operand| match operand {
        Operand::Reg(reg) => Some(reg.num),
        Operand::Mem(mem) => mem
            .index
            .filter(|index| index.size_bytes() >= 16)
            .map(|index| index.num),
        _ => None,
    };
    let mut numbers = operands.iter().map(register);
    let first = numbers.next().flatten();
    if first.is_some() && numbers.any(|number| number == first) {
        return Err(Fault::NotAllowed("the same register twice"));
    }
    Ok(())
}
