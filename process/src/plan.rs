//! What a patch will do, decided in full before anything is written.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use object::elf;
use restub_loader::{Detail, Image, Input, SegmentKind, SymbolBinding, SymbolKind, Target};
use sha2::{Digest as _, Sha256};

use crate::arena::{Arena, ImageMemory, PADS, Space, TABLE_ENTRIES};
use crate::bind::{Binder, PatchSymbol, function};
use crate::counterpart::{self, Matched};
use crate::entry::{self, Entry, Method, NEAR_BLOCK_BYTES, long_jump};
use crate::error::{Error, Refusal, Result};
use crate::module::{Module, Symbol};
use crate::procfs::Procfs;
use crate::registry::{FunctionRecord, PatchRecord, Registry, SlotRecord, SymbolRecord};
use crate::retarget::PatchObject;
use crate::safety::Watch;
use crate::state::State;
use crate::unwind;

/// What has to hold of the threads when the functions are switched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Consistency {
    /// No thread is in the bytes that change, nor returns there. Threads in the old version of a function finish it.
    #[default]
    Entry,
    /// No thread is in a replaced function, nor returns there.
    Quiet,
}

/// How to patch.
#[derive(Debug, Clone)]
pub struct Options {
    /// The patch's name; that of the first file if there is none.
    pub name: Option<String>,
    /// What has to hold of the threads.
    pub consistency: Consistency,
    /// How long to wait for threads.
    pub timeout: Duration,
    /// Codes of refusals that are overridden.
    pub allow: Vec<String>,
    /// For tests: at which step this process kills itself.
    pub kill_at_step: Option<u64>,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            name: None,
            consistency: Consistency::Entry,
            timeout: Duration::from_secs(5),
            allow: Vec::new(),
            kill_at_step: None,
        }
    }
}

/// One function that a patch replaces.
#[derive(Debug, Clone)]
pub struct FunctionPlan {
    /// The name.
    pub name: String,
    /// The source file of a static function.
    pub file: Option<String>,
    /// Its address in the process.
    pub address: u64,
    /// Its size in bytes.
    pub size: u64,
    /// The replacement's address.
    pub new_address: u64,
    /// The replacement's size in bytes.
    pub new_size: u64,
    /// How its entry is changed; `None` where it is redirected already, and one word is stored.
    pub method: Option<Method>,
}

/// What a patch will do.
#[derive(Debug, Clone)]
pub struct PlanReport {
    /// The process.
    pub pid: i32,
    /// The patch's name.
    pub name: String,
    /// SHA-256 of its files.
    pub hash: String,
    /// The executable or library that is patched.
    pub module: String,
    /// Its build-id.
    pub build_id: String,
    /// The name of a live patch of the same contents: there is nothing to do.
    pub already_applied: Option<String>,
    /// The functions that are replaced.
    pub functions: Vec<FunctionPlan>,
    /// The target's variables that the patch uses in place of its own definitions.
    pub kept_variables: Vec<String>,
    /// What the patch adds to the process.
    pub new_symbols: Vec<String>,
    /// Bytes of the process that the patch takes.
    pub bytes: u64,
    /// Bytes of address space that have to be mapped for it.
    pub mapped_bytes: u64,
    /// Whether threads have to be stopped.
    pub needs_stop: bool,
    /// What one should know.
    pub notes: Vec<String>,
    /// Threads that would be in the way just now.
    pub blockers: Vec<String>,
}

/// An entry that is to be changed.
#[derive(Debug)]
pub(crate) struct EntryChange {
    pub(crate) place: u64,
    pub(crate) old: Vec<u8>,
    pub(crate) new: Vec<u8>,
}

