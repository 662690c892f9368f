//! Scan: what each symbol's relocations need, and what it gets. *Apply* decides nothing after this.

use object::elf;

use crate::error::{Error, Place, RelocationError, Result};
use crate::memory::Window;
use crate::object::{Relocation, Section, SectionState};
use crate::own::NOT_OWN;
use crate::relocation::{Need, Relaxation, Row};
use crate::resolver::{CopyRule, TargetKind};
use crate::unit::{Definition, NO_SLOTS, Symbol, Unit};

/// What the relocations against one symbol need, as a set.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Needs(u16);

impl Needs {
    /// Something refers to the symbol.
    pub(crate) const REFERENCE: Needs = Needs(1);
    /// Its address, in a narrow field.
    pub(crate) const NEAR: Needs = Needs(1 << 1);
    /// Its address, in a field of 32 bits or less that is not relative to anything.
    pub(crate) const NARROW: Needs = Needs(1 << 2);
    /// A call target.
    pub(crate) const PLT: Needs = Needs(1 << 3);
    /// A GOT slot.
    pub(crate) const GOT: Needs = Needs(1 << 4);
    /// A GOT slot, unless the address is in reach.
    pub(crate) const RELAXABLE: Needs = Needs(1 << 5);
    pub(crate) const TLS_GD: Needs = Needs(1 << 6);
    pub(crate) const TLS_IE: Needs = Needs(1 << 7);
    pub(crate) const TLS_LE: Needs = Needs(1 << 8);
    pub(crate) const TLS_DESC: Needs = Needs(1 << 9);
    /// Decided: instructions that load the address from the GOT are rewritten.
    pub(crate) const RELAXED: Needs = Needs(1 << 10);
    /// Decided: the symbol is thread-local.
    pub(crate) const THREAD_LOCAL: Needs = Needs(1 << 11);
    /// Whoever resolves external names has been asked for the symbol.
    pub(crate) const ASKED: Needs = Needs(1 << 12);

    /// What may take table entries.
    pub(crate) const SLOTS: Needs = Needs(
        Self::NEAR.0
            | Self::PLT.0
            | Self::GOT.0
            | Self::RELAXABLE.0
            | Self::TLS_GD.0
            | Self::TLS_IE.0
            | Self::TLS_DESC.0,
    );

    pub(crate) fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub(crate) fn has(self, needs: Needs) -> bool {
        self.0 & needs.0 != 0
    }

    pub(crate) fn add(&mut self, needs: Needs) {
        self.0 |= needs.0;
    }
}

/// No slot.
pub(crate) const NO_SLOT: u32 = u32::MAX;

/// The GOT words and the PLT entry of one symbol, each by its place in its table.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Slots {
    /// The word with the symbol's address.
    pub(crate) got: u32,
    /// The PLT entry.
    pub(crate) plt: u32,
    /// The word that the PLT entry jumps through.
    pub(crate) plt_got: u32,
    /// Two words: module and offset.
    pub(crate) tls_gd: u32,
    /// One word: offset from the thread pointer.
    pub(crate) tls_ie: u32,
    /// Four words: a TLS descriptor, and the pair that a dynamic one points to.
    pub(crate) tls_desc: u32,
    /// Whether references of every kind get the PLT entry as the symbol's one address.
    pub(crate) canonical_plt: bool,
}

impl Slots {
    const NONE: Slots = Slots {
        got: NO_SLOT,
        plt: NO_SLOT,
        plt_got: NO_SLOT,
        tls_gd: NO_SLOT,
        tls_ie: NO_SLOT,
        tls_desc: NO_SLOT,
        canonical_plt: false,
    };
}

/// The tables that the decisions add up to.
#[derive(Debug, Default)]
pub(crate) struct Tables {
    pub(crate) slots: Vec<Slots>,
    pub(crate) got_words: u32,
    pub(crate) plt_entries: u32,
    /// The pair for this module, or [`NO_SLOT`].
    pub(crate) tls_ld: u32,
}

