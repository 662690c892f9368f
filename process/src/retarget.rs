//! Makes a patch object refer to the target's own functions and variables where it defines what the target has.
//!
//! Definitions stay as they are; **references** change. A variable that the target has keeps its storage and value, and
//! a call of a function that is replaced goes to the target's entry of it, so that the newest version is reached also
//! when a later patch replaces only one of two functions. For this the object gets further undefined symbols, and
//! relocations are pointed at them.
//!
//! Assemblers write references to local symbols as *section plus offset*. What is meant then is the symbol that the
//! offset lies in; an instruction says how far from the field its displacement counts.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;

use iced_x86::{Decoder, DecoderOptions};
use object::LittleEndian as LE;
use object::elf;
use object::read::elf::{FileHeader as _, SectionHeader as _, SectionTable, Sym as _, SymbolTable};
use restub_loader::{Need, Relocation, Row, is_loaded};

type FileHeader = elf::FileHeader64<LE>;
type SectionHeader = elf::SectionHeader64<LE>;

/// A definition of the patch object.
#[derive(Debug, Clone)]
pub(crate) struct Definition {
    pub(crate) name: String,
    /// Index of the symbol.
    pub(crate) index: usize,
    pub(crate) section: usize,
    pub(crate) value: u64,
    pub(crate) size: u64,
    pub(crate) kind: elf::SymbolType,
    pub(crate) local: bool,
    pub(crate) weak: bool,
    /// Whether it is in a section that is written, or relocated, at run time.
    pub(crate) writable: bool,
    /// Whether it is in a section of code that is loaded.
    pub(crate) executable: bool,
    /// Whether its section becomes read-only once relocated.
    pub(crate) relocated_constant: bool,
}

impl Definition {
    /// Whether it is a variable that may change.
    pub(crate) fn is_state(&self) -> bool {
        self.kind == elf::STT_OBJECT && self.writable && !self.relocated_constant
    }
}

/// A patch object, with what it defines.
#[derive(Debug)]
pub(crate) struct PatchObject<'a> {
    pub(crate) name: String,
    bytes: &'a [u8],
    /// The source files that the object's compiler was told, without folders.
    pub(crate) source: Option<String>,
    pub(crate) definitions: Vec<Definition>,
    sections: Vec<&'a SectionHeader>,
    /// The sections with their names.
    names: SectionTable<'a, FileHeader>,
    symbols: SymbolTable<'a, FileHeader>,
    table: usize,
    strings: usize,
    /// Where the section headers are in the file.
    headers_offset: usize,
}

/// A symbol that references are pointed at.
#[derive(Debug, Clone)]
pub(crate) struct Alias {
    /// The name that the resolver is asked for.
    pub(crate) name: String,
}

impl<'a> PatchObject<'a> {
    /// Reads an object. `None` for what is none, which the loader will have a message for.
    pub(crate) fn read(name: &str, bytes: &'a [u8]) -> Option<Self> {
        let header = FileHeader::parse(bytes).ok()?;
        if header.e_type.get(LE) != elf::ET_REL || header.e_machine.get(LE) != elf::EM_X86_64 {
            return None;
        }
        let table = header.sections(LE, bytes).ok()?;
        let symbols = table.symbols(LE, bytes, elf::SHT_SYMTAB).ok()?;
        let sections: Vec<&SectionHeader> = table.iter().collect();
        let mut object = PatchObject {
            name: name.to_owned(),
            bytes,
            source: None,
            definitions: Vec::new(),
            table: symbols.section().0,
            strings: symbols.string_section().0,
            sections,
            names: table,
            symbols,
            headers_offset: usize::try_from(header.e_shoff.get(LE)).ok()?,
        };
        for (index, symbol) in symbols.enumerate() {
            let name = String::from_utf8_lossy(symbols.symbol_name(LE, symbol).ok()?).into_owned();
            if symbol.st_type() == elf::STT_FILE {
                object.source = Some(base_name(&name).to_owned());
                continue;
            }
            let wanted = [elf::STT_FUNC, elf::STT_OBJECT, elf::STT_TLS, elf::STT_NOTYPE];
            let Ok(Some(section)) = symbols.symbol_section(LE, symbol, index) else {
                continue;
            };
            let end = symbol.st_value(LE).checked_add(symbol.st_size(LE));
            if name.is_empty() || end.is_none() || !wanted.contains(&symbol.st_type()) {
                continue;
            }
            let Some(header) = object.sections.get(section.0) else {
                continue;
            };
            let flags = header.sh_flags(LE);
            let section_name = object.section_name(header);
            object.definitions.push(Definition {
                name,
                index: index.0,
                section: section.0,
                value: symbol.st_value(LE),
                size: symbol.st_size(LE),
                kind: symbol.st_type(),
                local: symbol.st_bind() == elf::STB_LOCAL,
                weak: symbol.st_bind() == elf::STB_WEAK || symbol.st_bind() == elf::STB_GNU_UNIQUE,
                writable: flags.contains(elf::SHF_WRITE),
                executable: is_loaded(header) && flags.contains(elf::SHF_EXECINSTR),
                relocated_constant: section_name.starts_with(b".data.rel.ro"),
            });
        }
        Some(object)
    }

