//! What is linked together: the objects, their symbols, and which definition each name is bound to.

use object::LittleEndian as LE;
use object::elf;
use rustc_hash::{FxHashMap, FxHashSet};

use crate::archive::Archive;
use crate::error::{Error, Result, Undefined};
use crate::image::SymbolBinding;
use crate::object::{ElfSymbol, Object, SHN_X86_64_LCOMMON, SectionState};
use crate::own::{NOT_OWN, Owned, Piece, Rebind};
use crate::resolver::{Request, Resolver, Target};
use crate::scan::Needs;
use crate::supplied::{LinkerSymbol, hint, linker_symbol};

/// A symbol's place in [`Unit::symbols`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SymbolId(pub(crate) u32);

/// No slots: see [`Symbol::slots`].
pub(crate) const NO_SLOTS: u32 = u32::MAX;

/// One symbol: a global name of the unit, or a local symbol of one object.
#[derive(Debug)]
pub(crate) struct Symbol<'data> {
    /// The name; empty for section symbols.
    pub(crate) name: &'data [u8],
    /// The name by which the unit finds the symbol: `name@VERSION` for a reference to one version.
    pub(crate) key: &'data [u8],
    pub(crate) definition: Definition,
    pub(crate) size: u64,
    pub(crate) kind: elf::SymbolType,
    pub(crate) binding: elf::SymbolBind,
    pub(crate) visibility: elf::SymbolVisibility,
    /// Whether every reference is weak, so that nothing has to define the symbol.
    pub(crate) weak_reference: bool,
    /// The object that defines the symbol, or the first one that refers to it.
    pub(crate) object: u32,
    pub(crate) needs: Needs,
    /// Its place in the table of GOT and PLT slots, or [`NO_SLOTS`].
    pub(crate) slots: u32,
    /// Its place in [`Unit::owns`], or [`NOT_OWN`].
    pub(crate) own: u32,
    /// The address that references get, from layout on; for thread-local symbols the offset in the module's block.
    pub(crate) address: u64,
}

impl<'data> Symbol<'data> {
    /// What stands behind the `@` of a `.symver` name.
    pub(crate) fn version(&self) -> Option<&'data [u8]> {
        let version = &self.key[self.name.len()..];
        version.strip_prefix(b"@@").or_else(|| version.strip_prefix(b"@"))
    }

    /// Whether and how other images may bind to it.
    pub(crate) fn visible_binding(&self) -> SymbolBinding {
        let global = self.binding != elf::STB_LOCAL;
        let visible = matches!(self.visibility, elf::STV_DEFAULT | elf::STV_PROTECTED);
        match (global && visible, self.is_weak()) {
            (false, _) => SymbolBinding::Local,
            (true, false) => SymbolBinding::Strong,
            (true, true) => SymbolBinding::Weak,
        }
    }

    /// Whether it is an IFUNC that the unit defines: its PLT entry is its address.
    pub(crate) fn is_own_ifunc(&self) -> bool {
        self.kind == elf::STT_GNU_IFUNC && matches!(self.definition, Definition::Section { .. })
    }

    /// Whether the definition may stand beside a strong one of the same name.
    pub(crate) fn is_weak(&self) -> bool {
        matches!(self.binding, elf::STB_WEAK | elf::STB_GNU_UNIQUE)
    }
}

/// What defines a symbol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Definition {
    Undefined,
    /// In a section of the symbol's object.
    Section {
        section: u32,
        value: u64,
    },
    /// In a section that is not part of the image, such as that of a COMDAT group that was not chosen.
    Discarded,
    /// A tentative definition; `offset` in the block of commons is set by layout.
    Common {
        align: u64,
        offset: u64,
        large: bool,
    },
    Absolute(u64),
    /// Outside of the unit.
    External(Target),
    /// A private copy of an external variable; `offset` in the block of commons is set by layout.
    Copy {
        original: Target,
        offset: u64,
    },
    /// Supplied by the linker itself; the address is set by layout.
    Linker(LinkerSymbol),
}

