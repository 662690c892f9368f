//! Redirecting functions: a slot for each, the jump at its entry, and the way to the version that runs.

use std::collections::BTreeSet;

use crate::arena::{Arena, PADS};
use crate::counterpart::Matched;
use crate::entry::{self, Entry, Method, NEAR_BLOCK_BYTES, long_jump};
use crate::error::Result;
use crate::module::{Module, Symbol};
use crate::plan::{EntryChange, Planner, Replacement, hex};
use crate::registry::SlotRecord;
use crate::safety::Watch;

impl Planner<'_, '_> {
    /// Finds or makes the slot of every function that is replaced.
    pub(crate) fn redirect<'m>(&mut self, module: &'m Module, matched: &Matched<'m>) -> Result<Vec<Replacement<'m>>> {
        let mut replacements = Vec::new();
        for found in &matched.functions {
            if let Some(slot) = self.slot(module, found.symbol)? {
                replacements.push(Replacement {
                    object: found.object,
                    definition: found.definition,
                    symbol: found.symbol,
                    slot,
                });
            }
        }
        Ok(replacements)
    }

    /// The slot of a function. `None` if it is refused.
    pub(crate) fn slot(&mut self, module: &Module, symbol: &Symbol) -> Result<Option<u64>> {
        let procfs = self.state.procfs;
        let known = self
            .registry
            .slots
            .iter()
            .find(|slot| slot.address == symbol.address)
            .cloned();
        if let Some(known) = known {
            let now = procfs.read_vec(known.place, known.jump.len()).unwrap_or_default();
            if now == known.jump {
                return Ok(Some(known.slot));
            }
            if now == known.original {
                self.change_entry(&known);
                return Ok(Some(known.slot));
            }
            if !known.stack.is_empty() {
                self.refuse(
                    "changed",
                    known.name,
                    format!(
                        "the jump at {:#x} is not there any more; something else writes there",
                        known.place
                    ),
                );
                return Ok(None);
            }
            // A library that is not there any more had a function at this address.
            for slot in self.registry.slots.iter_mut().filter(|slot| slot.slot == known.slot) {
                slot.address = 0;
            }
        }
        const LONGEST: u64 = 1 << 20;
        let length = (module.next_start(symbol.address) - symbol.address).min(LONGEST);
        let Some(bytes) = procfs.read_vec(symbol.address, length as usize) else {
            self.refuse(
                "unreadable",
                symbol.name.to_string(),
                format!("its code at {:#x} cannot be read", symbol.address),
            );
            return Ok(None);
        };
        let in_file = module.initial(symbol.address, length.min(32));
        if in_file.is_some_and(|in_file| !bytes.starts_with(in_file)) {
            self.refuse(
                "changed",
                symbol.name.to_string(),
                "its first bytes are not those of its file: a debugger or another patcher has changed them".into(),
            );
            return Ok(None);
        }
        match entry::analyze(module, symbol, &bytes) {
            Ok(entry) => self.new_slot(module, symbol, &entry),
            Err(reason) => {
                self.refuse("entry", symbol.name.to_string(), reason);
                Ok(None)
            }
        }
    }

    fn new_slot(&mut self, module: &Module, symbol: &Symbol, entry: &Entry) -> Result<Option<u64>> {
        let near = match self.space.near_block(&module.range, NEAR_BLOCK_BYTES) {
            Some(near) => near,
            None => {
                self.refuse(
                    "space",
                    symbol.name.to_string(),
                    "no free address range within 2 GiB of it".into(),
                );
                return Ok(None);
            }
        };
        let arena = *self.arena.get_or_insert(self.space.arenas[0]);
        let used: BTreeSet<u64> = self.registry.slots.iter().map(|slot| slot.slot).collect();
        let Some(slot) = (0..crate::arena::SLOTS).find(|slot| !used.contains(slot)) else {
            self.refuse(
                "slots",
                symbol.name.to_string(),
                format!(
                    "{} functions of the process are redirected already, which is all there is room for",
                    used.len()
                ),
            );
            return Ok(None);
        };
        let stub = arena.stub(slot);
        let (block, jump) = match (entry.near_block(near, stub), entry.jump(near, stub)) {
            (Ok(block), Some(jump)) => (block, jump),
            (Err(reason), _) => {
                self.refuse("entry", symbol.name.to_string(), reason);
                return Ok(None);
            }
            (_, None) => {
                self.refuse(
                    "entry",
                    symbol.name.to_string(),
                    "no memory within reach of a 5-byte jump".into(),
                );
                return Ok(None);
            }
        };
        self.writes.push((near, block.bytes));
        self.writes.push((arena.pad(slot, 0), long_jump(block.original)));
        self.writes.push((stub, arena.stub_bytes(slot)));
        self.writes
            .push((arena.word(slot), arena.pad(slot, 0).to_le_bytes().to_vec()));
        let record = SlotRecord {
            slot,
            name: symbol.name.to_string(),
            module: module.path.display().to_string(),
            build_id: hex(&module.build_id),
            address: symbol.address,
            size: symbol.size,
            place: entry.place,
            original: entry.original.clone(),
            jump,
            near,
            stack: Vec::new(),
            used_pads: 1,
        };
        self.watch
            .add(entry.changed(), format!("the first bytes of {}", symbol.name));
        self.watch.add_moves(&block.moves);
        self.entries.push(EntryChange {
            place: record.place,
            old: record.original.clone(),
            new: record.jump.clone(),
        });
        self.registry.slots.push(record);
        Ok(Some(slot))
    }

