//! The session: modules that are loaded into this process, and the symbols that they define.

use std::collections::BTreeMap;
use std::ffi::{OsString, c_int};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use restub_loader::{
    CopyRule, Detail, Image, ImageSymbol, Input, Limits, Memory as _, Options, Request, Resolver, SymbolBinding,
    SymbolKind, Target, TargetKind, TlsRequest,
};
use rustc_hash::FxHashMap;

use crate::error::{Error, Result};
use crate::function::{Function, FunctionPointer};
use crate::host::{self, Host};
use crate::memory::{ProcessMemory, Protection};
use crate::run::{self, Arguments, Finalizer};
use crate::unwind::UnwindTables;
use crate::{builtins, libraries, tls};

/// Names a loaded module; never reused within a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ModuleId(u64);

/// How a session behaves; [`Session::builder`] makes one.
#[derive(Debug, Clone, Default)]
pub struct Builder {
    protection: Protection,
    detail: Detail,
    limits: Limits,
    default_libraries: bool,
    finalize_at_exit: bool,
    arguments: Option<Vec<OsString>>,
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

    /// Makes the session. Address space is reserved by the first load.
    #[must_use]
    pub fn build(self) -> Session {
        let mut host = Host::default();
        let memory = ProcessMemory::new(self.protection, host.library_range());
        let arguments = Arguments::new(self.arguments.clone().unwrap_or_else(|| std::env::args_os().collect()));
        let state = State {
            memory,
            unwind: UnwindTables::new(!host.has_version("libgcc_s.so", "GCC_13.0.0")),
            host,
            modules: BTreeMap::new(),
            symbols: FxHashMap::default(),
            shadowed: Vec::new(),
            absolutes: FxHashMap::default(),
            next_module: 0,
            tried: Vec::new(),
        };
        Session {
            state: Mutex::new(state),
            options: self,
            arguments,
            fallbacks: OnceLock::new(),
        }
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
}

#[derive(Debug)]
struct State {
    memory: ProcessMemory,
    unwind: UnwindTables,
    host: Host,
    modules: BTreeMap<ModuleId, Module>,
    symbols: FxHashMap<Box<str>, Entry>,
    /// Weak definitions that a later strong one stands before.
    shadowed: Vec<(Box<str>, Entry)>,
    absolutes: FxHashMap<Box<str>, u64>,
    next_module: u64,
    /// Default libraries that have been opened, or are not there.
    tried: Vec<&'static str>,
}

#[derive(Debug)]
struct Module {
    image: Arc<Image>,
    /// The modules that this one is bound to.
    uses: Vec<ModuleId>,
    finalizer: Arc<Finalizer>,
}

/// A symbol that a module defines.
#[derive(Debug, Clone, Copy)]
struct Entry {
    module: ModuleId,
    target: Target,
    weak: bool,
}

/// A symbol of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Symbol {
    /// The address; for thread-local variables the offset in the module's block.
    pub address: u64,
    /// The size in bytes.
    pub size: u64,
    /// What it is.
    pub kind: SymbolKind,
    /// The module that defines it.
    pub module: ModuleId,
}