/// What scan finds out of the unit as a whole.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Summary {
    /// Some code asks for this module's own thread-local block.
    pub(crate) tls_ld: bool,
}

/// Checks every relocation of the objects from `from` on, and collects what their symbols need.
pub(crate) fn collect(unit: &mut Unit<'_>, from: usize, summary: &mut Summary) -> Result<()> {
    for object in from..unit.objects.len() {
        for index in 0..unit.objects[object].sections.len() {
            let section = &unit.objects[object].sections[index];
            if section.state != SectionState::Loaded {
                continue;
            }
            let ids = &unit.symbol_ids[object];
            for relocation in section.relocations.iter() {
                match check(section, relocation, ids.len()) {
                    Ok(None) => {}
                    Ok(Some((row, needs))) => {
                        let symbol = &mut unit.symbols[ids[relocation.symbol as usize].0 as usize];
                        symbol.needs.add(needs);
                        summary.tls_ld |= row.need == Need::TlsLd;
                    }
                    Err(reason) => return Err(error(unit, object, index, relocation, reason)),
                }
            }
        }
    }
    Ok(())
}

/// Checks what one relocation says of itself. `None` means that there is nothing to do.
#[inline]
fn check(
    section: &Section<'_>,
    relocation: Relocation,
    symbols: usize,
) -> Result<Option<(&'static Row, Needs)>, RelocationError> {
    let row = Row::of(relocation.number).ok_or(RelocationError::UnknownType)?;
    if row.dynamic_only {
        return Err(RelocationError::DynamicOnly);
    }
    if row.number == 0 {
        return Ok(None);
    }
    if relocation.symbol as usize >= symbols {
        return Err(RelocationError::NoSuchSymbol(relocation.symbol));
    }
    let width = u64::from(row.width);
    if relocation.offset > section.size || section.size - relocation.offset < width {
        return Err(RelocationError::OutsideSection {
            width: row.width,
            size: section.size,
        });
    }
    if section.is_nobits() && width > 0 {
        return Err(RelocationError::NoContents);
    }
    let mut needs = Needs::REFERENCE;
    needs.add(match row.need {
        Need::Nothing | Need::Address | Need::TlsLd | Need::TlsBlock => Needs::REFERENCE,
        Need::NearAddress if row.is_narrow_absolute() => Needs(Needs::NEAR.0 | Needs::NARROW.0),
        Need::NearAddress => Needs::NEAR,
        Need::Plt => Needs::PLT,
        Need::Got => Needs::GOT,
        Need::RelaxableGot => match relaxation(row, section, relocation) {
            Some(_) => Needs::RELAXABLE,
            None => Needs::GOT,
        },
        Need::TlsGd => Needs::TLS_GD,
        Need::TlsIe => Needs::TLS_IE,
        Need::TlsLe => Needs::TLS_LE,
        Need::TlsDesc => Needs::TLS_DESC,
    });
    Ok(Some((row, needs)))
}

/// The rewrite that the instruction at a relocation allows, judged by the bytes in the file.
#[inline]
pub(crate) fn relaxation(row: &Row, section: &Section<'_>, relocation: Relocation) -> Option<&'static Relaxation> {
    let offset = usize::try_from(relocation.offset).ok()?;
    Relaxation::of(row, section.data, offset, relocation.addend)
}

/// Where the image has to be able to reach, beside itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Demand {
    /// Absolute fields of 32 bits or less: the image has to be below 2 GiB.
    Low,
    /// Nothing but what a PLT entry or GOT slot provides.
    Anywhere,
}

/// Whether some relocation forces the image below 2 GiB.
pub(crate) fn demand(unit: &Unit<'_>) -> Demand {
    let narrow = unit.symbols.iter().any(|symbol| {
        symbol.needs.has(Needs::NARROW) && !matches!(symbol.definition, Definition::Absolute(_) | Definition::Undefined)
    });
    if narrow { Demand::Low } else { Demand::Anywhere }
}

