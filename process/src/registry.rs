//! What is patched in a process, kept in the process itself.
//!
//! The switch page says where the registry is, how long it is and what its checksum is. Those words and the words that
//! functions are switched by are on one page and written at once, so that the records always say what the code does.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::arena::{self, Arena, REGISTRY_BYTES, SWITCH_MAGIC};
use crate::error::{Error, Result};
use crate::jit::{Jit, JitFile};
use crate::procfs::{Procfs, word};
use crate::tls::{CONTROL_BYTES, Runtime};
use restub_loader::PAGE_BYTES;

/// Events that are remembered.
const HISTORY: usize = 1000;

/// The records of a process.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Registry {
    pub(crate) arenas: Vec<Arena>,
    pub(crate) slots: Vec<SlotRecord>,
    /// In the order in which they were first applied.
    pub(crate) patches: Vec<PatchRecord>,
    pub(crate) history: Vec<EventRecord>,
    /// Entries of the unwind table that are in use.
    pub(crate) unwind_entries: u64,
    /// The code that finds thread-local variables.
    pub(crate) tls: Option<Runtime>,
    /// The list by which gdb knows patches.
    pub(crate) jit: Option<Jit>,
    /// The slot by which the unwinder asks restub first.
    pub(crate) unwind_slot: Option<u64>,
    pub(crate) next_id: u64,
}

/// A redirected function.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SlotRecord {
    pub(crate) slot: u64,
    pub(crate) name: String,
    pub(crate) module: String,
    pub(crate) build_id: String,
    /// The function.
    pub(crate) address: u64,
    pub(crate) size: u64,
    /// Where the jump is.
    pub(crate) place: u64,
    /// What stood there.
    pub(crate) original: Vec<u8>,
    pub(crate) jump: Vec<u8>,
    /// The block with the displaced instructions.
    pub(crate) near: u64,
    /// The live patches of the function, the newest last, each with its pad.
    pub(crate) stack: Vec<(u64, u8)>,
    /// Pads that were led to a version since a stop has proved that no thread is on its way through one.
    pub(crate) used_pads: u16,
}

impl SlotRecord {
    /// The pad that the function's word has to lead to.
    pub(crate) fn pad(&self) -> u8 {
        self.stack.last().map_or(0, |(_, pad)| *pad)
    }

    /// The pads that lead to the original and to live patches.
    pub(crate) fn stacked_pads(&self) -> u16 {
        self.stack.iter().fold(1, |pads, (_, pad)| pads | 1 << pad)
    }
}

/// A patch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PatchRecord {
    pub(crate) id: u64,
    pub(crate) name: String,
    /// SHA-256 of its files.
    pub(crate) hash: String,
    pub(crate) files: Vec<String>,
    /// Seconds since 1970.
    pub(crate) time: u64,
    pub(crate) live: bool,
    /// Whether no thread was in it after it was reverted.
    pub(crate) quiet: bool,
    /// Address and bytes of each segment.
    pub(crate) segments: [(u64, u64); 4],
    pub(crate) functions: Vec<FunctionRecord>,
    /// What it defines beyond the target, for later patches.
    pub(crate) symbols: Vec<SymbolRecord>,
    /// The patches whose definitions it uses.
    pub(crate) depends: Vec<u64>,
    /// Its entries of the unwind table: the first one and how many.
    pub(crate) unwind: (u64, u64),
    /// Address and bytes of its unwind records.
    pub(crate) eh_frame: (u64, u64),
    /// Address and bytes of the code that runs its constructors; zeros if it has none.
    pub(crate) gate: (u64, u64),
    /// The word that says whether they have run.
    pub(crate) gate_word: u64,
    /// The control block of its thread-local variables; 0 if it has none.
    pub(crate) tls_control: u64,
    /// What gdb knows it by.
    pub(crate) jit: JitFile,
    /// Whether its code takes addresses of its own memory, which the program may keep.
    pub(crate) exposed: bool,
    /// Whether its memory stays for good: the C library may have addresses of it.
    pub(crate) stays: bool,
}

impl Registry {
    /// Records memory of restub's own: as a patch that has no name and stays.
    pub(crate) fn add_own(&mut self, segments: [(u64, u64); 4]) {
        let id = self.next_id;
        self.next_id += 1;
        self.patches.push(PatchRecord {
            id,
            name: String::new(),
            hash: String::new(),
            files: Vec::new(),
            time: crate::report::now(),
            live: false,
            quiet: false,
            segments,
            functions: Vec::new(),
            symbols: Vec::new(),
            depends: Vec::new(),
            unwind: (0, 0),
            eh_frame: (0, 0),
            gate: (0, 0),
            gate_word: 0,
            tls_control: 0,
            jit: JitFile::default(),
            exposed: false,
            stays: true,
        });
    }
}

