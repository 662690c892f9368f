//! Linked files, ours and other linkers', seen so that it does not matter where each of them put its tables.

use std::collections::HashMap;

use object::read::elf::ElfFile64;
use object::read::{Object as _, ObjectSection as _, ObjectSymbol as _};
use restub_loader::Need;

use crate::linking::Linked;

/// What one linker made of a site.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    OutOfRange,
    /// The field, modulo its width.
    Field(u64),
    /// A GOT slot with that word.
    Slot(u64),
    /// What the value points to: the GOT itself, or an address relative to it.
    Address(u64),
    /// A PLT entry that jumps to what this resolver returns.
    Chosen(u64),
    /// A pair for `__tls_get_addr`, or a descriptor: an offset in this module's block.
    Block(u64),
    /// Something else, in words.
    Odd(String),
}

/// The address of a section of ours.
pub(crate) fn section_address(linked: &Linked, name: &str) -> u64 {
    let section = linked.image.sections.iter().find(|section| &*section.name == name);
    section
        .unwrap_or_else(|| panic!("the image has no section {name}"))
        .address
}

/// A linked file, ours or theirs.
pub(crate) trait View {
    fn section(&self, name: &str) -> u64;
    fn got(&self) -> u64;
    fn number(&self, address: u64, width: usize) -> Option<u64>;
    /// What a GOT slot, or the pair that starts there, means.
    fn slot(&self, address: u64, need: Need) -> Outcome;
    /// What the resolver of the IFUNC is, whose PLT slot is at an address.
    fn resolver(&self, slot: u64) -> Option<u64>;

    /// What a PLT entry jumps to.
    fn entry(&self, address: u64) -> Outcome {
        // `jmp *slot(%rip)`, behind `endbr64` where there is one.
        for at in 0..6 {
            if self.number(address + at, 2) == Some(0x25ff)
                && let Some(displacement) = self.number(address + at + 2, 4)
            {
                let displacement = i64::from((displacement as u32).cast_signed());
                let slot = (address + at + 6).wrapping_add_signed(displacement);
                return self
                    .resolver(slot)
                    .map_or_else(|| Outcome::Odd(format!("no IFUNC at {slot:#x}")), Outcome::Chosen);
            }
        }
        Outcome::Odd(format!("no PLT entry at {address:#x}"))
    }
}

/// What we linked.
pub(crate) struct Ours<'a>(pub(crate) &'a Linked);

impl View for Ours<'_> {
    fn section(&self, name: &str) -> u64 {
        section_address(self.0, name)
    }

    fn got(&self) -> u64 {
        section_address(self.0, ".got")
    }

    fn number(&self, address: u64, width: usize) -> Option<u64> {
        let mut bytes = self.0.read(address, width);
        bytes.resize(8, 0);
        Some(u64::from_le_bytes(bytes.try_into().ok()?))
    }

    fn slot(&self, address: u64, need: Need) -> Outcome {
        let word = |index: u64| self.0.word(address + index * 8);
        let tls = self.0.image.tls;
        let block = tls.and_then(|tls| tls.placement.block_offset).unwrap_or(0);
        let module = tls.map_or(0, |tls| tls.placement.module);
        match need {
            Need::TlsGd | Need::TlsLd if word(0) == module => Outcome::Block(word(1)),
            Need::TlsIe => Outcome::Block(word(0).wrapping_add_signed(-block)),
            Need::TlsDesc => Outcome::Block(word(1).wrapping_add_signed(-block)),
            _ => Outcome::Slot(word(0)),
        }
    }

    fn resolver(&self, slot: u64) -> Option<u64> {
        let found = self.0.image.ifuncs.iter().find(|ifunc| ifunc.slot == slot);
        found.map(|ifunc| ifunc.resolver)
    }
}

/// What another linker wrote.
pub(crate) struct Theirs<'data> {
    pub(crate) sections: Vec<(String, u64, &'data [u8])>,
    got: u64,
    /// Dynamic relocations: type and addend by address.
    dynamic: HashMap<u64, (u32, u64)>,
}

impl<'data> Theirs<'data> {
    pub(crate) fn new(bytes: &'data [u8]) -> Self {
        let file: ElfFile64<'data, object::LittleEndian> = ElfFile64::parse(bytes).expect("linkers write ELF files");
        let mut sections = Vec::new();
        let mut dynamic = HashMap::new();
        for section in file.sections() {
            let name = section.name().expect("a name").to_owned();
            let data = section.data().expect("contents");
            if name.starts_with(".rela") {
                for entry in data.chunks_exact(24) {
                    let word = |at: usize| u64::from_le_bytes(entry[at..at + 8].try_into().expect("8 bytes"));
                    dynamic.insert(word(0), (word(8) as u32, word(16)));
                }
            }
            if section.address() != 0 {
                sections.push((name, section.address(), data));
            }
        }
        // lld does not put the symbol into its table, but its place is the start of that section.
        let got = file
            .symbols()
            .find(|symbol| symbol.name() == Ok("_GLOBAL_OFFSET_TABLE_"));
        let got = got.map(|symbol| symbol.address());
        let start = sections
            .iter()
            .find(|(name, ..)| name == ".got.plt")
            .map(|section| section.1);
        Theirs {
            sections,
            got: got.or(start).unwrap_or(0),
            dynamic,
        }
    }
}

impl View for Theirs<'_> {
    fn section(&self, name: &str) -> u64 {
        let section = self.sections.iter().find(|(known, ..)| known == name);
        section.unwrap_or_else(|| panic!("no section {name}")).1
    }

    fn got(&self) -> u64 {
        self.got
    }

    fn number(&self, address: u64, width: usize) -> Option<u64> {
        self.sections.iter().find_map(|(_, start, data)| {
            let at = usize::try_from(address.checked_sub(*start)?).ok()?;
            let mut bytes = data.get(at..at.checked_add(width)?)?.to_vec();
            bytes.resize(8, 0);
            Some(u64::from_le_bytes(bytes.try_into().ok()?))
        })
    }

    fn slot(&self, address: u64, need: Need) -> Outcome {
        let dynamic = self.dynamic.get(&address).copied();
        match (need, dynamic) {
            // The second word of a pair is filled in, unless the symbol is another module's.
            (Need::TlsGd | Need::TlsLd, Some((16, _))) => {
                Outcome::Block(self.number(address + 8, 8).unwrap_or(u64::MAX))
            }
            (Need::TlsIe, Some((18, addend))) | (Need::TlsDesc, Some((36, addend))) => Outcome::Block(addend),
            (_, None) => match self.number(address, 8) {
                Some(word) => Outcome::Slot(word),
                None => Outcome::Odd(format!("no slot at {address:#x}")),
            },
            (_, Some(other)) => Outcome::Odd(format!("a dynamic relocation {other:?} at {address:#x}")),
        }
    }

    fn resolver(&self, slot: u64) -> Option<u64> {
        match self.dynamic.get(&slot) {
            Some((37, addend)) => Some(*addend),
            _ => None,
        }
    }
}
