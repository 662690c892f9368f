//! `.debug_line` (DWARF 5, 6.2).

use alloc::vec::Vec;

use super::Assembler;
use super::frames::{put_sleb, put_uleb};
use super::line::{Entry, Loc, View};
use crate::encode::FixupKind;
use crate::relax::uleb_size;
use crate::section::{Fix, ItemKind, Section, elf};
use crate::symbol::{Place, SectionId, SymbolId, Value};

const LINE_BASE: i64 = -5;
const LINE_RANGE: i64 = 14;
const OPCODE_BASE: i64 = 13;
/// The largest address advance of a special opcode.
const SPECIAL_ADVANCE: u64 = ((255 - OPCODE_BASE) / LINE_RANGE) as u64;

impl Assembler<'_> {
    /// Writes the line table behind whatever `.debug_line` holds already.
    pub(super) fn write_line_table(&mut self) {
        let entries = core::mem::take(&mut self.lines.entries);
        if entries.is_empty() && self.lines.files.is_empty() {
            return;
        }
        let id = self.find_or_make(b".debug_line", 0, 0);
        let start = self.unit.sections[id as usize].bytes.len();
        let mut out = core::mem::take(&mut self.unit.sections[id as usize].bytes);
        let version: u16 = if self.lines.version5 || self.options.dwarf5 {
            5
        } else {
            3
        };
        out.extend([0; 4]);
        out.extend(version.to_le_bytes());
        if version == 5 {
            out.extend([8, 0]);
        }
        let header = out.len();
        out.extend([0; 4]);
        out.push(1);
        if version >= 4 {
            out.push(1);
        }
        out.extend([1, LINE_BASE as u8, LINE_RANGE as u8, OPCODE_BASE as u8]);
        out.extend([0, 1, 1, 1, 1, 0, 0, 0, 1, 0, 0, 1]);
        if version == 5 {
            self.file_table5(id, &mut out);
        } else {
            self.file_table3(&mut out);
        }
        let length = (out.len() - header - 4) as u32;
        out[header..header + 4].copy_from_slice(&length.to_le_bytes());
        self.unit.sections[id as usize].bytes = out;
        self.sequences(id, &entries);
        let out = &mut self.unit.sections[id as usize].bytes;
        let length = (out.len() - start - 4) as u32;
        out[start..start + 4].copy_from_slice(&length.to_le_bytes());
    }

    fn find_or_make(&mut self, name: &[u8], flags: u64, entry_size: u64) -> SectionId {
        self.find_section(name).unwrap_or_else(|| {
            let mut section = Section::new(name, elf::SHT_PROGBITS, flags);
            section.entry_size = entry_size;
            self.unit.sections.push(section);
            self.unit.sections.len() as SectionId - 1
        })
    }

    /// Directories and files up to DWARF 4: strings in place.
    fn file_table3(&self, out: &mut Vec<u8>) {
        for dir in self.lines.dirs.iter().skip(1).flatten() {
            out.extend_from_slice(dir);
            out.push(0);
        }
        out.push(0);
        for file in self.lines.files.iter().skip(1) {
            let Some(name) = &file.name else { continue };
            out.extend_from_slice(name);
            out.push(0);
            put_uleb(out, file.dir as u64);
            out.extend([0, 0]);
        }
        out.push(0);
    }

    /// Directories and files of DWARF 5: strings in `.debug_line_str`.
    fn file_table5(&mut self, id: SectionId, out: &mut Vec<u8>) {
        let strings = self.find_or_make(b".debug_line_str", elf::SHF_MERGE | elf::SHF_STRINGS, 1);
        let working = || {
            std::env::current_dir()
                .map(|dir| dir.into_os_string().into_encoded_bytes())
                .unwrap_or_default()
        };
        let dirs: Vec<Vec<u8>> = match self.lines.dirs.is_empty() {
            true => alloc::vec![working()],
            false => self
                .lines
                .dirs
                .iter()
                .map(|dir| dir.clone().unwrap_or_else(working))
                .collect(),
        };
        out.extend([1, 1, 0x1f]);
        put_uleb(out, dirs.len() as u64);
        for dir in &dirs {
            self.line_string(id, strings, out, dir);
        }
        let with_md5 = self.lines.files.iter().any(|file| file.md5.is_some());
        if with_md5 {
            out.extend([3, 1, 0x1f, 2, 0x0f, 5, 0x1e]);
        } else {
            out.extend([2, 1, 0x1f, 2, 0x0f]);
        }
        let files = core::mem::take(&mut self.lines.files);
        put_uleb(out, files.len() as u64);
        // File 0 is file 1 where nobody stated it, and has its string.
        let doubled = files.first().is_some_and(|file| file.name.is_none());
        let mut first = None;
        for (number, file) in files.iter().enumerate() {
            let stated = if number == 0 && doubled {
                files.get(1).unwrap_or(file)
            } else {
                file
            };
            match first {
                Some(label) if number == 1 && doubled => self.line_string_again(id, label, out),
                _ => {
                    let name = stated.name.clone().unwrap_or_default();
                    first = Some(self.line_string(id, strings, out, &name));
                }
            }
            put_uleb(out, stated.dir as u64);
            if with_md5 {
                out.extend(stated.md5.unwrap_or(0).to_le_bytes());
            }
        }
        self.lines.files = files;
    }

    /// A string of `.debug_line_str` and its offset here.
    fn line_string(&mut self, id: SectionId, strings: SectionId, out: &mut Vec<u8>, text: &[u8]) -> SymbolId {
        let section = &mut self.unit.sections[strings as usize];
        let place = Place::Label {
            section: strings,
            offset: section.bytes.len() as u64,
            item: section.item_count(),
        };
        section.bytes.extend_from_slice(text);
        section.bytes.push(0);
        let label = self.unit.symbols.anonymous(place);
        self.line_string_again(id, label, out);
        label
    }

    fn line_string_again(&mut self, id: SectionId, label: SymbolId, out: &mut Vec<u8>) {
        let line = &mut self.unit.sections[id as usize];
        line.fixes.push(fix(out.len(), label, 4));
        out.extend([0; 4]);
    }

    /// One sequence for each section, in the order in which they got their first row.
    fn sequences(&mut self, id: SectionId, entries: &[Entry]) {
        let mut order = alloc::vec![u32::MAX; self.unit.sections.len()];
        let mut seen = 0;
        for entry in entries {
            let place = &mut order[entry.section as usize];
            if *place == u32::MAX {
                *place = seen;
                seen += 1;
            }
        }
        let mut sorted: Vec<&Entry> = entries.iter().collect();
        sorted.sort_by_key(|entry| order[entry.section as usize]);
        for rows in sorted.chunk_by(|a, b| a.section == b.section) {
            let section = rows[0].section;
            let mut out = core::mem::take(&mut self.unit.sections[id as usize].bytes);
            let mut state = Loc {
                file: 1,
                line: 1,
                ..Loc::default()
            };
            let mut last: Option<(u64, &Entry)> = None;
            for &entry in rows {
                let address = self.unit.sections[section as usize].position(entry.offset, entry.item);
                registers(&mut out, &state, &entry.loc);
                let delta = i64::from(entry.loc.line) - i64::from(state.line);
                let restart = last.is_none_or(|(_, before)| self.resets_view(before, entry));
                match last {
                    Some((last, _)) if !restart => advance(&mut out, delta, address.saturating_sub(last)),
                    _ => {
                        out.extend([0, 9, 2]);
                        let label = self.unit.symbols.anonymous(Place::Label {
                            section,
                            offset: entry.offset,
                            item: entry.item,
                        });
                        self.unit.sections[id as usize].fixes.push(fix(out.len(), label, 8));
                        out.extend([0; 8]);
                        advance(&mut out, delta, 0);
                    }
                }
                last = Some((address, entry));
                state = entry.loc;
            }
            let parent = self.unit.sections[section as usize].parent;
            let whole = parent.map_or(section, |(parent, _)| parent);
            let end = self.unit.sections[whole as usize].size();
            end_sequence(&mut out, end.saturating_sub(last.map_or(0, |(address, _)| address)));
            self.unit.sections[id as usize].bytes = out;
        }
    }

    /// Whether a row whose view starts over needs the address again, as an advance of zero would not start it over.
    ///
    /// GNU as takes the advance for one that may be zero where both rows are at one place between two variable items,
    /// and where one is right before such an item, and the other right behind any.
    fn resets_view(&self, before: &Entry, entry: &Entry) -> bool {
        if !matches!(entry.loc.view, View::Reset) {
            return false;
        }
        if before.item == entry.item {
            return before.offset == entry.offset;
        }
        let items = &self.unit.sections[entry.section as usize].items;
        let (next, last) = (&items[before.item as usize], &items[entry.item as usize - 1]);
        // The first byte of a jump's opcode is not variable.
        let is_jump = matches!(next.kind, ItemKind::Jump { .. });
        !is_jump && next.offset == before.offset && last.offset == entry.offset
    }
}

