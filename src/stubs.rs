//! The functions that are called through stubs, by name.
//!
//! A function keeps its stub for as long as anybody may call it, whatever becomes of its definition. Stubs lie near the
//! code that is loaded first of all that needs them: code below 2 GiB has others than code near the libraries.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use restub_loader::{Memory, MemoryError, PAGE_BYTES, Placement, Reach, SegmentKind, SegmentSize, Window};
use restub_stubs::{
    BLOCK_BYTES, Block, FreedSlot, MemoryError as BlockError, OnUnbound, Slot, Stub, StubMemory, StubSet, UnboundCall,
    WordStore,
};
use rustc_hash::FxHashMap;

use crate::lazy::{LazyFunctions, LazyHook};
use crate::state::ModuleId;

/// Called when a stub without a definition is called; the process is aborted if it returns.
pub(crate) type UnboundHook = Arc<dyn Fn(&UnboundCall<'_>) + Send + Sync>;

/// How many versions of a function are remembered.
const HISTORY: usize = 32;
const LOW_END: u64 = 1 << 31;

/// All stubs of a session.
pub(crate) struct Stubs {
    slot: Slot,
    on_unbound: Option<UnboundHook>,
    on_lazy_failure: Option<Arc<LazyHook>>,
    sets: Vec<NearSet>,
    records: Vec<Option<Record>>,
    free: Vec<u32>,
    by_name: FxHashMap<Arc<str>, FunctionId>,
}

impl fmt::Debug for Stubs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stubs")
            .field("sets", &self.sets)
            .finish_non_exhaustive()
    }
}

/// Stubs that lie together.
#[derive(Debug)]
struct NearSet {
    /// The address of the first block; 0 before there is one.
    home: u64,
    low: bool,
    /// If its stubs are those by which functions are compiled on their first call.
    lazy: Option<Arc<LazyFunctions>>,
    set: StubSet,
}

/// A function that is called through a stub.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct FunctionId(u32);

#[derive(Debug)]
struct Record {
    name: Arc<str>,
    set: u32,
    stub: Stub,
    /// How many modules refer to it.
    callers: u32,
    history: VecDeque<Version>,
}

/// One version of a function that a session has had.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Version {
    /// The module that defines it.
    pub module: ModuleId,
    /// The address of its code, which means nothing once the module has been reclaimed.
    pub address: u64,
    /// The size in bytes.
    pub size: u64,
    /// When it was published.
    pub since: SystemTime,
    /// What has become of it.
    pub state: VersionState,
}

/// What has become of a version of a function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum VersionState {
    /// Calls go there.
    Current,
    /// It has been superseded, and its module is still there: kept for a rollback, or because something is bound to it.
    Kept,
    /// Its module has been given up; its memory is free, or will be once no thread can be in it.
    Gone,
}

/// What a stub is to lead to: a definition, or with `None` the unbound handler.
pub(crate) type Aim = (FunctionId, Option<u64>);

impl Stubs {
    pub(crate) fn new(slot: Slot, on_unbound: Option<UnboundHook>, on_lazy_failure: Option<Arc<LazyHook>>) -> Self {
        Stubs {
            slot,
            on_unbound,
            on_lazy_failure,
            sets: Vec::new(),
            records: Vec::new(),
            free: Vec::new(),
            by_name: FxHashMap::default(),
        }
    }

    pub(crate) fn id(&self, name: &str) -> Option<FunctionId> {
        self.by_name.get(name).copied()
    }

    pub(crate) fn address(&self, id: FunctionId) -> u64 {
        self.record(id).stub.address()
    }

    /// The stub of a function, which is added if there is none, in reach of `window` if possible. Returns whether it was
    /// added.
    pub(crate) fn take(
        &mut self,
        name: &str,
        window: Window,
        memory: &mut dyn Memory,
    ) -> Result<(FunctionId, bool), MemoryError> {
        if let Some(id) = self.id(name) {
            return Ok((id, false));
        }
        let set = self.set_near(window, None);
        let stub = self.add(set, name, window, memory)?;
        let name: Arc<str> = name.into();
        let record = Record {
            name: Arc::clone(&name),
            set: set as u32,
            stub,
            callers: 0,
            history: VecDeque::new(),
        };
        let id = match self.free.pop() {
            Some(index) => {
                self.records[index as usize] = Some(record);
                FunctionId(index)
            }
            None => {
                self.records.push(Some(record));
                FunctionId(self.records.len() as u32 - 1)
            }
        };
        self.by_name.insert(name, id);
        Ok((id, true))
    }

