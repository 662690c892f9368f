//! A process that exists in files only: what `/proc` would have of it, and its memory.

use std::fs::{self, File};
use std::io;
use std::os::fd::FromRawFd as _;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use object::LittleEndian as LE;
use object::elf;
use object::read::elf::{FileHeader as _, ProgramHeader as _};

use crate::arena::{REGISTRY_BYTES, Space};
use crate::procfs::{Mapping, Procfs};
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
    maps.sort_by_key(|mapping| mapping.start);
    fs::write(folder.join("maps"), maps.iter().map(line).collect::<String>())?;
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

/// A line of `maps`.
fn line(mapping: &Mapping) -> String {
    let Mapping {
        start,
        end,
        offset,
        inode,
        path,
        ..
    } = mapping;
    let permissions = String::from_utf8_lossy(&mapping.permissions);
    format!(
        "{start:x}-{end:x} {permissions} {offset:08x} 00:00 {inode} {}\n",
        path.display()
    )
}

/// Puts the segments into memory, but for those that are in the way of one before. Returns their mappings, and the
/// address of the first instruction.
fn segments(memory: &File, executable: &[u8]) -> io::Result<(Vec<Mapping>, u64)> {
    let (mut maps, mut entry) = (Vec::<Mapping>::new(), 0);
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
        let (start, end) = (address & !(PAGE - 1), (address + size).next_multiple_of(PAGE));
        if maps.iter().any(|other| other.start < end && start < other.end) || start == end {
            continue;
        }
        memory.write_all_at(&bytes[..bytes.len().min(size as usize)], address)?;
        let flag = |flag, letter| {
            if segment.p_flags(LE).contains(flag) {
                letter
            } else {
                b'-'
            }
        };
        maps.push(Mapping {
            start,
            end,
            permissions: [
                flag(elf::PF_R, b'r'),
                flag(elf::PF_W, b'w'),
                flag(elf::PF_X, b'x'),
                b'p',
            ],
            offset: segment.p_offset(LE) & !(PAGE - 1),
            inode: 1,
            path: "/recorded".into(),
        });
        if segment.p_flags(LE).contains(elf::PF_X) && entry == 0 {
            entry = start;
        }
    }
    Ok((maps, entry))
}

/// An arena where one would be mapped, whose switch page leads to these records.
fn place_records(memory: &File, maps: &mut Vec<Mapping>, records: &[u8]) -> io::Result<()> {
    let near = PIE_BASE..PIE_BASE + PAGE;
    let arena = Space::new(Vec::new(), Vec::new(), maps.clone()).plan_arena(&near, &[0; 3], u64::MAX);
    let Some(arena) = arena.filter(|_| records.len() as u64 <= REGISTRY_BYTES) else {
        return Ok(());
    };
    memory.write_all_at(&arena.header(), arena.start)?;
    memory.write_all_at(&registry::page_head(1, arena.registry(1), records), arena.switch_page())?;
    memory.write_all_at(records, arena.registry(1))?;
    let permissions = [b"r-xp", b"r--p", b"rw-p"];
    for ((start, bytes, _), permissions) in arena.parts().into_iter().zip(permissions) {
        maps.push(Mapping {
            start,
            end: start + bytes,
            permissions: *permissions,
            offset: 0,
            inode: 0,
            path: PathBuf::new(),
        });
    }
    Ok(())
}
