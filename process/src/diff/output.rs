//! The object that a patch is: sections of the kept ranges, symbols, relocations, unwind records and debug information.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Range;

use object::elf;
use object::write::{Object, Relocation as Row, SectionId, Symbol as NewSymbol, SymbolId, SymbolSection};
use object::{
    Architecture, BinaryFormat, Endianness, RelocationFlags, SectionFlags, SectionKind, SymbolFlags, SymbolKind,
    SymbolScope,
};

use super::extract::{Bound, Extract, records};
use super::object::{CompareObject, Field, Meant, Relocation, Role};

/// A range of a section that is kept, and where it is in the new object.
#[derive(Debug)]
struct Chunk {
    range: Range<u64>,
    section: SectionId,
    /// What keeps the alignment of the range's start.
    padding: u64,
}

/// The object that is written.
pub(super) struct Output {
    object: Object<'static>,
    chunks: BTreeMap<usize, Vec<Chunk>>,
    symbols: HashMap<usize, SymbolId>,
    names: HashMap<String, SymbolId>,
    debug: BTreeMap<usize, SectionId>,
}

impl Output {
    /// Sections and symbols.
    pub(super) fn new(extract: &Extract<'_, '_, '_>) -> Self {
        let mut object = Object::new(BinaryFormat::Elf, Architecture::X86_64, Endianness::Little);
        if let Some(source) = &extract.new.source {
            object.add_file_symbol(source.clone().into_bytes());
        }
        let mut output = Output {
            object,
            chunks: BTreeMap::new(),
            symbols: HashMap::new(),
            names: HashMap::new(),
            debug: BTreeMap::new(),
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
        output
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
            // What is loaded is bytes, whatever else the object says.
            sh_type: match of.kind {
                elf::SHT_NOBITS | elf::SHT_NOTE => of.kind,
                elf::SHT_INIT_ARRAY | elf::SHT_FINI_ARRAY | elf::SHT_PREINIT_ARRAY => of.kind,
                _ => elf::SHT_PROGBITS,
            },
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

    pub(super) fn finish(mut self, extract: &Extract<'_, '_, '_>) -> Option<Vec<u8>> {
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
            return self.row(id, at, elf::R_X86_64_PC32, symbol, addend.wrapping_sub(field.behind));
        };
        let (symbol, addend) = match &bound {
            Bound::Part(_, meant) => self.part(extract.new, &row, *meant)?,
            other => {
                let (symbol, distance) = self.target(extract.new, other, Some(&row))?;
                let raw = raw_distance(extract.new, field, &row);
                (symbol, distance.wrapping_add(raw))
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
                let distance = offset
                    .wrapping_sub_unsigned(chunk.range.start)
                    .wrapping_add_unsigned(chunk.padding);
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
        let addend = raw
            .wrapping_sub_unsigned(chunk.range.start)
            .wrapping_add_unsigned(chunk.padding);
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