    fn section_name(&self, header: &SectionHeader) -> &'a [u8] {
        self.names.section_name(LE, header).unwrap_or_default()
    }

    /// The names that it leaves to others to define.
    pub(crate) fn undefined(&self) -> impl Iterator<Item = String> + '_ {
        let undefined = self
            .symbols
            .iter()
            .filter(|symbol| symbol.st_shndx(LE) == elf::SHN_UNDEF);
        undefined.filter_map(|symbol| {
            let name = self.symbols.symbol_name(LE, symbol).ok()?;
            (!name.is_empty()).then(|| String::from_utf8_lossy(name).into_owned())
        })
    }

    /// Whether its code asks for addresses of thread-local variables.
    pub(crate) fn asks_for_tls_addresses(&self) -> bool {
        let mut all = self.relocation_tables().flat_map(|(_, table)| table);
        self.undefined().any(|name| name == "__tls_get_addr")
            || all.any(|rela| Row::of(rela.r_type(LE, false).0).is_some_and(|row| row.need == Need::TlsDesc))
    }

    pub(crate) fn has_debug_information(&self) -> bool {
        let named = |name: &[u8]| self.names.section_by_name(LE, name).is_some();
        named(b".debug_info") || named(b".zdebug_info")
    }

    /// The contents of a definition, with the offsets of the bytes that relocations fill.
    pub(crate) fn contents(&self, definition: &Definition) -> Option<(&'a [u8], Vec<Range<usize>>)> {
        let section = self.sections.get(definition.section)?;
        let range = definition.value..definition.value.checked_add(definition.size)?;
        let bytes = if section.sh_type(LE) == elf::SHT_NOBITS {
            &[][..]
        } else {
            let data = section.data(LE, self.bytes).ok()?;
            data.get(usize::try_from(range.start).ok()?..usize::try_from(range.end).ok()?)?
        };
        let mut filled = Vec::new();
        for (target, table) in self.relocation_tables() {
            if target == definition.section {
                let inside = table
                    .iter()
                    .filter(|relocation| range.contains(&relocation.r_offset.get(LE)));
                filled.extend(inside.map(|relocation| {
                    let start = (relocation.r_offset.get(LE) - range.start) as usize;
                    start..start.saturating_add(8)
                }));
            }
        }
        Some((bytes, filled))
    }

    fn relocation_tables(&self) -> impl Iterator<Item = (usize, &'a [elf::Rela64<LE>])> + '_ {
        self.sections.iter().filter_map(|section| {
            let (table, _) = section.rela(LE, self.bytes).ok()??;
            Some((section.sh_info(LE) as usize, table))
        })
    }

    /// The object with references to some definitions pointed at undefined symbols. `aliases` has them by the index of
    /// the definition's symbol. `None` if the object's structure does not allow it.
    pub(crate) fn retarget(&self, aliases: &BTreeMap<usize, Alias>) -> Option<Vec<u8>> {
        let mut bytes = self.bytes.to_vec();
        if aliases.is_empty() {
            return Some(bytes);
        }
        let mut strings = self.sections[self.strings].data(LE, self.bytes).ok()?.to_vec();
        let mut table = self.sections[self.table].data(LE, self.bytes).ok()?.to_vec();
        let mut new_index = HashMap::new();
        for (index, alias) in aliases {
            new_index.insert(*index, u32::try_from(table.len() / size_of::<elf::Sym64<LE>>()).ok()?);
            let definition = self.definitions.iter().find(|definition| definition.index == *index)?;
            table.extend(u32::try_from(strings.len()).ok()?.to_le_bytes());
            table.push((elf::STB_GLOBAL.0 << 4) | definition.kind.0);
            table.extend([0; 19]);
            strings.extend(alias.name.as_bytes());
            strings.push(0);
        }
        let symbols = self.symbols.len();
        for (section, relocations) in self.relocation_tables() {
            // One behind the table's end would get a symbol that is added.
            if relocations
                .iter()
                .any(|rela| relocation(rela).symbol as usize >= symbols)
            {
                return None;
            }
            let header = self.sections.get(section)?;
            let flags = header.sh_flags(LE);
            let unwind = header.sh_type(LE) == elf::SHT_X86_64_UNWIND || self.is_unwind(header);
            if !flags.contains(elf::SHF_ALLOC) || unwind {
                continue;
            }
            let ends = if flags.contains(elf::SHF_EXECINSTR) {
                Some(self.instruction_ends(section, header)?)
            } else {
                None
            };
            for rela in relocations {
                let relocation = relocation(rela);
                let Some((index, value)) = self.meaning(&relocation, ends.as_ref()) else {
                    continue;
                };
                let Some(symbol) = new_index.get(&index) else { continue };
                let at = (&raw const *rela).addr() - self.bytes.as_ptr().addr();
                let info = (u64::from(*symbol) << 32) | u64::from(relocation.number);
                bytes[at + 8..at + 16].copy_from_slice(&info.to_le_bytes());
                bytes[at + 16..at + 24].copy_from_slice(&relocation.addend.wrapping_sub_unsigned(value).to_le_bytes());
            }
        }
        self.move_section(&mut bytes, self.table, &table)?;
        self.move_section(&mut bytes, self.strings, &strings)?;
        Some(bytes)
    }

    fn is_unwind(&self, header: &SectionHeader) -> bool {
        let name = self.section_name(header);
        name == b".eh_frame" || name.starts_with(b".gcc_except_table")
    }

    /// Puts a section's new contents at the end of the file.
    fn move_section(&self, bytes: &mut Vec<u8>, section: usize, contents: &[u8]) -> Option<()> {
        bytes.resize(bytes.len().next_multiple_of(8), 0);
        let offset = bytes.len() as u64;
        bytes.extend(contents);
        let header = self.headers_offset + section * size_of::<SectionHeader>();
        bytes
            .get_mut(header + 24..header + 32)?
            .copy_from_slice(&offset.to_le_bytes());
        bytes
            .get_mut(header + 32..header + 40)?
            .copy_from_slice(&(contents.len() as u64).to_le_bytes());
        Some(())
    }

    /// The definition that a relocation means, by its symbol's index, and what to take off the addend.
    fn meaning(&self, relocation: &Relocation, ends: Option<&HashMap<u64, u64>>) -> Option<(usize, u64)> {
        let index = object::SymbolIndex(relocation.symbol as usize);
        let symbol = self.symbols.symbol(index).ok()?;
        if symbol.st_type() != elf::STT_SECTION {
            return Some((relocation.symbol as usize, 0));
        }
        let section = self.symbols.symbol_section(LE, symbol, index).ok()??.0;
        let is_relative = Row::of(relocation.number).is_some_and(Row::is_relative);
        let offset = match (is_relative, ends) {
            (true, Some(ends)) => {
                // The displacement counts from the instruction's end.
                let behind = ends.get(&relocation.offset)?;
                relocation.addend.wrapping_add_unsigned(*behind)
            }
            // Entries of jump tables count from the table's start, which is not known here.
            (true, None) => return None,
            (false, _) => relocation.addend,
        };
        let offset = u64::try_from(offset).ok()?;
        let here = || {
            self.definitions
                .iter()
                .filter(|definition| definition.section == section && definition.size > 0)
        };
        let size_of = |section: usize| Some(self.sections.get(section)?.sh_size(LE));
        let found = here()
            .find(|definition| (definition.value..definition.value + definition.size).contains(&offset))
            .or_else(|| {
                // Alone in its section, as with -fdata-sections: pointers before and behind it are also meant.
                let mut all = here();
                let only = all.next()?;
                let whole = only.value == 0 && Some(only.size) == size_of(section);
                (whole && all.next().is_none()).then_some(only)
            })?;
        // Only a function's start is the function; other places are parts of this version of it.
        if found.executable && offset != found.value {
            return None;
        }
        Some((found.index, found.value))
    }

    /// For every byte of a section of code that starts a field: how far behind it its instruction ends.
    fn instruction_ends(&self, index: usize, header: &SectionHeader) -> Option<HashMap<u64, u64>> {
        let code = header.data(LE, self.bytes).ok()?;
        let mut starts: Vec<u64> = self
            .definitions
            .iter()
            .filter(|definition| definition.section == index)
            .map(|definition| definition.value)
            .chain([0])
            .collect();
        starts.sort_unstable();
        starts.dedup();
        let mut ends = HashMap::new();
        for (at, start) in starts.iter().enumerate() {
            let end = starts
                .get(at + 1)
                .copied()
                .unwrap_or(code.len() as u64)
                .min(code.len() as u64);
            let body = code.get(usize::try_from(*start).ok()?..usize::try_from(end).ok()?)?;
            let mut decoder = Decoder::with_ip(64, body, *start, DecoderOptions::NONE);
            while decoder.can_decode() {
                let instruction = decoder.decode();
                let next = instruction.next_ip();
                ends.extend((instruction.ip()..next).map(|byte| (byte, next - byte)));
            }
        }
        Some(ends)
    }
}

