//! The encoder: a form and its operands to bytes.

use crate::EncodeError;
use crate::address;
use crate::class::Slot;
use crate::form::Form;
use crate::inst::{Inst, Prefixes};
use crate::operand::{Mem, Operand, Symbolic};
use crate::prefix::{self, Decoration};
use crate::reg::{Reg, RegClass};
use crate::row::{ABSENT, Mnemonic, NO_BYTE, Row, Space, flag};
use crate::select::{check_prefixes, select};

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

    #[inline(always)]
    pub(crate) fn put(&mut self, byte: u8) {
        self.bytes[self.len % CAPACITY] = byte;
        self.len += 1;
    }

    /// The low `len` bytes of up to four.
    #[inline(always)]
    pub(crate) fn put_word(&mut self, word: u32, len: u8) {
        let at = self.len.min(CAPACITY - 4);
        self.bytes[at..at + 4].copy_from_slice(&word.to_le_bytes());
        self.len += len as usize;
    }

    /// The low `size` bytes; what is written behind them is overwritten or not shown.
    #[inline(always)]
    pub(crate) fn put_value(&mut self, value: i64, size: u8) {
        // No prefix, opcode and address are longer than this.
        let at = self.len.min(CAPACITY - 8);
        let bytes = value.to_le_bytes();
        match size {
            1 => self.bytes[at] = bytes[0],
            2 => self.bytes[at..at + 2].copy_from_slice(&bytes[..2]),
            4 => self.bytes[at..at + 4].copy_from_slice(&bytes[..4]),
            _ => self.bytes[at..at + 8].copy_from_slice(&bytes),
        }
        self.len += size as usize;
    }

    #[inline(always)]
    pub(crate) fn put_fixup(&mut self, symbolic: Symbolic, addend: i64, size: u8, kind: FixupKind) {
        if OPEN {
            self.fixups[self.fixup_count & 1] = Fixup {
                offset: self.len as u8,
                size,
                to_end: 0,
                kind,
                relaxable: 0,
                symbolic,
                addend,
            };
            self.fixup_count += 1;
        }
        self.put_value(0, size);
    }

    #[inline(always)]
    pub(crate) fn len(&self) -> usize {
        self.len
    }
}

/// The operands as the encoder wants them.
#[derive(Clone, Copy)]
pub(crate) struct Parts<'a> {
    /// The register in each [`Slot`].
    numbers: [u8; 16],
    pub(crate) mem: Option<&'a Mem>,
    /// The immediate of 4 bits in the last byte.
    low4: u8,
    /// The segment of the memory operand can be overridden.
    pub(crate) segment: bool,
    /// The address is computed in 32 bits.
    pub(crate) narrow: bool,
    /// REX has to be there (`spl`) or must not (`ah`).
    pub(crate) low_byte: bool,
    pub(crate) high_byte: bool,
}

impl<'a> Parts<'a> {
    #[inline(always)]
    pub(crate) fn new() -> Self {
        Self {
            numbers: [0; 16],
            mem: None,
            low4: 0,
            segment: true,
            narrow: false,
            low_byte: false,
            high_byte: false,
        }
    }

    #[inline(always)]
    pub(crate) fn register(&mut self, form: &Form, slot: Slot, reg: Reg) {
        if form.bytes {
            self.low_byte |= reg.class == RegClass::R8 && (4..8).contains(&reg.num);
            self.high_byte |= reg.class == RegClass::High8;
        }
        self.numbers[slot as usize % 16] = reg.num;
        if form.doubled {
            self.numbers[Slot::Reg as usize] = reg.num;
            self.numbers[Slot::Rm as usize] = reg.num;
        }
    }

    /// What goes into ModRM.reg.
    #[inline(always)]
    pub(crate) fn reg(&self, form: &Form) -> u8 {
        if form.digit == ABSENT {
            self.numbers[Slot::Reg as usize]
        } else {
            form.digit
        }
    }

    /// The register in ModRM.rm or in the opcode, where it is no memory.
    #[inline(always)]
    pub(crate) fn rm(&self) -> u8 {
        self.numbers[Slot::Rm as usize] | self.numbers[Slot::Opcode as usize]
    }

    #[inline(always)]
    pub(crate) fn vvvv(&self) -> u8 {
        self.numbers[Slot::Vvvv as usize]
    }

    /// What is added to the opcode, or to the fixed byte behind it.
    #[inline(always)]
    pub(crate) fn opcode_low(&self) -> u8 {
        self.numbers[Slot::Opcode as usize] & 7
    }

