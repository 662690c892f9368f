//! Unloading modules.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use crate::builder::Linkage;
use crate::error::{Error, Result};
use crate::replace::pause;
use crate::retire::Exposed;
use crate::session::{Locked, Session};
use crate::state::ModuleId;
use crate::thread_exit;

impl Session {
    /// Unloads a module: its destructors run, and its memory is freed.
    ///
    /// # Errors
    /// [`Error::InUse`] names the modules that are bound to it, or call its functions; they have to go first. With
    /// [`Linkage::Direct`] it also says if threads have thread-local objects of the module, which are destroyed when the
    /// thread ends; with [`Linkage::Stubs`] the memory stays until they are.
    ///
    /// # Safety
    /// Nobody uses the module's addresses any more. With [`Linkage::Direct`] no thread runs code of the module or will
    /// return to it.
    pub unsafe fn unload(&self, module: ModuleId) -> Result<()> {
        let _turn = self.turn()?;
        let mut state = self.lock();
        let Some(found) = state.modules.get(&module) else {
            return Err(Error::NoSuchModule);
        };
        let mut users = if found.users > 0 {
            state.user_names(module)
        } else {
            Vec::new()
        };
        let aims = state.aims_without(module);
        for (function, _) in aims.iter().filter(|(_, next)| next.is_none()) {
            users.extend(state.callers(*function, &BTreeSet::from([module])));
        }
        if self.options().linkage == Linkage::Direct {
            let objects = thread_exit::count(found.image.dso_handle);
            users.extend((objects > 0).then(|| format!("{objects} thread-local objects of running threads")));
        }
        if !users.is_empty() {
            users.sort_unstable();
            users.dedup();
            let module = found.name();
            return Err(Error::InUse { module, users });
        }
        state.aim(&aims)?;
        if state.stubs.is_some() {
            return self.unload_stubbed(state, module);
        }
        let Some(removed) = state.withdraw(module) else {
            return Err(Error::NoSuchModule);
        };
        // Destructors may use the session.
        drop(state);
        // SAFETY: the image is in memory until `discard`, and the author's code was trusted at the load.
        unsafe { removed.finalizer.run() };
        drop(removed.debugger);
        self.lock().discard(&removed.image);
        Ok(())
    }

    /// Gives a module up, with what is only there for it. Destructors run here, and the memory is freed when no thread
    /// can be in it.
    fn unload_stubbed(&self, mut state: Locked<'_>, module: ModuleId) -> Result<()> {
        let names = state.names_of(module);
        let finalizer = state.modules.get(&module).map(|module| Arc::clone(&module.finalizer));
        // What had been superseded by it, and was kept for its storage or for a rollback, goes with it.
        let unused = state.release_versions(module);
        // Another thread may collect while the destructors run.
        let guard = self.reclaimer().pin();
        self.give_up(&mut state, module, Exposed::Free);
        self.retire_unused(&mut state, unused);
        self.remove_stubs(&mut state, &names);
        drop(state);
        if let Some(finalizer) = finalizer {
            // SAFETY: the guard keeps the image in memory, and the author's code was trusted at the load.
            unsafe { finalizer.run() };
        }
        drop(guard);
        self.reclaim_some();
        Ok(())
    }

    /// Waits until no other thread replaces or unloads modules.
    pub(crate) fn turn(&self) -> Result<Turn<'_>> {
        let me = (rustix::thread::gettid().as_raw_nonzero().get(), crate::fork::count());
        let since = Instant::now();
        loop {
            let mut state = self.lock();
            match state.turn {
                Some(turn) if turn == me => return Err(Error::Nested),
                // A thread of the process that this one was forked from is not here to finish.
                Some((_, forks)) if forks == me.1 => {}
                _ => {
                    state.turn = Some(me);
                    return Ok(Turn { session: self });
                }
            }
            drop(state);
            std::thread::sleep(pause(since));
        }
    }
}

/// The right to replace and unload modules.
#[derive(Debug)]
pub(crate) struct Turn<'session> {
    session: &'session Session,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.session.lock().turn = None;
    }
}