    /// Adds a stub that nothing but another stub leads to, and that has a function compiled when it is called. `entry` is
    /// the code that asks for it.
    pub(crate) fn take_lazy(
        &mut self,
        name: &str,
        window: Window,
        memory: &mut dyn Memory,
        entry: u64,
    ) -> Result<LazyStub, MemoryError> {
        let set = self.set_near(window, Some(entry));
        let stub = self.add(set, name, window, memory)?;
        Ok(LazyStub { set: set as u32, stub })
    }

    /// What a lazy stub asks.
    pub(crate) fn lazy_functions(&self, stub: LazyStub) -> Option<Arc<LazyFunctions>> {
        self.sets[stub.set as usize].lazy.clone()
    }

    /// Gives up a lazy stub that nothing leads to any more.
    pub(crate) fn remove_lazy(&mut self, stub: LazyStub) -> Option<(u32, FreedSlot)> {
        let freed = self.sets[stub.set as usize].set.release(stub.stub).ok()?;
        Some((stub.set, freed))
    }

    fn add(&mut self, set: usize, name: &str, window: Window, memory: &mut dyn Memory) -> Result<Stub, MemoryError> {
        let near = &mut self.sets[set];
        let reach = match near.home {
            _ if near.low => Reach::Low,
            0 => Reach::Near(window.start),
            home => Reach::Near(home),
        };
        let mut pages = Pages {
            memory,
            reach,
            placement: None,
        };
        let stub = near.set.add(&mut pages, name).map_err(|error| MemoryError::System {
            operation: "adding a stub",
            reason: error.to_string(),
        })?;
        if near.home == 0 {
            near.home = stub.address() & !(PAGE_BYTES - 1);
        }
        Ok(stub)
    }

    /// The set of stubs that code in a window reaches. With the address of an entry, one of lazy stubs.
    fn set_near(&mut self, window: Window, lazy_entry: Option<u64>) -> usize {
        let low = window.end <= LOW_END;
        let suits = |near: &NearSet| {
            let reached = near.home == 0 || window.reaches(near.home);
            near.low == low && near.lazy.is_some() == lazy_entry.is_some() && reached
        };
        if let Some(known) = self.sets.iter().position(suits) {
            return known;
        }
        let lazy = lazy_entry.map(|entry| (entry, Arc::new(self.lazy_functions_of_a_set())));
        let on_unbound = match (&lazy, &self.on_unbound) {
            (Some((entry, lazy)), _) => {
                let lazy = Arc::clone(lazy);
                OnUnbound::Resolve {
                    entry: *entry,
                    resolver: Box::new(move |call| lazy.resolve(call).unwrap_or_else(|| unknown(call))),
                }
            }
            (None, Some(hook)) => {
                let hook = Arc::clone(hook);
                OnUnbound::Hook(Box::new(move |call| hook(call)))
            }
            (None, None) => OnUnbound::Abort,
        };
        self.sets.push(NearSet {
            home: 0,
            low,
            lazy: lazy.map(|(_, lazy)| lazy),
            set: StubSet::new(self.slot, on_unbound),
        });
        self.sets.len() - 1
    }

    fn lazy_functions_of_a_set(&self) -> LazyFunctions {
        let hook = self.on_lazy_failure.clone();
        LazyFunctions::new(hook.map(|hook| -> Box<LazyHook> { Box::new(move |failure| hook(failure)) }))
    }

    /// The stores that aim stubs, in this order.
    pub(crate) fn stores(&self, aims: &[Aim]) -> Vec<WordStore> {
        let store = |&(id, target): &Aim| {
            let record = self.record(id);
            let stores = self.sets[record.set as usize].set.stores(&[(record.stub, target)]);
            stores.expect("a record's stub is in use")[0]
        };
        aims.iter().map(store).collect()
    }

    /// Notes that the [stores](Stubs::stores) have been made.
    pub(crate) fn stored(&mut self, aims: &[Aim]) {
        for &(id, target) in aims {
            let record = self.record(id);
            let (set, stub) = (record.set as usize, record.stub);
            self.sets[set].set.stored(&[(stub, target)]);
        }
    }

    /// What a stub leads to.
    pub(crate) fn target(&self, id: FunctionId) -> Option<u64> {
        let record = self.record(id);
        self.sets[record.set as usize].set.target(record.stub).ok().flatten()
    }

    /// Takes a function that has no definition out of the session. The slot may be used again when everything that
    /// could have called it is gone. `None` if the stub could not be aimed away from a definition that is given up: then
    /// nobody gets the slot again.
    pub(crate) fn remove(&mut self, id: FunctionId) -> Option<(u32, FreedSlot)> {
        let record = self.records[id.0 as usize].take().expect("a function is removed once");
        self.free.push(id.0);
        self.by_name.remove(&record.name);
        let freed = self.sets[record.set as usize].set.release(record.stub);
        Some((record.set, freed.ok()?))
    }

