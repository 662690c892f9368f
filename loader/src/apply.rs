//! Copy and apply: section contents into the segments' buffers, and each relocation's value into its field.

use object::elf;

use crate::error::{RelocationError, Result};
use crate::image::{AppliedRelocation, Ifunc, ImageReference, RelocationBinding};
use crate::layout::{Layout, PLT_ENTRY_BYTES, SectionPlace};
use crate::memory::{Memory, Placement, SegmentKind, TlsDescriptors, TlsPlacement};
use crate::object::{Relocation, Section};
use crate::own::{self, NOT_OWN, Noted, Rebind};
use crate::relocation::{Formula, Need, Row, Values};
use crate::resolver::{CopyRule, Target, TargetKind};
use crate::scan::{self, NO_SLOT, Needs, Slots, Tables};
use crate::supplied::LinkerSymbol;
use crate::unit::{Definition, NO_SLOTS, Symbol, Unit};

/// Everything about an image that is final once memory has been allocated.
pub(crate) struct Linked<'unit, 'data> {
    pub(crate) unit: &'unit mut Unit<'data>,
    pub(crate) layout: &'unit Layout,
    pub(crate) tables: &'unit Tables,
    pub(crate) placement: Placement,
    pub(crate) tls: Option<TlsPlacement>,
    pub(crate) descriptors: Option<TlsDescriptors>,
    /// The block that local-dynamic code means.
    pub(crate) local_dynamic: Option<TlsPlacement>,
}

impl Linked<'_, '_> {
    /// The address of a segment. One without bytes stands where its neighbours meet, so that what names it all the same
    /// (the GOT of code that has no slots, `_end`) is in reach.
    pub(crate) fn base(&self, segment: SegmentKind) -> u64 {
        let index = segment as usize;
        if self.layout.sizes[index].total_bytes > 0 {
            return self.placement.addresses[index];
        }
        let address = |index: usize| self.placement.addresses[index];
        let size = |index: usize| self.layout.sizes[index].total_bytes;
        let before = (0..index).rev().find(|other| size(*other) > 0);
        let after = (index..SegmentKind::ALL.len()).find(|other| size(*other) > 0);
        match (before, after) {
            (Some(before), _) => address(before) + size(before),
            (None, Some(after)) => address(after),
            (None, None) => 0,
        }
    }

    pub(crate) fn got(&self) -> u64 {
        self.base(SegmentKind::ReadOnly) + self.layout.got
    }

    pub(crate) fn slot(&self, word: u32) -> u64 {
        self.got() + u64::from(word) * 8
    }

    pub(crate) fn plt(&self, entry: u32) -> u64 {
        self.base(SegmentKind::Code) + self.layout.plt + u64::from(entry) * PLT_ENTRY_BYTES
    }

    pub(crate) fn slots(&self, symbol: &Symbol<'_>) -> Option<&Slots> {
        if symbol.slots == NO_SLOTS {
            None
        } else {
            self.tables.slots.get(symbol.slots as usize)
        }
    }

    /// Gives every symbol its final address. From here on addresses do not change.
    pub(crate) fn assign_addresses(&mut self) {
        for id in 0..self.unit.symbols.len() {
            let symbol = &self.unit.symbols[id];
            let address = match (self.slots(symbol), self.unit.outside(symbol)) {
                (Some(slots), _) if slots.canonical_plt => self.plt(slots.plt),
                (_, Some(target)) => target.address,
                (_, None) => self.address(symbol),
            };
            self.unit.symbols[id].address = address;
        }
    }

    /// Where a symbol that the unit defines is, whatever stands for it in references.
    pub(crate) fn definition_address(&self, symbol: &Symbol<'_>) -> u64 {
        match self.slots(symbol) {
            Some(slots) if symbol.is_own_ifunc() => self.plt(slots.plt),
            _ => self.address(symbol),
        }
    }

    /// Where a symbol's definition is; for thread-local symbols the offset in their block.
    fn address(&self, symbol: &Symbol<'_>) -> u64 {
        match symbol.definition {
            Definition::Undefined | Definition::Discarded => 0,
            Definition::Absolute(value) => value,
            Definition::External(target) => target.address,
            Definition::Section { section, value } => self
                .section_address(symbol.object as usize, section as usize)
                .wrapping_add(value),
            Definition::Common { offset, .. } if symbol.kind == elf::STT_TLS => offset,
            Definition::Common { offset, large, .. } => {
                self.base(if large {
                    SegmentKind::LargeData
                } else {
                    SegmentKind::Data
                }) + offset
            }
            Definition::Copy { offset, .. } => self.base(SegmentKind::Data) + offset,
            Definition::Linker(symbol) => self.linker_symbol(symbol),
        }
    }

