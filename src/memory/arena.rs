//! One reserved address range with its code, constants and data.
//!
//! Code and constants live in one memfd, mapped executable and read-only for as long as the arena exists. Writing goes
//! another way: with `pwrite` ([`Protection::Strict`]), or through a writable view at an unrelated address
//! ([`Protection::Fast`]). Data is private anonymous memory, so that `fork` gives the child its own.
//!
//! ```text
//! base                base + code         base + code + constants
//! | code  r-x memfd   | constants r-- memfd | data rw- private      |
//! ```

use std::os::fd::OwnedFd;
use std::ptr::{self, NonNull};

use restub_loader::{MemoryError, PAGE_BYTES, Reach, SegmentKind, Window};
use rustix::fs::{MemfdFlags, SealFlags};
use rustix::mm::{Advice, MapFlags, MprotectFlags, ProtFlags};

use super::Protection;
use super::region::Region;
use super::words::WordView;
use crate::{fault, fork};

/// Sizes of an arena's parts in bytes, each a multiple of a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ArenaSizes {
    pub(crate) code: u64,
    pub(crate) constants: u64,
    pub(crate) data: u64,
}

impl ArenaSizes {
    pub(crate) fn total(self) -> u64 {
        self.code.saturating_add(self.constants).saturating_add(self.data)
    }
}

/// A reserved address range.
#[derive(Debug)]
pub(crate) struct Arena {
    pub(crate) id: u64,
    pub(crate) reach: Reach,
    base: u64,
    sizes: ArenaSizes,
    code: Region,
    constants: Region,
    data: Region,
    backing: Backing,
    /// Freed code may still be in a core's instruction queue.
    code_is_stale: bool,
}

#[derive(Debug)]
enum Backing {
    /// A memfd that holds code and constants, with the writable view of [`Protection::Fast`].
    Shared {
        file: OwnedFd,
        view: Option<NonNull<u8>>,
        forks: u64,
    },
    /// Where executable memfds are forbidden: private memory, each image on pages of its own.
    Private,
}

// SAFETY: the pointer is to a mapping that the arena owns and that no other part of the program knows of.
unsafe impl Send for Arena {}
// SAFETY: a shared reference gives no access to the mapping.
unsafe impl Sync for Arena {}

impl Arena {
    /// Reserves an arena at `base`, and maps its parts.
    pub(crate) fn new(
        id: u64,
        base: u64,
        sizes: ArenaSizes,
        reach: Reach,
        protection: Protection,
    ) -> Result<Self, MemoryError> {
        let flags = MapFlags::PRIVATE | MapFlags::NORESERVE | MapFlags::FIXED_NOREPLACE;
        fault::point().map_err(system("mmap"))?;
        // SAFETY: `FIXED_NOREPLACE` takes only addresses that nothing uses.
        let reserved =
            unsafe { rustix::mm::mmap_anonymous(address(base), to_usize(sizes.total()), ProtFlags::empty(), flags) };
        let reserved = reserved.map_err(system("mmap"))?;
        let mut arena = Arena {
            id,
            reach,
            base,
            sizes,
            code: Region::new(base, sizes.code),
            constants: Region::new(base + sizes.code, sizes.constants),
            data: Region::new(base + sizes.code + sizes.constants, sizes.data),
            backing: Backing::Private,
            code_is_stale: false,
        };
        if reserved != address(base) {
            // An old kernel took the address for a hint.
            arena.base = reserved as u64;
            return Err(MemoryError::NoSpace {
                size_bytes: sizes.total(),
                placement: super::range::words(reach),
            });
        }
        arena.backing = arena.back(protection)?;
        let data = base + sizes.code + sizes.constants;
        fault::point().map_err(system("mmap"))?;
        // SAFETY: the range lies inside the reservation, which belongs to the arena alone.
        let mapped = unsafe {
            rustix::mm::mmap_anonymous(
                address(data),
                to_usize(sizes.data),
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::PRIVATE | MapFlags::NORESERVE | MapFlags::FIXED,
            )
        };
        mapped.map_err(system("mmap"))?;
        Ok(arena)
    }

