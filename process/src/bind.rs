//! What the names of a patch are bound to: the target's own symbols first, then those of its libraries.

use std::collections::{BTreeSet, HashMap};

use object::elf;
use restub_loader::{CopyRule, Request, Resolver, Target, TargetKind};

use crate::error::Refusal;
use crate::module::{Kind, Module, Symbol};
use crate::procfs::Procfs;
use crate::retarget::base_name;
use crate::tls::{self, Runtime};

/// A definition of an earlier patch that is live.
#[derive(Debug, Clone)]
pub(crate) struct PatchSymbol {
    pub(crate) patch: u64,
    pub(crate) target: Target,
    /// Whether it is state, of which there has to be one; constants may have copies.
    pub(crate) writable: bool,
}

/// Binds the names of one patch.
#[derive(Debug)]
pub(crate) struct Binder<'a> {
    pub(crate) procfs: &'a Procfs,
    pub(crate) modules: &'a [Module],
    /// The module that is patched.
    pub(crate) home: usize,
    /// Names that stand for one definition of the target.
    pub(crate) aliases: HashMap<String, Target>,
    /// Where the displaced code of redirected functions is, by name.
    pub(crate) originals: HashMap<String, u64>,
    /// The code that finds thread-local variables.
    pub(crate) tls: Option<Runtime>,
    pub(crate) earlier: HashMap<String, PatchSymbol>,
    /// The bytes of the patch's weak variables that are state.
    pub(crate) weak_sizes: HashMap<String, u64>,
    /// The earlier patches that something was bound to.
    pub(crate) used: BTreeSet<u64>,
    pub(crate) refusals: Vec<Refusal>,
}

impl Resolver for Binder<'_> {
    /// Weak and tentative variables, such as virtual tables and type information, are those that the module has. State, as
    /// of inline functions, may also be that of an earlier patch, or of a library: there is to be one.
    fn earlier(&mut self, name: &[u8]) -> Option<Target> {
        let name = std::str::from_utf8(name).ok()?;
        let home = &self.modules[self.home];
        if let Some(symbol) = home.named(name).find(|symbol| !symbol.local) {
            return (symbol.kind == Kind::Data).then(|| data(home, symbol));
        }
        let own = *self.weak_sizes.get(name)?;
        let patch = self.earlier.get(name).filter(|symbol| symbol.writable).cloned();
        let library = || {
            let exported = self
                .modules
                .iter()
                .find_map(|module| Some((module, module.exported(name)?)));
            exported.filter(|(_, symbol)| symbol.kind == Kind::Data)
        };
        let target = match &patch {
            Some(symbol) => symbol.target,
            None => library().map(|(module, symbol)| data(module, symbol))?,
        };
        if own > target.size && target.size > 0 {
            self.refusals.push(Refusal::new(
                "variable-size",
                name,
                format!(
                    "it has {} bytes in the process and {own} in the patch; state cannot be converted",
                    target.size
                ),
            ));
        }
        self.used.extend(patch.map(|symbol| symbol.patch));
        Some(target)
    }

    fn external(&mut self, request: Request<'_>) -> Option<Target> {
        let name = std::str::from_utf8(request.name).ok()?;
        if request.version == Some(b"original") {
            let address = *self.originals.get(name)?;
            return Some(function(address, 0));
        }
        if let (Some(runtime), "__tls_get_addr") = (&self.tls, name) {
            return Some(function(runtime.get_address, 0));
        }
        if let Some(target) = self.aliases.get(name) {
            return Some(*target);
        }
        if let Some(symbol) = self.earlier.get(name) {
            self.used.insert(symbol.patch);
            return Some(symbol.target);
        }
        let modules = self.modules;
        let home = &modules[self.home];
        // What `diff` leaves of a static function that has not changed: its name and its source file.
        if let Some((name, file)) = name.split_once('#') {
            let of_file = |symbol: &&Symbol| home.file_of(symbol).map(base_name) == Some(file);
            let mut locals = home.named(name).filter(|symbol| symbol.local);
            let symbol = locals.find(of_file).or_else(|| home.shared(name))?;
            return self.target(home, symbol);
        }
        if let Some(symbol) = home.shared(name) {
            return self.target(home, symbol);
        }
        if let Some(target) = self.bound_already(home, name) {
            return Some(target);
        }
        let (module, symbol) = modules
            .iter()
            .find_map(|module| Some((module, module.exported(name)?)))?;
        self.target(module, symbol)
    }
}