/// An address outside of the unit that some instruction has to reach, and cannot from `window`.
///
/// Functions are no obstacle, since a PLT entry stands in for them.
pub(crate) fn unreachable(unit: &Unit<'_>, window: Window) -> Option<u64> {
    unit.symbols
        .iter()
        .filter(|symbol| symbol.needs.has(Needs::NEAR))
        .find_map(|symbol| {
            let address = match symbol.definition {
                _ if symbol.own != NOT_OWN => unit.outside(symbol)?.address,
                Definition::External(target) if matches!(target.kind, TargetKind::Data(_) | TargetKind::Absolute) => {
                    target.address
                }
                Definition::Absolute(_) if symbol.needs.has(Needs::NARROW) => return None,
                Definition::Absolute(value) if !symbol.name.is_empty() => value,
                Definition::Undefined => 0,
                _ => return None,
            };
            (!window.reaches(address)).then_some(address)
        })
}

/// Decides what each symbol gets: GOT slots, PLT entries, copies, relaxed instructions.
pub(crate) fn decide(unit: &mut Unit<'_>, window: Window, summary: Summary) -> Result<Tables> {
    let mut tables = Tables {
        tls_ld: NO_SLOT,
        ..Tables::default()
    };
    if summary.tls_ld {
        tables.tls_ld = tables.words(2);
    }
    for id in 0..unit.symbols.len() {
        let needs = unit.symbols[id].needs;
        if needs.is_empty() {
            continue;
        }
        if is_tls(unit, id) {
            unit.symbols[id].needs.add(Needs::THREAD_LOCAL);
            decide_tls(unit, id, &mut tables);
        } else {
            decide_address(unit, id, window, &mut tables)?;
        }
    }
    Ok(tables)
}

fn is_tls(unit: &Unit<'_>, id: usize) -> bool {
    let symbol = &unit.symbols[id];
    if let Some(target) = unit.outside(symbol) {
        return matches!(target.kind, TargetKind::Tls { .. });
    }
    match symbol.definition {
        Definition::Section { section, .. } => unit.objects[symbol.object as usize].sections[section as usize].is_tls(),
        Definition::Common { .. } => symbol.kind == elf::STT_TLS,
        Definition::Linker(symbol) => symbol == crate::supplied::LinkerSymbol::TlsModuleBase,
        _ => symbol.kind == elf::STT_TLS,
    }
}

fn decide_tls(unit: &mut Unit<'_>, id: usize, tables: &mut Tables) {
    let needs = unit.symbols[id].needs;
    let mut slots = Slots::NONE;
    if needs.has(Needs::TLS_GD) {
        slots.tls_gd = tables.words(2);
    }
    if needs.has(Needs::TLS_IE) {
        slots.tls_ie = tables.words(1);
    }
    if needs.has(Needs::TLS_DESC) {
        slots.tls_desc = tables.words(4);
    }
    unit.symbols[id].slots = tables.push(slots);
}