fn fix(offset: usize, label: SymbolId, size: u8) -> Fix {
    Fix {
        offset: offset as u64,
        value: Value::symbol(label),
        item: 0,
        line: 0,
        size,
        to_end: size,
        relaxable: 0,
        kind: FixupKind::Absolute,
    }
}

/// Everything of a row but address and line.
fn registers(out: &mut Vec<u8>, state: &Loc, loc: &Loc) {
    if state.file != loc.file {
        out.push(4);
        put_uleb(out, loc.file.into());
    }
    if state.column != loc.column {
        out.push(5);
        put_uleb(out, loc.column.into());
    }
    if loc.discriminator != 0 {
        out.push(0);
        put_uleb(out, 1 + uleb_size(loc.discriminator.into()));
        out.push(4);
        put_uleb(out, loc.discriminator.into());
    }
    if state.isa != loc.isa {
        out.push(12);
        put_uleb(out, loc.isa.into());
    }
    if state.not_stmt != loc.not_stmt {
        out.push(6);
    }
    if loc.basic_block {
        out.push(7);
    }
    if loc.prologue_end {
        out.push(10);
    }
    if loc.epilogue_begin {
        out.push(11);
    }
}

/// A row: a special opcode where one reaches, else the standard ones.
fn advance(out: &mut Vec<u8>, line: i64, address: u64) {
    let mut line = line;
    let mut special = line - LINE_BASE;
    let mut copy = false;
    if !(0..LINE_RANGE).contains(&special) {
        out.push(3);
        put_sleb(out, line);
        line = 0;
        special = -LINE_BASE;
        copy = true;
    }
    if line == 0 && address == 0 {
        out.push(1);
        return;
    }
    let special = special + OPCODE_BASE;
    if address < 256 + SPECIAL_ADVANCE {
        let opcode = special + address as i64 * LINE_RANGE;
        if opcode <= 255 {
            out.push(opcode as u8);
            return;
        }
        let opcode = special + (address as i64 - SPECIAL_ADVANCE as i64) * LINE_RANGE;
        if opcode <= 255 {
            out.extend([8, opcode as u8]);
            return;
        }
    }
    out.push(2);
    put_uleb(out, address);
    out.push(if copy { 1 } else { special as u8 });
}

fn end_sequence(out: &mut Vec<u8>, address: u64) {
    if address == SPECIAL_ADVANCE {
        out.push(8);
    } else if address != 0 {
        out.push(2);
        put_uleb(out, address);
    }
    out.extend([0, 1, 1]);
}