/// What is asked of references to the object itself.
impl<'a> PatchObject<'a> {
    /// The sections that code can refer to, without those of unwinding and of constructors.
    pub(crate) fn loaded_sections(&self) -> impl Iterator<Item = (usize, &'a SectionHeader)> + '_ {
        self.sections.iter().copied().enumerate().filter(|(_, header)| {
            let name = self.section_name(header);
            let arrays: [&[u8]; 6] = [
                b".preinit_array",
                b".init_array",
                b".fini_array",
                b".ctors",
                b".dtors",
                b".note",
            ];
            let apart = header.sh_type(LE) == elf::SHT_X86_64_UNWIND || self.is_unwind(header);
            header.sh_flags(LE).contains(elf::SHF_ALLOC)
                && !apart
                && !arrays.iter().any(|array| name.starts_with(array))
        })
    }

    pub(crate) fn code_of(&self, section: usize) -> &'a [u8] {
        let header = self.sections.get(section);
        header
            .and_then(|header| header.data(LE, self.bytes).ok())
            .unwrap_or_default()
    }

    /// Whether all of a function is code that its section has.
    pub(crate) fn has_code_of(&self, function: &Definition) -> bool {
        let end = function.value.saturating_add(function.size.max(1));
        function.executable && end <= self.code_of(function.section).len() as u64
    }

