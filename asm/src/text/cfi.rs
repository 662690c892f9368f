//! `.cfi_*` to `.eh_frame` and `.debug_frame` (DWARF 5, 6.4; LSB, `.eh_frame`).

use alloc::vec::Vec;

use super::cursor::Cursor;
use super::{Assembler, Fail, fail};
use crate::encode::FixupKind;
use crate::relax::uleb_size;
use crate::section::{Fix, Section, elf};
use crate::symbol::{Place, SectionId, Value};

type Done = Result<(), Fail>;

/// DW_EH_PE_*
const PE_OMIT: u8 = 0xff;
const PE_PCREL_SDATA4: u8 = 0x1b;
const DATA_ALIGN: i64 = -8;
const RETURN_ADDRESS: u64 = 16;
const NOP: u8 = 0;

/// A place in a section before its size is final: offset and item.
type Spot = (u64, u32);

/// One call frame instruction.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Op {
    DefCfa(u64, i64),
    DefCfaRegister(u64),
    DefCfaOffset(i64),
    Offset(u64, i64),
    ValOffset(u64, i64),
    Register(u64, u64),
    Restore(u64),
    Undefined(u64),
    SameValue(u64),
    Remember,
    RestoreState,
    WindowSave,
    Escape(Vec<u8>),
}

/// A pointer of the augmentation: how it is encoded, and what it points at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Pointer {
    encoding: u8,
    value: Value,
}

impl Pointer {
    const NONE: Self = Self {
        encoding: PE_OMIT,
        value: Value::constant(0),
    };
}

/// A function's frame information.
#[derive(Debug)]
struct Frame {
    section: SectionId,
    start: Spot,
    end: Option<Spot>,
    ops: Vec<(Spot, Op)>,
    personality: Pointer,
    lsda: Pointer,
    signal: bool,
    return_address: u64,
    line: u32,
}

/// The state of the CFI directives.
#[derive(Debug)]
pub(super) struct Cfi {
    frames: Vec<Frame>,
    open: bool,
    /// The CFA's offset from its register, and those saved by `.cfi_remember_state`.
    offset: i64,
    saved: Vec<i64>,
    eh_frame: bool,
    debug_frame: bool,
}

impl Default for Cfi {
    fn default() -> Self {
        Self {
            frames: Vec::new(),
            open: false,
            offset: 0,
            saved: Vec::new(),
            eh_frame: true,
            debug_frame: false,
        }
    }
}

/// A CIE that has been written.
struct Shared {
    offset: u64,
    personality: Pointer,
    lsda_encoding: u8,
    signal: bool,
    return_address: u64,
    ops: Vec<Op>,
}

