//! Call frame information: `.eh_frame` and `.debug_frame` (DWARF 5, 6.4; LSB, `.eh_frame`).

use alloc::vec::Vec;

use super::Assembler;
use super::cfi::{Frame, Op, PE_OMIT, Pointer, Spot, encoded_size};
use crate::encode::FixupKind;
use crate::relax::{sleb_size, uleb_size};
use crate::section::{Fix, Section, elf};
use crate::symbol::{Place, SectionId, Value};

const PE_PCREL_SDATA4: u8 = 0x1b;
const DATA_ALIGN: i64 = -8;
const NOP: u8 = 0;

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
        let id_of_table = id;
        for (spot, op) in &frame.ops[initial..] {
            let at = position(&self.unit, *spot);
            advance(&mut data, at - last);
            last = at;
            if let Op::Label(id) = op {
                let section = &self.unit.sections[id_of_table as usize];
                let place = Place::Label {
                    section: id_of_table,
                    offset: (section.bytes.len() + data.len()) as u64,
                    item: section.item_count(),
                };
                self.unit.symbols.get_mut(*id).place = place;
            }
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
        let stops =
            |(spot, op): &(Spot, Op)| *spot != self.start || matches!(op, Op::Remember | Op::Escape(_) | Op::Label(_));
        self.ops.iter().position(stops).unwrap_or(self.ops.len())
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
        Op::Label(_) => {}
    }
}

pub(super) fn put_uleb(out: &mut Vec<u8>, value: u64) {
    crate::layout::put_leb(out, value as i64, false, uleb_size(value) as usize);
}

pub(super) fn put_sleb(out: &mut Vec<u8>, value: i64) {
    crate::layout::put_leb(out, value, true, sleb_size(value) as usize);
}
