//! The table of stubs: adding, publishing, freeing.
//!
//! The table deals in addresses and gets its memory from a [`StubMemory`], so it works for another process as well as
//! for this one. It keeps a copy of every target, and never reads the memory back.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::slot::{self, BLOCK_BYTES, Block, Slot};
use crate::unbound::{OnUnbound, Unbound};
use crate::{StubError, slot::Handler};

/// Why memory failed.
pub type MemoryError = Box<dyn std::error::Error + Send + Sync>;

/// One target word and its new value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WordStore {
    /// Where the word is: a multiple of 8.
    pub address: u64,
    /// What it becomes.
    pub value: u64,
}

/// Where stubs live.
pub trait StubMemory {
    /// Takes memory for a block: a page of code of [`BLOCK_BYTES`], and `word_bytes` of data (0 for inline layouts) on
    /// a page without code, within 2 GiB of it. Nothing runs in it yet. Where the memory was used for code before, the
    /// cores have forgotten that code (`membarrier` with `SYNC_CORE`).
    ///
    /// # Errors
    ///
    /// Whatever the memory has to say; nothing is taken.
    fn allocate(&mut self, word_bytes: u64) -> Result<Block, MemoryError>;

    /// Writes bytes of a block that is not visible yet.
    ///
    /// # Errors
    ///
    /// Whatever the memory has to say; the block is then given back.
    fn write(&mut self, address: u64, bytes: &[u8]) -> Result<(), MemoryError>;

    /// Makes a complete block visible: its code executable, and not writable where it is.
    ///
    /// # Errors
    ///
    /// Whatever the memory has to say; the block is then given back.
    fn expose(&mut self, block: Block) -> Result<(), MemoryError>;

    /// Stores words of visible blocks, each with one aligned 8-byte store that is at least a *release*: a thread that
    /// jumps to the new target finds the code that was written there before. They are stored in the given order.
    ///
    /// # Errors
    ///
    /// Whatever the memory has to say. Either every word is stored or none: what can fail is done first.
    fn store(&mut self, words: &[WordStore]) -> Result<(), MemoryError>;

    /// Takes a block back.
    fn free(&mut self, block: Block, word_bytes: u64);
}

/// A stub of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Stub {
    address: u64,
    index: u32,
    generation: u32,
}

impl Stub {
    /// What callers call. It is even, and stays the same for as long as the stub exists.
    pub fn address(self) -> u64 {
        self.address
    }

    /// Its number in the table, small and dense. A later stub may get the number of a freed one.
    pub fn index(self) -> u32 {
        self.index
    }
}

/// The slot of a freed stub, before anything else may use it.
///
/// Its address may still be in a register, on a stack, or in a caller that is about to jump there. **When a slot may be
/// reused:** when no loaded code and no data holds the stub's address any more, and every thread that was pinned when it
/// was freed has unpinned since. So retire this value together with the last module that refers to the stub, and give
/// it to [`StubTable::reuse`] when it comes back from [`Reclaimer::collect`](crate::Reclaimer::collect). Dropping it
/// instead is safe: the slot is never used again, and calls of it reach the unbound handler.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a slot is used again only if it is given to `StubTable::reuse`"]
pub struct FreedSlot {
    index: u32,
}

impl FreedSlot {
    /// The index that the stub had.
    pub fn index(&self) -> u32 {
        self.index
    }
}

/// How many stubs a table has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TableStats {
    /// Stubs in use.
    pub stubs: usize,
    /// Of these, the ones without a definition.
    pub unbound: usize,
    /// Freed slots that may not be used again yet.
    pub freed: usize,
    /// Blocks taken from the memory.
    pub blocks: usize,
    /// Bytes taken from the memory, code and words.
    pub bytes: u64,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    generation: u32,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Live { target: Option<u64> },
    Freed,
    Empty,
}

/// Stubs of one layout, without the memory that they live in: every method that needs it is handed it.
///
/// For hosts that keep stubs and other things in one memory. [`StubTable`] is the simple form, which owns its memory.
#[derive(Debug)]
pub struct StubSet {
    slot: Slot,
    unbound: Arc<Unbound>,
    blocks: Vec<Block>,
    /// Start of a block's code -> its number.
    by_code: BTreeMap<u64, u32>,
    entries: Vec<Entry>,
    empty: Vec<u32>,
}

