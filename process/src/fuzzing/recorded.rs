//! A process that exists in files only: what `/proc` would have of it, and its memory.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io;
use std::os::fd::FromRawFd as _;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use object::LittleEndian as LE;
use object::elf;
use object::read::elf::{FileHeader as _, ProgramHeader as _};

use crate::arena::{REGISTRY_BYTES, Space};
use crate::procfs::{self, Procfs};
use crate::registry;

/// Where a position-independent executable is.
const PIE_BASE: u64 = 0x5555_5555_4000;
const PAGE: u64 = restub_loader::PAGE_BYTES;
/// Segments of more than this are left out, as the kernel would for want of memory.
const LARGEST_SEGMENT: u64 = 1 << 30;
const HIGHEST: u64 = (1 << 47) - 2 * LARGEST_SEGMENT;

/// Makes a process of an executable, in an empty folder: with its segments where the kernel would put them.
pub(super) fn process(folder: &Path, executable: &[u8], records: &[u8]) -> io::Result<Procfs> {
    let memory = sparse_file()?;
    let (mut maps, entry) = segments(&memory, executable)?;
    if !records.is_empty() {
        place_records(&memory, &mut maps, records)?;
    }
    fs::write(folder.join("maps"), maps)?;
    fs::write(folder.join("exe"), executable)?;
    let auxiliary = [libc::AT_ENTRY, entry].map(u64::to_le_bytes);
    fs::write(folder.join("auxv"), auxiliary.concat())?;
    Ok(Procfs::recorded(folder.to_owned(), memory))
}

/// A file whose offsets are the addresses of the process. Only what is written takes memory.
fn sparse_file() -> io::Result<File> {
    // SAFETY: the name is a C string.
    let descriptor = unsafe { libc::memfd_create(c"recorded".as_ptr(), libc::MFD_CLOEXEC) };
    if descriptor < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor is ours alone.
    Ok(unsafe { File::from_raw_fd(descriptor) })
}

/// Puts the segments into memory. Returns the lines of `maps`, and the address of the first instruction.
fn segments(memory: &File, executable: &[u8]) -> io::Result<(String, u64)> {
    let (mut maps, mut entry) = (String::new(), 0);
    let Ok(header) = elf::FileHeader64::<LE>::parse(executable) else {
        return Ok((maps, entry));
    };
    let base = if header.e_type(LE) == elf::ET_DYN { PIE_BASE } else { 0 };
    for segment in header.program_headers(LE, executable).unwrap_or_default() {
        let bytes = segment.data(LE, executable).unwrap_or_default();
        let (address, size) = (base.wrapping_add(segment.p_vaddr(LE)), segment.p_memsz(LE));
        if segment.p_type(LE) != elf::PT_LOAD || address > HIGHEST || size > LARGEST_SEGMENT {
            continue;
        }
        memory.write_all_at(bytes, address)?;
        let flag = |flag, letter| {
            if segment.p_flags(LE).contains(flag) {
                letter
            } else {
                '-'
            }
        };
        let permissions = [flag(elf::PF_R, 'r'), flag(elf::PF_W, 'w'), flag(elf::PF_X, 'x')];
        let (start, end) = (address & !(PAGE - 1), (address + size).next_multiple_of(PAGE));
        let _ = writeln!(
            maps,
            "{start:x}-{end:x} {}p {:08x} 00:00 1 /recorded",
            String::from_iter(permissions),
            segment.p_offset(LE) & !(PAGE - 1)
        );
        if segment.p_flags(LE).contains(elf::PF_X) && entry == 0 {
            entry = start;
        }
    }
    Ok((maps, entry))
}

/// An arena where one would be mapped, whose switch page leads to these records.
fn place_records(memory: &File, maps: &mut String, records: &[u8]) -> io::Result<()> {
    let mapped = maps.lines().filter_map(|line| procfs::mapping(line.as_bytes()));
    let near = PIE_BASE..PIE_BASE + PAGE;
    let arena = Space::new(Vec::new(), Vec::new(), mapped.collect()).plan_arena(&near, &[0; 3], u64::MAX);
    let Some(arena) = arena.filter(|_| records.len() as u64 <= REGISTRY_BYTES) else {
        return Ok(());
    };
    memory.write_all_at(&arena.header(), arena.start)?;
    memory.write_all_at(&registry::page_head(1, arena.registry(1), records), arena.switch_page())?;
    memory.write_all_at(records, arena.registry(1))?;
    let letters = ["r-xp", "r--p", "rw-p"];
    for ((start, bytes, _), letters) in arena.parts().into_iter().zip(letters) {
        let _ = writeln!(maps, "{start:x}-{:x} {letters} 00000000 00:00 0", start + bytes);
    }
    Ok(())
}
