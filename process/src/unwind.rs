//! Exceptions through patches: the unwinder is asked to look in restub's table first.
//!
//! libgcc's unwinder finds the record of a frame by `_Unwind_Find_FDE`. Registering a table there takes a call of
//! `__register_frame`, which takes locks and memory, and the thread that is made to call it may hold either. So that
//! function itself is redirected, as any function is: to code that looks the address up in a table of restub's, and goes
//! on to the original where it finds nothing. It takes no lock, allocates nothing, and works in static programs too.

use gimli::{BaseAddresses, CieOrFde, EhFrame, LittleEndian, UnwindSection as _};
use restub_asm::reg::{RAX, RCX, RDI, RSI};
use restub_asm::{Builder, Instructions as _, Mem};

use crate::arena::{Arena, TABLE_ENTRIES};
use crate::entry::long_jump;
use crate::error::Result;
use crate::module::{Kind, Module, Symbol};
use crate::procfs::{Procfs, word};
use crate::registry::Registry;

/// The function that is redirected.
pub(crate) const FINDER: &str = "_Unwind_Find_FDE";

const ENTRY_BYTES: usize = 32;
/// Where an entry has the end of the function.
const END_OFFSET: u64 = 8;

/// Where one function's unwind record is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) start: u64,
    pub(crate) end: u64,
    pub(crate) record: u64,
}

impl Record {
    /// As it stands in the table, in the order in which it has to be written: an entry without an end matches nothing.
    pub(crate) fn bytes(&self) -> [u8; ENTRY_BYTES] {
        let mut bytes = [0; ENTRY_BYTES];
        for (at, word) in [self.start, self.end, self.record, 0].iter().enumerate() {
            bytes[at * 8..at * 8 + 8].copy_from_slice(&word.to_le_bytes());
        }
        bytes
    }
}

/// The records of an unwind table that is linked for `address`.
pub(crate) fn records(table: &[u8], address: u64, code: u64) -> std::result::Result<Vec<Record>, gimli::Error> {
    let bases = BaseAddresses::default().set_eh_frame(address).set_text(code);
    let frames = EhFrame::new(table, LittleEndian);
    let mut entries = frames.entries(&bases);
    let mut records = Vec::new();
    while let Some(entry) = entries.next()? {
        if let CieOrFde::Fde(partial) = entry {
            let fde = partial.parse(|frames, bases, offset| frames.cie_from_offset(bases, offset))?;
            records.push(Record {
                start: fde.initial_address(),
                end: fde.initial_address().saturating_add(fde.len()),
                record: address + fde.offset() as u64,
            });
        }
    }
    records.retain(|record| record.start < record.end);
    Ok(records)
}

/// Writes entries of the table that are not there yet, and how many there are.
pub(crate) fn write(procfs: &Procfs, arena: &Arena, first: u64, records: &[Record], count: u64) -> Result<()> {
    for (index, record) in records.iter().enumerate() {
        let entry = arena.table_entry(first + index as u64);
        let words = record.bytes();
        if procfs.read_vec(entry, words.len()).as_deref() == Some(&words) {
            continue;
        }
        // Without its end the entry matches nothing, whatever part of it is written.
        procfs.write(entry + END_OFFSET, &[0; 8])?;
        procfs.write(entry, &words[..8])?;
        procfs.write(entry + 16, &words[16..])?;
        procfs.write(entry + END_OFFSET, &words[8..16])?;
    }
    if procfs.read_word(arena.table()) != Some(count) {
        procfs.write(arena.table(), &count.to_le_bytes())?;
    }
    Ok(())
}

/// Has the unwinder forget all functions that are no patch's, as those of patches that have been freed, or were never
/// applied because the patcher was killed: their memory may be anything else from then on.
pub(crate) fn sweep(procfs: &Procfs, arena: &Arena, registry: &Registry) -> Result<()> {
    let count = procfs.read_word(arena.table()).unwrap_or(0).min(TABLE_ENTRIES);
    let entries = procfs.read_vec(arena.table_entry(0), count as usize * ENTRY_BYTES);
    let is_owned = |index: u64| {
        let mut owners = registry.patches.iter().map(|patch| patch.unwind);
        owners.any(|(first, taken)| (first..first.saturating_add(taken)).contains(&index))
    };
    for (index, entry) in entries.unwrap_or_default().chunks_exact(ENTRY_BYTES).enumerate() {
        let index = index as u64;
        if word(&entry[END_OFFSET as usize..]) != 0 && !is_owned(index) {
            procfs.write(arena.table_entry(index) + END_OFFSET, &[0; 8])?;
        }
    }
    Ok(())
}