    fn back(&self, protection: Protection) -> Result<Backing, MemoryError> {
        let size = self.sizes.code + self.sizes.constants;
        // A limit on the size of files counts for memfds, and going beyond it is a signal.
        let largest_file = rustix::process::getrlimit(rustix::process::Resource::Fsize).current;
        if protection == Protection::Private || largest_file.is_some_and(|largest| largest < size) {
            return Ok(Backing::Private);
        }
        let file = create_memfd(size).map_err(system("memfd_create"))?;
        match self.map_file(&file) {
            // The file cannot be executed here (vm.memfd_noexec, a noexec mount policy, SELinux).
            Err(rustix::io::Errno::ACCESS | rustix::io::Errno::PERM) => return Ok(Backing::Private),
            other => other.map_err(system("mmap of a memfd"))?,
        }
        let view = match protection {
            Protection::Fast => Some(self.map_view(&file).map_err(system("mmap of a memfd"))?),
            _ => None,
        };
        Ok(Backing::Shared {
            file,
            view,
            forks: fork::count(),
        })
    }

    /// Maps code and constants over what is there.
    fn map_file(&self, file: &OwnedFd) -> rustix::io::Result<()> {
        let parts = [
            (self.base, self.sizes.code, ProtFlags::READ | ProtFlags::EXEC, 0),
            (
                self.base + self.sizes.code,
                self.sizes.constants,
                ProtFlags::READ,
                self.sizes.code,
            ),
        ];
        for (start, size, protection, offset) in parts {
            let flags = MapFlags::SHARED | MapFlags::FIXED;
            fault::point()?;
            // SAFETY: the range lies inside the reservation, which belongs to the arena alone, and the file holds the
            // same bytes that are there at present.
            unsafe { rustix::mm::mmap(address(start), to_usize(size), protection, flags, file, offset) }?;
        }
        Ok(())
    }

    fn map_view(&self, file: &OwnedFd) -> rustix::io::Result<NonNull<u8>> {
        let size = to_usize(self.sizes.code + self.sizes.constants);
        let protection = ProtFlags::READ | ProtFlags::WRITE;
        fault::point()?;
        // SAFETY: the kernel chooses an unused range.
        let view = unsafe { rustix::mm::mmap(ptr::null_mut(), size, protection, MapFlags::SHARED, file, 0) }?;
        NonNull::new(view.cast()).ok_or(rustix::io::Errno::NOMEM)
    }

    pub(crate) fn window(&self) -> Window {
        Window {
            start: self.base,
            end: self.base + self.sizes.total(),
        }
    }

    pub(crate) fn sizes(&self) -> ArenaSizes {
        self.sizes
    }

    /// Whether code and stubs have a second view, so that a page with running code can be written.
    pub(crate) fn is_shared(&self) -> bool {
        matches!(self.backing, Backing::Shared { .. })
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.used_bytes() == 0
    }

    pub(crate) fn used_bytes(&self) -> u64 {
        self.code.used() + self.constants.used() + self.data.used()
    }

    fn region(&mut self, segment: SegmentKind) -> &mut Region {
        match segment {
            SegmentKind::Code => &mut self.code,
            SegmentKind::ReadOnly => &mut self.constants,
            SegmentKind::Data | SegmentKind::LargeData => &mut self.data,
        }
    }

    fn start(&self, segment: SegmentKind) -> u64 {
        match segment {
            SegmentKind::Code => self.base,
            SegmentKind::ReadOnly => self.base + self.sizes.code,
            SegmentKind::Data | SegmentKind::LargeData => self.base + self.sizes.code + self.sizes.constants,
        }
    }

