//! Two objects, compared by what a linker sees: sections, relocations, symbols.

use std::collections::{BTreeMap, BTreeSet};

use object::read::elf::{ElfFile64, ElfSymbol64};
use object::{
    Endianness, Object, ObjectSection, ObjectSymbol, RelocationFlags, RelocationTarget, SectionFlags, SymbolFlags,
    SymbolSection,
};

use crate::debug::{self, Lines};

pub(crate) type File<'a> = ElfFile64<'a, Endianness>;

/// The most lines that are shown of one difference and side.
const SHOWN: usize = 4;

/// What there is to say about a section.
pub(crate) struct Section<'a> {
    pub(crate) header: String,
    pub(crate) bytes: &'a [u8],
    pub(crate) relocs: BTreeSet<Reloc<'a>>,
}

/// Offset, type, target, addend.
#[derive(PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Reloc<'a> {
    pub(crate) offset: u64,
    pub(crate) kind: u32,
    pub(crate) target: &'a str,
    pub(crate) addend: i64,
}

/// The sections of an object by name and number among those of the name.
pub(crate) fn sections<'a>(file: &'a File<'a>) -> BTreeMap<String, Section<'a>> {
    let mut count: BTreeMap<&str, usize> = BTreeMap::new();
    let mut sections = BTreeMap::new();
    for section in file.sections() {
        let name = section.name().expect("a name");
        if [
            ".symtab",
            ".strtab",
            ".shstrtab",
            ".group",
            ".symtab_shndx",
            ".llvm_addrsig",
        ]
        .contains(&name)
            || name.starts_with(".rela")
        {
            continue;
        }
        let nth = count.entry(name).or_default();
        *nth += 1;
        let SectionFlags::Elf { sh_flags, .. } = section.flags() else {
            unreachable!("an ELF section")
        };
        let header = section.elf_section_header();
        let kind = match header.sh_type.get(Endianness::Little).0 {
            // GNU as does not know the types that LLVM made up, and takes them for this one.
            0x6fff_4c00..=0x6fff_4cff => 1,
            kind => kind,
        };
        let header = format!(
            "type {kind:#x} flags {sh_flags:#x} align {} size {} entries of {}",
            section.align(),
            section.size(),
            header.sh_entsize.get(Endianness::Little)
        );
        let relocs = section.relocations().map(|(offset, reloc)| {
            let RelocationFlags::Elf { r_type } = reloc.flags() else {
                unreachable!("an ELF relocation")
            };
            let target = match reloc.target() {
                RelocationTarget::Symbol(index) => target(file, &file.symbol_by_index(index).expect("a symbol")),
                _ => "nothing",
            };
            Reloc {
                offset,
                kind: r_type.0,
                target,
                addend: reloc.addend(),
            }
        });
        let section = Section {
            header,
            bytes: section.data().expect("data"),
            relocs: relocs.collect(),
        };
        sections.insert(format!("{name}#{nth}"), section);
    }
    sections
}

fn section_name<'a>(file: &'a File<'a>, symbol: &ElfSymbol64<'a, '_>) -> &'a str {
    match symbol.section() {
        SymbolSection::Section(index) => file.section_by_index(index).expect("a section").name().expect("a name"),
        SymbolSection::Undefined => "undefined",
        SymbolSection::Absolute => "absolute",
        SymbolSection::Common => "common",
        _ => "elsewhere",
    }
}

fn target<'a>(file: &'a File<'a>, symbol: &ElfSymbol64<'a, '_>) -> &'a str {
    match symbol.kind() {
        object::SymbolKind::Section => section_name(file, symbol),
        _ => symbol.name().expect("a name"),
    }
}

/// The named symbols, one line each.
pub(crate) fn symbols<'a>(file: &'a File<'a>) -> BTreeSet<String> {
    let named = file
        .symbols()
        .filter(|symbol| !symbol.name().expect("a name").is_empty());
    named
        .map(|symbol| {
            let SymbolFlags::Elf { st_info, st_other } = symbol.flags() else {
                unreachable!("an ELF symbol")
            };
            let name = symbol.name().expect("a name");
            let (section, value, size) = (section_name(file, &symbol), symbol.address(), symbol.size());
            format!("{name}: {section}+{value:#x} size {size} info {st_info:?} other {st_other:?}")
        })
        .collect()
}

/// The groups: signature, flag word, members.
fn groups<'a>(file: &'a File<'a>) -> BTreeSet<String> {
    let mut groups = BTreeSet::new();
    for section in file.sections().filter(|section| section.name() == Ok(".group")) {
        let info = section.elf_section_header().sh_info.get(Endianness::Little);
        let signature = file.symbol_by_index(object::SymbolIndex(info as usize));
        let signature = target(file, &signature.expect("a symbol"));
        let words: Vec<u32> = section
            .data()
            .expect("data")
            .chunks_exact(4)
            .map(|word| u32::from_le_bytes(word.try_into().expect("four bytes")))
            .collect();
        let member = |&index: &u32| {
            let section = file.section_by_index(object::SectionIndex(index as usize));
            section.expect("a section").name().expect("a name").to_owned()
        };
        let members: BTreeSet<String> = words[1..].iter().map(member).collect();
        groups.insert(format!("{signature} {:#x} {members:?}", words[0]));
    }
    groups
}

