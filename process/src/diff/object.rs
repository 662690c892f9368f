//! An object as it is compared: sections, symbols, and what its fields refer to.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::ops::Range;

use iced_x86::{Decoder, DecoderOptions, Instruction, OpKind};
use object::read::elf::{ElfFile64, SectionHeader as _};
use object::{LittleEndian as LE, Object as _, ObjectSection as _, elf};
use restub_loader::{Limits, Object, ObjectSymbol, Row, SymbolPlace, decompress};

use super::malformed;
use crate::error::Result;
use crate::retarget::base_name;

/// A relocation.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Relocation {
    pub(crate) offset: u64,
    pub(crate) kind: elf::RelocationType,
    pub(crate) symbol: usize,
    pub(crate) addend: i64,
}

#[derive(Debug)]
pub(crate) struct Section<'a> {
    pub(crate) name: String,
    pub(crate) kind: elf::SectionType,
    pub(crate) flags: elf::SectionFlags,
    pub(crate) align: u64,
    pub(crate) entry_size: u64,
    pub(crate) size: u64,
    /// Empty for sections without contents.
    pub(crate) data: Cow<'a, [u8]>,
    /// In the order of their offsets.
    pub(crate) relocations: Vec<Relocation>,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Symbol {
    pub(crate) name: String,
    /// Where it is defined.
    pub(crate) section: Option<usize>,
    pub(crate) value: u64,
    pub(crate) size: u64,
    pub(crate) kind: elf::SymbolType,
    pub(crate) local: bool,
    pub(crate) weak: bool,
    pub(crate) common: bool,
}

/// What a definition is for a patch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Role {
    /// A function that has a calling convention.
    Function,
    /// A piece of a function, or a copy of it for some callers: it belongs to those that use it.
    Private,
    /// A variable, which keeps its value.
    State,
    /// A constant, of which each version has its own.
    Constant,
}

/// What a field refers to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Meant {
    /// A symbol that other objects define, and how far behind it.
    Name(usize, i64),
    /// A definition, and how far behind its start.
    Definition(usize, i64),
    /// A place without a name: a section and an offset in it.
    Unnamed(usize, u64),
}

/// A place in a section that refers to something.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Field {
    /// Its offset in the section, and its width in bytes.
    pub(crate) at: u64,
    pub(crate) width: u8,
    /// The relocation; `None` for what the assembler has worked out itself, since it is in the same section.
    pub(crate) relocation: Option<Relocation>,
    /// For displacements in code: how far behind the field its instruction ends.
    pub(crate) behind: i64,
    pub(crate) meant: Meant,
}

#[derive(Debug)]
pub(crate) struct CompareObject<'a> {
    pub(crate) name: String,
    /// The source file that the object's compiler was told, without folders.
    pub(crate) source: Option<String>,
    pub(crate) sections: Vec<Section<'a>>,
    pub(crate) symbols: Vec<Symbol>,
    /// The definitions of each section, by their places.
    defined: Vec<Vec<usize>>,
    /// Places of each section that something refers to.
    starts: Vec<BTreeSet<u64>>,
}

impl<'a> CompareObject<'a> {
    /// Reads an object.
    ///
    /// # Errors
    /// If it is none, or if symbols or fields of it lie outside of its sections, so that nothing else has to ask.
    pub(crate) fn read(name: &str, bytes: &'a [u8]) -> Result<Self> {
        let read = Object::parse(name, bytes)?;
        let mut object = CompareObject {
            name: name.to_owned(),
            source: None,
            defined: vec![Vec::new(); read.sections().len()],
            starts: vec![BTreeSet::new(); read.sections().len()],
            sections: Vec::with_capacity(read.sections().len()),
            symbols: vec![Symbol::default()],
        };
        object.read_sections(&read, bytes)?;
        for symbol in read.symbols() {
            object.add_symbol(&symbol?)?;
        }
        if object.symbols.len() == 1 {
            return Err(malformed(name, "it has no symbols"));
        }
        for section in &object.sections {
            let unknown = section
                .relocations
                .iter()
                .find(|row| row.symbol >= object.symbols.len());
            if let Some(Relocation { offset, symbol, .. }) = unknown {
                let reason = format!("symbol {symbol} at {}+{offset:#x} does not exist", section.name);
                return Err(malformed(name, &reason));
            }
        }
        for defined in &mut object.defined {
            defined.sort_by_key(|index| object.symbols[*index].value);
        }
        object.find_starts();
        Ok(object)
    }

