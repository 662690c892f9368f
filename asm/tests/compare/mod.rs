//! Two objects, compared by what a linker sees: sections, relocations, symbols.

use std::collections::BTreeMap;

use object::read::elf::{ElfFile64, ElfSymbol64};
use object::{
    Endianness, Object, ObjectSection, ObjectSymbol, RelocationFlags, RelocationTarget, SectionFlags, SymbolFlags,
    SymbolSection,
};

type File<'a> = ElfFile64<'a, Endianness>;

/// What there is to say about an object, one line a fact.
fn facts(data: &[u8]) -> BTreeMap<String, Vec<String>> {
    let file: File<'_> = ElfFile64::parse(data).expect("an ELF file");
    let mut facts: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut count: BTreeMap<String, usize> = BTreeMap::new();
    for section in file.sections() {
        let name = section.name().expect("a name").to_string();
        if [".symtab", ".strtab", ".shstrtab", ".group"].contains(&&name[..]) || name.starts_with(".rela") {
            continue;
        }
        let nth = count.entry(name.clone()).or_default();
        *nth += 1;
        let key = format!("{name}#{nth}");
        let SectionFlags::Elf { sh_flags, .. } = section.flags() else {
            unreachable!("an ELF section")
        };
        let kind = section.elf_section_header().sh_type.get(Endianness::Little);
        let about = format!(
            "type {kind:#x} flags {sh_flags:#x} align {} size {}",
            section.align(),
            section.size()
        );
        facts.entry(format!("{key} header")).or_default().push(about);
        let bytes = section.data().expect("data");
        let lines = facts.entry(format!("{key} bytes")).or_default();
        lines.extend(
            bytes
                .chunks(16)
                .enumerate()
                .map(|(i, line)| format!("{:#06x}: {line:02x?}", i * 16)),
        );
        let mut relocs = Vec::new();
        for (offset, reloc) in section.relocations() {
            let RelocationFlags::Elf { r_type } = reloc.flags() else {
                unreachable!("an ELF relocation")
            };
            let target = match reloc.target() {
                RelocationTarget::Symbol(index) => target(&file, &file.symbol_by_index(index).expect("a symbol")),
                other => format!("{other:?}"),
            };
            relocs.push(format!("{offset:#x}: type {r_type:?} {target} {:+#x}", reloc.addend()));
        }
        relocs.sort();
        facts.entry(format!("{key} relocations")).or_default().extend(relocs);
    }
    let mut symbols: Vec<String> = file
        .symbols()
        .filter_map(|symbol| symbol_fact(&file, &symbol))
        .collect();
    symbols.sort();
    facts.insert("symbols".into(), symbols);
    facts
}

fn section_name(file: &File<'_>, symbol: &ElfSymbol64<'_, '_>) -> String {
    match symbol.section() {
        SymbolSection::Section(index) => file
            .section_by_index(index)
            .expect("a section")
            .name()
            .expect("a name")
            .to_string(),
        other => format!("{other:?}"),
    }
}

fn target(file: &File<'_>, symbol: &ElfSymbol64<'_, '_>) -> String {
    match symbol.kind() {
        object::SymbolKind::Section => section_name(file, symbol),
        _ => symbol.name().expect("a name").to_string(),
    }
}

fn symbol_fact(file: &File<'_>, symbol: &ElfSymbol64<'_, '_>) -> Option<String> {
    let name = symbol.name().expect("a name");
    if name.is_empty() {
        return None;
    }
    let SymbolFlags::Elf { st_info, st_other } = symbol.flags() else {
        unreachable!("an ELF symbol")
    };
    let (section, value, size) = (section_name(file, symbol), symbol.address(), symbol.size());
    Some(format!(
        "{name}: {section}+{value:#x} size {size} info {st_info:?} other {st_other:?}"
    ))
}

/// The differences, at most a few lines each; empty where the objects are the same.
pub(crate) fn differences(ours: &[u8], theirs: &[u8]) -> Vec<String> {
    let (ours, theirs) = (facts(ours), facts(theirs));
    let mut out = Vec::new();
    let mut keys: Vec<&String> = ours.keys().chain(theirs.keys()).collect();
    keys.sort();
    keys.dedup();
    let none = Vec::new();
    for key in keys {
        let (a, b) = (ours.get(key).unwrap_or(&none), theirs.get(key).unwrap_or(&none));
        if a == b {
            continue;
        }
        out.push(format!("{key}: {} and {} lines", a.len(), b.len()));
        let only = |x: &[String], y: &[String], sign: &str| -> Vec<String> {
            let y: std::collections::BTreeSet<&String> = y.iter().collect();
            x.iter()
                .filter(|line| !y.contains(line))
                .take(4)
                .map(|line| format!("  {sign} {line}"))
                .collect()
        };
        out.extend(only(a, b, "ours  "));
        out.extend(only(b, a, "theirs"));
    }
    out
}
