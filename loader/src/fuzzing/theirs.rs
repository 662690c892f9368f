//! What another linker wrote.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;

use object::read::elf::ElfFile64;
use object::read::{Object as _, ObjectSection as _, ObjectSymbol as _};

use super::memory::MODULE;
use super::view::{Meaning, View};
use crate::relocation::Need;

/// A linked ELF file.
#[derive(Debug)]
pub(super) struct Theirs<'data> {
    /// Address and contents, in the order of addresses.
    sections: Vec<(u64, &'data [u8])>,
    /// Where PLT entries are.
    plts: Vec<std::ops::Range<u64>>,
    got: u64,
    /// Dynamic relocations: type and addend by address.
    dynamic: HashMap<u64, (u32, u64)>,
    /// Local and global symbols.
    pub(super) symbols: HashMap<&'data str, u64>,
}

impl<'data> Theirs<'data> {
    pub(super) fn new(bytes: &'data [u8]) -> Result<Self, String> {
        let file: ElfFile64<'data, object::LittleEndian> = ElfFile64::parse(bytes).map_err(|e| e.to_string())?;
        let mut sections = Vec::new();
        let mut plts = Vec::new();
        let mut dynamic = HashMap::new();
        let mut start = 0;
        for section in file.sections() {
            let name = section.name().unwrap_or_default();
            let data = section.data().map_err(|e| e.to_string())?;
            if name.starts_with(".rela") {
                for entry in data.as_chunks::<24>().0 {
                    let word = |at: usize| u64::from_le_bytes(std::array::from_fn(|i| entry[at + i]));
                    dynamic.insert(word(0), (word(8) as u32, word(16)));
                }
            }
            if name.starts_with(".plt") || name.starts_with(".iplt") {
                plts.push(section.address()..section.address() + section.size());
            }
            if name == ".got.plt" {
                start = section.address();
            }
            if section.address() != 0 && !data.is_empty() {
                sections.push((section.address(), data));
            }
        }
        sections.sort_unstable_by_key(|section| section.0);
        let symbols: HashMap<_, _> = file
            .symbols()
            .filter_map(|s| Some((s.name().ok()?, s.address())))
            .collect();
        // lld does not put the symbol into its table, but its place is the start of that section.
        let got = symbols.get(super::kinds::GOT).copied().unwrap_or(start);
        Ok(Theirs {
            sections,
            plts,
            got,
            dynamic,
            symbols,
        })
    }
}

impl View for Theirs<'_> {
    fn bytes(&self, address: u64, count: usize) -> Option<&[u8]> {
        let behind = self.sections.partition_point(|section| section.0 <= address);
        let (start, data) = self.sections[..behind].last()?;
        let at = usize::try_from(address - start).ok()?;
        data.get(at..at.checked_add(count)?)
    }

    fn got(&self) -> u64 {
        self.got
    }

    fn slot(&self, address: u64, need: Need) -> Meaning {
        match (need, self.dynamic.get(&address).copied()) {
            // The second word of a pair is filled in, unless the symbol is another module's.
            (Need::TlsGd | Need::TlsLd, Some((16, _))) => Meaning::Pair {
                module: MODULE,
                offset: self.number(address + 8, 8).unwrap_or(u64::MAX),
            },
            (Need::TlsIe, Some((18, addend))) | (Need::TlsDesc, Some((36, addend))) => Meaning::Offset(addend),
            (_, None) => match self.number(address, 8) {
                Some(word) => Meaning::Slot(word),
                None => Meaning::Odd(format!("no slot at {address:#x}")),
            },
            (_, Some(other)) => Meaning::Odd(format!("a dynamic relocation {other:?} at {address:#x}")),
        }
    }

    fn through(&self, address: u64) -> Meaning {
        if !self.plts.iter().any(|plt| plt.contains(&address)) {
            return Meaning::Address(address);
        }
        let Some(slot) = self.jump_slot(address) else {
            return Meaning::Odd(format!("no PLT entry at {address:#x}"));
        };
        match self.dynamic.get(&slot) {
            Some((37, resolver)) => Meaning::Chosen(*resolver),
            _ => self
                .number(slot, 8)
                .map_or(Meaning::Odd("no slot".into()), Meaning::Address),
        }
    }
}

/// What another linker complains of.
#[derive(Debug, Default)]
pub(super) struct Complaints {
    /// Section and offset of what does not fit.
    pub(super) out_of_range: HashSet<(String, u64)>,
    /// Names that are defined twice or not at all.
    pub(super) names: HashSet<String>,
}

impl Complaints {
    /// Reads a linker's messages.
    pub(super) fn read(messages: &str) -> Self {
        let mut complaints = Complaints::default();
        for line in messages.lines() {
            let name = [
                "undefined reference to `",
                "multiple definition of `",
                "undefined symbol: ",
                "duplicate symbol: ",
            ]
            .iter()
            .find_map(|words| Some(line.split_once(words)?.1));
            if let Some(name) = name {
                let end = name.find(['\'', ' ']).unwrap_or(name.len());
                complaints.names.insert(name[..end].to_owned());
            } else if line.contains("relocation truncated to fit") || line.contains(" out of range") {
                let place = line.split_once("+0x").and_then(|(section, offset)| {
                    // GNU ld adds the signature of a group: `.text.f[f]`.
                    let section = section.rsplit(['(', ' ']).next()?.split('[').next()?;
                    let end = offset.find(')')?;
                    Some((section.to_owned(), u64::from_str_radix(&offset[..end], 16).ok()?))
                });
                complaints.out_of_range.extend(place);
            }
        }
        complaints
    }
}

/// A folder for temporary files, deleted at the end.
pub(super) struct Folder(pub(super) PathBuf);

impl Folder {
    pub(super) fn new() -> Result<Self, String> {
        use std::sync::atomic::{AtomicU64, Ordering};
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("restub-peers-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&path).map_err(|e| format!("{}: {e}", path.display()))?;
        Ok(Folder(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
