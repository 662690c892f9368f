//! The session: modules that are loaded into this process, and the symbols that they define.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsString, c_int};
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Instant;

use restub_loader::{Detail, Image, Input, Limits, Options, SymbolKind, TargetKind};
use restub_stubs::{ReclaimStats, Reclaimer, Slot, UnboundCall};
use rustc_hash::FxHashMap;

use crate::binder::Binder;
use crate::error::{Error, Result};
use crate::fork::Operation;
use crate::function::{Function, FunctionPointer};
use crate::host::{self, Host};
use crate::memory::{ProcessMemory, Protection};
use crate::pin::Gate;
use crate::rebind::{Outcome, Purpose, Rebinding};
use crate::replace::pause;
use crate::retire::{Reclaim, Retired};
use crate::run::{self, Arguments};
use crate::state::{ModuleId, State};
use crate::stubs::{Stubs, UnboundHook, Version, VersionState};
use crate::unwind::UnwindTables;
use crate::{builtins, libraries};

/// How a session behaves; [`Session::builder`] makes one.
#[derive(Debug, Clone, Default)]
pub struct Builder {
    protection: Protection,
    detail: Detail,
    limits: Limits,
    gdb: bool,
    perf: bool,
    default_libraries: bool,
    finalize_at_exit: bool,
    arguments: Option<Vec<OsString>>,
    linkage: Linkage,
    slot: Option<Slot>,
    own_directly: bool,
    versions: usize,
    reclaim: Reclaim,
    on_unbound: Option<Hook>,
}

/// How modules call each other's functions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Linkage {
    /// Directly, as a linker binds them: nothing is between a caller and a function. Modules can be unloaded.
    #[default]
    Direct,
    /// Through stubs: functions can be [replaced](Session::replace) while they are called.
    Stubs,
}

/// See [`Builder::on_unbound`].
#[derive(Clone)]
struct Hook(UnboundHook);

impl std::fmt::Debug for Hook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Hook(..)")
    }
}

impl Builder {
    /// How code is written; [`Protection::Strict`] by default.
    #[must_use]
    pub fn protection(mut self, protection: Protection) -> Self {
        self.protection = protection;
        self
    }

    /// How much [`Session::image`] tells; [`Detail::Minimal`] by default.
    #[must_use]
    pub fn detail(mut self, detail: Detail) -> Self {
        self.detail = detail;
        self
    }

    /// Whether gdb is told of modules, with the debug information of their objects; not by default.
    ///
    /// Code is in [private](Protection::Private) memory then, since the kernel lets no debugger write breakpoints into
    /// shared memory. gdb has to find the symbol `__jit_debug_descriptor` in the host program, so that must not be
    /// stripped.
    #[must_use]
    pub fn gdb(mut self, gdb: bool) -> Self {
        self.gdb = gdb;
        self
    }

    /// Whether perf is told of functions, by `/tmp/perf-PID.map`; not by default.
    #[must_use]
    pub fn perf(mut self, perf: bool) -> Self {
        self.perf = perf;
        self
    }

    /// Limits on what objects may ask for.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Whether libraries that compilers' drivers link by default (libm, libgcc, libstdc++ and the like) are opened when
    /// a symbol is found nowhere else; not by default.
    #[must_use]
    pub fn default_libraries(mut self, by_need: bool) -> Self {
        self.default_libraries = by_need;
        self
    }

    /// Whether destructors of modules that are still loaded run when the process exits; not by default.
    #[must_use]
    pub fn finalize_at_exit(mut self, at_exit: bool) -> Self {
        self.finalize_at_exit = at_exit;
        self
    }

    /// What constructors and [`Session::run_main`] get as `argv`; by default the host's own arguments.
    #[must_use]
    pub fn arguments(mut self, arguments: impl IntoIterator<Item = OsString>) -> Self {
        self.arguments = Some(arguments.into_iter().collect());
        self
    }

    /// How modules call each other's functions; [`Linkage::Direct`] by default.
    #[must_use]
    pub fn linkage(mut self, linkage: Linkage) -> Self {
        self.linkage = linkage;
        self
    }

    /// The layout of stubs. By default [`Slot::Inline`], or [`Slot::Split`] where code is in
    /// [private](Protection::Private) memory, which allows no other.
    #[must_use]
    pub fn slot(mut self, slot: Slot) -> Self {
        self.slot = Some(slot);
        self
    }

