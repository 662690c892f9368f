//! Copies of a function inside of others, as the debug information tells: a patch of the function does not reach them.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use gimli::{AttributeValue, Dwarf, EndianSlice, LittleEndian, SectionId, UnitOffset};
use object::read::elf::ElfFile64;
use object::{Object as _, ObjectSection as _};

use crate::retarget::base_name;

type Reader<'a> = EndianSlice<'a, LittleEndian>;
type Unit<'a> = gimli::Unit<Reader<'a>>;

/// Functions by name: the source file of static ones, of which other files may have another one of the same name.
pub(crate) type Names<'n> = BTreeMap<&'n str, Option<&'n str>>;

/// For each of some functions, the functions that have a copy of it. Empty where there is no debug information.
pub(crate) fn callers(file: &[u8], names: &Names<'_>) -> HashMap<String, BTreeSet<String>> {
    // Debug information that cannot be read tells nothing; the patch does not depend on it.
    read(file, names).unwrap_or_default()
}

fn read(file: &[u8], names: &Names<'_>) -> Option<HashMap<String, BTreeSet<String>>> {
    let elf = ElfFile64::<object::LittleEndian>::parse(file).ok()?;
    let load = |id: SectionId| -> Result<Cow<'_, [u8]>, gimli::Error> {
        let section = elf.section_by_name(id.name());
        Ok(section
            .and_then(|section| section.uncompressed_data().ok())
            .unwrap_or_default())
    };
    let sections = gimli::DwarfSections::load(load).ok()?;
    let dwarf = sections.borrow(|section| EndianSlice::new(section, LittleEndian));
    let mut found: HashMap<String, BTreeSet<String>> = HashMap::new();
    let mut headers = dwarf.units();
    while let Ok(Some(header)) = headers.next() {
        if let Ok(unit) = dwarf.unit(header) {
            collect(&dwarf, &unit, names, &mut found);
        }
    }
    Some(found)
}

fn collect(
    dwarf: &Dwarf<Reader<'_>>,
    unit: &Unit<'_>,
    names: &Names<'_>,
    found: &mut HashMap<String, BTreeSet<String>>,
) {
    let mut entries = unit.entries();
    let unit_file = unit.name.map(|name| name.to_string_lossy());
    let unit_file = unit_file.as_deref().map(base_name);
    // The functions around the entry, each with its depth.
    let mut around: Vec<(isize, String)> = Vec::new();
    while let Ok(Some(entry)) = entries.next_dfs() {
        let depth = entry.depth();
        around.retain(|(outer, _)| *outer < depth);
        match entry.tag() {
            gimli::DW_TAG_subprogram => around.push((depth, name_of(dwarf, unit, entry, 0).unwrap_or_default())),
            gimli::DW_TAG_inlined_subroutine => {
                let name = name_of(dwarf, unit, entry, 0).unwrap_or_default();
                let (Some(file), Some((_, caller))) = (names.get(&*name), around.last()) else {
                    continue;
                };
                let same = if is_external(unit, entry, 0) {
                    file.is_none()
                } else {
                    *file == unit_file
                };
                if same {
                    found.entry(name).or_default().insert(caller.clone());
                }
            }
            _ => {}
        }
    }
}

/// How many references lead from an instance of a function to its declaration, at most.
const LONGEST_CHAIN: u32 = 8;

/// Whether a function is the same in all files.
fn is_external(unit: &Unit<'_>, entry: &gimli::DebuggingInformationEntry<Reader<'_>>, steps: u32) -> bool {
    if entry.attr_value(gimli::DW_AT_external).is_some() {
        return true;
    }
    [gimli::DW_AT_abstract_origin, gimli::DW_AT_specification]
        .into_iter()
        .any(|reference| match entry.attr_value(reference) {
            Some(AttributeValue::UnitRef(offset)) if steps < LONGEST_CHAIN => unit
                .entry(offset)
                .is_ok_and(|entry| is_external(unit, &entry, steps + 1)),
            _ => false,
        })
}

/// The name that the symbol table has for a function: its own, or that of what it is an instance or a definition of.
fn name_of(
    dwarf: &Dwarf<Reader<'_>>,
    unit: &Unit<'_>,
    entry: &gimli::DebuggingInformationEntry<Reader<'_>>,
    steps: u32,
) -> Option<String> {
    let text = |name| {
        let value = dwarf.attr_string(unit, entry.attr_value(name)?).ok()?;
        Some(value.to_string_lossy().into_owned())
    };
    if let Some(name) = text(gimli::DW_AT_linkage_name) {
        return Some(name);
    }
    for reference in [gimli::DW_AT_abstract_origin, gimli::DW_AT_specification] {
        if let Some(AttributeValue::UnitRef(offset)) = entry.attr_value(reference)
            && steps < LONGEST_CHAIN
        {
            return follow(dwarf, unit, offset, steps);
        }
    }
    text(gimli::DW_AT_name)
}

fn follow(dwarf: &Dwarf<Reader<'_>>, unit: &Unit<'_>, offset: UnitOffset, steps: u32) -> Option<String> {
    let entry = unit.entry(offset).ok()?;
    name_of(dwarf, unit, &entry, steps + 1)
}