pub(crate) fn parse(data: &[u8]) -> File<'_> {
    ElfFile64::parse(data).expect("an ELF file")
}

/// The differences, at most a few lines each; empty where the objects are the same.
pub(crate) fn differences(ours: &[u8], theirs: &[u8]) -> Vec<String> {
    let (ours, theirs) = (parse(ours), parse(theirs));
    let (a, b) = (sections(&ours), sections(&theirs));
    let mut out = Vec::new();
    let names: BTreeSet<&String> = a.keys().chain(b.keys()).collect();
    for name in names {
        match (a.get(name), b.get(name)) {
            (Some(ours), Some(theirs)) => {
                let strings = |sections: &BTreeMap<String, Section<'_>>| {
                    sections
                        .get(".debug_line_str#1")
                        .map_or(Vec::new(), |section| section.bytes.to_vec())
                };
                if name.starts_with(".debug_line#")
                    && ours.bytes != theirs.bytes
                    && same_lines(name, (ours, &strings(&a)), (theirs, &strings(&b)))
                {
                    continue;
                }
                section_differences(name, ours, theirs, &mut out);
            }
            (Some(_), None) => out.push(format!("{name}: only ours")),
            (None, _) => out.push(format!("{name}: only theirs")),
        }
    }
    set_differences("symbols", &symbols(&ours), &symbols(&theirs), &mut out);
    set_differences("groups", &groups(&ours), &groups(&theirs), &mut out);
    out
}

/// Whether two line tables have the same headers and rows.
fn same_lines(name: &str, ours: (&Section<'_>, &[u8]), theirs: (&Section<'_>, &[u8])) -> bool {
    let [a, b] = [ours, theirs].map(|(section, strings)| debug::lines(section, strings));
    let same = matches!((&a, &b), (Ok(a), Ok(b)) if a == b);
    if same {
        println!("{name}: the same rows, with addresses stated at other places");
    } else if let Some(text) = line_difference(a, b) {
        println!("{name}: {text}");
    }
    same
}

/// The first difference between what line tables say, less their headers.
pub(crate) fn line_difference(ours: gimli::Result<Lines<'_>>, theirs: gimli::Result<Lines<'_>>) -> Option<String> {
    let (ours, theirs) = match (ours, theirs) {
        (Ok(ours), Ok(theirs)) => (ours, theirs),
        (Err(error), _) | (_, Err(error)) => return Some(error.to_string()),
    };
    if ours.names != theirs.names {
        return Some(format!("files {:?} and {:?}", ours.names, theirs.names));
    }
    let differ = ours.rows.iter().zip(&theirs.rows).find(|(a, b)| a != b);
    if let Some((a, b)) = differ {
        return Some(format!("{a:?} and {b:?}"));
    }
    (ours.rows.len() != theirs.rows.len()).then(|| format!("{} and {} rows", ours.rows.len(), theirs.rows.len()))
}

fn section_differences(name: &str, a: &Section<'_>, b: &Section<'_>, out: &mut Vec<String>) {
    if a.header != b.header {
        out.push(format!("{name}:\n  ours   {}\n  theirs {}", a.header, b.header));
    }
    if a.bytes != b.bytes {
        let at = a.bytes.iter().zip(b.bytes).take_while(|(a, b)| a == b).count();
        let around = |bytes: &[u8]| format!("{:02x?}", &bytes[at.saturating_sub(8)..bytes.len().min(at + 16)]);
        out.push(format!(
            "{name}: bytes from {at:#x}\n  ours   {}\n  theirs {}",
            around(a.bytes),
            around(b.bytes)
        ));
    }
    if a.relocs != b.relocs {
        let text = |set: &BTreeSet<Reloc<'_>>, other: &BTreeSet<Reloc<'_>>| {
            let only = set.difference(other).take(SHOWN);
            only.map(|r| format!("{:#x}: type {} {} {:+#x}", r.offset, r.kind, r.target, r.addend))
                .collect::<Vec<_>>()
        };
        show(
            &format!("{name} relocations"),
            &text(&a.relocs, &b.relocs),
            &text(&b.relocs, &a.relocs),
            out,
        );
    }
}

pub(crate) fn set_differences(what: &str, a: &BTreeSet<String>, b: &BTreeSet<String>, out: &mut Vec<String>) {
    if a != b {
        let only =
            |a: &BTreeSet<String>, b: &BTreeSet<String>| a.difference(b).take(SHOWN).cloned().collect::<Vec<_>>();
        show(what, &only(a, b), &only(b, a), out);
    }
}

fn show(what: &str, ours: &[String], theirs: &[String], out: &mut Vec<String>) {
    out.push(format!("{what}:"));
    out.extend(ours.iter().map(|line| format!("  ours   {line}")));
    out.extend(theirs.iter().map(|line| format!("  theirs {line}")));
}
