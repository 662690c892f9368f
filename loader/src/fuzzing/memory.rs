//! Memory that watches what a link does with it.

use std::cell::RefCell;

use crate::error::MemoryError;
use crate::memory::{
    Memory, PAGE_BYTES, Placement, Reach, SegmentKind, SegmentSize, TlsDescriptors, TlsPlacement, TlsRequest, Window,
};

/// Distance between the starts of two segments, so that addresses do not depend on the size of the tables.
const SEGMENT_BYTES: u64 = 1 << 18;
/// The two entries of TLS descriptors; nothing is there.
pub(super) const DESCRIPTORS: TlsDescriptors = TlsDescriptors {
    fixed: 0x1111_1000,
    dynamic: 0x2222_2000,
};
/// The module's number in the pairs for `__tls_get_addr`.
pub(super) const MODULE: u64 = 0x51;

/// Buffers at a pretend address that hold garbage at first, note what is asked of them, and complain.
///
/// A [`Memory`] cannot panic in the middle of a link without hiding what it wanted to say, so complaints are collected:
/// see [`CheckedMemory::complaints`].
#[derive(Debug)]
pub struct CheckedMemory {
    base: u64,
    garbage: u8,
    static_tls: bool,
    state: State,
    placement: Option<Placement>,
    buffers: [Vec<u8>; 4],
    reserved: [SegmentSize; 4],
    window: Window,
    tls: Option<TlsRequest>,
    /// How many calls that may fail are left before one does.
    calls_left: Option<u64>,
    complaints: RefCell<Vec<String>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Empty,
    Reserved,
    Allocated,
    Finalized,
    Freed,
}

impl CheckedMemory {
    /// Memory that starts at `base`; each byte of it is `garbage` until something is written there.
    #[must_use]
    pub fn new(base: u64, garbage: u8, static_tls: bool) -> Self {
        CheckedMemory {
            base,
            garbage,
            static_tls,
            state: State::Empty,
            placement: None,
            buffers: Default::default(),
            reserved: [SegmentSize::default(); 4],
            window: Window { start: base, end: base },
            tls: None,
            calls_left: None,
            complaints: RefCell::default(),
        }
    }

    /// Lets one of the calls that may fail do so, or none: the first one is 0.
    #[must_use]
    pub fn failing(mut self, call: Option<u64>) -> Self {
        self.calls_left = call;
        self
    }

    fn call(&mut self) -> Result<(), MemoryError> {
        let left = self.calls_left;
        self.calls_left = left.and_then(|left| left.checked_sub(1));
        match left {
            Some(0) => Err(MemoryError::Refused("this call was to fail")),
            _ => Ok(()),
        }
    }

    /// What a link did that it must not do. `linked` says whether it succeeded.
    #[must_use]
    pub fn complaints(&self, linked: bool) -> Vec<String> {
        let mut complaints = self.complaints.borrow().clone();
        let ended = match (linked, self.state) {
            (true, State::Finalized) | (false, State::Empty | State::Reserved | State::Freed) => true,
            (true, _) | (false, State::Allocated | State::Finalized) => false,
        };
        if !ended {
            complaints.push(format!(
                "the link ended (success: {linked}) with its memory {:?}",
                self.state
            ));
        }
        if !linked && self.tls.is_some() {
            complaints.push("the thread-local block was not given back".into());
        }
        complaints
    }

    /// The bytes of a segment.
    #[must_use]
    pub fn bytes(&self, segment: SegmentKind) -> &[u8] {
        &self.buffers[segment as usize]
    }

    /// The window that the link was promised.
    #[must_use]
    pub fn window(&self) -> Window {
        self.window
    }

    /// The bytes at an address of the image, if they are contents of a segment.
    #[must_use]
    pub fn read_image(&self, address: u64, count: usize) -> Option<&[u8]> {
        let placement = self.placement.as_ref()?;
        self.buffers.iter().zip(placement.addresses).find_map(|(bytes, start)| {
            let at = usize::try_from(address.checked_sub(start)?).ok()?;
            bytes.get(at..at.checked_add(count)?)
        })
    }

    fn complain(&self, what: impl Into<String>) {
        self.complaints.borrow_mut().push(what.into());
    }

    fn expect(&self, states: &[State], what: &str) {
        if !states.contains(&self.state) {
            self.complain(format!("{what} while the memory is {:?}", self.state));
        }
    }
}

