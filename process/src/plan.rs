//! What a patch will do, decided in full before anything is written.

use std::ops::Range;
use std::time::Duration;

use restub_loader::Input;
use sha2::{Digest as _, Sha256};

use crate::arena::{Arena, Space};
use crate::callers;
use crate::codes;
use crate::counterpart::{self, Matched};
use crate::debug_file;
use crate::debug_parts::{self, DebugParts};
use crate::dwarf::DebugInfo;
use crate::entry::Method;
use crate::error::{Error, Refusal, Result};
use crate::finish::Patch;
use crate::image::Linked;
use crate::kept_registers;
use crate::module::{Module, Symbol};
use crate::procfs::Procfs;
use crate::registry::Registry;
use crate::retarget::PatchObject;
use crate::retired::Exposed;
use crate::safety::Watch;
use crate::state::State;
use crate::types;
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
    /// Whether the patch's constructors are run, by the first call of one of its functions.
    pub constructors: bool,
    /// Whether the patch takes the place of all that are applied; functions that it has not go back to their originals.
    pub replace: bool,
    /// What becomes of reverted patches whose addresses the program may have stored.
    pub exposed: Exposed,
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
            constructors: false,
            replace: false,
            exposed: Exposed::Keep,
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
    /// The patches that it takes the place of.
    pub replaces: Vec<String>,
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
#[derive(Debug, PartialEq, Eq)]
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
    /// Entries of functions that the patch takes back, in the same stop if there is one. Without one they lead to the
    /// originals.
    pub(crate) restore: Vec<EntryChange>,
    /// Name, hash and number of functions of each patch that this one takes the place of.
    pub(crate) superseded: Vec<(String, String, usize)>,
    /// The registry with the slots in it, and no version switched.
    pub(crate) prepared: Registry,
    pub(crate) applied: Registry,
    pub(crate) watch: Watch,
}

/// A function that is replaced, on the way to a plan.
pub(crate) struct Replacement<'a> {
    pub(crate) object: usize,
    pub(crate) definition: usize,
    pub(crate) symbol: &'a Symbol,
    pub(crate) slot: u64,
}

/// Makes the plan.
pub(crate) struct Planner<'s, 'a> {
    pub(crate) state: &'s State<'a>,
    pub(crate) options: &'s Options,
    pub(crate) registry: Registry,
    pub(crate) space: Space,
    pub(crate) arena: Option<Arena>,
    pub(crate) refusals: Vec<Refusal>,
    pub(crate) notes: Vec<String>,
    pub(crate) writes: Vec<(u64, Vec<u8>)>,
    pub(crate) entries: Vec<EntryChange>,
    pub(crate) watch: Watch,
    pub(crate) stop_for_pads: bool,
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

pub(crate) fn hex_list(numbers: &[u64]) -> String {
    numbers
        .iter()
        .map(|number| format!("{number:#x}"))
        .collect::<Vec<_>>()
        .join(", ")
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
        let (path, bytes) = module.debug_file(self.state.procfs);
        let parts = debug_parts::of_file(&bytes, &path, &debug_file::roots(self.state.procfs));
        let parts = self.noted(module, parts);
        let debug = parts.as_ref().map(DebugInfo::new);
        let matched = counterpart::match_all(module, debug.as_ref(), &objects, &mut self.refusals, &mut self.notes);
        if matched.functions.is_empty() && self.refusals.is_empty() {
            self.refuse(
                "no-function",
                name.clone(),
                "it defines no function that the process has".into(),
            );
        }
        // redirect: how each entry is changed
        let replacements = self.redirect(module, &matched)?;
        // link: at the target's addresses
        let linked = self.link(&objects, home, &matched, &replacements, &hash)?;
        // compare: whether both sides mean the same by their types
        self.compare(home, debug.as_ref(), &objects, &matched, &replacements, &linked);
        self.check_refusals()?;
        // unwind: exceptions through the patch
        let unwind = self.unwind(&linked)?;
        // construct: who runs constructors, and when
        let gate = self
            .constructors(module, &objects, &matched, &linked)
            .unwrap_or_default();
        self.refuse_what_is_not_constructed(&linked.depends);
        self.check_refusals()?;
        // tell: debuggers
        let jit = self.jit_file(modules, &linked);
        let patch = Patch {
            name,
            hash,
            files: inputs.iter().map(|input| input.name().to_owned()).collect(),
            home,
            linked,
            unwind,
            gate,
            jit,
        };
        self.finish(patch, &objects, &matched, &replacements)
    }

