//! Memory of this process for linked images: arenas of code, constants and data, W^X at every instant.

mod arena;
mod barrier;
mod range;
mod region;
mod words;

use std::ops::Range;

use restub_loader::{
    Memory, MemoryError, Placement, Reach, SegmentKind, SegmentSize, TlsDescriptors, TlsPlacement, TlsRequest, Window,
};

use crate::{fault, tls};
use arena::{Arena, ArenaSizes};
pub(crate) use region::Region;
use restub_stubs::WordStore;
use words::WordView;

/// How code is written while other code runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Protection {
    /// Code is writable at no address: it is written with `pwrite` on the memfd behind it.
    #[default]
    Strict,
    /// A writable view of the code stays mapped, at an address that has nothing to do with that of the code.
    Fast,
    /// Private memory whose protection changes once, before first use. Chosen by itself where executable memfds are
    /// forbidden; costs at least a page of code and of constants for each module.
    Private,
}

const MIB: u64 = 1 << 20;
/// An ordinary arena: 256 MiB of address space, which costs nothing until it is used.
const ORDINARY: ArenaSizes = ArenaSizes {
    code: 64 * MIB,
    constants: 64 * MIB,
    data: 128 * MIB,
};
/// Code in one arena reaches all of it, so it may not be larger.
const LARGEST_BYTES: u64 = (2 << 30) - 64 * MIB;

/// Arenas in this process.
#[derive(Debug)]
pub(crate) struct ProcessMemory {
    protection: Protection,
    arenas: Vec<Arena>,
    /// The arena that the last `reserve` chose.
    chosen: usize,
    next_id: u64,
    /// Where code and constants are linked if they cannot be written in place.
    scratch: [Vec<u8>; 2],
    /// Which shared libraries to be near to.
    libraries: Range<u64>,
    /// What the system refused to take back: it is tried again.
    unfreed: Vec<Piece>,
}

/// Allocated memory of one segment.
#[derive(Debug, Clone, Copy)]
struct Piece {
    arena: u64,
    segment: SegmentKind,
    start: u64,
    size: u64,
}

impl ProcessMemory {
    pub(crate) fn new(protection: Protection, libraries: Range<u64>) -> Self {
        ProcessMemory {
            protection,
            arenas: Vec::new(),
            chosen: 0,
            next_id: 0,
            scratch: Default::default(),
            libraries,
            unfreed: Vec::new(),
        }
    }

    /// Bytes in use by images, and how many arenas there are.
    pub(crate) fn usage(&self) -> (u64, usize) {
        (self.arenas.iter().map(Arena::used_bytes).sum(), self.arenas.len())
    }

    /// Leaves everything mapped for good.
    pub(crate) fn leak(&mut self) {
        std::mem::forget(std::mem::take(&mut self.arenas));
    }

    /// Writes constants of a finalized image, such as the GOT word of an IFUNC.
    pub(crate) fn write(&mut self, placement: &Placement, address: u64, bytes: &[u8]) -> Result<(), MemoryError> {
        self.arena(placement).write(address, bytes)
    }

    /// Stores aligned words that other threads read meanwhile, in this order: target words of stubs. Each store is a
    /// release. Everything that can fail comes before the first one.
    pub(crate) fn store(&mut self, words: &[WordStore]) -> Result<(), MemoryError> {
        // One mapping serves the words of one page.
        let mut views: Vec<WordView> = Vec::new();
        let mut places = Vec::with_capacity(words.len());
        for word in words {
            let known = views.iter().position(|view| view.holds(word.address));
            places.push(match known {
                Some(known) => known,
                None => {
                    let arena = self.arenas.iter_mut().find(|arena| arena.holds(word.address));
                    let arena = arena.ok_or(MemoryError::Refused("a stub lies in no arena"))?;
                    views.push(arena.word_view(word.address)?);
                    views.len() - 1
                }
            });
        }
        for (word, view) in words.iter().zip(places) {
            views[view].store(word.address, word.value);
        }
        Ok(())
    }

    /// What is in a finalized image's code or constants; nothing of its data, which changes.
    pub(crate) fn bytes(&self, placement: &Placement, segment: SegmentKind) -> &[u8] {
        let (start, size) = (
            placement.addresses[segment as usize],
            placement.sizes[segment as usize].filled_bytes,
        );
        if size == 0 || !matches!(segment, SegmentKind::Code | SegmentKind::ReadOnly) {
            return &[];
        }
        let start = arena::address(start).cast::<u8>().cast_const();
        // SAFETY: the segment is mapped and readable until it is freed, for which the memory has to be borrowed alone.
        unsafe { std::slice::from_raw_parts(start, arena::to_usize(size)) }
    }

