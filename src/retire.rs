//! Giving modules up, and freeing their memory once no thread can be in them.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use restub_loader::{Image, Memory as _, OwnKind, SegmentKind};
use restub_stubs::{FreedSlot, ScanOptions, ScanReport};
use rustc_hash::FxHashSet;

use crate::error::{Error, Result};
use crate::session::Session;
use crate::state::{Module, ModuleId, State, Stubbed};
use crate::thread_exit;
use crate::unwind::OldAccount;

/// How a session knows that no thread can be in a module that was given up.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Reclaim {
    /// Every [`Pin`](crate::Pin) that existed at that moment is gone. Threads that call functions of the session hold one
    /// meanwhile.
    #[default]
    Epochs,
    /// In addition, no thread has an address of the module's code in a register or on its stack: for threads that call
    /// without a pin. Memory is freed by [`Session::collect`] only.
    Scan(ScanOptions),
}

/// What a collection freed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Collected {
    /// Modules.
    pub modules: usize,
    /// Bytes of code, constants and data.
    pub bytes: u64,
    /// With [`Reclaim::Scan`]: which threads hold the rest.
    pub scan: Option<ScanReport>,
}

/// What becomes of those parts of a superseded module whose addresses may be anywhere in memory: a string that a variable
/// points to, a virtual table of an object on the heap, a static function that was handed over as a callback.
///
/// Addresses of functions with stubs are no concern, since those are the stubs'. Only what the module itself takes the
/// address of counts, and modules that are [unloaded](Session::unload) are freed whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Exposed {
    /// They stay for as long as the session: constants and variables without the code, or the whole module if functions
    /// are exposed that have no stub. [`Stats::kept_bytes`](crate::Stats) tells how much that is.
    #[default]
    Keep,
    /// They are freed with the rest: whoever replaces modules promises that nothing holds their addresses.
    Free,
}

/// What waits until no thread can be in it.
#[derive(Debug)]
pub(crate) enum Retired {
    /// With what throws may still look at, since they are over before the module goes.
    Module(Box<Module>, Exposed, Vec<OldAccount>),
    /// The same by itself, for scans.
    Account(OldAccount),
    /// The slot of a stub whose name is gone.
    Slot { set: u32, slot: FreedSlot },
    /// Nothing: tells that everybody who was pinned has finished.
    Mark(Arc<AtomicBool>),
}

impl Session {
    /// Frees modules that were given up and that no thread can be in any more. Their destructors run on this thread.
    ///
    /// A module of which some thread has a thread-local object that is destroyed when the thread ends stays until then.
    /// Waits for no pinned thread. Loading and replacing do the same first, unless the session [scans](Reclaim::Scan).
    ///
    /// # Errors
    /// [`Error::Scan`] if threads cannot be scanned; nothing is freed then.
    pub fn collect(&self) -> Result<Collected> {
        let operation = crate::fork::Operation::begin();
        let (retired, scan) = match &self.options().reclaim {
            Reclaim::Epochs => (self.reclaimer().collect(), None),
            Reclaim::Scan(options) => {
                let (retired, report) = self
                    .reclaimer()
                    .collect_with_scan(range_of, options)
                    .map_err(Error::Scan)?;
                (retired, Some(report))
            }
        };
        drop(operation);
        let mut collected = self.free(retired);
        collected.scan = scan;
        Ok(collected)
    }

    /// Frees what no pin holds, when nobody is left who could call without one. Returns how much that was.
    pub(crate) fn collect_without_scan(&self) -> usize {
        let retired = self.reclaimer().collect();
        let count = retired.len();
        self.free(retired);
        count
    }

