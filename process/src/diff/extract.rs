//! Writes what has changed as an object of its own: changed functions, and of the rest only what they need and the
//! process does not have. Everything else is the process's own, by its name.
//!
//! What is kept is kept as ranges of the old sections, each of which becomes a section. Ranges that overlap are one, so
//! that distances inside of it stay.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::ops::Range;

use object::elf;
use object::write::{Object, Relocation as Row, SectionId, Symbol as NewSymbol, SymbolId, SymbolSection};
use object::{
    Architecture, BinaryFormat, Endianness, RelocationFlags, SectionFlags, SectionKind, SymbolFlags, SymbolKind,
    SymbolScope,
};

use super::compare::Comparison;
use super::object::{CompareObject, Field, Meant, Relocation, Role};
use crate::retarget::numbered;

/// What a reference becomes.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Bound {
    /// The process's definition of this name, and how far behind it.
    Process(String, i64),
    /// A symbol that no object of this patch defines, or a common one.
    Name(usize, i64),
    /// A part that the patch has: a section and an offset in it.
    Part(usize, i64),
}

/// A range of a section that is kept, and where it is in the new object.
#[derive(Debug)]
struct Chunk {
    range: Range<u64>,
    section: SectionId,
    /// What keeps the alignment of the range's start.
    padding: u64,
}

pub(crate) struct Extract<'c, 'o, 'a> {
    comparison: &'c mut Comparison<'o, 'a>,
    new: &'o CompareObject<'a>,
    /// Functions that the patch replaces or adds.
    changed: HashSet<usize>,
    /// What the process has as well: constants and variables, by the name that it has there.
    shared: HashMap<usize, String>,
    kept: BTreeMap<usize, Vec<Range<u64>>>,
    /// The ranges of kept bytes whose references count.
    live: BTreeMap<usize, Vec<Range<u64>>>,
    /// Records of functions that are kept: section, and range.
    records: Vec<(usize, Record)>,
}

/// A record of unwind information.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Record {
    range: Range<u64>,
    /// Where the record is that it refers to; `None` for those that others refer to.
    common: Option<u64>,
}

impl<'c, 'o, 'a> Extract<'c, 'o, 'a> {
    pub(crate) fn new(comparison: &'c mut Comparison<'o, 'a>, changed: HashSet<usize>) -> Self {
        let new = comparison.new;
        let mut extract = Extract {
            comparison,
            new,
            changed,
            shared: HashMap::new(),
            kept: BTreeMap::new(),
            live: BTreeMap::new(),
            records: Vec::new(),
        };
        for (index, _, role) in new.definitions() {
            if matches!(role, Role::State | Role::Constant)
                && let Some(name) = extract.find_shared(index)
            {
                extract.shared.insert(index, name);
            }
        }
        extract
    }

    /// The new object. `None` if the old one's structure does not allow it.
    pub(crate) fn write(mut self) -> Option<Vec<u8>> {
        let mut roots: Vec<usize> = self.changed.iter().copied().collect();
        roots.sort_unstable();
        let mut open = Vec::new();
        for root in roots {
            let section = self.new.symbols[root].section?;
            self.keep(section, self.new.extent(root), &mut open);
        }
        self.follow(open)?;
        Output::new(&self)?.finish(&self)
    }

    /// Keeps all that what is kept refers to.
    fn follow(&mut self, mut open: Vec<(usize, Range<u64>)>) -> Option<()> {
        let records = records(self.new)?;
        loop {
            while let Some((section, range)) = open.pop() {
                for field in self.new.fields(section, range) {
                    self.keep_for(section, &field, &mut open);
                }
            }
            for (section, record) in &records {
                let entry = (*section, record.clone());
                if !self.records.contains(&entry) && self.describes_kept(*section, record) {
                    self.records.push(entry);
                    let common = records
                        .iter()
                        .find(|(of, other)| of == section && Some(other.range.start) == record.common);
                    let ranges = common
                        .map(|(_, common)| common.range.clone())
                        .into_iter()
                        .chain([record.range.clone()]);
                    for row in ranges.flat_map(|range| self.new.relocations(*section, &range)) {
                        let field = self.new.plain_field(*row);
                        self.keep_for(*section, &field, &mut open);
                    }
                }
            }
            if open.is_empty() {
                return Some(());
            }
        }
    }