    /// Redirects a function again whose entry was given back: everything else is still there.
    fn change_entry(&mut self, known: &SlotRecord) {
        let changed = known.place..known.place + known.jump.len() as u64;
        self.watch.add(changed, format!("the first bytes of {}", known.name));
        // Where displaced instructions are is worked out anew from the bytes they were made of.
        let mut bytes = [0; entry::LONG_BYTES as usize + 16];
        let length = self.state.procfs.read_some(known.place, &mut bytes);
        let moves = entry::moves(known.place, &bytes[..length], known.jump.len() as u64, known.near);
        self.watch.add_moves(&moves);
        self.entries.push(EntryChange {
            place: known.place,
            old: known.original.clone(),
            new: known.jump.clone(),
        });
    }

    pub(crate) fn method_of(&self, slot: u64) -> Option<Method> {
        let record = self.registry.slot(slot)?;
        let changes = self.entries.iter().any(|entry| entry.place == record.place);
        changes.then_some(if record.jump.len() as u64 == Method::Long.bytes() {
            Method::Long
        } else {
            Method::Short
        })
    }

    /// Gives a version of a function a pad, and puts it on top of the function's stack.
    pub(crate) fn lead_to(&mut self, arena: &Arena, slot: u64, id: u64, address: u64) {
        let procfs = self.state.procfs;
        let Some(record) = self.registry.slots.iter_mut().find(|record| record.slot == slot) else {
            return;
        };
        let bytes = long_jump(address);
        let stacked = |pad: u8| record.stack.iter().any(|(_, used)| *used == pad);
        let there = (1..PADS)
            .find(|pad| !stacked(*pad) && procfs.read_vec(arena.pad(slot, *pad), bytes.len()).as_ref() == Some(&bytes));
        let fresh = (1..PADS).find(|pad| record.used_pads & (1 << pad) == 0);
        let pad = there.or(fresh).or_else(|| (1..PADS).find(|pad| !stacked(*pad)));
        let Some(pad) = pad else {
            let reason = format!(
                "{} patches of it are applied at a time; revert some",
                record.stack.len()
            );
            let name = record.name.clone();
            self.refuse("versions", name, reason);
            return;
        };
        if there.is_none() && fresh.is_none() {
            // A thread may be at a pad that is written anew; that takes a stop to find out.
            self.stop_for_pads = true;
            self.watch
                .add_all(arena.passage(slot), format!("the way to {}", record.name));
            record.used_pads = record.stacked_pads();
        }
        record.used_pads |= 1 << pad;
        record.stack.push((id, pad));
        self.writes.push((arena.pad(slot, pad), bytes));
    }

    pub(crate) fn watch_old_versions(&mut self, module: &Module, replacements: &[Replacement<'_>]) {
        self.watch = Watch::default();
        for replacement in replacements {
            let symbol = replacement.symbol;
            let name = &symbol.name;
            let end = symbol.address + symbol.size.max(1);
            self.watch.add(symbol.address..end, name.to_string());
            let prefix = format!("{name}.");
            for part in module
                .symbols
                .iter()
                .filter(|part| part.name.starts_with(&prefix) && part.size > 0)
            {
                self.watch
                    .add_all(part.address..part.address + part.size, part.name.to_string());
            }
            let Some(record) = self.registry.slot(replacement.slot) else {
                continue;
            };
            let near = record.near..record.near + NEAR_BLOCK_BYTES;
            let versions = record
                .stack
                .iter()
                .filter_map(|(id, _)| self.registry.patch(*id))
                .collect::<Vec<_>>();
            let newest = versions.iter().flat_map(|patch| {
                let own = patch
                    .functions
                    .iter()
                    .filter(|function| function.slot == replacement.slot);
                own.map(|function| function.address..function.address + function.size)
            });
            for range in newest.collect::<Vec<_>>() {
                self.watch.add(range, name.to_string());
            }
            self.watch.add_all(near, name.to_string());
        }
    }
}