/// The objects of one link, with their symbols bound to one another.
#[derive(Debug)]
pub(crate) struct Unit<'data> {
    pub(crate) objects: Vec<Object<'data>>,
    /// For each object, its symbol table as places in `symbols`.
    pub(crate) symbol_ids: Vec<Vec<SymbolId>>,
    pub(crate) symbols: Vec<Symbol<'data>>,
    pub(crate) globals: FxHashMap<&'data [u8], SymbolId>,
    /// The names of sections whose bounds are asked for by `__start_NAME` and `__stop_NAME`.
    pub(crate) bounded: FxHashMap<&'data [u8], u16>,
    /// The names of loaded sections that are C identifiers, of the objects before `named_objects`.
    section_names: FxHashSet<&'data [u8]>,
    named_objects: usize,
    /// The signatures of the groups that have been chosen.
    comdats: FxHashSet<&'data [u8]>,
    /// Whether the resolver decides where references to own definitions go.
    pub(crate) rebinds: bool,
    /// The own definitions that it has been asked about.
    pub(crate) owns: Vec<Owned>,
    /// The variables of sections of which some are kept elsewhere, by object and section.
    pub(crate) pieces: FxHashMap<(u32, u32), Vec<Piece>>,
    /// Where own functions start, by object, section and offset.
    pub(crate) function_starts: FxHashSet<(u32, u32, u64)>,
}

impl<'data> Unit<'data> {
    pub(crate) fn new(rebinds: bool) -> Self {
        Unit {
            objects: Vec::new(),
            symbol_ids: Vec::new(),
            symbols: Vec::new(),
            globals: FxHashMap::default(),
            bounded: FxHashMap::default(),
            section_names: FxHashSet::default(),
            named_objects: 0,
            comdats: FxHashSet::default(),
            rebinds,
            owns: Vec::new(),
            pieces: FxHashMap::default(),
            function_starts: FxHashSet::default(),
        }
    }

    /// What references to a symbol get, where that is outside of the unit.
    pub(crate) fn outside(&self, symbol: &Symbol<'_>) -> Option<Target> {
        if symbol.own != NOT_OWN {
            return match self.owns[symbol.own as usize].rebind {
                Rebind::To(target) => Some(target),
                _ => None,
            };
        }
        match symbol.definition {
            Definition::External(target) => Some(target),
            _ => None,
        }
    }

    /// Adds an object: chooses its COMDAT groups, and merges its symbols with those of the objects before it.
    pub(crate) fn add(&mut self, mut object: Object<'data>) -> Result<()> {
        let number = u32::try_from(self.objects.len()).unwrap_or(u32::MAX);
        self.choose_groups(&mut object);
        let count = object.symbols.len();
        let mut ids = Vec::with_capacity(count);
        self.symbols.reserve(count);
        for index in 0..u32::try_from(count).unwrap_or(u32::MAX) {
            let elf_symbol = object.symbol(index)?;
            let symbol = read_symbol(&object, number, index, elf_symbol)?;
            ids.push(if elf_symbol.st_bind() == elf::STB_LOCAL || index == 0 {
                self.push(symbol)
            } else {
                self.merge(symbol, &object)?
            });
        }
        self.symbol_ids.push(ids);
        self.objects.push(object);
        Ok(())
    }

    fn choose_groups(&mut self, object: &mut Object<'data>) {
        for group in &object.groups {
            if !group.comdat {
                continue;
            }
            if !self.comdats.insert(group.signature) {
                for member in &group.members {
                    object.sections[*member].state = SectionState::Discarded;
                }
            }
        }
        // A section that exists for another one goes with it.
        for index in 0..object.sections.len() {
            let section = &object.sections[index];
            if section.flags.contains(elf::SHF_LINK_ORDER)
                && object
                    .sections
                    .get(section.link)
                    .is_some_and(|to| to.state == SectionState::Discarded)
            {
                object.sections[index].state = SectionState::Discarded;
            }
        }
    }

    fn push(&mut self, symbol: Symbol<'data>) -> SymbolId {
        let id = SymbolId(u32::try_from(self.symbols.len()).unwrap_or(u32::MAX));
        self.symbols.push(symbol);
        id
    }

    fn merge(&mut self, new: Symbol<'data>, object: &Object<'data>) -> Result<SymbolId> {
        let key = new.key;
        if let Some(&id) = self.globals.get(key) {
            let old = &self.symbols[id.0 as usize];
            match precedence(old, &new) {
                Precedence::Old => {}
                Precedence::New => self.replace(id, new),
                Precedence::Larger => self.enlarge(id, &new),
                Precedence::Conflict => {
                    return Err(Error::Duplicate {
                        symbol: String::from_utf8_lossy(new.name).into_owned(),
                        first: self.objects.get(old.object as usize).unwrap_or(object).name.clone(),
                        second: object.name.clone(),
                    });
                }
                Precedence::Reference => {
                    let weak = old.weak_reference && new.weak_reference;
                    self.symbols[id.0 as usize].weak_reference = weak;
                    self.restrict(id, new.visibility);
                }
            }
            return Ok(id);
        }
        let id = self.push(new);
        self.globals.insert(key, id);
        Ok(id)
    }