    fn read_sections(&mut self, read: &Object<'a>, bytes: &'a [u8]) -> Result<()> {
        let limits = Limits::default();
        let unreadable = |reason: &dyn std::fmt::Display| malformed(read.name(), &reason.to_string());
        let file = ElfFile64::<LE>::parse(bytes).map_err(|error| unreadable(&error))?;
        let headers = file.elf_section_table().enumerate();
        for (section, (index, header)) in read.sections().iter().zip(headers) {
            let name = section.display_name();
            let contents = if section.data.is_empty() {
                Cow::default()
            } else {
                let section = file.section_by_index(index);
                let contents = section.and_then(|section| section.compressed_data());
                let contents = contents.map_err(|error| error.to_string()).and_then(decompress);
                contents.map_err(|reason| unreadable(&format_args!("section {name}: {reason}")))?
            };
            let size = if section.is_nobits() {
                section.size
            } else {
                contents.len() as u64
            };
            if size > limits.image_bytes || section.align > limits.align_bytes || !section.align.is_power_of_two() {
                let reason = format!("section {name} has {size:#x} bytes, aligned to {:#x}", section.align);
                return Err(malformed(read.name(), &reason));
            }
            let mut relocations = Vec::with_capacity(section.relocations.len());
            for row in section.relocations.iter() {
                let width = Row::of(row.number).map_or(0, |row| row.width);
                if row.offset.checked_add(width.into()).is_none_or(|end| end > size) {
                    let reason = format!("the field at {name}+{:#x} is not in the section", row.offset);
                    return Err(malformed(read.name(), &reason));
                }
                relocations.push(Relocation {
                    offset: row.offset,
                    kind: elf::RelocationType(row.number),
                    symbol: row.symbol as usize,
                    addend: row.addend,
                });
            }
            relocations.sort_by_key(|relocation| relocation.offset);
            self.sections.push(Section {
                name,
                kind: section.kind,
                flags: section.flags,
                align: section.align,
                entry_size: header.sh_entsize(LE),
                size,
                data: contents,
                relocations,
            });
        }
        Ok(())
    }

    fn add_symbol(&mut self, symbol: &ObjectSymbol<'_>) -> Result<()> {
        let name = String::from_utf8_lossy(symbol.name).into_owned();
        let section = match symbol.place {
            SymbolPlace::Section(section) => Some(section),
            _ => None,
        };
        if symbol.kind == elf::STT_FILE {
            self.source = Some(base_name(&name).to_owned());
        }
        if let Some(section) = section {
            let Section { name: of, size, .. } = &self.sections[section];
            if symbol.value.checked_add(symbol.size).is_none_or(|end| end > *size) {
                let reason = format!(
                    "symbol {name} at {of}+{:#x} has {} bytes, which the section does not have",
                    symbol.value, symbol.size
                );
                return Err(malformed(&self.name, &reason));
            }
            if !name.is_empty() && !name.starts_with(".L") && symbol.kind != elf::STT_SECTION {
                self.defined[section].push(self.symbols.len());
            }
        }
        self.symbols.push(Symbol {
            name,
            section,
            value: symbol.value,
            size: symbol.size,
            kind: symbol.kind,
            local: symbol.binding == elf::STB_LOCAL,
            weak: symbol.binding == elf::STB_WEAK || symbol.binding == elf::STB_GNU_UNIQUE,
            common: symbol.place == SymbolPlace::Common,
        });
        Ok(())
    }