    /// Whether objects call their own functions directly: faster by the stub's jump, but then a function can be
    /// replaced for its own object's calls only together with that object. Not by default.
    #[must_use]
    pub fn own_calls_directly(mut self, directly: bool) -> Self {
        self.own_directly = directly;
        self
    }

    /// How many superseded versions of a module are kept for a [rollback](Session::rollback); none by default.
    #[must_use]
    pub fn versions(mut self, versions: usize) -> Self {
        self.versions = versions;
        self
    }

    /// How the session knows that no thread can be in a superseded module; [`Reclaim::Epochs`] by default.
    #[must_use]
    pub fn reclaim(mut self, reclaim: Reclaim) -> Self {
        self.reclaim = reclaim;
        self
    }

    /// Called when a function is called that has no definition any more; the process is aborted if it returns. By default
    /// the function's name goes to standard error first.
    #[must_use]
    pub fn on_unbound(mut self, hook: impl Fn(&UnboundCall<'_>) + Send + Sync + 'static) -> Self {
        self.on_unbound = Some(Hook(Arc::new(hook)));
        self
    }

    /// Makes the session. Address space is reserved by the first load.
    #[must_use]
    pub fn build(self) -> Session {
        let _operation = Operation::begin();
        let mut host = Host::default();
        let protection = if self.gdb { Protection::Private } else { self.protection };
        let memory = ProcessMemory::new(protection, host.library_range());
        let arguments = Arguments::new(self.arguments.clone().unwrap_or_else(|| std::env::args_os().collect()));
        let state = State {
            memory,
            unwind: UnwindTables::new(!host.has_version("libgcc_s.so", "GCC_13.0.0")),
            host,
            modules: BTreeMap::new(),
            symbols: FxHashMap::default(),
            spares: FxHashMap::default(),
            superseded: BTreeSet::new(),
            turn: None,
            stubs: (self.linkage == Linkage::Stubs).then(|| self.stubs(protection)),
            absolutes: FxHashMap::default(),
            next_module: 0,
            tried: Vec::new(),
        };
        Session {
            state: Mutex::new(state),
            options: self,
            arguments,
            fallbacks: OnceLock::new(),
            reclaimer: Reclaimer::new(),
            gate: Gate::default(),
            retired: AtomicUsize::new(0),
        }
    }

    fn stubs(&self, protection: Protection) -> Stubs {
        let default = match protection {
            Protection::Private => Slot::Split,
            _ => Slot::Inline,
        };
        let hook = self.on_unbound.as_ref().map(|hook| Arc::clone(&hook.0));
        Stubs::new(self.slot.unwrap_or(default), hook)
    }
}

/// How far behind a symbol without a size an address may be and still be said to lie in it.
const UNSIZED_BYTES: u64 = 4096;

/// Loaded modules and their symbols.
///
/// Every method takes `&self`, and may be called from any thread. Dropping a session unloads all of its modules, the
/// last one first.
#[derive(Debug)]
pub struct Session {
    state: Mutex<State>,
    options: Builder,
    arguments: Arguments,
    fallbacks: OnceLock<Vec<Input<'static>>>,
    reclaimer: Reclaimer<Retired>,
    gate: Gate,
    /// Items that have been retired and not reclaimed.
    retired: AtomicUsize,
}

/// A symbol of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Symbol {
    /// The address; for thread-local variables the offset in the module's block. For functions of a session with stubs it
    /// is that of the stub, which stays the same.
    pub address: u64,
    /// The size in bytes.
    pub size: u64,
    /// What it is.
    pub kind: SymbolKind,
    /// The module that defines it.
    pub module: ModuleId,
}

/// What a session holds.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Loaded modules.
    pub modules: usize,
    /// Symbols that they define.
    pub symbols: usize,
    /// Bytes of code, constants and data.
    pub image_bytes: u64,
    /// Reserved address ranges.
    pub arenas: usize,
    /// Stubs.
    pub stubs: usize,
    /// Those of them that lead to no definition.
    pub unbound_stubs: usize,
    /// Bytes of stubs.
    pub stub_bytes: u64,
    /// Modules and stubs that were given up, those of them that have been freed, and the oldest pin, which holds the rest.
    pub reclaim: ReclaimStats,
}