    fn replace(&mut self, id: SymbolId, new: Symbol<'data>) {
        let Symbol { visibility, needs, .. } = self.symbols[id.0 as usize];
        self.symbols[id.0 as usize] = new;
        // Objects that were scanned before the definition came have asked for slots already.
        self.symbols[id.0 as usize].needs.add(needs);
        self.restrict(id, visibility);
    }

    fn enlarge(&mut self, id: SymbolId, new: &Symbol<'data>) {
        let old = &mut self.symbols[id.0 as usize];
        old.size = old.size.max(new.size);
        if let (
            Definition::Common { align, large, .. },
            Definition::Common {
                align: other_align,
                large: other_large,
                ..
            },
        ) = (&mut old.definition, new.definition)
        {
            *align = (*align).max(other_align);
            // Code of the small model has to reach it, if there is any.
            *large &= other_large;
        }
    }

    /// The most constraining visibility of all references counts (gABI, "Symbol Visibility").
    fn restrict(&mut self, id: SymbolId, visibility: elf::SymbolVisibility) {
        let rank = |v: elf::SymbolVisibility| match v {
            elf::STV_DEFAULT => 0,
            elf::STV_PROTECTED => 1,
            elf::STV_HIDDEN => 2,
            _ => 3,
        };
        let own = &mut self.symbols[id.0 as usize].visibility;
        if rank(visibility) > rank(*own) {
            *own = visibility;
        }
    }

    /// Binds names to images linked before: undefined ones, and weak definitions that exist there already.
    pub(crate) fn bind_earlier(&mut self, resolver: &mut dyn Resolver, from: usize) {
        let rebinds = self.rebinds;
        for symbol in &mut self.symbols[from..] {
            let open = match symbol.definition {
                Definition::Undefined => symbol.binding != elf::STB_LOCAL,
                _ if rebinds => false,
                Definition::Section { .. } => symbol.is_weak() && symbol.visibility == elf::STV_DEFAULT,
                Definition::Common { .. } => symbol.visibility == elf::STV_DEFAULT,
                _ => false,
            };
            if open
                && !symbol.name.is_empty()
                && linker_symbol(symbol.name).is_none()
                && let Some(target) = resolver.earlier(symbol.name)
            {
                symbol.definition = Definition::External(target);
            }
        }
    }

