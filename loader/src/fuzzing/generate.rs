//! Generates cases: sections of every kind, symbols of every kind, and relocations between them that make sense.

use object::elf;

use super::case::{Case, External, Scope};
use super::choices::Choices;
use super::kinds::{
    BEFORE_FIELD, BEFORE_IMMEDIATES, CELL_BYTES, FIRST_DEBUG_KIND, FIRST_TLS_KIND, GOT, INSTRUCTIONS, KINDS,
    LINKER_NAMES, PROBE, PROGRAM_INSTRUCTIONS, PROGRAM_KINDS, TLS_BASE, shape,
};
use super::plan::{
    CODE, GroupPlan, ObjectPlan, RelocationPlan, RelocationTable, SectionPlan, SymbolPlan, SymbolPlanPlace, VARIABLE,
};
use crate::relocation::{Formula, Need, ROWS, Row};
use crate::resolver::{CopyRule, Target, TargetKind};

pub(super) fn case(choices: &mut Choices<'_>, scope: Scope, prefix: &str, base: u64) -> Case {
    let objects = 1 + choices.below(3);
    let members = choices.below(3);
    let mut generator = Generator {
        scope,
        prefix,
        base,
        taken: Vec::new(),
        archived: false,
    };
    let externals = generator.externals(choices);
    let object = |archived: bool, index: u64, generator: &mut Generator<'_>, choices: &mut Choices<'_>| {
        generator.archived = archived;
        generator.object(choices, index)
    };
    let mut case = Case {
        prefix: prefix.to_owned(),
        base,
        objects: (0..objects)
            .map(|index| object(false, index, &mut generator, choices))
            .collect(),
        members: (objects..objects + members)
            .map(|index| object(true, index, &mut generator, choices))
            .collect(),
        index: !choices.once_in(4),
        externals,
        static_tls: scope != Scope::Anything || !choices.once_in(4),
    };
    generator.references(&mut case, choices);
    let probe = case.objects[0]
        .sections
        .iter()
        .position(|section| section.name == PROBE);
    for index in 0..case.objects.len() + case.members.len() {
        let probe = probe.filter(|_| index == 0);
        generator.relocations(case.object_mut(index), probe, choices);
    }
    case
}

struct Generator<'a> {
    scope: Scope,
    prefix: &'a str,
    base: u64,
    /// The global names that some object defines, and whether they are thread-local.
    taken: Vec<(String, bool)>,
    /// Members of the archive have names of their own, so that their order does not matter.
    archived: bool,
}