    /// Whether a reference goes to the object's own memory.
    pub(crate) fn is_own(&self, relocation: &Relocation, end: u64, aliases: &BTreeMap<usize, Alias>) -> bool {
        let index = object::SymbolIndex(relocation.symbol as usize);
        let Ok(symbol) = self.symbols.symbol(index) else {
            return true;
        };
        let ends = HashMap::from([(relocation.offset, end - relocation.offset)]);
        let meant = self.meaning(relocation, Some(&ends)).map(|(index, _)| index);
        let defined = symbol.st_shndx(LE) != elf::SHN_UNDEF && symbol.st_shndx(LE) != elf::SHN_ABS;
        defined && !meant.is_some_and(|index| aliases.contains_key(&index))
    }

    /// Whether a reference reads an address from a table of the linker's.
    pub(crate) fn is_by_table(&self, relocation: &Relocation) -> bool {
        Row::of(relocation.number).is_some_and(|row| matches!(row.need, Need::Got | Need::RelaxableGot))
    }

    /// Whether a reference goes to distances to code, which are good for jumps only.
    pub(crate) fn is_jump_table(&self, relocation: &Relocation, end: u64) -> bool {
        let index = object::SymbolIndex(relocation.symbol as usize);
        let Ok(symbol) = self.symbols.symbol(index) else {
            return false;
        };
        let Ok(Some(section)) = self.symbols.symbol_section(LE, symbol, index) else {
            return false;
        };
        let behind = end - relocation.offset;
        let place = relocation
            .addend
            .wrapping_add_unsigned(behind)
            .wrapping_add_unsigned(symbol.st_value(LE));
        let Ok(place) = u64::try_from(place) else { return false };
        let at = self.relocations_in(section.0, place..place.saturating_add(1));
        at.iter().any(|entry| entry.number == elf::R_X86_64_PC32.0)
    }