    /// Private memory changes its protection page by page, so pieces must not share a page.
    fn rounded(&self, segment: SegmentKind, size: u64, align: u64) -> (u64, u64) {
        match (&self.backing, segment) {
            (Backing::Private, SegmentKind::Code | SegmentKind::ReadOnly) => (
                size.checked_next_multiple_of(PAGE_BYTES).unwrap_or(u64::MAX),
                align.max(PAGE_BYTES),
            ),
            _ => (size, align),
        }
    }

    pub(crate) fn fits(&mut self, segment: SegmentKind, size: u64, align: u64) -> bool {
        let (size, align) = self.rounded(segment, size, align);
        self.region(segment).fits(size, align)
    }

    /// Takes memory. Data is zero; what code and constants hold is not specified.
    pub(crate) fn allocate(&mut self, segment: SegmentKind, size: u64, align: u64) -> Result<u64, MemoryError> {
        if matches!(segment, SegmentKind::Code | SegmentKind::ReadOnly) {
            // The image is written in place, or in a copy that is written later: which of the two must not change.
            self.unshare()?;
        }
        let (size, align) = self.rounded(segment, size, align);
        let no_space = MemoryError::NoSpace {
            size_bytes: size,
            placement: super::range::words(self.reach),
        };
        let start = self.region(segment).allocate(size, align).ok_or(no_space)?;
        if segment == SegmentKind::Code && self.code_is_stale && super::barrier::is_available() {
            if !super::barrier::synchronize_cores() {
                self.region(segment).free(start, size);
                return Err(MemoryError::System {
                    operation: "membarrier",
                    reason: "cores may still hold what was freed".to_owned(),
                });
            }
            self.code_is_stale = false;
        }
        if let (Backing::Private, SegmentKind::Code | SegmentKind::ReadOnly) = (&self.backing, segment)
            && let Err(error) = self.protect(start, size, MprotectFlags::READ | MprotectFlags::WRITE)
        {
            self.region(segment).free(start, size);
            return Err(error);
        }
        Ok(start)
    }

    /// Gives memory back: code becomes `int3`, data zero.
    pub(crate) fn free(&mut self, segment: SegmentKind, start: u64, size: u64) -> Result<(), MemoryError> {
        let (size, _) = self.rounded(segment, size, 1);
        match (segment, &self.backing) {
            (SegmentKind::Code | SegmentKind::ReadOnly, Backing::Private) => {
                self.protect(start, size, MprotectFlags::empty())?;
                advise(start, size, Advice::LinuxDontNeed)?;
            }
            (SegmentKind::Code, Backing::Shared { .. }) => {
                self.write(start, &vec![0xcc; to_usize(size)])?;
                self.code_is_stale = true;
                if !super::barrier::is_available() {
                    return Ok(()); // code that a core may hold must not be overwritten, ever
                }
            }
            (SegmentKind::ReadOnly, Backing::Shared { .. }) => {}
            (SegmentKind::Data | SegmentKind::LargeData, _) => clear(start, size)?,
        }
        self.region(segment).free(start, size);
        Ok(())
    }

    /// The writable bytes of freshly allocated memory, if they can be written in place.
    pub(crate) fn in_place(&mut self, segment: SegmentKind, start: u64, size: u64) -> Option<&mut [u8]> {
        let pointer = match (segment, &self.backing) {
            (SegmentKind::Code | SegmentKind::ReadOnly, Backing::Shared { view, .. }) => {
                let offset = to_usize(start - self.base);
                // SAFETY: the view is as long as code and constants, in which the piece lies.
                unsafe { (*view)?.as_ptr().add(offset) }
            }
            _ => address(start).cast(),
        };
        // SAFETY: the piece is allocated and readable and writable through this pointer; the caller holds the arena
        // exclusively, and nothing else refers to memory that no image has been published in.
        Some(unsafe { std::slice::from_raw_parts_mut(pointer, to_usize(size)) })
    }