impl Generator<'_> {
    fn externals(&self, choices: &mut Choices<'_>) -> Vec<External> {
        let count = if self.scope == Scope::Library { 0 } else { 4 };
        let external = |index| {
            let near = self.base.wrapping_add((1 << 28) + choices.below(1 << 28));
            let far = choices.once_in(3);
            let address = if far { self.far(choices) } else { near };
            let kind = match choices.below(8) {
                _ if self.scope == Scope::Program => TargetKind::Absolute,
                0 | 1 => TargetKind::Function,
                2 => TargetKind::Absolute,
                3 => TargetKind::Data(CopyRule::Harmless),
                4 => TargetKind::Data(CopyRule::Zeroed),
                5 => TargetKind::Data(CopyRule::Stale),
                _ => TargetKind::Tls {
                    module: 70 + choices.below(4),
                    block_offset: (!choices.once_in(4)).then_some(-0x400),
                },
            };
            let tls = matches!(kind, TargetKind::Tls { .. });
            let letter = match (tls, far) {
                (true, _) => 'y',
                (false, true) => 'z',
                (false, false) => 'x',
            };
            External {
                name: format!("{}{letter}{index}", self.prefix),
                target: Target {
                    address: if tls { address & 0xff } else { address },
                    size: if self.scope == Scope::Program {
                        0
                    } else {
                        choices.below(64)
                    },
                    kind,
                },
            }
        };
        (0..count).map(external).collect()
    }

    /// An address that nothing of the case reaches with 32 bits.
    fn far(&self, choices: &mut Choices<'_>) -> u64 {
        self.base.wrapping_add((5 << 30) + choices.below(1 << 40))
    }

    fn object(&mut self, choices: &mut Choices<'_>, index: u64) -> ObjectPlan {
        let mut object = ObjectPlan {
            name: format!("{}{index}.o", self.prefix),
            sections: Vec::new(),
            symbols: Vec::new(),
            groups: Vec::new(),
            table: match (self.scope, choices.below(6)) {
                (Scope::Anything, 4) => RelocationTable::Crel,
                (Scope::Anything, 5) => RelocationTable::Rel,
                _ => RelocationTable::Rela,
            },
        };
        if index == 0 && self.scope != Scope::Library {
            let mut probe = self.section(choices, PROBE.to_owned(), elf::SHT_PROGBITS, VARIABLE);
            (probe.size, probe.align, probe.contents) = (8, 8, vec![0; 8]);
            object.sections.push(probe);
            object.symbols.push(self.undefined(GOT.to_owned(), false, false));
        }
        for number in 0..2 + choices.below(5) {
            // Debug sections of many cases would be joined.
            let kinds = match self.scope {
                Scope::Anything => KINDS.len(),
                _ => FIRST_DEBUG_KIND,
            };
            let at = match (self.scope, choices.below(kinds as u64) as usize) {
                (Scope::Program, at) => at % PROGRAM_KINDS,
                // GNU ld drops the local symbols of a file that has no contents.
                (Scope::Library, _) if number == 0 => 0,
                (Scope::Library, at) if at % 2 == 0 => FIRST_TLS_KIND + at / 2 % 2,
                (Scope::Library, at) => at / 2 % 2,
                (Scope::Anything, at) => at,
            };
            let (name, kind, flags) = KINDS[at];
            let name = name.replace(
                '#',
                &if name.starts_with('.') {
                    format!("{index}{number}{}", self.prefix)
                } else {
                    (number % 2).to_string()
                },
            );
            if object.sections.iter().any(|section| section.name == name) {
                continue;
            }
            let mut section = self.section(choices, name, kind, flags);
            shape(&mut section);
            if object.table == RelocationTable::Rel {
                // Addends in the contents would be compressed, too.
                section.flags.0 &= !elf::SHF_COMPRESSED.0;
                section.name = section.name.replace(".zdebug_", ".debug_");
            }
            object.sections.push(section);
        }
        self.group(choices, &mut object, index);
        for at in 0..object.sections.len() {
            self.definitions(choices, &mut object, index, at);
        }
        self.sectionless(choices, &mut object, index);
        object
    }

    fn section(&self, choices: &mut Choices<'_>, name: String, kind: elf::SectionType, flags: u64) -> SectionPlan {
        let size = (1 + choices.below(5)) * CELL_BYTES + choices.below(8);
        let contents = if kind == elf::SHT_NOBITS {
            Vec::new()
        } else {
            choices.bytes(size as usize)
        };
        SectionPlan {
            name,
            kind,
            flags: elf::SectionFlags(flags),
            align: 1 << choices.below(7),
            size,
            contents,
            link: None,
            relocations: Vec::new(),
        }
    }

    /// Perhaps a COMDAT group of code and data, of the same name in several objects.
    fn group(&mut self, choices: &mut Choices<'_>, object: &mut ObjectPlan, index: u64) {
        if !choices.once_in(3) || self.scope == Scope::Library {
            return;
        }
        let number = choices.below(2);
        let key = if self.archived {
            format!("{index}")
        } else {
            format!("{number}")
        };
        let name = format!("{}g{key}", self.prefix);
        let comdat = self.archived || !choices.once_in(8);
        let linkonce = comdat && self.scope == Scope::Anything && choices.once_in(4);
        let (section, name) = match (linkonce, comdat) {
            (true, _) => (format!(".gnu.linkonce.t.{key}"), format!("{}k{key}", self.prefix)),
            (_, true) => (format!(".text.{name}"), name),
            // A group that is no COMDAT is kept, whatever its signature.
            (_, false) => (
                format!(".text.q{index}{}", self.prefix),
                format!("{}q{index}", self.prefix),
            ),
        };
        let flags = if linkonce { CODE } else { CODE | elf::SHF_GROUP.0 };
        let mut members = vec![object.sections.len()];
        let code = self.section(choices, section, elf::SHT_PROGBITS, flags);
        object.sections.push(code);
        if !linkonce && choices.once_in(2) {
            members.push(object.sections.len());
            let flags = VARIABLE | elf::SHF_GROUP.0;
            let data = self.section(choices, format!(".data.{name}"), elf::SHT_PROGBITS, flags);
            object.sections.push(data);
        }
        // Macro definitions, which the debug information of several files shares.
        if !linkonce && self.scope == Scope::Anything && choices.once_in(2) {
            members.push(object.sections.len());
            let name = ".debug_macro".to_owned();
            let macros = self.section(choices, name, elf::SHT_PROGBITS, elf::SHF_GROUP.0);
            object.sections.push(macros);
        }
        let signature = object.symbols.len();
        object.symbols.push(SymbolPlan {
            name: name.clone(),
            place: SymbolPlanPlace::Section(members[0]),
            value: choices.below(CELL_BYTES),
            size: choices.below(64),
            kind: elf::STT_FUNC,
            // All copies of a group have the same; lld takes offence at others.
            binding: if number == 0 { elf::STB_WEAK } else { elf::STB_GLOBAL },
            visibility: elf::STV_DEFAULT,
        });
        self.taken.push((name, false));
        if !linkonce {
            object.groups.push(GroupPlan {
                signature,
                flags: u32::from(comdat),
                members,
            });
        }
    }

    /// Symbols of a section: the section's own, one at its start, and some others.
    fn definitions(&mut self, choices: &mut Choices<'_>, object: &mut ObjectPlan, index: u64, at: usize) {
        let section = &object.sections[at];
        let (tls, code, size) = (
            section.is_tls(),
            section.flags.0 & elf::SHF_EXECINSTR.0 != 0,
            section.size,
        );
        let grouped = section.name.starts_with(".gnu.linkonce") || section.flags.0 & elf::SHF_GROUP.0 != 0;
        let kind = match (tls, code) {
            (true, _) => elf::STT_TLS,
            (false, true) => elf::STT_FUNC,
            (false, false) => elf::STT_OBJECT,
        };
        let mut symbol = SymbolPlan {
            name: String::new(),
            place: SymbolPlanPlace::Section(at),
            value: 0,
            size: 0,
            kind: elf::STT_SECTION,
            binding: elf::STB_LOCAL,
            visibility: elf::STV_DEFAULT,
        };
        object.symbols.push(symbol.clone());
        symbol.name = format!("{}s{index}_{at}", self.prefix);
        symbol.kind = kind;
        if object.sections[at].is_debug() {
            symbol.value = choices.below(size);
        }
        object.symbols.push(symbol.clone());
        if grouped || !object.sections[at].is_allocated() {
            return;
        }
        for number in 0..choices.below(3) {
            symbol.value = choices.below(size);
            symbol.size = choices.below(100);
            symbol.visibility = match self.scope {
                Scope::Library => elf::STV_HIDDEN,
                _ => *choices.pick(&[elf::STV_DEFAULT, elf::STV_DEFAULT, elf::STV_HIDDEN, elf::STV_PROTECTED]),
            };
            let (letter, pool) = if tls { ('t', 'u') } else { ('f', 'w') };
            // Tentative definitions elsewhere, too.
            let pool = if self.scope == Scope::Anything && !tls && choices.once_in(5) {
                'c'
            } else {
                pool
            };
            let shared = format!("{}{pool}{}", self.prefix, choices.below(4));
            let ifunc = code && self.scope != Scope::Library && choices.once_in(8);
            let letter = if ifunc { 'i' } else { letter };
            let own = format!("{}{letter}{index}_{at}_{number}", self.prefix);
            let weak = choices.once_in(3) && !self.archived;
            let defined = object.symbols.iter().any(|other| other.name == shared);
            (symbol.name, symbol.binding) = match (weak && !defined && !ifunc, choices.below(12)) {
                (true, 0) => (shared, elf::STB_GLOBAL),
                (true, 1) if self.scope == Scope::Anything => (shared, elf::STB_GNU_UNIQUE),
                (true, _) => (shared, elf::STB_WEAK),
                (false, 0) => (own, elf::STB_WEAK),
                (false, 1) => (own, elf::STB_LOCAL),
                (false, _) => (own, elf::STB_GLOBAL),
            };
            symbol.kind = if ifunc { elf::STT_GNU_IFUNC } else { kind };
            if symbol.is_global() {
                self.taken.push((symbol.name.clone(), tls));
            }
            object.symbols.push(symbol.clone());
        }
    }

    /// Absolute and common symbols.
    fn sectionless(&mut self, choices: &mut Choices<'_>, object: &mut ObjectPlan, index: u64) {
        if self.scope == Scope::Library {
            return;
        }
        if choices.once_in(2) {
            let near = self.base + choices.below(1 << 28);
            let symbol = SymbolPlan {
                name: format!("{}a{index}", self.prefix),
                place: SymbolPlanPlace::ABSOLUTE,
                value: if choices.once_in(3) { self.far(choices) } else { near },
                size: choices.below(64),
                kind: elf::STT_NOTYPE,
                binding: *choices.pick(&[elf::STB_GLOBAL, elf::STB_LOCAL]),
                visibility: elf::STV_DEFAULT,
            };
            if symbol.is_global() {
                self.taken.push((symbol.name.clone(), false));
            }
            object.symbols.push(symbol);
        }
        let pools = if self.scope == Scope::Program { 1 } else { 4 };
        if !self.archived && choices.once_in(2) {
            let pool = choices.below(pools);
            // Of tentative definitions in both models the stricter one counts; other linkers do not merge them.
            let (large, tls) = (pool == 2, pool == 3);
            let letters = if tls { "tc" } else { "c" };
            let symbol = SymbolPlan {
                name: format!("{}{letters}{pool}", self.prefix),
                place: if large {
                    SymbolPlanPlace::LARGE_COMMON
                } else {
                    SymbolPlanPlace::COMMON
                },
                value: 1 << choices.below(7),
                size: 1 + choices.below(100),
                kind: if tls { elf::STT_TLS } else { elf::STT_OBJECT },
                binding: elf::STB_GLOBAL,
                visibility: elf::STV_DEFAULT,
            };
            if object.symbols.iter().all(|other| other.name != symbol.name) {
                self.taken.push((symbol.name.clone(), tls));
                object.symbols.push(symbol);
            }
        }
    }

    fn undefined(&self, name: String, tls: bool, weak: bool) -> SymbolPlan {
        SymbolPlan {
            kind: if tls { elf::STT_TLS } else { elf::STT_NOTYPE },
            binding: if weak { elf::STB_WEAK } else { elf::STB_GLOBAL },
            visibility: match self.scope {
                Scope::Library => elf::STV_HIDDEN,
                _ => elf::STV_DEFAULT,
            },
            ..SymbolPlan::undefined(&name)
        }
    }

    /// Gives each object references to what others define, to the surroundings, and to what nothing defines.
    fn references(&self, case: &mut Case, choices: &mut Choices<'_>) {
        let external = case
            .externals
            .iter()
            .map(|e| (e.name.clone(), matches!(e.target.kind, TargetKind::Tls { .. })));
        let names: Vec<(String, bool)> = self.taken.iter().cloned().chain(external).collect();
        for index in 0..case.objects.len() + case.members.len() {
            let count = choices.below(6);
            let object = case.object_mut(index);
            let mut wanted = Vec::new();
            for _ in 0..count {
                let (name, tls) = if names.is_empty() || choices.once_in(10) {
                    (
                        format!("{}n{}", self.prefix, choices.below(2)),
                        self.scope == Scope::Library,
                    )
                } else {
                    choices.pick(&names).clone()
                };
                let nowhere = name.starts_with(&format!("{}n", self.prefix));
                let weak = if nowhere {
                    !choices.once_in(12)
                } else {
                    choices.once_in(6)
                };
                // Linkers differ on weak thread-local symbols that nothing defines.
                let weak = weak && self.scope != Scope::Library;
                if self.scope == Scope::Library && nowhere {
                    continue;
                }
                wanted.push((name, tls, weak));
            }
            if self.scope == Scope::Anything && choices.once_in(4) {
                let name = ["__start_list0", "__stop_list0", "__start_list1"][choices.below(3) as usize];
                wanted.push((name.to_owned(), false, true));
            }
            if self.scope == Scope::Anything && choices.once_in(4) {
                wanted.push(((*choices.pick(&LINKER_NAMES)).to_owned(), false, false));
            }
            if self.scope == Scope::Anything && object.sections.iter().any(SectionPlan::is_tls) && choices.once_in(4) {
                wanted.push((TLS_BASE.to_owned(), true, false));
            }
            for (name, tls, weak) in wanted {
                if object.symbols.iter().all(|symbol| symbol.name != name) {
                    object.symbols.push(self.undefined(name, tls, weak));
                }
            }
        }
    }

    fn relocations(&self, object: &mut ObjectPlan, probe: Option<usize>, choices: &mut Choices<'_>) {
        for at in 0..object.sections.len() {
            let section = &object.sections[at];
            // Other linkers put the thread-local sections of all cases together, elsewhere.
            let elsewhere = section.is_tls() && self.scope == Scope::Library;
            if section.is_debug() {
                let relocations =
                    (0..section.size / CELL_BYTES).filter_map(|cell| debug_relocation(object, cell, choices));
                object.sections[at].relocations = relocations.collect();
                continue;
            }
            if section.is_nobits() || !section.is_allocated() || elsewhere {
                continue;
            }
            if probe == Some(at) {
                let symbol = object.symbols.iter().position(|symbol| symbol.name == GOT).unwrap_or(0);
                object.sections[at].relocations = vec![RelocationPlan {
                    offset: 0,
                    number: 1,
                    symbol,
                    addend: 0,
                }];
                continue;
            }
            for cell in 0..section.size / CELL_BYTES {
                let field = cell * CELL_BYTES + BEFORE_FIELD + choices.below(CELL_BYTES - BEFORE_FIELD - 8 + 1);
                if let Some(relocation) = self.relocation(object, at, field, choices) {
                    object.sections[at].relocations.push(relocation);
                }
            }
        }
    }

    fn relocation(
        &self,
        object: &mut ObjectPlan,
        at: usize,
        offset: u64,
        choices: &mut Choices<'_>,
    ) -> Option<RelocationPlan> {
        const ATTEMPTS: usize = 6;
        for _ in 0..ATTEMPTS {
            let row = &ROWS[choices.below(ROWS.len() as u64) as usize];
            let symbol = choices.below(object.symbols.len() as u64) as usize;
            // Now and then a section refers to what may be discarded with a group.
            let careless = self.scope == Scope::Anything && choices.once_in(40);
            if !self.suits(row, object, symbol, at, careless) {
                continue;
            }
            let relaxable = row.need == Need::RelaxableGot;
            let number = if relaxable {
                self.instruction(&mut object.sections[at], offset, choices)
            } else {
                row.number
            };
            let own_tables = relaxable
                || matches!(
                    row.formula,
                    Formula::PltRelative
                        | Formula::PltFromGot
                        | Formula::SlotFromGot
                        | Formula::SlotRelative
                        | Formula::FromGot
                        | Formula::GotRelative
                );
            if self.scope == Scope::Anything
                && row.formula == Formula::Relative
                && object.sections[at].flags.0 & elf::SHF_EXECINSTR.0 != 0
            {
                let bytes = *choices.pick(&BEFORE_IMMEDIATES);
                let end = offset as usize;
                object.sections[at].contents[end - bytes.len()..end].copy_from_slice(bytes);
            }
            let addend = match row.formula {
                _ if relaxable => *choices.pick(&[-4, -4, -4, -4, -4, 0]),
                _ if own_tables && !choices.once_in(4) => -4,
                _ => (choices.below(1 << 12) as i64) - (1 << 11),
            };
            return Some(RelocationPlan {
                offset,
                number,
                symbol,
                addend,
            });
        }
        None
    }

    /// Puts an instruction before a field, and returns the relocation type that goes with it.
    fn instruction(&self, section: &mut SectionPlan, offset: u64, choices: &mut Choices<'_>) -> u32 {
        let count = if self.scope == Scope::Anything {
            INSTRUCTIONS.len()
        } else {
            PROGRAM_INSTRUCTIONS
        };
        let (bytes, number) = *choices.pick(&INSTRUCTIONS[..count]);
        let end = offset as usize;
        // What stands before must not look like a prefix.
        section.contents[end - BEFORE_FIELD as usize..end].fill(0x90);
        section.contents[end - bytes.len()..end].copy_from_slice(bytes);
        number
    }

    /// Whether a relocation of that type against that symbol makes sense in a section.
    fn suits(&self, row: &Row, object: &ObjectPlan, symbol: usize, at: usize, careless: bool) -> bool {
        let symbol = &object.symbols[symbol];
        let home = match symbol.place {
            SymbolPlanPlace::Section(home) => Some(home),
            SymbolPlanPlace::Index(_) => None,
        };
        let tls = symbol.kind == elf::STT_TLS || home.is_some_and(|home| object.sections[home].is_tls());
        let grouped = |section: usize| {
            let section = &object.sections[section];
            section.flags.0 & elf::SHF_GROUP.0 != 0 || section.name.starts_with(".gnu.linkonce")
        };
        // A local symbol of a group is known inside of it only.
        let reachable = symbol.is_global() || home.is_none_or(|home| !grouped(home) || (grouped(at) && grouped(home)));
        let loaded = home.is_none_or(|home| object.sections[home].is_allocated());
        if row.dynamic_only || !(reachable || careless) || !loaded || symbol.name == GOT {
            return false;
        }
        let wants_tls = row.need.is_tls() || row.number == 35;
        let foreign = symbol.name.starts_with(&format!("{}y", self.prefix));
        // References do not say that it is one.
        let ifunc = symbol.name.starts_with(&format!("{}i", self.prefix));
        let code = object.sections[at].flags.0 & elf::SHF_EXECINSTR.0 != 0;
        let fine = tls == wants_tls
            && !(foreign && matches!(row.need, Need::TlsBlock | Need::TlsLe | Need::TlsLd))
            && (row.need != Need::RelaxableGot || code);
        match self.scope {
            Scope::Anything => fine,
            // Where GNU ld and lld are asked, what they do not know or do not agree on is left out: `peers` has the list.
            Scope::Program => {
                // GNU ld makes absolute forms of loads from the GOT, and gives up where the absolute symbol does not fit.
                let letter = symbol
                    .name
                    .strip_prefix(self.prefix)
                    .and_then(|name| name.chars().next());
                let gives_up = matches!(letter, Some('a' | 'n' | 'z')) && row.formula == Formula::SlotRelative;
                // For GNU ld, R_X86_64_NONE refers to its symbol.
                fine && super::peers::can_ask(row) && (row.number == 4 || !ifunc) && !gives_up && row.number != 0
            }
            Scope::Library => wants_tls && fine && super::peers::can_ask(row) && one_model(row.need, symbol),
        }
    }
}

