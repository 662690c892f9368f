//! The symbols of this process: the host program and its shared libraries, read from their own `.dynsym`.
//!
//! `dlsym` tells neither a symbol's type nor its size, gives this thread's address of a thread-local one, and prefers
//! the host's `_end` and `main`; so the tables that the dynamic linker uses are read.

use std::ffi::{CStr, CString, c_void};
use std::ops::Range;
use std::sync::OnceLock;

use object::LittleEndian as LE;
use object::elf;
use restub_loader::{CopyRule, Target, TargetKind};

use crate::dynamic::Tables;
use crate::{fault, library_tls};

/// A shared library, or the host program.
#[derive(Debug)]
struct Library {
    /// The path; empty for the host program.
    path: CString,
    base: u64,
    segments: Vec<Segment>,
    /// The part that is read-only once relocated (PT_GNU_RELRO).
    relro: Range<u64>,
    tables: Tables,
    tls: Option<LibraryTls>,
    /// Keeps the library in memory, from the first symbol that is taken from it.
    handle: Option<Handle>,
}

#[derive(Debug)]
struct Segment {
    range: Range<u64>,
    writable: bool,
    executable: bool,
}

#[derive(Debug, Clone, Copy)]
struct LibraryTls {
    module: u64,
    /// The block in the thread that looked, as an offset from the thread pointer, if it is in the static block.
    block_offset: Option<i64>,
}

/// A `dlopen` handle.
#[derive(Debug)]
struct Handle(*mut c_void);

// SAFETY: the dynamic linker's functions may be called with a handle from any thread.
unsafe impl Send for Handle {}

impl Drop for Handle {
    fn drop(&mut self) {
        // SAFETY: the handle came from `dlopen` and is closed once.
        unsafe { libc::dlclose(self.0) };
    }
}

/// The symbols of this process, in the dynamic linker's order.
#[derive(Debug, Default)]
pub(crate) struct Host {
    libraries: Vec<Library>,
    /// How often the dynamic linker has added and removed libraries; the list is read again when that changes.
    generation: (u64, u64),
    opened: Vec<Handle>,
}

impl Host {
    /// Opens a shared library for this host's lookups, and for those of libraries opened later.
    pub(crate) fn open(&mut self, name: &str) -> Result<(), String> {
        let c_name = CString::new(name).map_err(|_| format!("{name:?}: the name contains a zero byte"))?;
        self.opened.push(open(&c_name, libc::RTLD_NOW | libc::RTLD_GLOBAL)?);
        self.refresh();
        Ok(())
    }

    /// Whether a library whose file name starts with `library` defines symbols of a version.
    pub(crate) fn has_version(&mut self, library: &str, version: &str) -> bool {
        self.refresh();
        let file_name = |path: &CStr| path.to_string_lossy().rsplit('/').next().unwrap_or_default().to_owned();
        let found = self
            .libraries
            .iter()
            .find(|known| file_name(&known.path).starts_with(library));
        found.is_some_and(|library| library.tables.version_index(version).is_some())
    }

    /// The address range of the C library and of the shared libraries around it.
    pub(crate) fn library_range(&mut self) -> Range<u64> {
        const AROUND_BYTES: u64 = 1 << 30;
        self.refresh();
        // A static program has its own functions for an anchor.
        let here = copy_rule as fn(&str, &Library, u64) -> CopyRule as usize as u64;
        let anchor = dlsym("stdout", None).unwrap_or(here);
        let segments = self
            .libraries
            .iter()
            .flat_map(|library| &library.segments)
            .map(|segment| &segment.range);
        let near = segments.filter(|range| range.start.abs_diff(anchor) < AROUND_BYTES);
        near.fold(anchor..anchor + 1, |all, range| {
            all.start.min(range.start)..all.end.max(range.end)
        })
    }

    /// The definition of a symbol, as the dynamic linker would find it.
    ///
    /// `fixed_offset` asks for a thread-local variable's place in every thread, which a library that was loaded late
    /// may still have to be given.
    pub(crate) fn find(&mut self, name: &str, version: Option<&str>, fixed_offset: bool) -> Option<Target> {
        const ATTEMPTS: usize = 4;
        for _ in 0..ATTEMPTS {
            let Ok(found) = self.search(name, version) else {
                self.refresh();
                continue;
            };
            let (index, symbol) = found?;
            let library = &mut self.libraries[index];
            // Another thread may have closed the library since it was found.
            if library.pin() || locked(|generation| generation) == Some(self.generation) {
                if fixed_offset {
                    library.fix_tls_offset(name, &symbol);
                }
                return library.target(name, version, &symbol);
            }
        }
        None
    }

