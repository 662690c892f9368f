//! Two objects of which one is LLVM's: the same but for its own ways to say the same.
//!
//! These are: padding by other nops; encodings of equal length (operands of commutative instructions in another order);
//! relocations against labels where GNU as has the section and an offset; call frames and line tables, which have many
//! encodings; and no sections that are empty.

use std::collections::{BTreeMap, BTreeSet};

use iced_x86::{Decoder, DecoderOptions, Instruction, Mnemonic};
use object::{Object, ObjectSection, ObjectSymbol, RelocationFlags, RelocationTarget, SectionKind, SymbolSection};

use crate::compare::{File, parse, set_differences};

/// Sections that have many encodings.
const FREE: [&str; 4] = [".eh_frame", ".debug_frame", ".debug_line", ".debug_line_str"];

pub(crate) fn differences(ours: &[u8], theirs: &[u8]) -> Vec<String> {
    let (ours, theirs) = (parse(ours), parse(theirs));
    let (a, b) = (contents(&ours), contents(&theirs));
    let mut out = Vec::new();
    for (name, theirs) in &b {
        let Some(ours) = a.get(name) else {
            out.push(format!("{name}: only theirs"));
            continue;
        };
        if ours.is_code {
            out.extend(code_difference(ours.bytes, theirs.bytes).map(|text| format!("{name}: {text}")));
        } else if ours.bytes != theirs.bytes {
            out.push(format!(
                "{name}: {} and {} bytes differ",
                ours.bytes.len(),
                theirs.bytes.len()
            ));
        }
        set_differences(&format!("{name} relocations"), &ours.relocs, &theirs.relocs, &mut out);
    }
    out.extend(
        a.keys()
            .filter(|name| !b.contains_key(*name))
            .map(|name| format!("{name}: only ours")),
    );
    set_differences("global symbols", &globals(&ours), &globals(&theirs), &mut out);
    out
}

struct Contents<'a> {
    is_code: bool,
    bytes: &'a [u8],
    relocs: BTreeSet<String>,
}

/// The sections that are not empty and have one encoding, by name and number among those of the name.
fn contents<'a>(file: &'a File<'a>) -> BTreeMap<String, Contents<'a>> {
    let mut count: BTreeMap<&str, usize> = BTreeMap::new();
    let mut contents = BTreeMap::new();
    for section in file.sections() {
        let name = section.name().expect("a name");
        let of_the_file =
            matches!(section.kind(), SectionKind::Metadata) || name.starts_with(".rela") || name == ".group";
        if section.size() == 0 || of_the_file || FREE.contains(&name) || name == ".llvm_addrsig" {
            continue;
        }
        let nth = count.entry(name).or_default();
        *nth += 1;
        let relocs = section.relocations().map(|(offset, reloc)| {
            let RelocationFlags::Elf { r_type } = reloc.flags() else {
                unreachable!("an ELF relocation")
            };
            let RelocationTarget::Symbol(index) = reloc.target() else {
                return format!("{offset:#x}: type {} nothing {:+#x}", r_type.0, reloc.addend());
            };
            let symbol = file.symbol_by_index(index).expect("a symbol");
            let (target, base) = match symbol.section() {
                SymbolSection::Section(section) if symbol.is_local() => {
                    let section = file.section_by_index(section).expect("a section");
                    (section.name().expect("a name"), symbol.address() as i64)
                }
                _ => (symbol.name().expect("a name"), 0),
            };
            format!("{offset:#x}: type {} {target} {:+#x}", r_type.0, reloc.addend() + base)
        });
        let entry = Contents {
            is_code: section.kind() == SectionKind::Text,
            bytes: section.data().expect("data"),
            relocs: relocs.collect(),
        };
        contents.insert(format!("{name}#{nth}"), entry);
    }
    contents
}

fn globals(file: &File<'_>) -> BTreeSet<String> {
    let symbols = file
        .symbols()
        .filter(|symbol| !symbol.is_local() && !symbol.is_undefined());
    symbols
        .map(|symbol| {
            let name = symbol.name().expect("a name");
            format!(
                "{name}: {:?} {:#x} size {}",
                symbol.kind(),
                symbol.address(),
                symbol.size()
            )
        })
        .collect()
}

/// Walks over two pieces of code until they differ in more than padding or in encodings of equal length.
fn code_difference(ours: &[u8], theirs: &[u8]) -> Option<String> {
    if ours.len() != theirs.len() {
        return Some(format!("{} and {} bytes of code", ours.len(), theirs.len()));
    }
    let mut at = 0;
    while at < ours.len() {
        let (a, b) = (decode(ours, at), decode(theirs, at));
        let equal = a.len() == b.len() && ours[at..at + a.len()] == theirs[at..at + b.len()];
        if equal || (a.len() == b.len() && meaning(&a) == meaning(&b)) {
            at += a.len();
            continue;
        }
        let (end, other) = (behind_nops(ours, at), behind_nops(theirs, at));
        if end == at || end != other {
            return Some(format!("at {at:#x}: {a} and {b}"));
        }
        at = end;
    }
    None
}

fn decode(code: &[u8], at: usize) -> Instruction {
    Decoder::with_ip(64, &code[at..], at as u64, DecoderOptions::NONE).decode()
}

/// Mnemonic and operands, whatever their order.
fn meaning(instruction: &Instruction) -> (Mnemonic, Vec<String>) {
    let text = instruction.to_string();
    let operands = text.split_once(' ').map_or("", |(_, operands)| operands);
    let mut operands: Vec<String> = operands.split(',').map(str::to_owned).collect();
    operands.sort();
    (instruction.mnemonic(), operands)
}

/// Where the nops end that start here; GNU as jumps over many.
fn behind_nops(code: &[u8], from: usize) -> usize {
    let mut at = from;
    while at < code.len() {
        let instruction = decode(code, at);
        at = match instruction.mnemonic() {
            Mnemonic::Nop => at + instruction.len(),
            Mnemonic::Xchg if code[at..].starts_with(&[0x66, 0x90]) => at + 2,
            Mnemonic::Jmp if at == from && instruction.near_branch_target() > at as u64 => {
                instruction.near_branch_target() as usize
            }
            _ => break,
        };
    }
    at.min(code.len())
}
