//! `.file` and `.loc` to `.debug_line` (DWARF 5, 6.2), view numbers, and `.addrsig`.

use alloc::string::String;
use alloc::vec::Vec;

use super::cursor::Cursor;
use super::frames::{put_sleb, put_uleb};
use super::{Assembler, Fail, fail, string};
use crate::encode::FixupKind;
use crate::section::{Fix, Section, elf};
use crate::symbol::{Place, SectionId, SymbolId, Value};

type Done = Result<(), Fail>;

const LINE_BASE: i64 = -5;
const LINE_RANGE: i64 = 14;
const OPCODE_BASE: i64 = 13;
/// The largest address advance of a special opcode.
const SPECIAL_ADVANCE: u64 = ((255 - OPCODE_BASE) / LINE_RANGE) as u64;

/// What `.loc` states.
#[derive(Clone, Copy, Debug, Default)]
struct Loc {
    file: u32,
    line: u32,
    column: u32,
    isa: u32,
    discriminator: u32,
    not_stmt: bool,
    basic_block: bool,
    prologue_end: bool,
    epilogue_begin: bool,
    view: View,
    viewed: bool,
}

#[derive(Clone, Copy, Debug, Default)]
enum View {
    #[default]
    None,
    /// `view -0`: starts over.
    Reset,
    /// `view sym`: the symbol gets the number.
    Symbol(SymbolId),
}

/// A row of the table: where and what.
#[derive(Clone, Copy, Debug)]
struct Entry {
    section: SectionId,
    offset: u64,
    item: u32,
    loc: Loc,
}

#[derive(Debug, Default)]
struct File {
    name: Option<Vec<u8>>,
    dir: usize,
    md5: Option<u128>,
}

/// The state of the line directives.
#[derive(Debug, Default)]
pub(super) struct Lines {
    /// A `.loc` waits for an instruction.
    pub(super) pending: bool,
    current: Loc,
    entries: Vec<Entry>,
    files: Vec<File>,
    /// Directory 0 is the compilation's.
    dirs: Vec<Option<Vec<u8>>>,
    version5: bool,
    has_views: bool,
    pub(super) addrsig_symbols: Vec<SymbolId>,
}

