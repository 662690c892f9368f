//! What a stub looks like, and the block of memory that many of them share.
//!
//! A **block** is one page of code, and for the split layouts a piece of data:
//!
//! ```text
//! block+0    push qword ptr [rip+10]     the entry of the unbound handler for this block:
//!            jmp  qword ptr [rip+12]     the context goes on the stack, then the handler runs
//! block+16   <context> <handler>         never written again
//! block+32   slot 0, slot 1, ...         the stubs
//! ...        thunk 0, thunk 1, ...       endbr64; push <index>; jmp block+0
//! ```
//!
//! A **slot** holds one stub. Its instruction bytes never change after the block has become visible; what changes is
//! its **target word**, eight aligned bytes, so that a caller reads the old target or the new one, whole:
//!
//! ```text
//! Inline      cc cc | jmp qword ptr [rip+0] | <target>                    16 bytes, the stub is at +2
//! InlineIbt   endbr64 | jmp qword ptr [rip+6] | cc*6 | <target>           24 bytes, the stub is at +0
//! Split       jmp qword ptr [rip+distance] | cc cc     <target> on data    8 bytes, the stub is at +0
//! SplitIbt    endbr64 | jmp ... | cc*6                 <target> on data   16 bytes, the stub is at +0
//! ```
//!
//! Intel's optimisation manual forbids written data on pages of code ("Always put code and data on separate pages"):
//! a store to a line whose instructions are in flight clears the pipeline. The split layouts obey it; the inline ones
//! need one page less, and their jump works at any distance between code and data.
//!
//! # How an unbound stub says which one it is
//!
//! A `jmp` leaves no return address, so whoever is jumped to cannot tell which stub it came from. A stub without a
//! definition therefore aims at a **thunk** of its own, which pushes the stub's index and continues at the block's
//! entry, which pushes the context. This is what a PLT does, and for its reasons: the hot path, the stub itself, pays
//! nothing; and unlike an index in `r11` the stack takes nothing away from callers with a calling convention of their
//! own, so that a handler which resolves the function can restore every register and go on.

use iced_x86::{Code, Encoder, IcedError, Instruction, MemoryOperand, Register};

use crate::StubError;

/// Size of a block's code in bytes: one page.
pub const BLOCK_BYTES: u64 = 4096;
/// Size of the entry of the unbound handler, in front of the slots.
const HEADER_BYTES: u64 = 32;
/// Where the header's two words are.
const CONTEXT_OFFSET: u64 = 16;
const HANDLER_OFFSET: u64 = 24;
/// `endbr64; push imm32; jmp rel32` and two bytes of padding.
const THUNK_BYTES: u64 = 16;
const INT3: u8 = 0xcc;

/// The layout of stubs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Slot {
    /// The target word follows the jump: 16 bytes, on the page of code.
    #[default]
    Inline,
    /// As [`Slot::Inline`] with a landing pad for indirect branch tracking: 24 bytes.
    InlineIbt,
    /// The target word is on a page of data, at one distance from the jump for a whole block: 8 bytes of code.
    Split,
    /// As [`Slot::Split`] with a landing pad for indirect branch tracking: 16 bytes of code.
    SplitIbt,
}

impl Slot {
    /// Every layout.
    pub const ALL: [Slot; 4] = [Slot::Inline, Slot::InlineIbt, Slot::Split, Slot::SplitIbt];

    /// Whether target words lie on a page of data.
    pub fn is_split(self) -> bool {
        matches!(self, Slot::Split | Slot::SplitIbt)
    }

    /// Whether stubs start with `endbr64`.
    pub fn has_landing_pad(self) -> bool {
        matches!(self, Slot::InlineIbt | Slot::SplitIbt)
    }

    /// The number of stubs in a block.
    pub fn stubs_per_block(self) -> u32 {
        ((BLOCK_BYTES - HEADER_BYTES) / (self.stride() + THUNK_BYTES)) as u32
    }

    /// The size in bytes of the target words of a block, for layouts that keep them on a page of data; else 0.
    pub fn word_bytes(self) -> u64 {
        if self.is_split() {
            u64::from(self.stubs_per_block()) * self.stride()
        } else {
            0
        }
    }

