//! Debuggers: a patch's symbols and lines by gdb's JIT interface, where the target has it.
//!
//! gdb looks for `__jit_debug_descriptor` in the files of a process, and reads the list that it starts when it attaches
//! ("JIT Compilation Interface" in its manual). A program that compiles code at run time has one; in any other there is
//! no file to put it in, and [`symbol_files`](crate::symbol_files()) writes files for gdb's `add-symbol-file` instead.
//!
//! The list is also the target's, which may be adding to it at the moment, under a lock of its own. So the entries stay
//! in memory for good, whoever may point to them, and a lost race leaves gdb without the names and nothing else. Nothing
//! depends on the list, so it is brought up to date after everything else is done.

use restub_loader::Image;
use serde::{Deserialize, Serialize};

use crate::arena::Region;
use crate::error::Result;
use crate::image::Linked;
use crate::module::{Kind, Module};
use crate::plan::Planner;
use crate::procfs::Procfs;
use crate::registry::Registry;

/// Patches that gdb can know at a time.
const ENTRIES: u64 = 64;
/// `struct jit_code_entry`: next, previous, address and size of the file.
const ENTRY_BYTES: u64 = 32;
/// Where the descriptor has the first entry: behind a version, a number and a pointer.
const FIRST_OFFSET: u64 = 16;
/// The most that a file with lines and types may take; a larger one has functions only.
const LARGEST_BYTES: usize = 1 << 20;
const LONGEST_LIST: usize = 1 << 16;

/// The list of the target, and the memory of restub's entries.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Jit {
    descriptor: u64,
    entries: u64,
}

/// A patch's entry and file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct JitFile {
    /// The address of the entry; 0 if there is none.
    pub(crate) entry: u64,
    pub(crate) file: (u64, u64),
}

impl Planner<'_, '_> {
    /// Gives the patch a file in the target. Without one gdb does not know its names, which keeps nobody from patching.
    pub(crate) fn jit_file(&mut self, modules: &[Module], linked: &Linked) -> JitFile {
        self.try_jit_file(modules, linked).unwrap_or_default()
    }

    fn try_jit_file(&mut self, modules: &[Module], linked: &Linked) -> Option<JitFile> {
        let arena = *self.arena.get_or_insert(self.space.arenas[0]);
        let jit = match self.registry.jit.clone() {
            Some(jit) => jit,
            None => {
                let Some(descriptor) = descriptor(self.state.procfs, modules) else {
                    let note = "gdb does not know the patch by itself, since the program has no __jit_debug_descriptor; status \
                                --symbols writes a file for its add-symbol-file";
                    self.notes.push(note.into());
                    return None;
                };
                let bytes = ENTRIES * ENTRY_BYTES;
                let entries = self.space.find_free(&arena, Region::Data, bytes, ENTRY_BYTES)?;
                self.space.take(entries..entries + bytes);
                self.registry.add_own([(0, 0), (0, 0), (entries, bytes), (0, 0)]);
                self.registry.jit.insert(Jit { descriptor, entries }).clone()
            }
        };
        let taken = |entry: u64| self.registry.patches.iter().any(|patch| patch.jit.entry == entry);
        let entry = (0..ENTRIES)
            .map(|index| jit.entries + index * ENTRY_BYTES)
            .find(|entry| !taken(*entry))?;
        let contents = linked.segments.map(|(address, _)| linked.contents(address));
        let file = restub_loader::elf_image(&linked.image, contents).ok()?;
        let file = if file.len() > LARGEST_BYTES {
            let image = &linked.image;
            let without_lines = Image {
                placement: image.placement,
                symbols: image.symbols.clone(),
                objects: image.objects.clone(),
                sections: image.sections.clone(),
                ..Image::default()
            };
            restub_loader::elf_image(&without_lines, contents).ok()?
        } else {
            file
        };
        let bytes = file.len() as u64;
        let address = self.space.find_free(&arena, Region::Data, bytes, 64)?;
        self.space.take(address..address + bytes);
        self.writes.push((address, file));
        Some(JitFile {
            entry,
            file: (address, bytes),
        })
    }
}

/// The descriptor, in whatever module gdb finds it.
fn descriptor(procfs: &Procfs, modules: &[Module]) -> Option<u64> {
    const VERSION: u32 = 1;
    let all = modules.iter().flat_map(|module| module.named("__jit_debug_descriptor"));
    let mut data = all.filter(|symbol| symbol.kind == Kind::Data);
    let registers = modules
        .iter()
        .any(|module| module.named("__jit_debug_register_code").next().is_some());
    let symbol = data.find(|symbol| procfs.read_word(symbol.address).map(|word| word as u32) == Some(VERSION))?;
    registers.then_some(symbol.address)
}

/// Puts the entries of all patches that are applied into the list, and takes out those of all others. The process is
/// patched by then, so that it is no failure if gdb is not told.
pub(crate) fn update(procfs: &Procfs, registry: &Registry) {
    let Some(jit) = &registry.jit else { return };
    for patch in registry.patches.iter().filter(|patch| patch.jit.entry != 0) {
        let place = link_to(procfs, jit, patch.jit.entry);
        let _ = match (place, patch.live) {
            (None, true) => insert(procfs, jit, patch.jit),
            (Some(place), false) => remove(procfs, jit, place, patch.jit.entry),
            _ => Ok(()),
        };
    }
}

/// Where the list has the address of an entry, if it has it.
fn link_to(procfs: &Procfs, jit: &Jit, entry: u64) -> Option<u64> {
    let mut place = jit.descriptor + FIRST_OFFSET;
    for _ in 0..LONGEST_LIST {
        match procfs.read_word(place)? {
            0 => return None,
            next if next == entry => return Some(place),
            next => place = next,
        }
    }
    None
}

fn insert(procfs: &Procfs, jit: &Jit, file: JitFile) -> Result<()> {
    let first = jit.descriptor + FIRST_OFFSET;
    let next = procfs.read_word(first).unwrap_or(0);
    let words = [next, 0, file.file.0, file.file.1];
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    procfs.write(file.entry, &bytes)?;
    if next != 0 {
        procfs.write(next + 8, &file.entry.to_le_bytes())?;
    }
    procfs.write(first, &file.entry.to_le_bytes())
}

fn remove(procfs: &Procfs, jit: &Jit, place: u64, entry: u64) -> Result<()> {
    let next = procfs.read_word(entry).unwrap_or(0);
    procfs.write(place, &next.to_le_bytes())?;
    if next != 0 {
        // The first entry has none before it.
        let before = if place == jit.descriptor + FIRST_OFFSET {
            0
        } else {
            place
        };
        procfs.write(next + 8, &before.to_le_bytes())?;
    }
    Ok(())
}
