//! Sections: fixed bytes in one buffer, and a list of the items between them whose size depends on addresses.

use alloc::vec::Vec;

use crate::encode::FixupKind;
use crate::symbol::{SymbolId, Value, ValueId};

/// ELF numbers that sections are made of (gABI, chapter 4).
pub(crate) mod elf {
    pub(crate) const SHT_PROGBITS: u32 = 1;
    pub(crate) const SHT_NOTE: u32 = 7;
    pub(crate) const SHT_NOBITS: u32 = 8;
    pub(crate) const SHT_INIT_ARRAY: u32 = 14;
    pub(crate) const SHT_FINI_ARRAY: u32 = 15;
    pub(crate) const SHT_PREINIT_ARRAY: u32 = 16;
    pub(crate) const SHT_LLVM_ADDRSIG: u32 = 0x6fff_4c03;
    pub(crate) const SHT_X86_64_UNWIND: u32 = 0x7000_0001;
    pub(crate) const SHF_WRITE: u64 = 1;
    pub(crate) const SHF_ALLOC: u64 = 2;
    pub(crate) const SHF_EXECINSTR: u64 = 4;
    pub(crate) const SHF_MERGE: u64 = 16;
    pub(crate) const SHF_STRINGS: u64 = 32;
    pub(crate) const SHF_LINK_ORDER: u64 = 128;
    pub(crate) const SHF_GROUP: u64 = 512;
    pub(crate) const SHF_TLS: u64 = 1024;
    pub(crate) const SHF_COMPRESSED: u64 = 2048;
    pub(crate) const SHF_GNU_RETAIN: u64 = 0x20_0000;
    pub(crate) const SHF_X86_64_LARGE: u64 = 0x1000_0000;
    pub(crate) const SHF_EXCLUDE: u64 = 0x8000_0000;
    pub(crate) const STT_OBJECT: u8 = 1;
    pub(crate) const STT_FUNC: u8 = 2;
    pub(crate) const STT_SECTION: u8 = 3;
    pub(crate) const STT_FILE: u8 = 4;
    pub(crate) const STT_COMMON: u8 = 5;
    pub(crate) const STT_TLS: u8 = 6;
    pub(crate) const STT_GNU_IFUNC: u8 = 10;
}

/// What padding is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Padding {
    /// Nops.
    Code,
    /// This value, in so many bytes, four at most.
    Value { value: u32, size: u8 },
}

/// A part of a section whose size is not known when it is read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Item {
    /// Where it goes among the fixed bytes.
    pub(crate) offset: u64,
    pub(crate) kind: ItemKind,
    /// For messages.
    pub(crate) line: u32,
}

/// The kinds of variable items.
#[derive(Clone, Copy, Debug)]
pub(crate) enum ItemKind {
    /// `jmp` (0xeb) or `jcc` (0x70 + condition).
    Jump {
        opcode: u8,
        long: bool,
        target: ValueId,
    },
    /// Padding to a multiple of a power of two, unless that takes more than `most` bytes (0: no limit).
    Align {
        power: u8,
        most: u32,
        padding: Padding,
    },
    Leb {
        value: ValueId,
        signed: bool,
    },
    /// `.skip`, `.fill`: so many units of a value.
    Space {
        count: ValueId,
        value: u32,
        unit: u8,
    },
    /// `.org`
    Org {
        target: ValueId,
        fill: u8,
    },
}

const _: () = assert!(size_of::<Item>() == 32, "there are many");

/// An open place among the fixed bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fix {
    pub(crate) offset: u64,
    pub(crate) value: Value,
    /// Items before it.
    pub(crate) item: u32,
    pub(crate) line: u32,
    pub(crate) size: u8,
    pub(crate) to_end: u8,
    pub(crate) relaxable: u8,
    pub(crate) kind: FixupKind,
}

/// A COMDAT or plain group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Group {
    pub(crate) signature: SymbolId,
    pub(crate) comdat: bool,
}

/// A section as it is being filled.
#[derive(Debug)]
pub(crate) struct Section {
    pub(crate) name: Vec<u8>,
    pub(crate) kind: u32,
    pub(crate) flags: u64,
    pub(crate) entry_size: u64,
    pub(crate) group: Option<Group>,
    /// The symbol whose section this one goes with.
    pub(crate) linked: Option<SymbolId>,
    /// `unique, N`
    pub(crate) unique: Option<u32>,
    /// The section that this is a subsection of, and its number there.
    pub(crate) parent: Option<(u32, i64)>,
    pub(crate) align: u64,
    pub(crate) bytes: Vec<u8>,
    /// Size of the fixed part where there are no bytes (`.bss`).
    pub(crate) virtual_size: u64,
    pub(crate) items: Vec<Item>,
    pub(crate) fixes: Vec<Fix>,
    /// `.reloc`
    pub(crate) explicit: Vec<ExplicitReloc>,
    /// Size of all items before the one of each number; one more entry than items. Filled by relaxation.
    pub(crate) growth: Vec<u64>,
    /// For each number of items, how many of those start a new region for relaxation.
    pub(crate) regions: Vec<u32>,
    /// A label here that its section symbol can stand for.
    pub(crate) has_code: bool,
}

/// A relocation that the source asked for by name.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ExplicitReloc {
    pub(crate) offset: Value,
    pub(crate) kind: u32,
    pub(crate) value: Value,
    pub(crate) line: u32,
}

impl Section {
    pub(crate) fn new(name: &[u8], kind: u32, flags: u64) -> Self {
        Self {
            name: name.to_vec(),
            kind,
            flags,
            entry_size: 0,
            group: None,
            linked: None,
            unique: None,
            parent: None,
            align: 1,
            bytes: Vec::new(),
            virtual_size: 0,
            items: Vec::new(),
            fixes: Vec::new(),
            explicit: Vec::new(),
            growth: Vec::new(),
            regions: Vec::new(),
            has_code: false,
        }
    }

    pub(crate) fn is_nobits(&self) -> bool {
        self.kind == elf::SHT_NOBITS
    }

    pub(crate) fn is_code(&self) -> bool {
        self.flags & elf::SHF_EXECINSTR != 0
    }

    /// Size of the fixed part so far.
    #[inline]
    pub(crate) fn fixed_size(&self) -> u64 {
        if self.is_nobits() {
            self.virtual_size
        } else {
            self.bytes.len() as u64
        }
    }

    /// Appends a part of variable size.
    #[inline]
    pub(crate) fn push_item(&mut self, kind: ItemKind, line: u32) {
        let offset = self.fixed_size();
        self.items.push(Item { offset, kind, line });
    }

    /// Appends a jump that is short until relaxation makes it long.
    #[inline]
    pub(crate) fn push_jump(&mut self, opcode: u8, target: ValueId, line: u32) {
        let long = false;
        self.push_item(ItemKind::Jump { opcode, long, target }, line);
    }

    /// The size of the item of this number, so far.
    pub(crate) fn item_size(&self, index: usize) -> u64 {
        self.growth[index + 1] - self.growth[index]
    }

    pub(crate) fn item_count(&self) -> u32 {
        self.items.len() as u32
    }

    /// Size with all items.
    pub(crate) fn size(&self) -> u64 {
        self.fixed_size() + self.growth.last().copied().unwrap_or(0)
    }

    /// The final offset of a place among the fixed bytes, after `item` items.
    pub(crate) fn position(&self, offset: u64, item: u32) -> u64 {
        offset + self.growth.get(item as usize).copied().unwrap_or(0)
    }
}