    /// Whether a record is of a function that is kept.
    fn describes_kept(&self, section: usize, record: &Record) -> bool {
        const START: u64 = 8;
        if record.common.is_none() {
            return false;
        }
        let start = record.range.start + START;
        let rows = self.new.relocations(section, &(start..start + 1));
        rows.first().is_some_and(|row| {
            let (of, offset) = self.raw(row);
            of.is_some_and(|of| self.chunk(of, offset).is_some())
        })
    }

    /// Where a relocation leads, without regard of what is there.
    fn raw(&self, row: &Relocation) -> (Option<usize>, i64) {
        let symbol = &self.new.symbols[row.symbol];
        (symbol.section, row.addend.wrapping_add_unsigned(symbol.value))
    }

    fn chunk(&self, section: usize, offset: i64) -> Option<&Range<u64>> {
        let offset = u64::try_from(offset).ok()?;
        self.kept.get(&section)?.iter().find(|range| range.contains(&offset))
    }

    fn keep_for(&mut self, section: usize, field: &Field, open: &mut Vec<(usize, Range<u64>)>) {
        let Bound::Part(of, _) = self.bind(field) else { return };
        let range = match field.meant {
            Meant::Definition(index, _) => self.new.extent(index),
            Meant::Unnamed(_, offset) => self.new.unnamed(of, offset),
            Meant::Name(..) => return,
        };
        let flags = self.new.sections[of].flags;
        let whole =
            matches!(field.meant, Meant::Unnamed(..)) && !flags.contains(elf::SHF_MERGE) && !self.new.is_code(of);
        if whole {
            // Where a part without a name ends is a guess; all bytes stay, and what this one and the next refer to.
            let next = self.new.unnamed(of, range.end);
            self.insert(of, 0..self.new.sections[of].size);
            self.revive(of, range, open);
            self.revive(of, next, open);
        } else if of == section && field.relocation.is_none() && field.width < 4 {
            // A short jump out of the function: the distance has to stay.
            let around = range.start.min(field.at)..range.end.max(field.at + 1);
            self.keep(of, around, open);
        } else {
            self.keep(of, range, open);
        }
    }

    fn keep(&mut self, section: usize, range: Range<u64>, open: &mut Vec<(usize, Range<u64>)>) {
        self.insert(section, range.clone());
        self.revive(section, range, open);
    }

    fn revive(&mut self, section: usize, range: Range<u64>, open: &mut Vec<(usize, Range<u64>)>) {
        let live = self.live.entry(section).or_default();
        if !range.is_empty() && !live.contains(&range) {
            live.push(range.clone());
            open.push((section, range));
        }
    }

    /// Adds a range, and joins it with those that it overlaps.
    fn insert(&mut self, section: usize, mut range: Range<u64>) {
        let kept = self.kept.entry(section).or_default();
        kept.retain(|other| {
            let overlaps = other.start < range.end && range.start < other.end;
            if overlaps {
                range = range.start.min(other.start)..range.end.max(other.end);
            }
            !overlaps
        });
        kept.push(range);
        kept.sort_by_key(|range| range.start);
    }

    /// What a reference becomes.
    fn bind(&self, field: &Field) -> Bound {
        let (index, distance) = match field.meant {
            Meant::Name(symbol, distance) => return Bound::Name(symbol, distance),
            Meant::Unnamed(section, offset) => return Bound::Part(section, offset.cast_signed()),
            Meant::Definition(index, distance) => (index, distance),
        };
        let symbol = &self.new.symbols[index];
        let process = match self.new.role(index) {
            _ if self.changed.contains(&index) => None,
            Some(Role::Function) if distance == 0 => self.comparison.before(index).map(|old| self.process_name(old)),
            Some(Role::State | Role::Constant) => self.shared.get(&index).cloned(),
            _ => None,
        };
        let place = distance.wrapping_add_unsigned(symbol.value);
        process.map_or(Bound::Part(symbol.section.unwrap_or(0), place), |name| {
            Bound::Process(name, distance)
        })
    }