impl StubSet {
    /// No stubs.
    pub fn new(slot: Slot, on_unbound: OnUnbound) -> Self {
        StubSet {
            slot,
            unbound: Unbound::new(on_unbound),
            blocks: Vec::new(),
            by_code: BTreeMap::new(),
            entries: Vec::new(),
            empty: Vec::new(),
        }
    }

    /// Adds a stub for a symbol. It has no definition yet: calls reach the unbound handler, which knows the name.
    ///
    /// # Errors
    ///
    /// [`StubError::Memory`] or [`StubError::Block`] if memory for more stubs cannot be had, [`StubError::Full`].
    pub fn add(&mut self, memory: &mut impl StubMemory, name: &str) -> Result<Stub, StubError> {
        if self.empty.is_empty() {
            self.grow(memory)?;
        }
        let index = self.empty.pop().ok_or(StubError::Full)?;
        self.unbound.set_name(index, name);
        let entry = &mut self.entries[index as usize];
        entry.state = State::Live { target: None };
        Ok(self.stub(index))
    }

    /// The stores that aim stubs at targets, or with `None` at the unbound handler; nothing has changed yet.
    ///
    /// Once memory has made them, [`stored`](Self::stored) notes it. A host with several sets can so make all of its
    /// stores at once.
    ///
    /// # Errors
    ///
    /// [`StubError::Freed`].
    pub fn stores(&self, targets: &[(Stub, Option<u64>)]) -> Result<Vec<WordStore>, StubError> {
        targets
            .iter()
            .map(|&(stub, target)| self.word_store(stub, target))
            .collect()
    }

    fn word_store(&self, stub: Stub, target: Option<u64>) -> Result<WordStore, StubError> {
        self.target(stub)?;
        let (block, i) = self.place(stub.index);
        Ok(WordStore {
            address: block.word(self.slot, i),
            value: target.unwrap_or_else(|| block.thunk(self.slot, i)),
        })
    }

    /// Notes that stubs have been aimed by the [`stores`](Self::stores) for the same targets.
    pub fn stored(&mut self, targets: &[(Stub, Option<u64>)]) {
        for &(stub, target) in targets {
            self.entries[stub.index as usize].state = State::Live { target };
        }
    }

    /// Aims stubs, one after the other in the given order. Threads may call between two stores.
    ///
    /// # Errors
    ///
    /// [`StubError::Freed`], or [`StubError::Memory`] if the words cannot be stored; then no stub has changed.
    pub fn aim(&mut self, memory: &mut impl StubMemory, targets: &[(Stub, Option<u64>)]) -> Result<(), StubError> {
        let stored = match targets {
            // The ordinary case, without an allocation.
            &[(stub, target)] => memory.store(&[self.word_store(stub, target)?]),
            targets => memory.store(&self.stores(targets)?),
        };
        stored.map_err(failed("storing a target"))?;
        self.stored(targets);
        Ok(())
    }

    /// The current target; `None` if the stub has no definition.
    ///
    /// # Errors
    ///
    /// [`StubError::Freed`].
    pub fn target(&self, stub: Stub) -> Result<Option<u64>, StubError> {
        match self.entries.get(stub.index as usize) {
            Some(Entry {
                generation,
                state: State::Live { target },
            }) if *generation == stub.generation => Ok(*target),
            _ => Err(StubError::Freed {
                index: stub.index,
                address: stub.address,
            }),
        }
    }

    /// Frees a stub: from here on calls of it reach the unbound handler, under the stub's last name.
    ///
    /// # Errors
    ///
    /// As [`aim`](Self::aim); then the stub has not changed.
    pub fn free(&mut self, memory: &mut impl StubMemory, stub: Stub) -> Result<FreedSlot, StubError> {
        self.aim(memory, &[(stub, None)])?;
        self.release(stub)
    }

    /// Frees a stub that is aimed at the unbound handler.
    ///
    /// # Errors
    ///
    /// [`StubError::Freed`], or [`StubError::Bound`] if it leads to a definition; then the stub has not changed.
    pub fn release(&mut self, stub: Stub) -> Result<FreedSlot, StubError> {
        if self.target(stub)?.is_some() {
            return Err(StubError::Bound {
                index: stub.index,
                address: stub.address,
            });
        }
        let entry = &mut self.entries[stub.index as usize];
        entry.state = State::Freed;
        entry.generation = entry.generation.wrapping_add(1);
        Ok(FreedSlot { index: stub.index })
    }