    fn free(&self, retired: Vec<Retired>) -> Collected {
        let mut collected = Collected::default();
        let mut modules = std::mem::take(&mut self.lock().lingering);
        for item in retired {
            self.note_reclaimed();
            match item {
                Retired::Module(module, exposed, accounts) => {
                    drop(accounts);
                    modules.push((*module, exposed));
                }
                Retired::Account(account) => drop(account),
                Retired::Slot { set, slot } => {
                    if let Some(stubs) = &mut self.lock().stubs {
                        stubs.reuse(set, slot);
                    }
                }
                // Release: pairs with the acquire load of whoever waits for it.
                Retired::Mark(reached) => reached.store(true, Ordering::Release),
            }
        }
        for (module, exposed) in modules {
            if thread_exit::count(module.image.dso_handle) > 0 {
                self.lock().lingering.push((module, exposed));
                continue;
            }
            let stays = if exposed == Exposed::Keep {
                Stays::of(&module.image)
            } else {
                Stays::default()
            };
            if stays.code {
                let mut state = self.lock();
                state.kept_bytes += bytes(&module);
                state.kept.push(module);
                continue;
            }
            collected.modules += 1;
            // SAFETY: the image is in memory until `discard`, and the author's code was trusted at the load.
            unsafe { module.finalizer.run() };
            let all = bytes(&module);
            drop(module.debugger);
            let mut state = self.lock();
            let kept = state.discard_but(&module.image, stays);
            state.kept_bytes += kept;
            collected.bytes += all - kept;
        }
        collected
    }

    /// Frees what can be freed, before more is added.
    pub(crate) fn reclaim_some(&self) {
        if self.options().reclaim == Reclaim::Epochs && self.has_retired() {
            let collected = self.collect();
            debug_assert!(collected.is_ok(), "only scans fail");
        }
    }

    /// Gives up those of some modules that are superseded, not kept for a rollback, and that nothing is bound to; and
    /// those that were there for them alone.
    pub(crate) fn retire_unused(&self, state: &mut State, mut candidates: Vec<ModuleId>) {
        while let Some(id) = candidates.pop() {
            let Some(module) = state.modules.get(&id) else {
                continue;
            };
            let unused = module.users == 0;
            let superseded = |stubbed: &Stubbed| stubbed.is_superseded && !stubbed.is_held;
            if unused && module.stubbed.as_deref().is_some_and(superseded) {
                candidates.extend(&module.uses);
                self.give_up(state, id, self.options().exposed);
            }
        }
    }

    /// Takes a module that nothing needs any more out of the session, and frees it when no thread can be in it.
    ///
    /// Its names have no definition after that, unless another module has a spare one; the stubs have been aimed so.
    pub(crate) fn give_up(&self, state: &mut State, id: ModuleId, exposed: Exposed) {
        let Some(module) = state.withdraw(id) else {
            return;
        };
        let mut accounts = state.unwind.take_old();
        if self.options().reclaim != Reclaim::Epochs {
            for account in accounts.drain(..) {
                self.retire(Retired::Account(account), 0);
            }
        }
        let bytes = bytes(&module);
        self.retire(Retired::Module(Box::new(module), exposed, accounts), bytes);
    }

    /// Removes the stubs of names that have no definition, and that nothing calls any more.
    pub(crate) fn remove_stubs(&self, state: &mut State, names: &[Box<str>]) {
        for name in names {
            if state.symbols.contains_key(name) {
                continue;
            }
            let Some(stubs) = &mut state.stubs else { return };
            if let Some(id) = stubs.id(name)
                && stubs.callers(id) == 0
                && stubs.target(id).is_none()
                && let Some((set, slot)) = stubs.remove(id)
            {
                self.retire(Retired::Slot { set, slot }, 0);
            }
        }
    }
}

impl State {
    /// Frees a module that was published, and withdrawn since, but for the parts that stay. Returns how many bytes these
    /// have.
    fn discard_but(&mut self, image: &Image, stays: Stays) -> u64 {
        self.unwind.remove(image);
        let mut freed = image.placement;
        let mut kept = 0;
        for segment in SegmentKind::ALL {
            let index = segment as usize;
            if stays.keeps(segment) {
                freed.addresses[index] = 0;
                kept += freed.sizes[index].total_bytes;
            }
        }
        self.release_tls(image);
        self.memory.free(&freed);
        kept
    }

