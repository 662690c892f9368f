//! Writes planned objects and archives as files, byte by byte, so that a plan may ask for what no assembler writes.

use object::elf;

use super::plan::{GroupPlan, ObjectPlan, RelocationPlan, RelocationTable, SectionPlan, SymbolPlanPlace};
use crate::relocation::Row;

/// One line of the section header table.
#[derive(Debug, Clone, Default)]
struct Header {
    name: String,
    kind: u32,
    flags: u64,
    /// That of the contents, where it is not asked for.
    size: Option<u64>,
    link: u32,
    info: u32,
    align: u64,
    entry_size: u64,
    contents: Vec<u8>,
}

impl ObjectPlan {
    /// The object as a file.
    #[must_use]
    pub fn write(&self) -> Vec<u8> {
        Writer::new(self).write()
    }
}

struct Writer<'a> {
    plan: &'a ObjectPlan,
    /// For each symbol of the plan, its place in the file's table.
    symbol_indices: Vec<u32>,
    /// The symbols of the plan in the order of the file.
    order: Vec<usize>,
}

impl<'a> Writer<'a> {
    fn new(plan: &'a ObjectPlan) -> Self {
        let mut order: Vec<usize> = (0..plan.symbols.len()).collect();
        order.sort_by_key(|index| plan.symbols[*index].is_global());
        let mut symbol_indices = vec![0; order.len()];
        for (at, index) in order.iter().enumerate() {
            symbol_indices[*index] = number(at + 1);
        }
        Writer {
            plan,
            symbol_indices,
            order,
        }
    }

    /// The index of a planned section's header: those of groups come first (gABI, "Section Groups").
    fn section(&self, at: usize) -> u32 {
        number(1 + self.plan.groups.len() + at)
    }

    /// The planned sections that have relocations, in order; their tables follow all of the sections.
    fn relocated(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.plan.sections.len()).filter(|at| !self.plan.sections[*at].relocations.is_empty())
    }

    fn symbol_table(&self) -> u32 {
        self.section(self.plan.sections.len() + self.relocated().count())
    }

    fn write(&self) -> Vec<u8> {
        let mut headers = vec![Header::default()];
        headers.extend(self.plan.groups.iter().map(|group| self.group(group)));
        headers.extend(self.plan.sections.iter().map(|section| self.header(section)));
        headers.extend(self.relocated().map(|at| self.relocations(at)));
        let (symbols, strings) = self.symbols();
        headers.extend([symbols, strings]);
        file(headers)
    }

    fn group(&self, group: &GroupPlan) -> Header {
        let tables: Vec<usize> = self.relocated().collect();
        let first_table = self.plan.sections.len();
        let member_tables = group
            .members
            .iter()
            .filter_map(|member| tables.iter().position(|at| at == member))
            .map(|position| self.section(first_table + position));
        let members = group.members.iter().map(|member| self.section(*member));
        let words = [group.flags].into_iter().chain(members).chain(member_tables);
        Header {
            name: ".group".into(),
            kind: elf::SHT_GROUP.0,
            link: self.symbol_table(),
            info: self.symbol_indices.get(group.signature).copied().unwrap_or(u32::MAX),
            align: 4,
            entry_size: 4,
            contents: words.flat_map(u32::to_le_bytes).collect(),
            ..Header::default()
        }
    }

    fn header(&self, section: &SectionPlan) -> Header {
        let mut contents = section.contents.clone();
        if self.plan.table == RelocationTable::Rel {
            for relocation in &section.relocations {
                let Some(row) = Row::of(relocation.number) else {
                    continue;
                };
                let field = usize::try_from(relocation.offset)
                    .ok()
                    .and_then(|at| contents.get_mut(at..));
                if let Some(field) = field.and_then(|field| field.get_mut(..usize::from(row.width))) {
                    field.copy_from_slice(&relocation.addend.to_le_bytes()[..usize::from(row.width)]);
                }
            }
        }
        let mut size = section.size;
        let is_compressed = section.flags.0 & elf::SHF_COMPRESSED.0 != 0;
        if section.is_debug() && (is_compressed || section.is_zdebug()) && size == contents.len() as u64 {
            let mut bytes = if is_compressed {
                compression_header(size, section.align)
            } else {
                [b"ZLIB", &size.to_be_bytes()[..]].concat()
            };
            bytes.extend(stored(&contents));
            contents = bytes;
            size = contents.len() as u64;
        }
        Header {
            name: section.name.clone(),
            kind: section.kind.0,
            flags: section.flags.0,
            size: Some(size),
            link: section.link.map_or(0, |at| self.section(at)),
            align: section.align,
            contents,
            ..Header::default()
        }
    }

    fn relocations(&self, at: usize) -> Header {
        let section = &self.plan.sections[at];
        let (prefix, kind, entry_size) = match self.plan.table {
            RelocationTable::Rela => (".rela", elf::SHT_RELA, 24),
            RelocationTable::Rel => (".rel", elf::SHT_REL, 16),
            RelocationTable::Crel => (".crel", elf::SHT_CREL, 1),
        };
        Header {
            name: format!("{prefix}{}", section.name),
            kind: kind.0,
            flags: elf::SHF_INFO_LINK.0 | (section.flags.0 & elf::SHF_GROUP.0),
            link: self.symbol_table(),
            info: self.section(at),
            align: if entry_size == 1 { 1 } else { 8 },
            entry_size,
            contents: self.table(&section.relocations),
            ..Header::default()
        }
    }

    fn table(&self, relocations: &[RelocationPlan]) -> Vec<u8> {
        let symbol = |at: usize| self.symbol_indices.get(at).copied().unwrap_or(number(at));
        let mut bytes = Vec::new();
        if self.plan.table == RelocationTable::Crel {
            let entries = relocations
                .iter()
                .map(|r| (r.offset, symbol(r.symbol), r.number, r.addend));
            return crel(entries.collect());
        }
        for relocation in relocations {
            bytes.extend(relocation.offset.to_le_bytes());
            let info = u64::from(symbol(relocation.symbol)) << 32 | u64::from(relocation.number);
            bytes.extend(info.to_le_bytes());
            if self.plan.table == RelocationTable::Rela {
                bytes.extend(relocation.addend.to_le_bytes());
            }
        }
        bytes
    }

    fn symbols(&self) -> (Header, Header) {
        let mut strings = vec![0];
        let mut table = vec![0; 24];
        for symbol in self.order.iter().map(|index| &self.plan.symbols[*index]) {
            let name = if symbol.name.is_empty() {
                0
            } else {
                number(strings.len())
            };
            if name != 0 {
                strings.extend_from_slice(symbol.name.as_bytes());
                strings.push(0);
            }
            let section = match symbol.place {
                SymbolPlanPlace::Section(at) => u16::try_from(self.section(at)).unwrap_or(u16::MAX),
                SymbolPlanPlace::Index(index) => index,
            };
            table.extend(name.to_le_bytes());
            table.push(symbol.binding.0 << 4 | (symbol.kind.0 & 15));
            table.push(symbol.visibility.0);
            table.extend(section.to_le_bytes());
            table.extend(symbol.value.to_le_bytes());
            table.extend(symbol.size.to_le_bytes());
        }
        let locals = self.plan.symbols.iter().filter(|symbol| !symbol.is_global()).count();
        let symbols = Header {
            name: ".symtab".into(),
            kind: elf::SHT_SYMTAB.0,
            link: self.symbol_table() + 1,
            info: number(locals + 1),
            align: 8,
            entry_size: 24,
            contents: table,
            ..Header::default()
        };
        let strings = Header {
            name: ".strtab".into(),
            kind: elf::SHT_STRTAB.0,
            align: 1,
            contents: strings,
            ..Header::default()
        };
        (symbols, strings)
    }
}

