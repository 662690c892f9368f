//! What a plan comes to: which words lead where, and what the records say then.

use object::elf;
use restub_loader::{Image, SymbolBinding, SymbolKind};

use crate::apply;
use crate::arena::Arena;
use crate::constructors::Gate;
use crate::counterpart::{self, Matched};
use crate::error::Result;
use crate::image::Linked;
use crate::jit::JitFile;
use crate::module::Module;
use crate::plan::{Consistency, FunctionPlan, Plan, PlanReport, Planner, Replacement, hex};
use crate::registry::{FunctionRecord, PatchRecord, SymbolRecord};
use crate::retarget::PatchObject;
use crate::unwind;

/// What the steps of a plan have made of a patch.
pub(crate) struct Patch {
    pub(crate) name: String,
    pub(crate) hash: String,
    pub(crate) files: Vec<String>,
    /// The module that is patched, by its place.
    pub(crate) home: usize,
    pub(crate) linked: Linked,
    /// Records for the unwinder, and where the first one goes.
    pub(crate) unwind: (u64, Vec<unwind::Record>),
    pub(crate) gate: Gate,
    pub(crate) jit: JitFile,
}

impl<'s, 'a> Planner<'s, 'a> {
    pub(crate) fn finish(
        mut self,
        patch: Patch,
        objects: &[PatchObject<'_>],
        matched: &Matched<'_>,
        replacements: &[Replacement<'_>],
    ) -> Result<Plan> {
        let Patch { linked, gate, .. } = &patch;
        let module = &self.state.modules[patch.home];
        let arena = *self.arena.get_or_insert(self.space.arenas[0]);
        if self.options.consistency == Consistency::Quiet {
            self.watch_old_versions(module, replacements);
        }
        self.registry.arenas = self.space.arenas.clone();
        let prepared = self.registry.clone();
        let id = linked.again.unwrap_or(self.registry.next_id);
        let functions = self.versions(&arena, module, id, replacements, linked, gate);
        self.check_refusals()?;
        // After the versions have their pads: those of the patches that go are in use until then.
        let others: Vec<u64> = self.registry.live().map(|patch| patch.id).collect();
        let superseded = if self.options.replace {
            self.registry.take_back(&others)
        } else {
            Vec::new()
        };
        let symbols = new_symbols(&linked.image, module, objects);
        let new_names = symbols.iter().map(|symbol| symbol.name.clone()).collect();
        let record = PatchRecord {
            symbols,
            ..self.record(&patch, id, replacements)
        };
        self.writes.extend(linked.writes.iter().cloned());
        self.registry.patches.retain(|patch| patch.id != id);
        self.registry.patches.push(record);
        self.registry.next_id = self.registry.next_id.max(id + 1);
        self.watch.finish();
        let needs_stop =
            !self.entries.is_empty() || self.options.consistency == Consistency::Quiet || self.stop_for_pads;
        let restore = if needs_stop && self.options.replace {
            apply::entries_to_restore(self.state.procfs, &self.registry)
        } else {
            Vec::new()
        };
        let report = PlanReport {
            pid: self.state.procfs.pid,
            name: patch.name.clone(),
            hash: patch.hash.clone(),
            module: module.path.display().to_string(),
            build_id: hex(&module.build_id),
            already_applied: None,
            functions,
            replaces: superseded.iter().map(|(name, _, _)| name.clone()).collect(),
            kept_variables: kept_variables(objects, matched),
            new_symbols: new_names,
            bytes: linked.segments.iter().map(|(_, bytes)| bytes).sum(),
            mapped_bytes: self.space.planned().iter().map(|arena| arena.end() - arena.start).sum(),
            needs_stop,
            notes: self.notes,
            blockers: Vec::new(),
        };
        Ok(Plan {
            report,
            arena,
            new_arenas: self.space.planned().to_vec(),
            writes: self.writes,
            unwind: patch.unwind,
            entries: self.entries,
            restore,
            superseded,
            prepared,
            applied: self.registry,
            watch: self.watch,
        })
    }

    /// What is recorded of the patch, but for its symbols.
    fn record(&self, patch: &Patch, id: u64, replacements: &[Replacement<'_>]) -> PatchRecord {
        let Patch {
            linked, unwind, gate, ..
        } = patch;
        PatchRecord {
            id,
            name: patch.name.clone(),
            hash: patch.hash.clone(),
            files: patch.files.clone(),
            time: crate::report::now(),
            live: true,
            quiet: false,
            segments: linked.segments,
            functions: records(replacements, &linked.functions),
            symbols: Vec::new(),
            depends: linked.depends.iter().copied().collect(),
            unwind: (unwind.0, unwind.1.len() as u64),
            eh_frame: linked.image.eh_frame.unwrap_or_default(),
            gate: gate.code,
            gate_word: gate.word,
            exposed: linked.exposed,
            tls_control: linked.tls_control,
            jit: patch.jit,
            stays: gate.word != 0 || linked.tls_control != 0,
        }
    }

    /// Gives each function's version its pad.
    fn versions(
        &mut self,
        arena: &Arena,
        module: &Module,
        id: u64,
        replacements: &[Replacement<'_>],
        linked: &Linked,
        gate: &Gate,
    ) -> Vec<FunctionPlan> {
        let mut functions = Vec::new();
        for (index, (replacement, (address, size))) in replacements.iter().zip(&linked.functions).enumerate() {
            let method = self.method_of(replacement.slot);
            let way = gate.entries.get(index).unwrap_or(address);
            self.lead_to(arena, replacement.slot, id, *way);
            functions.push(FunctionPlan {
                name: replacement.symbol.name.to_string(),
                file: module.file_of(replacement.symbol).map(str::to_owned),
                address: replacement.symbol.address,
                size: replacement.symbol.size,
                new_address: *address,
                new_size: *size,
                method,
            });
        }
        functions
    }
}

fn records(replacements: &[Replacement<'_>], functions: &[(u64, u64)]) -> Vec<FunctionRecord> {
    let pairs = replacements.iter().zip(functions);
    let record = |(replacement, (address, size)): (&Replacement<'_>, &(u64, u64))| FunctionRecord {
        name: replacement.symbol.name.to_string(),
        slot: replacement.slot,
        address: *address,
        size: *size,
    };
    pairs.map(record).collect()
}

/// The variables of the source that the patch shares with the target, without those that compilers make.
fn kept_variables(objects: &[PatchObject<'_>], matched: &Matched<'_>) -> Vec<String> {
    let written = |pair: &&counterpart::Pair<'_>| !objects[pair.object].definitions[pair.definition].weak;
    let variables = matched.variables.iter().filter(written);
    variables.map(|pair| pair.symbol.name.to_string()).collect()
}

/// What a patch defines that the target has not: later patches may refer to it.
fn new_symbols(image: &Image, module: &Module, objects: &[PatchObject<'_>]) -> Vec<SymbolRecord> {
    let symbols = image.symbols.iter().filter(|symbol| {
        matches!(symbol.kind, SymbolKind::Function | SymbolKind::Data)
            && symbol.binding != SymbolBinding::Local
            && module.named(&symbol.name).next().is_none()
    });
    let is_function = |name: &str| {
        let mut all = objects.iter().flat_map(|object| &object.definitions);
        all.any(|definition| definition.name == name && (definition.kind == elf::STT_FUNC || definition.executable))
    };
    let is_state = |name: &str| {
        let mut all = objects.iter().flat_map(|object| &object.definitions);
        all.any(|definition| definition.name == name && definition.is_state())
    };
    symbols
        .map(|symbol| SymbolRecord {
            name: symbol.name.to_string(),
            address: symbol.address,
            size: symbol.size,
            function: is_function(&symbol.name),
            writable: is_state(&symbol.name),
        })
        .collect()
}