fn decide_address(unit: &mut Unit<'_>, id: usize, window: Window, tables: &mut Tables) -> Result<()> {
    let symbol = &unit.symbols[id];
    let needs = symbol.needs;
    let own_ifunc = symbol.is_own_ifunc();
    let elsewhere = unit.outside(symbol);
    let outside = match symbol.definition {
        _ if elsewhere.is_some() => elsewhere.map(|target| target.address),
        Definition::Absolute(value) => Some(value),
        Definition::Undefined => Some(0),
        _ => None,
    };
    let far = outside.is_some_and(|address| !window.reaches(address));
    let near_wanted = needs.has(Needs::NEAR) && far;
    let mut slots = Slots::NONE;
    if let (true, Some(target)) = (near_wanted, elsewhere) {
        match target.kind {
            TargetKind::Function => slots.canonical_plt = !own_ifunc,
            TargetKind::Data(CopyRule::Stale) => {
                return Err(symbol_error(
                    unit,
                    symbol,
                    Need::NearAddress,
                    RelocationError::StaleCopy(target.address),
                ));
            }
            TargetKind::Data(_) => {
                unit.symbols[id].definition = Definition::Copy {
                    original: target,
                    offset: 0,
                };
                unit.symbols[id].size = target.size;
            }
            _ => {}
        }
    }
    slots.canonical_plt |= own_ifunc && elsewhere.is_none();
    let copied = matches!(unit.symbols[id].definition, Definition::Copy { .. });
    // `call 0x1234` refers to no symbol: its target is in the addend, which a PLT entry could not know.
    let named = !unit.symbols[id].name.is_empty();
    if slots.canonical_plt || own_ifunc || (needs.has(Needs::PLT) && far && named && !copied) {
        slots.plt = tables.plt();
        slots.plt_got = tables.words(1);
    }
    let reached = match outside {
        Some(_) => !far || copied || slots.canonical_plt,
        None => window.reaches_itself(),
    };
    if needs.has(Needs::RELAXABLE) && reached && !is_large(unit, id) {
        unit.symbols[id].needs.add(Needs::RELAXED);
    }
    if needs.has(Needs::GOT) || (needs.has(Needs::RELAXABLE) && !unit.symbols[id].needs.has(Needs::RELAXED)) {
        slots.got = tables.words(1);
    }
    if slots.got != NO_SLOT || slots.plt != NO_SLOT {
        unit.symbols[id].slots = tables.push(slots);
    }
    Ok(())
}

/// Whether a symbol lies in a section of the large model, which may be out of reach.
fn is_large(unit: &Unit<'_>, id: usize) -> bool {
    let symbol = &unit.symbols[id];
    match symbol.definition {
        Definition::Section { section, .. } => {
            unit.objects[symbol.object as usize].sections[section as usize].is_large()
        }
        Definition::Common { large, .. } => large,
        _ => false,
    }
}

impl Tables {
    fn words(&mut self, count: u32) -> u32 {
        let first = self.got_words;
        self.got_words += count;
        first
    }

    fn plt(&mut self) -> u32 {
        self.plt_entries += 1;
        self.plt_entries - 1
    }

    fn push(&mut self, slots: Slots) -> u32 {
        self.slots.push(slots);
        u32::try_from(self.slots.len() - 1).unwrap_or(NO_SLOTS)
    }
}

/// The error for a reason that concerns a symbol, at its first relocation with that need.
pub(crate) fn symbol_error(unit: &Unit<'_>, symbol: &Symbol<'_>, need: Need, reason: RelocationError) -> Error {
    for (number, object) in unit.objects.iter().enumerate() {
        for (index, section) in object
            .sections
            .iter()
            .enumerate()
            .filter(|(_, s)| s.state == SectionState::Loaded)
        {
            let found = section.relocations.iter().find(|relocation| {
                let wanted = Row::of(relocation.number).is_some_and(|row| row.need == need);
                let id = unit.symbol_ids[number].get(relocation.symbol as usize);
                wanted && id.is_some_and(|id| std::ptr::eq(symbol, &raw const unit.symbols[id.0 as usize]))
            });
            if let Some(relocation) = found {
                return error(unit, number, index, relocation, reason);
            }
        }
    }
    Error::Malformed {
        object: unit.objects[symbol.object as usize].name.clone(),
        reason: reason.to_string(),
    }
}

/// The error for one relocation.
pub(crate) fn error(
    unit: &Unit<'_>,
    object: usize,
    section: usize,
    relocation: Relocation,
    reason: RelocationError,
) -> Error {
    let id = unit.symbol_ids[object].get(relocation.symbol as usize);
    Error::Relocation {
        place: Box::new(Place {
            object: unit.objects[object].name.clone(),
            section: unit.objects[object].sections[section].display_name(),
            offset: relocation.offset,
        }),
        kind: Row::name_of(relocation.number),
        symbol: id.map_or_else(|| format!("symbol {}", relocation.symbol), |id| unit.display(*id)),
        reason,
    }
}
