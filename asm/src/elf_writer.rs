//! An ELF relocatable object, section for section and symbol for symbol as GNU as writes it (gABI, chapters 4 and 5).

use alloc::vec::Vec;

use crate::elf_file::{HEADER_BYTES, Header, SHN_LORESERVE, SHN_XINDEX, Strings, align_to, write_headers};
use crate::layout::{Image, Reloc, Target};
use crate::section::elf;
use crate::symbol::{Binding, Place, Symbol, SymbolId, Value, ValueId};
use crate::unit::{Resolved, Unit};

const SHT_SYMTAB: u32 = 2;
const SHT_STRTAB: u32 = 3;
const SHT_RELA: u32 = 4;
const SHT_GROUP: u32 = 17;
const SHT_SYMTAB_SHNDX: u32 = 18;
const SHF_INFO_LINK: u64 = 64;
const SHN_ABS: u16 = 0xfff1;
const SHN_COMMON: u16 = 0xfff2;
/// Symbols set to symbols set to symbols, and so on.
const LONGEST_CHAIN: usize = 64;

/// One entry of the symbol table.
struct Entry {
    name: u32,
    info: u8,
    visibility: u8,
    /// A real section index, or one of the special ones.
    section: Index,
    value: u64,
    size: u64,
}

#[derive(Clone, Copy)]
enum Index {
    Undefined,
    Absolute,
    Common,
    Section(u32),
}

/// The object under construction.
struct Writer<'a> {
    unit: &'a mut Unit,
    images: Vec<Image>,
    /// Header number of each section of the unit, 0 where it has none.
    numbers: Vec<u32>,
    /// Symbol table index of each symbol and of each section's symbol.
    symbol_index: Vec<u32>,
    section_symbol: Vec<u32>,
    entries: Vec<Entry>,
    first_global: u32,
    strings: Strings,
    section_names: Strings,
}

/// Writes the object. Sections have to be laid out ([`Unit::images`]).
pub(crate) fn write(
    unit: &mut Unit,
    images: Vec<Image>,
    files: &[Vec<u8>],
) -> Result<Vec<u8>, Vec<crate::unit::Problem>> {
    let sections = unit.sections.len();
    let mut writer = Writer {
        symbol_index: alloc::vec![0; unit.symbols.count()],
        section_symbol: alloc::vec![0; sections],
        numbers: alloc::vec![0; sections],
        unit,
        images,
        entries: Vec::new(),
        first_global: 0,
        strings: Strings::default(),
        section_names: Strings::default(),
    };
    let groups = writer.number_sections();
    writer.symbols(files, &groups);
    if !writer.unit.problems.is_empty() {
        return Err(core::mem::take(&mut writer.unit.problems));
    }
    Ok(writer.finish(&groups))
}

/// The members of one group.
struct GroupSection {
    signature: SymbolId,
    comdat: bool,
    members: Vec<usize>,
}