/// A reference of debug information: an address, an offset in a thread-local block, or a place in another debug section.
fn debug_relocation(object: &ObjectPlan, cell: u64, choices: &mut Choices<'_>) -> Option<RelocationPlan> {
    let at = choices.below(object.symbols.len() as u64) as usize;
    let symbol = &object.symbols[at];
    let home = match symbol.place {
        SymbolPlanPlace::Section(home) => Some(&object.sections[home]),
        SymbolPlanPlace::Index(_) => None,
    };
    let tls = symbol.kind == elf::STT_TLS || home.is_some_and(SectionPlan::is_tls);
    let number = match tls {
        _ if home.is_some_and(SectionPlan::is_debug) => elf::R_X86_64_32,
        true => *choices.pick(&[elf::R_X86_64_DTPOFF64, elf::R_X86_64_DTPOFF32]),
        false => elf::R_X86_64_64,
    };
    // What the linker defines has its address only where code asks for it.
    let given = home.is_some() || symbol.is_common() || symbol.place == SymbolPlanPlace::ABSOLUTE;
    given.then_some(RelocationPlan {
        offset: cell * CELL_BYTES + choices.below(CELL_BYTES - 8 + 1),
        number: number.0,
        symbol: at,
        addend: choices.below(1 << 12) as i64,
    })
}

/// Other linkers give a symbol that is used in several models one slot for all of them, and lld takes no symbol of a
/// section for a thread-local one.
fn one_model(need: Need, symbol: &SymbolPlan) -> bool {
    let model = symbol.name.bytes().map(u64::from).sum::<u64>() % 3;
    let suits = match need {
        Need::TlsGd => model == 0,
        Need::TlsIe => model == 1,
        Need::TlsDesc => model == 2,
        _ => true,
    };
    suits && !symbol.name.is_empty()
}
