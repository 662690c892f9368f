//! Replacing modules while their functions are being called.
//!
//! A replacement is a transaction: parse, resolve, link and check come first, and change nothing; then the stubs of the
//! functions are aimed at their new definitions, which is one store each.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use restub_loader::{Image, Input, OwnKind, SymbolBinding, TargetKind};
use rustc_hash::FxHashMap;

use crate::error::{Error, Result};
use crate::made::Made;
use crate::rebind::{Fate, Purpose};
use crate::run;
use crate::session::Session;
use crate::state::{Entry, ModuleId, State};
use crate::stubs::Aim;

/// How to replace.
#[derive(Debug, Clone, Default)]
pub struct Replace {
    pub(crate) whole: BTreeSet<ModuleId>,
    pub(crate) data: Data,
    pub(crate) dangling: bool,
    pub(crate) constructors: Constructors,
    pub(crate) consistency: Consistency,
}

impl Replace {
    /// Functions and variables of the same names are replaced, and those that the new objects do not define stay.
    #[must_use]
    pub fn new() -> Self {
        Replace::default()
    }

    /// The new objects stand for the whole of a module: what they do not define is gone.
    #[must_use]
    pub fn whole(mut self, module: ModuleId) -> Self {
        self.whole.insert(module);
        self
    }

    /// What becomes of the values of variables; [`Data::Keep`] by default.
    #[must_use]
    pub fn data(mut self, data: Data) -> Self {
        self.data = data;
        self
    }

    /// Whether functions may go that others still call. Their stubs lead to the unbound handler then. Refused by default.
    #[must_use]
    pub fn allow_dangling(mut self, allow: bool) -> Self {
        self.dangling = allow;
        self
    }

    /// Whether constructors of the new objects run; [`Constructors::IfNeeded`] by default.
    #[must_use]
    pub fn constructors(mut self, constructors: Constructors) -> Self {
        self.constructors = constructors;
        self
    }

    /// What threads may see while several functions are replaced; [`Consistency::Each`] by default.
    #[must_use]
    pub fn consistency(mut self, consistency: Consistency) -> Self {
        self.consistency = consistency;
        self
    }
}

/// What becomes of the values of variables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Data {
    /// A variable of the same name and size keeps its storage and value, a local one if its source file has the same name
    /// too. A changed size is refused.
    #[default]
    Keep,
    /// Every variable of the new objects starts with its initial value. Code that has the address of an old one goes on
    /// using that.
    Reset,
}

/// Whether constructors run when objects are replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Constructors {
    /// They run if no variable that they refer to is kept, and do not run if no new one needs them. If both are there,
    /// the replacement is refused.
    #[default]
    IfNeeded,
    /// They run, also on the values that are kept.
    Run,
    /// They do not run.
    Skip,
}

/// What threads may see while several functions are replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Consistency {
    /// One function after the other, callees before their callers: a new function finds the new ones that it calls.
    #[default]
    Each,
    /// All at once, for threads that call under a [`Pin`](crate::Pin): new pins wait, those that there are finish, and
    /// then all functions are replaced. If that takes longer than the limit, nothing has changed.
    Drain {
        /// How long to wait.
        limit: Duration,
    },
}

/// What a replacement did.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// The module that the new objects have become.
    pub module: ModuleId,
    /// Each visible function, and each variable, with what became of it.
    pub changes: Vec<Change>,
    /// Modules of which nothing is current any more: they are reclaimed when no thread can be in them.
    pub superseded: Vec<ModuleId>,
    /// Whether the new objects have constructors that were left out, because what they initialize is kept.
    pub constructors_skipped: bool,
}

/// What became of a function or a variable.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Change {
    /// The name.
    pub name: String,
    /// Whether it is a function, a variable, a constant.
    pub kind: OwnKind,
    /// What became of it.
    pub what: What,
}

/// What became of a function or a variable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// A variable kept its storage and value; or the definition of another module stands for the name, as before.
    Kept,
    /// There was none of the name.
    New,
    /// Calls reach another definition; or a variable has new storage with its initial value.
    Changed,
    /// The new objects do not define it any more.
    Dropped,
}