impl Session {
    /// A session with [`Protection::Strict`] and no default libraries.
    #[must_use]
    pub fn new() -> Self {
        Builder::default().build()
    }

    /// Settings for a session.
    #[must_use]
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// Loads objects and the archive members that they need, as one module; its constructors have run on return. An
    /// exception that one of them lets out ends the process by `std::terminate`, as when a program starts.
    ///
    /// The objects may refer to each other, to modules loaded before, to symbols [defined](Session::define) by address,
    /// to the host program, and to its shared libraries. Of a weak definition that an earlier module has, that copy is
    /// used.
    ///
    /// # Errors
    /// [`Error::Link`] with the place and the reason. The session is as it was before: nothing is mapped or defined.
    ///
    /// # Safety
    /// The objects' constructors run here, and their code later, with all the powers of this process. The caller
    /// trusts it, and no thread runs it or uses its addresses once the module is unloaded or the session dropped.
    pub unsafe fn load(&self, inputs: &[Input<'_>]) -> Result<ModuleId> {
        self.reclaim_some();
        let mut state = self.lock();
        // SAFETY: the caller's promise.
        let made = unsafe { self.make(&mut state, inputs, Purpose::Load) }?;
        let aims = state.aims_of(&made);
        if let Err(error) = state.aim(&aims) {
            state.unmake(made);
            return Err(error);
        }
        let (image, finalizer) = (Arc::clone(&made.image), Arc::clone(&made.finalizer));
        let id = state.publish_made(made);
        // Constructors may load modules of their own.
        drop(state);
        if self.options.finalize_at_exit {
            finalizer.run_at_exit();
        }
        // SAFETY: the image is ready to run, and the caller trusts the code.
        unsafe { run::construct(&image, &self.arguments) };
        Ok(id)
    }

    /// Links objects as [`load`](Session::load) would, and gives the memory back: nothing runs, and nothing is defined.
    ///
    /// The image has every detail and the trace of its relocations; its addresses mean nothing any more. Default
    /// libraries are opened as for a load.
    ///
    /// # Errors
    /// Those of [`load`](Session::load).
    pub fn plan(&self, inputs: &[Input<'_>]) -> Result<Image> {
        let mut state = self.lock();
        state.host.refresh();
        let detail = Detail::Full;
        let options = Options {
            detail,
            trace: true,
            limits: self.options.limits,
            ..Options::default()
        };
        let (image, _, outcome) = self.link(&mut state, inputs, &options, Purpose::Load)?;
        state.remove_added(&outcome);
        state.release(&image);
        state.check_duplicates(&image)?;
        Ok(image)
    }

    pub(crate) fn link_options(&self) -> Options {
        let detail = if self.options.gdb || self.options.perf {
            Detail::Full
        } else {
            self.options.detail
        };
        Options {
            detail,
            debug: self.options.gdb,
            limits: self.options.limits,
            ..Options::default()
        }
    }

    /// Links objects. If that fails, no stub is left that was added for them.
    pub(crate) fn link(
        &self,
        state: &mut State,
        inputs: &[Input<'_>],
        options: &Options,
        purpose: Purpose<'_>,
    ) -> Result<(Image, Vec<ModuleId>, Outcome)> {
        let State {
            memory,
            host,
            symbols,
            absolutes,
            tried,
            stubs,
            modules,
            ..
        } = &mut *state;
        let own_directly = self.options.own_directly;
        let rebinding = stubs.as_mut().map(|stubs| Rebinding {
            stubs,
            modules,
            purpose,
            own_directly,
            outcome: Outcome::default(),
        });
        let mut binder = Binder {
            host,
            symbols,
            absolutes,
            tried,
            defaults: self.options.default_libraries,
            uses: Vec::new(),
            rebinding,
        };
        let fallbacks = || self.fallbacks.get_or_init(|| self.open_fallbacks()).as_slice();
        let linked = restub_loader::link(inputs, fallbacks, &mut binder, memory, options);
        let mut uses = binder.uses;
        uses.sort_unstable();
        uses.dedup();
        let mut outcome = binder
            .rebinding
            .map_or_else(Outcome::default, |rebinding| rebinding.outcome);
        let image = match linked {
            Ok(image) => image,
            Err(error) => {
                state.remove_added(&outcome);
                return Err(match outcome.refusals.is_empty() {
                    true => error.into(),
                    false => Error::Refused(outcome.refusals),
                });
            }
        };
        if let Err(error) = state.add_stubs(&image, &mut outcome) {
            state.remove_added(&outcome);
            state.release(&image);
            return Err(error);
        }
        outcome.note_own_calls(&image, state.stubs.as_ref());
        Ok((image, uses, outcome))
    }

    fn open_fallbacks(&self) -> Vec<Input<'static>> {
        let mut archives = vec![builtins::archive()];
        if self.options.default_libraries {
            archives.extend(libraries::runtime_archives());
        }
        archives
    }

    /// Unloads a module: its destructors run, and its memory is freed.
    ///
    /// # Errors
    /// [`Error::InUse`] names the modules that are bound to it; they have to go first.
    ///
    /// # Safety
    /// No thread runs code of the module or will return to it, nobody uses its addresses any more, and no thread still
    /// has a thread-local object of the module whose destructor runs when the thread ends.
    pub unsafe fn unload(&self, module: ModuleId) -> Result<()> {
        let _turn = self.turn()?;
        let mut state = self.lock();
        let Some(found) = state.modules.get(&module) else {
            return Err(Error::NoSuchModule);
        };
        let mut users = if found.users > 0 {
            state.user_names(module)
        } else {
            Vec::new()
        };
        let aims = state.aims_without(module);
        for (function, _) in aims.iter().filter(|(_, next)| next.is_none()) {
            users.extend(state.callers(*function, &BTreeSet::from([module])));
        }
        if !users.is_empty() {
            users.sort_unstable();
            users.dedup();
            let module = found.name();
            return Err(Error::InUse { module, users });
        }
        state.aim(&aims)?;
        if state.stubs.is_some() {
            return self.unload_stubbed(state, module);
        }
        let Some(removed) = state.withdraw(module) else {
            return Err(Error::NoSuchModule);
        };
        // Destructors may use the session.
        drop(state);
        // SAFETY: the image is in memory until `discard`, and the author's code was trusted at the load.
        unsafe { removed.finalizer.run() };
        drop(removed.debugger);
        self.lock().discard(&removed.image);
        Ok(())
    }

    /// Gives a module up, with what is only there for it. Destructors run here, and the memory is freed when no thread
    /// can be in it.
    fn unload_stubbed(&self, mut state: Locked<'_>, module: ModuleId) -> Result<()> {
        let names = state.names_of(module);
        let uses = state
            .modules
            .get(&module)
            .map_or_else(Vec::new, |module| module.uses.clone());
        let finalizer = state.modules.get(&module).map(|module| Arc::clone(&module.finalizer));
        self.give_up(&mut state, module);
        // What had been superseded by it, and was kept for its storage or for a rollback, goes with it.
        for id in uses {
            if let Some(stubbed) = state.stubbed_mut(id)
                && stubbed.is_superseded
            {
                stubbed.is_held = false;
            }
        }
        self.retire_superseded(&mut state, module);
        self.remove_stubs(&mut state, &names);
        drop(state);
        if let Some(finalizer) = finalizer {
            // SAFETY: the image is in memory until it is reclaimed, and the author's code was trusted at the load.
            unsafe { finalizer.run() };
        }
        self.reclaim_some();
        Ok(())
    }

    /// The definition of a symbol.
    #[must_use]
    pub fn symbol(&self, name: &str) -> Option<Symbol> {
        let state = self.lock();
        let entry = state.symbols.get(name)?;
        let kind = match entry.target.kind {
            TargetKind::Function => SymbolKind::Function,
            TargetKind::Data(_) => SymbolKind::Data,
            TargetKind::Absolute => SymbolKind::Absolute,
            TargetKind::Tls { .. } => SymbolKind::Tls,
        };
        let stub = entry.function.zip(state.stubs.as_ref());
        Some(Symbol {
            address: stub.map_or(entry.target.address, |(function, stubs)| stubs.address(function)),
            size: entry.target.size,
            kind,
            module: entry.module,
        })
    }

    /// A function by its name.
    ///
    /// # Errors
    /// [`Error::NoSuchSymbol`] and [`Error::NotAFunction`].
    ///
    /// # Safety
    /// The function has the type `F`.
    pub unsafe fn function<F: FunctionPointer>(&self, name: &str) -> Result<Function<'_, F>> {
        let symbol = self.symbol(name).ok_or_else(|| Error::NoSuchSymbol(name.to_owned()))?;
        if symbol.kind != SymbolKind::Function {
            return Err(Error::NotAFunction(name.to_owned()));
        }
        // SAFETY: the caller's promise.
        Ok(unsafe { Function::new(symbol.address) })
    }

    /// Defines a symbol by its address, for modules loaded from now on.
    pub fn define(&self, name: &str, address: u64) {
        self.lock().absolutes.insert(name.into(), address);
    }

    /// Opens a shared library, whose symbols modules loaded from now on may use.
    ///
    /// # Errors
    /// [`Error::Library`] with the dynamic linker's reason.
    ///
    /// # Safety
    /// The library's constructors run here; the caller trusts them.
    pub unsafe fn open_library(&self, name: &str) -> Result<()> {
        self.lock().host.open(name).map_err(Error::Library)
    }

    /// Calls a `main`-like function with the session's [arguments](Builder::arguments) and the environment.
    ///
    /// As in an ordinary program, nothing lies behind `main`: a C++ exception that it lets out ends the process by
    /// `std::terminate`, and `pthread_exit` in it ends the thread.
    ///
    /// # Errors
    /// [`Error::NoSuchSymbol`] and [`Error::NotAFunction`].
    ///
    /// # Safety
    /// The function has the type `int (int, char **, char **)`, or one that ignores some of these parameters.
    pub unsafe fn run_main(&self, name: &str) -> Result<c_int> {
        // SAFETY: the caller's promise.
        let main = unsafe { self.function::<run::Main>(name) }?;
        // SAFETY: the caller's promise.
        Ok(unsafe {
            run::call_main(
                *main,
                self.arguments.count(),
                self.arguments.pointer(),
                run::environment(),
            )
        })
    }

    /// Where a module's parts are, as far as [`Builder::detail`] asked for.
    #[must_use]
    pub fn image(&self, module: ModuleId) -> Option<Arc<Image>> {
        self.lock().modules.get(&module).map(|module| Arc::clone(&module.image))
    }

    /// Tells `found` the function that an address lies in, its offset in that function, and the object it is from.
    /// Returns whether there is one; local functions are known with [`Detail::Full`] only.
    ///
    /// It neither allocates nor waits, so that a signal handler may call it. While another thread loads or unloads, it
    /// finds nothing.
    pub fn function_at(&self, address: u64, found: impl FnOnce(&str, u64, &str)) -> bool {
        let Ok(state) = self.state.try_lock() else {
            return false;
        };
        let modules = state.modules.values().filter(|module| {
            let placement = &module.image.placement;
            let code = restub_loader::SegmentKind::Code as usize;
            address.wrapping_sub(placement.addresses[code]) < placement.sizes[code].total_bytes
        });
        let symbols = modules.flat_map(|module| {
            let functions = module.image.symbols.iter().filter(|s| s.kind == SymbolKind::Function);
            functions.map(|symbol| (symbol, &module.image.objects))
        });
        // Functions written in assembly may have no size; the others are not larger than they say.
        let near = symbols.filter(|(symbol, _)| {
            let offset = address.wrapping_sub(symbol.address);
            offset < symbol.size || (symbol.size == 0 && offset < UNSIZED_BYTES)
        });
        let Some((symbol, objects)) = near.max_by_key(|(symbol, _)| symbol.address) else {
            return false;
        };
        let object = objects.get(symbol.object as usize).map_or("", String::as_str);
        found(&symbol.name, address - symbol.address, object);
        true
    }

    /// The loaded modules, in the order in which they were loaded.
    #[must_use]
    pub fn modules(&self) -> Vec<ModuleId> {
        self.lock().modules.keys().copied().collect()
    }

    /// What the session holds.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let state = self.lock();
        let (image_bytes, arenas) = state.memory.usage();
        let (stubs, unbound_stubs, stub_bytes) = state.stubs.as_ref().map_or((0, 0, 0), Stubs::stats);
        Stats {
            modules: state.modules.len(),
            symbols: state.symbols.len(),
            image_bytes,
            arenas,
            stubs,
            unbound_stubs,
            stub_bytes,
            reclaim: self.reclaimer.stats(),
        }
    }