    /// The relocations of a part of a section.
    pub(crate) fn relocations_in(&self, section: usize, range: Range<u64>) -> Vec<Relocation> {
        let tables = self.relocation_tables().filter(|(target, _)| *target == section);
        let all = tables.flat_map(|(_, table)| table.iter().map(relocation));
        all.filter(|relocation| range.contains(&relocation.offset)).collect()
    }

    /// The functions that the arrays of constructors name, by their symbols' indexes.
    pub(crate) fn constructors(&self) -> Vec<usize> {
        let is_array = |section: usize| {
            let arrays: [&[u8]; 3] = [b".preinit_array", b".init_array", b".ctors"];
            let name = self.sections.get(section).map(|header| self.section_name(header));
            name.is_some_and(|name| arrays.iter().any(|array| name.starts_with(array)))
        };
        let tables = self.relocation_tables().filter(|(section, _)| is_array(*section));
        let all = tables.flat_map(|(_, table)| table.iter().map(relocation));
        all.filter_map(|relocation| Some(self.meaning(&relocation, None)?.0))
            .collect()
    }

    /// The definitions that a function refers to, and those that the object's static functions do which it refers to.
    pub(crate) fn reached_from(&self, function: &Definition) -> Vec<&Definition> {
        let mut found: Vec<&Definition> = Vec::new();
        let mut waiting = vec![function.index];
        let mut seen = waiting.clone();
        while let Some(index) = waiting.pop() {
            let Some(function) = self.definitions.iter().find(|definition| definition.index == index) else {
                continue;
            };
            let Some(ends) = self
                .sections
                .get(function.section)
                .and_then(|header| self.instruction_ends(function.section, header))
            else {
                continue;
            };
            let range = function.value..function.value.saturating_add(function.size);
            for relocation in self.relocations_in(function.section, range) {
                let meant = self.meaning(&relocation, Some(&ends)).map(|(index, _)| index);
                let Some(definition) = self
                    .definitions
                    .iter()
                    .find(|definition| Some(definition.index) == meant)
                else {
                    continue;
                };
                if seen.contains(&definition.index) {
                    continue;
                }
                seen.push(definition.index);
                if definition.executable && definition.local {
                    waiting.push(definition.index);
                }
                found.push(definition);
            }
        }
        found
    }
}

fn relocation(rela: &elf::Rela64<LE>) -> Relocation {
    Relocation {
        offset: rela.r_offset.get(LE),
        number: rela.r_type(LE, false).0,
        symbol: rela.r_sym(LE, false),
        addend: rela.r_addend.get(LE),
    }
}

/// The name and the number of a local symbol that the compiler has numbered, as it does with static variables of
/// functions.
pub(crate) fn numbered(name: &str) -> Option<(&str, u32)> {
    let (base, number) = name.rsplit_once('.')?;
    Some((base, number.parse().ok()?))
}

/// The last part of a path.
pub(crate) fn base_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}