    fn find_shared(&mut self, index: usize) -> Option<String> {
        let old = self.comparison.before(index)?;
        let symbol = &self.new.symbols[index];
        let same = match self.new.role(index)? {
            // Tables of virtual functions and the like: the process has one, and finds types by its address.
            Role::State if symbol.weak => true,
            Role::State => super::same_variable(self.comparison.old, old, self.new, index),
            Role::Constant if symbol.name.starts_with("DW.ref.") || numbered(&symbol.name).is_some() => false,
            _ => self.comparison.same_constants(old, index),
        };
        same.then(|| self.process_name(old))
    }

    /// What the resolver is asked for: a static definition's name has its source file.
    fn process_name(&self, old: usize) -> String {
        let symbol = &self.comparison.old.symbols[old];
        match (&self.comparison.old.source, symbol.local) {
            (Some(source), true) => format!("{}#{source}", symbol.name),
            _ => symbol.name.clone(),
        }
    }
}

/// The object that is written.
struct Output {
    object: Object<'static>,
    chunks: BTreeMap<usize, Vec<Chunk>>,
    symbols: HashMap<usize, SymbolId>,
    names: HashMap<String, SymbolId>,
    debug: HashMap<usize, SectionId>,
}

impl Output {
    /// Sections and symbols.
    fn new(extract: &Extract<'_, '_, '_>) -> Option<Self> {
        let mut object = Object::new(BinaryFormat::Elf, Architecture::X86_64, Endianness::Little);
        if let Some(source) = &extract.new.source {
            object.add_file_symbol(source.clone().into_bytes());
        }
        let mut output = Output {
            object,
            chunks: BTreeMap::new(),
            symbols: HashMap::new(),
            names: HashMap::new(),
            debug: HashMap::new(),
        };
        for (section, ranges) in &extract.kept {
            for range in ranges {
                output.add_chunk(extract.new, *section, range);
            }
        }
        let new = extract.new;
        let defined: Vec<_> = new.definitions().map(|(index, _, role)| (index, role)).collect();
        for (index, role) in defined {
            output.define(extract, index, role);
        }
        for (index, section) in new.sections.iter().enumerate() {
            if section.name.starts_with(".debug_") {
                let id = output
                    .object
                    .add_section(Vec::new(), section.name.clone().into_bytes(), SectionKind::Debug);
                output.object.append_section_data(id, &section.data, section.align);
                output.debug.insert(index, id);
            }
        }
        let stack = output
            .object
            .add_section(Vec::new(), b".note.GNU-stack".to_vec(), SectionKind::Other);
        output.object.section_mut(stack).flags = SectionFlags::Elf {
            sh_type: elf::SHT_PROGBITS,
            sh_flags: elf::SectionFlags(0),
        };
        Some(output)
    }

    fn add_chunk(&mut self, new: &CompareObject<'_>, section: usize, range: &Range<u64>) {
        let of = &new.sections[section];
        let named = new
            .definitions()
            .find(|(_, symbol, _)| symbol.section == Some(section) && range.contains(&symbol.value));
        let suffix = named.map_or_else(|| format!("{:x}", range.start), |(_, symbol, _)| symbol.name.clone());
        // Other names may say where a section belongs, for whoever looks for it by its start and end.
        let standard = [
            ".text",
            ".rodata",
            ".data",
            ".bss",
            ".tdata",
            ".tbss",
            ".gcc_except_table",
        ];
        let name = if standard.iter().any(|known| of.name.starts_with(known)) {
            format!("{}.{suffix}", of.name)
        } else {
            of.name.clone()
        };
        let kind = if of.kind == elf::SHT_NOBITS {
            SectionKind::UninitializedData
        } else {
            SectionKind::Data
        };
        let id = self.object.add_section(Vec::new(), name.into_bytes(), kind);
        let padding = range.start % of.align;
        if of.kind == elf::SHT_NOBITS {
            self.object
                .append_section_bss(id, padding + range.end - range.start, of.align);
        } else {
            let mut bytes = vec![0; usize::try_from(padding).unwrap_or(0)];
            bytes.extend(new.bytes(section, range));
            self.object.append_section_data(id, &bytes, of.align);
        }
        let dropped = elf::SHF_MERGE | elf::SHF_STRINGS | elf::SHF_GROUP | elf::SHF_LINK_ORDER;
        self.object.section_mut(id).flags = SectionFlags::Elf {
            sh_type: of.kind,
            sh_flags: elf::SectionFlags(of.flags.0 & !dropped.0 & !elf::SHF_COMPRESSED.0),
        };
        self.chunks.entry(section).or_default().push(Chunk {
            range: range.clone(),
            section: id,
            padding,
        });
    }