impl PatchRecord {
    pub(crate) fn ranges(&self) -> impl Iterator<Item = Range<u64>> + '_ {
        let word = (self.gate_word, if self.gate_word == 0 { 0 } else { 64 });
        let control = (self.tls_control, if self.tls_control == 0 { 0 } else { CONTROL_BYTES });
        let all = self
            .segments
            .iter()
            .copied()
            .chain([self.gate, word, control, self.jit.file]);
        all.filter(|(_, bytes)| *bytes > 0)
            .map(|(start, bytes)| start..start.saturating_add(bytes))
    }

    /// The memory that it takes.
    pub(crate) fn bytes(&self) -> u64 {
        self.ranges().map(|range| range.end - range.start).sum()
    }

    pub(crate) fn code(&self) -> Range<u64> {
        self.segments[0].0..self.segments[0].0.saturating_add(self.segments[0].1)
    }
}

/// One function of a patch that replaces one of the target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FunctionRecord {
    pub(crate) name: String,
    pub(crate) slot: u64,
    pub(crate) address: u64,
    pub(crate) size: u64,
}

/// A definition of a patch that later patches may use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SymbolRecord {
    pub(crate) name: String,
    pub(crate) address: u64,
    pub(crate) size: u64,
    pub(crate) function: bool,
    /// Whether it is a variable that may change.
    #[serde(default)]
    pub(crate) writable: bool,
}

/// Something that was done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct EventRecord {
    /// Seconds since 1970.
    pub(crate) time: u64,
    pub(crate) action: String,
    pub(crate) patch: String,
    pub(crate) hash: String,
    pub(crate) functions: usize,
    pub(crate) stop_ns: Option<u64>,
    /// Who did it.
    pub(crate) user: u32,
}

impl Registry {
    pub(crate) fn patch(&self, id: u64) -> Option<&PatchRecord> {
        self.patches.iter().find(|patch| patch.id == id)
    }

    /// The first of so many entries of the unwind table that no patch uses.
    pub(crate) fn free_unwind_entries(&self, count: u64) -> u64 {
        let mut used: Vec<(u64, u64)> = self.patches.iter().map(|patch| patch.unwind).collect();
        used.sort_unstable();
        let mut first = 0;
        for (start, taken) in used.into_iter().filter(|(_, taken)| *taken > 0) {
            if start >= first + count {
                break;
            }
            first = first.max(start + taken);
        }
        first
    }

    /// Marks patches as reverted, and leads their functions to the versions before. Gives the name, the hash and the
    /// number of functions of each.
    pub(crate) fn take_back(&mut self, ids: &[u64]) -> Vec<(String, String, usize)> {
        let mut taken = Vec::new();
        for patch in self.patches.iter_mut().filter(|patch| ids.contains(&patch.id)) {
            patch.live = false;
            patch.quiet = false;
            taken.push((patch.name.clone(), patch.hash.clone(), patch.functions.len()));
        }
        for slot in &mut self.slots {
            slot.stack.retain(|(id, _)| !ids.contains(id));
        }
        taken
    }

    pub(crate) fn live(&self) -> impl Iterator<Item = &PatchRecord> {
        self.patches.iter().filter(|patch| patch.live)
    }

    pub(crate) fn slot(&self, slot: u64) -> Option<&SlotRecord> {
        self.slots.iter().find(|record| record.slot == slot)
    }

    pub(crate) fn note(&mut self, event: EventRecord) {
        self.history.push(event);
        let surplus = self.history.len().saturating_sub(HISTORY);
        self.history.drain(..surplus);
    }

    /// All that is in use in the arenas.
    pub(crate) fn used(&self) -> Vec<Range<u64>> {
        let near = self
            .slots
            .iter()
            .map(|slot| slot.near..slot.near + crate::entry::NEAR_BLOCK_BYTES);
        near.chain(self.patches.iter().flat_map(PatchRecord::ranges)).collect()
    }
}

/// The switch page, with the registry that it names.
#[derive(Debug, Clone)]
pub(crate) struct Records {
    pub(crate) page: Vec<u8>,
    pub(crate) registry: Registry,
    pub(crate) sequence: u64,
}

impl Records {
    /// The records of a process that has none.
    pub(crate) fn empty() -> Self {
        Records {
            page: vec![0; PAGE_BYTES as usize],
            registry: Registry::default(),
            sequence: 0,
        }
    }