    /// Lets later stubs have a freed slot. [`FreedSlot`] says when that is right. A slot of another set is ignored.
    pub fn reuse(&mut self, slot: FreedSlot) {
        if let Some(entry) = self.entries.get_mut(slot.index as usize)
            && entry.state == State::Freed
        {
            entry.state = State::Empty;
            self.empty.push(slot.index);
        }
    }

    /// The stub at an address, if there is one.
    pub fn at(&self, address: u64) -> Option<Stub> {
        let (_, &block) = self.by_code.range(..=address).next_back()?;
        let i = self.blocks[block as usize].index_of(self.slot, address)?;
        let index = block * self.slot.stubs_per_block() + i;
        let live = matches!(self.entries[index as usize].state, State::Live { .. });
        live.then(|| self.stub(index))
    }

    /// The symbol that a stub was added for.
    pub fn name(&self, stub: Stub) -> Option<Arc<str>> {
        self.target(stub).ok()?;
        self.unbound.name(stub.index)
    }

    /// Where a stub's target word is.
    pub fn word(&self, stub: Stub) -> u64 {
        let (block, i) = self.place(stub.index);
        block.word(self.slot, i)
    }

    /// How many stubs there are.
    pub fn stats(&self) -> TableStats {
        let count = |wanted: fn(&State) -> bool| self.entries.iter().filter(|entry| wanted(&entry.state)).count();
        TableStats {
            stubs: count(|state| matches!(state, State::Live { .. })),
            unbound: count(|state| matches!(state, State::Live { target: None })),
            freed: count(|state| matches!(state, State::Freed)),
            blocks: self.blocks.len(),
            bytes: self.blocks.len() as u64 * (BLOCK_BYTES + self.slot.word_bytes()),
        }
    }

    /// The layout of these stubs.
    pub fn slot(&self) -> Slot {
        self.slot
    }

    /// Gives every block back. No thread may call a stub of this set any more.
    pub fn close(&mut self, memory: &mut impl StubMemory) {
        for block in std::mem::take(&mut self.blocks) {
            memory.free(block, self.slot.word_bytes());
        }
        self.by_code.clear();
        self.entries.clear();
        self.empty.clear();
    }

    /// Adds a block. It is complete before it becomes visible.
    fn grow(&mut self, memory: &mut impl StubMemory) -> Result<(), StubError> {
        let count = self.slot.stubs_per_block();
        let first = u32::try_from(self.entries.len()).map_err(|_| StubError::Full)?;
        if first > i32::MAX as u32 - count {
            return Err(StubError::Full);
        }
        let word_bytes = self.slot.word_bytes();
        let block = memory.allocate(word_bytes).map_err(failed("allocating"))?;
        let handler = Unbound::handler(&self.unbound);
        if let Err(error) = self.write_block(memory, block, first, handler) {
            memory.free(block, word_bytes);
            return Err(error);
        }
        self.by_code.insert(block.code, self.blocks.len() as u32);
        self.blocks.push(block);
        let fresh = Entry {
            generation: 0,
            state: State::Empty,
        };
        self.entries.resize(self.entries.len() + count as usize, fresh);
        self.empty.extend((first..first + count).rev());
        Ok(())
    }

    fn write_block(
        &self,
        memory: &mut impl StubMemory,
        block: Block,
        first: u32,
        handler: Handler,
    ) -> Result<(), StubError> {
        let bytes = slot::encode_block(self.slot, block, first, handler)?;
        if !bytes.words.is_empty() {
            let written = memory.write(block.words, &bytes.words);
            written.map_err(failed("writing targets"))?;
        }
        let written = memory.write(block.code, &bytes.code);
        written.map_err(failed("writing code"))?;
        memory.expose(block).map_err(failed("exposing a page"))
    }

    fn place(&self, index: u32) -> (Block, u32) {
        let per_block = self.slot.stubs_per_block();
        (self.blocks[(index / per_block) as usize], index % per_block)
    }