impl Assembler<'_> {
    fn spot(&self) -> Spot {
        let section = &self.unit.sections[self.current as usize];
        (section.fixed_size(), section.item_count())
    }

    pub(super) fn cfi_directive(&mut self, cursor: &mut Cursor<'_>, name: &[u8]) -> Option<Done> {
        let rest = name.strip_prefix(b".cfi_")?;
        match rest {
            b"startproc" => return Some(self.start_frame(cursor)),
            b"sections" => return Some(self.cfi_sections(cursor)),
            _ => {}
        }
        if !self.cfi.open {
            return Some(fail("a CFI directive outside of .cfi_startproc and .cfi_endproc"));
        }
        Some(self.frame_directive(cursor, rest))
    }

    fn start_frame(&mut self, cursor: &mut Cursor<'_>) -> Done {
        if self.cfi.open {
            return fail("the .cfi_startproc before this has no .cfi_endproc");
        }
        let simple = cursor.name() == b"simple";
        let start = self.spot();
        let mut ops = Vec::new();
        if !simple {
            ops.push((start, Op::DefCfa(7, 8)));
            ops.push((start, Op::Offset(RETURN_ADDRESS, -8)));
        }
        self.cfi.frames.push(Frame {
            section: self.current,
            start,
            end: None,
            ops,
            personality: Pointer::NONE,
            lsda: Pointer::NONE,
            signal: false,
            return_address: RETURN_ADDRESS,
            line: self.line,
        });
        self.cfi.open = true;
        self.cfi.offset = if simple { 0 } else { 8 };
        self.cfi.saved.clear();
        Ok(())
    }

    /// `.cfi_sections .eh_frame, .debug_frame`
    fn cfi_sections(&mut self, cursor: &mut Cursor<'_>) -> Done {
        (self.cfi.eh_frame, self.cfi.debug_frame) = (false, false);
        while !cursor.at_end() {
            match cursor.name() {
                b".eh_frame" => self.cfi.eh_frame = true,
                b".debug_frame" => self.cfi.debug_frame = true,
                _ => return fail(".eh_frame or .debug_frame is expected"),
            }
            cursor.eat(b',');
        }
        Ok(())
    }

    fn frame_directive(&mut self, cursor: &mut Cursor<'_>, name: &[u8]) -> Done {
        match name {
            b"endproc" => {
                let end = self.spot();
                self.cfi.open = false;
                if let Some(frame) = self.cfi.frames.last_mut() {
                    if frame.section != self.current {
                        return fail("this function began in another section");
                    }
                    frame.end = Some(end);
                }
                return Ok(());
            }
            b"personality" | b"lsda" => return self.pointer(cursor, name == b"lsda"),
            b"signal_frame" => {
                if let Some(frame) = self.cfi.frames.last_mut() {
                    frame.signal = true;
                }
                return Ok(());
            }
            b"return_column" => {
                let register = self.cfi_register(cursor)?;
                if let Some(frame) = self.cfi.frames.last_mut() {
                    frame.return_address = register;
                }
                return Ok(());
            }
            _ => {}
        }
        let op = self.frame_op(cursor, name)?;
        match op {
            Some(op) => self.add_op(op),
            None => Ok(()),
        }
    }

    /// A directive that is a call frame instruction.
    fn frame_op(&mut self, cursor: &mut Cursor<'_>, name: &[u8]) -> Result<Option<Op>, Fail> {
        Ok(Some(match name {
            b"def_cfa" => {
                let (register, offset) = self.register_and_offset(cursor)?;
                self.cfi.offset = offset;
                Op::DefCfa(register, offset)
            }
            b"def_cfa_register" => Op::DefCfaRegister(self.cfi_register(cursor)?),
            b"def_cfa_offset" => {
                self.cfi.offset = self.number(cursor)?;
                Op::DefCfaOffset(self.cfi.offset)
            }
            b"adjust_cfa_offset" => {
                self.cfi.offset += self.number(cursor)?;
                Op::DefCfaOffset(self.cfi.offset)
            }
            b"offset" => {
                let (register, offset) = self.register_and_offset(cursor)?;
                Op::Offset(register, offset)
            }
            b"rel_offset" => {
                let (register, offset) = self.register_and_offset(cursor)?;
                Op::Offset(register, offset - self.cfi.offset)
            }
            b"val_offset" => {
                let (register, offset) = self.register_and_offset(cursor)?;
                Op::ValOffset(register, offset)
            }
            b"register" => {
                let register = self.cfi_register(cursor)?;
                cursor.eat(b',');
                Op::Register(register, self.cfi_register(cursor)?)
            }
            b"restore" | b"undefined" | b"same_value" => {
                self.register_list(cursor, name)?;
                return Ok(None);
            }
            b"remember_state" => {
                self.cfi.saved.push(self.cfi.offset);
                Op::Remember
            }
            b"restore_state" => {
                match self.cfi.saved.pop() {
                    Some(offset) => self.cfi.offset = offset,
                    None => return fail(".cfi_restore_state without .cfi_remember_state"),
                }
                Op::RestoreState
            }
            b"window_save" => Op::WindowSave,
            b"escape" => {
                let mut bytes = Vec::new();
                loop {
                    bytes.push(self.number(cursor)? as u8);
                    if !cursor.eat(b',') {
                        break;
                    }
                }
                Op::Escape(bytes)
            }
            b"label" => {
                cursor.skip_statement();
                return fail(".cfi_label is not supported");
            }
            _ => return fail("there is no such CFI directive"),
        }))
    }

    fn add_op(&mut self, op: Op) -> Done {
        let spot = self.spot();
        let current = self.current;
        let Some(frame) = self.cfi.frames.last_mut() else {
            return fail("no function is open");
        };
        if frame.section != current {
            return fail("this function began in another section");
        }
        frame.ops.push((spot, op));
        Ok(())
    }

    fn register_list(&mut self, cursor: &mut Cursor<'_>, name: &[u8]) -> Done {
        loop {
            let register = self.cfi_register(cursor)?;
            self.add_op(match name {
                b"restore" => Op::Restore(register),
                b"undefined" => Op::Undefined(register),
                _ => Op::SameValue(register),
            })?;
            if !cursor.eat(b',') {
                return Ok(());
            }
        }
    }

    fn register_and_offset(&mut self, cursor: &mut Cursor<'_>) -> Result<(u64, i64), Fail> {
        let register = self.cfi_register(cursor)?;
        if !cursor.eat(b',') {
            return fail("a `,` and an offset are expected");
        }
        Ok((register, self.number(cursor)?))
    }

    /// A DWARF register: a number or a name (psABI, figure 3.36).
    fn cfi_register(&mut self, cursor: &mut Cursor<'_>) -> Result<u64, Fail> {
        use crate::reg::RegClass as C;
        cursor.skip_space();
        let start = *cursor;
        let percent = cursor.eat(b'%');
        if let Some(reg) = super::att::register_name(cursor) {
            const ORDER: [u64; 8] = [0, 2, 1, 3, 7, 6, 4, 5];
            let number = match reg.class {
                C::R64 if reg.num < 8 => ORDER[reg.num as usize],
                C::R64 => reg.num.into(),
                C::Rip => 16,
                C::Xmm if reg.num < 16 => 17 + u64::from(reg.num),
                C::Xmm => 67 + u64::from(reg.num) - 16,
                C::St => 33 + u64::from(reg.num),
                C::Mm => 41 + u64::from(reg.num),
                C::Seg => 50 + u64::from(reg.num),
                C::K => 118 + u64::from(reg.num),
                _ => return fail("this register has no DWARF number"),
            };
            return Ok(number);
        }
        *cursor = start;
        if percent {
            return fail("there is no such register");
        }
        Ok(self.number(cursor)? as u64)
    }

    /// `.cfi_personality encoding, symbol` and `.cfi_lsda`
    fn pointer(&mut self, cursor: &mut Cursor<'_>, lsda: bool) -> Done {
        let encoding = self.number(cursor)? as u8;
        let mut pointer = Pointer::NONE;
        if encoding != PE_OMIT {
            if !cursor.eat(b',') {
                return fail("a `,` and a symbol are expected");
            }
            pointer = Pointer {
                encoding,
                value: self.expression(cursor)?,
            };
            if encoded_size(encoding) == 0 {
                return fail("this pointer encoding is not supported");
            }
        }
        if let Some(frame) = self.cfi.frames.last_mut() {
            *(if lsda { &mut frame.lsda } else { &mut frame.personality }) = pointer;
        }
        Ok(())
    }

    pub(super) fn check_cfi(&mut self) {
        if self.cfi.open {
            let line = self.cfi.frames.last().map_or(0, |frame| frame.line);
            self.report_line(line, "this .cfi_startproc has no .cfi_endproc");
        }
    }

    /// Writes the frame sections; everything else has its final place.
    pub(super) fn write_frames(&mut self) {
        let frames = core::mem::take(&mut self.cfi.frames);
        if frames.is_empty() {
            return;
        }
        if self.cfi.eh_frame {
            let id = self.find_section(b".eh_frame").unwrap_or_else(|| {
                self.unit
                    .sections
                    .push(Section::new(b".eh_frame", elf::SHT_PROGBITS, elf::SHF_ALLOC));
                self.unit.sections.len() as SectionId - 1
            });
            self.frame_section(id, &frames, true);
        }
        if self.cfi.debug_frame {
            let id = self.find_section(b".debug_frame").unwrap_or_else(|| {
                self.unit
                    .sections
                    .push(Section::new(b".debug_frame", elf::SHT_PROGBITS, 0));
                self.unit.sections.len() as SectionId - 1
            });
            self.frame_section(id, &frames, false);
        }
    }

    fn frame_section(&mut self, id: SectionId, frames: &[Frame], eh: bool) {
        let mut shared: Vec<Shared> = Vec::new();
        self.unit.sections[id as usize].align = 8;
        for (index, frame) in frames.iter().enumerate() {
            let initial = frame.initial_ops();
            // The latest CIE whose instructions this function begins with; what it has more stays in its FDE.
            let known = shared.iter().rposition(|cie| {
                cie.ops.len() <= initial
                    && cie.personality == frame.personality
                    && cie.lsda_encoding == frame.lsda.encoding
                    && cie.signal == frame.signal
                    && cie.return_address == frame.return_address
                    && cie.ops.iter().eq(frame.ops[..cie.ops.len()].iter().map(|(_, op)| op))
            });
            let cie = match known {
                Some(known) => known,
                None => {
                    let offset = self.write_cie(id, frame, initial, eh);
                    shared.push(Shared {
                        offset,
                        personality: frame.personality,
                        lsda_encoding: frame.lsda.encoding,
                        signal: frame.signal,
                        return_address: frame.return_address,
                        ops: frame.ops[..initial].iter().map(|(_, op)| op.clone()).collect(),
                    });
                    shared.len() - 1
                }
            };
            let align = if index + 1 == frames.len() || !eh { 8 } else { 4 };
            let shared = &shared[cie];
            self.write_fde(id, frame, shared.ops.len(), shared.offset, eh, align);
        }
    }

    fn write_cie(&mut self, id: SectionId, frame: &Frame, initial: usize, eh: bool) -> u64 {
        let start = self.unit.sections[id as usize].bytes.len();
        let out = &mut self.unit.sections[id as usize].bytes;
        out.extend([0; 4]);
        out.extend(if eh { 0u32 } else { u32::MAX }.to_le_bytes());
        out.push(1);
        let mut data = Vec::new();
        if eh {
            out.push(b'z');
            if frame.personality.encoding != PE_OMIT {
                out.push(b'P');
            }
            if frame.lsda.encoding != PE_OMIT {
                out.push(b'L');
            }
            out.push(b'R');
        }
        if frame.signal {
            out.push(b'S');
        }
        out.push(0);
        put_uleb(out, 1);
        put_sleb(out, DATA_ALIGN);
        out.push(frame.return_address as u8);
        if eh {
            let personality = encoded_size(frame.personality.encoding);
            let has_lsda = u64::from(frame.lsda.encoding != PE_OMIT);
            put_uleb(
                out,
                1 + if personality != 0 {
                    1 + u64::from(personality)
                } else {
                    0
                } + has_lsda,
            );
            if personality != 0 {
                out.push(frame.personality.encoding);
                self.put_pointer(id, frame.personality, frame.line);
            }
            let out = &mut self.unit.sections[id as usize].bytes;
            if has_lsda != 0 {
                out.push(frame.lsda.encoding);
            }
            out.push(PE_PCREL_SDATA4);
        }
        for (_, op) in &frame.ops[..initial] {
            write_op(&mut data, op);
        }
        let out = &mut self.unit.sections[id as usize].bytes;
        out.append(&mut data);
        finish_entry(out, start, if eh { 4 } else { 8 });
        start as u64
    }

    fn write_fde(&mut self, id: SectionId, frame: &Frame, initial: usize, cie: u64, eh: bool, align: usize) {
        let section = frame.section;
        let position = |unit: &crate::unit::Unit, spot: Spot| unit.sections[section as usize].position(spot.0, spot.1);
        let begin = position(&self.unit, frame.start);
        let end = frame.end.map_or(begin, |end| position(&self.unit, end));
        let label = self.unit.symbols.anonymous(Place::Label {
            section,
            offset: frame.start.0,
            item: frame.start.1,
        });
        let start = self.unit.sections[id as usize].bytes.len();
        let out = &mut self.unit.sections[id as usize].bytes;
        out.extend([0; 4]);
        if eh {
            out.extend((start as u32 + 4 - cie as u32).to_le_bytes());
            self.put_pointer(
                id,
                Pointer {
                    encoding: PE_PCREL_SDATA4,
                    value: Value::symbol(label),
                },
                frame.line,
            );
            let out = &mut self.unit.sections[id as usize].bytes;
            out.extend(((end - begin) as u32).to_le_bytes());
            put_uleb(out, encoded_size(frame.lsda.encoding).into());
            if frame.lsda.encoding != PE_OMIT {
                self.put_pointer(id, frame.lsda, frame.line);
            }
        } else {
            let first = self.unit.symbols.anonymous(Place::Label {
                section: id,
                offset: cie,
                item: 0,
            });
            self.put_pointer(
                id,
                Pointer {
                    encoding: 3,
                    value: Value::symbol(first),
                },
                frame.line,
            );
            self.put_pointer(
                id,
                Pointer {
                    encoding: 4,
                    value: Value::symbol(label),
                },
                frame.line,
            );
            let out = &mut self.unit.sections[id as usize].bytes;
            out.extend((end - begin).to_le_bytes());
        }
        let mut data = Vec::new();
        let mut last = begin;
        for (spot, op) in &frame.ops[initial..] {
            let at = position(&self.unit, *spot);
            advance(&mut data, at - last);
            last = at;
            write_op(&mut data, op);
        }
        let out = &mut self.unit.sections[id as usize].bytes;
        out.append(&mut data);
        finish_entry(out, start, align);
    }

    /// A pointer of the augmentation or an address.
    fn put_pointer(&mut self, id: SectionId, pointer: Pointer, line: u32) {
        let size = encoded_size(pointer.encoding);
        let section = &mut self.unit.sections[id as usize];
        let kind = if pointer.encoding & 0x70 == 0x10 {
            FixupKind::Relative
        } else {
            FixupKind::Absolute
        };
        section.fixes.push(Fix {
            offset: section.bytes.len() as u64,
            value: pointer.value,
            item: section.item_count(),
            line,
            size,
            to_end: 0,
            relaxable: 0,
            kind,
        });
        section.bytes.resize(section.bytes.len() + size as usize, 0);
    }
}