    /// The first library that defines a symbol, or an error if the list of libraries is out of date.
    fn search(&self, name: &str, version: Option<&str>) -> Result<Option<(usize, elf::Sym64<LE>)>, OutOfDate> {
        let gnu_hash = elf::gnu_hash(name.as_bytes());
        // No library is unloaded while the lock is held, so their tables are there to be read.
        locked(|generation| {
            if generation != self.generation {
                return Err(OutOfDate);
            }
            let mut libraries = self.libraries.iter().enumerate();
            Ok(libraries.find_map(|(index, library)| Some((index, *library.tables.find(name, gnu_hash, version)?))))
        })
        .unwrap_or(Ok(None))
    }

    /// Reads the list of libraries again if it has changed.
    pub(crate) fn refresh(&mut self) {
        let mut list = Listing {
            generation: (0, 0),
            libraries: Vec::new(),
            known: self.generation,
            static_tls: static_tls_range(),
        };
        // SAFETY: the callback only uses what it is given, and `list` outlives the call.
        unsafe { libc::dl_iterate_phdr(Some(collect), (&raw mut list).cast()) };
        if list.generation == self.generation {
            return;
        }
        self.generation = list.generation;
        for library in &mut list.libraries {
            let old = self
                .libraries
                .iter_mut()
                .find(|old| old.base == library.base && old.path == library.path);
            let Some(old) = old else { continue };
            library.handle = old.handle.take();
            // A thread that has not used the library's block yet does not tell where it is.
            if let (Some(new), Some(old)) = (&mut library.tls, old.tls) {
                new.block_offset = new.block_offset.or(old.block_offset);
            }
        }
        self.libraries = list.libraries;
    }
}

/// The list of libraries is not what it was when it was read.
struct OutOfDate;

/// Runs a function under the dynamic linker's lock, with how often it has added and removed libraries. `None` if there
/// is no library at all.
fn locked<R>(function: impl FnOnce((u64, u64)) -> R) -> Option<R> {
    struct Call<F, R> {
        function: Option<F>,
        result: Option<R>,
    }
    unsafe extern "C" fn once<F: FnOnce((u64, u64)) -> R, R>(
        info: *mut libc::dl_phdr_info,
        _size: libc::size_t,
        data: *mut c_void,
    ) -> libc::c_int {
        // SAFETY: `dl_iterate_phdr` passes a valid structure.
        let info = unsafe { &*info };
        // SAFETY: the call below, to which nothing else refers meanwhile.
        let call = unsafe { &mut *data.cast::<Call<F, R>>() };
        call.result = call
            .function
            .take()
            .map(|function| function((info.dlpi_adds, info.dlpi_subs)));
        1
    }
    fn callback<F: FnOnce((u64, u64)) -> R, R>(_: &Call<F, R>) -> Callback {
        once::<F, R>
    }
    let mut call = Call {
        function: Some(function),
        result: None,
    };
    let callback = callback(&call);
    // SAFETY: the callback takes a call of these types, which outlives the iteration.
    unsafe { libc::dl_iterate_phdr(Some(callback), (&raw mut call).cast()) };
    call.result
}

type Callback = unsafe extern "C" fn(*mut libc::dl_phdr_info, libc::size_t, *mut c_void) -> libc::c_int;

fn open(name: &CStr, flags: libc::c_int) -> Result<Handle, String> {
    if fault::is_due() {
        return Err(format!("{}: the test says so", name.to_string_lossy()));
    }
    // SAFETY: the name is a C string. Constructors of the library run, which is what the caller asked for.
    let handle = unsafe { libc::dlopen(name.as_ptr(), flags) };
    if !handle.is_null() {
        return Ok(Handle(handle));
    }
    // SAFETY: always callable; the message belongs to the dynamic linker until its next call in this thread.
    let message = unsafe { libc::dlerror() };
    if message.is_null() {
        return Err(format!("{}: dlopen failed", name.to_string_lossy()));
    }
    // SAFETY: a C string, copied before anything else calls the dynamic linker.
    Err(unsafe { CStr::from_ptr(message) }.to_string_lossy().into_owned())
}

struct Listing {
    generation: (u64, u64),
    known: (u64, u64),
    libraries: Vec<Library>,
    /// Asked for before the dynamic linker's lock is taken, since it calls the dynamic linker.
    static_tls: Range<u64>,
}

