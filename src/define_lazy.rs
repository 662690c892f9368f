//! Functions of a session that are compiled when they are called for the first time.

use std::sync::Arc;

use restub_loader::{Input, Reach};

use crate::error::{Error, Result};
use crate::lazy::{self, LazyFunctions};
use crate::retire::{Reclaim, Retired};
use crate::session::Session;
use crate::state::{Entry, ModuleId, State};
use crate::stubs::{FunctionId, LazyStub};

impl Session {
    /// Defines a function that is compiled when it is called for the first time, on the thread that calls it.
    ///
    /// `compile` gives the objects that define it, which are loaded as one module; a module loaded in the usual way may
    /// also bring the definition. However many threads call meanwhile, it is asked once, and the others wait. If it
    /// fails, or the objects cannot be loaded or do not define the function, each of these calls gets the answer of
    /// [`Builder::on_lazy_failure`](crate::Builder::on_lazy_failure), and the next one tries again. A call that the
    /// compilation itself makes of the function fails as well.
    ///
    /// # Errors
    /// [`Error::NoStubs`] if the session was not built with [`Linkage::Stubs`](crate::Linkage::Stubs);
    /// [`Error::Defined`] if there is a definition already; [`Error::Link`] where there is no memory for the stub.
    ///
    /// # Safety
    /// As for [`Session::load`], when the function is called; and callers give it the type that it will have.
    pub unsafe fn define_lazy(
        &self,
        name: &str,
        mut compile: impl FnMut() -> Result<Vec<Input<'static>>, Box<dyn std::error::Error + Send + Sync>> + Send + 'static,
    ) -> Result<()> {
        let entry = lazy::entry::address()?;
        let mut state = self.lock();
        if state.symbols.contains_key(name) {
            return Err(Error::Defined(name.to_owned()));
        }
        let (function, stub, functions) = state.add_lazy(name, entry)?;
        let (session, owned) = (self.downgrade(), name.to_owned());
        functions.define(stub.index(), name, move || {
            let session = Session::upgrade(&session).ok_or(Error::Gone)?;
            let objects = compile().map_err(Error::Compile)?;
            // SAFETY: whoever defined the function promised this for its objects.
            unsafe { session.load_lazy(&owned, &objects, stub) }
        });
        state.aim(&[(function, Some(stub.address()))])?;
        let entry = Entry::to_come(function, stub.address(), 0);
        state.symbols.insert(name.into(), entry);
        Ok(())
    }

    /// Loads the objects of a lazy function, and returns the address of its stub, at which calls start again.
    unsafe fn load_lazy(&self, name: &str, objects: &[Input<'_>], stub: LazyStub) -> Result<u64> {
        let is_lazy = |entry: &Entry| entry.module == ModuleId::NONE;
        if self.lock().symbols.get(name).is_some_and(is_lazy) {
            // SAFETY: the caller's promise.
            let module = unsafe { self.load(objects) }?;
            if self.lock().symbols.get(name).is_none_or(is_lazy) {
                // SAFETY: nobody has heard of the module.
                unsafe { self.unload(module) }?;
                return Err(Error::NoSuchSymbol(name.to_owned()));
            }
        }
        let mut state = self.lock();
        let address = state.symbols.get(name).and_then(|entry| entry.function);
        let address = address
            .zip(state.stubs.as_ref())
            .map(|(function, stubs)| stubs.address(function));
        if let Some(spares) = state.spares.get_mut(name) {
            spares.retain(|entry| !is_lazy(entry));
        }
        // A scan does not look for threads that are about to call the stub, so there it stays.
        if self.options().reclaim == Reclaim::Epochs
            && let Some((set, slot)) = state.stubs.as_mut().and_then(|stubs| stubs.remove_lazy(stub))
        {
            self.retire(Retired::Slot { set, slot }, 0);
        }
        address.ok_or_else(|| Error::NoSuchSymbol(name.to_owned()))
    }
}

impl State {
    fn add_lazy(&mut self, name: &str, entry: u64) -> Result<(FunctionId, LazyStub, Arc<LazyFunctions>)> {
        let window = self.window(Reach::Default)?;
        let stubs = self.stubs.as_mut().ok_or(Error::NoStubs)?;
        let (function, _) = stubs.take(name, window, &mut self.memory)?;
        let stub = stubs.take_lazy(name, window, &mut self.memory, entry)?;
        let functions = stubs.lazy_functions(stub).ok_or(Error::NoStubs)?;
        Ok((function, stub, functions))
    }
}