impl Assembler<'_> {
    /// `.file "name"` and `.file N ["dir"] "name" [md5 0x...] [source "..."]`
    pub(super) fn file_directive(&mut self, cursor: &mut Cursor<'_>) -> Done {
        cursor.skip_space();
        if cursor.peek() == b'"' {
            let name = string::quoted(cursor)?;
            self.files.push(name);
            return Ok(());
        }
        let number = self.number(cursor)?;
        if !(0..=1 << 20).contains(&number) {
            return fail("a file number is between 0 and a million");
        }
        let number = number as usize;
        let first = string::quoted(cursor)?;
        cursor.skip_space();
        let (dir, name) = if cursor.peek() == b'"' {
            (Some(first), string::quoted(cursor)?)
        } else {
            (None, first)
        };
        let mut md5 = None;
        while !cursor.at_end() {
            match cursor.name() {
                b"md5" => {
                    cursor.skip_space();
                    let digits = core::str::from_utf8(cursor.name()).unwrap_or("");
                    let parsed = u128::from_str_radix(digits.trim_start_matches("0x"), 16);
                    let Ok(sum) = parsed else {
                        return fail("a checksum of 128 bits is expected");
                    };
                    md5 = Some(sum);
                }
                b"source" => {
                    string::quoted(cursor)?;
                }
                _ => return fail("`md5` or `source` is expected"),
            }
        }
        self.lines.version5 |= number == 0 || md5.is_some();
        self.add_file(number, dir, name, md5);
        Ok(())
    }

    fn add_file(&mut self, number: usize, dir: Option<Vec<u8>>, name: Vec<u8>, md5: Option<u128>) {
        // The directory of file 0 is directory 0, and its name may have a directory besides.
        let compilation = if number == 0 { dir.clone() } else { None };
        let (dir, name) = match dir {
            Some(dir) if number != 0 => (dir, name),
            _ => match name.iter().rposition(|&b| b == b'/') {
                Some(slash) => (name[..slash.max(1)].to_vec(), name[slash + 1..].to_vec()),
                None => (Vec::new(), name),
            },
        };
        let dir = self.directory(dir);
        if compilation.is_some() {
            self.lines.dirs[0] = compilation;
        }
        let lines = &mut self.lines;
        if lines.files.len() <= number {
            lines.files.resize_with(number + 1, File::default);
        }
        lines.files[number] = File {
            name: Some(name),
            dir,
            md5,
        };
    }

    /// The number of a directory.
    fn directory(&mut self, mut dir: Vec<u8>) -> usize {
        if dir.len() > 1 && dir.last() == Some(&b'/') {
            dir.pop();
        }
        let dirs = &mut self.lines.dirs;
        if dirs.is_empty() {
            dirs.push(None);
        }
        if dir.is_empty() {
            return 0;
        }
        if let Some(known) = dirs.iter().position(|known| known.as_ref() == Some(&dir)) {
            return known;
        }
        dirs.push(Some(dir));
        dirs.len() - 1
    }

    /// `.loc file line [column] [options]`
    pub(super) fn loc_directive(&mut self, cursor: &mut Cursor<'_>) -> Done {
        if self.lines.pending {
            self.line_entry();
        }
        let file = self.line_number(cursor)?;
        cursor.skip_space();
        let line = self.line_number(cursor)?;
        let loc = &mut self.lines.current;
        (loc.file, loc.line, loc.discriminator) = (file, line, 0);
        (loc.view, loc.viewed) = (View::None, false);
        cursor.skip_space();
        if cursor.peek().is_ascii_digit() {
            self.lines.current.column = self.line_number(cursor)?;
        }
        while !cursor.at_end() {
            self.loc_option(cursor)?;
        }
        if self.lines.current.file == 0 {
            self.lines.version5 = true;
        }
        self.lines.pending = true;
        // A row with a view stands for itself, whether an instruction follows or not.
        if self.lines.current.viewed {
            self.line_entry();
        }
        Ok(())
    }

    /// A number of a row.
    fn line_number(&mut self, cursor: &mut Cursor<'_>) -> Result<u32, Fail> {
        let number = self.number(cursor)?;
        u32::try_from(number).map_err(|_| Fail::new("a number of a row is not negative and has 32 bits at most"))
    }

    fn loc_option(&mut self, cursor: &mut Cursor<'_>) -> Done {
        let start = cursor.pos;
        match cursor.name() {
            b"basic_block" => self.lines.current.basic_block = true,
            b"prologue_end" => self.lines.current.prologue_end = true,
            b"epilogue_begin" => self.lines.current.epilogue_begin = true,
            b"is_stmt" => self.lines.current.not_stmt = self.number(cursor)? == 0,
            b"isa" => self.lines.current.isa = self.line_number(cursor)?,
            b"discriminator" => self.lines.current.discriminator = self.line_number(cursor)?,
            b"view" => {
                cursor.skip_space();
                self.lines.has_views = true;
                self.lines.current.viewed = true;
                let byte = cursor.peek();
                self.lines.current.view = if byte == b'-' || byte.is_ascii_digit() {
                    let forced = byte == b'-';
                    self.number(cursor)?;
                    if forced { View::Reset } else { View::None }
                } else {
                    let name = string::name_or_quoted(cursor)?;
                    View::Symbol(self.unit.symbols.intern(&name))
                };
            }
            _ => {
                cursor.pos = start;
                return fail("an unknown option of .loc");
            }
        }
        Ok(())
    }

    /// The pending `.loc` describes what comes next.
    pub(super) fn line_entry(&mut self) {
        let section = &self.unit.sections[self.current as usize];
        let (offset, item) = (section.fixed_size(), section.item_count());
        let loc = self.lines.current;
        // Line 0 is no line; GNU as leaves such rows out.
        if loc.line != 0 {
            self.lines.entries.push(Entry {
                section: self.current,
                offset,
                item,
                loc,
            });
        }
        let current = &mut self.lines.current;
        current.basic_block = false;
        current.prologue_end = false;
        current.epilogue_begin = false;
        current.discriminator = 0;
        current.view = View::None;
        self.lines.pending = false;
    }

    /// Gives the view symbols their numbers. Returns whether there are any.
    pub(super) fn assign_views(&mut self) -> bool {
        if !self.lines.has_views {
            return false;
        }
        let mut last: Vec<Option<(u64, i64)>> = alloc::vec![None; self.unit.sections.len()];
        let entries = core::mem::take(&mut self.lines.entries);
        for entry in &entries {
            let base = self.unit.sections[entry.section as usize]
                .parent
                .map_or(entry.section, |(parent, _)| parent);
            let address = self.unit.sections[entry.section as usize].position(entry.offset, entry.item);
            let view = match (entry.loc.view, last[base as usize]) {
                (View::Reset, _) | (_, None) => 0,
                (_, Some((at, view))) if at == address => view + 1,
                _ => 0,
            };
            last[base as usize] = Some((address, view));
            if let View::Symbol(id) = entry.loc.view {
                self.unit.symbols.set(id, Value::constant(view));
            }
        }
        self.lines.entries = entries;
        true
    }

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
        for (number, file) in files.iter().enumerate() {
            // File 0 is file 1 again where nobody stated it.
            let stated = if number == 0 && file.name.is_none() {
                files.get(1).unwrap_or(file)
            } else {
                file
            };
            let name = stated.name.clone().unwrap_or_default();
            self.line_string(id, strings, out, &name);
            put_uleb(out, stated.dir as u64);
            if with_md5 {
                out.extend(stated.md5.unwrap_or(0).to_le_bytes());
            }
        }
        self.lines.files = files;
    }

    /// A string of `.debug_line_str` and its offset here.
    fn line_string(&mut self, id: SectionId, strings: SectionId, out: &mut Vec<u8>, text: &[u8]) {
        let section = &mut self.unit.sections[strings as usize];
        let place = Place::Label {
            section: strings,
            offset: section.bytes.len() as u64,
            item: section.item_count(),
        };
        section.bytes.extend_from_slice(text);
        section.bytes.push(0);
        let label = self.unit.symbols.anonymous(place);
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
        let is_jump = matches!(next.kind, crate::section::ItemKind::Jump { .. });
        !is_jump && next.offset == before.offset && last.offset == entry.offset
    }

    /// `.addrsig`: the symbols whose address matters, by their index in the symbol table.
    pub(super) fn write_addrsig(&mut self) {
        // The table refers to symbol numbers, which the writer gives; a linker that finds none assumes every
        // address is significant, so leaving the table out is safe.
        self.lines.addrsig_symbols.clear();
        if !self.symvers.is_empty() {
            self.apply_symvers();
        }
    }

    /// `.symver name, alias@VERSION`: one more symbol at the same place, or a new name for an undefined one.
    fn apply_symvers(&mut self) {
        for (id, versioned) in core::mem::take(&mut self.symvers) {
            let symbol = *self.unit.symbols.get(id);
            let mut name = versioned;
            if let Some(at) = name.windows(3).position(|w| w == b"@@@") {
                let drop = if symbol.is_defined() { 1 } else { 2 };
                name.drain(at..at + drop);
            }
            let alias = self.unit.symbols.intern(&name);
            let target = self.unit.symbols.get_mut(alias);
            target.binding = symbol.binding;
            target.kind = symbol.kind;
            target.size = symbol.size;
            target.visibility = symbol.visibility;
            if symbol.is_defined() {
                target.place = symbol.place;
            } else {
                target.used = true;
                self.unit.symbols.set(id, Value::symbol(alias));
                self.unit.symbols.get_mut(id).weakref = true;
            }
        }
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
        put_uleb(out, 1 + crate::relax::uleb_size(loc.discriminator.into()));
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

/// The number of a relocation type by its psABI name, or a plain number.
pub(super) fn relocation_named(name: &[u8]) -> Option<u32> {
    use crate::layout::r;
    let text = String::from_utf8_lossy(name);
    if let Some(number) = super::expression::parse_number(name, false) {
        return u32::try_from(number).ok();
    }
    Some(match text.strip_prefix("R_X86_64_")? {
        "NONE" => r::NONE,
        "64" => r::R64,
        "PC32" => r::PC32,
        "GOT32" => r::GOT32,
        "PLT32" => r::PLT32,
        "COPY" => 5,
        "GLOB_DAT" => 6,
        "JUMP_SLOT" => 7,
        "RELATIVE" => 8,
        "GOTPCREL" => r::GOTPCREL,
        "32" => r::R32,
        "32S" => r::R32S,
        "16" => r::R16,
        "PC16" => r::PC16,
        "8" => r::R8,
        "PC8" => r::PC8,
        "DTPMOD64" => 16,
        "DTPOFF64" => r::DTPOFF64,
        "TPOFF64" => r::TPOFF64,
        "TLSGD" => r::TLSGD,
        "TLSLD" => r::TLSLD,
        "DTPOFF32" => r::DTPOFF32,
        "GOTTPOFF" => r::GOTTPOFF,
        "TPOFF32" => r::TPOFF32,
        "PC64" => r::PC64,
        "GOTOFF64" => r::GOTOFF64,
        "GOTPC32" => r::GOTPC32,
        "GOT64" => r::GOT64,
        "GOTPCREL64" => r::GOTPCREL64,
        "GOTPC64" => r::GOTPC64,
        "GOTPLT64" => r::GOTPLT64,
        "PLTOFF64" => r::PLTOFF64,
        "SIZE32" => r::SIZE32,
        "SIZE64" => r::SIZE64,
        "GOTPC32_TLSDESC" => r::GOTPC32_TLSDESC,
        "TLSDESC_CALL" => r::TLSDESC_CALL,
        "TLSDESC" => 36,
        "IRELATIVE" => 37,
        "GOTPCRELX" => r::GOTPCRELX,
        "REX_GOTPCRELX" => r::REX_GOTPCRELX,
        _ => return None,
    })
}