    /// Reads the records behind an arena. Another restub may be writing them, which takes microseconds.
    pub(crate) fn read(procfs: &Procfs, arena: &Arena) -> Result<Self> {
        const ATTEMPTS: usize = 5;
        let mut last = Error::NoProcess(procfs.pid);
        for _ in 0..ATTEMPTS {
            match Self::read_once(procfs, arena) {
                Ok(records) => return Ok(records),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    fn read_once(procfs: &Procfs, arena: &Arena) -> Result<Self> {
        let damaged = |reason: &str| Error::Registry {
            pid: procfs.pid,
            reason: reason.into(),
        };
        let page = procfs
            .read_vec(arena.switch_page(), PAGE_BYTES as usize)
            .ok_or(Error::NoProcess(procfs.pid))?;
        if page[..8] == [0; 8] {
            // The arena was mapped, and nothing was patched.
            return Ok(Records::empty());
        }
        if page[..8] != *SWITCH_MAGIC {
            return Err(damaged("the switch page does not start as it should"));
        }
        let [sequence, address, length, checksum] = [1, 2, 3, 4].map(|at| word(&page[at * 8..at * 8 + 8]));
        if length > REGISTRY_BYTES || ![arena.registry(0), arena.registry(1)].contains(&address) {
            return Err(damaged("the switch page points elsewhere"));
        }
        let bytes = procfs
            .read_vec(address, length as usize)
            .ok_or_else(|| damaged("the registry cannot be read"))?;
        if checksum_of(&bytes) != checksum {
            return Err(damaged("the registry's checksum is wrong"));
        }
        let registry: Registry = serde_json::from_slice(&bytes).map_err(|error| damaged(&error.to_string()))?;
        registry.check().map_err(|reason| damaged(&reason))?;
        Ok(Records {
            page,
            registry,
            sequence,
        })
    }

    /// Writes the registry to the place that is not in use, and makes the page that switches to it. Writing that page
    /// is what applies it all.
    pub(crate) fn stage(&self, procfs: &Procfs, arena: &Arena, registry: Registry) -> Result<Records> {
        let bytes = serde_json::to_vec(&registry).map_err(|error| Error::Registry {
            pid: procfs.pid,
            reason: error.to_string(),
        })?;
        if bytes.len() as u64 > REGISTRY_BYTES {
            return Err(Error::Registry {
                pid: procfs.pid,
                reason: format!(
                    "{} bytes do not fit; revert patches, or restart the process",
                    bytes.len()
                ),
            });
        }
        let sequence = self.sequence + 1;
        let address = arena.registry(sequence);
        procfs.write(address, &bytes)?;
        let mut page = self.page.clone();
        let head = page_head(sequence, address, &bytes);
        page[..head.len()].copy_from_slice(&head);
        for slot in &registry.slots {
            let at = arena::word_offset(slot.slot);
            page[at..at + 8].copy_from_slice(&arena.pad(slot.slot, slot.pad()).to_le_bytes());
        }
        Ok(Records {
            page,
            registry,
            sequence,
        })
    }
}

impl Registry {
    /// The target could have written anything here.
    fn check(&self) -> Result<(), String> {
        let slots = self.slots.iter().all(|slot| {
            let pads = slot
                .stack
                .iter()
                .all(|(id, pad)| *pad < arena::PADS && self.patch(*id).is_some());
            slot.slot < arena::SLOTS && pads && slot.original.len() == slot.jump.len() && slot.near < 1 << 47
        });
        if !slots {
            return Err("a redirected function is described wrongly".into());
        }
        let known = |function: &FunctionRecord| self.slot(function.slot).is_some();
        if !self.patches.iter().all(|patch| patch.functions.iter().all(known)) {
            return Err("a patch names a function that is not redirected".into());
        }
        if self.unwind_entries > arena::TABLE_ENTRIES {
            return Err("the unwind table is too long".into());
        }
        Ok(())
    }
}

/// What the switch page starts with when it leads to a registry.
pub(crate) fn page_head(sequence: u64, address: u64, registry: &[u8]) -> Vec<u8> {
    let words = [sequence, address, registry.len() as u64, checksum_of(registry)];
    [&SWITCH_MAGIC[..], &words.map(u64::to_le_bytes).concat()].concat()
}

/// FNV-1a of 64 bits: it tells a page that is being written from one that is whole.
fn checksum_of(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |sum, byte| {
        (sum ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3)
    })
}