    fn arena(&mut self, placement: &Placement) -> &mut Arena {
        let arena = self.arenas.iter_mut().find(|arena| arena.id == placement.id);
        arena.expect("an arena lives as long as a placement in it")
    }

    fn free_piece(&mut self, piece: Piece) {
        let Piece {
            segment, start, size, ..
        } = piece;
        let arena = self.arenas.iter_mut().find(|arena| arena.id == piece.arena);
        let freed = match (segment, arena) {
            (SegmentKind::LargeData, _) => unmap_large(start, size),
            (_, Some(arena)) => arena.free(segment, start, size),
            (_, None) => Ok(()),
        };
        if freed.is_err() {
            self.unfreed.push(piece);
        }
    }

    /// Makes an arena for an image: an ordinary one, or where address space is scarce a smaller one.
    fn create(&mut self, reach: Reach, sizes: &[SegmentSize; 4]) -> Result<usize, MemoryError> {
        const FRACTIONS: [u64; 3] = [1, 8, 64];
        // Of arenas without an image only an ordinary one stays: the others are for few images, and may be many.
        self.arenas.retain(|arena| {
            !arena.is_empty() || (arena.reach == Reach::Default && arena.sizes().total() <= ORDINARY.total())
        });
        let mut result = Err(MemoryError::Refused("no arena"));
        for fraction in FRACTIONS {
            let part = |segment: SegmentKind, ordinary: u64| {
                let size = &sizes[segment as usize];
                let wanted = size.total_bytes.saturating_add(size.align).saturating_add(2 * MIB) & !(2 * MIB - 1);
                wanted.max(ordinary / fraction)
            };
            let sizes = ArenaSizes {
                code: part(SegmentKind::Code, ORDINARY.code),
                constants: part(SegmentKind::ReadOnly, ORDINARY.constants),
                data: part(SegmentKind::Data, ORDINARY.data),
            };
            result = self.create_sized(reach, sizes);
            if result.is_ok() {
                break;
            }
        }
        result
    }

    fn create_sized(&mut self, reach: Reach, sizes: ArenaSizes) -> Result<usize, MemoryError> {
        const ATTEMPTS: usize = 8;
        let mut error = MemoryError::NoSpace {
            size_bytes: sizes.total(),
            placement: range::words(reach),
        };
        if sizes.total() > LARGEST_BYTES {
            return Err(error);
        }
        for _ in 0..ATTEMPTS {
            let base = range::find(sizes, reach, &self.libraries)?;
            // Another thread may have mapped something there in between.
            match Arena::new(self.next_id, base, sizes, reach, self.protection) {
                Ok(arena) => {
                    self.next_id += 1;
                    self.arenas.push(arena);
                    return Ok(self.arenas.len() - 1);
                }
                Err(reason) => error = reason,
            }
        }
        Err(error)
    }
}

/// The segments that live in an arena; large data is mapped on its own.
const IN_ARENA: [SegmentKind; 3] = [SegmentKind::Code, SegmentKind::ReadOnly, SegmentKind::Data];

impl Memory for ProcessMemory {
    fn reserve(&mut self, reach: Reach, sizes: &[SegmentSize; 4]) -> Result<Window, MemoryError> {
        for piece in std::mem::take(&mut self.unfreed) {
            self.free_piece(piece);
        }
        let suits = |arena: &mut Arena| {
            let in_reach = match reach {
                Reach::Near(address) => arena.window().reaches(address),
                _ => arena.reach == reach,
            };
            in_reach
                && IN_ARENA.iter().all(|&segment| {
                    let size = &sizes[segment as usize];
                    arena.fits(segment, size.total_bytes, size.align)
                })
        };
        self.chosen = match self.arenas.iter_mut().position(suits) {
            Some(arena) => arena,
            None => self.create(reach, sizes)?,
        };
        Ok(self.arenas[self.chosen].window())
    }

    fn allocate(&mut self, sizes: &[SegmentSize; 4]) -> Result<Placement, MemoryError> {
        let arena = &mut self.arenas[self.chosen];
        let mut placement = Placement {
            addresses: [0; 4],
            sizes: *sizes,
            id: arena.id,
        };
        for segment in SegmentKind::ALL {
            let size = &sizes[segment as usize];
            if size.total_bytes == 0 {
                continue;
            }
            let allocated = match segment {
                SegmentKind::LargeData => map_large(size),
                _ => arena.allocate(segment, size.total_bytes, size.align),
            };
            match allocated {
                Ok(address) => placement.addresses[segment as usize] = address,
                Err(error) => {
                    self.free(&placement);
                    return Err(error);
                }
            }
        }
        Ok(placement)
    }

