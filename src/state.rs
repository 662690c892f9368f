//! What a session knows: its modules, and the symbols that they define.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::sync::Arc;

use restub_loader::{
    CopyRule, Image, ImageDefinition, ImageSymbol, Memory as _, OwnKind, SegmentKind, SymbolBinding, SymbolKind,
    Target, TargetKind, TlsRequest,
};
use rustc_hash::FxHashMap;

use crate::error::Result;
use crate::host::Host;
use crate::memory::ProcessMemory;
use crate::rebind::{Fate, Outcome};
use crate::retire::Exposed;
use crate::run::{self, Finalizer};
use crate::stubs::{Aim, FunctionId, Stubs};
use crate::unwind::UnwindTables;
use crate::{debugger, tls};

/// Names a loaded module; never reused within a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ModuleId(u64);

impl ModuleId {
    /// No module.
    pub(crate) const NONE: ModuleId = ModuleId(u64::MAX);
}

#[derive(Debug)]
pub(crate) struct State {
    pub(crate) memory: ProcessMemory,
    pub(crate) unwind: UnwindTables,
    pub(crate) host: Host,
    pub(crate) modules: BTreeMap<ModuleId, Module>,
    pub(crate) symbols: FxHashMap<Box<str>, Entry>,
    /// Definitions that another one stands before, the first to come next last.
    pub(crate) spares: FxHashMap<Box<str>, Vec<Entry>>,
    /// Modules that no thread can call any more, but of which threads have objects that are destroyed when they end.
    pub(crate) lingering: Vec<(Module, Exposed)>,
    /// Modules that stay because memory may hold addresses of their functions.
    pub(crate) kept: Vec<Module>,
    /// Bytes of these, and of constants and variables that stay without their module.
    pub(crate) kept_bytes: u64,
    /// The thread that is replacing or unloading modules, and how often the process had forked when it began.
    pub(crate) turn: Option<(i32, u64)>,
    /// Functions that are called through stubs, if the session has them.
    pub(crate) stubs: Option<Stubs>,
    pub(crate) absolutes: FxHashMap<Box<str>, u64>,
    pub(crate) next_module: u64,
    /// Default libraries that have been opened, or are not there.
    pub(crate) tried: Vec<&'static str>,
}

#[derive(Debug)]
pub(crate) struct Module {
    pub(crate) image: Arc<Image>,
    /// The modules that this one is bound to, each once.
    pub(crate) uses: Vec<ModuleId>,
    /// How many modules are bound to this one.
    pub(crate) users: usize,
    pub(crate) finalizer: Arc<Finalizer>,
    /// Held for its drop.
    pub(crate) debugger: Option<debugger::Registration>,
    /// What more there is to know in a session with stubs.
    pub(crate) stubbed: Option<Box<Stubbed>>,
}

/// What a session with stubs knows of a module in addition.
#[derive(Debug, Default)]
pub(crate) struct Stubbed {
    /// The functions that it calls, or takes the address of, each once.
    pub(crate) calls: Vec<FunctionId>,
    /// Its local variables.
    pub(crate) statics: Vec<Static>,
    /// Constants of other modules that it is bound to.
    pub(crate) constants: Vec<Box<str>>,
    /// How many names it is what others get for.
    pub(crate) live: usize,
    /// Nothing of it is current any more, except for storage that others keep using.
    pub(crate) is_superseded: bool,
    /// What it superseded.
    pub(crate) supersedes: Vec<(Box<str>, Entry)>,
    /// The modules that it superseded wholly.
    pub(crate) predecessors: Vec<ModuleId>,
    /// Whether it is kept for a rollback.
    pub(crate) is_held: bool,
}

/// A local variable.
#[derive(Debug, Clone)]
pub(crate) struct Static {
    /// Its place in the definitions of its module's image.
    pub(crate) definition: usize,
    pub(crate) name: Box<str>,
    /// The source file.
    pub(crate) file: Box<str>,
    /// Where its storage is.
    pub(crate) target: Target,
    /// The module whose storage that is.
    pub(crate) owner: ModuleId,
}