    /// Notes every place that something refers to, by which parts without a name are told apart.
    fn find_starts(&mut self) {
        let mut found = Vec::new();
        for (index, section) in self.sections.iter().enumerate() {
            if !section.flags.contains(elf::SHF_ALLOC) || section.name == ".eh_frame" {
                continue;
            }
            // Tables of distances refer to code, which has names.
            let fields = if section.flags.contains(elf::SHF_EXECINSTR) {
                self.fields(index, 0..section.size)
            } else {
                let absolute = section.relocations.iter().filter(|row| !is_relative(row.kind));
                absolute.map(|row| self.field_of(index, *row, 0)).collect()
            };
            found.extend(fields.iter().filter_map(|field| match field.meant {
                Meant::Unnamed(section, offset) => Some((section, offset)),
                _ => None,
            }));
        }
        for (_, field) in self.unwind_fields() {
            if let Meant::Unnamed(section, offset) = field.meant {
                found.push((section, offset));
            }
        }
        for (section, offset) in found {
            self.starts[section].insert(offset);
        }
    }

    pub(crate) fn is_code(&self, section: usize) -> bool {
        self.sections[section].flags.contains(elf::SHF_EXECINSTR)
    }

    /// Definitions with the role of one.
    pub(crate) fn definitions(&self) -> impl Iterator<Item = (usize, &Symbol, Role)> + '_ {
        let all = self.defined.iter().flatten();
        all.filter_map(|index| Some((*index, &self.symbols[*index], self.role(*index)?)))
    }

    /// What a definition is. `None` for labels and for what is not loaded.
    pub(crate) fn role(&self, index: usize) -> Option<Role> {
        const PRIVATE: [&str; 4] = [".cold", ".part.", ".isra.", ".constprop."];
        let symbol = &self.symbols[index];
        let section = &self.sections[symbol.section?];
        if !section.flags.contains(elf::SHF_ALLOC) {
            return None;
        }
        Some(match symbol.kind {
            elf::STT_FUNC | elf::STT_GNU_IFUNC => {
                if symbol.local && PRIVATE.iter().any(|part| symbol.name.contains(part)) {
                    Role::Private
                } else {
                    Role::Function
                }
            }
            _ if symbol.size == 0 => return None,
            elf::STT_TLS => Role::State,
            // Where exceptions are caught refers to types by such words.
            elf::STT_OBJECT if symbol.name.starts_with("DW.ref.") => Role::Constant,
            elf::STT_OBJECT | elf::STT_NOTYPE if section.flags.contains(elf::SHF_WRITE) => {
                if section.name.starts_with(".data.rel.ro") && !symbol.weak {
                    Role::Constant
                } else {
                    Role::State
                }
            }
            _ if section.flags.contains(elf::SHF_EXECINSTR) => Role::Private,
            _ => Role::Constant,
        })
    }

    /// The bytes that a definition takes in its section.
    pub(crate) fn extent(&self, index: usize) -> Range<u64> {
        let symbol = &self.symbols[index];
        let section = symbol.section.unwrap_or(0);
        let end = if symbol.size > 0 {
            symbol.value.saturating_add(symbol.size)
        } else {
            self.next_definition(section, symbol.value).unwrap_or(u64::MAX)
        };
        symbol.value..end.min(self.sections[section].size)
    }

    /// Bytes of a section; none where it has no contents.
    pub(crate) fn bytes(&self, section: usize, range: &Range<u64>) -> &[u8] {
        let bound = |value: u64| usize::try_from(value).unwrap_or(usize::MAX);
        self.sections[section]
            .data
            .get(bound(range.start)..bound(range.end))
            .unwrap_or_default()
    }

    pub(crate) fn relocations(&self, section: usize, range: &Range<u64>) -> &[Relocation] {
        let all = &self.sections[section].relocations;
        let start = all.partition_point(|relocation| relocation.offset < range.start);
        let end = all.partition_point(|relocation| relocation.offset < range.end);
        all.get(start..end).unwrap_or_default()
    }

    /// The part without a name that is at a place: its range.
    pub(crate) fn unnamed(&self, section: usize, offset: u64) -> Range<u64> {
        let here = &self.sections[section];
        if here.flags.contains(elf::SHF_STRINGS) && here.entry_size == 1 {
            let rest = self.bytes(section, &(offset..here.size));
            let end = rest
                .iter()
                .position(|byte| *byte == 0)
                .map_or(rest.len(), |end| end + 1);
            return offset..offset + end as u64;
        }
        if here.flags.contains(elf::SHF_MERGE) && here.entry_size > 0 {
            return offset..offset.saturating_add(here.entry_size).min(here.size).max(offset);
        }
        let next = self.starts[section].range(offset + 1..).next().copied();
        let named = self.next_definition(section, offset);
        let end = next.unwrap_or(here.size).min(named.unwrap_or(here.size));
        offset..end.max(offset)
    }

    /// What is at a place.
    fn at(&self, section: usize, offset: i64) -> Meant {
        let all = &self.defined[section];
        let place = u64::try_from(offset).unwrap_or(0);
        let sized = |index: &&usize| self.symbols[**index].size > 0;
        // Definitions that overlap are other names of the same one, or parts of it: few.
        const OVERLAPPING: usize = 32;
        let before = self.definitions_before(section, place);
        let near = before.iter().rev().take(OVERLAPPING).filter(sized);
        // The first one, which has the others in it.
        let mut around = near.filter(|index| offset >= 0 && self.extent(**index).contains(&place));
        let around = around.next_back();
        // Alone in its section, as with -fdata-sections: pointers before and behind it are also meant.
        let whole = |index: &usize| self.extent(*index) == (0..self.sections[section].size);
        let alone = || all.first().filter(|index| all.len() == 1 && whole(index));
        match around.or_else(alone) {
            Some(index) => Meant::Definition(*index, offset.wrapping_sub_unsigned(self.symbols[*index].value)),
            None => Meant::Unnamed(section, place),
        }
    }

    fn start_of_table(&self, section: usize, offset: u64) -> u64 {
        let unnamed = self.starts[section].range(..=offset).next_back().copied();
        let named = self.definitions_before(section, offset).last();
        let named = named.map(|index| self.symbols[*index].value);
        unnamed.max(named).unwrap_or(offset)
    }

    /// The definitions of a section that start at a place or before it.
    fn definitions_before(&self, section: usize, offset: u64) -> &[usize] {
        let all = &self.defined[section];
        &all[..all.partition_point(|index| self.symbols[*index].value <= offset)]
    }

    /// Where the first definition behind a place starts.
    fn next_definition(&self, section: usize, offset: u64) -> Option<u64> {
        let before = self.definitions_before(section, offset).len();
        let next = self.defined[section].get(before)?;
        Some(self.symbols[*next].value)
    }

    /// What a relocation means whose displacement counts from `behind` bytes behind it.
    fn field_of(&self, section: usize, relocation: Relocation, behind: i64) -> Field {
        let mut place = relocation.addend;
        if is_relative(relocation.kind) {
            place = place.wrapping_add(behind);
            if !self.is_code(section) {
                // An entry of a table of distances from its start.
                let start = self.start_of_table(section, relocation.offset);
                place = place.wrapping_sub_unsigned(relocation.offset - start);
            }
        }
        self.field_at(relocation, place, behind)
    }

    /// A field whose relocation says all: not part of an instruction, and of no table.
    pub(crate) fn plain_field(&self, relocation: Relocation) -> Field {
        self.field_at(relocation, relocation.addend, 0)
    }

    /// The field that means a place: so far behind the relocation's symbol.
    fn field_at(&self, relocation: Relocation, place: i64, behind: i64) -> Field {
        let symbol = &self.symbols[relocation.symbol];
        let hidden = symbol.kind == elf::STT_SECTION || symbol.name.starts_with(".L");
        let meant = match symbol.section {
            None => Meant::Name(relocation.symbol, place),
            Some(of) if hidden => self.at(of, place.wrapping_add_unsigned(symbol.value)),
            Some(_) => Meant::Definition(relocation.symbol, place),
        };
        Field {
            at: relocation.offset,
            width: Row::of(relocation.kind.0).map_or(4, |row| row.width),
            relocation: Some(relocation),
            behind,
            meant,
        }
    }

    /// The instructions of a part of a section of code.
    pub(crate) fn instructions(&self, section: usize, range: &Range<u64>) -> Vec<Instruction> {
        let bytes = self.bytes(section, range);
        Decoder::with_ip(64, bytes, range.start, DecoderOptions::NONE)
            .into_iter()
            .collect()
    }

    /// The fields of an instruction. What the assembler has worked out counts, also where it stays in the function.
    pub(crate) fn fields_of(&self, section: usize, instruction: &Instruction) -> Vec<Field> {
        let range = instruction.ip()..instruction.next_ip();
        let relocations = self.relocations(section, &range);
        let mut fields: Vec<Field> = relocations
            .iter()
            .map(|relocation| {
                let behind = range.end.saturating_sub(relocation.offset).cast_signed();
                self.field_of(section, *relocation, behind)
            })
            .collect();
        let branches = matches!(
            instruction.op0_kind(),
            OpKind::NearBranch16 | OpKind::NearBranch32 | OpKind::NearBranch64
        );
        let target = branches.then(|| instruction.near_branch_target());
        let place = target.or_else(|| {
            let relative = instruction.is_ip_rel_memory_operand();
            relative.then(|| instruction.ip_rel_memory_address())
        });
        if let (Some(place), true) = (place, fields.is_empty()) {
            let bytes = self.bytes(section, &range);
            let mut decoder = Decoder::with_ip(64, bytes, range.start, DecoderOptions::NONE);
            let decoded = decoder.decode();
            let offsets = decoder.get_constant_offsets(&decoded);
            let (offset, size) = if target.is_some() && offsets.has_immediate() {
                (offsets.immediate_offset(), offsets.immediate_size())
            } else {
                (offsets.displacement_offset(), offsets.displacement_size())
            };
            let at = range.start + offset as u64;
            fields.push(Field {
                at,
                width: u8::try_from(size).unwrap_or(4),
                relocation: None,
                behind: (range.end - at).cast_signed(),
                meant: self.at(section, place.cast_signed()),
            });
        }
        fields
    }

    /// All fields of a part of a section.
    pub(crate) fn fields(&self, section: usize, range: Range<u64>) -> Vec<Field> {
        if !self.is_code(section) {
            let rows = self.relocations(section, &range).iter();
            return rows.map(|row| self.field_of(section, *row, 0)).collect();
        }
        // Padding between functions is no instruction that means something.
        let mut starts: Vec<u64> = self.defined[section]
            .iter()
            .map(|index| self.symbols[*index].value)
            .collect();
        starts.push(range.start);
        starts.retain(|start| range.contains(start));
        starts.sort_unstable();
        starts.dedup();
        starts.push(range.end);
        let pieces = starts.windows(2).map(|pair| pair[0]..pair[1]);
        pieces
            .flat_map(|piece| self.instructions(section, &piece))
            .flat_map(|instruction| self.fields_of(section, &instruction))
            .collect()
    }

    /// The fields of unwind records, each with its section.
    pub(crate) fn unwind_fields(&self) -> Vec<(usize, Field)> {
        let sections = self.sections.iter().enumerate();
        let unwind = sections.filter(|(_, section)| section.name == ".eh_frame");
        unwind
            .flat_map(|(index, section)| {
                let rows = section.relocations.iter();
                rows.map(move |row| (index, self.plain_field(*row)))
            })
            .collect()
    }
}

/// Whether a relocation's displacement counts from its place, directly or to a word of the linker's.
fn is_relative(kind: elf::RelocationType) -> bool {
    Row::of(kind.0).is_some_and(Row::is_relative)
}