    fn stub(&self, index: u32) -> Stub {
        let (block, i) = self.place(index);
        Stub {
            address: block.stub(self.slot, i),
            index,
            generation: self.entries[index as usize].generation,
        }
    }
}

/// A table of stubs of one layout, with their memory.
#[derive(Debug)]
pub struct StubTable<M> {
    memory: M,
    stubs: StubSet,
}

impl<M: StubMemory> StubTable<M> {
    /// An empty table, which takes no memory before the first stub is added.
    pub fn new(memory: M, slot: Slot, on_unbound: OnUnbound) -> Self {
        StubTable {
            memory,
            stubs: StubSet::new(slot, on_unbound),
        }
    }

    /// As [`StubSet::add`].
    ///
    /// # Errors
    ///
    /// [`StubError::Memory`] or [`StubError::Block`] if memory for more stubs cannot be had, [`StubError::Full`].
    pub fn add(&mut self, name: &str) -> Result<Stub, StubError> {
        self.stubs.add(&mut self.memory, name)
    }

    /// Aims a stub at a target, and returns the one before.
    ///
    /// A thread that calls from here on gets the new target, one that calls meanwhile the old or the new one. When the
    /// old one's memory may be freed is a question for [`Reclaimer`](crate::Reclaimer).
    ///
    /// # Errors
    ///
    /// [`StubError::Freed`], or [`StubError::Memory`] if the word cannot be stored.
    pub fn publish(&mut self, stub: Stub, target: u64) -> Result<Option<u64>, StubError> {
        let before = self.target(stub)?;
        self.stubs.aim(&mut self.memory, &[(stub, Some(target))])?;
        Ok(before)
    }

    /// Aims several stubs, one after the other in the given order. Threads may call between two stores.
    ///
    /// # Errors
    ///
    /// As [`publish`](Self::publish); then no stub has changed.
    pub fn publish_all(&mut self, targets: &[(Stub, u64)]) -> Result<(), StubError> {
        let targets: Vec<_> = targets.iter().map(|&(stub, target)| (stub, Some(target))).collect();
        self.stubs.aim(&mut self.memory, &targets)
    }

    /// Aims a stub at the unbound handler, and returns the target before.
    ///
    /// # Errors
    ///
    /// As [`publish`](Self::publish).
    pub fn unbind(&mut self, stub: Stub) -> Result<Option<u64>, StubError> {
        let before = self.target(stub)?;
        self.stubs.aim(&mut self.memory, &[(stub, None)])?;
        Ok(before)
    }

    /// As [`StubSet::target`].
    ///
    /// # Errors
    ///
    /// [`StubError::Freed`].
    pub fn target(&self, stub: Stub) -> Result<Option<u64>, StubError> {
        self.stubs.target(stub)
    }

    /// As [`StubSet::free`].
    ///
    /// # Errors
    ///
    /// As [`publish`](Self::publish); then the stub has not changed.
    pub fn free(&mut self, stub: Stub) -> Result<FreedSlot, StubError> {
        self.stubs.free(&mut self.memory, stub)
    }

    /// As [`StubSet::reuse`].
    pub fn reuse(&mut self, slot: FreedSlot) {
        self.stubs.reuse(slot);
    }

    /// As [`StubSet::at`].
    pub fn at(&self, address: u64) -> Option<Stub> {
        self.stubs.at(address)
    }

    /// As [`StubSet::name`].
    pub fn name(&self, stub: Stub) -> Option<Arc<str>> {
        self.stubs.name(stub)
    }

    /// As [`StubSet::word`].
    pub fn word(&self, stub: Stub) -> u64 {
        self.stubs.word(stub)
    }

    /// As [`StubSet::stats`].
    pub fn stats(&self) -> TableStats {
        self.stubs.stats()
    }

    /// As [`StubSet::slot`].
    pub fn slot(&self) -> Slot {
        self.stubs.slot()
    }

    /// The memory that the stubs live in.
    pub fn memory(&self) -> &M {
        &self.memory
    }

    /// Gives every block back. No thread may call a stub of this table any more.
    pub fn close(mut self) -> M {
        self.stubs.close(&mut self.memory);
        self.memory
    }
}

fn failed(operation: &'static str) -> impl Fn(MemoryError) -> StubError {
    move |source| StubError::Memory { operation, source }
}
