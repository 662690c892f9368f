//! What the debug sections of a linked case should be: those of all objects, joined by name, with final addresses.

use std::collections::{BTreeMap, HashMap};

use object::elf;

use super::case::Elsewhere;
use super::kinds::array_priority;
use super::model::Bound;
use super::ours::Ours;
use super::plan::{GroupPlan, RelocationPlan, SymbolPlan, SymbolPlanPlace};
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
        let addend = relocation.addend.cast_unsigned();
        let (surely, place) = self.debug_place(&bound, symbol, addend, places, elsewhere);
        let values = Values {
            s: place.unwrap_or(0),
            block: place.unwrap_or(0),
            a: addend,
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

    /// What a symbol means with an addend that counts from it, and whether it surely does.
    fn debug_place(
        &self,
        bound: &Bound<'_>,
        symbol: &SymbolPlan,
        addend: u64,
        places: &Places,
        elsewhere: &Elsewhere,
    ) -> (bool, Option<u64>) {
        let kept = elsewhere.get(&symbol.name).copied();
        let own = || self.definition(bound, &symbol.name);
        let Bound::Section(object, definition) = *bound else {
            return (true, Some(kept.unwrap_or_else(own)));
        };
        let SymbolPlanPlace::Section(at) = definition.place else {
            unreachable!("it is bound to a section");
        };
        if self.model.is_discarded(bound) {
            let copy = self.chosen_copy(object, at).and_then(|copy| places.get(&copy));
            return (true, copy.map(|start| *start as u64 + definition.value));
        }
        if let Some(start) = places.get(&(object, at)) {
            return (true, Some(*start as u64 + definition.value));
        }
        if !self.model.case.object(object).sections[at].is_allocated() {
            return (true, None);
        }
        let procedure = self.symbols.get(&*format!("{}@PLT", symbol.name));
        if let Some(procedure) = procedure.filter(|_| self.canonical_plt(bound, symbol)) {
            return (true, Some(*procedure));
        }
        match definition.kind {
            elf::STT_SECTION => {
                let shift = self.shift(object, at, addend, elsewhere);
                (shift.is_some(), Some(own().wrapping_add(shift.unwrap_or(0))))
            }
            elf::STT_FUNC | elf::STT_GNU_IFUNC => (true, Some(own())),
            _ => (true, Some(kept.unwrap_or_else(own))),
        }
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
        let section = &self.model.case.object(object).sections[at];
        if section.flags.0 & elf::SHF_WRITE.0 == 0 {
            return Some(0);
        }
        let definitions = self.model.definitions_in(object, at);
        let around: Vec<_> = definitions
            .filter(|symbol| offset.wrapping_sub(symbol.value) < symbol.size.max(1))
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