    fn buffer(&mut self, placement: &Placement, segment: SegmentKind) -> &mut [u8] {
        let (start, size) = (
            placement.addresses[segment as usize],
            placement.sizes[segment as usize].filled_bytes,
        );
        // The borrow checker does not see that the two are alternatives, so the question is asked twice.
        if self.arena(placement).in_place(segment, start, size).is_some() {
            return self.arena(placement).in_place(segment, start, size).unwrap_or_default();
        }
        let scratch = &mut self.scratch[segment as usize];
        let size = arena::to_usize(size);
        if scratch.len() < size {
            scratch.resize(size, 0);
        }
        &mut scratch[..size]
    }

    fn initialize(&mut self, placement: &Placement, address: u64, bytes: &[u8]) {
        let segment = SegmentKind::Data;
        let (start, size) = (
            placement.addresses[segment as usize],
            placement.sizes[segment as usize].total_bytes,
        );
        let data = self
            .arena(placement)
            .in_place(segment, start, size)
            .expect("data is written in place");
        let offset = arena::to_usize(address - start);
        data[offset..offset + bytes.len()].copy_from_slice(bytes);
    }

    fn finalize(&mut self, placement: &Placement) -> Result<(), MemoryError> {
        for segment in [SegmentKind::Code, SegmentKind::ReadOnly] {
            let (start, size) = (
                placement.addresses[segment as usize],
                placement.sizes[segment as usize].filled_bytes,
            );
            if size == 0 {
                continue;
            }
            let arena = self.arenas.iter_mut().find(|arena| arena.id == placement.id);
            let arena = arena.expect("an arena lives as long as a placement in it");
            if arena.in_place(segment, start, size).is_none() {
                arena.write(start, &self.scratch[segment as usize][..arena::to_usize(size)])?;
            }
            arena.seal(start, size)?;
        }
        Ok(())
    }

    fn free(&mut self, placement: &Placement) {
        for segment in SegmentKind::ALL {
            let (start, size) = (
                placement.addresses[segment as usize],
                placement.sizes[segment as usize].total_bytes,
            );
            if start == 0 {
                continue;
            }
            self.free_piece(Piece {
                arena: placement.id,
                segment,
                start,
                size,
            });
        }
    }

    fn read(&mut self, address: u64, bytes: &mut [u8]) -> bool {
        let from = arena::address(address).cast::<u8>();
        // SAFETY: the resolver gave the address and size of a variable of a loaded library.
        unsafe { std::ptr::copy_nonoverlapping(from, bytes.as_mut_ptr(), bytes.len()) };
        true
    }

    fn allocate_tls(&mut self, request: &TlsRequest) -> Result<TlsPlacement, MemoryError> {
        tls::allocate(request)
    }

    fn free_tls(&mut self, placement: &TlsPlacement, request: &TlsRequest) {
        tls::free(placement, request.size_bytes);
    }

    fn tls_descriptors(&self) -> Option<TlsDescriptors> {
        Some(tls::descriptors())
    }
}

fn map_large(size: &SegmentSize) -> Result<u64, MemoryError> {
    use rustix::mm::{MapFlags, ProtFlags};
    if size.align > restub_loader::PAGE_BYTES {
        return Err(MemoryError::Refused(
            "large data with an alignment above a page is not supported",
        ));
    }
    let flags = MapFlags::PRIVATE | MapFlags::NORESERVE;
    let protection = ProtFlags::READ | ProtFlags::WRITE;
    let bytes = arena::to_usize(size.total_bytes);
    fault::point().map_err(arena::system("mmap"))?;
    // SAFETY: the kernel chooses an unused range.
    let mapped = unsafe { rustix::mm::mmap_anonymous(std::ptr::null_mut(), bytes, protection, flags) };
    mapped
        .map(|start| start.expose_provenance() as u64)
        .map_err(arena::system("mmap"))
}

fn unmap_large(start: u64, size: u64) -> Result<(), MemoryError> {
    // SAFETY: `map_large` mapped the range for an image that is being freed.
    unsafe { rustix::mm::munmap(arena::address(start), arena::to_usize(size)) }.map_err(arena::system("munmap"))
}