unsafe extern "C" fn collect(info: *mut libc::dl_phdr_info, _size: libc::size_t, data: *mut c_void) -> libc::c_int {
    // SAFETY: `dl_iterate_phdr` passes a valid structure.
    let info = unsafe { &*info };
    // SAFETY: `Host::refresh` passes its listing, to which nothing else refers meanwhile.
    let list = unsafe { &mut *data.cast::<Listing>() };
    list.generation = (info.dlpi_adds, info.dlpi_subs);
    if list.generation == list.known {
        return 1; // nothing was loaded or unloaded since
    }
    // SAFETY: the name is a C string that lives as long as the library.
    let path = unsafe { CStr::from_ptr(info.dlpi_name) }.to_owned();
    if !path.to_bytes().starts_with(b"linux-vdso") {
        // SAFETY: the headers are those of a loaded library.
        let headers = unsafe { std::slice::from_raw_parts(info.dlpi_phdr, usize::from(info.dlpi_phnum)) };
        list.libraries
            .extend(Library::read(path, info, headers, &list.static_tls));
    }
    0
}

impl Library {
    fn read(
        path: CString,
        info: &libc::dl_phdr_info,
        headers: &[libc::Elf64_Phdr],
        static_tls: &Range<u64>,
    ) -> Option<Self> {
        let base = info.dlpi_addr;
        let range = |header: &libc::Elf64_Phdr| {
            let start = base.wrapping_add(header.p_vaddr);
            start..start.wrapping_add(header.p_memsz)
        };
        let of_type = |kind| headers.iter().find(move |header| header.p_type == kind);
        let segments = headers
            .iter()
            .filter(|header| header.p_type == libc::PT_LOAD)
            .map(|header| Segment {
                range: range(header),
                writable: header.p_flags & libc::PF_W != 0,
                executable: header.p_flags & libc::PF_X != 0,
            });
        let dynamic = range(of_type(libc::PT_DYNAMIC)?);
        let block = info.dlpi_tls_data as u64;
        let tls = (info.dlpi_tls_modid != 0).then(|| LibraryTls {
            module: info.dlpi_tls_modid as u64,
            block_offset: static_tls
                .contains(&block)
                .then(|| block.wrapping_sub(crate::tls::thread_pointer()).cast_signed()),
        });
        Some(Library {
            path,
            base,
            segments: segments.collect(),
            relro: of_type(libc::PT_GNU_RELRO).map_or(0..0, range),
            tables: Tables::read(base, dynamic),
            tls,
            handle: None,
        })
    }

    /// What a symbol of this library is to loaded code.
    fn target(&self, name: &str, version: Option<&str>, symbol: &elf::Sym64<LE>) -> Option<Target> {
        let (value, size, kind) = (symbol.st_value.get(LE), symbol.st_size.get(LE), symbol.st_type());
        if kind == elf::STT_TLS {
            let tls = self.tls?;
            let kind = TargetKind::Tls {
                module: tls.module,
                block_offset: tls.block_offset,
            };
            return Some(Target {
                address: value,
                size,
                kind,
            });
        }
        if symbol.st_shndx.get(LE) == elf::SHN_ABS {
            return Some(Target {
                address: value,
                size,
                kind: TargetKind::Absolute,
            });
        }
        let address = match kind {
            // The dynamic linker calls the resolver and knows the answer.
            elf::STT_GNU_IFUNC => dlsym(name, version)?,
            _ => self.base.wrapping_add(value),
        };
        let executable = self
            .segments
            .iter()
            .any(|segment| segment.executable && segment.range.contains(&address));
        let kind = match kind {
            elf::STT_FUNC | elf::STT_GNU_IFUNC => TargetKind::Function,
            elf::STT_NOTYPE if executable => TargetKind::Function,
            _ => TargetKind::Data(copy_rule(name, self, address)),
        };
        Some(Target { address, size, kind })
    }

    fn fix_tls_offset(&mut self, name: &str, symbol: &elf::Sym64<LE>) {
        if let Some(tls) = &mut self.tls
            && tls.block_offset.is_none()
            && symbol.st_type() == elf::STT_TLS
        {
            let offset = library_tls::fixed_offset(&self.path, name);
            tls.block_offset = offset.map(|offset| offset - symbol.st_value.get(LE).cast_signed());
        }
    }

    fn is_constant(&self, address: u64) -> bool {
        let writable = self
            .segments
            .iter()
            .any(|segment| segment.writable && segment.range.contains(&address));
        !writable || self.relro.contains(&address)
    }

    /// Keeps the library in memory for as long as something may be bound to it. Returns whether that worked, as it
    /// does for the host program without further ado.
    fn pin(&mut self) -> bool {
        if self.handle.is_none() && !self.path.is_empty() {
            self.handle = open(&self.path, libc::RTLD_NOW | libc::RTLD_NOLOAD).ok();
        }
        self.handle.is_some() || self.path.is_empty()
    }
}