    /// The address of a section, or its offset in the thread-local block.
    fn section_address(&self, object: usize, section: usize) -> u64 {
        let is_tls = self.unit.objects[object].sections[section].is_tls();
        match self.layout.places[object][section] {
            SectionPlace::In(SegmentKind::ReadOnly, offset) if is_tls => offset - self.layout.tls_template,
            SectionPlace::In(segment, offset) => self.base(segment) + offset,
            SectionPlace::Tls(offset) => offset,
            SectionPlace::Nowhere => 0,
        }
    }

    fn linker_symbol(&self, symbol: LinkerSymbol) -> u64 {
        let array = |kind: u8| {
            let parts = self.layout.arrays.iter().filter(move |part| part.kind as u8 == kind);
            let bounds = parts.fold((u64::MAX, 0), |(start, end), part| {
                (start.min(part.offset), end.max(part.offset + part.size))
            });
            if bounds.0 == u64::MAX { (0, 0) } else { bounds }
        };
        let constants = self.base(SegmentKind::ReadOnly);
        match symbol {
            LinkerSymbol::Got => self.got(),
            LinkerSymbol::DsoHandle => self.base(SegmentKind::Data) + self.layout.dso_handle.unwrap_or(0),
            LinkerSymbol::TlsModuleBase => 0,
            LinkerSymbol::SegmentStart(segment) => self.base(segment),
            LinkerSymbol::SegmentFilledEnd(segment) => {
                self.base(segment) + self.layout.sizes[segment as usize].filled_bytes
            }
            LinkerSymbol::SegmentEnd(segment) => self.base(segment) + self.layout.sizes[segment as usize].total_bytes,
            LinkerSymbol::EhFrame => constants + self.layout.eh_frame.map_or(0, |(start, _)| start),
            LinkerSymbol::ArrayStart(kind) => constants + array(kind).0,
            LinkerSymbol::ArrayEnd(kind) => constants + array(kind).1,
            LinkerSymbol::SectionStart(at) => {
                let (segment, start, _) = self.layout.bounds[usize::from(at)];
                self.base(segment) + start
            }
            LinkerSymbol::SectionEnd(at) => {
                let (segment, _, end) = self.layout.bounds[usize::from(at)];
                self.base(segment) + end
            }
            LinkerSymbol::Nothing => constants,
        }
    }

    /// Copies section contents and fills the gaps: with `int3` between functions, with zeros elsewhere.
    pub(crate) fn copy(&self, memory: &mut dyn Memory) {
        for segment in SegmentKind::ALL {
            if self.layout.sizes[segment as usize].filled_bytes == 0 {
                continue;
            }
            let mut pieces = self.pieces(segment);
            pieces.sort_unstable_by_key(|(offset, _)| *offset);
            let filler = if segment == SegmentKind::Code { 0xcc } else { 0 };
            let buffer = memory.buffer(&self.placement, segment);
            let mut end = 0;
            for (offset, data) in pieces {
                buffer[end..offset].fill(filler);
                end = offset + data.len();
                buffer[offset..end].copy_from_slice(data);
            }
            buffer[end..].fill(filler);
        }
    }

    /// The contents that go into a segment, with their offsets.
    fn pieces(&self, segment: SegmentKind) -> Vec<(usize, &[u8])> {
        let mut pieces = Vec::new();
        for (object, places) in self.unit.objects.iter().zip(&self.layout.places) {
            for (section, place) in object.sections.iter().zip(places) {
                if let SectionPlace::In(home, offset) = *place
                    && home == segment
                    && !section.data.is_empty()
                {
                    pieces.push((offset as usize, self.loaded_bytes(section, segment, offset)));
                }
            }
        }
        pieces
    }

