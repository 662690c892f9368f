//! Whether a function is the same as before: a number for what it does, wherever it is and whatever lies around it.
//!
//! The number covers the instructions, with the fields of relocations left out, and what these refer to: symbols by their
//! name, strings by their contents, other constants with those around them, other places by section and offset. Two
//! versions with the same number are the same; of two with different numbers one may only lie differently among its
//! neighbours.

use std::hash::Hasher;

use object::elf;
use rustc_hash::FxHasher;

use crate::object::{Relocation, Section};
use crate::own::OwnKind;
use crate::relocation::{Formula, Row};
use crate::unit::{Definition, SymbolId, Unit};

/// A function's part of a section, with its place in [`Unit::owns`].
struct Part {
    start: u64,
    end: u64,
    own: usize,
}

/// The numbers of all own functions, by their place in [`Unit::owns`]; 0 for what is no function, or has no size.
pub(crate) fn of_functions(unit: &Unit<'_>) -> Vec<u64> {
    let mut numbers = vec![0; unit.owns.len()];
    let mut parts: Vec<(u32, u32, Part)> = Vec::new();
    for (own, owned) in unit.owns.iter().enumerate() {
        let symbol = &unit.symbols[owned.id.0 as usize];
        if let (OwnKind::Function, Definition::Section { section, value }) = (owned.kind, symbol.definition) {
            let end = value.saturating_add(symbol.size);
            parts.push((symbol.object, section, Part { start: value, end, own }));
        }
    }
    parts.sort_unstable_by_key(|(object, section, part)| (*object, *section, part.start));
    for group in parts.chunk_by(|one, other| (one.0, one.1) == (other.0, other.1)) {
        let (object, section) = (group[0].0 as usize, group[0].1 as usize);
        let section = &unit.objects[object].sections[section];
        let mut relocations: Vec<Relocation> = section.relocations.iter().collect();
        relocations.sort_by_key(|relocation| relocation.offset);
        for (_, _, part) in group {
            let first = relocations.partition_point(|relocation| relocation.offset < part.start);
            let end = relocations.partition_point(|relocation| relocation.offset < part.end);
            numbers[part.own] = number(unit, object, section, part, &relocations[first..end.max(first)]);
        }
    }
    numbers
}

fn number(unit: &Unit<'_>, object: usize, section: &Section<'_>, part: &Part, relocations: &[Relocation]) -> u64 {
    if part.start == part.end {
        // Assembly need not say how long a function is.
        return 0;
    }
    let mut hasher = FxHasher::default();
    let length = section.data.len() as u64;
    let bytes =
        |from: u64, to: u64| &section.data[from.min(length) as usize..to.clamp(from.min(length), length) as usize];
    let mut at = part.start;
    for relocation in relocations {
        let width = Row::of(relocation.number).map_or(0, |row| u64::from(row.width));
        hasher.write(bytes(at, relocation.offset));
        at = at.max(relocation.offset + width);
        hasher.write_u64(relocation.offset - part.start);
        hasher.write_u32(relocation.number);
        if let Some(id) = unit.symbol_ids[object].get(relocation.symbol as usize) {
            write_target(unit, *id, relocation, &mut hasher);
        }
    }
    hasher.write(bytes(at, part.end));
    hasher.write_u64(part.end - part.start);
    // 0 is for what has none.
    hasher.finish().max(1)
}

fn write_target(unit: &Unit<'_>, id: SymbolId, relocation: &Relocation, hasher: &mut FxHasher) {
    let symbol = &unit.symbols[id.0 as usize];
    let Definition::Section { section, value } = symbol.definition else {
        hasher.write(symbol.name);
        hasher.write_i64(relocation.addend);
        return;
    };
    let section = &unit.objects[symbol.object as usize].sections[section as usize];
    if !symbol.name.is_empty() && symbol.kind != elf::STT_SECTION && !symbol.name.starts_with(b".L") {
        hasher.write(symbol.name);
        hasher.write_i64(relocation.addend);
        return;
    }
    hasher.write(section.name);
    let offset = value.wrapping_add_signed(relocation.addend);
    if !section.flags.contains(elf::SHF_STRINGS) {
        hasher.write_u64(offset);
        // Where a constant without a name ends is not known: a number, or a string of unoptimized code.
        if !section.flags.contains(elf::SHF_EXECINSTR) && !section.flags.contains(elf::SHF_WRITE) {
            hasher.write(section.data);
        }
        return;
    }
    // The addend of a field in code counts from the end of the field.
    let is_relative = Row::of(relocation.number).is_some_and(|row| row.formula == Formula::Relative);
    let start = offset.wrapping_add(if is_relative { 4 } else { 0 });
    let text = usize::try_from(start)
        .ok()
        .and_then(|start| section.data.get(start..))
        .unwrap_or_default();
    hasher.write(text.split(|byte| *byte == 0).next().unwrap_or_default());
}
