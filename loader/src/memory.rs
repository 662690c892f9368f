//! The memory that an image is linked for: this process, another one, or a plain buffer.

use crate::error::MemoryError;

/// The parts of an image, by how they are mapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SegmentKind {
    /// Code and PLT: readable and executable.
    Code,
    /// Constants, GOT, unwind tables: readable once the image is finalized.
    ReadOnly,
    /// Variables: readable and writable.
    Data,
    /// Variables of the large code model, which may lie out of reach of the code.
    LargeData,
}

impl SegmentKind {
    /// All kinds, in the order in which they are laid out.
    pub const ALL: [SegmentKind; 4] = [
        SegmentKind::Code,
        SegmentKind::ReadOnly,
        SegmentKind::Data,
        SegmentKind::LargeData,
    ];

    /// The segment's permissions, as in `/proc/PID/maps`.
    #[must_use]
    pub fn permissions(self) -> &'static str {
        match self {
            SegmentKind::Code => "r-x",
            SegmentKind::ReadOnly => "r--",
            SegmentKind::Data | SegmentKind::LargeData => "rw-",
        }
    }
}

/// What one segment needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SegmentSize {
    /// Bytes with contents.
    pub filled_bytes: u64,
    /// Bytes in all; those behind the contents start as zeros.
    pub total_bytes: u64,
    /// Alignment in bytes, a power of two.
    pub align: u64,
}

/// Where an image has to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reach {
    /// Wherever this memory puts images: for a process, near the shared libraries.
    Default,
    /// Below 2 GiB, for absolute 32-bit relocations.
    Low,
    /// Within 2 GiB of an address.
    Near(u64),
}

/// The address range of an image. Unless the image is larger than that, 32 signed bits reach every address in it from
/// every other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// The first address.
    pub start: u64,
    /// The address behind the last one.
    pub end: u64,
}

impl Window {
    /// Slack for addends, which may point before or behind a symbol.
    const SLACK_BYTES: u64 = 16 << 20;

    /// Whether code anywhere in the window reaches all of it: an image may be larger than what 32 signed bits span.
    #[must_use]
    pub fn reaches_itself(&self) -> bool {
        self.end.saturating_sub(self.start) <= 1 << 31
    }

    /// Whether code anywhere in the window reaches `address` with 32 signed bits.
    #[must_use]
    pub fn reaches(&self, address: u64) -> bool {
        const SPAN: u64 = (1 << 31) - Window::SLACK_BYTES;
        address.saturating_sub(self.start) < SPAN && self.end.saturating_sub(address) < SPAN
    }
}

/// Memory that an image got: the address of each segment, by [`SegmentKind::ALL`], and what [`Memory::free`] needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Placement {
    /// The segments' addresses; 0 for one without bytes.
    pub addresses: [u64; 4],
    /// The segments' sizes.
    pub sizes: [SegmentSize; 4],
    /// What tells this memory's placements apart.
    pub id: u64,
}

/// What a module's thread-local variables need.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TlsRequest {
    /// Size of the block in bytes.
    pub size_bytes: u64,
    /// Alignment in bytes, a power of two.
    pub align: u64,
    /// Whether code wants a fixed offset from the thread pointer (initial and local exec).
    pub fixed_offset: bool,
}

/// Where a module's thread-local variables are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TlsPlacement {
    /// The module, as `__tls_get_addr` wants it.
    pub module: u64,
    /// The block as an offset from the thread pointer, if it is the same for every thread.
    pub block_offset: Option<i64>,
}

/// The two entries of TLS descriptors (psABI section 6.2): functions that keep every register but `rax`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TlsDescriptors {
    /// Returns its argument, an offset from the thread pointer.
    pub fixed: u64,
    /// Takes the address of a pair as for `__tls_get_addr`, and returns the variable's offset from the thread pointer.
    pub dynamic: u64,
}

/// Gives an image its memory.
///
/// A link calls [`reserve`](Memory::reserve) to learn where the image will be, then [`allocate`](Memory::allocate), fills
/// the [buffers](Memory::buffer), and ends with [`finalize`](Memory::finalize); on an error after `allocate` it calls
/// [`free`](Memory::free).
pub trait Memory {
    /// The range that an image of at most these sizes will be placed in. Nothing is allocated yet.
    ///
    /// # Errors
    /// [`MemoryError::NoSpace`] where no such range is free.
    fn reserve(&mut self, reach: Reach, sizes: &[SegmentSize; 4]) -> Result<Window, MemoryError>;

    /// Allocates the segments in the range that the last [`reserve`](Memory::reserve) gave.
    ///
    /// # Errors
    /// [`MemoryError`] with the reason; nothing is allocated then.
    fn allocate(&mut self, sizes: &[SegmentSize; 4]) -> Result<Placement, MemoryError>;

    /// The contents of a segment, as many bytes as it has [filled](SegmentSize::filled_bytes), to be written before
    /// [`finalize`](Memory::finalize). What the bytes hold at first is not specified.
    fn buffer(&mut self, placement: &Placement, segment: SegmentKind) -> &mut [u8];

    /// Writes bytes at an address of a writable segment, behind its contents too, before [`finalize`](Memory::finalize).
    fn initialize(&mut self, placement: &Placement, address: u64, bytes: &[u8]);