/// Why a replacement is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// A variable that is to keep its value has another size.
    #[error(
        "{object}: {symbol} has {after} bytes, and {before} in {module}; a variable of another size cannot keep its value (rename it, or reset all data)"
    )]
    SizeChanged {
        /// The variable.
        symbol: String,
        /// The object that defines it anew.
        object: String,
        /// Its size in bytes as it is.
        before: u64,
        /// The module that it is in.
        module: String,
        /// Its size in bytes in the new object.
        after: u64,
    },
    /// A name stands for a function in one and for a variable in the other, or for a thread-local variable.
    #[error("{object}: {symbol} is of another kind than before (function, variable, thread-local variable)")]
    KindChanged {
        /// The name.
        symbol: String,
        /// The object that defines it anew.
        object: String,
    },
    /// Local variables of one name that cannot be told apart.
    #[error(
        "{object}: there are {after} local variables called {symbol}, and there were {before}, so it is not clear which keeps which value (give them names of their own, or reset all data)"
    )]
    StaticsUnclear {
        /// Their name.
        symbol: String,
        /// The new object.
        object: String,
        /// How many there were.
        before: usize,
        /// How many there are.
        after: usize,
    },
    /// A constant that others read directly has another value.
    #[error(
        "{object}: the constant {symbol} has changed, and {} read the old one directly (load them again first, or reset all data)",
        users.join(", ")
    )]
    ConstantChanged {
        /// The constant.
        symbol: String,
        /// The new object.
        object: String,
        /// The modules that are bound to it.
        users: Vec<String>,
    },
    /// A function would be gone that others call.
    #[error("{symbol} would be gone, and is called by {}", callers.join(", "))]
    StillCalled {
        /// The function.
        symbol: String,
        /// The modules that call it.
        callers: Vec<String>,
    },
    /// Constructors would initialize values that are kept along with new variables.
    #[error(
        "{object}: its constructors initialize {new}, which is new, and {kept}, whose value is kept; say whether they are to run"
    )]
    Constructors {
        /// The new module.
        object: String,
        /// A kept variable.
        kept: String,
        /// A new one.
        new: String,
    },
}

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
        let made = unsafe { self.make(&mut state, inputs, Purpose::Replace(options)) }?;
        let constructors = match state.check(&made, options) {
            Ok(constructors) => constructors,
            Err(error) => {
                state.unmake(made);
                return Err(error);
            }
        };
        let needs_time = constructors == Decision::Run || matches!(options.consistency, Consistency::Drain { .. });
        if !needs_time {
            return self.commit(&mut state, made, options, constructors);
        }
        // Functions that there were not before have to be there for the constructors; nobody else can know of them.
        let early = state.new_functions(&made);
        if let Err(error) = state.aim(&early) {
            state.unmake(made);
            return Err(error);
        }
        drop(state);
        if constructors == Decision::Run {
            // SAFETY: the image is ready to run, and the caller trusts the code.
            unsafe { run::construct(&made.image, self.arguments()) };
        }
        let closed = match options.consistency {
            Consistency::Drain { limit } => self.drain(limit).map(Some),
            Consistency::Each => Ok(None),
        };
        let mut state = self.lock();
        // Loads may have come in between.
        let checked = closed.and_then(|closed| state.check(&made, options).map(|_| closed));
        match checked {
            Ok(_closed) => self.commit(&mut state, made, options, constructors),
            Err(error) => {
                let gone: Vec<Aim> = early.iter().map(|(function, _)| (*function, None)).collect();
                // What could be aimed can be aimed back.
                let back = state.aim(&gone);
                debug_assert!(back.is_ok());
                if constructors == Decision::Run {
                    drop(state);
                    // SAFETY: the image is in memory, and its constructors have run.
                    unsafe { made.finalizer.run() };
                    state = self.lock();
                }
                state.unmake(made);
                Err(error)
            }
        }
    }

    fn commit(&self, state: &mut State, made: Made, options: &Replace, constructors: Decision) -> Result<Report> {
        let mut changes = state.changes(&made);
        let gone = state.gone(&made, options);
        let going = |module: ModuleId| options.whole.contains(&module);
        let mut aims = state.aims_of(&made);
        let order = callees_first(&made.image);
        aims.sort_by_key(|(_, target)| target.and_then(|target| order.get(&target)).copied());
        // What is gone comes last: until then nobody is left without it.
        aims.extend(gone.iter().filter_map(|name| state.next_aim(name, going)));
        if let Err(error) = state.aim(&aims) {
            state.unmake(made);
            return Err(error);
        }
        match constructors {
            Decision::Run if self.finalizes_at_exit() => made.finalizer.run_at_exit(),
            Decision::Skip => made.finalizer.leave_arrays_out(),
            _ => {}
        }
        changes.extend(gone.iter().map(|name| state.dropped(name)));
        for name in &gone {
            state.withdraw_name(name, going);
        }
        let replaced = made.outcome.replaced.clone();
        let fates = made.outcome.fates.clone();
        let image = Arc::clone(&made.image);
        let id = state.publish_made(made);
        let superseded = state.supersede(id, &replaced, &image, &fates);
        self.retire_superseded(state, id);
        Ok(Report {
            module: id,
            changes,
            superseded,
            constructors_skipped: constructors == Decision::Skip,
        })
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
    /// Checks what can only be known once a replacement has been linked.
    fn check(&self, made: &Made, options: &Replace) -> Result<Decision> {
        let mut refusals = made.outcome.refusals.clone();
        let mut but = options.whole.clone();
        but.extend(&made.outcome.replaced);
        if options.data == Data::Keep {
            self.check_constants(made, &but, &mut refusals);
        }
        if !options.dangling {
            for name in self.gone(made, options) {
                let entry = self.symbols.get(&name);
                let Some(function) = entry.and_then(|entry| entry.function) else {
                    continue;
                };
                if self.spares.contains_key(&name) {
                    continue;
                }
                let mut callers = self.callers(function, &options.whole);
                if made.outcome.calls.contains(&function) {
                    callers.push(made.name());
                }
                if !callers.is_empty() {
                    refusals.push(Refusal::StillCalled {
                        symbol: name.into(),
                        callers,
                    });
                }
            }
        }
        let constructors = constructors(made, options, &mut refusals);
        if refusals.is_empty() {
            Ok(constructors)
        } else {
            Err(Error::Refused(refusals))
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
            let reads = |stubbed: &crate::state::Stubbed| stubbed.constants.contains(&definition.name);
            let bound = self
                .modules
                .iter()
                .filter(|(id, module)| !but.contains(id) && module.stubbed.as_deref().is_some_and(reads));
            let users: Vec<_> = bound.map(|(_, module)| module.name()).collect();
            let sizes = (definition.size, there.target.size);
            let same = || {
                // SAFETY: both are constants of images that are in memory, of this size.
                let bytes = |at: u64| unsafe {
                    let start = std::ptr::with_exposed_provenance::<u8>(at as usize);
                    std::slice::from_raw_parts(start, sizes.0 as usize)
                };
                sizes.0 == sizes.1 && bytes(definition.address) == bytes(there.target.address)
            };
            if !users.is_empty() && !same() {
                refusals.push(Refusal::ConstantChanged {
                    symbol: definition.name.to_string(),
                    object: made.name(),
                    users,
                });
            }
        }
    }

    /// The names that modules that are replaced as a whole stood for, and that have no definition any more.
    fn gone(&self, made: &Made, options: &Replace) -> Vec<Box<str>> {
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
            for (definition, _) in made.definitions() {
                if definition.binding != SymbolBinding::Local {
                    gone.remove(&definition.name);
                }
            }
        }
        gone.into_iter().collect()
    }

    /// The aims of functions that had no stub before.
    fn new_functions(&self, made: &Made) -> Vec<Aim> {
        let added: BTreeSet<_> = made.outcome.added.iter().collect();
        let stubs = self.stubs.as_ref();
        let functions = made
            .definitions()
            .filter(|(definition, fate)| definition.kind == OwnKind::Function && **fate == Fate::Current);
        let id = |name: &str| stubs.and_then(|stubs| stubs.id(name)).filter(|id| added.contains(id));
        functions
            .filter_map(|(definition, _)| Some((id(&definition.name)?, Some(definition.address))))
            .collect()
    }

    fn changes(&self, made: &Made) -> Vec<Change> {
        let mut changes = Vec::new();
        for (definition, fate) in made.definitions() {
            let what = match fate {
                Fate::Kept | Fate::Spare => What::Kept,
                Fate::Reset => What::Changed,
                Fate::Current if self.symbols.contains_key(&definition.name) => What::Changed,
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

    fn dropped(&self, name: &str) -> Change {
        Change {
            name: name.to_owned(),
            kind: self
                .symbols
                .get(name)
                .map_or(OwnKind::Variable, |entry| self.kind_of(entry)),
            what: What::Dropped,
        }
    }

    /// Notes which modules have nothing current any more but storage that their successor keeps.
    fn supersede(
        &mut self,
        id: ModuleId,
        replaced: &BTreeSet<ModuleId>,
        image: &Image,
        fates: &[Fate],
    ) -> Vec<ModuleId> {
        let mut kept: FxHashMap<ModuleId, usize> = FxHashMap::default();
        for (definition, fate) in image.definitions.iter().zip(fates) {
            if *fate == Fate::Kept
                && definition.binding != SymbolBinding::Local
                && let Some(entry) = self.symbols.get(&definition.name)
            {
                *kept.entry(entry.module).or_default() += 1;
            }
        }
        let mut superseded = Vec::new();
        for old in replaced {
            let kept = kept.get(old).copied().unwrap_or(0);
            if let Some(stubbed) = self.stubbed_mut(*old)
                && !stubbed.is_superseded
                && stubbed.live <= kept
            {
                stubbed.is_superseded = true;
                self.superseded.insert(*old);
                superseded.push(*old);
            }
        }
        if let Some(stubbed) = self.stubbed_mut(id) {
            stubbed.predecessors.clone_from(&superseded);
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

impl Session {
    /// Takes a replacement back, without compiling or linking anything: the functions that it superseded are called
    /// again. Variables keep the values that they have. The module whose functions are current again is in the report.
    ///
    /// # Errors
    /// [`Error::NoSuchModule`], and [`Error::NoRollback`] with the reason: the versions before are not there any more
    /// ([`Builder::versions`](crate::Builder::versions) says how many are kept), or the module is superseded itself. The
    /// session is as it was before.
    pub fn rollback(&self, module: ModuleId) -> Result<Report> {
        let _turn = self.turn()?;
        let mut state = self.lock();
        let back = state.plan_rollback(module)?;
        let going = |id: ModuleId| id == module;
        let mut aims = back.aims.clone();
        aims.extend(back.gone.iter().filter_map(|name| state.next_aim(name, going)));
        state.aim(&aims)?;
        let mut changes: Vec<_> = back.gone.iter().map(|name| state.dropped(name)).collect();
        for name in &back.gone {
            state.withdraw_name(name, going);
        }
        let mut restored = BTreeSet::new();
        for (name, entry) in back.entries {
            restored.insert(entry.module);
            state.count_live(module, -1);
            state.count_live(entry.module, 1);
            changes.push(Change {
                kind: state.kind_of(&entry),
                name: name.to_string(),
                what: What::Changed,
            });
            state.symbols.insert(name, entry);
        }
        for id in &restored {
            state.superseded.remove(id);
            if let Some(stubbed) = state.stubbed_mut(*id) {
                (stubbed.is_superseded, stubbed.is_held) = (false, false);
            }
        }
        state.superseded.insert(module);
        if let Some(stubbed) = state.stubbed_mut(module) {
            (stubbed.is_superseded, stubbed.is_held) = (true, false);
        }
        let newest = restored.iter().next_back().copied();
        self.retire_superseded(&mut state, newest.unwrap_or(module));
        self.remove_stubs(&mut state, &back.gone);
        Ok(Report {
            module: newest.unwrap_or(module),
            changes,
            superseded: vec![module],
            constructors_skipped: false,
        })
    }
}

/// What a rollback does.
#[derive(Debug)]
struct Back {
    entries: Vec<(Box<str>, Entry)>,
    aims: Vec<Aim>,
    /// Names that nothing stood for before.
    gone: Vec<Box<str>>,
}

impl State {
    fn plan_rollback(&self, id: ModuleId) -> Result<Back> {
        let module = self.modules.get(&id).ok_or(Error::NoSuchModule)?;
        let stubbed = module.stubbed.as_deref().ok_or(Error::NoStubs)?;
        let refuse = |reason: String| Err(Error::NoRollback(format!("{}: {reason}", module.name())));
        if stubbed.supersedes.is_empty() {
            return refuse("it superseded nothing".into());
        }
        if module.users > 0 {
            return refuse(format!("{} use its variables", self.user_names(id).join(", ")));
        }
        let mut back = Back {
            entries: stubbed.supersedes.clone(),
            aims: Vec::new(),
            gone: Vec::new(),
        };
        for (name, entry) in &stubbed.supersedes {
            if self.symbols.get(name).is_none_or(|now| now.module != id) {
                return refuse(format!("{name} has been superseded since"));
            }
            if !self.modules.contains_key(&entry.module) {
                return refuse(format!("the version of {name} before it is not kept"));
            }
            if let Some(function) = entry.function {
                back.aims.push((function, Some(entry.target.address)));
            }
        }
        for name in self.names_of(id) {
            let Some(entry) = self.symbols.get(&name).filter(|entry| entry.module == id) else {
                continue;
            };
            if stubbed.supersedes.iter().any(|(superseded, _)| *superseded == name) {
                continue;
            }
            if let Some(function) = entry.function {
                let callers = self.callers(function, &BTreeSet::from([id]));
                if !callers.is_empty() && !self.spares.contains_key(&name) {
                    return refuse(format!(
                        "{name}, which is new in it, is called by {}",
                        callers.join(", ")
                    ));
                }
            }
            back.gone.push(name);
        }
        Ok(back)
    }

    fn kind_of(&self, entry: &Entry) -> OwnKind {
        match entry.target.kind {
            TargetKind::Function => OwnKind::Function,
            TargetKind::Tls { .. } => OwnKind::ThreadLocal,
            _ => OwnKind::Variable,
        }
    }
}
