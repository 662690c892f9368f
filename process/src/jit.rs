//! Debuggers: a patch's symbols and lines by gdb's JIT interface, where the target has it.
//!
//! gdb looks for `__jit_debug_descriptor` in the files of a process, and reads the list that it starts when it attaches
//! ("JIT Compilation Interface" in its manual). A program that compiles code at run time has one; in any other there is
//! no file to put it in, and [`symbol_files`](crate::symbol_files()) writes files for gdb's `add-symbol-file` instead.
//!
//! The list is also the target's, which adds to it and takes from it under a lock of its own, and frees what it takes out.
//! So restub changes it in one place, once, while no thread runs: an **anchor** goes to its end. All that follows the
//! anchor is restub's, and is changed while the target runs. Programs add at the start; one that is just doing so, or is
//! just taking out the last of its entries, drops the anchor, and with it the names that gdb would know. The next stop
//! puts it there again. The list is whole after every single write, and entries and anchor stay in memory for good.

use std::ops::Range;

use restub_loader::Image;
use serde::{Deserialize, Serialize};

use crate::arena::{Arena, Region};
use crate::error::Result;
use crate::image::Linked;
use crate::module::{Kind, Module};
use crate::plan::Planner;
use crate::procfs::Procfs;
use crate::registry::Registry;

/// The anchor, and patches that gdb can know at a time.
const ENTRIES: u64 = 64;
/// `struct jit_code_entry`: next, previous, address and size of the file.
const ENTRY_BYTES: u64 = 32;
/// Where the descriptor has the first entry: behind a version, a number and a pointer.
const FIRST_OFFSET: u64 = 16;
/// Where an entry has the one before it; the next one comes first.
const PREVIOUS_OFFSET: u64 = 8;
/// The most that a file with lines and types may take; a larger one has functions only.
const LARGEST_BYTES: usize = 1 << 20;
/// Threads stand while the end of the list is looked for.
const LONGEST_LIST: usize = 1000;

/// The list of the target, and the memory of restub's entries.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Jit {
    /// The descriptor's address; 0 if the module that has it is not there any more.
    descriptor: u64,
    /// The address of the anchor, which the other entries follow.
    anchor: u64,
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
        let descriptor = descriptor(self.state.procfs, modules);
        if let Some(jit) = &mut self.registry.jit {
            jit.descriptor = descriptor.unwrap_or(0);
        }
        let Some(descriptor) = descriptor else {
            let note = "gdb does not know the patch by itself, since the program has no __jit_debug_descriptor; status \
                        --symbols writes a file for its add-symbol-file";
            self.notes.push(note.into());
            return None;
        };
        let arena = *self.arena.get_or_insert(self.space.arenas[0]);
        let jit = match self.registry.jit.clone() {
            Some(jit) => jit,
            None => self.anchor(&arena, descriptor)?,
        };
        let taken = |entry: u64| self.registry.patches.iter().any(|patch| patch.jit.entry == entry);
        let entry = (1..ENTRIES)
            .map(|index| jit.anchor + index * ENTRY_BYTES)
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

    /// The anchor, with a file that says nothing, and room for the other entries.
    fn anchor(&mut self, arena: &Arena, descriptor: u64) -> Option<Jit> {
        let file = restub_loader::elf_image(&Image::default(), [&[]; 4]).ok()?;
        let bytes = ENTRIES * ENTRY_BYTES + file.len() as u64;
        let anchor = self.space.find_free(arena, Region::Data, bytes, ENTRY_BYTES)?;
        self.space.take(anchor..anchor + bytes);
        self.registry.add_own([(0, 0), (0, 0), (anchor, bytes), (0, 0)]);
        let file_at = anchor + ENTRIES * ENTRY_BYTES;
        self.writes
            .push((anchor, entry_bytes([0, 0, file_at, file.len() as u64])));
        self.writes.push((file_at, file));
        Some(self.registry.jit.insert(Jit { descriptor, anchor }).clone())
    }
}

fn entry_bytes(words: [u64; 4]) -> Vec<u8> {
    words.map(u64::to_le_bytes).concat()
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

impl Jit {
    /// Whether the target's list leads to the anchor.
    pub(crate) fn is_linked(&self, procfs: &Procfs) -> bool {
        self.end_of_list(procfs).is_none_or(|end| end == self.anchor)
    }

    /// Puts the anchor at the end of the target's list. No thread may run: an entry that is reached is one that nobody
    /// has freed. The process is patched by then, so that it is no failure if gdb is not told.
    pub(crate) fn link(&self, procfs: &Procfs) {
        let Some(place) = self.end_of_list(procfs).filter(|end| *end != self.anchor) else {
            return;
        };
        let before = if place == self.descriptor + FIRST_OFFSET {
            0
        } else {
            place
        };
        let _ = procfs
            .write(self.anchor + PREVIOUS_OFFSET, &before.to_le_bytes())
            .and_then(|()| procfs.write(place, &self.anchor.to_le_bytes()));
    }

    /// Where the target's list ends: the word that holds 0, or the anchor. `None` if it is too long, or no list.
    fn end_of_list(&self, procfs: &Procfs) -> Option<u64> {
        if self.descriptor == 0 {
            return None;
        }
        let mut place = self.descriptor + FIRST_OFFSET;
        for _ in 0..LONGEST_LIST {
            match procfs.read_word(place)? {
                0 => return Some(place),
                next if next == self.anchor => return Some(next),
                // A word on two pages is not written at once.
                next if !next.is_multiple_of(8) => return None,
                next => place = next,
            }
        }
        None
    }

    fn entries(&self) -> Range<u64> {
        self.anchor..self.anchor + ENTRIES * ENTRY_BYTES
    }
}

/// Puts the entries of all patches that are applied behind the anchor, and takes out all others. What the list does not
/// lead to any more may be written anew.
pub(crate) fn update(procfs: &Procfs, registry: &Registry) -> Result<()> {
    let Some(jit) = &registry.jit else { return Ok(()) };
    let files = registry.live().map(|patch| patch.jit);
    let mut missing: Vec<JitFile> = files.filter(|file| file.entry != 0).collect();
    let mut place = jit.anchor;
    for _ in 0..ENTRIES {
        let next = procfs.read_word(place).filter(|next| jit.entries().contains(next));
        let Some(next) = next else { break };
        if let Some(known) = missing.iter().position(|file| file.entry == next) {
            missing.remove(known);
            place = next;
        } else {
            let after = procfs.read_word(next).unwrap_or(0);
            procfs.write(place, &after.to_le_bytes())?;
        }
    }
    for JitFile { entry, file } in missing {
        let first = procfs.read_word(jit.anchor).unwrap_or(0);
        procfs.write(entry, &entry_bytes([first, jit.anchor, file.0, file.1]))?;
        procfs.write(jit.anchor, &entry.to_le_bytes())?;
    }
    Ok(())
}