impl Frame {
    /// How many instructions from the start belong to the CIE: those before the first advance or saved state.
    fn initial_ops(&self) -> usize {
        let stops = |(spot, op): &(Spot, Op)| *spot != self.start || matches!(op, Op::Remember | Op::Escape(_));
        self.ops.iter().position(stops).unwrap_or(self.ops.len())
    }
}

/// The size of a pointer of this encoding; 0 for none and for the variable ones.
fn encoded_size(encoding: u8) -> u8 {
    match encoding {
        PE_OMIT => 0,
        _ => match encoding & 15 {
            0 | 4 | 12 => 8,
            2 | 10 => 2,
            3 | 11 => 4,
            _ => 0,
        },
    }
}

/// Pads an entry with nops and fills in its length.
fn finish_entry(out: &mut Vec<u8>, start: usize, align: usize) {
    out.resize(out.len().next_multiple_of(align), NOP);
    let length = (out.len() - start - 4) as u32;
    out[start..start + 4].copy_from_slice(&length.to_le_bytes());
}

/// DW_CFA_advance_loc in its shortest form.
fn advance(out: &mut Vec<u8>, delta: u64) {
    match delta {
        0 => {}
        1..0x40 => out.push(0x40 | delta as u8),
        0x40..0x100 => out.extend([2, delta as u8]),
        0x100..0x1_0000 => {
            out.push(3);
            out.extend((delta as u16).to_le_bytes());
        }
        _ => {
            out.push(4);
            out.extend((delta as u32).to_le_bytes());
        }
    }
}

