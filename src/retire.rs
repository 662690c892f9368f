//! Giving modules up, and freeing their memory once no thread can be in them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use restub_loader::SegmentKind;
use restub_stubs::{FreedSlot, ScanOptions, ScanReport};

use crate::error::{Error, Result};
use crate::session::Session;
use crate::state::{Module, ModuleId, State};

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

/// What waits until no thread can be in it.
#[derive(Debug)]
pub(crate) enum Retired {
    Module(Box<Module>),
    /// The slot of a stub whose name is gone.
    Slot {
        set: u32,
        slot: FreedSlot,
    },
    /// Nothing: tells that everybody who was pinned has finished.
    Mark(Arc<AtomicBool>),
}

impl Session {
    /// Frees modules that were given up and that no thread can be in any more. Their destructors run on this thread.
    ///
    /// Waits for no pinned thread. Loading and replacing do the same first, unless the session [scans](Reclaim::Scan).
    ///
    /// # Errors
    /// [`Error::Scan`] if threads cannot be scanned; nothing is freed then.
    pub fn collect(&self) -> Result<Collected> {
        let operation = crate::fork::Operation::begin();
        let (retired, scan) = match self.reclaim() {
            Reclaim::Epochs => (self.reclaimer().collect(), None),
            Reclaim::Scan(options) => {
                let (retired, report) = self
                    .reclaimer()
                    .collect_with_scan(code_range, options)
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
        for item in retired {
            self.note_reclaimed();
            match item {
                Retired::Module(module) => {
                    collected.modules += 1;
                    collected.bytes += bytes(&module);
                    // SAFETY: the image is in memory until `discard`, and the author's code was trusted at the load.
                    unsafe { module.finalizer.run() };
                    drop(module.debugger);
                    self.lock().discard(&module.image);
                }
                Retired::Slot { set, slot } => {
                    if let Some(stubs) = &mut self.lock().stubs {
                        stubs.reuse(set, slot);
                    }
                }
                // Release: pairs with the acquire load of whoever waits for it.
                Retired::Mark(reached) => reached.store(true, Ordering::Release),
            }
        }
        collected
    }

    /// Frees what can be freed, before more is added.
    pub(crate) fn reclaim_some(&self) {
        if *self.reclaim() == Reclaim::Epochs && self.has_retired() {
            let collected = self.collect();
            debug_assert!(collected.is_ok(), "only scans fail");
        }
    }

    /// Gives up modules that were superseded by a new one, unless they are kept for a rollback, and that nothing is bound
    /// to.
    pub(crate) fn retire_superseded(&self, state: &mut State, by: ModuleId) {
        state.hold_versions(by, self.versions());
        let mut candidates: Vec<ModuleId> = state.superseded.iter().copied().collect();
        while let Some(id) = candidates.pop() {
            let Some(module) = state.modules.get(&id) else {
                continue;
            };
            let unused = module.users == 0;
            let held = module.stubbed.as_deref().is_none_or(|stubbed| stubbed.is_held);
            if unused && !held {
                candidates.extend(&module.uses);
                self.give_up(state, id);
            }
        }
    }

    /// Takes a module that nothing needs any more out of the session, and frees it when no thread can be in it.
    ///
    /// Its names have no definition after that, unless another module has a spare one; the stubs have been aimed so.
    pub(crate) fn give_up(&self, state: &mut State, id: ModuleId) {
        let Some(module) = state.withdraw(id) else {
            return;
        };
        state.superseded.remove(&id);
        let bytes = bytes(&module);
        self.retire(Retired::Module(Box::new(module)), bytes);
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
            {
                let (set, slot) = stubs.remove(id);
                self.retire(Retired::Slot { set, slot }, 0);
            }
        }
    }
}

impl State {
    /// Keeps as many versions before a module as are wanted for rollbacks, and no more.
    fn hold_versions(&mut self, of: ModuleId, versions: usize) {
        let mut line = vec![(of, 0)];
        while let Some((id, depth)) = line.pop() {
            let before = self
                .stubbed(id)
                .map_or_else(Vec::new, |stubbed| stubbed.predecessors.clone());
            for id in before {
                if let Some(stubbed) = self.stubbed_mut(id) {
                    stubbed.is_held = depth < versions;
                    line.push((id, depth + 1));
                }
            }
        }
    }
}

fn code_range(item: &Retired) -> std::ops::Range<u64> {
    match item {
        Retired::Module(module) => {
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