    /// The bytes of a section that are loaded: all, but for an unwind table's own terminator.
    fn loaded_bytes<'a>(&self, section: &Section<'a>, segment: SegmentKind, offset: u64) -> &'a [u8] {
        match self.layout.eh_frame {
            Some((start, size)) if segment == SegmentKind::ReadOnly && (start..=start + size).contains(&offset) => {
                crate::layout::eh_frame_bytes(section)
            }
            _ => section.data,
        }
    }

    /// Applies every relocation of the loaded sections, and returns the references to own definitions. A value that does
    /// not fit stops it: the caller frees the image.
    pub(crate) fn apply(
        &self,
        memory: &mut dyn Memory,
        mut trace: Option<&mut Vec<AppliedRelocation>>,
    ) -> Result<Noted> {
        let mut noted = Noted::default();
        for segment in SegmentKind::ALL {
            if self.layout.sizes[segment as usize].filled_bytes == 0 {
                continue;
            }
            let buffer = memory.buffer(&self.placement, segment);
            for (number, object) in self.unit.objects.iter().enumerate() {
                for (index, section) in object.sections.iter().enumerate() {
                    let SectionPlace::In(home, offset) = self.layout.places[number][index] else {
                        continue;
                    };
                    if home != segment || section.relocations.is_empty() {
                        continue;
                    }
                    let length = self.loaded_bytes(section, segment, offset).len();
                    if length == 0 {
                        continue; // R_X86_64_NONE, which keeps what it refers to
                    }
                    let tolerant = section.is_unwind_table() || section.name.starts_with(b".gcc_except_table");
                    let field = SectionFields {
                        object: number,
                        index,
                        section,
                        address: self.base(segment) + offset,
                        tolerant,
                        inward: tolerant || crate::layout::is_function_array(section.name),
                    };
                    let bytes = &mut buffer[offset as usize..][..length];
                    self.apply_section(&field, bytes, &mut noted, trace.as_deref_mut())?;
                }
            }
        }
        Ok(noted)
    }

    fn apply_section(
        &self,
        fields: &SectionFields<'_, '_>,
        bytes: &mut [u8],
        noted: &mut Noted,
        mut trace: Option<&mut Vec<AppliedRelocation>>,
    ) -> Result<()> {
        let ids = &self.unit.symbol_ids[fields.object];
        for relocation in fields.section.relocations.iter() {
            let Some(row) = Row::of(relocation.number).filter(|row| row.number != 0) else {
                continue;
            };
            let symbol = &self.unit.symbols[ids[relocation.symbol as usize].0 as usize];
            let applied = self
                .apply_one(fields, row, symbol, relocation, bytes, noted)
                .map_err(|reason| scan::error(self.unit, fields.object, fields.index, relocation, reason))?;
            if let (Some(trace), Some((value, binding))) = (trace.as_deref_mut(), applied) {
                trace.push(AppliedRelocation {
                    object: fields.object as u32,
                    section: fields.index as u32,
                    offset: relocation.offset,
                    name: row.name,
                    symbol: self.unit.display(ids[relocation.symbol as usize]),
                    addend: relocation.addend,
                    value,
                    binding,
                });
            }
        }
        Ok(())
    }

    /// Applies one relocation, and returns its value with what it was bound to.
    #[inline]
    fn apply_one(
        &self,
        fields: &SectionFields<'_, '_>,
        row: &'static Row,
        symbol: &Symbol<'_>,
        relocation: Relocation,
        bytes: &mut [u8],
        noted: &mut Noted,
    ) -> Result<Option<(u64, RelocationBinding)>, RelocationError> {
        let at = relocation.offset as usize;
        let Some(field) = bytes.get_mut(at..at + usize::from(row.width)) else {
            return Ok(None); // behind the terminator of an unwind table
        };
        if symbol.definition == Definition::Discarded {
            // The unwinder skips a record whose function starts at 0.
            return if fields.tolerant {
                row.write(field, 0);
                Ok(Some((0, RelocationBinding::Null)))
            } else {
                Err(RelocationError::Discarded)
            };
        }
        let mut values = self.values(row, symbol)?;
        values.a = relocation.addend.cast_unsigned();
        values.p = fields.address.wrapping_add(relocation.offset);
        if self.unit.rebinds {
            self.rebind(fields, row, symbol, relocation, &mut values, noted)?;
        }
        if row.need == Need::RelaxableGot
            && symbol.needs.has(Needs::RELAXED)
            && let Some(relaxation) = scan::relaxation(row, fields.section, relocation)
        {
            let place = values.p.wrapping_add_signed(i64::from(relaxation.shift));
            let value = values.s.wrapping_add(values.a).wrapping_sub(place);
            fitting(row, value, symbol)?;
            let moved = relaxation.rewrite(bytes, at);
            row.write(&mut bytes[moved..], value);
            return Ok(Some((value, RelocationBinding::Relaxed)));
        }
        let value = row.value(&values);
        fitting(row, value, symbol)?;
        row.write(field, value);
        Ok(Some((value, self.binding(row, symbol))))
    }

    /// Lets the image's own tables refer to its own definitions, and references to a split section to the variable that
    /// they mean. Notes what is referred to.
    fn rebind(
        &self,
        fields: &SectionFields<'_, '_>,
        row: &Row,
        symbol: &Symbol<'_>,
        relocation: Relocation,
        values: &mut Values,
        noted: &mut Noted,
    ) -> Result<(), RelocationError> {
        let mut own = symbol.own;
        if own != NOT_OWN {
            if fields.inward && symbol.kind != elf::STT_OBJECT {
                values.s = self.definition_address(symbol);
                values.l = values.s;
            }
        } else if symbol.kind == elf::STT_SECTION
            && let Definition::Section { section, value } = symbol.definition
            && let Some(pieces) = self.unit.pieces.get(&(symbol.object, section))
        {
            let addend = values.a.wrapping_add(value);
            let base = symbol.address.wrapping_sub(value);
            let field = (fields.section, relocation.offset as usize);
            let meant = own::meant(self.unit, pieces, row, addend, base, field)?;
            values.s = values.s.wrapping_add(meant.shift);
            values.l = values.s;
            own = meant.own;
        }
        let is_kept = own != NOT_OWN && self.unit.owns[own as usize].rebind != Rebind::Own;
        if !fields.inward && !is_kept {
            noted.expose(
                self.unit,
                row,
                values.a,
                symbol,
                (fields.section, relocation.offset as usize),
            );
        }
        if own != NOT_OWN && !fields.tolerant {
            noted.references.push(ImageReference {
                place: values.p,
                definition: own,
            });
        }
        Ok(())
    }

    /// The values of the psABI's letters that depend on the symbol.
    #[inline]
    fn values(&self, row: &Row, symbol: &Symbol<'_>) -> Result<Values, RelocationError> {
        let s = symbol.address;
        let mut values = Values {
            s,
            l: s,
            got: self.got(),
            z: match symbol.definition {
                Definition::External(target) => target.size,
                _ => symbol.size,
            },
            ..Values::default()
        };
        let slots = self.slots(symbol);
        let slot = |word: Option<u32>| match word {
            Some(word) if word != NO_SLOT => Ok(self.slot(word)),
            _ => Err(if row.need.is_tls() {
                RelocationError::NotThreadLocal
            } else {
                RelocationError::ThreadLocal
            }),
        };
        match row.need {
            Need::Nothing => {}
            Need::Address | Need::NearAddress | Need::Plt if symbol.needs.has(Needs::THREAD_LOCAL) => {
                return Err(RelocationError::ThreadLocal);
            }
            Need::Address | Need::NearAddress => {}
            Need::Plt => {
                let plt = slots.filter(|slots| slots.plt != NO_SLOT);
                // The PLT entry of an IFUNC with a stub is what the stub leads to.
                let behind_stub = || symbol.is_own_ifunc() && self.unit.outside(symbol).is_some();
                if let Some(slots) = plt.filter(|_| !behind_stub()) {
                    values.l = self.plt(slots.plt);
                }
            }
            Need::Got => values.g = slot(slots.map(|slots| slots.got))?,
            Need::RelaxableGot if symbol.needs.has(Needs::RELAXED) => {
                // Other relocations against the symbol may be of a form that keeps its slot.
                values.g = slots
                    .filter(|slots| slots.got != NO_SLOT)
                    .map_or(0, |slots| self.slot(slots.got));
            }
            Need::RelaxableGot => values.g = slot(slots.map(|slots| slots.got))?,
            Need::TlsGd => values.g = slot(slots.map(|slots| slots.tls_gd))?,
            Need::TlsIe => values.g = slot(slots.map(|slots| slots.tls_ie))?,
            Need::TlsDesc => values.g = slot(slots.map(|slots| slots.tls_desc))?,
            Need::TlsLd => values.g = slot(Some(self.tables.tls_ld))?,
            Need::TlsLe | Need::TlsBlock => {
                let tls = self.thread_local(symbol).ok_or(RelocationError::NotThreadLocal)?;
                let is_elsewhere = || self.local_dynamic.is_none_or(|block| block.module != tls.module);
                if row.formula == Formula::FromTlsBlock && !tls.own && is_elsewhere() {
                    return Err(RelocationError::OtherModule);
                }
                values.block = tls.offset;
                values.module = tls.module;
                if row.need == Need::TlsLe {
                    values.tp = tls.thread_pointer_offset()?;
                }
            }
        }
        Ok(values)
    }

    fn binding(&self, row: &Row, symbol: &Symbol<'_>) -> RelocationBinding {
        match (row.formula, symbol.definition) {
            (Formula::SlotFromGot | Formula::SlotRelative, _) => RelocationBinding::Got,
            (_, Definition::Copy { .. }) => RelocationBinding::Copy,
            _ if self
                .slots(symbol)
                .is_some_and(|s| s.canonical_plt || (s.plt != NO_SLOT && row.need == Need::Plt)) =>
            {
                RelocationBinding::Plt
            }
            (_, Definition::Undefined) => RelocationBinding::Null,
            _ => RelocationBinding::Direct,
        }
    }

    /// Where a thread-local symbol is, or `None` for an ordinary one.
    pub(crate) fn thread_local(&self, symbol: &Symbol<'_>) -> Option<ThreadLocal> {
        let own = || {
            let tls = self.tls?;
            Some(ThreadLocal {
                module: tls.module,
                block_offset: tls.block_offset,
                offset: symbol.address,
                own: true,
            })
        };
        if let Some(target) = self.unit.outside(symbol) {
            let TargetKind::Tls { module, block_offset } = target.kind else {
                return None;
            };
            return Some(ThreadLocal {
                module,
                block_offset,
                offset: target.address,
                own: false,
            });
        }
        match symbol.definition {
            Definition::Section { section, .. }
                if self.unit.objects[symbol.object as usize].sections[section as usize].is_tls() =>
            {
                own()
            }
            Definition::Common { .. } if symbol.kind == elf::STT_TLS => own(),
            Definition::Linker(LinkerSymbol::TlsModuleBase) => self.local_dynamic.map(|block| ThreadLocal {
                module: block.module,
                block_offset: block.block_offset,
                offset: 0,
                own: true,
            }),
            // A weak thread-local variable that nothing defines: its address is never used if the program is right.
            Definition::Undefined if symbol.kind == elf::STT_TLS => Some(ThreadLocal {
                module: 0,
                block_offset: Some(0),
                offset: 0,
                own: true,
            }),
            _ => None,
        }
    }

    /// Writes PLT entries and GOT words, and copies variables. Returns the IFUNCs, whose words stay open.
    pub(crate) fn fill_tables(&self, memory: &mut dyn Memory) -> Result<Vec<Ifunc>> {
        self.fill_plt(memory);
        let mut words = vec![0_u64; self.tables.got_words as usize];
        let mut ifuncs = Vec::new();
        if self.tables.tls_ld != NO_SLOT {
            let module = self.local_dynamic.map_or(0, |block| block.module);
            words[self.tables.tls_ld as usize] = module;
        }
        for symbol in &self.unit.symbols {
            let Some(slots) = self.slots(symbol) else { continue };
            let mut set = |word: u32, value: u64| {
                if word != NO_SLOT {
                    words[word as usize] = value;
                }
            };
            set(slots.got, symbol.address);
            let definition = self.address(symbol);
            if slots.plt_got != NO_SLOT && symbol.is_own_ifunc() {
                ifuncs.push(Ifunc {
                    resolver: definition,
                    slot: self.slot(slots.plt_got),
                });
            } else {
                let target = self.unit.outside(symbol).map_or(definition, |target| target.address);
                set(slots.plt_got, target);
            }
            if let Some(tls) = self.thread_local(symbol) {
                self.set_tls_words(symbol, slots, tls, &mut set)?;
            }
        }
        if !words.is_empty() {
            let start = self.layout.got as usize;
            let got = &mut memory.buffer(&self.placement, SegmentKind::ReadOnly)[start..start + words.len() * 8];
            for (bytes, word) in got.chunks_exact_mut(8).zip(&words) {
                bytes.copy_from_slice(&word.to_le_bytes());
            }
        }
        Ok(ifuncs)
    }

    fn set_tls_words(
        &self,
        symbol: &Symbol<'_>,
        slots: &Slots,
        tls: ThreadLocal,
        set: &mut impl FnMut(u32, u64),
    ) -> Result<()> {
        if slots.tls_gd != NO_SLOT {
            set(slots.tls_gd, tls.module);
            set(slots.tls_gd + 1, tls.offset);
        }
        if slots.tls_ie != NO_SLOT {
            let offset = tls
                .thread_pointer_offset()
                .map_err(|reason| scan::symbol_error(self.unit, symbol, Need::TlsIe, reason))?;
            set(slots.tls_ie, offset);
        }
        if slots.tls_desc != NO_SLOT {
            let refused = RelocationError::NoStaticTls("this memory has no TLS descriptors");
            let descriptors = self
                .descriptors
                .ok_or(refused)
                .map_err(|reason| scan::symbol_error(self.unit, symbol, Need::TlsDesc, reason))?;
            if let Ok(offset) = tls.thread_pointer_offset() {
                set(slots.tls_desc, descriptors.fixed);
                set(slots.tls_desc + 1, offset);
            } else {
                set(slots.tls_desc, descriptors.dynamic);
                set(slots.tls_desc + 1, self.slot(slots.tls_desc + 2));
            }
            set(slots.tls_desc + 2, tls.module);
            set(slots.tls_desc + 3, tls.offset);
        }
        Ok(())
    }

    /// `endbr64; jmp *slot(%rip)`, padded with `int3`.
    fn fill_plt(&self, memory: &mut dyn Memory) {
        for slots in self.tables.slots.iter().filter(|slots| slots.plt != NO_SLOT) {
            let entry = self.plt(slots.plt);
            let displacement = self.slot(slots.plt_got).wrapping_sub(entry + 10) as u32;
            let mut code = [0xcc; PLT_ENTRY_BYTES as usize];
            code[..6].copy_from_slice(&[0xf3, 0x0f, 0x1e, 0xfa, 0xff, 0x25]);
            code[6..10].copy_from_slice(&displacement.to_le_bytes());
            let start = (entry - self.base(SegmentKind::Code)) as usize;
            memory.buffer(&self.placement, SegmentKind::Code)[start..start + code.len()].copy_from_slice(&code);
        }
    }

    /// The copies of library variables to be made, as address, original and rule.
    pub(crate) fn copies(&self) -> impl Iterator<Item = (u64, Target, CopyRule)> + '_ {
        self.unit.symbols.iter().filter_map(|symbol| match symbol.definition {
            Definition::Copy { original, .. } => match original.kind {
                TargetKind::Data(rule) => Some((symbol.address, original, rule)),
                _ => None,
            },
            _ => None,
        })
    }
}