    /// Distance in bytes from one slot to the next. Words of split layouts have the same, so that the distance from a
    /// stub to its word is the same for a whole block.
    fn stride(self) -> u64 {
        match self {
            Slot::Inline | Slot::SplitIbt => 16,
            Slot::InlineIbt => 24,
            Slot::Split => 8,
        }
    }

    /// Where the first instruction is in a slot.
    fn entry(self) -> u64 {
        if self == Slot::Inline { 2 } else { 0 }
    }

    /// Where the target word is, from the start of an inline slot.
    fn inline_word(self) -> u64 {
        if self.has_landing_pad() { 16 } else { 8 }
    }
}

/// Where a block lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Block {
    /// Start of the page of code. A multiple of [`BLOCK_BYTES`].
    pub code: u64,
    /// Start of the target words, a multiple of 16, within 2 GiB of the code. Of no meaning for inline layouts.
    pub words: u64,
}

/// The function that runs when a stub without a definition is called.
///
/// It is jumped to, with the registers of the call as its caller left them, and on the stack the context at `[rsp]`,
/// the stub's index at `[rsp+8]`, and the return address of the call at `[rsp+16]`. A handler that finds a definition
/// restores every register, removes the two words, and jumps there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Handler {
    /// Address of its first instruction.
    pub entry: u64,
    /// What it finds at `[rsp]`.
    pub context: u64,
}

impl Block {
    /// Address of the `i`-th stub: what callers call. Always even, since C++ keeps a flag in the lowest bit of a pointer
    /// to a member function.
    pub fn stub(self, slot: Slot, i: u32) -> u64 {
        self.slot(slot, i) + slot.entry()
    }

    /// Address of the `i`-th stub's target word. Always a multiple of 8.
    pub fn word(self, slot: Slot, i: u32) -> u64 {
        if slot.is_split() {
            self.words + u64::from(i) * slot.stride()
        } else {
            self.slot(slot, i) + slot.inline_word()
        }
    }

    /// Address of the `i`-th stub's thunk: its target as long as it has no definition.
    pub fn thunk(self, slot: Slot, i: u32) -> u64 {
        self.slot(slot, slot.stubs_per_block()) + u64::from(i) * THUNK_BYTES
    }

    /// Which stub has this address.
    pub fn index_of(self, slot: Slot, address: u64) -> Option<u32> {
        let offset = address.checked_sub(self.stub(slot, 0))?;
        let i = offset / slot.stride();
        (offset % slot.stride() == 0 && i < u64::from(slot.stubs_per_block())).then_some(i as u32)
    }

    fn slot(self, slot: Slot, i: u32) -> u64 {
        self.code + HEADER_BYTES + u64::from(i) * slot.stride()
    }
}

/// The bytes of a complete block: every stub aims at its thunk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockBytes {
    /// The page of code, [`BLOCK_BYTES`] long.
    pub code: Vec<u8>,
    /// The target words, [`Slot::word_bytes`] long.
    pub words: Vec<u8>,
}

/// Encodes a block. `first` is the index of its first stub, which the handler is told.
///
/// # Errors
///
/// [`StubError::Block`] if an address is not aligned, or if code and words are more than 2 GiB apart.
pub fn encode_block(slot: Slot, block: Block, first: u32, handler: Handler) -> Result<BlockBytes, StubError> {
    let misplaced = |reason: String| StubError::Block {
        code: block.code,
        words: block.words,
        reason,
    };
    if !block.code.is_multiple_of(BLOCK_BYTES) {
        return Err(misplaced(format!("the code is not a multiple of {BLOCK_BYTES}")));
    }
    if slot.is_split() && !block.words.is_multiple_of(16) {
        return Err(misplaced("the words are not a multiple of 16".to_owned()));
    }
    Page::new(slot, block)
        .fill(first, handler)
        .map_err(|error| misplaced(error.to_string()))
}

/// A block being encoded.
struct Page {
    slot: Slot,
    block: Block,
    bytes: BlockBytes,
    encoder: Encoder,
}

impl Page {
    fn new(slot: Slot, block: Block) -> Self {
        let bytes = BlockBytes {
            code: vec![INT3; BLOCK_BYTES as usize],
            words: vec![0; slot.word_bytes() as usize],
        };
        Page {
            slot,
            block,
            bytes,
            encoder: Encoder::new(64),
        }
    }