/// What a session holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stats {
    /// Loaded modules.
    pub modules: usize,
    /// Symbols that they define.
    pub symbols: usize,
    /// Bytes of code, constants and data.
    pub image_bytes: u64,
    /// Reserved address ranges.
    pub arenas: usize,
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

    /// Loads objects and the archive members that they need, as one module; its constructors have run on return.
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
        let mut state = self.lock();
        state.host.refresh();
        let (image, uses) = self.link(&mut state, inputs, self.options.detail, false)?;
        let prepared = state.check_duplicates(&image).and_then(|()| {
            // SAFETY: the caller trusts the code.
            unsafe { state.prepare(&image) }
        });
        if let Err(error) = prepared {
            state.release(&image);
            return Err(error);
        }
        let finalizer = Finalizer::new(&image);
        if let Some((address, _)) = image.eh_frame {
            // SAFETY: the image stays in memory until `discard`, which removes the table first.
            unsafe { state.unwind.add(address) };
        }
        let image = Arc::new(image);
        let id = state.publish(Module {
            image: Arc::clone(&image),
            uses,
            finalizer: Arc::clone(&finalizer),
        });
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
        let (image, _) = self.link(&mut state, inputs, Detail::Full, true)?;
        state.discard(&image);
        state.check_duplicates(&image)?;
        Ok(image)
    }

    fn link(
        &self,
        state: &mut State,
        inputs: &[Input<'_>],
        detail: Detail,
        trace: bool,
    ) -> Result<(Image, Vec<ModuleId>)> {
        let State {
            memory,
            host,
            symbols,
            absolutes,
            tried,
            ..
        } = state;
        let options = Options {
            detail,
            trace,
            limits: self.options.limits,
            ..Options::default()
        };
        let defaults = self.options.default_libraries;
        let mut binder = Binder {
            host,
            symbols,
            absolutes,
            tried,
            defaults,
            uses: Vec::new(),
        };
        let fallbacks = || self.fallbacks.get_or_init(|| self.open_fallbacks()).as_slice();
        let image = restub_loader::link(inputs, fallbacks, &mut binder, memory, &options)?;
        Ok((image, binder.uses))
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
    /// No thread runs code of the module or will return to it, and nobody uses its addresses any more.
    pub unsafe fn unload(&self, module: ModuleId) -> Result<()> {
        let mut state = self.lock();
        let users: Vec<String> = state.users(module).map(Module::name).collect();
        let Some(found) = state.modules.get(&module) else {
            return Err(Error::NoSuchModule);
        };
        if !users.is_empty() {
            return Err(Error::InUse {
                module: found.name(),
                users,
            });
        }
        let Some(removed) = state.withdraw(module) else {
            return Err(Error::NoSuchModule);
        };
        // Destructors may use the session.
        drop(state);
        // SAFETY: the image is in memory until `discard`, and the author's code was trusted at the load.
        unsafe { removed.finalizer.run() };
        self.lock().discard(&removed.image);
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
        Some(Symbol {
            address: entry.target.address,
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
    /// # Errors
    /// [`Error::NoSuchSymbol`] and [`Error::NotAFunction`].
    ///
    /// # Safety
    /// The function has the type `int (int, char **, char **)`, or one that ignores some of these parameters.
    pub unsafe fn run_main(&self, name: &str) -> Result<c_int> {
        type Main =
            unsafe extern "C-unwind" fn(c_int, *const *const std::ffi::c_char, *const *const std::ffi::c_char) -> c_int;
        // SAFETY: the caller's promise.
        let main = unsafe { self.function::<Main>(name) }?;
        // SAFETY: the caller's promise.
        Ok(unsafe { main(self.arguments.count(), self.arguments.pointer(), run::environment()) })
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
        let symbols = state.modules.values().flat_map(|module| {
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
        Stats {
            modules: state.modules.len(),
            symbols: state.symbols.len(),
            image_bytes,
            arenas,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic under the lock is a bug of restub's; what it protects is changed only by complete steps.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
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
            self.lock().discard(&removed.image);
        }
    }
}

impl Module {
    fn name(&self) -> String {
        match self.image.objects.as_slice() {
            [one] => one.clone(),
            [first, rest @ ..] => format!("{first} (and {} more)", rest.len()),
            [] => "empty module".into(),
        }
    }
}

impl State {
    fn check_duplicates(&self, image: &Image) -> Result<()> {
        for symbol in image
            .symbols
            .iter()
            .filter(|symbol| symbol.binding == SymbolBinding::Strong)
        {
            if let Some(entry) = self.symbols.get(&symbol.name)
                && !entry.weak
            {
                let first = self.modules.get(&entry.module).map_or_else(String::new, Module::name);
                let second = image.objects.get(symbol.object as usize).cloned().unwrap_or_default();
                return Err(restub_loader::Error::Duplicate {
                    symbol: symbol.name.to_string(),
                    first,
                    second,
                }
                .into());
            }
        }
        Ok(())
    }

    /// Makes a linked image ready to run: its thread-local variables and its IFUNCs.
    ///
    /// # Safety
    /// The author's IFUNC resolvers may be called.
    unsafe fn prepare(&mut self, image: &Image) -> Result<()> {
        if let Some(tls) = &image.tls {
            tls::activate(tls)?;
        }
        for ifunc in &image.ifuncs {
            // SAFETY: the image is finalized, and the caller trusts the resolver.
            let implementation = unsafe { run::resolve(ifunc) };
            self.memory
                .write(&image.placement, ifunc.slot, &implementation.to_le_bytes())?;
        }
        Ok(())
    }

    fn publish(&mut self, module: Module) -> ModuleId {
        let id = ModuleId(self.next_module);
        self.next_module += 1;
        for symbol in module
            .image
            .symbols
            .iter()
            .filter(|symbol| symbol.binding != SymbolBinding::Local)
        {
            let entry = Entry {
                module: id,
                target: target(&module.image, symbol),
                weak: symbol.binding == SymbolBinding::Weak,
            };
            if let Some(old) = self.symbols.insert(symbol.name.clone(), entry) {
                self.shadowed.push((symbol.name.clone(), old));
            }
        }
        self.modules.insert(id, module);
        id
    }

    /// Takes a module's symbols back, and the module out of the session. Its memory stays.
    fn withdraw(&mut self, id: ModuleId) -> Option<Module> {
        let module = self.modules.remove(&id)?;
        self.shadowed.retain(|(_, entry)| entry.module != id);
        for symbol in module
            .image
            .symbols
            .iter()
            .filter(|symbol| symbol.binding != SymbolBinding::Local)
        {
            if self.symbols.get(&symbol.name).is_some_and(|entry| entry.module == id) {
                self.symbols.remove(&symbol.name);
                if let Some(at) = self.shadowed.iter().rposition(|(name, _)| *name == symbol.name) {
                    let (name, entry) = self.shadowed.remove(at);
                    self.symbols.insert(name, entry);
                }
            }
        }
        Some(module)
    }

    /// Frees a module that was published, and withdrawn since.
    fn discard(&mut self, image: &Image) {
        if let Some((address, _)) = image.eh_frame {
            self.unwind.remove(address);
        }
        self.release(image);
    }

    /// Frees an image that nothing knows of.
    fn release(&mut self, image: &Image) {
        if let Some(tls) = &image.tls {
            let request = TlsRequest {
                size_bytes: tls.size_bytes,
                align: tls.align,
                fixed_offset: tls.placement.block_offset.is_some(),
            };
            self.memory.free_tls(&tls.placement, &request);
        }
        self.memory.free(&image.placement);
    }

    fn users(&self, id: ModuleId) -> impl Iterator<Item = &Module> {
        self.modules
            .range(id..)
            .map(|(_, module)| module)
            .filter(move |module| module.uses.contains(&id))
    }
}

/// What others see of a module's symbol.
fn target(image: &Image, symbol: &ImageSymbol) -> Target {
    let kind = match symbol.kind {
        SymbolKind::Function => TargetKind::Function,
        // A copy of another module's variable would go stale.
        SymbolKind::Data | SymbolKind::Synthetic => TargetKind::Data(CopyRule::Stale),
        SymbolKind::Absolute => TargetKind::Absolute,
        SymbolKind::Tls => {
            let placement = image.tls.map(|tls| tls.placement);
            TargetKind::Tls {
                module: placement.map_or(0, |placement| placement.module),
                block_offset: placement.and_then(|placement| placement.block_offset),
            }
        }
    };
    Target {
        address: symbol.address,
        size: symbol.size,
        kind,
    }
}

/// Binds the names of one load.
struct Binder<'a> {
    host: &'a mut Host,
    symbols: &'a FxHashMap<Box<str>, Entry>,
    absolutes: &'a FxHashMap<Box<str>, u64>,
    tried: &'a mut Vec<&'static str>,
    defaults: bool,
    uses: Vec<ModuleId>,
}

impl Resolver for Binder<'_> {
    fn earlier(&mut self, name: &[u8]) -> Option<Target> {
        if self.symbols.is_empty() {
            return None;
        }
        let entry = self.symbols.get(std::str::from_utf8(name).ok()?)?;
        if !self.uses.contains(&entry.module) {
            self.uses.push(entry.module);
        }
        Some(entry.target)
    }

    fn external(&mut self, request: Request<'_>) -> Option<Target> {
        let name = std::str::from_utf8(request.name).ok()?;
        let version = request.version.map(std::str::from_utf8).transpose().ok()?;
        if let Some(&address) = self.absolutes.get(name) {
            return Some(Target {
                address,
                size: 0,
                kind: TargetKind::Absolute,
            });
        }
        if name == "__tls_get_addr" {
            return Some(Target {
                address: tls::get_address_function(),
                size: 0,
                kind: TargetKind::Function,
            });
        }
        if builtins::defines(name) {
            return None;
        }
        self.host
            .find(name, version, request.fixed_offset)
            .or_else(|| self.find_hidden(name))
            .or_else(|| self.find_in_default(name, &request))
    }
}

impl Binder<'_> {
    /// libgcc_s keeps these for old programs only, under a version that is not the default.
    fn find_hidden(&mut self, name: &str) -> Option<Target> {
        const VERSIONED: [(&str, &str); 2] = [("__cpu_model", "GCC_4.8.0"), ("__cpu_indicator_init", "GCC_4.8.0")];
        let (_, version) = VERSIONED.iter().find(|(known, _)| *known == name)?;
        self.host.find(name, Some(version), false)
    }

    fn find_in_default(&mut self, name: &str, request: &Request<'_>) -> Option<Target> {
        if !self.defaults || request.weak {
            return None;
        }
        for library in libraries::candidates(name) {
            if self.tried.contains(&library) {
                continue;
            }
            self.tried.push(library);
            if self.host.open(library).is_ok()
                && let Some(target) = self.host.find(name, None, request.fixed_offset)
            {
                return Some(target);
            }
        }
        None
    }
}

/// The address of a symbol of this process, as `dlsym` gives it.
#[must_use]
pub fn host_symbol(name: &str) -> Option<u64> {
    host::dlsym(name, None)
}