fn write_op(out: &mut Vec<u8>, op: &Op) {
    match op {
        Op::DefCfa(register, offset) if *offset >= 0 => {
            out.push(0x0c);
            put_uleb(out, *register);
            put_uleb(out, *offset as u64);
        }
        Op::DefCfa(register, offset) => {
            out.push(0x12);
            put_uleb(out, *register);
            put_sleb(out, offset / DATA_ALIGN);
        }
        Op::DefCfaRegister(register) => {
            out.push(0x0d);
            put_uleb(out, *register);
        }
        Op::DefCfaOffset(offset) if *offset >= 0 => {
            out.push(0x0e);
            put_uleb(out, *offset as u64);
        }
        Op::DefCfaOffset(offset) => {
            out.push(0x13);
            put_sleb(out, offset / DATA_ALIGN);
        }
        Op::Offset(register, offset) => {
            let factored = offset / DATA_ALIGN;
            if factored < 0 {
                out.push(0x11);
                put_uleb(out, *register);
                put_sleb(out, factored);
            } else if *register < 0x40 {
                out.push(0x80 | *register as u8);
                put_uleb(out, factored as u64);
            } else {
                out.push(0x05);
                put_uleb(out, *register);
                put_uleb(out, factored as u64);
            }
        }
        Op::ValOffset(register, offset) => {
            let factored = offset / DATA_ALIGN;
            out.push(if factored < 0 { 0x15 } else { 0x14 });
            put_uleb(out, *register);
            if factored < 0 {
                put_sleb(out, factored);
            } else {
                put_uleb(out, factored as u64);
            }
        }
        Op::Register(a, b) => {
            out.push(0x09);
            put_uleb(out, *a);
            put_uleb(out, *b);
        }
        Op::Restore(register) if *register < 0x40 => out.push(0xc0 | *register as u8),
        Op::Restore(register) => {
            out.push(0x06);
            put_uleb(out, *register);
        }
        Op::Undefined(register) => {
            out.push(0x07);
            put_uleb(out, *register);
        }
        Op::SameValue(register) => {
            out.push(0x08);
            put_uleb(out, *register);
        }
        Op::Remember => out.push(0x0a),
        Op::RestoreState => out.push(0x0b),
        Op::WindowSave => out.push(0x2d),
        Op::Escape(bytes) => out.extend_from_slice(bytes),
    }
}

pub(super) fn put_uleb(out: &mut Vec<u8>, value: u64) {
    crate::layout::put_leb(out, value as i64, false, uleb_size(value) as usize);
}

pub(super) fn put_sleb(out: &mut Vec<u8>, value: i64) {
    crate::layout::put_leb(out, value, true, crate::relax::sleb_size(value) as usize);
}
