//! Modules that are made in one transaction, and may refer to one another.
//!
//! A function can be called by name before its module is linked, through its stub. A variable has to be there, so modules
//! are linked in an order in which that is so, if there is one.

use object::elf;
use restub_loader::{Input, Memory as _, Object, Reach, SegmentSize, SymbolBinding, SymbolPlace, Window};
use rustc_hash::FxHashMap;

use crate::error::{Error, Result};
use crate::made::Made;
use crate::rebind::{Fate, Purpose};
use crate::session::Session;
use crate::state::{Entry, ModuleId, State};
use crate::stubs::{Aim, FunctionId};

/// Names that the modules of a transaction define for each other.
pub(crate) type Pending = FxHashMap<Box<str>, Entry>;

/// Modules before they are published, in an order in which each comes after those whose variables it uses.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    pub(crate) mades: Vec<Made>,
    /// For each of them, which of the units it was made of.
    units: Vec<usize>,
    /// Functions that got a stub before their module was linked.
    declared: Vec<FunctionId>,
}

impl Session {
    /// Makes a module of each unit. On an error everything is as it was before.
    ///
    /// # Safety
    /// As for [`Session::make`].
    pub(crate) unsafe fn make_batch(
        &self,
        state: &mut State,
        units: &[&[Input<'_>]],
        purpose: Purpose<'_>,
    ) -> Result<Batch> {
        let mut batch = Batch::default();
        // SAFETY: the caller's promise.
        match unsafe { self.fill_batch(state, units, purpose, &mut batch) } {
            Ok(()) => Ok(batch),
            Err(error) => {
                state.unmake_batch(batch);
                Err(error)
            }
        }
    }

    unsafe fn fill_batch(
        &self,
        state: &mut State,
        units: &[&[Input<'_>]],
        purpose: Purpose<'_>,
        batch: &mut Batch,
    ) -> Result<()> {
        let mut pending = Pending::default();
        if units.len() > 1 {
            state.declare(units, &mut pending, &mut batch.declared)?;
        }
        let mut open: Vec<usize> = (0..units.len()).collect();
        while !open.is_empty() {
            let mut wanting = None;
            let mut later = Vec::new();
            for &unit in &open {
                // SAFETY: the caller's promise.
                match unsafe { self.make(state, units[unit], purpose, &pending) } {
                    Ok(made) => {
                        let noted = state.note_pending(&made, batch, &mut pending);
                        batch.mades.push(made);
                        batch.units.push(unit);
                        noted?;
                    }
                    // What it lacks may be a variable of a later one.
                    Err(error @ Error::Link(restub_loader::Error::Undefined(_))) => {
                        wanting.get_or_insert(error);
                        later.push(unit);
                    }
                    Err(error) => return Err(error),
                }
            }
            if let Some(error) = wanting
                && later.len() == open.len()
            {
                return Err(error);
            }
            open = later;
        }
        Ok(())
    }
}

impl State {
    /// Gives every function that the objects of the units define a stub, and its name a place among those to come.
    fn declare(&mut self, units: &[&[Input<'_>]], pending: &mut Pending, declared: &mut Vec<FunctionId>) -> Result<()> {
        for input in units.iter().copied().flatten().filter(|input| !input.is_archive()) {
            let object = Object::parse(input.name(), input.bytes())?;
            let reach = if is_low(&object) { Reach::Low } else { Reach::Default };
            let window = self.window(reach)?;
            for symbol in object.symbols() {
                let symbol = symbol?;
                let SymbolPlace::Section(section) = symbol.place else {
                    continue;
                };
                let visible = symbol.binding != elf::STB_LOCAL
                    && matches!(symbol.visibility, elf::STV_DEFAULT | elf::STV_PROTECTED);
                let code = object.sections()[section].flags.contains(elf::SHF_EXECINSTR);
                let Some(name) = std::str::from_utf8(symbol.name).ok().filter(|_| visible && code) else {
                    continue;
                };
                if self.symbols.contains_key(name) || pending.contains_key(name) {
                    continue;
                }
                let stubs = self.stubs.as_mut().ok_or(Error::NoStubs)?;
                let (function, added) = stubs.take(name, window, &mut self.memory)?;
                declared.extend(added.then_some(function));
                let entry = Entry::to_come(function, stubs.address(function), symbol.size);
                pending.insert(name.into(), entry);
            }
        }
        Ok(())
    }

    /// Where an image with that reach goes.
    pub(crate) fn window(&mut self, reach: Reach) -> Result<Window> {
        let sizes = [SegmentSize {
            align: 1,
            ..SegmentSize::default()
        }; 4];
        Ok(self.memory.reserve(reach, &sizes)?)
    }

    /// Lets later modules of the batch find what one defines.
    fn note_pending(&self, made: &Made, batch: &Batch, pending: &mut Pending) -> Result<()> {
        for (definition, fate) in made.definitions() {
            if !matches!(fate, Fate::Current | Fate::Reset) || definition.binding == SymbolBinding::Local {
                continue;
            }
            let entry = self.entry(made.id, &made.image, definition);
            let Some(first) = pending.insert(definition.name.clone(), entry) else {
                continue;
            };
            if !first.weak && !entry.weak {
                let first = batch.mades.iter().find(|made| made.id == first.module);
                return Err(Error::Link(restub_loader::Error::Duplicate {
                    symbol: definition.name.to_string(),
                    first: first.map_or_else(String::new, Made::name),
                    second: made.name(),
                }));
            }
        }
        Ok(())
    }

    /// Takes back what was made.
    pub(crate) fn unmake_batch(&mut self, batch: Batch) {
        for made in batch.mades {
            self.unmake(made);
        }
        self.remove_unheard(&batch.declared);
    }

    /// The aims that make the functions of a batch the ones that are called.
    pub(crate) fn aims_of_batch(&self, batch: &Batch) -> Vec<Aim> {
        batch.mades.iter().flat_map(|made| self.aims_of(made)).collect()
    }

    /// Publishes a batch, whose functions' stubs have been aimed, and returns its modules in the order of their units.
    pub(crate) fn publish_batch(&mut self, batch: Batch) -> Vec<ModuleId> {
        let mut modules = vec![ModuleId::NONE; batch.mades.len()];
        for (made, unit) in batch.mades.into_iter().zip(batch.units) {
            modules[unit] = self.publish_made(made);
        }
        // Of functions that were declared and are in no image after all, such as those of groups that were not chosen.
        let unheard: Vec<_> = batch.declared.into_iter().filter(|id| self.is_unheard(*id)).collect();
        self.remove_unheard(&unheard);
        modules
    }

    fn is_unheard(&self, id: FunctionId) -> bool {
        let Some(stubs) = &self.stubs else { return false };
        stubs.callers(id) == 0 && stubs.target(id).is_none()
    }
}

/// Whether an object has to be below 2 GiB: it has absolute fields of 32 bits or less.
fn is_low(object: &Object<'_>) -> bool {
    let narrow = [elf::R_X86_64_32, elf::R_X86_64_32S, elf::R_X86_64_16, elf::R_X86_64_8].map(|number| number.0);
    let sections = object.sections().iter().filter(|section| section.is_allocated());
    sections
        .flat_map(|section| section.relocations.iter())
        .any(|relocation| narrow.contains(&relocation.number))
}