    /// Says which parts of the target's debug information are missing.
    fn noted<'p>(
        &mut self,
        module: &Module,
        parts: std::result::Result<Option<DebugParts<'p>>, String>,
    ) -> Option<DebugParts<'p>> {
        let (parts, missing) = match parts {
            Ok(parts) => {
                let missing = parts.iter().flat_map(|parts| parts.missing.clone()).collect();
                (parts, missing)
            }
            Err(supplementary) => (None, vec![supplementary]),
        };
        if !missing.is_empty() {
            self.notes.push(types::missing(&module.display(), &missing));
        }
        parts
    }

    /// The layout guard.
    fn compare(
        &mut self,
        home: usize,
        debug: Option<&DebugInfo<'_>>,
        objects: &[PatchObject<'_>],
        matched: &Matched<'_>,
        replacements: &[Replacement<'_>],
        linked: &Linked,
    ) {
        let (procfs, modules) = (self.state.procfs, &self.state.modules);
        let pairs = replacements.iter().zip(&linked.functions);
        let functions: Vec<types::Replaced<'_>> = pairs.map(|(old, (new, _))| (old.symbol, *new)).collect();
        let guard = types::Guard {
            module: &modules[home],
            image: &linked.image,
            objects,
            matched,
            functions: &functions,
        };
        let findings = types::check(&guard, debug);
        self.refusals.extend(findings.refusals);
        self.notes.extend(findings.notes);
        let replaced = functions
            .iter()
            .map(|(symbol, _)| symbol.address..symbol.address + symbol.size);
        let replaced: Vec<_> = replaced.collect();
        self.check_registers(&modules[home], &functions, &replaced, linked);
        for (address, difference) in findings.signatures {
            let name = functions.iter().find(|(symbol, _)| symbol.address == address);
            let name = name.map_or_else(String::new, |(symbol, _)| symbol.name.to_string());
            match callers::others(procfs, modules, home, address, &replaced) {
                Some(others) => self.refuse("signature", name, format!("{difference}; used by {others}")),
                None => self.notes.push(format!(
                    "{name}: {difference}; nothing refers to it but what is replaced with it"
                )),
            }
        }
    }

    /// Refuses to change registers that callers keep.
    fn check_registers(
        &mut self,
        module: &Module,
        functions: &[types::Replaced<'_>],
        replaced: &[Range<u64>],
        linked: &Linked,
    ) {
        let inside = |place: u64| replaced.iter().any(|range| range.contains(&place));
        let old = |address: u64| {
            let known = module.symbols.iter().find(|symbol| symbol.address == address)?;
            // Of the file, which has no jumps of patches.
            Some((address, module.initial(address, known.size)?.to_vec()))
        };
        let new = |address: u64| {
            let replaced = functions.iter().position(|(symbol, _)| symbol.address == address);
            if let Some(index) = replaced {
                let (new, size) = linked.functions[index];
                return Some((new, linked.code(new, size).to_vec()));
            }
            if let Some(own) = linked.image.symbols.iter().find(|symbol| symbol.address == address) {
                return Some((address, linked.code(address, own.size).to_vec()));
            }
            old(address)
        };
        let addresses: Vec<u64> = functions.iter().map(|(symbol, _)| symbol.address).collect();
        let keeping = kept_registers::callers(self.state.procfs, module, &addresses, &old, &new, &inside);
        for ((symbol, _), callers) in functions.iter().zip(keeping).filter(|(_, callers)| !callers.is_empty()) {
            let callers = callers.into_iter().collect::<Vec<_>>().join("; ");
            self.refuse(
                "registers",
                symbol.name.to_string(),
                format!(
                    "its callers were compiled to keep values in registers that it leaves alone, and the patch changes \
                     (gcc's -fipa-ra): {callers}; replace them too"
                ),
            );
        }
    }

    pub(crate) fn refuse(&mut self, code: &'static str, subject: String, reason: String) {
        self.refusals.push(Refusal::new(code, subject, reason));
    }

    pub(crate) fn check_refusals(&mut self) -> Result<()> {
        let allow = &self.options.allow;
        let overridden =
            |refusal: &Refusal| codes::is_overridable(refusal.code) && allow.iter().any(|code| code == refusal.code);
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
            .filter(|_| !self.options.replace)
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