/// What a compressed section starts with (gABI, "Section Compression").
fn compression_header(size: u64, align: u64) -> Vec<u8> {
    let words = [u64::from(elf::ELFCOMPRESS_ZLIB.0), size, align];
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

/// A zlib stream of one block that is stored as it is (RFC 1950, RFC 1951).
fn stored(contents: &[u8]) -> Vec<u8> {
    const MODULUS: u32 = 65521;
    let sums = contents.iter().fold((1, 0), |(one, two), byte| {
        let one = (one + u32::from(*byte)) % MODULUS;
        (one, (two + one) % MODULUS)
    });
    let length = contents.len() as u16;
    let mut bytes = vec![0x78, 0x01, 0x01];
    bytes.extend(length.to_le_bytes());
    bytes.extend((!length).to_le_bytes());
    bytes.extend(contents);
    bytes.extend((sums.1 << 16 | sums.0).to_be_bytes());
    bytes
}

/// The entries of an SHT_CREL section: differences to the entry before, in as few bytes as possible.
fn crel(mut entries: Vec<(u64, u32, u32, i64)>) -> Vec<u8> {
    const ADDENDS: u64 = 4;
    entries.sort_by_key(|entry| entry.0);
    let mut bytes = Vec::new();
    uleb(&mut bytes, entries.len() as u64 * 8 + ADDENDS);
    let mut last = (0_u64, 0_u32, 0_u32, 0_i64);
    for entry in entries {
        let delta = entry.0.wrapping_sub(last.0);
        let flags = u8::from(entry.1 != last.1) | u8::from(entry.2 != last.2) << 1 | u8::from(entry.3 != last.3) << 2;
        let first = ((delta << 3) as u8 & 0x7f) | flags;
        if delta < 16 {
            bytes.push(first);
        } else {
            bytes.push(first | 0x80);
            uleb(&mut bytes, delta >> 4);
        }
        if entry.1 != last.1 {
            sleb(&mut bytes, i64::from(entry.1.wrapping_sub(last.1).cast_signed()));
        }
        if entry.2 != last.2 {
            sleb(&mut bytes, i64::from(entry.2.wrapping_sub(last.2).cast_signed()));
        }
        if entry.3 != last.3 {
            sleb(&mut bytes, entry.3.wrapping_sub(last.3));
        }
        last = entry;
    }
    bytes
}

fn uleb(bytes: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
}

fn sleb(bytes: &mut Vec<u8>, mut value: i64) {
    while !(-64..64).contains(&value) {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8 & 0x7f);
}

/// File header, contents, section header table.
fn file(mut headers: Vec<Header>) -> Vec<u8> {
    let mut names = vec![0];
    headers.push(Header {
        name: ".shstrtab".into(),
        kind: elf::SHT_STRTAB.0,
        align: 1,
        ..Header::default()
    });
    let name_offsets: Vec<u32> = headers
        .iter()
        .map(|header| {
            let at = if header.name.is_empty() { 0 } else { number(names.len()) };
            if at != 0 {
                names.extend_from_slice(header.name.as_bytes());
                names.push(0);
            }
            at
        })
        .collect();
    let count = headers.len();
    headers[count - 1].contents = names;
    let mut bytes = vec![0; 64];
    let mut table = Vec::new();
    for (header, name) in headers.iter().zip(name_offsets) {
        bytes.resize(bytes.len().next_multiple_of(8), 0);
        let offset = if header.kind == 0 { 0 } else { bytes.len() as u64 };
        let size = header.size.unwrap_or(header.contents.len() as u64);
        table.extend(name.to_le_bytes());
        table.extend(header.kind.to_le_bytes());
        for word in [header.flags, 0, offset, size] {
            table.extend(word.to_le_bytes());
        }
        table.extend(header.link.to_le_bytes());
        table.extend(header.info.to_le_bytes());
        table.extend(header.align.to_le_bytes());
        table.extend(header.entry_size.to_le_bytes());
        bytes.extend_from_slice(&header.contents);
    }
    bytes.resize(bytes.len().next_multiple_of(8), 0);
    let start = bytes.len() as u64;
    bytes.extend(table);
    bytes[..16].copy_from_slice(b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0");
    bytes[16..18].copy_from_slice(&elf::ET_REL.0.to_le_bytes());
    bytes[18..20].copy_from_slice(&elf::EM_X86_64.0.to_le_bytes());
    bytes[20..24].copy_from_slice(&1_u32.to_le_bytes());
    bytes[40..48].copy_from_slice(&start.to_le_bytes());
    bytes[52..54].copy_from_slice(&64_u16.to_le_bytes());
    bytes[58..60].copy_from_slice(&64_u16.to_le_bytes());
    bytes[60..62].copy_from_slice(&(count as u16).to_le_bytes());
    bytes[62..64].copy_from_slice(&(count as u16 - 1).to_le_bytes());
    bytes
}

/// An archive in GNU's format: with the index that `ar s` makes of each member's global definitions, or without one.
#[must_use]
pub fn write_archive(members: &[ObjectPlan], index: bool) -> Vec<u8> {
    let files: Vec<Vec<u8>> = members.iter().map(ObjectPlan::write).collect();
    let names = |member: &ObjectPlan| -> Vec<Vec<u8>> {
        let defined = member.symbols.iter().filter(|s| s.is_global() && !s.is_undefined());
        defined.map(|symbol| [symbol.name.as_bytes(), &[0]].concat()).collect()
    };
    let names: Vec<Vec<Vec<u8>>> = members.iter().map(names).collect();
    let mut bytes = b"!<arch>\n".to_vec();
    if index {
        let count = names.iter().map(Vec::len).sum::<usize>();
        let size = 4 + count * 4 + names.iter().flatten().map(Vec::len).sum::<usize>();
        let mut start = 8 + 60 + size.next_multiple_of(2);
        let mut contents = number(count).to_be_bytes().to_vec();
        for (file, names) in files.iter().zip(&names) {
            contents.extend(names.iter().flat_map(|_| number(start).to_be_bytes()));
            start += 60 + file.len().next_multiple_of(2);
        }
        contents.extend(names.iter().flatten().flatten());
        member(&mut bytes, "/", &contents);
    }
    for (plan, file) in members.iter().zip(&files) {
        member(&mut bytes, &format!("{}/", plan.name), file);
    }
    bytes
}

fn member(archive: &mut Vec<u8>, name: &str, contents: &[u8]) {
    let header = format!("{name:<16}{:<12}{:<6}{:<6}{:<8}{:<10}`\n", 0, 0, 0, 644, contents.len());
    archive.extend(header.bytes());
    archive.extend_from_slice(contents);
    archive.resize(archive.len().next_multiple_of(2), b'\n');
}

/// A number of the file format; what does not fit is nonsense in any case.
fn number(value: usize) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}