    /// Writes code or constants that may be in use. Of an aligned word, readers see the old or the new value.
    pub(crate) fn write(&mut self, start: u64, bytes: &[u8]) -> Result<(), MemoryError> {
        self.unshare()?;
        let offset = start - self.base;
        match &self.backing {
            Backing::Shared { view: Some(view), .. } => {
                // SAFETY: the view is as long as code and constants, in which the piece lies.
                let to = unsafe { view.as_ptr().add(to_usize(offset)) };
                // SAFETY: see above; the source is a slice of the same length and does not overlap the view.
                unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), to, bytes.len()) };
                Ok(())
            }
            Backing::Shared { file, .. } => write_all(file, bytes, offset),
            Backing::Private => {
                let first = start & !(PAGE_BYTES - 1);
                let size = (start + bytes.len() as u64 - first).next_multiple_of(PAGE_BYTES);
                self.protect(first, size, MprotectFlags::READ | MprotectFlags::WRITE)?;
                // SAFETY: the pages were just made writable, and belong to one image that is not published yet.
                unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), address(start).cast(), bytes.len()) };
                self.seal(start, bytes.len() as u64)
            }
        }
    }

    /// Whether an address lies in the arena.
    pub(crate) fn holds(&self, address: u64) -> bool {
        (self.base..self.base + self.sizes.total()).contains(&address)
    }

    /// A way to write the words of one page, however its code is protected.
    pub(crate) fn word_view(&mut self, word: u64) -> Result<WordView, MemoryError> {
        let page = word & !(PAGE_BYTES - 1);
        if word >= self.start(SegmentKind::Data) {
            return Ok(WordView::lasting(page, page));
        }
        self.unshare()?;
        let offset = page - self.base;
        match &self.backing {
            Backing::Shared { view: Some(view), .. } => Ok(WordView::lasting(
                page,
                view.as_ptr().expose_provenance() as u64 + offset,
            )),
            Backing::Shared { file, .. } => WordView::map(page, file, offset),
            Backing::Private => Err(MemoryError::Refused(
                "target words beside their jumps need code that has a second view",
            )),
        }
    }

    /// Gives private pages their final protection; shared ones have it.
    pub(crate) fn seal(&self, start: u64, size: u64) -> Result<(), MemoryError> {
        if self.is_shared() || size == 0 {
            return Ok(());
        }
        let code = start < self.base + self.sizes.code;
        let flags = if code {
            MprotectFlags::READ | MprotectFlags::EXEC
        } else {
            MprotectFlags::READ
        };
        let first = start & !(PAGE_BYTES - 1);
        self.protect(first, (start + size - first).next_multiple_of(PAGE_BYTES), flags)
    }

    fn protect(&self, start: u64, size: u64, flags: MprotectFlags) -> Result<(), MemoryError> {
        fault::point().map_err(system("mprotect"))?;
        // SAFETY: the pages lie inside the arena and belong to one image that nothing runs in.
        unsafe { rustix::mm::mprotect(address(start), to_usize(size), flags) }.map_err(system("mprotect"))
    }

    /// Moves code and constants to a file of this process's own, if a `fork` has shared them with a child since.
    ///
    /// The bytes stay the same, at the same addresses, so that threads that run in them notice nothing.
    fn unshare(&mut self) -> Result<(), MemoryError> {
        let now = fork::count();
        let Backing::Shared { view, forks, .. } = &self.backing else {
            return Ok(());
        };
        if *forks == now {
            return Ok(());
        }
        let old_view = *view;
        let file = create_memfd(self.sizes.code + self.sizes.constants).map_err(system("memfd_create"))?;
        for segment in [SegmentKind::Code, SegmentKind::ReadOnly] {
            let start = self.start(segment);
            let size = self.region(segment).untouched() - start;
            // SAFETY: the arena's own mapping, readable for as long as the arena exists.
            let bytes = unsafe { std::slice::from_raw_parts(address(start).cast::<u8>(), to_usize(size)) };
            write_all(&file, bytes, start - self.base)?;
        }
        let view = match old_view {
            Some(_) => Some(self.map_view(&file).map_err(system("mmap of a memfd"))?),
            None => None,
        };
        if let Err(error) = self.map_file(&file) {
            if let Some(view) = view {
                self.unmap_view(view);
            }
            return Err(system("mmap of a memfd")(error));
        }
        self.backing = Backing::Shared { file, view, forks: now };
        if let Some(old_view) = old_view {
            self.unmap_view(old_view);
        }
        Ok(())
    }

    fn unmap_view(&self, view: NonNull<u8>) {
        // SAFETY: the view was mapped with this size and is not used any more.
        let unmapped =
            unsafe { rustix::mm::munmap(view.as_ptr().cast(), to_usize(self.sizes.code + self.sizes.constants)) };
        debug_assert!(unmapped.is_ok());
    }
}

