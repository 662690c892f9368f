//! Which source lines instructions of an object are of.

use std::borrow::Cow;
use std::collections::HashSet;

use gimli::{Dwarf, EndianSlice, LittleEndian, SectionId};
use object::elf;

use super::object::CompareObject;

/// Each section of code gets a range of its own, since all of them start at 0 in an object.
const SECTION_BITS: u32 = 40;

/// The line of each address.
#[derive(Debug)]
pub(crate) struct Lines {
    /// Addresses with their lines, in order. No line where a sequence ends.
    rows: Vec<(u64, Option<u64>)>,
}

impl Lines {
    /// Reads an object's line table. `None` where it has none.
    pub(crate) fn read(object: &CompareObject<'_>) -> Option<Self> {
        let load = |id: SectionId| -> Result<Cow<'_, [u8]>, gimli::Error> {
            let section = object.sections.iter().position(|section| section.name == id.name());
            Ok(section.map_or(Cow::Borrowed(&[][..]), |section| Cow::Owned(relocated(object, section))))
        };
        let sections = gimli::DwarfSections::load(load).ok()?;
        let dwarf = sections.borrow(|section| EndianSlice::new(section, LittleEndian));
        let mut rows = read(&dwarf);
        rows.sort_by_key(|(address, _)| *address);
        (!rows.is_empty()).then_some(Lines { rows })
    }

    /// Whether an instruction is of a line.
    pub(crate) fn is_line(&self, section: usize, offset: u64, line: i64) -> bool {
        let address = base(section) + offset;
        let end = self.rows.partition_point(|(start, _)| *start <= address);
        let Some((last, _)) = end.checked_sub(1).and_then(|last| self.rows.get(last)) else {
            return false;
        };
        // Several rows of one address: views of it, of which each counts.
        let same = self.rows[..end].iter().rev().take_while(|(start, _)| start == last);
        same.into_iter()
            .any(|(_, known)| known.map(u64::cast_signed) == Some(line))
    }
}

fn base(section: usize) -> u64 {
    (section as u64) << SECTION_BITS
}

fn read(dwarf: &Dwarf<EndianSlice<'_, LittleEndian>>) -> Vec<(u64, Option<u64>)> {
    let mut rows = Vec::new();
    // Units may share a program, of which one reading is enough.
    let mut seen = HashSet::new();
    let mut headers = dwarf.units();
    while let Ok(Some(header)) = headers.next() {
        let program = dwarf.unit(header).ok().and_then(|unit| unit.line_program);
        let Some(program) = program.filter(|program| seen.insert(program.header().offset().0)) else {
            continue;
        };
        let mut program = program.rows();
        while let Ok(Some((_, row))) = program.next_row() {
            let line = row
                .line()
                .map(std::num::NonZeroU64::get)
                .filter(|_| !row.end_sequence());
            rows.push((row.address(), line));
        }
    }
    rows
}

/// A section with its relocations applied: addresses of code are those of its pretended range.
fn relocated(object: &CompareObject<'_>, section: usize) -> Vec<u8> {
    let section = &object.sections[section];
    let mut bytes = section.data.to_vec();
    for relocation in &section.relocations {
        let Some(symbol) = object.symbols.get(relocation.symbol) else {
            continue;
        };
        let start = symbol
            .section
            .filter(|section| object.is_code(*section))
            .map_or(0, base);
        let value = start.wrapping_add(symbol.value).wrapping_add_signed(relocation.addend);
        let width = match relocation.kind {
            elf::R_X86_64_64 => 8,
            elf::R_X86_64_32 => 4,
            _ => continue,
        };
        let at = usize::try_from(relocation.offset).unwrap_or(usize::MAX);
        if let Some(field) = bytes.get_mut(at..at.saturating_add(width)) {
            field.copy_from_slice(&value.to_le_bytes()[..width]);
        }
    }
    bytes
}