    fn chunk(&self, section: usize, offset: i64) -> Option<&Chunk> {
        let chunks = self.chunks.get(&section)?;
        let offset = u64::try_from(offset).ok()?;
        let inside = chunks.iter().find(|chunk| chunk.range.contains(&offset));
        inside.or_else(|| chunks.iter().find(|chunk| chunk.range.end == offset))
    }

    /// Gives a definition that is kept its symbol.
    fn define(&mut self, extract: &Extract<'_, '_, '_>, index: usize, role: Role) {
        let symbol = &extract.new.symbols[index];
        let Some(section) = symbol.section else { return };
        let contains = |chunk: &&Chunk| chunk.range.contains(&symbol.value);
        let Some(chunk) = self
            .chunks
            .get(&section)
            .and_then(|chunks| chunks.iter().find(contains))
        else {
            return;
        };
        let changed = extract.changed.contains(&index);
        // What is only here because something near it is has a name of its own, which means nothing to a process.
        let passive = match role {
            Role::Function => !changed,
            Role::Private => true,
            Role::State | Role::Constant => extract.shared.contains_key(&index),
        };
        let kind = match symbol.kind {
            _ if passive => SymbolKind::Label,
            elf::STT_FUNC => SymbolKind::Text,
            elf::STT_TLS => SymbolKind::Tls,
            elf::STT_OBJECT => SymbolKind::Data,
            _ => SymbolKind::Label,
        };
        let local = symbol.local || passive;
        let id = self.object.add_symbol(NewSymbol {
            name: symbol.name.clone().into_bytes(),
            value: chunk.padding + symbol.value - chunk.range.start,
            size: symbol.size,
            kind,
            scope: if local {
                SymbolScope::Compilation
            } else {
                SymbolScope::Dynamic
            },
            // A function that has changed takes the place of the process's, also where every file has its own copy.
            weak: symbol.weak && !local && !(changed && role == Role::Function),
            section: SymbolSection::Section(chunk.section),
            flags: SymbolFlags::None,
        });
        self.symbols.insert(index, id);
    }

    /// A symbol that is defined elsewhere.
    fn undefined(&mut self, name: &str, like: Option<elf::SymbolType>, weak: bool) -> SymbolId {
        if let Some(id) = self.names.get(name) {
            return *id;
        }
        let id = self.object.add_symbol(NewSymbol {
            name: name.as_bytes().to_vec(),
            value: 0,
            size: 0,
            kind: if like == Some(elf::STT_TLS) {
                SymbolKind::Tls
            } else {
                SymbolKind::Unknown
            },
            scope: SymbolScope::Unknown,
            weak,
            section: SymbolSection::Undefined,
            flags: SymbolFlags::None,
        });
        self.names.insert(name.to_owned(), id);
        id
    }

    fn finish(mut self, extract: &Extract<'_, '_, '_>) -> Option<Vec<u8>> {
        let sections: Vec<usize> = self.chunks.keys().copied().collect();
        for section in sections {
            self.relocate(extract, section)?;
        }
        self.unwind(extract)?;
        self.debug(extract.new)?;
        self.object.write().ok()
    }

    /// Writes the relocations of what is kept of a section.
    fn relocate(&mut self, extract: &Extract<'_, '_, '_>, section: usize) -> Option<()> {
        let live = extract.live.get(&section).cloned().unwrap_or_default();
        let mut done = BTreeSet::new();
        for range in live {
            for field in extract.new.fields(section, range) {
                if done.insert(field.at) {
                    self.relocate_field(extract, section, &field)?;
                }
            }
        }
        Some(())
    }