/// The unwinder's function, in a library of the target or linked into it.
pub(crate) fn finder(modules: &[Module]) -> Option<(&Module, &Symbol)> {
    modules.iter().find_map(|module| {
        let symbol = module.named(FINDER).find(|symbol| symbol.kind == Kind::Function)?;
        Some((module, symbol))
    })
}

/// Code with the interface of `_Unwind_Find_FDE(void *pc, struct dwarf_eh_bases *bases)`, libgcc's
/// `unwind-dw2-fde.h`: it returns the record, and fills in where text and data start, which is of no meaning here, and
/// where the function does.
pub(crate) fn finder_code(table: u64, original: u64) -> Vec<u8> {
    let build = || -> std::result::Result<Vec<u8>, Box<dyn std::error::Error>> {
        let mut code = Builder::new();
        let (miss, next) = (code.label(), code.label());
        code.endbr64()?;
        code.movabs(RAX, table.cast_signed())?;
        code.mov(RCX, Mem::base(RAX, 0))?;
        code.add(RAX, 8)?;
        let again = code.here();
        code.test(RCX, RCX)?;
        code.je(miss)?;
        code.cmp(RDI, Mem::base(RAX, 0))?;
        code.jb(next)?;
        code.cmp(RDI, Mem::base(RAX, 8))?;
        code.jae(next)?;
        code.mov(Mem::base(RSI, 0).size(8), 0)?;
        code.mov(Mem::base(RSI, 8).size(8), 0)?;
        code.mov(RCX, Mem::base(RAX, 0))?;
        code.mov(Mem::base(RSI, 16), RCX)?;
        code.mov(RAX, Mem::base(RAX, 16))?;
        code.ret()?;
        code.bind(next)?;
        code.add(RAX, 32)?;
        code.dec(RCX)?;
        code.jmp(again)?;
        code.bind(miss)?;
        code.bytes(&long_jump(original));
        Ok(code.finish_at(0, |_| None)?)
    };
    build().expect("every instruction has an encoding, and every label is bound")
}

#[cfg(test)]
mod tests {
    use super::*;

    type Finder = unsafe extern "C" fn(u64, *mut [u64; 3]) -> u64;

    extern "C" fn original(_pc: u64, _bases: *mut [u64; 3]) -> u64 {
        77
    }

    #[test]
    fn the_finder_looks_in_the_table_and_then_asks_the_original() {
        let mut table: Vec<u64> = vec![2];
        table.extend([0x1000, 0x1100, 0xaaaa, 0]);
        table.extend([0x2000, 0x2001, 0xbbbb, 0]);
        let code = finder_code(table.as_ptr().expose_provenance() as u64, original as *const () as u64);
        // SAFETY: anonymous memory at an address of the kernel's choice.
        let memory = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                4096,
                libc::PROT_READ | libc::PROT_WRITE | libc::PROT_EXEC,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
                -1,
                0,
            )
        };
        assert_ne!(memory, libc::MAP_FAILED);
        // SAFETY: the page has room for the code.
        unsafe { std::ptr::copy_nonoverlapping(code.as_ptr(), memory.cast(), code.len()) };
        // SAFETY: the page holds a function of this type.
        let find = unsafe { std::mem::transmute::<*mut libc::c_void, Finder>(memory) };
        for (pc, expected, start) in [
            (0x1000, 0xaaaa, 0x1000),
            (0x10ff, 0xaaaa, 0x1000),
            (0x2000, 0xbbbb, 0x2000),
            (0x1100, 77, 9),
            (0x2001, 77, 9),
            (0, 77, 9),
        ] {
            let mut bases = [9, 9, 9];
            // SAFETY: the function reads the table, which lives, and writes three words.
            assert_eq!(unsafe { find(pc, &raw mut bases) }, expected, "{pc:#x}");
            assert_eq!(bases[2], start);
        }
    }
}
