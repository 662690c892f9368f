//! Linking a patch for the target, and making its frames known to the unwinder.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use object::elf;
use restub_loader::{Detail, Image, Input, SegmentKind, Target, TargetKind, TlsPlacement};

use crate::arena::{Space, TABLE_ENTRIES};
use crate::bind::{Binder, PatchSymbol, function};
use crate::counterpart::Matched;
use crate::entry::{self, long_jump};
use crate::error::{Error, Refusal, Result};
use crate::image_memory::ImageMemory;
use crate::module::{Kind, Module};
use crate::plan::{Planner, Replacement};
use crate::retarget::{Alias, Definition, PatchObject};
use crate::tls;
use crate::unwind;

/// A patch that is linked.
pub(crate) struct Linked {
    pub(crate) image: Image,
    /// Where each replacement is, in the order of the replacements, with its size.
    pub(crate) functions: Vec<(u64, u64)>,
    pub(crate) segments: [(u64, u64); 4],
    pub(crate) writes: Vec<(u64, Vec<u8>)>,
    pub(crate) eh_frame: Vec<u8>,
    pub(crate) depends: BTreeSet<u64>,
    /// The record of the same patch, reverted, whose memory is used again.
    pub(crate) again: Option<u64>,
    pub(crate) space: Space,
    /// Whether code or data take addresses of the patch itself.
    pub(crate) exposed: bool,
    /// The control block of its thread-local variables; 0 if it has none.
    pub(crate) tls_control: u64,
}

impl Linked {
    /// Bytes of the image as they are linked.
    fn bytes(&self, address: u64, size: u64) -> Option<&[u8]> {
        self.writes.iter().find_map(|(start, bytes)| {
            let at = usize::try_from(address.checked_sub(*start)?).ok()?;
            bytes.get(at..at.checked_add(usize::try_from(size).ok()?)?)
        })
    }

    /// The code at an address, as it is linked.
    pub(crate) fn code(&self, address: u64, size: u64) -> &[u8] {
        self.bytes(address, size).unwrap_or_default()
    }

    /// A word of the image as it is linked.
    pub(crate) fn word(&self, address: u64) -> Option<u64> {
        self.bytes(address, 8).map(crate::procfs::word)
    }

    /// The bytes of a segment that starts at an address.
    pub(crate) fn contents(&self, address: u64) -> &[u8] {
        let found = self.writes.iter().find(|(start, _)| *start == address && address != 0);
        found.map_or(&[][..], |(_, bytes)| bytes)
    }
}