    /// Keeps nothing any more that a module superseded, or uses of what is superseded. Returns all of that.
    pub(crate) fn release_versions(&mut self, of: ModuleId) -> Vec<ModuleId> {
        let mut line = vec![of];
        let mut seen = BTreeSet::new();
        while let Some(id) = line.pop() {
            if !seen.insert(id) {
                continue;
            }
            let uses = self
                .modules
                .get(&id)
                .map_or_else(Vec::new, |module| module.uses.clone());
            let before = self
                .stubbed(id)
                .map_or_else(Vec::new, |stubbed| stubbed.predecessors.clone());
            for id in uses.into_iter().chain(before) {
                if let Some(stubbed) = self.stubbed_mut(id).filter(|stubbed| stubbed.is_superseded) {
                    stubbed.is_held = false;
                    line.push(id);
                }
            }
        }
        seen.into_iter().collect()
    }

    /// Keeps as many versions before a module as are wanted for rollbacks, and no more. Returns these
    /// versions.
    pub(crate) fn hold_versions(&mut self, of: ModuleId, versions: usize) -> Vec<ModuleId> {
        let mut line = vec![(of, 0)];
        let mut found = Vec::new();
        while let Some((id, depth)) = line.pop() {
            let before = self
                .stubbed(id)
                .map_or_else(Vec::new, |stubbed| stubbed.predecessors.clone());
            for id in before {
                if let Some(stubbed) = self.stubbed_mut(id) {
                    stubbed.is_held = depth < versions;
                    line.push((id, depth + 1));
                    found.push(id);
                }
            }
        }
        found
    }
}

/// The parts of an image that have to stay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Stays {
    /// All of it, since its code refers to the rest.
    code: bool,
    constants: bool,
    variables: bool,
}

impl Stays {
    fn of(image: &Image) -> Self {
        Stays {
            code: image.exposed.functions || exposes_local_function(image),
            constants: image.exposed.constants,
            variables: image.exposed.variables,
        }
    }

    fn keeps(self, segment: SegmentKind) -> bool {
        match segment {
            SegmentKind::Code => self.code,
            SegmentKind::ReadOnly => self.constants,
            SegmentKind::Data | SegmentKind::LargeData => self.variables,
        }
    }
}

/// Whether code takes the address of a local function in the same section, of which no relocation tells: whether some
/// bytes of it, read as `lea` with a displacement from the instruction pointer, give the start of one.
fn exposes_local_function(image: &Image) -> bool {
    const LEA: u8 = 0x8d;
    const LENGTH: usize = 6;
    let locals = image
        .definitions
        .iter()
        .filter(|definition| definition.kind == OwnKind::Function && definition.rebound.is_none());
    let starts: FxHashSet<u64> = locals.map(|definition| definition.address).collect();
    if starts.is_empty() {
        return false;
    }
    let (start, code) = code_bytes(image);
    let is_lea = |window: &[u8]| window[0] == LEA && window[1] & 0b1100_0111 == 0b101;
    code.windows(LENGTH)
        .enumerate()
        .filter(|(_, window)| is_lea(window))
        .any(|(at, window)| {
            let displacement = i32::from_le_bytes([window[2], window[3], window[4], window[5]]);
            let next = start + (at + LENGTH) as u64;
            starts.contains(&next.wrapping_add_signed(i64::from(displacement)))
        })
}

fn code_bytes(image: &Image) -> (u64, &[u8]) {
    let code = SegmentKind::Code as usize;
    let (start, size) = (
        image.placement.addresses[code],
        image.placement.sizes[code].filled_bytes,
    );
    if size == 0 {
        return (start, &[]);
    }
    // SAFETY: the image's code is in memory and readable for as long as the module has not been discarded.
    let bytes = unsafe { std::slice::from_raw_parts(std::ptr::with_exposed_provenance(start as usize), size as usize) };
    (start, bytes)
}

/// What a thread has an address of while it needs an item.
fn range_of(item: &Retired) -> std::ops::Range<u64> {
    match item {
        Retired::Account(account) => account.addresses(),
        Retired::Module(module, ..) => {
            let code = SegmentKind::Code as usize;
            let start = module.image.placement.addresses[code];
            start..start + module.image.placement.sizes[code].total_bytes
        }
        Retired::Slot { .. } | Retired::Mark(_) => 0..0,
    }
}

fn bytes(module: &Module) -> u64 {
    module.image.placement.sizes.iter().map(|size| size.total_bytes).sum()
}