    fn relocate_field(&mut self, extract: &Extract<'_, '_, '_>, section: usize, field: &Field) -> Option<()> {
        let place = self.chunk(section, field.at.cast_signed())?;
        let (id, at) = (place.section, place.padding + field.at - place.range.start);
        let same_chunk = place.range.clone();
        let bound = extract.bind(field);
        let Some(row) = field.relocation else {
            if let Bound::Part(_, offset) = bound
                && u64::try_from(offset).is_ok_and(|offset| same_chunk.contains(&offset))
            {
                return Some(());
            }
            if field.width != 4 {
                return None;
            }
            let start = usize::try_from(at).ok()?;
            self.object
                .section_mut(id)
                .data_mut()
                .get_mut(start..start + 4)?
                .fill(0);
            let (symbol, addend) = self.target(extract.new, &bound, None)?;
            return self.row(id, at, elf::R_X86_64_PC32, symbol, addend - field.behind);
        };
        let (symbol, addend) = match &bound {
            Bound::Part(_, meant) => self.part(extract.new, &row, *meant)?,
            other => {
                let (symbol, distance) = self.target(extract.new, other, Some(&row))?;
                let raw = raw_distance(extract.new, field, &row);
                (symbol, distance + raw)
            }
        };
        self.row(id, at, row.kind, symbol, addend)
    }

    fn row(
        &mut self,
        id: SectionId,
        offset: u64,
        kind: elf::RelocationType,
        symbol: SymbolId,
        addend: i64,
    ) -> Option<()> {
        let row = Row {
            offset,
            symbol,
            addend,
            flags: RelocationFlags::Elf { r_type: kind },
        };
        self.object.add_relocation(id, row).ok()
    }

    /// A symbol for what a reference is bound to, and the distance from it.
    fn target(&mut self, new: &CompareObject<'_>, bound: &Bound, row: Option<&Relocation>) -> Option<(SymbolId, i64)> {
        match bound {
            Bound::Process(name, distance) => {
                let like = row.map(|row| new.symbols[row.symbol].kind);
                Some((self.undefined(name, like, false), *distance))
            }
            Bound::Name(index, distance) => {
                let symbol = &new.symbols[*index];
                if !symbol.common {
                    return Some((self.undefined(&symbol.name, Some(symbol.kind), symbol.weak), *distance));
                }
                let id = self.symbols.get(index).copied().unwrap_or_else(|| {
                    let common = NewSymbol {
                        name: symbol.name.clone().into_bytes(),
                        value: symbol.value,
                        size: symbol.size,
                        kind: SymbolKind::Data,
                        scope: SymbolScope::Dynamic,
                        weak: false,
                        section: SymbolSection::Common,
                        flags: SymbolFlags::None,
                    };
                    self.object.add_common_symbol(common, symbol.size, symbol.value.max(1))
                });
                self.symbols.insert(*index, id);
                Some((id, *distance))
            }
            Bound::Part(section, offset) => {
                let chunk = self.chunk(*section, *offset)?;
                let distance = offset.wrapping_sub_unsigned(chunk.range.start) + chunk.padding.cast_signed();
                let id = chunk.section;
                Some((self.object.section_symbol(id), distance))
            }
        }
    }

    /// A relocation to a part that the patch has, which is the one that has `meant`. By the symbol where it had one, since
    /// words of the linker are by symbol.
    fn part(&mut self, new: &CompareObject<'_>, row: &Relocation, meant: i64) -> Option<(SymbolId, i64)> {
        let symbol = &new.symbols[row.symbol];
        if let Some(id) = self.symbols.get(&row.symbol) {
            return Some((*id, row.addend));
        }
        // Distances from the start of a range are what they were.
        let chunk = self.chunk(symbol.section?, meant)?;
        let raw = row.addend.wrapping_add_unsigned(symbol.value);
        let addend = raw.wrapping_sub_unsigned(chunk.range.start) + chunk.padding.cast_signed();
        let id = chunk.section;
        Some((self.object.section_symbol(id), addend))
    }