    /// The versions of a function that there have been, the oldest first: at most 32.
    #[must_use]
    pub fn history(&self, name: &str) -> Vec<Version> {
        let state = self.lock();
        let Some(stubs) = &state.stubs else {
            return Vec::new();
        };
        let mut versions = stubs.id(name).map_or_else(Vec::new, |id| stubs.history(id));
        let current = state
            .symbols
            .get(name)
            .map(|entry| (entry.module, entry.target.address));
        for version in &mut versions {
            version.state = match version.module {
                module if current == Some((module, version.address)) => VersionState::Current,
                module if state.modules.contains_key(&module) => VersionState::Kept,
                _ => VersionState::Gone,
            };
        }
        versions
    }

    pub(crate) fn reclaimer(&self) -> &Reclaimer<Retired> {
        &self.reclaimer
    }

    pub(crate) fn gate(&self) -> &Gate {
        &self.gate
    }

    pub(crate) fn reclaim(&self) -> &Reclaim {
        &self.options.reclaim
    }

    pub(crate) fn versions(&self) -> usize {
        self.options.versions
    }

    pub(crate) fn arguments(&self) -> &Arguments {
        &self.arguments
    }

    pub(crate) fn finalizes_at_exit(&self) -> bool {
        self.options.finalize_at_exit
    }

