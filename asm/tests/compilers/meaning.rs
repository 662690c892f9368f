//! Two objects of which one is LLVM's: the same but for its own ways to say the same.
//!
//! | LLVM's way | what is compared |
//! |---|---|
//! | padding by other nops; operands of commutative instructions in another order | the instructions |
//! | a jump stays long that could be short where padding in between shrank | the instructions, targets by their number |
//! | relocations against labels where GNU as has the section and an offset | section and offset |
//! | PLT32 for calls of what is local, and of what is global in the same section | the instruction that is meant |
//! | `.local` and `.comm` allocate at once, not behind all of `.bss` | symbols and references there by name |
//! | call frames and line tables have many encodings | the rules at each address; files and rows |
//! | rows of line 0, which GNU as leaves out | the other rows |
//!
//! Where a jump has another length, addresses differ from there on: then code is compared, and of other sections no more
//! than that there are as many bytes in those that do not tell of code.

use std::collections::{BTreeMap, BTreeSet};

use object::{Object, ObjectSection, ObjectSymbol, RelocationFlags, RelocationTarget, SectionKind, SymbolSection};

use crate::code::{self, Code, Targets};
use crate::compare::{File, Reloc, Section, line_difference, parse, set_differences};
use crate::debug::{self, Lines};

/// Strings may be in another order; what refers to them is compared.
const FREE: [&str; 2] = [".debug_frame#1", ".debug_line_str#1"];

/// Sections that tell of code by addresses and lengths.
const OF_CODE: [&str; 3] = [".debug_", ".eh_frame#", ".gcc_except_table"];

pub(crate) fn differences(our_object: &[u8], their_object: &[u8]) -> Result<Vec<String>, String> {
    let (ours, theirs) = (parse(our_object), parse(their_object));
    let (a, b) = (contents(&ours), contents(&theirs));
    let (our_code, their_code) = (code::disassembled(our_object)?, code::disassembled(their_object)?);
    let mut out = Vec::new();
    let places = |code: &Code| code.0.iter().map(|instruction| instruction.offset).collect::<Vec<_>>();
    let aligned = our_code
        .iter()
        .all(|(name, code)| their_code.get(name).is_none_or(|other| places(code) == places(other)));
    if !aligned {
        println!("LLVM left a jump long");
    }
    for (name, theirs) in b.iter().filter(|(_, section)| section.header == "code") {
        let (Some(ours), Some(code), Some(their_code)) = (a.get(name), our_code.get(name), their_code.get(name)) else {
            out.push(format!("{name}: only theirs"));
            continue;
        };
        let difference = code::difference((code, &targets(name, ours)), (their_code, &targets(name, theirs)));
        out.extend(difference.map(|text| format!("{name}: {text}")));
        let [ours, theirs] =
            [(ours, code), (theirs, their_code)].map(|(s, code)| by_instruction(name, s, code, aligned));
        set_differences(&format!("{name} relocations"), &ours, &theirs, &mut out);
    }
    let other = b
        .iter()
        .filter(|(name, section)| section.header != "code" && !FREE.contains(&name.as_str()));
    for (name, theirs) in other {
        let Some(ours) = a.get(name) else {
            out.push(format!("{name}: only theirs"));
            continue;
        };
        if aligned {
            let pair = ((ours, strings(&a)), (theirs, strings(&b)));
            section_difference(name, pair.0, pair.1, &mut out);
        } else if ours.bytes.len() != theirs.bytes.len() && !OF_CODE.iter().any(|start| name.starts_with(start)) {
            out.push(format!("{name}: {} and {} bytes", ours.bytes.len(), theirs.bytes.len()));
        }
    }
    out.extend(
        a.keys()
            .filter(|name| !b.contains_key(*name))
            .map(|name| format!("{name}: only ours")),
    );
    set_differences(
        "global symbols",
        &globals(&ours, aligned),
        &globals(&theirs, aligned),
        &mut out,
    );
    Ok(out)
}

fn strings<'a>(contents: &BTreeMap<String, Section<'a>>) -> &'a [u8] {
    contents.get(".debug_line_str#1").map_or(&[], |section| section.bytes)
}