/// Whether a private copy of a library's variable does for code that cannot reach the original.
///
/// The C streams' variables are set once; the C++ streams share their buffers with the copy, and a copy has formatting
/// flags of its own. `__libc_single_threaded` in a copy would stay true when a thread starts.
fn copy_rule(name: &str, library: &Library, address: u64) -> CopyRule {
    const HARMLESS: [&str; 12] = [
        "stdin",
        "stdout",
        "stderr",
        "_ZSt3cin",
        "_ZSt4cout",
        "_ZSt4cerr",
        "_ZSt4clog",
        "_ZSt4wcin",
        "_ZSt5wcout",
        "__cpu_model",
        "_ZSt5wcerr",
        "_ZSt5wclog",
    ];
    match name {
        "__libc_single_threaded" => CopyRule::Zeroed,
        _ if HARMLESS.contains(&name) || library.is_constant(address) => CopyRule::Harmless,
        _ => CopyRule::Stale,
    }
}

/// The address that the dynamic linker gives a symbol.
pub(crate) fn dlsym(name: &str, version: Option<&str>) -> Option<u64> {
    let name = CString::new(name).ok()?;
    let address = match version {
        None => {
            // SAFETY: the name is a C string.
            unsafe { libc::dlsym(libc::RTLD_DEFAULT, name.as_ptr()) }
        }
        Some(version) => {
            let version = CString::new(version).ok()?;
            // SAFETY: both are C strings.
            unsafe { libc::dlvsym(libc::RTLD_DEFAULT, name.as_ptr(), version.as_ptr()) }
        }
    };
    (!address.is_null()).then_some(address as u64)
}

/// The part of this thread's memory in which the static thread-local block is.
fn static_tls_range() -> Range<u64> {
    let pointer = crate::tls::thread_pointer();
    pointer.saturating_sub(static_tls_bytes())..pointer
}

/// The size of a thread's static block, as the C library tells its sanitizers' runtimes.
fn static_tls_bytes() -> u64 {
    type StaticInfo = unsafe extern "C" fn(*mut usize, *mut usize);
    // Without that function: what an executable of some size can have.
    const AT_LEAST_BYTES: u64 = 4096;
    static BYTES: OnceLock<u64> = OnceLock::new();
    *BYTES.get_or_init(|| {
        let Some(function) = dlsym("_dl_get_tls_static_info", Some("GLIBC_PRIVATE")) else {
            return AT_LEAST_BYTES;
        };
        // SAFETY: the C library's function of that version has this type.
        let function: StaticInfo = unsafe { std::mem::transmute(function as usize) };
        let (mut size, mut align) = (0, 0);
        // SAFETY: both pointers are valid.
        unsafe { function(&raw mut size, &raw mut align) };
        size as u64
    })
}

/// Where new threads copy `address` from, an address in this thread's static block, and whether that is read-only.
/// `None` if the block is not static, or the address is in its zero-initialized part.
pub(crate) fn tls_template(address: u64) -> Option<(u64, bool)> {
    struct Search {
        address: u64,
        found: Option<(u64, bool)>,
    }
    unsafe extern "C" fn look(info: *mut libc::dl_phdr_info, _size: libc::size_t, data: *mut c_void) -> libc::c_int {
        // SAFETY: `dl_iterate_phdr` passes a valid structure.
        let info = unsafe { &*info };
        // SAFETY: the search below, to which nothing else refers meanwhile.
        let search = unsafe { &mut *data.cast::<Search>() };
        // SAFETY: the headers are those of a loaded library.
        let headers = unsafe { std::slice::from_raw_parts(info.dlpi_phdr, usize::from(info.dlpi_phnum)) };
        let Some(tls) = headers.iter().find(|header| header.p_type == libc::PT_TLS) else {
            return 0;
        };
        let Some(offset) = search.address.checked_sub(info.dlpi_tls_data as u64) else {
            return 0;
        };
        if info.dlpi_tls_data.is_null() || offset >= tls.p_filesz {
            return 0;
        }
        let template = info.dlpi_addr + tls.p_vaddr + offset;
        let read_only = headers.iter().any(|header| {
            header.p_type == libc::PT_GNU_RELRO
                && (info.dlpi_addr + header.p_vaddr..info.dlpi_addr + header.p_vaddr + header.p_memsz)
                    .contains(&template)
        });
        search.found = Some((template, read_only));
        1
    }
    if !static_tls_range().contains(&address) {
        return None;
    }
    let mut search = Search { address, found: None };
    // SAFETY: the callback only uses what it is given, and `search` outlives the call.
    unsafe { libc::dl_iterate_phdr(Some(look), (&raw mut search).cast()) };
    search.found
}
