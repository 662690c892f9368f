//! The layout guard: whether the patch and the target mean the same by the types that both use.
//!
//! Compared is what code of both sides can get hold of: the parameters and results of functions that are replaced, the
//! variables that both have, the functions and variables of the target that the patch declares, and every type that
//! those lead to. Functions and variables are found by their addresses, so that it does not matter how many are of one
//! name; types are compared by what they are, and a name is asked for only where a unit says no more than that.

mod compare;
mod shape;

use std::collections::{BTreeSet, HashMap};

use gimli::DwTag;

use crate::counterpart::Matched;
use crate::debug_parts;
use crate::dwarf::{self, DebugInfo, Location, Place};
use crate::error::Refusal;
use crate::module::{Kind, Module, Symbol};
use crate::retarget::PatchObject;
use compare::Comparison;

/// A function that is replaced, with the address of its replacement.
pub(crate) type Replaced<'m> = (&'m Symbol, u64);

/// What is to be compared.
pub(crate) struct Guard<'g> {
    pub(crate) module: &'g Module,
    pub(crate) image: &'g restub_loader::Image,
    pub(crate) objects: &'g [PatchObject<'g>],
    pub(crate) matched: &'g Matched<'g>,
    pub(crate) functions: &'g [Replaced<'g>],
}

/// What came of it.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    pub(crate) refusals: Vec<Refusal>,
    /// Replaced functions with another signature, and how it differs: whether that matters depends on who calls them.
    pub(crate) signatures: Vec<(u64, String)>,
    pub(crate) notes: Vec<String>,
}

/// What one side's debug information has, by what it is found by.
#[derive(Debug, Default)]
struct Index {
    functions: HashMap<u64, Place>,
    variables: HashMap<u64, Place>,
    /// By the offset in the block.
    thread_local: HashMap<u64, Place>,
    thread_local_names: HashMap<String, Place>,
    /// Declared and defined elsewhere: the name, and whether it is a function.
    declared: Vec<(String, bool, Place)>,
    /// Structures and enumerations in full, by kind and name.
    complete: HashMap<String, Vec<Place>>,
}

impl Index {
    fn new(info: &DebugInfo<'_>, declarations: bool) -> Self {
        let mut index = Index::default();
        // Functions around the entry, by their depths: types inside of them are of no use to others.
        let mut around: Vec<isize> = Vec::new();
        info.each(|place, entry| {
            let depth = entry.depth();
            around.retain(|outer| *outer < depth);
            let declared = dwarf::is_flag_set(entry, gimli::DW_AT_declaration);
            match entry.tag() {
                gimli::DW_TAG_subprogram => {
                    around.push(depth);
                    if declared && declarations {
                        index.declared(info, place, true);
                    }
                    for start in info.starts(place, entry) {
                        index.functions.insert(start, place);
                    }
                }
                gimli::DW_TAG_variable => match info.location(place, entry) {
                    Some(Location::Address(address)) => {
                        index.variables.insert(address, place);
                    }
                    Some(Location::ThreadLocal(offset)) => {
                        index.thread_local.insert(offset, place);
                        if let Some(name) = info.symbol_name(place) {
                            index.thread_local_names.insert(name, place);
                        }
                    }
                    None if declared && declarations => index.declared(info, place, false),
                    None => {}
                },
                tag if is_named_type(tag) && !declared && around.is_empty() && !declarations => {
                    let label = shape::describe(info, Some(place));
                    index.complete.entry(label).or_default().push(place);
                }
                _ => {}
            }
        });
        index
    }

    fn declared(&mut self, info: &DebugInfo<'_>, place: Place, function: bool) {
        if let Some(name) = info.symbol_name(place) {
            self.declared.push((name, function, place));
        }
    }

    fn of(&self, symbol: &Symbol, module: &Module) -> Option<Place> {
        let address = symbol.address.wrapping_sub(module.bias);
        match symbol.kind {
            Kind::Function | Kind::Ifunc => self.functions.get(&address).copied(),
            Kind::Data => self.variables.get(&address).copied(),
            Kind::Tls => {
                let by_offset = self.thread_local.get(&symbol.address);
                // gcc's split debug information has an address for the offset.
                let by_name = || self.thread_local_names.get(&*symbol.name).filter(|_| !symbol.local);
                by_offset.or_else(by_name).copied()
            }
        }
    }
}

fn is_named_type(tag: DwTag) -> bool {
    matches!(
        tag,
        gimli::DW_TAG_structure_type
            | gimli::DW_TAG_class_type
            | gimli::DW_TAG_union_type
            | gimli::DW_TAG_enumeration_type
    )
}

/// What is said where parts of the debug information of one side are not to be found.
pub(crate) fn missing(side: &str, parts: &[String]) -> String {
    format!(
        "types: not all compared: debug information of {side} is in files that are not to be found: {}",
        parts.join(", ")
    )
}