/// A symbol that a module defines.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Entry {
    pub(crate) module: ModuleId,
    pub(crate) target: Target,
    pub(crate) weak: bool,
    /// The stub through which it is called, if it is.
    pub(crate) function: Option<FunctionId>,
}

impl Entry {
    /// A function that is called through its stub and has no module yet: any definition takes its place.
    pub(crate) fn to_come(function: FunctionId, address: u64, size: u64) -> Self {
        Entry {
            module: ModuleId::NONE,
            target: Target {
                address,
                size,
                kind: TargetKind::Function,
            },
            weak: true,
            function: Some(function),
        }
    }
}

impl Module {
    pub(crate) fn name(&self) -> String {
        run::module_name(&self.image.objects)
    }
}

impl State {
    pub(crate) fn check_duplicates(&self, image: &Image) -> Result<()> {
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
    pub(crate) unsafe fn prepare(&mut self, image: &Image) -> Result<()> {
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

    /// Takes a module into the session, with the symbols that it defines. Stubs lead there once they are [aimed](State::aim).
    pub(crate) fn publish(&mut self, id: ModuleId, module: Module) {
        self.insert(id, module);
        let image = Arc::clone(&self.modules[&id].image);
        for symbol in image
            .symbols
            .iter()
            .filter(|symbol| symbol.binding != SymbolBinding::Local)
        {
            let entry = Entry {
                module: id,
                target: target(&image, symbol),
                weak: symbol.binding == SymbolBinding::Weak,
                function: None,
            };
            if let Some(old) = self.symbols.insert(symbol.name.clone(), entry) {
                self.spares.entry(symbol.name.clone()).or_default().push(old);
            }
        }
    }

    /// As [`publish`](State::publish), in a session with stubs, which have been aimed.
    pub(crate) fn publish_stubbed(&mut self, id: ModuleId, module: Module, mut outcome: Outcome) {
        let image = Arc::clone(&module.image);
        self.insert(id, module);
        let mut supersedes = Vec::new();
        let mut live = 0;
        for (definition, fate) in image.definitions.iter().zip(&outcome.fates) {
            if matches!(fate, Fate::Local | Fate::Kept) {
                continue;
            }
            let entry = self.entry(id, &image, definition);
            if *fate == Fate::Spare {
                self.spares.entry(definition.name.clone()).or_default().insert(0, entry);
                continue;
            }
            live += 1;
            if let (Some(function), Some(stubs)) = (entry.function, &mut self.stubs) {
                stubs.remember(function, id, definition.address, definition.size);
            }
            if let Some(old) = self.symbols.insert(definition.name.clone(), entry) {
                self.count_live(old.module, -1);
                if outcome.replaced.contains(&old.module) {
                    supersedes.push((definition.name.clone(), old));
                } else {
                    self.spares.entry(definition.name.clone()).or_default().push(old);
                }
            }
        }
        for symbol in image
            .symbols
            .iter()
            .filter(|symbol| symbol.kind == SymbolKind::Absolute)
        {
            if symbol.binding != SymbolBinding::Local {
                let (target, weak) = (target(&image, symbol), symbol.binding == SymbolBinding::Weak);
                let entry = Entry {
                    module: id,
                    target,
                    weak,
                    function: None,
                };
                live += 1;
                if let Some(old) = self.symbols.insert(symbol.name.clone(), entry) {
                    self.count_live(old.module, -1);
                    supersedes.push((symbol.name.clone(), old));
                }
            }
        }
        for variable in outcome
            .statics
            .iter_mut()
            .filter(|variable| variable.owner == ModuleId::NONE)
        {
            let definition = &image.definitions[variable.definition];
            (variable.owner, variable.target) = (id, definition_target(&image, definition));
        }
        if let Some(stubs) = &mut self.stubs {
            stubs.count_callers(&outcome.calls, 1);
        }
        let stubbed = Stubbed {
            calls: outcome.calls,
            statics: outcome.statics,
            constants: outcome.constants,
            live,
            supersedes,
            ..Stubbed::default()
        };
        if let Some(module) = self.modules.get_mut(&id) {
            module.stubbed = Some(Box::new(stubbed));
        }
    }

    /// The name of a module to come.
    pub(crate) fn next_id(&mut self) -> ModuleId {
        self.next_module += 1;
        ModuleId(self.next_module - 1)
    }

    fn insert(&mut self, id: ModuleId, module: Module) {
        self.count_uses(&module, |users| *users += 1);
        self.modules.insert(id, module);
    }

    pub(crate) fn entry(&self, id: ModuleId, image: &Image, definition: &ImageDefinition) -> Entry {
        let function = match definition.kind {
            OwnKind::Function => self.stubs.as_ref().and_then(|stubs| stubs.id(&definition.name)),
            _ => None,
        };
        Entry {
            module: id,
            target: definition_target(image, definition),
            weak: definition.binding == SymbolBinding::Weak,
            function,
        }
    }

    pub(crate) fn count_live(&mut self, id: ModuleId, by: isize) {
        if let Some(stubbed) = self.stubbed_mut(id) {
            stubbed.live = stubbed.live.wrapping_add_signed(by);
        }
    }

    pub(crate) fn stubbed(&self, id: ModuleId) -> Option<&Stubbed> {
        self.modules.get(&id)?.stubbed.as_deref()
    }

    pub(crate) fn stubbed_mut(&mut self, id: ModuleId) -> Option<&mut Stubbed> {
        self.modules.get_mut(&id)?.stubbed.as_deref_mut()
    }

    /// Aims stubs, in this order. Either all of them change or none.
    pub(crate) fn aim(&mut self, aims: &[Aim]) -> Result<()> {
        let Some(stubs) = &mut self.stubs else {
            return Ok(());
        };
        self.memory.store(&stubs.stores(aims))?;
        stubs.stored(aims);
        Ok(())
    }

    /// What the stub of a name leads to once the name has been [withdrawn](State::withdraw_name) from the modules that go.
    pub(crate) fn next_aim(&self, name: &str, going: impl Fn(ModuleId) -> bool) -> Option<Aim> {
        let function = self.symbols.get(name)?.function?;
        let spares = self.spares.get(name).map_or(&[][..], Vec::as_slice);
        let next = spares.iter().rev().find(|entry| !going(entry.module));
        Some((function, next.map(|next| next.target.address)))
    }

    /// Takes a name from the module that defines it, and gives it to the definition that comes next, if there is one.
    pub(crate) fn withdraw_name(&mut self, name: &str, going: impl Fn(ModuleId) -> bool) {
        let Some(old) = self.symbols.remove(name) else {
            return;
        };
        self.count_live(old.module, -1);
        let Some(spares) = self.spares.get_mut(name) else {
            return;
        };
        let next = spares.iter().rposition(|entry| !going(entry.module));
        let next = next.map(|next| spares.remove(next));
        if spares.is_empty() {
            self.spares.remove(name);
        }
        if let Some(next) = next {
            self.count_live(next.module, 1);
            self.symbols.insert(name.into(), next);
        }
    }

    /// The names that a module stands for, and those that have gone over from it to others.
    pub(crate) fn names_of(&self, id: ModuleId) -> Vec<Box<str>> {
        let Some(module) = self.modules.get(&id) else {
            return Vec::new();
        };
        let symbols = module.image.symbols.iter();
        let visible = symbols.filter(|symbol| symbol.binding != SymbolBinding::Local);
        visible.map(|symbol| symbol.name.clone()).collect()
    }

    /// The aims that go with [`withdraw`](State::withdraw).
    pub(crate) fn aims_without(&self, id: ModuleId) -> Vec<Aim> {
        if self.stubs.is_none() {
            return Vec::new();
        }
        let names = self.names_of(id).into_iter();
        let its = names.filter(|name| self.symbols.get(name).is_some_and(|entry| entry.module == id));
        its.filter_map(|name| self.next_aim(&name, |module| module == id))
            .collect()
    }

    /// Takes a module's symbols back, and the module out of the session. Its memory stays.
    pub(crate) fn withdraw(&mut self, id: ModuleId) -> Option<Module> {
        for name in self.names_of(id) {
            if self.symbols.get(&name).is_some_and(|entry| entry.module == id) {
                self.withdraw_name(&name, |module| module == id);
            }
            if let Some(spares) = self.spares.get_mut(&name) {
                spares.retain(|entry| entry.module != id);
                if spares.is_empty() {
                    self.spares.remove(&name);
                }
            }
        }
        let module = self.modules.remove(&id)?;
        self.count_uses(&module, |users| *users -= 1);
        if let (Some(stubs), Some(stubbed)) = (&mut self.stubs, &module.stubbed) {
            stubs.count_callers(&stubbed.calls, -1);
        }
        Some(module)
    }

    /// The modules that call a function, but for some.
    pub(crate) fn callers(&self, function: FunctionId, but: &BTreeSet<ModuleId>) -> Vec<String> {
        let Some(stubs) = &self.stubs else {
            return Vec::new();
        };
        let calls = |id: &ModuleId| {
            self.stubbed(*id)
                .is_some_and(|stubbed| stubbed.calls.contains(&function))
        };
        let known = but.iter().filter(|id| calls(id)).count();
        if stubs.callers(function) as usize <= known {
            return Vec::new();
        }
        let others = self.modules.iter().filter(|(id, _)| !but.contains(id) && calls(id));
        others.map(|(_, module)| module.name()).collect()
    }

    /// Tells gdb of an image. Its debug sections, which nothing else needs, go into what gdb reads.
    pub(crate) fn tell_gdb(&self, image: &mut Image) -> Option<debugger::Registration> {
        let contents = SegmentKind::ALL.map(|segment| self.memory.bytes(&image.placement, segment));
        let file = restub_loader::elf_image(image, contents).ok()?;
        image.debug = Vec::new();
        Some(debugger::Registration::new(file))
    }

    /// Frees a module that was published, and withdrawn since.
    pub(crate) fn discard(&mut self, image: &Image) {
        self.unwind.remove(image);
        self.release(image);
    }

    /// Frees an image that nothing knows of.
    pub(crate) fn release(&mut self, image: &Image) {
        self.release_tls(image);
        self.memory.free(&image.placement);
    }

    pub(crate) fn release_tls(&mut self, image: &Image) {
        if let Some(tls) = &image.tls {
            let request = TlsRequest {
                size_bytes: tls.size_bytes,
                align: tls.align,
                fixed_offset: tls.placement.block_offset.is_some(),
            };
            self.memory.free_tls(&tls.placement, &request);
        }
    }

    fn count_uses(&mut self, module: &Module, count: impl Fn(&mut usize)) {
        for used in &module.uses {
            if let Some(used) = self.modules.get_mut(used) {
                count(&mut used.users);
            }
        }
    }

    /// The names of the modules that are bound to one.
    pub(crate) fn user_names(&self, id: ModuleId) -> Vec<String> {
        let users = self.modules.range(id..).filter(|(_, module)| module.uses.contains(&id));
        users.map(|(_, module)| module.name()).collect()
    }
}

/// What others see of a definition, without its stub.
pub(crate) fn definition_target(image: &Image, definition: &ImageDefinition) -> Target {
    let kind = match definition.kind {
        OwnKind::Function => TargetKind::Function,
        OwnKind::Variable | OwnKind::Constant => TargetKind::Data(CopyRule::Stale),
        OwnKind::ThreadLocal => tls_kind(image),
    };
    Target {
        address: definition.address,
        size: definition.size,
        kind,
    }
}

fn tls_kind(image: &Image) -> TargetKind {
    let placement = image.tls.map(|tls| tls.placement);
    TargetKind::Tls {
        module: placement.map_or(0, |placement| placement.module),
        block_offset: placement.and_then(|placement| placement.block_offset),
    }
}

/// What others see of a module's symbol.
fn target(image: &Image, symbol: &ImageSymbol) -> Target {
    let kind = match symbol.kind {
        SymbolKind::Function => TargetKind::Function,
        // A copy of another module's variable would go stale.
        SymbolKind::Data | SymbolKind::Synthetic => TargetKind::Data(CopyRule::Stale),
        SymbolKind::Absolute => TargetKind::Absolute,
        SymbolKind::Tls => tls_kind(image),
    };
    Target {
        address: symbol.address,
        size: symbol.size,
        kind,
    }
}