impl Memory for CheckedMemory {
    fn reserve(&mut self, _reach: Reach, sizes: &[SegmentSize; 4]) -> Result<Window, MemoryError> {
        self.expect(&[State::Empty, State::Reserved], "reserve");
        self.call()?;
        self.state = State::Reserved;
        self.reserved = *sizes;
        let mut end = self.base;
        for size in &sizes[..3] {
            let align = size.align.max(PAGE_BYTES);
            let start = end.checked_next_multiple_of(align.max(1));
            let behind = start.and_then(|start| start.checked_add(size.total_bytes.max(SEGMENT_BYTES)));
            end = behind.ok_or(MemoryError::NoSpace {
                size_bytes: size.total_bytes,
                placement: "behind the pretend address",
            })?;
        }
        self.window = Window { start: self.base, end };
        Ok(self.window)
    }

    fn allocate(&mut self, sizes: &[SegmentSize; 4]) -> Result<Placement, MemoryError> {
        self.expect(&[State::Reserved], "allocate");
        self.call()?;
        let mut addresses = [0; 4];
        let mut next = self.base;
        for (index, size) in sizes.iter().enumerate() {
            let no_space = MemoryError::NoSpace {
                size_bytes: size.total_bytes,
                placement: "behind the pretend address",
            };
            let align = size.align.max(PAGE_BYTES);
            let start = next.checked_next_multiple_of(align).ok_or(no_space.clone())?;
            next = start.checked_add(size.total_bytes.max(SEGMENT_BYTES)).ok_or(no_space)?;
            if !size.align.is_power_of_two() || size.filled_bytes > size.total_bytes {
                self.complain(format!("segment {index} of {size:?}"));
            }
            if size.total_bytes > 0 {
                addresses[index] = start;
            }
            let reserved = self.reserved[index];
            if size.total_bytes > reserved.total_bytes || size.align > reserved.align {
                self.complain(format!("segment {index} of {size:?}, for which there is {reserved:?}"));
            }
            if index < 3 && size.total_bytes > 0 && next > self.window.end {
                self.complain(format!(
                    "segment {index} of {size:?} is not in the window {:x?}",
                    self.window
                ));
            }
            self.buffers[index] = vec![self.garbage; size.filled_bytes as usize];
        }
        self.state = State::Allocated;
        let placement = Placement {
            addresses,
            sizes: *sizes,
            id: 7,
        };
        self.placement = Some(placement);
        Ok(placement)
    }

    fn buffer(&mut self, placement: &Placement, segment: SegmentKind) -> &mut [u8] {
        self.expect(&[State::Allocated], "buffer");
        if self.placement.as_ref() != Some(placement) {
            self.complain("buffer of another placement");
        }
        &mut self.buffers[segment as usize]
    }

    fn initialize(&mut self, placement: &Placement, address: u64, bytes: &[u8]) {
        self.expect(&[State::Allocated], "initialize");
        let data = SegmentKind::Data as usize;
        let (start, size) = (placement.addresses[data], placement.sizes[data]);
        let offset = address.wrapping_sub(start);
        let end = offset.checked_add(bytes.len() as u64);
        if end.is_none_or(|end| end > size.total_bytes) || offset < size.filled_bytes {
            self.complain(format!("{} bytes at {address:#x} are no place of zeros", bytes.len()));
        }
    }

    fn finalize(&mut self, _placement: &Placement) -> Result<(), MemoryError> {
        self.expect(&[State::Allocated], "finalize");
        self.call()?;
        self.state = State::Finalized;
        Ok(())
    }

    fn free(&mut self, placement: &Placement) {
        self.expect(&[State::Allocated, State::Finalized], "free");
        if self.placement.as_ref() != Some(placement) {
            self.complain("free of another placement");
        }
        self.state = State::Freed;
        self.buffers = Default::default();
    }

    fn read(&mut self, address: u64, bytes: &mut [u8]) -> bool {
        bytes.fill(address as u8);
        true
    }

    fn allocate_tls(&mut self, request: &TlsRequest) -> Result<TlsPlacement, MemoryError> {
        self.expect(&[State::Allocated], "allocate_tls");
        self.call()?;
        if self.tls.is_some() || !request.align.is_power_of_two() {
            self.complain(format!("allocate_tls of {request:?}"));
        }
        let size = request.size_bytes.checked_next_multiple_of(request.align);
        let offset = size
            .and_then(|size| i64::try_from(size).ok())
            .ok_or(MemoryError::Refused("thread-local block too large"))?;
        self.tls = Some(*request);
        Ok(TlsPlacement {
            module: MODULE,
            // As in a process: a block that needs a fixed offset gets one.
            block_offset: (self.static_tls || request.fixed_offset).then_some(-offset),
        })
    }

    fn free_tls(&mut self, _tls: &TlsPlacement, request: &TlsRequest) {
        if self.tls.as_ref() != Some(request) {
            self.complain(format!("free_tls of {request:?}, which is not {:?}", self.tls));
        }
        self.tls = None;
    }

    fn tls_descriptors(&self) -> Option<TlsDescriptors> {
        Some(DESCRIPTORS)
    }
}
