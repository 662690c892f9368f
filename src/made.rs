//! A module that has been linked and made ready to run, and that nobody knows of yet.

use std::ops::Range;
use std::sync::Arc;

use restub_loader::{Image, ImageDefinition, Input, OwnKind, SegmentKind, Window};

use crate::batch::Pending;
use crate::debugger;
use crate::error::{Error, Result};
use crate::perf;
use crate::rebind::{Fate, Outcome, Purpose};
use crate::run::{self, Finalizer};
use crate::session::Session;
use crate::state::{Module, ModuleId, State};
use crate::stubs::{Aim, FunctionId};

/// A module before it is published.
#[derive(Debug)]
pub(crate) struct Made {
    pub(crate) id: ModuleId,
    pub(crate) image: Arc<Image>,
    pub(crate) uses: Vec<ModuleId>,
    pub(crate) finalizer: Arc<Finalizer>,
    pub(crate) debugger: Option<debugger::Registration>,
    pub(crate) outcome: Outcome,
}

impl Made {
    pub(crate) fn name(&self) -> String {
        run::module_name(&self.image.objects)
    }

    /// The own definitions, each with what becomes of it.
    pub(crate) fn definitions(&self) -> impl Iterator<Item = (&ImageDefinition, &Fate)> {
        self.image.definitions.iter().zip(&self.outcome.fates)
    }

    /// The code of constructors: the functions that the image's arrays name, and those that compilers make for them to
    /// call.
    pub(crate) fn constructor_code(&self) -> Vec<Range<u64>> {
        const MADE_BY_COMPILERS: [&str; 3] = [
            "_GLOBAL__sub_I_",
            "_Z41__static_initialization_and_destruction_0",
            "__cxx_global_var_init",
        ];
        let arrays = self.image.preinit.iter().chain(&self.image.init);
        let starts: Vec<u64> = arrays.flat_map(run::pointers).collect();
        let is_one = |definition: &&ImageDefinition| {
            let made = MADE_BY_COMPILERS
                .iter()
                .any(|prefix| definition.name.starts_with(prefix));
            definition.kind == OwnKind::Function && (made || starts.contains(&definition.address))
        };
        let functions = self.image.definitions.iter().filter(is_one);
        functions
            .map(|function| function.address..function.address + function.size)
            .collect()
    }
}

impl Session {
    /// Links objects and makes them ready to run, with their unwind tables and debuggers told; their constructors have not
    /// run. On an error everything is as it was before.
    ///
    /// # Safety
    /// The objects' IFUNC resolvers run here.
    pub(crate) unsafe fn make(
        &self,
        state: &mut State,
        inputs: &[Input<'_>],
        purpose: Purpose<'_>,
        pending: &Pending,
    ) -> Result<Made> {
        state.host.refresh();
        let options = self.link_options();
        let (mut image, uses, outcome) = self.link(state, inputs, &options, purpose, pending)?;
        let refused = !outcome.refusals.is_empty();
        let checked = match purpose {
            _ if refused => Err(Error::Refused(outcome.refusals.clone())),
            Purpose::Load => state.check_duplicates(&image),
            Purpose::Replace(_) => Ok(()),
        };
        let prepared = checked.and_then(|()| {
            // SAFETY: the caller trusts the code.
            unsafe { state.prepare(&image) }
        });
        if let Err(error) = prepared {
            state.remove_unheard(&outcome.added);
            state.release(&image);
            return Err(error);
        }
        if state.stubs.is_none() {
            state.unwind.drop_old();
        }
        // SAFETY: the image stays in memory until `discard`, which removes the table first.
        unsafe { state.unwind.add(&image) };
        let debugger = self.options().gdb.then(|| state.tell_gdb(&mut image)).flatten();
        if self.options().perf {
            perf::append(&image);
        }
        Ok(Made {
            id: state.next_id(),
            finalizer: Finalizer::new(&image),
            image: Arc::new(image),
            uses,
            debugger,
            outcome,
        })
    }
}

impl State {
    /// Takes back what was made, with the stubs that were added for it.
    pub(crate) fn unmake(&mut self, made: Made) {
        drop(made.debugger);
        self.remove_unheard(&made.outcome.added);
        self.discard(&made.image);
    }

    /// Removes stubs that nobody has heard of.
    pub(crate) fn remove_unheard(&mut self, functions: &[FunctionId]) {
        if let Some(stubs) = &mut self.stubs {
            for id in functions {
                if let Some((set, slot)) = stubs.remove(*id) {
                    stubs.reuse(set, slot);
                }
            }
        }
    }

    /// The aims that make the functions of a module the ones that are called.
    pub(crate) fn aims_of(&self, made: &Made) -> Vec<Aim> {
        let Some(stubs) = &self.stubs else {
            return Vec::new();
        };
        let current = made.definitions().filter(|(_, fate)| **fate == Fate::Current);
        let functions = current.filter(|(definition, _)| definition.kind == OwnKind::Function);
        functions
            .filter_map(|(definition, _)| Some((stubs.id(&definition.name)?, Some(definition.address))))
            .collect()
    }

    /// Publishes what was made. Its functions' stubs have been [aimed](State::aims_of).
    pub(crate) fn publish_made(&mut self, made: Made) -> ModuleId {
        let module = Module {
            image: made.image,
            uses: made.uses,
            users: 0,
            finalizer: made.finalizer,
            debugger: made.debugger,
            stubbed: None,
        };
        if self.stubs.is_some() {
            self.publish_stubbed(made.id, module, made.outcome);
        } else {
            self.publish(made.id, module);
        }
        made.id
    }

    /// Gives every visible function of an image a stub, if it has none: an image that calls its own functions directly
    /// does not ask for them.
    pub(crate) fn add_stubs(&mut self, image: &Image, outcome: &mut Outcome) -> Result<()> {
        let Some(stubs) = &mut self.stubs else {
            return Ok(());
        };
        let code = SegmentKind::Code as usize;
        let start = image.placement.addresses[code];
        let window = Window {
            start,
            end: start + image.placement.sizes[code].total_bytes,
        };
        for (definition, fate) in image.definitions.iter().zip(&outcome.fates) {
            if definition.kind == OwnKind::Function && *fate == Fate::Current {
                let (id, added) = stubs.take(&definition.name, window, &mut self.memory)?;
                if added {
                    outcome.added.push(id);
                }
            }
        }
        Ok(())
    }
}