    pub(crate) fn tells_gdb(&self) -> bool {
        self.options.gdb
    }

    pub(crate) fn tells_perf(&self) -> bool {
        self.options.perf
    }

    pub(crate) fn retire(&self, item: Retired, bytes: u64) {
        self.retired.fetch_add(1, Ordering::Relaxed);
        self.reclaimer.retire(item, bytes);
    }

    pub(crate) fn has_retired(&self) -> bool {
        self.retired.load(Ordering::Relaxed) > 0
    }

    pub(crate) fn note_reclaimed(&self) {
        self.retired.fetch_sub(1, Ordering::Relaxed);
    }

    /// Waits until no other thread replaces or unloads modules.
    pub(crate) fn turn(&self) -> Result<Turn<'_>> {
        let me = (rustix::thread::gettid().as_raw_nonzero().get(), crate::fork::count());
        let since = Instant::now();
        loop {
            let mut state = self.lock();
            match state.turn {
                Some(turn) if turn == me => return Err(Error::Nested),
                // A thread of the process that this one was forked from is not here to finish.
                Some((_, forks)) if forks == me.1 => {}
                _ => {
                    state.turn = Some(me);
                    return Ok(Turn { session: self });
                }
            }
            drop(state);
            std::thread::sleep(pause(since));
        }
    }

    pub(crate) fn lock(&self) -> Locked<'_> {
        let operation = Operation::begin();
        // A panic under the lock is a bug of restub's; what it protects is changed only by complete steps.
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        Locked {
            state,
            _operation: operation,
        }
    }
}

