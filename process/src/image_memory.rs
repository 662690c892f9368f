//! The memory that a patch is linked for.

use std::ops::Range;

use restub_loader::{
    Memory, MemoryError, PAGE_BYTES, Placement, Reach, SegmentKind, SegmentSize, TlsDescriptors, TlsPlacement,
    TlsRequest, Window,
};

use crate::arena::{Arena, Region, Space};
use crate::procfs::Procfs;
use crate::tls::{self, Runtime};

/// The memory of one image: space in an arena, and buffers that are written to the target later.
#[derive(Debug)]
pub(crate) struct ImageMemory<'a> {
    procfs: &'a Procfs,
    pub(crate) space: Space,
    /// The module that is patched.
    home: Range<u64>,
    /// Where the image has to be, if it was there before.
    fixed: Option<[u64; 4]>,
    chosen: Option<Arena>,
    buffers: [Vec<u8>; 4],
    pub(crate) initialized: Vec<(u64, Vec<u8>)>,
    /// The code that finds thread-local variables.
    pub(crate) tls: Option<Runtime>,
    /// The target's block, where it has all variables that the image defines: nothing refers to the image's own then.
    pub(crate) kept_tls: Option<TlsPlacement>,
    /// Why the image's variables have no place.
    pub(crate) tls_refusal: Option<&'static str>,
    /// Where the control block of the image's is.
    pub(crate) tls_control: Option<u64>,
}

const REGIONS: [Region; 4] = [Region::Code, Region::Constants, Region::Data, Region::Data];

impl<'a> ImageMemory<'a> {
    pub(crate) fn new(procfs: &'a Procfs, space: Space, home: Range<u64>, fixed: Option<[u64; 4]>) -> Self {
        ImageMemory {
            procfs,
            space,
            home,
            fixed,
            chosen: None,
            buffers: Default::default(),
            initialized: Vec::new(),
            tls: None,
            kept_tls: None,
            tls_refusal: None,
            tls_control: None,
        }
    }

    /// The linked bytes of the segments.
    pub(crate) fn bytes(&self, segment: SegmentKind) -> &[u8] {
        &self.buffers[segment as usize]
    }

    fn places(&self, arena: &Arena, sizes: &[SegmentSize; 4]) -> Option<[u64; 4]> {
        let mut space = self.space.clone();
        let mut addresses = [0; 4];
        for (index, size) in sizes.iter().enumerate().filter(|(_, size)| size.total_bytes > 0) {
            let align = size.align.max(64);
            let start = space.find_free(arena, REGIONS[index], size.total_bytes, align)?;
            space.take(start..start.checked_add(size.total_bytes)?);
            addresses[index] = start;
        }
        Some(addresses)
    }

    fn reachable(&self, reach: Reach) -> (Range<u64>, u64) {
        match reach {
            Reach::Default => (self.home.clone(), u64::MAX),
            Reach::Low => (PAGE_BYTES..2 * PAGE_BYTES, 1 << 31),
            Reach::Near(address) => (address..address.saturating_add(1), u64::MAX),
        }
    }
}