    /// An operand of a string instruction: only its segment and its address size are encoded.
    #[cold]
    fn string(&mut self, source: bool, mem: &'a Mem) {
        if source || self.mem.is_none() {
            self.mem = Some(mem);
            self.segment = source;
        }
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
    let has_rex = prefix::put(out, form, parts, with)?;
    if form.tail != NO_BYTE {
        out.put(form.tail as u8 + parts.opcode_low());
    } else if form.modrm {
        match parts.mem {
            Some(mem) => address::put(out, form, mem, parts)?,
            None => out.put(0xc0 | (parts.reg(form) & 7) << 3 | parts.rm() & 7),
        }
    }
    Ok(has_rex)
}

/// Writes the fixed last byte.
#[inline(always)]
pub(crate) fn put_last<const OPEN: bool>(out: &mut Out<'_, OPEN>, form: &Form, parts: &Parts<'_>) {
    if form.is4 {
        out.put(parts.numbers[Slot::Is4 as usize] << 4 | parts.low4);
    }
    if form.last != NO_BYTE && !form.has(flag::DFV) {
        out.put(form.last as u8);
    }
}

/// Encodes one instruction.
///
/// # Errors
/// Where no form takes these operands, or where the operands leave its size open.
#[inline]
pub fn encode(inst: &Inst) -> Result<Encoded, EncodeError> {
    let (row, variant) = select(inst)?;
    if inst.prefixes != Prefixes::NONE {
        check_prefixes(row, inst)?;
    }
    let mut bytes = [0; CAPACITY];
    let mut out = Out::<true>::new(&mut bytes);
    let form = Form::new(row, variant);
    put(&mut out, &form, row, inst.operands(), &inst.decoration()).map_err(|fault| fault.explain(inst.mnemonic))?;
    let (len, fixup_count, fixups) = (out.len as u8, out.fixup_count as u8, out.fixups);
    Ok(Encoded {
        bytes,
        len,
        fixup_count,
        fixups,
    })
}

/// Writes one instruction of a form that takes its operands.
#[inline(always)]
pub(crate) fn put<const OPEN: bool>(
    out: &mut Out<'_, OPEN>,
    form: &Form,
    row: &Row,
    operands: &[Operand],
    with: &Decoration,
) -> Result<(), Fault> {
    let mut parts = Parts::new();
    for (index, operand) in operands.iter().enumerate() {
        let slot = form.slots[index];
        match operand {
            Operand::Reg(reg) => parts.register(form, slot, *reg),
            Operand::Mem(mem) => {
                parts.narrow |= address::is_narrow(mem);
                if slot == Slot::Implied {
                    let letter = row.ops[index].letter();
                    check_string_operand(letter, mem)?;
                    parts.string(letter == b's', mem);
                } else {
                    parts.mem = Some(mem);
                }
            }
            Operand::Imm(imm) if form.is4 && slot == Slot::Imm && form.sizes[index] == 0 => {
                parts.low4 = imm.value as u8 & 15;
            }
            _ => {}
        }
    }
    if form.has(flag::DISTINCT | flag::ADDRESS_REG | flag::ADDR64 | flag::NO_RIP) {
        parts.narrow |= check_operands(form, operands, parts.mem)?;
    }
    let has_rex = put_head(out, form, &parts, with)?;
    if form.immediate {
        for (index, operand) in operands.iter().enumerate() {
            put_immediate(out, form, index, operand);
        }
    }
    put_last(out, form, &parts);
    if OPEN && out.fixup_count != 0 {
        finish_fixups(out, form, has_rex);
    }
    if out.len > LONGEST {
        return Err(Fault::TooLong(out.len));
    }
    Ok(())
}

/// Immediates, branch targets and absolute addresses.
#[inline(always)]
fn put_immediate<const OPEN: bool>(out: &mut Out<'_, OPEN>, form: &Form, index: usize, operand: &Operand) {
    let size = form.sizes[index];
    let (value, symbolic, kind) = match (form.slots[index], operand) {
        (Slot::Imm, Operand::Imm(imm)) if size != 0 => {
            let signed = form.signed && size == 4;
            let kind = if signed {
                FixupKind::AbsoluteSigned
            } else {
                FixupKind::Absolute
            };
            (imm.value, imm.symbolic, kind)
        }
        (Slot::Rel, Operand::Target(target)) => {
            // An absolute target is open too: nobody knows yet where the instruction is.
            out.put_fixup(target.symbolic, target.value, size, FixupKind::Branch);
            return;
        }
        (Slot::Moffs, Operand::Mem(mem)) => (mem.disp, mem.symbolic, FixupKind::Absolute),
        _ => return,
    };
    if symbolic.is_some() {
        out.put_fixup(symbolic, value, size, kind);
    } else {
        out.put_value(value, size);
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
    let load = form.opcode == 0x8b || form.opcode == 0x85 || form.opcode & !0x38 == 0x03;
    let branch = form.opcode == 0xff && matches!(form.digit, 2 | 4);
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

/// What some rows ask of their operands besides their classes. Returns whether the address size is 32 bits.
#[cold]
fn check_operands(form: &Form, operands: &[Operand], mem: Option<&Mem>) -> Result<bool, Fault> {
    if let Some(mem) = mem {
        address::check(form, mem)?;
    }
    if form.has(flag::DISTINCT) && form.space != Space::Vex {
        check_distinct(operands)?;
    }
    // The register operand of `enqcmd` and `movdir64b` is an address of the memory operand's kind.
    let (true, [Operand::Reg(reg), Operand::Mem(mem), ..]) = (form.has(flag::ADDRESS_REG), operands) else {
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
