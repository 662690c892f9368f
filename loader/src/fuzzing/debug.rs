//! What the debug sections of a linked case should be: those of all objects, joined by name, with final addresses.

use std::collections::{BTreeMap, HashMap};

use object::elf;

use super::kinds::array_priority;
use super::model::Bound;
use super::ours::Ours;
use super::plan::{GroupPlan, RelocationPlan, SymbolPlanPlace};
use super::reference;
use crate::relocation::Values;

/// Alignments beyond that are of no use in a file.
const MOST_ALIGN: usize = 16;

/// The name of the section that one is joined to.
fn joined_name(name: &str) -> String {
    name.replace(".zdebug_", ".debug_")
}

/// Definitions that the resolver has bound to something else: their addresses, by name.
pub(super) type Elsewhere = HashMap<String, u64>;

/// Offsets in the joined sections, by object and section.
type Places = HashMap<(usize, usize), usize>;

impl Ours<'_> {
    /// A debug section that is not what it should be, where some variables are elsewhere.
    pub(super) fn wrong_debug_section(&self, elsewhere: &Elsewhere) -> Option<String> {
        let case = self.model.case;
        let linked = self.image.debug.iter();
        let linked: BTreeMap<String, &Vec<u8>> = linked
            .map(|section| (section.name.to_string(), &section.bytes))
            .collect();
        let mut joined: BTreeMap<String, Vec<u8>> = BTreeMap::new();
        let mut places = Places::new();
        for &object in &self.order {
            for (at, section) in case.object(object).sections.iter().enumerate() {
                if section.is_debug() && !self.model.discarded.contains(&(object, at)) {
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
                let offset = start + relocation.offset as usize;
                let (surely, field) = self.debug_field(object, &section.name, relocation, &places, elsewhere);
                let range = offset..offset + field.len();
                let linked = linked.get(&joined_name(&section.name))?.get(range.clone())?;
                bytes[range].copy_from_slice(if surely { &field } else { linked });
            }
        }
        if !linked.keys().eq(joined.keys()) {
            return Some(format!("debug sections {:?}, not {:?}", linked.keys(), joined.keys()));
        }
        joined.iter().find_map(|(name, expected)| {
            let linked = linked[name];
            let differs = |at: &usize| linked.get(*at) != expected.get(*at);
            let at = (0..linked.len().max(expected.len())).find(differs)?;
            let field = places.iter().find_map(|(&(object, section), start)| {
                let object = case.object(object);
                let section = &object.sections[section];
                let mut relocations = section.relocations.iter();
                let field = relocations.find(|field| (start + field.offset as usize..).take(8).any(|byte| byte == at));
                let field = field.filter(|_| joined_name(&section.name) == *name)?;
                Some((&object.name, field, &object.symbols[field.symbol]))
            });
            Some(format!(
                "{name}+{at:#x}: {linked:02x?}, not {expected:02x?}, in {field:?}"
            ))
        })
    }

    /// The bytes of a field, and whether it surely has them. What was not linked has no address, and lists of addresses
    /// end with two zeros.
    fn debug_field(
        &self,
        object: usize,
        section: &str,
        relocation: &RelocationPlan,
        places: &Places,
        elsewhere: &Elsewhere,
    ) -> (bool, Vec<u8>) {
        let case = self.model.case;
        let symbol = &case.object(object).symbols[relocation.symbol];
        let bound = self.model.bound(object, symbol);
        let mut surely = true;
        let kept = elsewhere.get(&symbol.name).copied();
        let place = match bound {
            Bound::Section(object, definition) => {
                let SymbolPlanPlace::Section(at) = definition.place else {
                    unreachable!("it is bound to a section");
                };
                let place = if self.model.is_discarded(&bound) {
                    self.chosen_copy(object, at)
                } else {
                    Some((object, at))
                };
                let procedure = format!("{}@PLT", symbol.name);
                match place {
                    Some(place) if places.contains_key(&place) => Some(places[&place] as u64 + definition.value),
                    Some(_) if self.model.is_discarded(&bound) => None,
                    Some((_, at)) if !case.object(object).sections[at].is_allocated() => None,
                    Some(_) if self.canonical_plt(&bound, symbol) && self.symbols.contains_key(&procedure) => {
                        Some(self.symbols[&procedure])
                    }
                    Some(_) if definition.kind == elf::STT_SECTION => {
                        let shift = self.shift(object, at, relocation.addend.cast_unsigned(), elsewhere);
                        surely = shift.is_some();
                        let start = self.definition(&bound, &symbol.name);
                        Some(start.wrapping_add(shift.unwrap_or(0)))
                    }
                    Some(_) => {
                        let kept = kept.filter(|_| !matches!(definition.kind, elf::STT_FUNC | elf::STT_GNU_IFUNC));
                        Some(kept.unwrap_or_else(|| self.definition(&bound, &symbol.name)))
                    }
                    None => None,
                }
            }
            _ => Some(kept.unwrap_or_else(|| self.definition(&bound, &symbol.name))),
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
        (surely, value.to_le_bytes()[..field.bytes()].to_vec())
    }

    /// The section of the same name in the copy of a COMDAT group that was chosen.
    fn chosen_copy(&self, object: usize, at: usize) -> Option<(usize, usize)> {
        let case = self.model.case;
        let name = &case.object(object).sections[at].name;
        let signature = |object: usize, group: &GroupPlan| &case.object(object).symbols[group.signature].name;
        let groups = &case.object(object).groups;
        let own = groups.iter().find(|group| group.members.contains(&at))?;
        let own = signature(object, own);
        self.model.linked.iter().find_map(|other| {
            let mut groups = case.object(*other).groups.iter();
            let chosen = groups.find(|group| group.flags & 1 != 0 && signature(*other, group) == own)?;
            let named = |member: &&usize| case.object(*other).sections[**member].name == *name;
            Some(chosen.members.iter().find(named).map(|member| (*other, *member)))
        })?
    }

    /// How far from its section a variable is kept that an offset is in. `None` where that may be one of several.
    fn shift(&self, object: usize, at: usize, offset: u64, elsewhere: &Elsewhere) -> Option<u64> {
        let plan = self.model.case.object(object);
        let section = &plan.sections[at];
        if section.flags.0 & elf::SHF_WRITE.0 == 0 {
            return Some(0);
        }
        let around: Vec<_> = plan
            .symbols
            .iter()
            .filter(|symbol| symbol.place == SymbolPlanPlace::Section(at) && symbol.kind != elf::STT_SECTION)
            .filter(|symbol| offset.wrapping_sub(symbol.value) < symbol.size.max(1))
            .filter(|symbol| self.model.bound(object, symbol) == Bound::Section(object, symbol))
            .collect();
        if around.iter().all(|symbol| !elsewhere.contains_key(&symbol.name)) {
            return Some(0);
        }
        // Those become read-only, and count as constants.
        let constants = section.name.contains(".rel.ro") || array_priority(&section.name).is_some();
        match around[..] {
            [variable] if !constants => {
                let start = self.definition(&Bound::Section(object, variable), &variable.name);
                Some(elsewhere[&variable.name].wrapping_sub(start))
            }
            _ => None,
        }
    }
}