    /// Lets later stubs have the slot of a removed one.
    pub(crate) fn reuse(&mut self, set: u32, slot: FreedSlot) {
        let near = &mut self.sets[set as usize];
        if let Some(lazy) = &near.lazy {
            lazy.remove(slot.index());
        }
        near.set.reuse(slot);
    }

    pub(crate) fn count_callers(&mut self, called: &[FunctionId], by: i32) {
        for id in called {
            let callers = &mut self.record_mut(*id).callers;
            *callers = callers.wrapping_add_signed(by);
        }
    }

    pub(crate) fn callers(&self, id: FunctionId) -> u32 {
        self.record(id).callers
    }

    /// Remembers that a version was published.
    pub(crate) fn remember(&mut self, id: FunctionId, module: ModuleId, address: u64, size: u64) {
        let history = &mut self.record_mut(id).history;
        if history.len() == HISTORY {
            history.pop_front();
        }
        history.push_back(Version {
            module,
            address,
            size,
            since: SystemTime::now(),
            state: VersionState::Gone,
        });
    }

    /// The versions of a function, the oldest first, whose state is still to be filled in.
    pub(crate) fn history(&self, id: FunctionId) -> Vec<Version> {
        self.record(id).history.iter().cloned().collect()
    }

    /// Stubs in use, those of them without a definition, and bytes of memory.
    pub(crate) fn stats(&self) -> (usize, usize, u64) {
        self.sets.iter().fold((0, 0, 0), |(stubs, unbound, bytes), near| {
            let stats = near.set.stats();
            (stubs + stats.stubs, unbound + stats.unbound, bytes + stats.bytes)
        })
    }

    fn record(&self, id: FunctionId) -> &Record {
        let record = self.records[id.0 as usize].as_ref();
        record.expect("a function is in use while something names it")
    }

    fn record_mut(&mut self, id: FunctionId) -> &mut Record {
        let record = self.records[id.0 as usize].as_mut();
        record.expect("a function is in use while something names it")
    }
}

/// A stub that has a function compiled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LazyStub {
    set: u32,
    stub: Stub,
}

impl LazyStub {
    pub(crate) fn address(self) -> u64 {
        self.stub.address()
    }

    pub(crate) fn index(self) -> u32 {
        self.stub.index()
    }
}

/// A lazy stub is called that has been given up: somebody held its address, which nobody gets.
#[expect(
    clippy::print_stderr,
    reason = "the last words of a process that nobody can return an error to"
)]
fn unknown(call: &UnboundCall<'_>) -> ! {
    eprintln!("restub: {call}");
    std::process::abort()
}

/// Memory for one block of stubs, as an image of its own.
struct Pages<'a> {
    memory: &'a mut dyn Memory,
    reach: Reach,
    placement: Option<Placement>,
}

impl StubMemory for Pages<'_> {
    fn allocate(&mut self, word_bytes: u64) -> Result<Block, BlockError> {
        const WORD_ALIGN: u64 = 16;
        let size = |bytes, align| SegmentSize {
            filled_bytes: bytes,
            total_bytes: bytes,
            align,
        };
        let sizes = [
            size(BLOCK_BYTES, BLOCK_BYTES),
            size(0, 1),
            size(word_bytes, WORD_ALIGN),
            size(0, 1),
        ];
        self.memory.reserve(self.reach, &sizes)?;
        let placement = self.memory.allocate(&sizes)?;
        self.placement = Some(placement);
        Ok(Block {
            code: placement.addresses[SegmentKind::Code as usize],
            words: placement.addresses[SegmentKind::Data as usize],
        })
    }

    fn write(&mut self, address: u64, bytes: &[u8]) -> Result<(), BlockError> {
        let placement = self.placement.as_ref().ok_or("no block has been allocated")?;
        let segment = if address == placement.addresses[SegmentKind::Code as usize] {
            SegmentKind::Code
        } else {
            SegmentKind::Data
        };
        self.memory.buffer(placement, segment)[..bytes.len()].copy_from_slice(bytes);
        Ok(())
    }

    fn expose(&mut self, _block: Block) -> Result<(), BlockError> {
        let placement = self.placement.as_ref().ok_or("no block has been allocated")?;
        Ok(self.memory.finalize(placement)?)
    }

    fn store(&mut self, _words: &[WordStore]) -> Result<(), BlockError> {
        Err("a session stores the words of all of its sets at once".into())
    }

    fn free(&mut self, _block: Block, _word_bytes: u64) {
        if let Some(placement) = self.placement.take() {
            self.memory.free(&placement);
        }
    }
}