    /// Takes members from archives until none defines a symbol that is still wanted. Returns whether any was taken.
    pub(crate) fn take_members(
        &mut self,
        archives: &mut [Archive<'data>],
        resolver: &mut dyn Resolver,
    ) -> Result<bool> {
        let before = self.objects.len();
        // A member may turn a weak reference that was passed over into a strong one, so the search starts again.
        while self.take_members_once(archives, resolver)? {}
        Ok(self.objects.len() > before)
    }

    fn take_members_once(&mut self, archives: &mut [Archive<'data>], resolver: &mut dyn Resolver) -> Result<bool> {
        if archives.is_empty() {
            return Ok(false);
        }
        let mut taken = false;
        let mut next = 0;
        while next < self.symbols.len() {
            let symbol = &self.symbols[next];
            let tentative = matches!(symbol.definition, Definition::Common { .. });
            let wanted = (symbol.definition == Definition::Undefined && !symbol.weak_reference) || tentative;
            next += 1;
            if !wanted || symbol.binding == elf::STB_LOCAL || symbol.version().is_some() {
                continue;
            }
            let name = symbol.name;
            for archive in archives.iter_mut() {
                // A tentative definition takes a real one only: Fortran's common blocks and their block data.
                if let Some(member) = archive.take(name, tentative)? {
                    let before = self.symbols.len();
                    self.add(member)?;
                    self.bind_earlier(resolver, before);
                    taken = true;
                    break;
                }
            }
        }
        Ok(taken)
    }

    /// Binds what is still undefined and needed: to the linker's own symbols, then to the surroundings.
    pub(crate) fn bind_external(&mut self, resolver: &mut dyn Resolver) {
        for id in 0..self.symbols.len() {
            let symbol = &self.symbols[id];
            let name = symbol.name;
            let unique =
                symbol.binding == elf::STB_GNU_UNIQUE && matches!(symbol.definition, Definition::Section { .. });
            if symbol.needs.is_empty() || !(symbol.definition == Definition::Undefined || unique) || name.is_empty() {
                continue;
            }
            let request = Request {
                name,
                version: symbol.version(),
                weak: symbol.weak_reference || unique,
                fixed_offset: symbol.needs.has(Needs::TLS_IE) || symbol.needs.has(Needs::TLS_LE),
            };
            let supplied = if unique { None } else { self.linker_symbol(name) };
            let definition = match supplied {
                Some(symbol) => Some(Definition::Linker(symbol)),
                // The answer to a second question, after members of fallbacks were added, would be the same.
                None if self.symbols[id].needs.has(Needs::ASKED) => None,
                None => {
                    self.symbols[id].needs.add(Needs::ASKED);
                    resolver.external(request).map(Definition::External)
                }
            };
            if let Some(definition) = definition {
                self.symbols[id].definition = definition;
            }
        }
    }

    fn linker_symbol(&mut self, name: &'data [u8]) -> Option<LinkerSymbol> {
        linker_symbol(name).or_else(|| self.bound_symbol(name))
    }

    fn bound_symbol(&mut self, name: &'data [u8]) -> Option<LinkerSymbol> {
        let start = name.strip_prefix(b"__start_");
        let section = start.or_else(|| name.strip_prefix(b"__stop_"))?;
        if !self.has_named_section(section) {
            return None;
        }
        let next = u16::try_from(self.bounded.len()).ok()?;
        let at = *self.bounded.entry(section).or_insert(next);
        Some(if start.is_some() {
            LinkerSymbol::SectionStart(at)
        } else {
            LinkerSymbol::SectionEnd(at)
        })
    }

    /// Whether some object has a section of that name, which is a C identifier, in a segment.
    fn has_named_section(&mut self, name: &[u8]) -> bool {
        for object in &self.objects[self.named_objects..] {
            let sections = object.sections.iter();
            let named = sections.filter(|s| s.state == SectionState::Loaded && !s.is_tls() && is_c_identifier(s.name));
            self.section_names.extend(named.map(|section| section.name));
        }
        self.named_objects = self.objects.len();
        self.section_names.contains(name)
    }

    /// Every symbol that is needed and that nothing defines, with the objects that refer to it.
    pub(crate) fn undefined(&self) -> Vec<Undefined> {
        let missing = |symbol: &Symbol<'_>| {
            symbol.definition == Definition::Undefined
                && !symbol.needs.is_empty()
                && !symbol.weak_reference
                && !symbol.name.is_empty()
        };
        let mut undefined = Vec::new();
        let mut places = FxHashMap::default();
        for (id, symbol) in self.symbols.iter().enumerate().filter(|(_, symbol)| missing(symbol)) {
            places.insert(id as u32, undefined.len());
            undefined.push(Undefined {
                symbol: display(symbol.name, symbol.version()),
                wanted_by: Vec::new(),
                hint: hint(symbol.name),
            });
        }
        if undefined.is_empty() {
            return undefined;
        }
        for (object, ids) in self.objects.iter().zip(&self.symbol_ids) {
            for at in ids.iter().filter_map(|id| places.get(&id.0)) {
                let wanted_by = &mut undefined[*at].wanted_by;
                if wanted_by.last() != Some(&object.name) {
                    wanted_by.push(object.name.clone());
                }
            }
        }
        undefined
    }

    /// What messages call a symbol: its name, or the section it stands for.
    pub(crate) fn display(&self, id: SymbolId) -> String {
        let symbol = &self.symbols[id.0 as usize];
        if !symbol.name.is_empty() {
            return display(symbol.name, symbol.version());
        }
        match symbol.definition {
            Definition::Section { section, .. } => {
                self.objects[symbol.object as usize].sections[section as usize].display_name()
            }
            Definition::Absolute(value) => format!("absolute {value:#x}"),
            _ => "no symbol".into(),
        }
    }
}

fn read_symbol<'data>(
    object: &Object<'data>,
    number: u32,
    index: u32,
    elf_symbol: &'data ElfSymbol,
) -> Result<Symbol<'data>> {
    let name = object.symbol_name(elf_symbol)?;
    let (size, value, kind) = (
        elf_symbol.st_size.get(LE),
        elf_symbol.st_value.get(LE),
        elf_symbol.st_type(),
    );
    let definition = match elf_symbol.st_shndx.get(LE) {
        elf::SHN_UNDEF if index == 0 || elf_symbol.st_bind() == elf::STB_LOCAL => Definition::Absolute(0),
        elf::SHN_UNDEF => Definition::Undefined,
        elf::SHN_ABS => Definition::Absolute(value),
        shndx @ (elf::SHN_COMMON | SHN_X86_64_LCOMMON) => {
            if !value.max(1).is_power_of_two() {
                return Err(object.malformed(format!(
                    "common symbol {index}: alignment {value:#x} is not a power of two"
                )));
            }
            Definition::Common {
                align: value.max(1),
                offset: 0,
                large: shndx == SHN_X86_64_LCOMMON,
            }
        }
        _ => match object.symbol_section(index, elf_symbol)? {
            Some(section) if object.sections[section].state != SectionState::Discarded => Definition::Section {
                section: u32::try_from(section).unwrap_or(u32::MAX),
                value,
            },
            Some(_) if elf_symbol.st_bind() == elf::STB_LOCAL => Definition::Discarded,
            Some(_) => Definition::Undefined,
            None => {
                return Err(object.malformed(format!(
                    "symbol {index}: section index {:#x} is reserved",
                    elf_symbol.st_shndx.get(LE).0
                )));
            }
        },
    };
    // `name@VERSION` binds to that version; `name@@VERSION` defines the default one; a definition of `name@VERSION` is
    // found by its whole name only.
    let undefined = definition == Definition::Undefined;
    let is_shared_ifunc = kind == elf::STT_GNU_IFUNC && !undefined && elf_symbol.st_bind() != elf::STB_LOCAL;
    let at = name
        .iter()
        .position(|byte| *byte == b'@')
        .filter(|at| *at > 0 && elf_symbol.st_bind() != elf::STB_LOCAL);
    let (name, key) = match at {
        Some(at) if undefined => (&name[..at], name),
        Some(at) if name[at..].starts_with(b"@@") => (&name[..at], &name[..at]),
        _ => (name, name),
    };
    Ok(Symbol {
        name,
        key,
        definition,
        size,
        kind,
        binding: elf_symbol.st_bind(),
        visibility: elf_symbol.st_visibility(),
        // A definition that went with its group asks for the chosen one, weak or not.
        weak_reference: elf_symbol.st_shndx.get(LE) == elf::SHN_UNDEF && elf_symbol.st_bind() == elf::STB_WEAK,
        object: number,
        // Others may look an IFUNC up, and then its address has to be that of a PLT entry.
        needs: if is_shared_ifunc { Needs::PLT } else { Needs::default() },
        slots: NO_SLOTS,
        own: NOT_OWN,
        address: 0,
    })
}

