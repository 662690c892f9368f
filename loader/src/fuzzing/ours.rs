//! A case as this crate links it, and what its bytes should mean.

use std::collections::{HashMap, HashSet};

use object::elf;

use super::case::{Case, Externals};
use super::kinds::{GOT, PROBE, TLS_BASE, array_priority};
use super::memory::{CheckedMemory, DESCRIPTORS};
use super::model::{Bound, Model, Site};
use super::plan::{SymbolPlan, SymbolPlanPlace};
use super::reference;
use super::view::{LinkedSite, Meaning, View, meaning};
use crate::error::Result;
use crate::image::{Detail, FunctionArray, Image};
use crate::limits::Limits;
use crate::link::{Options, link};
use crate::memory::{PAGE_BYTES, SegmentKind, SegmentSize};
use crate::object::SHN_X86_64_LCOMMON;
use crate::relocation::{Formula, Need, Values};
use crate::resolver::{CopyRule, TargetKind};

/// Room for addends at the ends of what 32 bits reach, as documented at [`Window::reaches`](crate::Window::reaches).
const SLACK_BYTES: i128 = 16 << 20;
/// Sizes that no generated case needs, so that hostile ones cost no time.
pub(super) const LIMITS: Limits = Limits {
    image_bytes: 1 << 30,
    align_bytes: 1 << 24,
    padding_bytes: 1 << 20,
};

/// Links a case, and returns the memory with whatever happened there.
pub(super) fn link_case(case: &Case, garbage: u8, detail: Detail, trace: bool) -> (CheckedMemory, Result<Image>) {
    let mut memory = CheckedMemory::new(case.base, garbage, case.static_tls);
    let options = Options {
        detail,
        trace,
        debug: trace,
        limits: LIMITS,
    };
    let inputs = case.inputs();
    let result = link(&inputs, || &[], &mut Externals(&case.externals), &mut memory, &options);
    (memory, result)
}

/// A case that is linked.
#[derive(Debug)]
pub(super) struct Ours<'a> {
    pub(super) model: &'a Model<'a>,
    pub(super) memory: CheckedMemory,
    pub(super) image: Image,
    /// The objects, by their place in the case, in the order in which they are linked.
    pub(super) order: Vec<usize>,
    /// The addresses of sections, by object and section of the case.
    pub(super) sections: HashMap<(usize, usize), u64>,
    pub(super) symbols: HashMap<String, u64>,
    near: HashSet<&'a str>,
    got: u64,
    /// The addresses of copied variables.
    copies: HashMap<&'a str, u64>,
}

impl<'a> Ours<'a> {
    pub(super) fn new(model: &'a Model<'a>, memory: CheckedMemory, image: Image) -> Self {
        let case = model.case;
        let name_of = |object: usize| {
            let name = &case.object(object).name;
            if object < case.objects.len() {
                name.clone()
            } else {
                format!("{}({name})", Case::ARCHIVE)
            }
        };
        let numbers: HashMap<String, usize> = model.linked.iter().map(|object| (name_of(*object), *object)).collect();
        let mut sections = HashMap::new();
        for section in &image.sections {
            let (Some(object), Some(index)) = (section.object, section.index) else {
                continue;
            };
            let object = numbers.get(&image.objects[object as usize]).copied();
            // The null section and those of groups come first in the file.
            let at = object.and_then(|object| (index as usize).checked_sub(1 + case.object(object).groups.len()));
            if let (Some(object), Some(at)) = (object, at) {
                sections.insert((object, at), section.address);
            }
        }
        let order = image.objects.iter().filter_map(|name| numbers.get(name).copied());
        let mut ours = Ours {
            model,
            memory,
            order: order.collect(),
            sections,
            symbols: image.symbols.iter().map(|s| (s.name.to_string(), s.address)).collect(),
            image,
            near: model.near_references(),
            got: 0,
            copies: HashMap::new(),
        };
        ours.got = ours.probe().unwrap_or(0);
        ours.find_copies();
        ours
    }

    /// The address of the global offset table, which the first object asks for; or else that of its section.
    fn probe(&self) -> Option<u64> {
        let plan = &self.model.case.objects[0];
        let at = plan.sections.iter().position(|section| section.name == PROBE);
        let probe = at.filter(|at| !plan.sections[*at].relocations.is_empty());
        let probe = probe
            .and_then(|at| self.number(*self.sections.get(&(0, at))?, 8))
            .filter(|got| *got != 0);
        probe.or_else(|| {
            Some(
                self.image
                    .sections
                    .iter()
                    .find(|section| &*section.name == ".got")?
                    .address,
            )
        })
    }