    fn fill(mut self, first: u32, handler: Handler) -> Result<BlockBytes, IcedError> {
        let code = self.block.code;
        let push = through(Code::Push_rm64, code + CONTEXT_OFFSET)?;
        let next = self.emit(code, &push)?;
        let jump = through(Code::Jmp_rm64, code + HANDLER_OFFSET)?;
        self.emit(next, &jump)?;
        self.put_word(code + CONTEXT_OFFSET, handler.context);
        self.put_word(code + HANDLER_OFFSET, handler.entry);
        for i in 0..self.slot.stubs_per_block() {
            self.stub(i)?;
            self.thunk(i, first + i)?;
        }
        Ok(self.bytes)
    }

    fn stub(&mut self, i: u32) -> Result<(), IcedError> {
        let mut at = self.block.stub(self.slot, i);
        let word = self.block.word(self.slot, i);
        if self.slot.has_landing_pad() {
            at = self.emit(at, &Instruction::with(Code::Endbr64))?;
        }
        self.emit(at, &through(Code::Jmp_rm64, word)?)?;
        self.put_word(word, self.block.thunk(self.slot, i));
        Ok(())
    }

    /// An indirect jump leads here, so there is a landing pad in every layout: it costs nothing that matters.
    fn thunk(&mut self, i: u32, index: u32) -> Result<(), IcedError> {
        let at = self.block.thunk(self.slot, i);
        let at = self.emit(at, &Instruction::with(Code::Endbr64))?;
        let at = self.emit(at, &Instruction::with1(Code::Pushq_imm32, index)?)?;
        self.emit(at, &Instruction::with_branch(Code::Jmp_rel32_64, self.block.code)?)?;
        Ok(())
    }

    /// Encodes an instruction at an address of the code, and returns the address behind it.
    fn emit(&mut self, at: u64, instruction: &Instruction) -> Result<u64, IcedError> {
        let length = self.encoder.encode(instruction, at)?;
        let offset = (at - self.block.code) as usize;
        self.bytes.code[offset..offset + length].copy_from_slice(&self.encoder.take_buffer());
        Ok(at + length as u64)
    }

    fn put_word(&mut self, at: u64, value: u64) {
        let (bytes, start) = if (self.block.code..self.block.code + BLOCK_BYTES).contains(&at) {
            (&mut self.bytes.code, self.block.code)
        } else {
            (&mut self.bytes.words, self.block.words)
        };
        let offset = (at - start) as usize;
        bytes[offset..offset + 8].copy_from_slice(&value.to_le_bytes());
    }
}

/// An instruction whose one operand is the word at an address, relative to `rip`.
fn through(code: Code, word: u64) -> Result<Instruction, IcedError> {
    Instruction::with1(code, MemoryOperand::with_base_displ(Register::RIP, word.cast_signed()))
}

#[cfg(test)]
mod tests {
    use iced_x86::{Decoder, DecoderOptions, Mnemonic};

    use super::*;

    const BLOCK: Block = Block {
        code: 0x7f00_0000_0000,
        words: 0x7f00_4000_0000,
    };
    const HANDLER: Handler = Handler {
        entry: 0x1122_3344_5566,
        context: 0x77_8899,
    };

    fn encode(slot: Slot) -> BlockBytes {
        encode_block(slot, BLOCK, 1000, HANDLER).unwrap()
    }

    fn decode(bytes: &BlockBytes, at: u64) -> Instruction {
        let offset = (at - BLOCK.code) as usize;
        Decoder::with_ip(64, &bytes.code[offset..], at, DecoderOptions::NONE).decode()
    }

    fn word(bytes: &BlockBytes, at: u64) -> u64 {
        let bytes = match at.checked_sub(BLOCK.words) {
            Some(offset) => &bytes.words[offset as usize..],
            None => &bytes.code[(at - BLOCK.code) as usize..],
        };
        u64::from_le_bytes(bytes[..8].try_into().unwrap())
    }

    /// Where the jump at an address leads, and through which word.
    fn follow(bytes: &BlockBytes, mut at: u64) -> (u64, u64) {
        let mut instruction = decode(bytes, at);
        if instruction.mnemonic() == Mnemonic::Endbr64 {
            at = instruction.next_ip();
            instruction = decode(bytes, at);
        }
        assert_eq!(instruction.code(), Code::Jmp_rm64);
        assert!(instruction.is_ip_rel_memory_operand());
        let through = instruction.ip_rel_memory_address();
        (through, word(bytes, through))
    }