/// The right to replace and unload modules.
#[derive(Debug)]
pub(crate) struct Turn<'session> {
    session: &'session Session,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.session.lock().turn = None;
    }
}

/// A session's state, for the length of one operation.
#[derive(Debug)]
pub(crate) struct Locked<'session> {
    // Dropped first: until the state is unlocked, no child may be made of this process.
    state: MutexGuard<'session, State>,
    _operation: Operation,
}

impl Deref for Locked<'_> {
    type Target = State;

    fn deref(&self) -> &State {
        &self.state
    }
}

impl DerefMut for Locked<'_> {
    fn deref_mut(&mut self) -> &mut State {
        &mut self.state
    }
}

impl Default for Session {
    fn default() -> Self {
        Session::new()
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        for module in self.modules().into_iter().rev() {
            let removed = self.lock().withdraw(module);
            let Some(removed) = removed else { continue };
            // SAFETY: whoever loaded the module promised that it is not in use when the session is dropped.
            unsafe { removed.finalizer.run() };
            drop(removed.debugger);
            self.lock().discard(&removed.image);
        }
        // Nobody is pinned any more, unless a pin was forgotten.
        const ROUNDS: usize = 8;
        for _ in 0..ROUNDS {
            let collected = self.collect_without_scan();
            if collected == 0 && !self.has_retired() {
                return;
            }
        }
        if self.has_retired() {
            // What a forgotten pin holds stays registered with the unwinder, so its memory has to stay, too.
            self.lock().memory.leak();
        }
    }
}

/// The address of a symbol of this process, as `dlsym` gives it.
#[must_use]
pub fn host_symbol(name: &str) -> Option<u64> {
    host::dlsym(name, None)
}
