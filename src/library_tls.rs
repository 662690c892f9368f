//! A fixed offset from the thread pointer for a shared library's thread-local variable.
//!
//! Libraries that were there when the process started have their block at a fixed offset. One that `dlopen` brings in
//! later gets one only if something it is loaded for asks: then the dynamic linker takes it from a small surplus, and
//! gives every thread its block. So that is what is done here: a shared object is made that consists of a single
//! relocation, R_X86_64_TPOFF64 against the variable, and the answer is read from the relocated word. Code that
//! compilers emit by default for `std::call_once` needs this.

use std::ffi::{CStr, CString, c_void};
use std::io::Write as _;
use std::os::fd::AsRawFd as _;
use std::ptr;

use object::elf;

use crate::fault;

const SYMBOLS: u64 = 64 + 3 * 56;
const HASH: u64 = SYMBOLS + 2 * 24;
const RELOCATIONS: u64 = HASH + 24;
const SLOT: u64 = RELOCATIONS + 24;
const DYNAMIC: u64 = SLOT + 8;
const DYNAMIC_ENTRIES: u64 = 11;
const STRINGS: u64 = DYNAMIC + DYNAMIC_ENTRIES * 16;

/// The offset of `symbol`, which `library` defines, from the thread pointer: the same in every thread. `None` if the
/// surplus is used up, or the library's block has been allocated elsewhere already.
///
/// The caller keeps the library in memory for as long as the offset is used.
pub(crate) fn fixed_offset(library: &CStr, symbol: &str) -> Option<i64> {
    fault::point().ok()?;
    let file = rustix::fs::memfd_create(c"restub-tls", rustix::fs::MemfdFlags::CLOEXEC).ok()?;
    let mut file = std::fs::File::from(file);
    file.write_all(&shared_object(library, symbol)).ok()?;
    let path = CString::new(format!("/proc/self/fd/{}", file.as_raw_fd())).ok()?;
    fault::point().ok()?;
    // SAFETY: the path is a C string; the object has no code.
    let handle = unsafe { libc::dlopen(path.as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL) };
    if handle.is_null() {
        return None;
    }
    let offset = relocated_word(handle);
    // The library keeps its place without the object. The next one may have the same path, so this one has to go.
    // SAFETY: the handle is valid, and nothing of the object is used any more.
    unsafe { libc::dlclose(handle) };
    offset
}

/// The word that the dynamic linker has relocated.
fn relocated_word(handle: *mut c_void) -> Option<i64> {
    let mut map: *mut LinkMap = ptr::null_mut();
    // SAFETY: the handle is valid, and the request writes one pointer.
    let found = unsafe { libc::dlinfo(handle, libc::RTLD_DI_LINKMAP, (&raw mut map).cast::<c_void>()) };
    if found != 0 {
        return None;
    }
    // SAFETY: the dynamic linker's record of the object, which is open.
    let base = unsafe { (*map).base };
    let slot: *const i64 = ptr::with_exposed_provenance((base + SLOT) as usize);
    // SAFETY: the object's word lies in its one segment, which is mapped.
    Some(unsafe { slot.read_unaligned() })
}

/// The start of `struct link_map` (`<link.h>`).
#[repr(C)]
struct LinkMap {
    base: u64,
}

fn shared_object(library: &CStr, symbol: &str) -> Vec<u8> {
    let mut strings = vec![0];
    strings.extend_from_slice(symbol.as_bytes());
    strings.push(0);
    let library_at = strings.len() as u64;
    strings.extend_from_slice(library.to_bytes_with_nul());
    let size = STRINGS + strings.len() as u64;

    let mut bytes = header();
    segment(&mut bytes, elf::PT_LOAD.0, 0, size, 4096);
    segment(&mut bytes, elf::PT_DYNAMIC.0, DYNAMIC, DYNAMIC_ENTRIES * 16, 8);
    // Without this the dynamic linker would make stacks executable.
    segment(&mut bytes, elf::PT_GNU_STACK.0, 0, 0, 16);
    words(&mut bytes, &[0, 0, 0]);
    // st_name 1; st_info GLOBAL TLS; undefined
    words(&mut bytes, &[1 | 0x16 << 32, 0, 0]);
    // One bucket with symbol 1, and a chain of two entries.
    words(&mut bytes, &[1 | 2 << 32, 1, 0]);
    words(&mut bytes, &[SLOT, 1 << 32 | u64::from(elf::R_X86_64_TPOFF64.0), 0]);
    words(&mut bytes, &[0]);
    let dynamic = [
        (elf::DT_NEEDED, library_at),
        (elf::DT_HASH, HASH),
        (elf::DT_STRTAB, STRINGS),
        (elf::DT_STRSZ, strings.len() as u64),
        (elf::DT_SYMTAB, SYMBOLS),
        (elf::DT_SYMENT, 24),
        (elf::DT_RELA, RELOCATIONS),
        (elf::DT_RELASZ, 24),
        (elf::DT_RELAENT, 24),
        (elf::DT_FLAGS, 0x10), // DF_STATIC_TLS
        (elf::DT_NULL, 0),
    ];
    for (tag, value) in dynamic {
        words(&mut bytes, &[tag.0.cast_unsigned(), value]);
    }
    bytes.extend(strings);
    debug_assert_eq!(bytes.len() as u64, size);
    bytes
}

/// The ELF header of a shared object for x86-64 with three program headers right behind it.
fn header() -> Vec<u8> {
    let mut bytes = vec![0x7f, b'E', b'L', b'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    for half in [elf::ET_DYN.0, elf::EM_X86_64.0] {
        bytes.extend(half.to_le_bytes());
    }
    bytes.extend(1_u32.to_le_bytes());
    words(&mut bytes, &[0, 64, 0]);
    bytes.extend(0_u32.to_le_bytes());
    for half in [64_u16, 56, 3, 64, 0, 0] {
        bytes.extend(half.to_le_bytes());
    }
    bytes
}

fn segment(bytes: &mut Vec<u8>, kind: u32, offset: u64, size: u64, align: u64) {
    const READ_WRITE: u64 = 6;
    words(
        bytes,
        &[
            u64::from(kind) | READ_WRITE << 32,
            offset,
            offset,
            offset,
            size,
            size,
            align,
        ],
    );
}

fn words(bytes: &mut Vec<u8>, words: &[u64]) {
    for word in words {
        bytes.extend(word.to_le_bytes());
    }
}