    #[test]
    fn the_inline_slot_is_the_one_of_the_design() {
        let bytes = encode(Slot::Inline).code;
        let mut expected = vec![0xcc, 0xcc, 0xff, 0x25, 0, 0, 0, 0];
        expected.extend(BLOCK.thunk(Slot::Inline, 0).to_le_bytes());
        assert_eq!(bytes[32..48], expected);
    }

    #[test]
    fn the_ibt_slot_starts_with_a_landing_pad() {
        let bytes = encode(Slot::InlineIbt).code;
        let mut expected = vec![0xf3, 0x0f, 0x1e, 0xfa, 0xff, 0x25, 6, 0, 0, 0];
        expected.extend([0xcc; 6]);
        expected.extend(BLOCK.thunk(Slot::InlineIbt, 0).to_le_bytes());
        assert_eq!(bytes[32..56], expected);
    }

    #[test]
    fn every_stub_decodes_to_a_jump_through_its_own_aligned_word() {
        for slot in Slot::ALL {
            let bytes = encode(slot);
            for i in 0..slot.stubs_per_block() {
                let stub = BLOCK.stub(slot, i);
                assert_eq!(stub % 2, 0);
                let (through, target) = follow(&bytes, stub);
                assert_eq!(through, BLOCK.word(slot, i), "{slot:?} {i}");
                assert_eq!(through % 8, 0);
                assert_eq!(target, BLOCK.thunk(slot, i));
                assert_eq!(BLOCK.index_of(slot, stub), Some(i));
                assert_eq!(BLOCK.index_of(slot, stub + 1), None);
            }
        }
    }

    #[test]
    fn every_thunk_pushes_its_index_and_reaches_the_handler() {
        for slot in Slot::ALL {
            let bytes = encode(slot);
            for i in 0..slot.stubs_per_block() {
                let pad = decode(&bytes, BLOCK.thunk(slot, i));
                assert_eq!(pad.mnemonic(), Mnemonic::Endbr64);
                let push = decode(&bytes, pad.next_ip());
                assert_eq!(push.code(), Code::Pushq_imm32);
                assert_eq!(push.immediate(0), u64::from(1000 + i));
                let jump = decode(&bytes, push.next_ip());
                assert_eq!(jump.near_branch_target(), BLOCK.code);
            }
            let push = decode(&bytes, BLOCK.code);
            assert_eq!(push.code(), Code::Push_rm64);
            assert_eq!(word(&bytes, push.ip_rel_memory_address()), HANDLER.context);
            assert_eq!(follow(&bytes, push.next_ip()).1, HANDLER.entry);
        }
    }

    #[test]
    fn the_distance_from_stub_to_word_is_one_for_a_block() {
        for slot in [Slot::Split, Slot::SplitIbt] {
            let distance = |i| BLOCK.word(slot, i).wrapping_sub(BLOCK.stub(slot, i));
            assert!((0..slot.stubs_per_block()).all(|i| distance(i) == distance(0)));
        }
    }

    #[test]
    fn nothing_overlaps_and_nothing_leaves_the_page() {
        for slot in Slot::ALL {
            let last = slot.stubs_per_block() - 1;
            assert!(BLOCK.thunk(slot, last) + THUNK_BYTES <= BLOCK.code + BLOCK_BYTES);
            let stub_bytes = if slot.has_landing_pad() { 10 } else { 6 };
            assert!(BLOCK.stub(slot, last) + stub_bytes <= BLOCK.thunk(slot, 0));
            assert_eq!(encode(slot).code.len() as u64, BLOCK_BYTES);
        }
    }

    #[test]
    fn words_out_of_reach_are_an_error() {
        let far = Block {
            words: BLOCK.code + (4 << 30),
            ..BLOCK
        };
        let error = encode_block(Slot::Split, far, 0, HANDLER).unwrap_err();
        assert!(matches!(error, StubError::Block { .. }), "{error}");
        assert!(encode_block(Slot::Inline, far, 0, HANDLER).is_ok());
        let odd = Block { code: 0x1008, words: 0 };
        assert!(encode_block(Slot::Inline, odd, 0, HANDLER).is_err());
    }
}