/// A section whose relocations are being applied.
struct SectionFields<'a, 'data> {
    object: usize,
    index: usize,
    section: &'a Section<'data>,
    address: u64,
    /// Whether a reference to a section that was not chosen is no error: it becomes 0.
    tolerant: bool,
    /// Whether it says of the image's own functions where they are, and does not call them.
    inward: bool,
}

/// Where a thread-local variable is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ThreadLocal {
    module: u64,
    block_offset: Option<i64>,
    offset: u64,
    own: bool,
}

impl ThreadLocal {
    fn thread_pointer_offset(self) -> Result<u64, RelocationError> {
        let reason = if self.own {
            "the module's block has none"
        } else {
            "the library's block has none"
        };
        let block = self.block_offset.ok_or(RelocationError::NoStaticTls(reason))?;
        Ok(block.cast_unsigned().wrapping_add(self.offset))
    }
}

#[inline]
fn fitting(row: &Row, value: u64, symbol: &Symbol<'_>) -> Result<(), RelocationError> {
    if row.fits(value) {
        return Ok(());
    }
    let hint = match symbol.definition {
        _ if row.width < 4 => "",
        Definition::External(_) => "; compile with -fPIC so that the symbol is read through the GOT",
        Definition::Undefined => {
            "; the weak symbol is not defined: compile with -fPIC so that it is read through the GOT"
        }
        _ => "",
    };
    Err(RelocationError::OutOfRange {
        value,
        width: row.width,
        fit: row.fit,
        hint,
    })
}
