//! What a session knows: its modules, and the symbols that they define.

use std::collections::BTreeMap;
use std::sync::Arc;

use restub_loader::{
    CopyRule, Image, ImageSymbol, Memory as _, SegmentKind, SymbolBinding, SymbolKind, Target, TargetKind, TlsRequest,
};
use rustc_hash::FxHashMap;

use crate::error::Result;
use crate::host::Host;
use crate::memory::ProcessMemory;
use crate::run::{self, Finalizer};
use crate::unwind::UnwindTables;
use crate::{debugger, tls};

/// Names a loaded module; never reused within a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ModuleId(u64);

#[derive(Debug)]
pub(crate) struct State {
    pub(crate) memory: ProcessMemory,
    pub(crate) unwind: UnwindTables,
    pub(crate) host: Host,
    pub(crate) modules: BTreeMap<ModuleId, Module>,
    pub(crate) symbols: FxHashMap<Box<str>, Entry>,
    /// Weak definitions that a later strong one stands before.
    pub(crate) shadowed: Vec<(Box<str>, Entry)>,
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
}

/// A symbol that a module defines.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Entry {
    pub(crate) module: ModuleId,
    pub(crate) target: Target,
    pub(crate) weak: bool,
}

impl Module {
    pub(crate) fn name(&self) -> String {
        match self.image.objects.as_slice() {
            [one] => one.clone(),
            [first, rest @ ..] => format!("{first} (and {} more)", rest.len()),
            [] => "empty module".into(),
        }
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

    pub(crate) fn publish(&mut self, module: Module) -> ModuleId {
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
        self.count_uses(&module, |users| *users += 1);
        self.modules.insert(id, module);
        id
    }

    /// Takes a module's symbols back, and the module out of the session. Its memory stays.
    pub(crate) fn withdraw(&mut self, id: ModuleId) -> Option<Module> {
        let module = self.modules.remove(&id)?;
        self.count_uses(&module, |users| *users -= 1);
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

    /// Tells gdb of an image. Its debug sections, which nothing else needs, go into what gdb reads.
    pub(crate) fn tell_gdb(&self, image: &mut Image) -> Option<debugger::Registration> {
        let contents = SegmentKind::ALL.map(|segment| self.memory.bytes(&image.placement, segment));
        let file = restub_loader::elf_image(image, contents).ok()?;
        image.debug = Vec::new();
        Some(debugger::Registration::new(file))
    }

    /// Frees a module that was published, and withdrawn since.
    pub(crate) fn discard(&mut self, image: &Image) {
        if let Some((address, _)) = image.eh_frame {
            self.unwind.remove(address);
        }
        self.release(image);
    }

    /// Frees an image that nothing knows of.
    pub(crate) fn release(&mut self, image: &Image) {
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