impl<'s, 'a> Planner<'s, 'a> {
    pub(crate) fn link<'m>(
        &mut self,
        objects: &[PatchObject<'_>],
        home: usize,
        matched: &Matched<'m>,
        replacements: &[Replacement<'m>],
        hash: &str,
    ) -> Result<Linked> {
        let retired = self
            .registry
            .patches
            .iter()
            .find(|patch| !patch.live && patch.quiet && patch.hash == hash);
        if let Some(retired) = retired {
            let fixed = retired.segments;
            let again = retired.id;
            let refusals = self.refusals.len();
            if let Ok(linked) = self.link_at(objects, home, matched, replacements, Some(fixed), Some(again))
                && self.is_there_already(&linked)
            {
                return Ok(linked);
            }
            self.refusals.truncate(refusals);
        }
        self.link_at(objects, home, matched, replacements, None, None)
    }

    /// Whether code and constants are in memory already as they would be written: somebody may still have their address.
    fn is_there_already(&self, linked: &Linked) -> bool {
        let fixed = |address: u64| (0..2).any(|index| linked.segments[index].0 == address);
        let mut constant = linked.writes.iter().filter(|(address, _)| fixed(*address));
        constant.all(|(address, bytes)| self.state.procfs.read_vec(*address, bytes.len()).as_ref() == Some(bytes))
    }

    fn link_at<'m>(
        &mut self,
        objects: &[PatchObject<'_>],
        home: usize,
        matched: &Matched<'m>,
        replacements: &[Replacement<'m>],
        fixed: Option<[(u64, u64); 4]>,
        again: Option<u64>,
    ) -> Result<Linked> {
        let module = &self.state.modules[home];
        self.prepare_tls(module, objects);
        let mut binder = self.binder(home, objects);
        let (inputs, exposed) = retargeted(module, objects, matched, replacements, &mut binder);
        let fixed_at = fixed.map(|segments| segments.map(|(address, _)| address));
        let mut memory = ImageMemory::new(self.state.procfs, self.space.clone(), module.range.clone(), fixed_at);
        memory.tls.clone_from(&self.registry.tls);
        memory.kept_tls = kept_tls(module, objects, matched, &mut binder);
        let options = restub_loader::Options {
            detail: Detail::Full,
            debug: true,
            ..restub_loader::Options::default()
        };
        let image = restub_loader::link(&inputs, || &[], &mut binder, &mut memory, &options);
        self.refusals.append(&mut binder.refusals);
        let image = match image {
            Ok(image) => image,
            Err(error) => {
                if let Some(reason) = memory.tls_refusal {
                    self.refuse("tls", new_thread_local(objects, matched), reason.into());
                } else if !self.refusals.is_empty() {
                    self.refuse("link", objects_named(objects), error.to_string());
                }
                self.check_refusals()?;
                return Err(error.into());
            }
        };
        let (segments, mut writes) = segments(&image, &memory);
        if fixed.is_some_and(|fixed| fixed != segments) {
            return Err(Error::Link(
                restub_loader::MemoryError::Refused("it was there with other sizes").into(),
            ));
        }
        writes.append(&mut memory.initialized);
        let mut tls_control = 0;
        if let (Some(tls), Some(control), Some(runtime)) = (&image.tls, memory.tls_control, &mut self.registry.tls) {
            tls_control = control;
            writes.push((
                control,
                tls::control_block(runtime.next, tls.size_bytes, tls.align, tls.template, tls.filled_bytes),
            ));
            runtime.next += 1;
        }
        let eh_frame = image.eh_frame.map_or_else(Vec::new, |(address, size)| {
            let constants = memory.bytes(SegmentKind::ReadOnly);
            let start = (address - image.placement.addresses[1]) as usize;
            constants.get(start..start + size as usize).unwrap_or_default().to_vec()
        });
        self.refuse_what_would_have_to_run(&image);
        let functions = replacements.iter().map(|replacement| {
            let definition = &objects[replacement.object].definitions[replacement.definition];
            let address = address_in(&image, replacement.object, definition);
            (address.unwrap_or(0), definition.size)
        });
        Ok(Linked {
            functions: functions.collect(),
            image,
            segments,
            writes,
            eh_frame,
            depends: binder.used,
            again,
            space: memory.space,
            exposed,
            tls_control,
        })
    }

    fn binder(&self, home: usize, objects: &[PatchObject<'_>]) -> Binder<'s> {
        let state = self.state;
        let mut earlier = HashMap::new();
        // What goes when this patch comes is nothing to build on.
        for patch in self.registry.live().filter(|_| !self.options.replace) {
            for symbol in &patch.symbols {
                let target = if symbol.function {
                    function(symbol.address, symbol.size)
                } else {
                    Target {
                        address: symbol.address,
                        size: symbol.size,
                        kind: restub_loader::TargetKind::Data(restub_loader::CopyRule::Stale),
                    }
                };
                earlier.insert(
                    symbol.name.clone(),
                    PatchSymbol {
                        patch: patch.id,
                        target,
                        writable: symbol.writable,
                    },
                );
            }
        }
        let definitions = objects.iter().flat_map(|object| &object.definitions);
        let weak = definitions.filter(|definition| definition.weak && definition.is_state());
        let originals = self
            .registry
            .slots
            .iter()
            .map(|slot| (slot.name.clone(), entry::original_in(slot.near)));
        Binder {
            procfs: state.procfs,
            modules: &state.modules,
            home,
            aliases: HashMap::new(),
            originals: originals.collect(),
            tls: self.registry.tls.clone(),
            earlier,
            weak_sizes: weak.map(|weak| (weak.name.clone(), weak.size)).collect(),
            used: BTreeSet::new(),
            refusals: Vec::new(),
        }
    }

    fn refuse_what_would_have_to_run(&mut self, image: &Image) {
        if !image.ifuncs.is_empty() {
            self.refuse(
                "ifunc",
                image.objects.join(", "),
                "it defines an IFUNC, whose resolver would have to run in the process".into(),
            );
        }
    }

    /// Records for the unwinder, with the index of the first one; redirects the unwinder if that is still to be done.
    pub(crate) fn unwind(&mut self, linked: &Linked) -> Result<(u64, Vec<unwind::Record>)> {
        self.space = linked.space.clone();
        self.arena.get_or_insert(self.space.arenas[0]);
        let Some((address, _)) = linked.image.eh_frame else {
            return Ok((0, Vec::new()));
        };
        let records = match unwind::records(&linked.eh_frame, address, linked.segments[0].0) {
            Ok(records) => records,
            Err(error) => {
                self.refuse(
                    "unwind",
                    ".eh_frame".into(),
                    format!("its unwind table makes no sense: {error}"),
                );
                return Ok((0, Vec::new()));
            }
        };
        // Memory that is used again has its records in the table, where they were.
        let again = linked.again.and_then(|id| self.registry.patch(id));
        let first = again.map_or_else(
            || self.registry.free_unwind_entries(records.len() as u64),
            |again| again.unwind.0,
        );
        if first + records.len() as u64 > TABLE_ENTRIES {
            self.refuse(
                "unwind",
                ".eh_frame".into(),
                format!("more than {TABLE_ENTRIES} functions with unwind records"),
            );
            return Ok((first, Vec::new()));
        }
        self.redirect_unwinder()?;
        let end = first + records.len() as u64;
        self.registry.unwind_entries = self.registry.unwind_entries.max(end);
        Ok((first, records))
    }

    fn redirect_unwinder(&mut self) -> Result<()> {
        const FINDER_BYTES: u64 = 192;
        let state = self.state;
        let Some((module, symbol)) = unwind::finder(&state.modules) else {
            self.notes
                .push("the process has no unwinder, so nothing can be thrown through the patch".into());
            return Ok(());
        };
        let before = self.refusals.len();
        let Some(slot) = self.slot(module, symbol)? else {
            let reasons = self.refusals.split_off(before);
            self.notes.push(format!(
                "exceptions and pthread_cancel cannot pass through the patch, since the unwinder cannot be redirected: {}",
                reasons.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
            ));
            return Ok(());
        };
        let arena = *self.arena.get_or_insert(self.space.arenas[0]);
        if self.registry.unwind_slot == Some(slot) {
            return Ok(());
        }
        let Some(address) = self.space.near_block(&arena.range(), FINDER_BYTES) else {
            self.refuse("space", unwind::FINDER.into(), "no room for code".into());
            return Ok(());
        };
        let Some(record) = self.registry.slots.iter_mut().find(|record| record.slot == slot) else {
            return Ok(());
        };
        let code = unwind::finder_code(arena.table(), entry::original_in(record.near));
        self.writes.push((address, code));
        // It is a version like any other, of a patch that has no name and stays.
        record.stack.push((self.registry.next_id, 1));
        record.used_pads |= 0b10;
        self.writes.push((arena.pad(slot, 1), long_jump(address)));
        self.registry.unwind_slot = Some(slot);
        self.registry.add_own([(address, FINDER_BYTES), (0, 0), (0, 0), (0, 0)]);
        Ok(())
    }
}

/// The thread-local variables that the objects define and the target has not.
fn new_thread_local(objects: &[PatchObject<'_>], matched: &Matched<'_>) -> String {
    let is_kept = |number: usize, index: usize| {
        let mut all = matched.variables.iter();
        all.any(|pair| (pair.object, pair.definition) == (number, index))
    };
    let mut names = Vec::new();
    for (number, object) in objects.iter().enumerate() {
        let own = object.definitions.iter().enumerate();
        let own = own.filter(|(index, definition)| definition.kind == elf::STT_TLS && !is_kept(number, *index));
        names.extend(own.map(|(_, definition)| definition.name.as_str()));
    }
    names.join(", ")
}

/// The thread-local block of the target, if it has all thread-local variables that the objects define.
fn kept_tls(
    module: &Module,
    objects: &[PatchObject<'_>],
    matched: &Matched<'_>,
    binder: &mut Binder<'_>,
) -> Option<TlsPlacement> {
    let definitions = objects.iter().flat_map(|object| &object.definitions);
    let defined = definitions.filter(|definition| definition.kind == elf::STT_TLS).count();
    let kept: Vec<_> = matched
        .variables
        .iter()
        .filter(|pair| pair.symbol.kind == Kind::Tls)
        .collect();
    let first = kept.first().filter(|_| kept.len() == defined)?;
    match binder.target(module, first.symbol)?.kind {
        TargetKind::Tls { module, block_offset } => Some(TlsPlacement { module, block_offset }),
        _ => None,
    }
}

/// Where a definition of one of the objects is, if anywhere.
pub(crate) fn address_in(image: &Image, object: usize, definition: &Definition) -> Option<u64> {
    let section = image.sections.iter().find(|section| {
        section.object == u32::try_from(object).ok() && section.index == u32::try_from(definition.section).ok()
    });
    section?.address.checked_add(definition.value)
}

fn objects_named(objects: &[PatchObject<'_>]) -> String {
    let names: Vec<&str> = objects.iter().map(|object| object.name.as_str()).collect();
    names.join(", ")
}

/// The objects, with what the target has too bound to the target's.
fn retargeted(
    module: &Module,
    objects: &[PatchObject<'_>],
    matched: &Matched<'_>,
    replacements: &[Replacement<'_>],
    binder: &mut Binder<'_>,
) -> (Vec<Input<'static>>, bool) {
    let mut names: Vec<BTreeMap<usize, Alias>> = vec![BTreeMap::new(); objects.len()];
    let variables = matched
        .variables
        .iter()
        .map(|found| (found.object, found.definition, found.symbol));
    let functions = replacements
        .iter()
        .map(|found| (found.object, found.definition, found.symbol));
    for (object, definition, symbol) in variables.chain(functions) {
        let definition = &objects[object].definitions[definition];
        let alias = format!("{}#{:x}", definition.name, symbol.address);
        if let Some(target) = binder.target(module, symbol) {
            binder.aliases.insert(alias.clone(), target);
        }
        names[object].insert(definition.index, Alias { name: alias });
    }
    let mut inputs = Vec::new();
    let mut exposed = false;
    for (object, names) in objects.iter().zip(&names) {
        exposed |= object.exposes_itself(names);
        match object.retarget(names) {
            Some(bytes) => inputs.push(Input::from_bytes(object.name.clone(), bytes)),
            None => binder.refusals.push(Refusal::new(
                "object",
                object.name.clone(),
                "its references cannot be pointed at the target's own symbols: it has relocations of an unusual form",
            )),
        }
    }
    (inputs, exposed)
}

/// Where the segments are, and what is written there.
#[expect(clippy::type_complexity, reason = "two lists that belong together")]
fn segments(image: &Image, memory: &ImageMemory<'_>) -> ([(u64, u64); 4], Vec<(u64, Vec<u8>)>) {
    let mut segments = [(0, 0); 4];
    let mut writes = Vec::new();
    for (index, segment) in SegmentKind::ALL.into_iter().enumerate() {
        let (address, size) = (
            image.placement.addresses[index],
            image.placement.sizes[index].total_bytes,
        );
        segments[index] = (address, size);
        let mut bytes = memory.bytes(segment).to_vec();
        if segment == SegmentKind::Data || segment == SegmentKind::LargeData {
            bytes.resize(usize::try_from(size).unwrap_or(0), 0);
        }
        if !bytes.is_empty() {
            writes.push((address, bytes));
        }
    }
    (segments, writes)
}