impl Writer<'_> {
    /// Groups come first, then each section with its relocations behind it.
    fn number_sections(&mut self) -> Vec<GroupSection> {
        let mut groups: Vec<GroupSection> = Vec::new();
        for (index, section) in self.unit.sections.iter().enumerate() {
            let Some(group) = &section.group else { continue };
            if section.parent.is_some() {
                continue;
            }
            match groups.iter_mut().find(|g| g.signature == group.signature) {
                Some(known) => known.members.push(index),
                None => groups.push(GroupSection {
                    signature: group.signature,
                    comdat: group.comdat,
                    members: alloc::vec![index],
                }),
            }
        }
        let mut next = 1 + groups.len() as u32;
        for (index, section) in self.unit.sections.iter().enumerate() {
            if section.parent.is_none() {
                self.numbers[index] = next;
                next += 1 + u32::from(!self.images[index].relocs.is_empty());
            }
        }
        groups
    }

    fn symbols(&mut self, files: &[Vec<u8>], groups: &[GroupSection]) {
        self.entries.push(Entry {
            name: 0,
            info: 0,
            visibility: 0,
            section: Index::Undefined,
            value: 0,
            size: 0,
        });
        for file in files {
            let name = self.strings.push(file);
            self.entries.push(Entry {
                name,
                info: elf::STT_FILE,
                visibility: 0,
                section: Index::Absolute,
                value: 0,
                size: 0,
            });
        }
        let mut wanted: Vec<bool> = alloc::vec![false; self.unit.sections.len()];
        for image in &self.images {
            for reloc in &image.relocs {
                if let Target::Section(section) = reloc.target {
                    wanted[section as usize] = true;
                }
            }
        }
        for (index, wanted) in wanted.into_iter().enumerate() {
            if wanted {
                self.section_symbol[index] = self.entries.len() as u32;
                self.entries.push(Entry {
                    name: 0,
                    info: elf::STT_SECTION,
                    visibility: 0,
                    section: Index::Section(self.numbers[index]),
                    value: 0,
                    size: 0,
                });
            }
        }
        for id in self.unit.symbols.ids() {
            let symbol = self.unit.symbols.get(id);
            if matches!(symbol.place, Place::Equal(_))
                && !symbol.weakref
                && let Ok(Resolved::Symbol(other, _)) = self.unit.resolve_symbol(id)
            {
                self.unit.symbols.get_mut(other).used = true;
            }
        }
        for id in self.unit.symbols.ids() {
            if self.is_local(id) && self.is_listed(id) {
                self.add_symbol(id, 0);
            }
        }
        for (number, group) in groups.iter().enumerate() {
            // A signature that nothing defines or refers to is a local symbol of the group's section.
            let id = group.signature;
            let symbol = self.unit.symbols.get(id);
            let needed = self.symbol_index[id as usize] == 0 && !symbol.is_defined() && !symbol.used;
            if needed && symbol.binding == Binding::Default {
                self.add_symbol(id, 0);
                if let Some(entry) = self.entries.last_mut() {
                    entry.section = Index::Section(number as u32 + 1);
                }
            }
        }
        self.first_global = self.entries.len() as u32;
        for id in self.unit.symbols.ids() {
            if !self.is_local(id) && self.is_listed(id) && self.symbol_index[id as usize] == 0 {
                self.add_symbol(id, 1);
            }
        }
    }

    /// Whether a symbol gets a local entry.
    fn is_local(&self, id: SymbolId) -> bool {
        let symbol = self.unit.symbols.get(id);
        match symbol.binding {
            Binding::Local => true,
            Binding::Default => symbol.is_defined(),
            _ => false,
        }
    }

    /// Whether a symbol is in the table at all.
    fn is_listed(&self, id: SymbolId) -> bool {
        let symbol = self.unit.symbols.get(id);
        let name = self.unit.symbols.name(id);
        if symbol.anonymous || name.starts_with(b".L") {
            return symbol.used;
        }
        if symbol.weakref {
            return false;
        }
        match symbol.place {
            // Other spellings.
            Place::Register(_) => false,
            Place::Equal(_) if self.spells_another(id) => false,
            Place::Undefined => symbol.used || (symbol.mentioned && symbol.binding != Binding::Weak),
            _ => true,
        }
    }

    /// Whether a symbol is set to one that is not defined here.
    fn spells_another(&self, id: SymbolId) -> bool {
        matches!(self.unit.resolve_symbol(id), Ok(Resolved::Symbol(..)))
    }

    fn add_symbol(&mut self, id: SymbolId, default_binding: u8) {
        let symbol = *self.unit.symbols.get(id);
        let binding = match symbol.binding {
            Binding::Default => default_binding,
            Binding::Local => 0,
            Binding::Global => 1,
            Binding::Weak => 2,
            Binding::Unique => 10,
        };
        let mut kind = symbol.kind;
        let (section, value) = match self.unit.resolve_symbol(id) {
            Ok(Resolved::Constant(value)) => (Index::Absolute, value as u64),
            Ok(Resolved::Section(section, offset)) => {
                if self.unit.sections[section as usize].flags & elf::SHF_TLS != 0 {
                    kind = elf::STT_TLS;
                }
                (Index::Section(self.numbers[section as usize]), offset as u64)
            }
            Ok(Resolved::Symbol(..)) => match symbol.place {
                Place::Common { align, .. } => (Index::Common, align),
                _ => (Index::Undefined, 0),
            },
            Err(why) => {
                let message = self.unit.explain(why);
                self.unit.problem(0, message);
                (Index::Undefined, 0)
            }
        };
        if matches!(section, Index::Common) && kind == 0 {
            kind = elf::STT_OBJECT;
        }
        if kind == elf::STT_COMMON {
            kind = elf::STT_OBJECT;
        }
        let size = match symbol.place {
            Place::Common { size, .. } => size,
            _ => match self.unit.constant(&self.size_of(&symbol)) {
                Ok(size) => size as u64,
                Err(why) => {
                    let message = self.unit.explain(why);
                    let name = self.unit.name(id);
                    self.unit.problem(0, alloc::format!(".size of {name}: {message}"));
                    0
                }
            },
        };
        let name = self.unit.symbols.name(id).to_vec();
        let name = self.strings.push(&name);
        self.symbol_index[id as usize] = self.entries.len() as u32;
        self.entries.push(Entry {
            name,
            info: binding << 4 | kind & 15,
            visibility: symbol.visibility,
            section,
            value,
            size,
        });
    }

    /// What `.size` said; a symbol set to another has the other's unless it has its own.
    fn size_of(&self, symbol: &Symbol) -> Value {
        let symbols = &self.unit.symbols;
        let mut symbol = symbol;
        for _ in 0..LONGEST_CHAIN {
            let Place::Equal(value) = symbol.place else {
                break;
            };
            let value = symbols.value(value);
            if symbol.size != ValueId::default() || value.minus != 0 || value.plus == 0 {
                break;
            }
            symbol = symbols.get(value.plus);
        }
        symbols.value(symbol.size)
    }

    fn finish(mut self, groups: &[GroupSection]) -> Vec<u8> {
        let mut out = alloc::vec![0; HEADER_BYTES];
        let mut headers = alloc::vec![Header::default()];
        let section_count = self.numbers.iter().filter(|&&n| n != 0).count();
        let rela_count = self.images.iter().filter(|i| !i.relocs.is_empty()).count();
        let symtab = (1 + groups.len() + section_count + rela_count) as u32;
        for group in groups {
            headers.push(self.group_header(group, symtab, &mut out));
        }
        let mut relocs: Vec<(usize, usize)> = Vec::new();
        for index in 0..self.numbers.len() {
            if self.numbers[index] == 0 {
                continue;
            }
            headers.push(self.section_header(index, &mut out));
            if !self.images[index].relocs.is_empty() {
                relocs.push((headers.len(), index));
                headers.push(Header::default());
            }
        }
        let (symbol_bytes, extended) = self.symbol_bytes();
        align_to(&mut out, 8);
        headers.push(Header {
            name: self.section_names.add(b".symtab"),
            kind: SHT_SYMTAB,
            offset: out.len() as u64,
            size: symbol_bytes.len() as u64,
            link: symtab + 1 + u32::from(extended.is_some()),
            info: self.first_global,
            align: 8,
            entry_size: 24,
            ..Header::default()
        });
        out.extend_from_slice(&symbol_bytes);
        if let Some(bytes) = extended {
            headers.push(Header {
                name: self.section_names.add(b".symtab_shndx"),
                kind: SHT_SYMTAB_SHNDX,
                offset: out.len() as u64,
                size: bytes.len() as u64,
                link: symtab,
                align: 4,
                entry_size: 4,
                ..Header::default()
            });
            out.extend_from_slice(&bytes);
        }
        headers.push(Header {
            name: self.section_names.add(b".strtab"),
            kind: SHT_STRTAB,
            offset: out.len() as u64,
            size: self.strings.bytes.len().max(1) as u64,
            align: 1,
            ..Header::default()
        });
        if self.strings.bytes.is_empty() {
            out.push(0);
        }
        out.extend_from_slice(&self.strings.bytes);
        for (header, index) in relocs {
            headers[header] = self.reloc_header(index, symtab, &mut out);
        }
        let name = self.section_names.add(b".shstrtab");
        headers.push(Header {
            name,
            kind: SHT_STRTAB,
            offset: out.len() as u64,
            size: self.section_names.bytes.len() as u64,
            align: 1,
            ..Header::default()
        });
        out.extend_from_slice(&self.section_names.bytes);
        align_to(&mut out, 8);
        write_headers(&mut out, &headers);
        out
    }

    fn group_header(&mut self, group: &GroupSection, symtab: u32, out: &mut Vec<u8>) -> Header {
        align_to(out, 4);
        let offset = out.len() as u64;
        out.extend(u32::from(group.comdat).to_le_bytes());
        for &member in &group.members {
            out.extend(self.numbers[member].to_le_bytes());
            if !self.images[member].relocs.is_empty() {
                out.extend((self.numbers[member] + 1).to_le_bytes());
            }
        }
        Header {
            name: self.section_names.add(b".group"),
            kind: SHT_GROUP,
            offset,
            size: out.len() as u64 - offset,
            link: symtab,
            info: self.symbol_index[group.signature as usize],
            align: 4,
            entry_size: 4,
            ..Header::default()
        }
    }

    fn section_header(&mut self, index: usize, out: &mut Vec<u8>) -> Header {
        let section = &self.unit.sections[index];
        let image = &self.images[index];
        align_to(out, section.align as usize);
        let offset = out.len() as u64;
        out.extend_from_slice(&image.bytes);
        let mut flags = section.flags;
        let mut link = 0;
        if section.group.is_some() {
            flags |= elf::SHF_GROUP;
        }
        if let Some(linked) = section.linked {
            flags |= elf::SHF_LINK_ORDER;
            if let Ok(Resolved::Section(to, _)) = self.unit.resolve_symbol(linked) {
                link = self.numbers[to as usize];
            }
        }
        if section.kind == elf::SHT_LLVM_ADDRSIG {
            link = (1 + self.numbers.iter().filter(|&&n| n != 0).count()) as u32;
        }
        let name = section.name.clone();
        Header {
            kind: section.kind,
            flags,
            offset,
            size: image.size,
            link,
            align: section.align,
            entry_size: match section.kind {
                // Arrays of pointers (gABI, "Special Sections").
                elf::SHT_INIT_ARRAY | elf::SHT_FINI_ARRAY | elf::SHT_PREINIT_ARRAY => 8,
                _ => section.entry_size,
            },
            name: self.section_names.add(&name),
            info: 0,
        }
    }

    fn reloc_header(&mut self, index: usize, symtab: u32, out: &mut Vec<u8>) -> Header {
        align_to(out, 8);
        let offset = out.len() as u64;
        for reloc in &self.images[index].relocs {
            let Reloc {
                offset,
                kind,
                target,
                addend,
            } = *reloc;
            let symbol = match target {
                Target::None => 0,
                Target::Symbol(id) => self.symbol_index[id as usize],
                Target::Section(section) => self.section_symbol[section as usize],
            };
            out.extend(offset.to_le_bytes());
            out.extend((u64::from(symbol) << 32 | u64::from(kind)).to_le_bytes());
            out.extend(addend.to_le_bytes());
        }
        let section = &self.unit.sections[index];
        let group = if section.group.is_some() { elf::SHF_GROUP } else { 0 };
        let mut name = b".rela".to_vec();
        name.extend_from_slice(&section.name);
        Header {
            name: self.section_names.add(&name),
            kind: SHT_RELA,
            flags: SHF_INFO_LINK | group,
            offset,
            size: out.len() as u64 - offset,
            link: symtab,
            info: self.numbers[index],
            align: 8,
            entry_size: 24,
        }
    }

    /// The symbol table, and the extended section indices where 16 bits are not enough.
    fn symbol_bytes(&self) -> (Vec<u8>, Option<Vec<u8>>) {
        let mut out = Vec::with_capacity(self.entries.len() * 24);
        let mut extended = Vec::new();
        let mut needed = false;
        for entry in &self.entries {
            let (short, long) = match entry.section {
                Index::Undefined => (0, 0),
                Index::Absolute => (SHN_ABS, 0),
                Index::Common => (SHN_COMMON, 0),
                Index::Section(n) if (n as usize) < SHN_LORESERVE => (n as u16, 0),
                Index::Section(n) => (SHN_XINDEX, n),
            };
            needed |= long != 0;
            out.extend(entry.name.to_le_bytes());
            out.push(entry.info);
            out.push(entry.visibility);
            out.extend(short.to_le_bytes());
            out.extend(entry.value.to_le_bytes());
            out.extend(entry.size.to_le_bytes());
            extended.extend(long.to_le_bytes());
        }
        (out, needed.then_some(extended))
    }
}