    /// Copies have no symbol, so their address is read from the widest field that holds it.
    fn find_copies(&mut self) {
        let external = |site: &Site<'a>| match self.model.bound(site.object, site.symbol) {
            Bound::External(target) => matches!(target.kind, TargetKind::Data(_)) && self.far(target.address),
            _ => false,
        };
        let mut sites: Vec<Site<'a>> = self.model.sites().filter(external).collect();
        sites.sort_by_key(|site| std::cmp::Reverse(site.row.width));
        let observed = sites.iter().filter_map(|site| {
            let base = match site.row.formula {
                Formula::Absolute => 0,
                Formula::Relative => self.place(site),
                _ => return None,
            };
            let bits = 64 - u32::from(site.row.width) * 8;
            let field = self.number(self.place(site), usize::from(site.row.width))?;
            let signed = ((field << bits).cast_signed() >> bits).cast_unsigned();
            let field = if site.row.number == 10 { field } else { signed };
            let address = field
                .wrapping_add(base)
                .wrapping_sub(site.relocation.addend.cast_unsigned());
            Some((site.symbol.name.as_str(), address))
        });
        let mut copies = HashMap::new();
        for (name, address) in observed {
            copies.entry(name).or_insert(address);
        }
        self.copies = copies;
    }

    pub(super) fn place(&self, site: &Site<'_>) -> u64 {
        let section = self.sections.get(&(site.object, site.section)).copied().unwrap_or(0);
        section.wrapping_add(site.relocation.offset)
    }

    pub(super) fn linked_site(&self, site: &Site<'a>) -> LinkedSite<'a> {
        let contents = &self.model.case.object(site.object).sections[site.section].contents;
        let end = site.relocation.offset as usize;
        LinkedSite {
            row: site.row,
            place: self.place(site),
            addend: site.relocation.addend,
            before: &contents[end.saturating_sub(3)..end],
        }
    }

    pub(super) fn meaning(&self, site: &Site<'a>) -> Meaning {
        if self.model.is_discarded(&self.model.bound(site.object, site.symbol)) {
            // Whatever the type would make of it, it is a number that says so.
            let field = self.number(self.place(site), usize::from(site.row.width));
            return Meaning::Field(field.unwrap_or(u64::MAX));
        }
        meaning(self, &self.linked_site(site))
    }

    /// Whether some address of the image is too far away for 32 signed bits.
    fn far(&self, address: u64) -> bool {
        let window = self.memory.window();
        let distance = |from: u64| (i128::from(address) - i128::from(from)).abs();
        distance(window.start).max(distance(window.end)) >= (1 << 31) - SLACK_BYTES
    }

    fn block_offset(&self) -> Option<i64> {
        self.image.tls.and_then(|tls| tls.placement.block_offset)
    }

    /// What one's definition is: its address, or its offset in the thread-local block.
    pub(super) fn definition(&self, bound: &Bound<'_>, name: &str) -> u64 {
        match *bound {
            Bound::Section(object, symbol) => {
                let SymbolPlanPlace::Section(at) = symbol.place else {
                    return 0;
                };
                let start = self.sections.get(&(object, at)).copied().unwrap_or(0);
                let template = self
                    .image
                    .tls
                    .filter(|_| self.model.case.object(object).sections[at].is_tls());
                start
                    .wrapping_sub(template.map_or(0, |tls| tls.template))
                    .wrapping_add(symbol.value)
            }
            Bound::Common { .. } => self.symbols.get(name).copied().unwrap_or(0),
            Bound::Absolute(symbol) => symbol.value,
            Bound::External(target) => target.address,
            Bound::Bounds(section, start) => {
                let all = self.model.sections().filter_map(|place| {
                    let plan = &self.model.case.object(place.0).sections[place.1];
                    (plan.name == section).then(|| (self.sections.get(&place).copied().unwrap_or(0), plan.size))
                });
                if start {
                    all.map(|(at, _)| at).min()
                } else {
                    all.map(|(at, size)| at + size).max()
                }
                .unwrap_or(0)
            }
            Bound::Got => self.got,
            Bound::Linker(name) => self.linker_symbol(name),
            Bound::Nothing => 0,
        }
    }

    /// Start and sizes of a segment; an empty one stands where its neighbours meet.
    fn segment(&self, segment: SegmentKind) -> (u64, SegmentSize) {
        let placement = &self.image.placement;
        let size = |index: usize| placement.sizes[index];
        let index = segment as usize;
        let before = (0..index).rev().find(|other| size(*other).total_bytes > 0);
        let after = (index..4).find(|other| size(*other).total_bytes > 0);
        let start = match (before, after) {
            (_, Some(after)) if after == index => placement.addresses[index],
            (Some(before), _) => placement.addresses[before] + size(before).total_bytes,
            (None, after) => after.map_or(0, |after| placement.addresses[after]),
        };
        (start, size(index))
    }

    fn linker_symbol(&self, name: &str) -> u64 {
        let (code, code_size) = self.segment(SegmentKind::Code);
        let (data, data_size) = self.segment(SegmentKind::Data);
        let (constants, _) = self.segment(SegmentKind::ReadOnly);
        let bounds = |start: bool| {
            let arrays = self.arrays(start);
            let first = arrays.iter().map(|array| array.address).min();
            let last = arrays.iter().map(|array| array.address + array.count * 8).max();
            (first.unwrap_or(constants), last.unwrap_or(constants))
        };
        match name {
            TLS_BASE => 0,
            "__dso_handle" => self.image.dso_handle.unwrap_or(0),
            "__executable_start" => code,
            "etext" => code + code_size.total_bytes,
            "data_start" => data,
            "__bss_start" => data + data_size.filled_bytes,
            "_end" => data + data_size.total_bytes,
            "__init_array_start" => bounds(true).0,
            "__init_array_end" => bounds(true).1,
            "__fini_array_start" => bounds(false).0,
            "__fini_array_end" => bounds(false).1,
            _ => constants,
        }
    }

    /// The arrays of functions to run at the start, or at the end, in order.
    pub(super) fn arrays(&self, start: bool) -> Vec<FunctionArray> {
        let mut arrays = Vec::new();
        for (object, at) in self.model.sections() {
            let section = &self.model.case.object(object).sections[at];
            if let Some((kind, priority)) = array_priority(&section.name)
                && kind == start
            {
                let address = self.sections.get(&(object, at)).copied().unwrap_or(0);
                arrays.push((
                    priority,
                    FunctionArray {
                        address,
                        count: section.size / 8,
                        backwards: section.name.starts_with(".ctors"),
                    },
                ));
            }
        }
        arrays.sort_by_key(|(priority, _)| *priority);
        arrays.into_iter().map(|(_, array)| array).collect()
    }

    /// Whether a name has its PLT entry for an address: an IFUNC, and a function out of reach of code that needs it near.
    pub(super) fn canonical_plt(&self, bound: &Bound<'_>, symbol: &SymbolPlan) -> bool {
        match bound {
            Bound::Section(_, definition) => definition.kind == elf::STT_GNU_IFUNC,
            Bound::External(target) => {
                let near = self.near.contains(symbol.name.as_str());
                near && target.kind == TargetKind::Function && self.far(target.address)
            }
            _ => false,
        }
    }

    fn is_copied(&self, bound: &Bound<'_>, symbol: &SymbolPlan) -> bool {
        matches!(bound, Bound::External(target) if matches!(target.kind, TargetKind::Data(_)) && self.far(target.address))
            && self.near.contains(symbol.name.as_str())
    }

    /// Why the link has to fail although each value fits.
    pub(super) fn refusals(model: &Model<'_>, far: impl Fn(u64) -> bool) -> Vec<&'static str> {
        let near = model.near_references();
        let refusals = model.sites().filter_map(|site| {
            let target = match model.bound(site.object, site.symbol) {
                Bound::External(target) => target,
                bound => {
                    let discarded = model.is_discarded(&bound) && !is_tolerant(model, &site);
                    return discarded.then_some("discarded with its group");
                }
            };
            match target.kind {
                TargetKind::Data(CopyRule::Stale)
                    if far(target.address) && near.contains(site.symbol.name.as_str()) =>
                {
                    Some("would go stale")
                }
                TargetKind::Tls { block_offset: None, .. } if site.row.need == Need::TlsIe => {
                    Some("fixed offset from the thread pointer")
                }
                _ => None,
            }
        });
        refusals.collect()
    }

    /// What the field at a site should mean.
    pub(super) fn expected(&self, site: &Site<'a>) -> Meaning {
        let (row, symbol) = (site.row, site.symbol);
        let bound = self.model.bound(site.object, symbol);
        let definition = self.definition(&bound, &symbol.name);
        // The unwinder skips a record whose function starts at 0.
        if row.width == 0 || self.model.is_discarded(&bound) {
            return Meaning::Field(0);
        }
        if row.need.is_tls() {
            return self.expected_tls(site, &bound, definition);
        }
        let canonical = self.canonical_plt(&bound, symbol);
        let copied = self.is_copied(&bound, symbol);
        let address = if canonical {
            let name = format!("{}@PLT", symbol.name);
            self.symbols.get(&name).copied().unwrap_or(0)
        } else if copied {
            self.copies.get(symbol.name.as_str()).copied().unwrap_or(0)
        } else {
            definition
        };
        match row.formula {
            Formula::SlotRelative if self.relaxes(site, &bound, canonical || copied) => Meaning::Relaxed(address),
            Formula::SlotRelative | Formula::SlotFromGot => Meaning::Slot(address),
            Formula::GotRelative => Meaning::Address(0),
            Formula::FromGot => Meaning::Address(address),
            Formula::PltRelative | Formula::PltFromGot => match bound {
                Bound::Section(_, symbol) if symbol.kind == elf::STT_GNU_IFUNC => Meaning::Chosen(definition),
                _ if copied => Meaning::Address(address),
                // The code may start with a PLT entry.
                Bound::Linker(_) => self.through(definition),
                _ => Meaning::Address(definition),
            },
            _ => self.value(
                site,
                &Values {
                    s: address,
                    z: size(&bound),
                    ..Values::default()
                },
            ),
        }
    }

    fn value(&self, site: &Site<'_>, values: &Values) -> Meaning {
        let values = Values {
            a: site.relocation.addend.cast_unsigned(),
            p: self.place(site),
            got: self.got,
            ..*values
        };
        match reference::calculation(site.row.number, &values) {
            None => Meaning::Odd("no such type".into()),
            Some((field, value)) if !reference::may_store(site.row.number, field, value) => Meaning::OutOfRange,
            Some((field, value)) => {
                let bytes = value.to_le_bytes();
                let mut word = [0; 8];
                word[..field.bytes()].copy_from_slice(&bytes[..field.bytes()]);
                Meaning::Field(u64::from_le_bytes(word))
            }
        }
    }

    fn expected_tls(&self, site: &Site<'_>, bound: &Bound<'_>, offset: u64) -> Meaning {
        let own_module = self.image.tls.map_or(0, |tls| tls.placement.module);
        let (module, block) = match bound {
            Bound::External(target) => match target.kind {
                TargetKind::Tls { module, block_offset } => (module, block_offset),
                _ => (0, None),
            },
            // A weak variable that nothing defines: address 0 everywhere.
            Bound::Nothing => (0, Some(0)),
            _ => (own_module, self.block_offset()),
        };
        let own_block = self.block_offset().unwrap_or(0);
        let offset_of = |block: i64| Meaning::Offset(offset.wrapping_add_signed(block).wrapping_add_signed(-own_block));
        match site.row.need {
            Need::TlsLd => Meaning::Pair {
                module: own_module,
                offset: 0,
            },
            Need::TlsIe => offset_of(block.unwrap_or(0)),
            Need::TlsDesc if block.is_some() => offset_of(block.unwrap_or(0)),
            Need::TlsGd | Need::TlsDesc => Meaning::Pair { module, offset },
            _ => self.value(
                site,
                &Values {
                    block: offset,
                    tp: offset.wrapping_add_signed(block.unwrap_or(0)),
                    module,
                    ..Values::default()
                },
            ),
        }
    }

    /// Whether the instruction at a site is to be rewritten (psABI, appendix B.2): it is one of three, its address is in
    /// reach, and its bytes are what they seem.
    fn relaxes(&self, site: &Site<'a>, bound: &Bound<'_>, moved_near: bool) -> bool {
        let linked = self.linked_site(site);
        let [rest @ .., opcode, modrm] = linked.before else {
            return false;
        };
        let rex = rest.last().is_some_and(|byte| (0x40..0x50).contains(byte));
        let contents = &self.model.case.object(site.object).sections[site.section].contents;
        let at = site.relocation.offset as usize;
        let padded = at >= 4 && contents[at - 4..at - 2] == [0x66, 0x48];
        let form = match (opcode, modrm) {
            (0x8b, modrm) => modrm & 0xc7 == 0x05,
            (0xff, 0x15) => !padded,
            (0xff, 0x25) => true,
            _ => false,
        };
        let large = match bound {
            Bound::Section(object, symbol) => match symbol.place {
                SymbolPlanPlace::Section(at) => {
                    self.model.case.object(*object).sections[at].flags.0 & super::plan::LARGE != 0
                }
                SymbolPlanPlace::Index(_) => false,
            },
            Bound::Common { large, .. } => *large,
            _ => false,
        };
        let reached = match bound {
            Bound::External(target) => !self.far(target.address) || moved_near,
            Bound::Absolute(symbol) => !self.far(symbol.value),
            Bound::Nothing => !self.far(0),
            _ => true,
        };
        let type_allows = site.row.number == 41 || (site.row.number == 42 && rex);
        type_allows && site.relocation.addend == -4 && form && reached && !large
    }

    /// Names and addresses of tentative definitions.
    pub(super) fn commons(&self) -> impl Iterator<Item = (&'a str, u64)> + '_ {
        let commons = self
            .model
            .globals
            .iter()
            .filter(|(_, bound)| matches!(bound, Bound::Common { .. }));
        commons.filter_map(|(name, _)| Some((*name, *self.symbols.get(*name)?)))
    }

    /// A symbol whose references the aim of addends may rely on.
    pub(super) fn bare_value(&self, site: &Site<'a>) -> Option<u64> {
        let bound = self.model.bound(site.object, site.symbol);
        let direct = matches!(site.row.formula, Formula::Absolute | Formula::Relative | Formula::Size);
        if !direct || site.row.width == 8 || site.row.width == 0 || site.symbol.name == GOT {
            return None;
        }
        let values = Values {
            s: self.definition(&bound, &site.symbol.name),
            z: size(&bound),
            p: self.place(site),
            ..Values::default()
        };
        reference::calculation(site.row.number, &values).map(|(_, value)| value as u64)
    }
}

impl View for Ours<'_> {
    fn bytes(&self, address: u64, count: usize) -> Option<&[u8]> {
        self.memory.read_image(address, count)
    }

    fn got(&self) -> u64 {
        self.got
    }

    fn slot(&self, address: u64, need: Need) -> Meaning {
        let got = self.image.sections.iter().find(|section| &*section.name == ".got");
        let inside = got.is_some_and(|got| address.wrapping_sub(got.address) < got.size);
        let word = |index: u64| self.number(address.wrapping_add(index * 8), 8).unwrap_or(u64::MAX);
        let own_block = self.block_offset().unwrap_or(0);
        match need {
            _ if !inside => Meaning::Odd(format!("{address:#x} is no GOT word")),
            Need::TlsGd | Need::TlsLd => Meaning::Pair {
                module: word(0),
                offset: word(1),
            },
            Need::TlsIe => Meaning::Offset(word(0).wrapping_add_signed(-own_block)),
            Need::TlsDesc if word(0) == DESCRIPTORS.fixed => Meaning::Offset(word(1).wrapping_add_signed(-own_block)),
            Need::TlsDesc if word(0) == DESCRIPTORS.dynamic && word(1) == address + 16 => Meaning::Pair {
                module: word(2),
                offset: word(3),
            },
            Need::TlsDesc => Meaning::Odd(format!("no descriptor at {address:#x}")),
            _ => Meaning::Slot(word(0)),
        }
    }

    fn through(&self, address: u64) -> Meaning {
        let plt = self.image.sections.iter().find(|section| &*section.name == ".plt");
        if plt.is_none_or(|plt| address.wrapping_sub(plt.address) >= plt.size) {
            return Meaning::Address(address);
        }
        // Only entries that start there, and with the mark that indirect calls need.
        let endbr = self.bytes(address, 4) == Some(&[0xf3, 0x0f, 0x1e, 0xfa]);
        let Some(slot) = self.jump_slot(address).filter(|_| endbr) else {
            return Meaning::Odd(format!("no PLT entry at {address:#x}"));
        };
        match self.image.ifuncs.iter().find(|ifunc| ifunc.slot == slot) {
            Some(ifunc) => Meaning::Chosen(ifunc.resolver),
            None => self
                .number(slot, 8)
                .map_or(Meaning::Odd("no slot".into()), Meaning::Address),
        }
    }
}

/// Whether a section may refer to what is discarded.
pub(super) fn is_tolerant(model: &Model<'_>, site: &Site<'_>) -> bool {
    model.case.object(site.object).sections[site.section].name == ".eh_frame"
}

fn size(bound: &Bound<'_>) -> u64 {
    match bound {
        Bound::Section(_, symbol) | Bound::Absolute(symbol) => symbol.size,
        Bound::Common { size, .. } => *size,
        Bound::External(target) => target.size,
        _ => 0,
    }
}

/// Whether an address is too far from a case's image for 32 signed bits, before anything is linked.
pub(super) fn far_from(base: u64, address: u64) -> bool {
    // External addresses are within 1 GiB or beyond 5 GiB of an image that spans less than a page of gigabytes.
    (i128::from(address) - i128::from(base)).abs() >= (2 << 30) - SLACK_BYTES - i128::from(PAGE_BYTES)
}

const _: () = assert!(SHN_X86_64_LCOMMON.0 == 0xff02, "plans name it by its number");