impl Drop for Arena {
    fn drop(&mut self) {
        if let Backing::Shared { view: Some(view), .. } = self.backing {
            self.unmap_view(view);
        }
        // SAFETY: the range belongs to the arena; whoever drops it has made sure that no image in it is in use.
        let unmapped = unsafe { rustix::mm::munmap(address(self.base), to_usize(self.sizes.total())) };
        debug_assert!(unmapped.is_ok());
    }
}

fn create_memfd(size: u64) -> rustix::io::Result<OwnedFd> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    fault::point()?;
    // Kernels before 6.3 do not know `EXEC`, and need not be told.
    let file = match rustix::fs::memfd_create(c"restub", flags | MemfdFlags::EXEC) {
        Err(rustix::io::Errno::INVAL) => rustix::fs::memfd_create(c"restub", flags),
        other => other,
    }?;
    fault::point()?;
    rustix::fs::ftruncate(&file, size)?;
    fault::point()?;
    rustix::fs::fcntl_add_seals(&file, SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL)?;
    Ok(file)
}

fn write_all(file: &OwnedFd, mut bytes: &[u8], mut offset: u64) -> Result<(), MemoryError> {
    while !bytes.is_empty() {
        fault::point().map_err(system("pwrite"))?;
        let written = rustix::io::pwrite(file, bytes, offset).map_err(system("pwrite"))?;
        bytes = &bytes[written..];
        offset += written as u64;
    }
    Ok(())
}

/// Makes data zero again: whole pages go back to the system where there are many.
fn clear(start: u64, size: u64) -> Result<(), MemoryError> {
    const WORTH_A_CALL_BYTES: u64 = 128 << 10;
    let (first, last) = (start.next_multiple_of(PAGE_BYTES), (start + size) & !(PAGE_BYTES - 1));
    let zero = |from: u64, to: u64| {
        // SAFETY: the bytes lie inside data of the arena that is being freed.
        unsafe { ptr::write_bytes(address(from).cast::<u8>(), 0, to_usize(to - from)) };
    };
    if size < WORTH_A_CALL_BYTES || last <= first {
        zero(start, start + size);
        return Ok(());
    }
    zero(start, first);
    zero(last, start + size);
    advise(first, last - first, Advice::LinuxDontNeed)
}

fn advise(start: u64, size: u64, advice: Advice) -> Result<(), MemoryError> {
    fault::point().map_err(system("madvise"))?;
    // SAFETY: the pages lie inside the arena, and what they hold is not needed any more.
    unsafe { rustix::mm::madvise(address(start), to_usize(size), advice) }.map_err(system("madvise"))
}

pub(super) fn system(operation: &'static str) -> impl Fn(rustix::io::Errno) -> MemoryError {
    move |error| MemoryError::System {
        operation,
        reason: error.to_string(),
    }
}

pub(super) fn address(address: u64) -> *mut std::ffi::c_void {
    ptr::with_exposed_provenance_mut(to_usize(address))
}

pub(super) fn to_usize(size: u64) -> usize {
    usize::try_from(size).expect("restub runs on 64-bit machines only")
}