    /// Writes the unwind records of the functions that are kept.
    fn unwind(&mut self, extract: &Extract<'_, '_, '_>) -> Option<()> {
        const POINTER: usize = 4;
        if extract.records.is_empty() {
            return Some(());
        }
        let new = extract.new;
        let all = records(new)?;
        let mut bytes: Vec<u8> = Vec::new();
        let mut commons: HashMap<(usize, u64), u64> = HashMap::new();
        let mut rows = Vec::new();
        let mut copy = |section: usize, range: &Range<u64>, bytes: &mut Vec<u8>| -> u64 {
            let start = bytes.len() as u64;
            bytes.extend(new.bytes(section, range));
            let inside = new.relocations(section, range).iter();
            rows.extend(inside.map(|row| (row.offset - range.start + start, *row)));
            start
        };
        for (section, record) in &extract.records {
            let common = record.common?;
            let of = all
                .iter()
                .find(|(of, other)| of == section && other.range.start == common)?;
            let key = (*section, common);
            let common = *commons
                .entry(key)
                .or_insert_with(|| copy(*section, &of.1.range, &mut bytes));
            let start = copy(*section, &record.range, &mut bytes);
            let distance = u32::try_from(start + POINTER as u64 - common).ok()?;
            let at = usize::try_from(start).ok()? + POINTER;
            bytes.get_mut(at..at + 4)?.copy_from_slice(&distance.to_le_bytes());
        }
        bytes.extend([0; 4]);
        let id = self
            .object
            .add_section(Vec::new(), b".eh_frame".to_vec(), SectionKind::ReadOnlyData);
        self.object.append_section_data(id, &bytes, 8);
        for (offset, row) in rows {
            let field = new.plain_field(row);
            let (symbol, addend) = match extract.bind(&field) {
                Bound::Part(_, meant) => self.part(new, &row, meant)?,
                other => self.target(new, &other, Some(&row))?,
            };
            self.row(id, offset, row.kind, symbol, addend)?;
        }
        Some(())
    }

    /// Points debug information at what is kept; the rest of it is of nothing.
    fn debug(&mut self, new: &CompareObject<'_>) -> Option<()> {
        let sections: Vec<(usize, SectionId)> = self.debug.iter().map(|(index, id)| (*index, *id)).collect();
        for (index, id) in sections {
            for row in &new.sections[index].relocations {
                let symbol = &new.symbols[row.symbol];
                let raw = row.addend.wrapping_add_unsigned(symbol.value);
                let Some(section) = symbol.section else { continue };
                let target = if let Some(debug) = self.debug.get(&section).copied() {
                    Some((self.object.section_symbol(debug), raw))
                } else if symbol.kind == elf::STT_TLS || self.chunk(section, raw).is_none() {
                    None
                } else {
                    self.part(new, row, raw)
                };
                if let Some((target, addend)) = target {
                    self.row(id, row.offset, row.kind, target, addend)?;
                }
            }
        }
        Some(())
    }
}

/// What a relocation adds to the distance from what is meant.
fn raw_distance(new: &CompareObject<'_>, field: &Field, row: &Relocation) -> i64 {
    let raw = row.addend.wrapping_add_unsigned(new.symbols[row.symbol].value);
    let meant = match field.meant {
        Meant::Name(symbol, distance) | Meant::Definition(symbol, distance) => {
            distance.wrapping_add_unsigned(new.symbols[symbol].value)
        }
        Meant::Unnamed(_, offset) => offset.cast_signed(),
    };
    raw.wrapping_sub(meant)
}

/// The records of unwind information (LSB, section 10.6.1): each with its length in front of it.
fn records(object: &CompareObject<'_>) -> Option<Vec<(usize, Record)>> {
    let mut found = Vec::new();
    for (index, section) in object.sections.iter().enumerate() {
        if section.name != ".eh_frame" {
            continue;
        }
        let word = |at: usize| Some(u32::from_le_bytes(section.data.get(at..at + 4)?.try_into().ok()?));
        let mut at = 0;
        while let Some(length) = word(at).filter(|length| *length > 0) {
            let end = at + 4 + usize::try_from(length).ok()?;
            let back = word(at + 4)?;
            let common = match back {
                0 => None,
                _ => Some((at as u64 + 4).checked_sub(u64::from(back))?),
            };
            let range = at as u64..end as u64;
            found.push((index, Record { range, common }));
            at = end;
        }
    }
    Some(found)
}
