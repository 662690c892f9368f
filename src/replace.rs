//! Replacing modules while their functions are being called.
//!
//! A replacement is a transaction: parse, resolve, link and check come first, and change nothing; then the stubs of the
//! functions are aimed at their new definitions, which is one store each.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use restub_loader::{Image, Input, OwnKind, SymbolBinding, TargetKind};
use rustc_hash::FxHashMap;

use crate::batch::Batch;
use crate::error::{Error, Result};
use crate::made::Made;
use crate::rebind::{Fate, Purpose};
use crate::replacement::{Change, Consistency, Constructors, Data, Refusal, Replace, Report, What};
use crate::run;
use crate::session::{Locked, Session};
use crate::state::{ModuleId, State};
use crate::stubs::Aim;

impl Session {
    /// Loads objects in place of what the session has under their names, while other threads call it.
    ///
    /// Functions are redirected, one store each; their addresses, which are those of their stubs, stay. Variables keep
    /// their storage and value, as [`Data`] says. The modules that were superseded are given up, and their memory is free
    /// once no thread can be in them. A weak definition is replaced if that of a superseded module stood for its name.
    ///
    /// The new objects' constructors run before their functions are called, but for those that would initialize what is
    /// kept: see [`Constructors`].
    ///
    /// # Errors
    /// [`Error::Link`], [`Error::Refused`] with every reason, [`Error::Drain`]; the session is as it was before.
    /// [`Error::NoStubs`] if it was not built with [`Linkage::Stubs`](crate::Linkage::Stubs), [`Error::NoSuchModule`].
    ///
    /// # Safety
    /// As for [`Session::load`]. The new functions and variables have the types that those who use the old ones believe
    /// them to have. Threads that call functions of the session hold a [`Pin`](crate::Pin) meanwhile, or the session
    /// [scans](crate::Reclaim::Scan).
    pub unsafe fn replace(&self, inputs: &[Input<'_>], options: &Replace) -> Result<Report> {
        // SAFETY: the caller's promise.
        unsafe { self.replace_each(&[inputs], options) }
    }

    /// Replaces several modules in one transaction: each element becomes one. They may call each other's new functions,
    /// and if one uses a new variable of another, that one must not use new variables of the first.
    ///
    /// # Errors
    /// Those of [`replace`](Session::replace).
    ///
    /// # Safety
    /// As for [`replace`](Session::replace).
    pub unsafe fn replace_each(&self, modules: &[&[Input<'_>]], options: &Replace) -> Result<Report> {
        let _turn = self.turn()?;
        self.reclaim_some();
        let mut state = self.lock();
        if state.stubs.is_none() {
            return Err(Error::NoStubs);
        }
        if !options.whole.iter().all(|id| state.modules.contains_key(id)) {
            return Err(Error::NoSuchModule);
        }
        // SAFETY: the caller's promise.
        let batch = unsafe { self.make_batch(&mut state, modules, Purpose::Replace(options)) }?;
        let decisions = match state.check(&batch, options) {
            Ok(decisions) => decisions,
            Err(error) => {
                state.unmake_batch(batch);
                return Err(error);
            }
        };
        let drains = matches!(options.consistency, Consistency::Drain { .. });
        if !drains && !decisions.contains(&Decision::Run) {
            return match state.switch(&batch, options) {
                Ok(gone) => Ok(self.publish(&mut state, batch, options, &decisions, &gone)),
                Err(error) => {
                    state.unmake_batch(batch);
                    Err(error)
                }
            };
        }
        // SAFETY: the caller's promise.
        unsafe { self.prepare_and_commit(state, batch, options, &decisions) }
    }

    /// The part of a replacement that takes time, during which others may use the session: constructors, and waiting for
    /// pinned threads.
    ///
    /// # Safety
    /// The batch's constructors may be called.
    unsafe fn prepare_and_commit(
        &self,
        mut state: Locked<'_>,
        batch: Batch,
        options: &Replace,
        decisions: &[Decision],
    ) -> Result<Report> {
        // Functions that there were not before have to be there for the constructors; nobody else calls them yet.
        let early = state.unbound_functions(&batch);
        if let Err(error) = state.aim(&early) {
            state.unmake_batch(batch);
            return Err(error);
        }
        drop(state);
        let constructed = || {
            batch
                .mades
                .iter()
                .zip(decisions)
                .filter(|(_, decision)| **decision == Decision::Run)
        };
        for (made, _) in constructed() {
            // SAFETY: the image is ready to run, and the caller trusts the code.
            unsafe { run::construct(&made.image, self.arguments()) };
        }
        let closed = match options.consistency {
            Consistency::Drain { limit } => self.drain(limit).map(Some),
            Consistency::Each => Ok(None),
        };
        let mut state = self.lock();
        // Loads may have come in between.
        let switched = closed.and_then(|closed| {
            state.check(&batch, options)?;
            Ok((state.switch(&batch, options)?, closed))
        });
        let error = match switched {
            Ok((gone, _closed)) => return Ok(self.publish(&mut state, batch, options, decisions, &gone)),
            Err(error) => error,
        };
        let unbound: Vec<Aim> = early.iter().map(|(function, _)| (*function, None)).collect();
        // If the system refuses even this, the stubs are given up with the batch: only its constructors know them.
        let _ = state.aim(&unbound);
        drop(state);
        for (made, _) in constructed() {
            // SAFETY: the image is in memory, and its constructors have run.
            unsafe { made.finalizer.run() };
        }
        self.lock().unmake_batch(batch);
        Err(error)
    }

    /// Notes that a batch is what is called.
    fn publish(
        &self,
        state: &mut State,
        batch: Batch,
        options: &Replace,
        decisions: &[Decision],
        gone: &[Box<str>],
    ) -> Report {
        let going = |module: ModuleId| options.whole.contains(&module);
        let mut changes: Vec<_> = batch.mades.iter().flat_map(|made| state.changes(made)).collect();
        changes.extend(gone.iter().map(|name| state.dropped(name)));
        for name in gone {
            state.withdraw_name(name, going);
        }
        for (made, decision) in batch.mades.iter().zip(decisions) {
            match decision {
                Decision::Run if self.options().finalize_at_exit => made.finalizer.run_at_exit(),
                Decision::Skip => made.finalizer.leave_arrays_out(),
                _ => {}
            }
        }
        let replaced = state.replaced(&batch);
        let modules = state.publish_batch(batch);
        let superseded = state.supersede(&modules, replaced);
        let versions = self.options().versions;
        let before = modules.iter().flat_map(|module| state.hold_versions(*module, versions));
        let unused = before.collect();
        self.retire_unused(state, unused);
        Report {
            module: modules[0],
            modules,
            changes,
            superseded,
            constructors_skipped: decisions.contains(&Decision::Skip),
        }
    }
}

/// What is done about constructors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Decision {
    None,
    Run,
    Skip,
}

impl State {
    /// Aims all stubs at a batch. Returns the names that nothing stands for any more.
    fn switch(&mut self, batch: &Batch, options: &Replace) -> Result<Vec<Box<str>>> {
        let gone = self.gone(batch, options);
        let mut aims = Vec::new();
        for made in &batch.mades {
            let order = callees_first(&made.image);
            let mut own = self.aims_of(made);
            own.sort_by_key(|(_, target)| target.and_then(|target| order.get(&target)).copied());
            aims.extend(own);
        }
        // What is gone comes last: until then nobody is left without it.
        let going = |module: ModuleId| options.whole.contains(&module);
        aims.extend(gone.iter().filter_map(|name| self.next_aim(name, going)));
        self.aim(&aims)?;
        Ok(gone)
    }

    /// Checks what can only be known once a replacement has been linked.
    fn check(&self, batch: &Batch, options: &Replace) -> Result<Vec<Decision>> {
        let mut refusals = Vec::new();
        let mut decisions = Vec::new();
        for made in &batch.mades {
            if options.data == Data::Keep {
                let mut but = options.whole.clone();
                but.extend(&made.outcome.replaced);
                self.check_constants(made, &but, &mut refusals);
            }
            decisions.push(constructors(made, options, &mut refusals));
        }
        if !options.dangling {
            self.check_gone(batch, options, &mut refusals);
        }
        if refusals.is_empty() {
            Ok(decisions)
        } else {
            Err(Error::Refused(refusals))
        }
    }

    fn check_gone(&self, batch: &Batch, options: &Replace, refusals: &mut Vec<Refusal>) {
        for name in self.gone(batch, options) {
            let entry = self.symbols.get(&name);
            let Some(function) = entry.and_then(|entry| entry.function) else {
                continue;
            };
            if self.spares.contains_key(&name) {
                continue;
            }
            let mut callers = self.callers(function, &options.whole);
            let anew = batch.mades.iter().filter(|made| made.outcome.calls.contains(&function));
            callers.extend(anew.map(Made::name));
            if !callers.is_empty() {
                refusals.push(Refusal::StillCalled {
                    symbol: name.into(),
                    callers,
                });
            }
        }
    }

    fn check_constants(&self, made: &Made, but: &BTreeSet<ModuleId>, refusals: &mut Vec<Refusal>) {
        for (definition, fate) in made.definitions() {
            let Some(there) = self.symbols.get(&definition.name) else {
                continue;
            };
            let constant = definition.kind == OwnKind::Constant && *fate == Fate::Current;
            if !constant || !matches!(there.target.kind, TargetKind::Data(_)) {
                continue;
            }
            let sizes = (definition.size, there.target.size);
            let same = || {
                // SAFETY: both are constants of images that are in memory, of this size.
                let bytes = |at: u64| unsafe {
                    let start = std::ptr::with_exposed_provenance::<u8>(at as usize);
                    std::slice::from_raw_parts(start, sizes.0 as usize)
                };
                sizes.0 == sizes.1 && bytes(definition.address) == bytes(there.target.address)
            };
            // Most constants have not changed, and only then all modules are looked at.
            if same() {
                continue;
            }
            let reads = |stubbed: &crate::state::Stubbed| stubbed.constants.contains(&definition.name);
            let bound = self
                .modules
                .iter()
                .filter(|(id, module)| !but.contains(id) && module.stubbed.as_deref().is_some_and(reads));
            let users: Vec<_> = bound.map(|(_, module)| module.name()).collect();
            if !users.is_empty() {
                refusals.push(Refusal::ConstantChanged {
                    symbol: definition.name.to_string(),
                    object: made.name(),
                    users,
                });
            }
        }
    }

    /// The names that modules that are replaced as a whole stood for, and that have no definition any more.
    fn gone(&self, batch: &Batch, options: &Replace) -> Vec<Box<str>> {
        let mut gone = BTreeSet::new();
        for id in &options.whole {
            let storage = self.modules.get(id).map_or(&[][..], |module| &module.uses);
            let is_its = |module: ModuleId| {
                // Kept variables are in the storage of a module that has been superseded before.
                module == *id || storage.contains(&module) && self.stubbed(module).is_some_and(|old| old.is_superseded)
            };
            let names = self.names_of(*id).into_iter();
            gone.extend(names.filter(|name| self.symbols.get(name).is_some_and(|entry| is_its(entry.module))));
        }
        if !gone.is_empty() {
            for (definition, _) in batch.mades.iter().flat_map(Made::definitions) {
                if definition.binding != SymbolBinding::Local {
                    gone.remove(&definition.name);
                }
            }
        }
        gone.into_iter().collect()
    }

    /// The aims of functions whose stubs lead nowhere yet.
    fn unbound_functions(&self, batch: &Batch) -> Vec<Aim> {
        let Some(stubs) = &self.stubs else {
            return Vec::new();
        };
        let mut aims = self.aims_of_batch(batch);
        aims.retain(|(function, _)| stubs.target(*function).is_none());
        aims
    }

    fn changes(&self, made: &Made) -> Vec<Change> {
        let mut changes = Vec::new();
        let mut before: FxHashMap<ModuleId, FxHashMap<&str, u64>> = FxHashMap::default();
        for (definition, fate) in made.definitions() {
            let there = self.symbols.get(&definition.name);
            let mut is_same = || {
                let Some(module) = there.and_then(|entry| Some((entry.module, self.modules.get(&entry.module)?)))
                else {
                    return false;
                };
                let numbers = before.entry(module.0).or_insert_with(|| {
                    let definitions = module.1.image.definitions.iter();
                    let visible = definitions.filter(|definition| definition.binding != SymbolBinding::Local);
                    visible
                        .map(|definition| (&*definition.name, definition.fingerprint))
                        .collect()
                });
                definition.fingerprint != 0 && numbers.get(&*definition.name) == Some(&definition.fingerprint)
            };
            let what = match fate {
                Fate::Kept | Fate::Spare => What::Kept,
                Fate::Reset => What::Changed,
                Fate::Current if is_same() => What::Kept,
                Fate::Current if there.is_some() => What::Changed,
                Fate::Current => What::New,
                Fate::Local if matches!(definition.kind, OwnKind::Variable | OwnKind::ThreadLocal) => What::New,
                Fate::Local => continue,
            };
            changes.push(Change {
                name: definition.name.to_string(),
                kind: definition.kind,
                what,
            });
        }
        changes
    }

    pub(crate) fn dropped(&self, name: &str) -> Change {
        Change {
            name: name.to_owned(),
            kind: self
                .symbols
                .get(name)
                .map_or(OwnKind::Variable, |entry| self.kind_of(entry)),
            what: What::Dropped,
        }
    }

    /// The modules whose definitions a batch supersedes, each with the number of names for which its storage is kept.
    fn replaced(&self, batch: &Batch) -> BTreeMap<ModuleId, usize> {
        let mut kept = BTreeSet::new();
        for (definition, fate) in batch.mades.iter().flat_map(Made::definitions) {
            if *fate == Fate::Kept
                && definition.binding != SymbolBinding::Local
                && let Some(entry) = self.symbols.get(&definition.name)
            {
                kept.insert((entry.module, &*definition.name));
            }
        }
        let replaced = batch.mades.iter().flat_map(|made| &made.outcome.replaced);
        let mut counts: BTreeMap<ModuleId, usize> = replaced.map(|id| (*id, 0)).collect();
        for (module, _) in kept {
            if let Some(count) = counts.get_mut(&module) {
                *count += 1;
            }
        }
        counts
    }

    /// Notes which replaced modules have nothing current any more but storage that their successors keep.
    fn supersede(&mut self, successors: &[ModuleId], replaced: BTreeMap<ModuleId, usize>) -> Vec<ModuleId> {
        let mut superseded = Vec::new();
        for (old, kept) in replaced {
            if let Some(stubbed) = self.stubbed_mut(old)
                && !stubbed.is_superseded
                && stubbed.live <= kept
            {
                stubbed.is_superseded = true;
                superseded.push(old);
            }
        }
        for successor in successors {
            if let Some(stubbed) = self.stubbed_mut(*successor) {
                stubbed.predecessors.clone_from(&superseded);
            }
        }
        superseded
    }
}

/// Whether constructors are to run on what is new, and whether they would run on what is kept.
fn constructors(made: &Made, options: &Replace, refusals: &mut Vec<Refusal>) -> Decision {
    let image = &made.image;
    if image.init.is_empty() && image.preinit.is_empty() {
        return Decision::None;
    }
    match options.constructors {
        Constructors::Run => return Decision::Run,
        Constructors::Skip => return Decision::Skip,
        Constructors::IfNeeded => {}
    }
    let code = made.constructor_code();
    let (mut kept, mut new) = (None, None);
    for reference in &image.references {
        if !code.iter().any(|range| range.contains(&reference.place)) {
            continue;
        }
        let index = reference.definition as usize;
        let definition = &image.definitions[index];
        match (definition.kind, made.outcome.fates[index]) {
            (OwnKind::Variable | OwnKind::ThreadLocal, Fate::Kept) => kept = Some(definition.name.to_string()),
            (OwnKind::Variable | OwnKind::ThreadLocal, _) => new = Some(definition.name.to_string()),
            _ => {}
        }
    }
    match (kept, new) {
        (Some(kept), Some(new)) => {
            refusals.push(Refusal::Constructors {
                object: made.name(),
                kept,
                new,
            });
            Decision::None
        }
        (Some(_), None) => Decision::Skip,
        (None, _) => Decision::Run,
    }
}

/// A rank for each own function, by its address: what it calls comes before it, as far as there is such an order.
fn callees_first(image: &Image) -> FxHashMap<u64, usize> {
    let functions: Vec<_> = (0..image.definitions.len())
        .filter(|index| image.definitions[*index].kind == OwnKind::Function)
        .collect();
    if functions.len() < 2 {
        return FxHashMap::default();
    }
    let mut by_address = functions.clone();
    by_address.sort_unstable_by_key(|index| image.definitions[*index].address);
    let mut calls: FxHashMap<usize, Vec<usize>> = FxHashMap::default();
    for reference in &image.references {
        let callee = reference.definition as usize;
        let next = by_address.partition_point(|index| image.definitions[*index].address <= reference.place);
        if let Some(&caller) = by_address[..next].last()
            && image.definitions[callee].kind == OwnKind::Function
            && reference.place - image.definitions[caller].address < image.definitions[caller].size
        {
            calls.entry(caller).or_default().push(callee);
        }
    }
    // Depth first, without recursion: call chains may be long.
    let mut ranks = FxHashMap::default();
    let mut seen = BTreeSet::new();
    for start in functions {
        let mut path = vec![(start, 0)];
        if !seen.insert(start) {
            continue;
        }
        while let Some((function, next)) = path.last_mut() {
            match calls.get(function).and_then(|callees| callees.get(*next)) {
                Some(callee) => {
                    *next += 1;
                    if seen.insert(*callee) {
                        path.push((*callee, 0));
                    }
                }
                None => {
                    let rank = ranks.len();
                    ranks.insert(image.definitions[*function].address, rank);
                    path.pop();
                }
            }
        }
    }
    ranks
}

/// How long one waits between two looks at whether all pinned threads have finished.
pub(crate) fn pause(since: Instant) -> Duration {
    (since.elapsed() / 8).clamp(Duration::from_micros(20), Duration::from_millis(2))
}