/// All that applying a patch writes.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) report: PlanReport,
    pub(crate) arena: Arena,
    pub(crate) new_arenas: Vec<Arena>,
    /// What nothing reaches yet: images, slots, displaced code.
    pub(crate) writes: Vec<(u64, Vec<u8>)>,
    /// Records for the unwinder, and where the first one goes.
    pub(crate) unwind: (u64, Vec<unwind::Record>),
    pub(crate) entries: Vec<EntryChange>,
    /// The registry with the slots in it, and no version switched.
    pub(crate) prepared: Registry,
    pub(crate) applied: Registry,
    pub(crate) watch: Watch,
}

/// A function that is replaced, on the way to a plan.
struct Replacement<'a> {
    object: usize,
    definition: usize,
    symbol: &'a Symbol,
    slot: u64,
}

/// Makes the plan.
pub(crate) struct Planner<'s, 'a> {
    state: &'s State<'a>,
    options: &'s Options,
    registry: Registry,
    space: Space,
    arena: Option<Arena>,
    refusals: Vec<Refusal>,
    notes: Vec<String>,
    writes: Vec<(u64, Vec<u8>)>,
    entries: Vec<EntryChange>,
    watch: Watch,
    stop_for_pads: bool,
}

/// The hash of a patch: of its files, in order.
pub(crate) fn hash(inputs: &[Input<'_>]) -> String {
    let mut hash = Sha256::new();
    for input in inputs {
        hash.update((input.bytes().len() as u64).to_le_bytes());
        hash.update(input.bytes());
    }
    hex(&hash.finalize())
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The name of a patch that is not given one: that of its first file.
fn default_name(inputs: &[Input<'_>]) -> String {
    let path = inputs.first().map_or("patch", Input::name);
    let name = path.rsplit('/').next().unwrap_or(path);
    name.strip_suffix(".o")
        .or_else(|| name.strip_suffix(".a"))
        .unwrap_or(name)
        .to_owned()
}

impl<'s, 'a> Planner<'s, 'a> {
    pub(crate) fn new(state: &'s State<'a>, options: &'s Options) -> Self {
        let registry = state.records.registry.clone();
        let mut arenas = registry.arenas.clone();
        if let Some(arena) = state.arena
            && !arenas.contains(&arena)
        {
            arenas.insert(0, arena);
        }
        Planner {
            state,
            options,
            space: Space::new(arenas, registry.used(), state.maps.clone()),
            registry,
            arena: state.arena,
            refusals: Vec::new(),
            notes: Vec::new(),
            writes: Vec::new(),
            entries: Vec::new(),
            watch: Watch::default(),
            stop_for_pads: false,
        }
    }

    /// The plan, as its list of steps.
    pub(crate) fn plan(mut self, inputs: &[Input<'_>]) -> Result<Plan> {
        let hash = hash(inputs);
        let name = self.options.name.clone().unwrap_or_else(|| default_name(inputs));
        self.check_name(&name, &hash)?;
        // parse: every object, archive members included
        let files = counterpart::expand(inputs)?;
        let objects: Vec<PatchObject<'_>> = files
            .iter()
            .filter_map(|(name, bytes)| PatchObject::read(name, bytes))
            .collect();
        if objects.len() < files.len() {
            // The loader knows what is wrong with the file.
            for (name, bytes) in &files {
                restub_loader::Object::parse(name.as_str(), bytes)?;
            }
        }
        // match: which definitions the target has, and which module is patched
        let modules = &self.state.modules;
        let home = counterpart::home(modules, &objects);
        let module = &modules[home];
        let matched = counterpart::match_all(module, &objects, &mut self.refusals, &mut self.notes);
        if matched.functions.is_empty() && self.refusals.is_empty() {
            self.refuse(
                "no-function",
                name.clone(),
                "it defines no function that the process has".into(),
            );
        }
        // redirect: how each entry is changed
        let replacements = self.redirect(module, &matched)?;
        self.check_refusals()?;
        // link: at the target's addresses
        let linked = self.link(&objects, home, &matched, &replacements, &hash)?;
        // unwind: exceptions through the patch
        let unwind = self.unwind(&linked)?;
        self.check_refusals()?;
        self.finish(
            &name,
            hash,
            inputs,
            home,
            &objects,
            &matched,
            &replacements,
            linked,
            unwind,
        )
    }

    fn refuse(&mut self, code: &'static str, subject: String, reason: String) {
        self.refusals.push(Refusal::new(code, subject, reason));
    }

    fn check_refusals(&mut self) -> Result<()> {
        let allow = &self.options.allow;
        let overridden = |refusal: &Refusal| {
            counterpart::OVERRIDABLE.contains(&refusal.code) && allow.iter().any(|code| code == refusal.code)
        };
        let (allowed, refused) = std::mem::take(&mut self.refusals)
            .into_iter()
            .partition::<Vec<_>, _>(overridden);
        self.notes
            .extend(allowed.iter().map(|refusal| format!("allowed: {refusal}")));
        if refused.is_empty() {
            return Ok(());
        }
        Err(Error::Refused(refused))
    }

    fn check_name(&mut self, name: &str, hash: &str) -> Result<()> {
        let taken = self
            .registry
            .live()
            .find(|patch| patch.name == name && patch.hash != hash);
        if taken.is_some() {
            self.refuse(
                "name",
                name.to_owned(),
                "another patch of that name is applied; revert it, or give this one another name".into(),
            );
        }
        if name.is_empty() || name.chars().any(char::is_control) {
            self.refuse("name", format!("{name:?}"), "it is no name for a patch".into());
        }
        self.check_refusals()
    }

    /// Finds or makes the slot of every function that is replaced.
    fn redirect<'m>(&mut self, module: &'m Module, matched: &Matched<'m>) -> Result<Vec<Replacement<'m>>> {
        let mut replacements = Vec::new();
        for found in &matched.functions {
            if let Some(slot) = self.slot(module, found.symbol)? {
                replacements.push(Replacement {
                    object: found.object,
                    definition: found.definition,
                    symbol: found.symbol,
                    slot,
                });
            }
        }
        Ok(replacements)
    }

    /// The slot of a function. `None` if it is refused.
    fn slot(&mut self, module: &Module, symbol: &Symbol) -> Result<Option<u64>> {
        let procfs = self.state.procfs;
        let known = self
            .registry
            .slots
            .iter()
            .find(|slot| slot.address == symbol.address)
            .cloned();
        if let Some(known) = known {
            let now = procfs.read_vec(known.place, known.jump.len()).unwrap_or_default();
            if now == known.jump {
                return Ok(Some(known.slot));
            }
            if now == known.original {
                self.change_entry(&known);
                return Ok(Some(known.slot));
            }
            if !known.stack.is_empty() {
                self.refuse(
                    "changed",
                    known.name,
                    format!(
                        "the jump at {:#x} is not there any more; something else writes there",
                        known.place
                    ),
                );
                return Ok(None);
            }
        }
        const LONGEST: u64 = 1 << 20;
        let length = (module.next_start(symbol.address) - symbol.address).min(LONGEST);
        let Some(bytes) = procfs.read_vec(symbol.address, length as usize) else {
            self.refuse(
                "unreadable",
                symbol.name.to_string(),
                format!("its code at {:#x} cannot be read", symbol.address),
            );
            return Ok(None);
        };
        let in_file = module.initial(symbol.address, length.min(32));
        if in_file.is_some_and(|in_file| !bytes.starts_with(in_file)) {
            self.refuse(
                "changed",
                symbol.name.to_string(),
                "its first bytes are not those of its file: a debugger or another patcher has changed them".into(),
            );
            return Ok(None);
        }
        match entry::analyze(module, symbol, &bytes) {
            Ok(entry) => self.new_slot(module, symbol, &entry),
            Err(reason) => {
                self.refuse("entry", symbol.name.to_string(), reason);
                Ok(None)
            }
        }
    }

    fn new_slot(&mut self, module: &Module, symbol: &Symbol, entry: &Entry) -> Result<Option<u64>> {
        let near = match self.space.near_block(&module.range, NEAR_BLOCK_BYTES) {
            Some(near) => near,
            None => {
                self.refuse(
                    "space",
                    symbol.name.to_string(),
                    "no free address range within 2 GiB of it".into(),
                );
                return Ok(None);
            }
        };
        let arena = *self.arena.get_or_insert(self.space.arenas[0]);
        let used: BTreeSet<u64> = self.registry.slots.iter().map(|slot| slot.slot).collect();
        let Some(slot) = (0..crate::arena::SLOTS).find(|slot| !used.contains(slot)) else {
            self.refuse(
                "slots",
                symbol.name.to_string(),
                format!(
                    "{} functions of the process are redirected already, which is all there is room for",
                    used.len()
                ),
            );
            return Ok(None);
        };
        let stub = arena.stub(slot);
        let (block, jump) = match (entry.near_block(near, stub), entry.jump(near, stub)) {
            (Ok(block), Some(jump)) => (block, jump),
            (Err(reason), _) => {
                self.refuse("entry", symbol.name.to_string(), reason);
                return Ok(None);
            }
            (_, None) => {
                self.refuse(
                    "entry",
                    symbol.name.to_string(),
                    "no memory within reach of a 5-byte jump".into(),
                );
                return Ok(None);
            }
        };
        self.writes.push((near, block.bytes));
        self.writes.push((arena.pad(slot, 0), long_jump(block.original)));
        self.writes.push((stub, arena.stub_bytes(slot)));
        self.writes
            .push((arena.word(slot), arena.pad(slot, 0).to_le_bytes().to_vec()));
        let record = SlotRecord {
            slot,
            name: symbol.name.to_string(),
            module: module.path.display().to_string(),
            build_id: hex(&module.build_id),
            address: symbol.address,
            size: symbol.size,
            place: entry.place,
            original: entry.original.clone(),
            jump,
            near,
            stack: Vec::new(),
            used_pads: 1,
        };
        self.watch
            .add(entry.changed(), format!("the first bytes of {}", symbol.name));
        self.watch.add_moves(&block.moves);
        self.entries.push(EntryChange {
            place: record.place,
            old: record.original.clone(),
            new: record.jump.clone(),
        });
        self.registry.slots.push(record);
        Ok(Some(slot))
    }

    /// Redirects a function again whose entry was given back: everything else is still there.
    fn change_entry(&mut self, known: &SlotRecord) {
        let changed = known.place..known.place + known.jump.len() as u64;
        self.watch.add(changed, format!("the first bytes of {}", known.name));
        // Where displaced instructions are is worked out anew from the bytes they were made of.
        let mut bytes = [0; entry::LONG_BYTES as usize + 16];
        let length = self.state.procfs.read_some(known.place, &mut bytes);
        let moves = entry::moves(known.place, &bytes[..length], known.jump.len() as u64, known.near);
        self.watch.add_moves(&moves);
        self.entries.push(EntryChange {
            place: known.place,
            old: known.original.clone(),
            new: known.jump.clone(),
        });
    }
}

/// A patch that is linked.
struct Linked {
    image: Image,
    /// Where each replacement is, in the order of the replacements, with its size.
    functions: Vec<(u64, u64)>,
    segments: [(u64, u64); 4],
    writes: Vec<(u64, Vec<u8>)>,
    eh_frame: Vec<u8>,
    depends: BTreeSet<u64>,
    /// The record of the same patch, reverted, whose memory is used again.
    again: Option<u64>,
    space: Space,
}

impl<'s, 'a> Planner<'s, 'a> {
    fn link<'m>(
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
        let mut binder = self.binder(home);
        let mut names: Vec<HashMap<usize, crate::retarget::Alias>> = vec![HashMap::new(); objects.len()];
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
            names[object].insert(definition.index, crate::retarget::Alias { name: alias });
        }
        let mut inputs = Vec::new();
        for (object, names) in objects.iter().zip(&names) {
            match object.retarget(names) {
                Some(bytes) => inputs.push(Input::from_bytes(object.name.clone(), bytes)),
                None => binder.refusals.push(Refusal::new(
                    "object",
                    object.name.clone(),
                    "its references cannot be pointed at the target's own symbols: it has relocations of an unusual form",
                )),
            }
        }
        let fixed_at = fixed.map(|segments| segments.map(|(address, _)| address));
        let mut memory = ImageMemory::new(self.state.procfs, self.space.clone(), module.range.clone(), fixed_at);
        let options = restub_loader::Options {
            detail: Detail::Full,
            ..restub_loader::Options::default()
        };
        let image = restub_loader::link(&inputs, || &[], &mut binder, &mut memory, &options);
        self.refusals.append(&mut binder.refusals);
        let image = match image {
            Ok(image) => image,
            Err(error) => {
                self.check_refusals()?;
                return Err(error.into());
            }
        };
        let mut segments = [(0, 0); 4];
        let mut writes = Vec::new();
        for (index, segment) in SegmentKind::ALL.into_iter().enumerate() {
            let (address, size) = (
                image.placement.addresses[index],
                image.placement.sizes[index].total_bytes,
            );
            segments[index] = (address, size);
            if fixed.is_some_and(|fixed| fixed[index] != segments[index]) {
                return Err(Error::Link(
                    restub_loader::MemoryError::Refused("it was there with other sizes").into(),
                ));
            }
            let mut bytes = memory.bytes(segment).to_vec();
            if segment == SegmentKind::Data || segment == SegmentKind::LargeData {
                bytes.resize(usize::try_from(size).unwrap_or(0), 0);
            }
            if !bytes.is_empty() {
                writes.push((address, bytes));
            }
        }
        writes.append(&mut memory.initialized);
        let eh_frame = image.eh_frame.map_or_else(Vec::new, |(address, size)| {
            let constants = memory.bytes(SegmentKind::ReadOnly);
            let start = (address - image.placement.addresses[1]) as usize;
            constants.get(start..start + size as usize).unwrap_or_default().to_vec()
        });
        self.refuse_what_would_have_to_run(&image);
        let functions = replacements.iter().map(|replacement| {
            let definition = &objects[replacement.object].definitions[replacement.definition];
            let section = image.sections.iter().find(|section| {
                section.object == u32::try_from(replacement.object).ok()
                    && section.index == u32::try_from(definition.section).ok()
            });
            (
                section.map_or(0, |section| section.address + definition.value),
                definition.size,
            )
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
        })
    }

    fn binder(&self, home: usize) -> Binder<'s> {
        let state = self.state;
        let mut earlier = HashMap::new();
        for patch in self.registry.live() {
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
                    },
                );
            }
        }
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
            earlier,
            used: BTreeSet::new(),
            refusals: Vec::new(),
        }
    }

    fn refuse_what_would_have_to_run(&mut self, image: &Image) {
        if !image.init.is_empty() || !image.preinit.is_empty() {
            self.refuse(
                "constructor",
                image.objects.join(", "),
                "it has constructors, which would have to run in the process; make what they set up static, or set it up \
                 where it is first used"
                    .into(),
            );
        }
        if !image.ifuncs.is_empty() {
            self.refuse(
                "ifunc",
                image.objects.join(", "),
                "it defines an IFUNC, whose resolver would have to run in the process".into(),
            );
        }
    }

    /// Records for the unwinder, with the index of the first one; redirects the unwinder if that is still to be done.
    fn unwind(&mut self, linked: &Linked) -> Result<(u64, Vec<unwind::Record>)> {
        self.space = linked.space.clone();
        self.arena.get_or_insert(self.space.arenas[0]);
        if let Some(again) = linked.again.and_then(|id| self.registry.patch(id)) {
            return Ok((again.unwind.0, Vec::new()));
        }
        let first = self.registry.unwind_entries;
        let Some((address, _)) = linked.image.eh_frame else {
            return Ok((first, Vec::new()));
        };
        let records = match unwind::records(&linked.eh_frame, address, linked.segments[0].0) {
            Ok(records) => records,
            Err(error) => {
                self.refuse(
                    "unwind",
                    ".eh_frame".into(),
                    format!("its unwind table makes no sense: {error}"),
                );
                return Ok((first, Vec::new()));
            }
        };
        if first + records.len() as u64 > TABLE_ENTRIES {
            self.refuse(
                "unwind",
                ".eh_frame".into(),
                format!("more than {TABLE_ENTRIES} functions with unwind records"),
            );
            return Ok((first, Vec::new()));
        }
        self.redirect_unwinder()?;
        self.registry.unwind_entries = first + records.len() as u64;
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
        let Some(address) = self.space.near_block(&arena_range(&arena), FINDER_BYTES) else {
            self.refuse("space", unwind::FINDER.into(), "no room for code".into());
            return Ok(());
        };
        let Some(record) = self.registry.slots.iter_mut().find(|record| record.slot == slot) else {
            return Ok(());
        };
        let code = unwind::finder_code(arena.table(), entry::original_in(record.near));
        self.writes.push((address, code));
        // It is a version like any other, of a patch that has no name and stays.
        let id = self.registry.next_id;
        self.registry.next_id += 1;
        record.stack.push((id, 1));
        record.used_pads |= 0b10;
        self.writes.push((arena.pad(slot, 1), long_jump(address)));
        self.registry.unwind_slot = Some(slot);
        self.registry.patches.push(PatchRecord {
            id,
            name: String::new(),
            hash: String::new(),
            files: Vec::new(),
            time: crate::report::now(),
            live: false,
            quiet: false,
            segments: [(address, FINDER_BYTES), (0, 0), (0, 0), (0, 0)],
            functions: Vec::new(),
            symbols: Vec::new(),
            depends: Vec::new(),
            unwind: (0, 0),
        });
        Ok(())
    }
}

