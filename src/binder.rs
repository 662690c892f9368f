//! Binding the names of one load: to earlier modules, to defined addresses, to the host.

use restub_loader::{Memory, MemoryError, Own, Rebind, Request, Resolver, Target, TargetKind, Window};
use rustc_hash::FxHashMap;

use crate::host::Host;
use crate::rebind::Rebinding;
use crate::state::{Entry, ModuleId};
use crate::{builtins, libraries, thread_exit, tls};

/// Binds the names of one load.
pub(crate) struct Binder<'a> {
    pub(crate) host: &'a mut Host,
    pub(crate) symbols: &'a FxHashMap<Box<str>, Entry>,
    pub(crate) absolutes: &'a FxHashMap<Box<str>, u64>,
    pub(crate) tried: &'a mut Vec<&'static str>,
    pub(crate) defaults: bool,
    /// The modules bound to, some of them more than once.
    pub(crate) uses: Vec<ModuleId>,
    /// In a session with stubs.
    pub(crate) rebinding: Option<Rebinding<'a>>,
}

impl Resolver for Binder<'_> {
    fn earlier(&mut self, name: &[u8]) -> Option<Target> {
        if self.symbols.is_empty() && self.rebinding.is_none() {
            return None;
        }
        let name = std::str::from_utf8(name).ok()?;
        let pending = self
            .rebinding
            .as_ref()
            .and_then(|rebinding| rebinding.pending.get(name));
        let entry = pending.or_else(|| self.symbols.get(name))?;
        if let Some(rebinding) = &mut self.rebinding {
            if let Some(function) = entry.function {
                return Some(rebinding.call(function, entry.target.size));
            }
            rebinding.note_constant(name, entry);
        }
        if self.uses.last() != Some(&entry.module) {
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
        let own = match name {
            "__tls_get_addr" => Some(tls::get_address_function()),
            name if thread_exit::NAMES.contains(&name) => Some(thread_exit::function()),
            _ => None,
        };
        if let Some(address) = own {
            return Some(Target {
                address,
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

    fn rebinds(&self) -> bool {
        self.rebinding.is_some()
    }

    fn rebind(&mut self, definitions: &[Own<'_>]) -> Vec<Rebind> {
        match &mut self.rebinding {
            Some(rebinding) => rebinding.decide(definitions, self.symbols, &mut self.uses),
            None => vec![Rebind::Own; definitions.len()],
        }
    }

    fn stub(&mut self, name: &[u8], window: Window, memory: &mut dyn Memory) -> Result<u64, MemoryError> {
        let rebinding = self.rebinding.as_mut();
        let rebinding = rebinding.ok_or(MemoryError::Refused("the session has no stubs"))?;
        rebinding.take_stub(name, window, memory)
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
