//! The session: modules that are loaded into this process, and the symbols that they define.

use std::ffi::c_int;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

use restub_loader::{Detail, Image, Input, Options, SymbolKind, TargetKind};
use restub_stubs::{ReclaimStats, Reclaimer};

use crate::batch::Pending;
use crate::binder::Binder;
use crate::builder::{Builder, Linkage};
use crate::error::{Error, Result};
use crate::fork::Operation;
use crate::function::{Function, FunctionPointer};
use crate::host::{self};
use crate::pin::Gate;
use crate::rebind::{Outcome, Purpose, Rebinding};
use crate::retire::{Exposed, Retired};
use crate::run::{self, Arguments};
use crate::state::{ModuleId, State};
use crate::stubs::{Stubs, Version, VersionState};
use crate::{builtins, libraries, thread_exit};

/// How far behind a symbol without a size an address may be and still be said to lie in it.
const UNSIZED_BYTES: u64 = 4096;

/// Loaded modules and their symbols.
///
/// Every method takes `&self`, and may be called from any thread. Dropping a session unloads all of its modules, the
/// last one first.
#[derive(Debug)]
pub struct Session {
    inner: Arc<Inner>,
    /// Not so for the handles by which lazy functions reach their session.
    is_owner: bool,
}

#[derive(Debug)]
pub(crate) struct Inner {
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
    /// Bytes of superseded modules that stay because memory may hold their addresses: see [`Exposed`](crate::Exposed).
    pub kept_bytes: u64,
    /// Modules and stubs that were given up, those of them that have been freed, and the oldest pin, which holds the rest.
    pub reclaim: ReclaimStats,
}

impl Session {
    pub(crate) fn assemble(state: State, options: Builder, arguments: Arguments) -> Self {
        let inner = Inner {
            state: Mutex::new(state),
            options,
            arguments,
            fallbacks: OnceLock::new(),
            reclaimer: Reclaimer::new(),
            gate: Gate::default(),
            retired: AtomicUsize::new(0),
        };
        Session {
            inner: Arc::new(inner),
            is_owner: true,
        }
    }

