//! The symbol tables of a loaded library, as the dynamic linker uses them (gABI, "Dynamic Linking").
//!
//! The GNU hash table is described in binutils' `elflink.c`.

use std::ffi::CStr;
use std::ops::Range;
use std::ptr;

use object::LittleEndian as LE;
use object::elf;

/// The tables of a library's dynamic section, as addresses.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Tables {
    symbols: u64,
    strings: u64,
    gnu_hash: u64,
    hash: u64,
    versions: u64,
    version_definitions: u64,
    version_definition_count: u64,
}

impl Tables {
    pub(crate) fn read(base: u64, dynamic: Range<u64>) -> Self {
        let mut tables = Tables::default();
        let mut at = dynamic.start;
        while at + 16 <= dynamic.end {
            let (tag, value): (i64, u64) = (read(at), read(at + 8));
            // glibc has relocated the addresses in place, except in a read-only dynamic section.
            let address = if value < base { base.wrapping_add(value) } else { value };
            match elf::DynamicTag(tag) {
                elf::DT_NULL => break,
                elf::DT_SYMTAB => tables.symbols = address,
                elf::DT_STRTAB => tables.strings = address,
                elf::DT_GNU_HASH => tables.gnu_hash = address,
                elf::DT_HASH => tables.hash = address,
                elf::DT_VERSYM => tables.versions = address,
                elf::DT_VERDEF => tables.version_definitions = address,
                elf::DT_VERDEFNUM => tables.version_definition_count = value,
                _ => {}
            }
            at += 16;
        }
        tables
    }

    /// The defined symbol of that name: of the version asked for, or the default one.
    pub(crate) fn find(&self, name: &str, gnu_hash: u32, version: Option<&str>) -> Option<&'static elf::Sym64<LE>> {
        if self.symbols == 0 || self.strings == 0 {
            return None;
        }
        let version = match version {
            Some(version) => Some(self.version_index(version)?),
            None => None,
        };
        if self.gnu_hash != 0 {
            self.find_gnu(name, gnu_hash, version)
        } else {
            self.find_sysv(name, version)
        }
    }

    fn find_gnu(&self, name: &str, hash: u32, version: Option<u16>) -> Option<&'static elf::Sym64<LE>> {
        let word = |index: u64| -> u32 { read(self.gnu_hash + index * 4) };
        let (buckets, first, bloom_words, shift) = (word(0), word(1), word(2), word(3));
        if buckets == 0 || bloom_words == 0 {
            return None;
        }
        let bloom: u64 = read(self.gnu_hash + 16 + u64::from(hash / 64 % bloom_words) * 8);
        if bloom >> (hash % 64) & 1 == 0 || bloom >> ((hash >> shift) % 64) & 1 == 0 {
            return None;
        }
        let bucket_table = 4 + u64::from(bloom_words) * 2;
        let chain_table = bucket_table + u64::from(buckets);
        let mut index = word(bucket_table + u64::from(hash % buckets));
        if index < first {
            return None;
        }
        loop {
            let chained = word(chain_table + u64::from(index - first));
            if (chained ^ hash) >> 1 == 0
                && let Some(symbol) = self.matching(index, name, version)
            {
                return Some(symbol);
            }
            if chained & 1 != 0 {
                return None;
            }
            index += 1;
        }
    }

    fn find_sysv(&self, name: &str, version: Option<u16>) -> Option<&'static elf::Sym64<LE>> {
        if self.hash == 0 {
            return None;
        }
        let word = |index: u64| -> u32 { read(self.hash + index * 4) };
        let buckets = word(0);
        if buckets == 0 {
            return None;
        }
        let mut index = word(2 + u64::from(elf::hash(name.as_bytes()) % buckets));
        while index != 0 {
            if let Some(symbol) = self.matching(index, name, version) {
                return Some(symbol);
            }
            index = word(2 + u64::from(buckets) + u64::from(index));
        }
        None
    }

    fn matching(&self, index: u32, name: &str, version: Option<u16>) -> Option<&'static elf::Sym64<LE>> {
        const HIDDEN: u16 = 0x8000;
        let symbol: &'static elf::Sym64<LE> = at(self.symbols + u64::from(index) * 24);
        if symbol.st_shndx.get(LE) == elf::SHN_UNDEF || symbol.st_bind() == elf::STB_LOCAL {
            return None;
        }
        let own = c_str(self.strings + u64::from(symbol.st_name.get(LE)));
        if own.to_bytes() != name.as_bytes() {
            return None;
        }
        if self.versions != 0 {
            let own: u16 = read(self.versions + u64::from(index) * 2);
            let suits = match version {
                Some(version) => own & !HIDDEN == version,
                None => own & HIDDEN == 0 && own != 0,
            };
            return suits.then_some(symbol);
        }
        version.is_none().then_some(symbol)
    }

    pub(crate) fn version_index(&self, name: &str) -> Option<u16> {
        let mut definition = self.version_definitions;
        for _ in 0..self.version_definition_count {
            let (index, auxiliary, next): (u16, u32, u32) =
                (read(definition + 4), read(definition + 12), read(definition + 16));
            let own: u32 = read(definition + u64::from(auxiliary));
            if c_str(self.strings + u64::from(own)).to_bytes() == name.as_bytes() {
                return Some(index);
            }
            definition += u64::from(next);
        }
        None
    }
}

/// Reads a number from a library's tables.
fn read<T: Copy>(address: u64) -> T {
    // SAFETY: the address was computed from the tables of a loaded library, which the dynamic linker trusts as well.
    unsafe { ptr::read_unaligned(ptr::with_exposed_provenance(address as usize)) }
}

/// A symbol in a library's table, which stays as long as the library does.
fn at(address: u64) -> &'static elf::Sym64<LE> {
    // SAFETY: as for `read`; the type has no alignment. The reference does not outlive the lookup.
    unsafe { &*ptr::with_exposed_provenance(address as usize) }
}

fn c_str(address: u64) -> &'static CStr {
    // SAFETY: as for `read`: the address of a string in a library's string table.
    unsafe { CStr::from_ptr(ptr::with_exposed_provenance(address as usize)) }
}
