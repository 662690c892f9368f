//! What the debug sections of a linked case should be: those of all objects, joined by name, with final addresses.

use std::collections::{BTreeMap, HashMap};

use super::model::Bound;
use super::ours::Ours;
use super::plan::{RelocationPlan, SymbolPlanPlace};
use super::reference;
use crate::relocation::Values;

/// Alignments beyond that are of no use in a file.
const MOST_ALIGN: usize = 16;

/// The name of the section that one is joined to.
fn joined_name(name: &str) -> String {
    name.replace(".zdebug_", ".debug_")
}

/// Offsets in the joined sections, by object and section.
type Places = HashMap<(usize, usize), usize>;

impl Ours<'_> {
    /// A debug section that is not what it should be.
    pub(super) fn wrong_debug_section(&self) -> Option<String> {
        let case = self.model.case;
        let mut joined: BTreeMap<String, Vec<u8>> = BTreeMap::new();
        let mut places = Places::new();
        for &object in &self.order {
            for (at, section) in case.object(object).sections.iter().enumerate() {
                if section.is_debug() {
                    let bytes = joined.entry(joined_name(&section.name)).or_default();
                    let align = if section.is_zdebug() { 1 } else { section.align as usize };
                    let align = align.min(MOST_ALIGN);
                    bytes.resize(bytes.len().next_multiple_of(align), 0);
                    places.insert((object, at), bytes.len());
                    bytes.extend(&section.contents);
                }
            }
        }
        for (&(object, at), &start) in &places {
            let section = &case.object(object).sections[at];
            let bytes = joined.get_mut(&*joined_name(&section.name))?;
            for relocation in &section.relocations {
                let field = self.debug_field(object, &section.name, relocation, &places);
                let offset = start + relocation.offset as usize;
                bytes[offset..offset + field.len()].copy_from_slice(&field);
            }
        }
        let linked = self.image.debug.iter();
        let linked: BTreeMap<String, &Vec<u8>> = linked
            .map(|section| (section.name.to_string(), &section.bytes))
            .collect();
        if !linked.keys().eq(joined.keys()) {
            return Some(format!("debug sections {:?}, not {:?}", linked.keys(), joined.keys()));
        }
        joined.iter().find_map(|(name, expected)| {
            let linked = linked[name];
            let differs = |at: &usize| linked.get(*at) != expected.get(*at);
            let at = (0..linked.len().max(expected.len())).find(differs)?;
            Some(format!("{name}+{at:#x}: {linked:02x?}, not {expected:02x?}"))
        })
    }

    /// The bytes of a field. What was not linked has no address, and lists of addresses end with two zeros.
    fn debug_field(&self, object: usize, section: &str, relocation: &RelocationPlan, places: &Places) -> Vec<u8> {
        let case = self.model.case;
        let symbol = &case.object(object).symbols[relocation.symbol];
        let bound = self.model.bound(object, symbol);
        let place = match bound {
            _ if self.model.is_discarded(&bound) => None,
            Bound::Section(object, definition) => {
                let SymbolPlanPlace::Section(at) = definition.place else {
                    unreachable!("it is bound to a section");
                };
                let procedure = format!("{}@PLT", symbol.name);
                match places.get(&(object, at)) {
                    Some(start) => Some(*start as u64 + definition.value),
                    None if !case.object(object).sections[at].is_allocated() => None,
                    None if self.canonical_plt(&bound, symbol) && self.symbols.contains_key(&procedure) => {
                        Some(self.symbols[&procedure])
                    }
                    None => Some(self.definition(&bound, &symbol.name)),
                }
            }
            _ => Some(self.definition(&bound, &symbol.name)),
        };
        let values = Values {
            s: place.unwrap_or(0),
            block: place.unwrap_or(0),
            a: relocation.addend.cast_unsigned(),
            ..Values::default()
        };
        let (field, value) =
            reference::calculation(relocation.number, &values).expect("debug information has few types");
        let value = match place {
            Some(_) => value,
            None => i128::from(section == ".debug_ranges"),
        };
        value.to_le_bytes()[..field.bytes()].to_vec()
    }
}