fn arena_range(arena: &Arena) -> std::ops::Range<u64> {
    arena.start..arena.end()
}

impl<'s, 'a> Planner<'s, 'a> {
    #[expect(clippy::too_many_arguments, reason = "the results of the steps of `plan`")]
    fn finish(
        mut self,
        name: &str,
        hash: String,
        inputs: &[Input<'_>],
        home: usize,
        objects: &[PatchObject<'_>],
        matched: &Matched<'_>,
        replacements: &[Replacement<'_>],
        linked: Linked,
        unwind: (u64, Vec<unwind::Record>),
    ) -> Result<Plan> {
        let module = &self.state.modules[home];
        let arena = *self.arena.get_or_insert(self.space.arenas[0]);
        if self.options.consistency == Consistency::Quiet {
            self.watch_old_versions(module, replacements);
        }
        self.registry.arenas = self.space.arenas.clone();
        let prepared = self.registry.clone();
        let id = linked.again.unwrap_or(self.registry.next_id);
        let mut functions = Vec::new();
        let mut records = Vec::new();
        for (replacement, (address, size)) in replacements.iter().zip(&linked.functions) {
            let method = self.method_of(replacement.slot);
            self.lead_to(&arena, replacement.slot, id, *address);
            records.push(FunctionRecord {
                name: replacement.symbol.name.to_string(),
                slot: replacement.slot,
                address: *address,
                size: *size,
            });
            functions.push(FunctionPlan {
                name: replacement.symbol.name.to_string(),
                file: module.file_of(replacement.symbol).map(str::to_owned),
                address: replacement.symbol.address,
                size: replacement.symbol.size,
                new_address: *address,
                new_size: *size,
                method,
            });
        }
        self.check_refusals()?;
        let symbols = new_symbols(&linked.image, module, objects);
        self.writes.extend(linked.writes);
        let record = PatchRecord {
            id,
            name: name.to_owned(),
            hash: hash.clone(),
            files: inputs.iter().map(|input| input.name().to_owned()).collect(),
            time: crate::report::now(),
            live: true,
            quiet: false,
            segments: linked.segments,
            functions: records,
            symbols: symbols.clone(),
            depends: linked.depends.into_iter().collect(),
            unwind: (unwind.0, unwind.1.len() as u64),
        };
        let record = match linked.again.and_then(|id| self.registry.patch(id)) {
            Some(old) => PatchRecord {
                unwind: old.unwind,
                ..record
            },
            None => record,
        };
        self.registry.patches.retain(|patch| patch.id != id);
        self.registry.patches.push(record);
        self.registry.next_id = self.registry.next_id.max(id + 1);
        self.watch.finish();
        let needs_stop =
            !self.entries.is_empty() || self.options.consistency == Consistency::Quiet || self.stop_for_pads;
        let report = PlanReport {
            pid: self.state.procfs.pid,
            name: name.to_owned(),
            hash,
            module: module.path.display().to_string(),
            build_id: hex(&module.build_id),
            already_applied: None,
            functions,
            kept_variables: kept_variables(objects, matched),
            new_symbols: symbols.iter().map(|symbol| symbol.name.clone()).collect(),
            bytes: linked.segments.iter().map(|(_, bytes)| bytes).sum(),
            mapped_bytes: self.space.planned().iter().map(|arena| arena.end() - arena.start).sum(),
            needs_stop,
            notes: self.notes,
            blockers: Vec::new(),
        };
        Ok(Plan {
            report,
            arena,
            new_arenas: self.space.planned().to_vec(),
            writes: self.writes,
            unwind,
            entries: self.entries,
            prepared,
            applied: self.registry,
            watch: self.watch,
        })
    }

    fn method_of(&self, slot: u64) -> Option<Method> {
        let record = self.registry.slot(slot)?;
        let changes = self.entries.iter().any(|entry| entry.place == record.place);
        changes.then_some(if record.jump.len() as u64 == Method::Long.bytes() {
            Method::Long
        } else {
            Method::Short
        })
    }

    /// Gives a version of a function a pad, and puts it on top of the function's stack.
    fn lead_to(&mut self, arena: &Arena, slot: u64, id: u64, address: u64) {
        let procfs = self.state.procfs;
        let Some(record) = self.registry.slots.iter_mut().find(|record| record.slot == slot) else {
            return;
        };
        let bytes = long_jump(address);
        let stacked = |pad: u8| record.stack.iter().any(|(_, used)| *used == pad);
        let there = (1..PADS)
            .find(|pad| !stacked(*pad) && procfs.read_vec(arena.pad(slot, *pad), bytes.len()).as_ref() == Some(&bytes));
        let fresh = (1..PADS).find(|pad| record.used_pads & (1 << pad) == 0);
        let pad = there.or(fresh).or_else(|| (1..PADS).find(|pad| !stacked(*pad)));
        let Some(pad) = pad else {
            let reason = format!(
                "{} patches of it are applied at a time; revert some",
                record.stack.len()
            );
            let name = record.name.clone();
            self.refuse("versions", name, reason);
            return;
        };
        if there.is_none() && fresh.is_none() {
            // A thread may be at a pad that is written anew; that takes a stop to find out.
            self.stop_for_pads = true;
            self.watch
                .add_all(arena.passage(slot), format!("the way to {}", record.name));
            record.used_pads = record.stacked_pads();
        }
        record.used_pads |= 1 << pad;
        record.stack.push((id, pad));
        self.writes.push((arena.pad(slot, pad), bytes));
    }

    fn watch_old_versions(&mut self, module: &Module, replacements: &[Replacement<'_>]) {
        self.watch = Watch::default();
        for replacement in replacements {
            let symbol = replacement.symbol;
            let name = &symbol.name;
            let end = symbol.address + symbol.size.max(1);
            self.watch.add(symbol.address..end, name.to_string());
            let prefix = format!("{name}.");
            for part in module
                .symbols
                .iter()
                .filter(|part| part.name.starts_with(&prefix) && part.size > 0)
            {
                self.watch
                    .add_all(part.address..part.address + part.size, part.name.to_string());
            }
            let Some(record) = self.registry.slot(replacement.slot) else {
                continue;
            };
            let near = record.near..record.near + NEAR_BLOCK_BYTES;
            let versions = record
                .stack
                .iter()
                .filter_map(|(id, _)| self.registry.patch(*id))
                .collect::<Vec<_>>();
            let newest = versions.iter().flat_map(|patch| {
                let own = patch
                    .functions
                    .iter()
                    .filter(|function| function.slot == replacement.slot);
                own.map(|function| function.address..function.address + function.size)
            });
            for range in newest.collect::<Vec<_>>() {
                self.watch.add(range, name.to_string());
            }
            self.watch.add_all(near, name.to_string());
        }
    }
}

/// The variables of the source that the patch shares with the target, without those that compilers make.
fn kept_variables(objects: &[PatchObject<'_>], matched: &Matched<'_>) -> Vec<String> {
    let written = |pair: &&counterpart::Pair<'_>| !objects[pair.object].definitions[pair.definition].weak;
    let variables = matched.variables.iter().filter(written);
    variables.map(|pair| pair.symbol.name.to_string()).collect()
}

/// What a patch defines that the target has not: later patches may refer to it.
fn new_symbols(image: &Image, module: &Module, objects: &[PatchObject<'_>]) -> Vec<SymbolRecord> {
    let symbols = image.symbols.iter().filter(|symbol| {
        matches!(symbol.kind, SymbolKind::Function | SymbolKind::Data)
            && symbol.binding != SymbolBinding::Local
            && module.named(&symbol.name).next().is_none()
    });
    let is_function = |name: &str| {
        let mut all = objects.iter().flat_map(|object| &object.definitions);
        all.any(|definition| definition.name == name && (definition.kind == elf::STT_FUNC || definition.executable))
    };
    symbols
        .map(|symbol| SymbolRecord {
            name: symbol.name.to_string(),
            address: symbol.address,
            size: symbol.size,
            function: is_function(&symbol.name),
        })
        .collect()
}

/// Where threads are in the functions of a plan, as far as can be seen without stopping one.
pub(crate) fn inside_now(procfs: &Procfs, functions: &[FunctionPlan]) -> Vec<String> {
    let mut found = Vec::new();
    for tid in crate::procfs::tasks(procfs.pid).unwrap_or_default() {
        // "running", or the system call with its arguments, the stack pointer and the program counter.
        let text = std::fs::read_to_string(format!("/proc/{}/task/{tid}/syscall", procfs.pid)).unwrap_or_default();
        let mut words = text.split_whitespace().rev();
        let mut next = || {
            words
                .next()
                .and_then(|word| u64::from_str_radix(word.trim_start_matches("0x"), 16).ok())
        };
        let (Some(pc), Some(sp)) = (next(), next()) else {
            continue;
        };
        let mut stack = vec![0; 64 * 1024];
        let length = procfs.read_some(sp & !7, &mut stack);
        let words = stack[..length]
            .chunks_exact(8)
            .map(crate::procfs::word)
            .chain([pc])
            .collect::<Vec<_>>();
        for function in functions {
            let body = function.address + 1..function.address + function.size;
            if words.iter().any(|word| body.contains(word)) {
                found.push(format!(
                    "thread {tid} ({}) is in {}, or its caller",
                    procfs.thread_name(tid),
                    function.name
                ));
            }
        }
    }
    found
}