    /// A session with [`Protection::Strict`](crate::Protection::Strict) and no default libraries.
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
        // SAFETY: the caller's promise.
        let modules = unsafe { self.load_batch(&[inputs]) }?;
        Ok(modules[0])
    }

    /// Loads objects as several modules at once, which may call each other's functions, so that each can be replaced as a
    /// whole; their constructors have run on return, in the order of the modules.
    ///
    /// If one uses a variable of another, that one must not use variables of the first.
    ///
    /// # Errors
    /// Those of [`load`](Session::load), and [`Error::NoStubs`] if the session was not built with
    /// [`Linkage::Stubs`](crate::Linkage::Stubs). Nothing is loaded then.
    ///
    /// # Safety
    /// As for [`load`](Session::load).
    pub unsafe fn load_each(&self, modules: &[&[Input<'_>]]) -> Result<Vec<ModuleId>> {
        if self.options().linkage != Linkage::Stubs {
            return Err(Error::NoStubs);
        }
        // SAFETY: the caller's promise.
        unsafe { self.load_batch(modules) }
    }

    unsafe fn load_batch(&self, units: &[&[Input<'_>]]) -> Result<Vec<ModuleId>> {
        self.reclaim_some();
        let mut state = self.lock();
        // SAFETY: the caller's promise.
        let batch = unsafe { self.make_batch(&mut state, units, Purpose::Load) }?;
        let aims = state.aims_of_batch(&batch);
        if let Err(error) = state.aim(&aims) {
            state.unmake_batch(batch);
            return Err(error);
        }
        let modules = state.publish_batch(batch);
        let parts: Vec<_> = modules.iter().filter_map(|id| state.modules.get(id)).collect();
        let parts: Vec<_> = parts
            .iter()
            .map(|module| (Arc::clone(&module.image), Arc::clone(&module.finalizer)))
            .collect();
        // Another thread may replace a module while its constructors run.
        let _guard = (self.options().linkage == Linkage::Stubs).then(|| self.reclaimer().pin());
        // Constructors may load modules of their own.
        drop(state);
        for (image, finalizer) in parts {
            if self.options().finalize_at_exit {
                finalizer.run_at_exit();
            }
            // SAFETY: the image is ready to run, and the caller trusts the code.
            unsafe { run::construct(&image, &self.inner.arguments) };
        }
        Ok(modules)
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
            limits: self.inner.options.limits,
            ..Options::default()
        };
        let (image, _, outcome) = self.link(&mut state, inputs, &options, Purpose::Load, &Pending::default())?;
        state.remove_unheard(&outcome.added);
        state.release(&image);
        state.check_duplicates(&image)?;
        Ok(image)
    }

    pub(crate) fn link_options(&self) -> Options {
        let detail = if self.inner.options.gdb || self.inner.options.perf {
            Detail::Full
        } else {
            self.inner.options.detail
        };
        Options {
            detail,
            debug: self.inner.options.gdb,
            limits: self.inner.options.limits,
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
        pending: &Pending,
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
        let own_directly = self.inner.options.own_directly;
        let rebinding = stubs.as_mut().map(|stubs| Rebinding {
            stubs,
            modules,
            purpose,
            pending,
            own_directly,
            outcome: Outcome::default(),
        });
        let mut binder = Binder {
            host,
            symbols,
            absolutes,
            tried,
            defaults: self.inner.options.default_libraries,
            uses: Vec::new(),
            rebinding,
        };
        let fallbacks = || self.inner.fallbacks.get_or_init(|| self.open_fallbacks()).as_slice();
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
                state.remove_unheard(&outcome.added);
                return Err(match outcome.refusals.is_empty() {
                    true => error.into(),
                    false => Error::Refused(outcome.refusals),
                });
            }
        };
        if let Err(error) = state.add_stubs(&image, &mut outcome) {
            state.remove_unheard(&outcome.added);
            state.release(&image);
            return Err(error);
        }
        outcome.note_own_calls(&image, state.stubs.as_ref());
        Ok((image, uses, outcome))
    }

    fn open_fallbacks(&self) -> Vec<Input<'static>> {
        let mut archives = vec![builtins::archive()];
        if self.inner.options.default_libraries {
            archives.extend(libraries::runtime_archives());
        }
        archives
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
                self.inner.arguments.count(),
                self.inner.arguments.pointer(),
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
        // Else a child that is made at this moment would have the state locked for ever.
        let Some(_operation) = Operation::try_begin() else {
            return false;
        };
        let Ok(state) = self.inner.state.try_lock() else {
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
            kept_bytes: state.kept_bytes,
            reclaim: self.inner.reclaimer.stats(),
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

    /// What lazy functions hold of their session.
    pub(crate) fn downgrade(&self) -> Weak<Inner> {
        Arc::downgrade(&self.inner)
    }

    /// A handle of a session that is still there.
    pub(crate) fn upgrade(inner: &Weak<Inner>) -> Option<Session> {
        let inner = inner.upgrade()?;
        Some(Session { inner, is_owner: false })
    }

    pub(crate) fn reclaimer(&self) -> &Reclaimer<Retired> {
        &self.inner.reclaimer
    }

    pub(crate) fn gate(&self) -> &Gate {
        &self.inner.gate
    }

    pub(crate) fn options(&self) -> &Builder {
        &self.inner.options
    }

    pub(crate) fn arguments(&self) -> &Arguments {
        &self.inner.arguments
    }

    pub(crate) fn retire(&self, item: Retired, bytes: u64) {
        self.inner.retired.fetch_add(1, Ordering::Relaxed);
        self.inner.reclaimer.retire(item, bytes);
    }

    pub(crate) fn has_retired(&self) -> bool {
        self.inner.retired.load(Ordering::Relaxed) > 0
    }

    pub(crate) fn note_reclaimed(&self) {
        self.inner.retired.fetch_sub(1, Ordering::Relaxed);
    }

    pub(crate) fn lock(&self) -> Locked<'_> {
        let operation = Operation::begin();
        // A panic under the lock is a bug of restub's; what it protects is changed only by complete steps.
        let state = self.inner.state.lock().unwrap_or_else(PoisonError::into_inner);
        Locked {
            state,
            _operation: operation,
        }
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
        if !self.is_owner {
            return;
        }
        for module in self.modules().into_iter().rev() {
            let removed = self.lock().withdraw(module);
            let Some(removed) = removed else { continue };
            if thread_exit::count(removed.image.dso_handle) > 0 {
                self.lock().lingering.push((removed, Exposed::Free));
                continue;
            }
            // SAFETY: whoever loaded the module promised that it is not in use when the session is dropped.
            unsafe { removed.finalizer.run() };
            drop(removed.debugger);
            self.lock().discard(&removed.image);
        }
        let kept = std::mem::take(&mut self.lock().kept);
        for module in kept {
            // SAFETY: as above.
            unsafe { module.finalizer.run() };
            drop(module.debugger);
            self.lock().discard(&module.image);
        }
        // Nobody is pinned any more, unless a pin was forgotten.
        const ROUNDS: usize = 8;
        for _ in 0..ROUNDS {
            let collected = self.collect_without_scan();
            if collected == 0 && !self.has_retired() {
                break;
            }
        }
        if self.has_retired() || !self.lock().lingering.is_empty() {
            // What a forgotten pin holds stays registered with the unwinder, and what threads have objects of is called when
            // they end, so the memory has to stay, too.
            self.lock().memory.leak();
        }
    }
}

/// The address of a symbol of this process, as `dlsym` gives it.
#[must_use]
pub fn host_symbol(name: &str) -> Option<u64> {
    host::dlsym(name, None)
}