impl Binder<'_> {
    /// What a symbol of the target is for the loader.
    pub(crate) fn target(&mut self, module: &Module, symbol: &Symbol) -> Option<Target> {
        match symbol.kind {
            Kind::Function => Some(function(symbol.address, symbol.size)),
            Kind::Data => Some(data(module, symbol)),
            Kind::Ifunc => {
                let found = self.implementation(module, symbol);
                if found.is_none() {
                    self.refusals.push(Refusal::new(
                        "ifunc",
                        &*symbol.name,
                        format!(
                            "{} chooses its implementation at start, and nothing in the process says which; no function of the \
                             target is called to find out",
                            module.display()
                        ),
                    ));
                }
                found.map(|address| function(address, 0))
            }
            Kind::Tls => {
                let found = self.thread_local(module, symbol);
                if found.is_none() {
                    self.refusals.push(Refusal::new(
                        "tls",
                        &*symbol.name,
                        format!(
                            "where {} has its thread-local variables is not to be found out",
                            module.display()
                        ),
                    ));
                }
                found
            }
        }
    }

    /// What the dynamic linker has bound a name to for the module that is patched.
    fn bound_already(&self, home: &Module, name: &str) -> Option<Target> {
        let kinds = [elf::R_X86_64_JUMP_SLOT.0, elf::R_X86_64_GLOB_DAT.0];
        let slots = home
            .slots
            .iter()
            .filter(|slot| kinds.contains(&slot.kind) && &*slot.symbol == name);
        for slot in slots {
            let Some(address) = self.procfs.read_word(slot.address) else {
                continue;
            };
            let Some(module) = self.modules.iter().find(|module| module.range.contains(&address)) else {
                if self.is_kernel_code(address) {
                    return Some(function(address, 0));
                }
                continue;
            };
            // A slot that is bound on the first call still leads into the linkage table.
            if module.linkage.iter().any(|range| range.contains(&address)) {
                continue;
            }
            let symbol = module.named(name).find(|symbol| symbol.address == address);
            return Some(match symbol.map(|symbol| symbol.kind) {
                Some(Kind::Data) => data(module, symbol?),
                Some(Kind::Tls) => continue,
                _ if module.is_code(address) => function(address, 0),
                _ => Target {
                    address,
                    size: 0,
                    kind: TargetKind::Data(CopyRule::Stale),
                },
            });
        }
        None
    }

    /// The implementation that an IFUNC has chosen, as words say that the dynamic linker has filled: those of its own
    /// module, which are for the resolver, and those of others, which are for the name.
    fn implementation(&self, module: &Module, symbol: &Symbol) -> Option<u64> {
        let resolver = symbol.address.wrapping_sub(module.bias).cast_signed();
        let own = module
            .slots
            .iter()
            .filter(|slot| slot.kind == elf::R_X86_64_IRELATIVE.0 && slot.addend == resolver);
        let others = self.modules.iter().flat_map(|module| &module.slots).filter(|slot| {
            let by_name = [elf::R_X86_64_JUMP_SLOT.0, elf::R_X86_64_GLOB_DAT.0];
            by_name.contains(&slot.kind) && *slot.symbol == *symbol.name
        });
        own.chain(others).find_map(|slot| {
            let address = self.procfs.read_word(slot.address)?;
            let linkage = module.linkage.iter().any(|range| range.contains(&address));
            let code = module.is_code(address) || self.is_kernel_code(address);
            (code && !linkage).then_some(address)
        })
    }

    /// Whether an address is in the code that the kernel gives each process, which implements functions such as `time`.
    fn is_kernel_code(&self, address: u64) -> bool {
        let maps = self.procfs.maps().unwrap_or_default();
        let mut kernel = maps.iter().filter(|mapping| mapping.path.as_os_str() == "[vdso]");
        kernel.any(|mapping| mapping.contains(address))
    }

    /// The executable's block lies at a fixed place below the thread pointer (psABI section 6.1); those of libraries are
    /// where words say that the dynamic linker has filled.
    fn thread_local(&self, module: &Module, symbol: &Symbol) -> Option<Target> {
        let by_distance = self.tls.is_some();
        let kind = |number, block_offset: Option<i64>| TargetKind::Tls {
            // In the place of the dynamic linker's function, a distance is as good as a number, and known more often.
            module: match block_offset {
                Some(offset) if by_distance => tls::FIXED | offset.wrapping_neg().cast_unsigned(),
                _ => number,
            },
            block_offset,
        };
        let target = |kind| Target {
            address: symbol.address,
            size: symbol.size,
            kind,
        };
        if module.is_executable {
            return Some(target(kind(1, Some(-module.tls_bytes?.cast_signed()))));
        }
        let value_of = |wanted: u32| {
            let mut slots = module.slots.iter().filter(move |slot| slot.kind == wanted);
            slots.find_map(|slot| {
                let offset = match &*slot.symbol {
                    "" => slot.addend,
                    name => {
                        module
                            .named(name)
                            .find(|symbol| symbol.kind == Kind::Tls)?
                            .address
                            .cast_signed()
                            + slot.addend
                    }
                };
                Some((self.procfs.read_word(slot.address)?, offset))
            })
        };
        let number = value_of(elf::R_X86_64_DTPMOD64.0)
            .map(|(number, _)| number)
            .filter(|number| *number != 0);
        let offset = value_of(elf::R_X86_64_TPOFF64.0).map(|(value, offset)| value.cast_signed() - offset);
        match (number, offset) {
            (None, None) => None,
            (number, offset) => Some(target(kind(number.unwrap_or(0), offset))),
        }
    }
}

pub(crate) fn function(address: u64, size: u64) -> Target {
    Target {
        address,
        size,
        kind: TargetKind::Function,
    }
}

fn data(module: &Module, symbol: &Symbol) -> Target {
    let constant = module.constant.iter().any(|range| range.contains(&symbol.address));
    Target {
        address: symbol.address,
        size: symbol.size,
        // Code that is not PIC reads library variables through a copy, as the linker makes one in an executable.
        kind: TargetKind::Data(if constant && symbol.size > 0 {
            CopyRule::Harmless
        } else {
            CopyRule::Stale
        }),
    }
}
