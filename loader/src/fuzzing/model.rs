//! A second, straightforward implementation of symbol resolution: which objects and sections are linked, and what each
//! name is bound to (gABI, "Symbol Table" and "Section Groups"), whatever the order in which a linker finds it out.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use object::elf;

use super::case::Case;
use super::kinds::{GOT, LINKER_NAMES, TLS_BASE};
use super::plan::{RelocationPlan, SymbolPlan, SymbolPlanPlace};
use crate::error::Place;
use crate::relocation::{Need, Row};
use crate::resolver::Target;

/// What a symbol is bound to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bound<'a> {
    /// A definition in a section: object and symbol.
    Section(usize, &'a SymbolPlan),
    /// Tentative definitions.
    Common {
        size: u64,
        align: u64,
        large: bool,
        tls: bool,
    },
    Absolute(&'a SymbolPlan),
    External(Target),
    /// The start or the end of all sections of a name.
    Bounds(&'a str, bool),
    Got,
    /// What the linker defines under that name.
    Linker(&'a str),
    /// A weak reference that nothing defines.
    Nothing,
}

/// A relocation that is applied.
#[derive(Debug, Clone, Copy)]
pub(super) struct Site<'a> {
    pub(super) object: usize,
    pub(super) section: usize,
    /// Its place among the section's relocations.
    pub(super) index: usize,
    pub(super) relocation: RelocationPlan,
    pub(super) row: &'static Row,
    pub(super) symbol: &'a SymbolPlan,
}

/// Who is linked, and what names mean.
#[derive(Debug)]
pub(super) struct Model<'a> {
    pub(super) case: &'a Case,
    /// The objects that are linked, by their place in the case.
    pub(super) linked: Vec<usize>,
    /// Sections that went with their COMDAT group.
    pub(super) discarded: HashSet<(usize, usize)>,
    pub(super) globals: BTreeMap<&'a str, Bound<'a>>,
    pub(super) duplicates: BTreeSet<&'a str>,
    pub(super) undefined: BTreeSet<&'a str>,
}

impl<'a> Model<'a> {
    pub(super) fn new(case: &'a Case) -> Self {
        let mut model = Model {
            case,
            linked: (0..case.objects.len()).collect(),
            discarded: HashSet::new(),
            globals: BTreeMap::new(),
            duplicates: BTreeSet::new(),
            undefined: BTreeSet::new(),
        };
        while let Some(member) = model.wanted_member() {
            model.linked.push(member);
        }
        model.discard();
        model.bind();
        model
    }

    pub(super) fn symbols(&self) -> impl Iterator<Item = (usize, &'a SymbolPlan)> + '_ {
        self.linked.iter().flat_map(|object| {
            let symbols = &self.case.object(*object).symbols;
            symbols.iter().map(|symbol| (*object, symbol))
        })
    }

    /// A member that defines a name which is referred to, not weakly, and not defined.
    fn wanted_member(&self) -> Option<usize> {
        let globals = || {
            self.symbols()
                .map(|(_, symbol)| symbol)
                .filter(|symbol| symbol.is_global())
        };
        let defined: HashSet<&str> = globals()
            .filter(|s| !s.is_undefined())
            .map(|s| s.name.as_str())
            .collect();
        let wanted: HashSet<&str> = globals()
            .filter(|symbol| symbol.is_undefined() && symbol.binding != elf::STB_WEAK)
            .map(|symbol| symbol.name.as_str())
            .filter(|name| !defined.contains(name))
            .collect();
        let first = self.case.objects.len();
        (first..first + self.case.members.len()).find(|member| {
            let mut symbols = self.case.object(*member).symbols.iter();
            !self.linked.contains(member)
                && symbols.any(|s| s.is_global() && !s.is_undefined() && wanted.contains(s.name.as_str()))
        })
    }

    /// Of COMDAT groups with one signature, the first is kept.
    fn discard(&mut self) {
        let mut signatures = HashSet::new();
        for &number in &self.linked {
            let object = self.case.object(number);
            for group in object.groups.iter().filter(|group| group.flags & 1 != 0) {
                if !signatures.insert(object.symbols[group.signature].name.as_str()) {
                    self.discarded
                        .extend(group.members.iter().map(|member| (number, *member)));
                }
            }
            for (at, section) in object.sections.iter().enumerate() {
                let linkonce = section.name.starts_with(".gnu.linkonce.") && section.is_allocated();
                if linkonce && !signatures.insert(&section.name) {
                    self.discarded.insert((number, at));
                }
            }
        }
    }

    fn bind(&mut self) {
        let mut entries: BTreeMap<&'a str, Vec<(usize, &'a SymbolPlan)>> = BTreeMap::new();
        for (object, symbol) in self.symbols().filter(|(_, symbol)| symbol.is_global()) {
            entries.entry(&symbol.name).or_default().push((object, symbol));
        }
        let needed: HashSet<&str> = self.sites().map(|site| site.symbol.name.as_str()).collect();
        for (name, entries) in entries {
            let in_section = |(object, symbol): &&(usize, &SymbolPlan)| match symbol.place {
                SymbolPlanPlace::Section(at) => !self.discarded.contains(&(*object, at)),
                _ => symbol.place == SymbolPlanPlace::ABSOLUTE,
            };
            let weak = |symbol: &SymbolPlan| matches!(symbol.binding, elf::STB_WEAK | elf::STB_GNU_UNIQUE);
            let mut definitions = entries.iter().filter(in_section);
            let strong: Vec<_> = definitions.clone().filter(|(_, symbol)| !weak(symbol)).collect();
            let commons: Vec<_> = entries
                .iter()
                .map(|(_, symbol)| *symbol)
                .filter(|s| s.is_common())
                .collect();
            if strong.len() > 1 {
                self.duplicates.insert(name);
            }
            let definition = match (strong.first(), commons.as_slice()) {
                (Some(strong), _) => Some(**strong),
                (None, []) => definitions.next().copied(),
                (None, commons) => {
                    let most = |of: fn(&SymbolPlan) -> u64| commons.iter().map(|symbol| of(symbol)).max().unwrap_or(0);
                    let bound = Bound::Common {
                        size: most(|symbol| symbol.size),
                        align: most(|symbol| symbol.value),
                        large: commons
                            .iter()
                            .all(|symbol| symbol.place == SymbolPlanPlace::LARGE_COMMON),
                        tls: commons.iter().any(|symbol| symbol.kind == elf::STT_TLS),
                    };
                    self.globals.insert(name, bound);
                    continue;
                }
            };
            let bound = match definition {
                Some((_, symbol)) if symbol.place == SymbolPlanPlace::ABSOLUTE => Bound::Absolute(symbol),
                Some((object, symbol)) => Bound::Section(object, symbol),
                None => match self.outside(name) {
                    Some(bound) => bound,
                    None => {
                        let strongly = entries.iter().any(|(_, symbol)| symbol.binding != elf::STB_WEAK);
                        if strongly && needed.contains(name) {
                            self.undefined.insert(name);
                        }
                        Bound::Nothing
                    }
                },
            };
            self.globals.insert(name, bound);
        }
    }

    /// What a name means that no object defines.
    fn outside(&self, name: &'a str) -> Option<Bound<'a>> {
        if name == GOT {
            return Some(Bound::Got);
        }
        if name == TLS_BASE || LINKER_NAMES.contains(&name) {
            return Some(Bound::Linker(name));
        }
        if let Some(external) = self.case.externals.iter().find(|external| external.name == name) {
            return Some(Bound::External(external.target));
        }
        let start = name.strip_prefix("__start_");
        let section = start.or_else(|| name.strip_prefix("__stop_"))?;
        let exists = self
            .sections()
            .any(|(object, at)| self.case.object(object).sections[at].name == section);
        exists.then_some(Bound::Bounds(section, start.is_some()))
    }

    /// The sections that are part of the image.
    pub(super) fn sections(&self) -> impl Iterator<Item = (usize, usize)> + '_ {
        let all = self.linked.iter().flat_map(|object| {
            let sections = self.case.object(*object).sections.iter().enumerate();
            sections
                .filter(|(_, section)| section.is_allocated())
                .map(|(at, _)| (*object, at))
        });
        all.filter(|place| !self.discarded.contains(place))
    }

    /// The relocations that are applied.
    pub(super) fn sites(&self) -> impl Iterator<Item = Site<'a>> + '_ {
        self.sections().flat_map(|(object, section)| {
            let plan = self.case.object(object);
            let relocations = plan.sections[section].relocations.iter().enumerate();
            relocations.filter_map(move |(index, relocation)| {
                Some(Site {
                    object,
                    section,
                    index,
                    relocation: *relocation,
                    row: Row::of(relocation.number).filter(|row| row.number != 0)?,
                    symbol: plan.symbols.get(relocation.symbol)?,
                })
            })
        })
    }

    /// The symbols of a section, but for its own, that are what their names mean.
    pub(super) fn definitions_in(&self, object: usize, section: usize) -> impl Iterator<Item = &'a SymbolPlan> + '_ {
        let symbols = self.case.object(object).symbols.iter();
        symbols.filter(move |symbol| {
            symbol.place == SymbolPlanPlace::Section(section)
                && symbol.kind != elf::STT_SECTION
                && self.bound(object, symbol) == Bound::Section(object, symbol)
        })
    }

    /// What and where a relocation is, with the case.
    pub(super) fn words(&self, site: &Site<'_>) -> String {
        format!(
            "{} against {} at {}+{:#x} of object {}\n{:#?}",
            site.row.name,
            site.symbol.name,
            self.case.object(site.object).sections[site.section].name,
            site.relocation.offset,
            site.object,
            self.case
        )
    }

    /// The relocation at the place that an error names.
    pub(super) fn site_at(&self, place: &Place) -> Option<Site<'a>> {
        self.sites().find(|site| {
            let object = self.case.object(site.object);
            let named = place.object == object.name || place.object.ends_with(&format!("({})", object.name));
            named && object.sections[site.section].name == place.section && site.relocation.offset == place.offset
        })
    }

    /// What the symbol of a relocation is bound to.
    pub(super) fn bound(&self, object: usize, symbol: &'a SymbolPlan) -> Bound<'a> {
        match symbol.place {
            _ if symbol.is_global() => self
                .globals
                .get(symbol.name.as_str())
                .copied()
                .unwrap_or(Bound::Nothing),
            SymbolPlanPlace::Section(_) => Bound::Section(object, symbol),
            _ => Bound::Absolute(symbol),
        }
    }

    /// The names of global symbols of which some narrow field holds the address.
    pub(super) fn near_references(&self) -> HashSet<&'a str> {
        let near = self.sites().filter(|site| site.row.need == Need::NearAddress);
        near.map(|site| site.symbol.name.as_str()).collect()
    }

    /// Whether a symbol is in a section that went with its group.
    pub(super) fn is_discarded(&self, bound: &Bound<'_>) -> bool {
        match bound {
            Bound::Section(object, symbol) => match symbol.place {
                SymbolPlanPlace::Section(at) => self.discarded.contains(&(*object, at)),
                SymbolPlanPlace::Index(_) => false,
            },
            _ => false,
        }
    }
}