fn section_difference(
    name: &str,
    (ours, our_strings): (&Section<'_>, &[u8]),
    (theirs, their_strings): (&Section<'_>, &[u8]),
    out: &mut Vec<String>,
) {
    let difference = match name {
        ".eh_frame#1" => frame_difference(ours, theirs),
        ".debug_line#1" => {
            let [ours, theirs] =
                [(ours, our_strings), (theirs, their_strings)].map(|(s, strings)| debug::lines(s, strings));
            line_difference(ours.map(Lines::plain), theirs.map(Lines::plain))
        }
        _ => {
            let lengths = format!("{} and {} bytes differ", ours.bytes.len(), theirs.bytes.len());
            set_differences(&format!("{name} relocations"), &listed(ours), &listed(theirs), out);
            (ours.bytes != theirs.bytes).then_some(lengths)
        }
    };
    out.extend(difference.map(|text| format!("{name}: {text}")));
}

/// Whether a relocation is to the section that it is in.
fn is_within(name: &str, reloc: &Reloc<'_>) -> bool {
    reloc.kind == 2 && name.rsplit_once('#').is_some_and(|(name, _)| name == reloc.target)
}

fn targets(name: &str, section: &Section<'_>) -> Targets {
    let relocs = section.relocs.iter();
    relocs
        .map(|reloc| {
            let target = is_within(name, reloc).then(|| (reloc.addend + 4).cast_unsigned());
            (reloc.offset, target)
        })
        .collect()
}

/// Relocations of code: of which instruction, type and target, and the addend where all addresses are the same.
fn by_instruction(name: &str, section: &Section<'_>, code: &Code, aligned: bool) -> BTreeSet<String> {
    let relocs = section.relocs.iter().filter(|reloc| !is_within(name, reloc));
    relocs
        .map(|r| {
            let (index, kind) = (code.index(r.offset), r.kind);
            let addend = if aligned { r.addend } else { 0 };
            format!("instruction {index}: type {kind} {} {addend:+#x}", r.target)
        })
        .collect()
}

fn frame_difference(ours: &Section<'_>, theirs: &Section<'_>) -> Option<String> {
    let (ours, theirs) = match (debug::frames(ours), debug::frames(theirs)) {
        (Ok(ours), Ok(theirs)) => (ours, theirs),
        (Err(error), _) | (_, Err(error)) => return Some(error.to_string()),
    };
    let differ = ours.iter().zip(&theirs).find(|(a, b)| a != b);
    match differ {
        Some((a, b)) => Some(format!("\n  ours   {a}\n  theirs {b}")),
        None => (ours.len() != theirs.len()).then(|| format!("{} and {} functions", ours.len(), theirs.len())),
    }
}

fn listed(section: &Section<'_>) -> BTreeSet<String> {
    let relocs = section.relocs.iter();
    relocs
        .map(|r| format!("{:#x}: type {} {} {:+#x}", r.offset, r.kind, r.target, r.addend))
        .collect()
}

/// The sections that are not empty, by name and number among those of the name. What is local is its section and an
/// offset, or in sections without contents a symbol.
fn contents<'a>(file: &'a File<'a>) -> BTreeMap<String, Section<'a>> {
    let mut count: BTreeMap<&str, usize> = BTreeMap::new();
    let mut contents = BTreeMap::new();
    let empty = without_contents(file);
    for section in file.sections() {
        let name = section.name().expect("a name");
        let of_the_file =
            matches!(section.kind(), SectionKind::Metadata) || name.starts_with(".rela") || name == ".group";
        if section.size() == 0 || of_the_file || name == ".llvm_addrsig" {
            continue;
        }
        let nth = count.entry(name).or_default();
        *nth += 1;
        let relocs = section.relocations().map(|(offset, reloc)| {
            let RelocationFlags::Elf { r_type } = reloc.flags() else {
                unreachable!("an ELF relocation")
            };
            // PLT32 is PC32 for what another object cannot replace, and for a linker that makes no PLT.
            let kind = if r_type.0 == 4 { 2 } else { r_type.0 };
            let (target, base) = match reloc.target() {
                RelocationTarget::Symbol(index) => {
                    let symbol = file.symbol_by_index(index).expect("a symbol");
                    match symbol.section_index() {
                        Some(own) if kind == 2 && own == section.index() => (name, symbol.address() as i64),
                        _ => target(file, &empty, index, kind, reloc.addend()),
                    }
                }
                _ => ("nothing", 0),
            };
            Reloc {
                offset,
                kind,
                target,
                addend: reloc.addend() + base,
            }
        });
        let header = if section.kind() == SectionKind::Text {
            "code"
        } else {
            "data"
        };
        let entry = Section {
            header: header.to_owned(),
            bytes: section.data().expect("data"),
            relocs: relocs.collect(),
        };
        contents.insert(format!("{name}#{nth}"), entry);
    }
    contents
}

/// The symbols of sections without contents, by section and address.
type Empty<'a> = BTreeMap<(usize, u64), &'a str>;

fn without_contents<'a>(file: &'a File<'a>) -> Empty<'a> {
    let symbols = file.symbols().filter_map(|symbol| {
        let section = symbol.section_index()?;
        let kind = file.section_by_index(section).ok()?.kind();
        let name = symbol.name().ok().filter(|name| !name.is_empty())?;
        (kind == SectionKind::UninitializedData).then_some(((section.0, symbol.address()), name))
    });
    symbols.collect()
}

/// What a relocation is against, and what to add to its addend.
fn target<'a>(
    file: &'a File<'a>,
    empty: &Empty<'a>,
    index: object::SymbolIndex,
    kind: u32,
    addend: i64,
) -> (&'a str, i64) {
    let symbol = file.symbol_by_index(index).expect("a symbol");
    let SymbolSection::Section(section) = symbol.section() else {
        return (symbol.name().expect("a name"), 0);
    };
    if !symbol.is_local() {
        return (symbol.name().expect("a name"), 0);
    }
    let address = symbol.address();
    // PC32 is relative to four bytes behind its place, most often.
    let meant = address.saturating_add_signed(if kind == 2 { addend + 4 } else { addend });
    match empty.range((section.0, 0)..=(section.0, meant)).next_back() {
        Some(((_, at), name)) => (*name, address as i64 - *at as i64),
        None => {
            let section = file.section_by_index(section).expect("a section");
            (section.name().expect("a name"), address as i64)
        }
    }
}

fn globals(file: &File<'_>, aligned: bool) -> BTreeSet<String> {
    let empty = without_contents(file);
    let symbols = file
        .symbols()
        .filter(|symbol| !symbol.is_local() && !symbol.is_undefined());
    symbols
        .map(|symbol| {
            let name = symbol.name().expect("a name");
            let in_empty = symbol
                .section_index()
                .is_some_and(|section| empty.contains_key(&(section.0, symbol.address())));
            if in_empty || !aligned {
                return format!("{name}: {:?}", symbol.kind());
            }
            format!(
                "{name}: {:?} {:#x} size {}",
                symbol.kind(),
                symbol.address(),
                symbol.size()
            )
        })
        .collect()
}