    /// Makes the segments what they are to be: code executable, constants read-only.
    ///
    /// # Errors
    /// [`MemoryError`] with the reason; the caller frees the placement then.
    fn finalize(&mut self, placement: &Placement) -> Result<(), MemoryError>;

    /// Gives the memory back.
    fn free(&mut self, placement: &Placement);

    /// Reads memory at the target, for copies of variables. Returns whether all of it was there.
    fn read(&mut self, address: u64, bytes: &mut [u8]) -> bool;

    /// Gives a module's thread-local block its place.
    ///
    /// # Errors
    /// [`MemoryError`] where the target has no such storage, or no more of it.
    fn allocate_tls(&mut self, request: &TlsRequest) -> Result<TlsPlacement, MemoryError>;

    /// Takes back what [`allocate_tls`](Memory::allocate_tls) gave for that request.
    fn free_tls(&mut self, tls: &TlsPlacement, request: &TlsRequest);

    /// The entries of TLS descriptors, if the target has them.
    fn tls_descriptors(&self) -> Option<TlsDescriptors>;
}

/// Plain buffers at a pretend address: for looking at linked bytes without running them.
///
/// Segments follow one another from `base`, each on a page of its own. Thread-local blocks get negative offsets from
/// the thread pointer as in an executable (psABI section 6.1, variant II).
#[derive(Debug)]
pub struct BufferMemory {
    base: u64,
    buffers: [Vec<u8>; 4],
    next: u64,
    modules: u64,
}

/// The page size of x86-64.
pub const PAGE_BYTES: u64 = 4096;

impl BufferMemory {
    /// Memory that starts at `base`.
    #[must_use]
    pub fn at(base: u64) -> Self {
        BufferMemory {
            base,
            buffers: Default::default(),
            next: base,
            modules: 0,
        }
    }

    /// The linked bytes of a segment.
    #[must_use]
    pub fn bytes(&self, segment: SegmentKind) -> &[u8] {
        &self.buffers[segment as usize]
    }
}

impl Memory for BufferMemory {
    fn reserve(&mut self, _reach: Reach, sizes: &[SegmentSize; 4]) -> Result<Window, MemoryError> {
        let near: u64 = sizes[..3].iter().fold(0, |sum, size| {
            sum.saturating_add(size.total_bytes)
                .saturating_add(size.align)
                .saturating_add(PAGE_BYTES)
        });
        let no_space = MemoryError::NoSpace {
            size_bytes: near,
            placement: "at the address asked for",
        };
        self.next = self.base;
        let end = self.base.checked_add(near).ok_or(no_space)?;
        Ok(Window { start: self.base, end })
    }

    fn allocate(&mut self, sizes: &[SegmentSize; 4]) -> Result<Placement, MemoryError> {
        let mut addresses = [0; 4];
        let mut buffers: [Vec<u8>; 4] = Default::default();
        let mut next = self.next;
        for (index, size) in sizes.iter().enumerate() {
            if size.total_bytes == 0 {
                continue;
            }
            let align = if next == self.base {
                size.align.max(1)
            } else {
                size.align.max(PAGE_BYTES)
            };
            let no_space = MemoryError::NoSpace {
                size_bytes: size.total_bytes,
                placement: "at the address asked for",
            };
            let start = next.checked_next_multiple_of(align).ok_or(no_space.clone())?;
            next = start.checked_add(size.total_bytes).ok_or(no_space)?;
            addresses[index] = start;
            let filled = usize::try_from(size.filled_bytes)
                .map_err(|_| MemoryError::Refused("segment too large for a buffer"))?;
            buffers[index] = vec![0; filled];
        }
        self.next = next;
        self.buffers = buffers;
        Ok(Placement {
            addresses,
            sizes: *sizes,
            id: 0,
        })
    }

    fn buffer(&mut self, _placement: &Placement, segment: SegmentKind) -> &mut [u8] {
        &mut self.buffers[segment as usize]
    }

    fn initialize(&mut self, placement: &Placement, address: u64, bytes: &[u8]) {
        let data = SegmentKind::Data as usize;
        let Some(start) = address
            .checked_sub(placement.addresses[data])
            .and_then(|start| usize::try_from(start).ok())
        else {
            return;
        };
        let end = start + bytes.len();
        let buffer = &mut self.buffers[data];
        buffer.resize(buffer.len().max(end), 0);
        buffer[start..end].copy_from_slice(bytes);
    }

    fn finalize(&mut self, _placement: &Placement) -> Result<(), MemoryError> {
        Ok(())
    }

    fn free(&mut self, _placement: &Placement) {
        self.buffers = Default::default();
    }

    fn read(&mut self, _address: u64, _bytes: &mut [u8]) -> bool {
        false
    }

    fn allocate_tls(&mut self, request: &TlsRequest) -> Result<TlsPlacement, MemoryError> {
        let size = request.size_bytes.checked_next_multiple_of(request.align.max(1));
        let offset = size
            .and_then(|size| i64::try_from(size).ok())
            .ok_or(MemoryError::Refused("thread-local block too large"))?;
        self.modules += 1;
        Ok(TlsPlacement {
            module: self.modules,
            block_offset: Some(-offset),
        })
    }

    fn free_tls(&mut self, _tls: &TlsPlacement, _request: &TlsRequest) {}

    fn tls_descriptors(&self) -> Option<TlsDescriptors> {
        Some(TlsDescriptors { fixed: 0, dynamic: 0 })
    }
}