impl Memory for ImageMemory<'_> {
    fn reserve(&mut self, reach: Reach, sizes: &[SegmentSize; 4]) -> Result<Window, MemoryError> {
        let (near, limit) = self.reachable(reach);
        let fits = |arena: &&Arena| {
            let window = arena.window();
            window.reaches(near.start) && window.reaches(near.end) && window.end <= limit
        };
        let mut arenas = self.space.arenas.iter().filter(fits);
        let found = match self.fixed {
            Some(fixed) => arenas.find(|arena| arena.range().contains(&fixed[0])).copied(),
            None => arenas.find(|arena| self.places(arena, sizes).is_some()).copied(),
        };
        let sum = |part: &[SegmentSize]| {
            part.iter().fold(0_u64, |sum, size| {
                sum.saturating_add(size.total_bytes).saturating_add(size.align)
            })
        };
        let wanted = [sum(&sizes[..1]), sum(&sizes[1..2]), sum(&sizes[2..])];
        let arena = found.or_else(|| self.space.plan_arena(&near, &wanted, limit));
        let arena = arena.ok_or(MemoryError::NoSpace {
            size_bytes: wanted.iter().fold(0, |sum, size| sum.saturating_add(*size)),
            placement: "within 2 GiB of the module that is patched",
        })?;
        self.chosen = Some(arena);
        Ok(arena.window())
    }

    fn allocate(&mut self, sizes: &[SegmentSize; 4]) -> Result<Placement, MemoryError> {
        let no_space = MemoryError::NoSpace {
            size_bytes: sizes.iter().fold(0, |sum, size| sum.saturating_add(size.total_bytes)),
            placement: "in restub's memory of the process",
        };
        let arena = self.chosen.ok_or(no_space.clone())?;
        let addresses = match self.fixed {
            Some(fixed) => fixed,
            None => self.places(&arena, sizes).ok_or(no_space)?,
        };
        if !self.space.arenas.contains(&arena) {
            self.space.arenas.push(arena);
        }
        for (index, size) in sizes.iter().enumerate() {
            let filled = usize::try_from(size.filled_bytes)
                .map_err(|_| MemoryError::Refused("segment too large for a buffer"))?;
            self.buffers[index] = vec![0; filled];
            self.space.take(addresses[index]..addresses[index] + size.total_bytes);
        }
        Ok(Placement {
            addresses,
            sizes: *sizes,
            id: 0,
        })
    }

    fn buffer(&mut self, _placement: &Placement, segment: SegmentKind) -> &mut [u8] {
        &mut self.buffers[segment as usize]
    }

    fn initialize(&mut self, _placement: &Placement, address: u64, bytes: &[u8]) {
        self.initialized.push((address, bytes.to_vec()));
    }

    fn finalize(&mut self, _placement: &Placement) -> Result<(), MemoryError> {
        Ok(())
    }

    fn free(&mut self, _placement: &Placement) {}

    fn read(&mut self, address: u64, bytes: &mut [u8]) -> bool {
        self.procfs.read(address, bytes)
    }

    fn allocate_tls(&mut self, request: &TlsRequest) -> Result<TlsPlacement, MemoryError> {
        let reason = match &self.tls {
            _ if request.fixed_offset => {
                "the patch defines thread-local variables, and its code has them at a fixed distance from the thread \
                 pointer (initial or local exec), where threads that exist have no room; compile it with -fPIC and \
                 without -ftls-model"
            }
            Some(runtime) if runtime.refused.is_none() => "no room for a description of its thread-local variables",
            Some(_) => {
                "the patch defines thread-local variables, for which the process's C library has no pthread_key_create, \
                 or no malloc that goes with it"
            }
            None => "no room for code that finds its thread-local variables",
        };
        if let Some(placement) = self.kept_tls {
            return Ok(placement);
        }
        let dynamic = self
            .tls
            .as_ref()
            .filter(|runtime| runtime.refused.is_none() && !request.fixed_offset);
        let place = dynamic.and(self.chosen).and_then(|arena| {
            self.space
                .find_free(&arena, Region::Data, tls::CONTROL_BYTES, tls::CONTROL_BYTES)
        });
        let Some(place) = place else {
            self.tls_refusal = Some(reason);
            return Err(MemoryError::Refused(reason));
        };
        self.space.take(place..place + tls::CONTROL_BYTES);
        self.tls_control = Some(place);
        Ok(TlsPlacement {
            module: tls::DYNAMIC | place,
            block_offset: None,
        })
    }

    fn free_tls(&mut self, _tls: &TlsPlacement, _request: &TlsRequest) {}

    fn tls_descriptors(&self) -> Option<TlsDescriptors> {
        self.tls.as_ref().map(|runtime| TlsDescriptors {
            fixed: runtime.fixed_descriptor,
            dynamic: runtime.dynamic_descriptor,
        })
    }
}