enum Precedence {
    Old,
    New,
    /// Two tentative definitions: the larger size and alignment.
    Larger,
    Conflict,
    /// The new one only refers.
    Reference,
}

fn precedence(old: &Symbol<'_>, new: &Symbol<'_>) -> Precedence {
    use Definition::{Absolute, Common, Undefined};
    match (old.definition, new.definition) {
        (_, Undefined) => Precedence::Reference,
        (Undefined, _) => Precedence::New,
        (Common { .. }, Common { .. }) => Precedence::Larger,
        (_, Common { .. }) if old.is_weak() => Precedence::New,
        (_, Common { .. }) => Precedence::Old,
        (Common { .. }, _) if new.is_weak() => Precedence::Old,
        (Common { .. }, _) => Precedence::New,
        _ if new.is_weak() => Precedence::Old,
        _ if old.is_weak() => Precedence::New,
        (Absolute(one), Absolute(other)) if one == other => Precedence::Old,
        _ => Precedence::Conflict,
    }
}

fn display(name: &[u8], version: Option<&[u8]>) -> String {
    let name = String::from_utf8_lossy(name);
    version.map_or_else(
        || name.to_string(),
        |version| format!("{name}@{}", String::from_utf8_lossy(version)),
    )
}

fn is_c_identifier(name: &[u8]) -> bool {
    let letter = |byte: &u8| byte.is_ascii_alphabetic() || *byte == b'_';
    name.first().is_some_and(letter) && name.iter().all(|byte| letter(byte) || byte.is_ascii_digit())
}