/// Compares the types of both sides. `target` has the target's.
pub(crate) fn check(guard: &Guard<'_>, target: Option<&DebugInfo<'_>>) -> Findings {
    let mut findings = Findings::default();
    let without: Vec<&str> = guard
        .objects
        .iter()
        .filter(|object| !object.has_debug_information())
        .map(|object| object.name.as_str())
        .collect();
    if !without.is_empty() {
        let names = without.join(", ");
        findings.notes.push(format!(
            "types: not compared: no debug information in {names}; compile with -g"
        ));
    }
    let Some(ours) = debug_parts::of_image(guard.image) else {
        return findings;
    };
    if !ours.missing.is_empty() {
        findings.notes.push(missing("the patch", &ours.missing));
    }
    let Some(target) = target else {
        let name = guard.module.display();
        findings
            .notes
            .push(format!("types: not compared: no debug information for {name}"));
        return findings;
    };
    let patch = DebugInfo::new(&ours);
    let sides = Sides {
        theirs: Index::new(target, false),
        ours: Index::new(&patch, true),
        target,
        patch: &patch,
        guard,
    };
    let mut comparison = Comparison::new(target, &patch, &sides.theirs.complete);
    let mut unknown = BTreeSet::new();
    sides.functions(&mut comparison, &mut findings, &mut unknown);
    sides.variables(&mut comparison, &mut findings, &mut unknown);
    sides.declarations(&mut comparison, &mut findings, &mut unknown);
    findings.refusals.append(&mut comparison.refusals);
    if without.is_empty() && !unknown.is_empty() {
        let names = unknown.into_iter().collect::<Vec<_>>().join(", ");
        findings
            .notes
            .push(format!("types: not compared: no debug information about {names}"));
    }
    if !comparison.named_only.is_empty() && patch.leaves_out_classes() {
        let names = std::mem::take(&mut comparison.named_only)
            .into_iter()
            .collect::<Vec<_>>()
            .join(", ");
        findings.notes.push(format!(
            "types: not compared: the patch's debug information only names {names}; compile with -fstandalone-debug"
        ));
    }
    findings
}

/// Both sides with their indexes.
struct Sides<'s, 't, 'p> {
    target: &'s DebugInfo<'t>,
    patch: &'s DebugInfo<'p>,
    theirs: Index,
    ours: Index,
    guard: &'s Guard<'s>,
}

impl Sides<'_, '_, '_> {
    fn functions(
        &self,
        comparison: &mut Comparison<'_, '_, '_>,
        findings: &mut Findings,
        unknown: &mut BTreeSet<String>,
    ) {
        for (symbol, address) in self.guard.functions {
            let old = self.theirs.of(symbol, self.guard.module);
            let (Some(old), Some(new)) = (old, self.ours.functions.get(address)) else {
                unknown.insert(symbol.name.to_string());
                continue;
            };
            let differences = comparison.signatures(
                &shape::signature(self.target, old),
                &shape::signature(self.patch, *new),
                &symbol.name,
            );
            if !differences.is_empty() {
                findings.signatures.push((symbol.address, differences.join("; ")));
            }
        }
    }

    /// Variables that both define: their storage is the target's.
    fn variables(
        &self,
        comparison: &mut Comparison<'_, '_, '_>,
        findings: &mut Findings,
        unknown: &mut BTreeSet<String>,
    ) {
        for pair in &self.guard.matched.variables {
            let definition = &self.guard.objects[pair.object].definitions[pair.definition];
            if definition.weak {
                // Virtual tables and type information, of which the compiler says nothing.
                continue;
            }
            let new = if pair.symbol.kind == Kind::Tls {
                self.ours.thread_local_names.get(&definition.name).copied()
            } else {
                let address = crate::image::address_in(self.guard.image, pair.object, definition);
                address.and_then(|address| self.ours.variables.get(&address).copied())
            };
            let old = self.theirs.of(pair.symbol, self.guard.module);
            let (Some(old), Some(new)) = (old, new) else {
                unknown.insert(pair.symbol.name.to_string());
                continue;
            };
            // Another size is refused for itself.
            let same_size = pair.symbol.size == 0 || pair.symbol.size == definition.size;
            findings.refusals.extend(
                self.variable(comparison, &definition.name, old, new)
                    .filter(|_| same_size),
            );
        }
    }

    /// Functions and variables of the target that the patch declares, and calls or uses.
    fn declarations(
        &self,
        comparison: &mut Comparison<'_, '_, '_>,
        findings: &mut Findings,
        unknown: &mut BTreeSet<String>,
    ) {
        let used: BTreeSet<String> = self.guard.objects.iter().flat_map(PatchObject::undefined).collect();
        let known = |name: &str| {
            let symbol = self.guard.module.shared(name)?;
            Some((
                symbol.kind == Kind::Function,
                self.theirs.of(symbol, self.guard.module)?,
            ))
        };
        // clang says nothing of variables that are defined elsewhere.
        let declared: BTreeSet<&str> = self.ours.declared.iter().map(|(name, _, _)| name.as_str()).collect();
        let undeclared = used.iter().filter(|name| !declared.contains(name.as_str()));
        unknown.extend(undeclared.filter(|name| known(name).is_some()).cloned());
        for (name, is_function, new) in &self.ours.declared {
            let Some((_, old)) = known(name).filter(|(function, _)| used.contains(name) && function == is_function)
            else {
                continue;
            };
            if !*is_function {
                findings.refusals.extend(self.variable(comparison, name, old, *new));
                continue;
            }
            let new = shape::signature(self.patch, *new);
            if !new.is_known && new.result.is_none() {
                continue;
            }
            let differences = comparison.signatures(&shape::signature(self.target, old), &new, name);
            if !differences.is_empty() {
                findings.refusals.push(Refusal::new(
                    "signature",
                    name.clone(),
                    format!("the patch calls it, and {}", differences.join("; ")),
                ));
            }
        }
    }

    fn variable(&self, comparison: &mut Comparison<'_, '_, '_>, name: &str, old: Place, new: Place) -> Option<Refusal> {
        let kind = |info: &DebugInfo<'_>, place| {
            let (place, _, value) = info.inherited(place, gimli::DW_AT_type)?;
            info.target(place, value)
        };
        let (old, new) = (kind(self.target, old), kind(self.patch, new));
        let (old, new) = comparison.types(old, new, &format!("variable {name}"))?;
        Some(Refusal::new(
            "variable-type",
            name,
            format!("it is {old} in the target and {new} in the patch"),
        ))
    }
}
