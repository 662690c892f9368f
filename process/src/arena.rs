//! Memory of restub's own in the target, and where in it what is.
//!
//! An **arena** is one range of addresses near a module, so that 32-bit displacements reach from patches to the module:
//!
//! ```text
//! guard | code r-x | constants r-- | data rw- | guard
//! ```
//!
//! It is mapped once, larger than needed, so that later patches need no system call in the target. Pages that nothing
//! is written to cost nothing. No page is ever writable and executable: restub writes through `/proc/PID/mem`.
//!
//! The first arena also has what patches share. Its code starts with the header by which later runs find it, room for
//! detours, and the **slots**; its data starts with the **switch page**, the table of unwind records, and two places
//! for the registry, of which one is in use.
//!
//! A slot belongs to one redirected function. Its **stub** jumps through a word of the switch page to one of sixteen
//! **pads**, each of which jumps to one version; pad 0 leads to the original. Pads of a slot have addresses that differ
//! in the lowest byte only. So switching a function changes *one byte*, and no thread ever reads half of an address,
//! however the kernel copies what it writes. All words are on one page and switched by one write, which the kernel does
//! whole or not at all: a patch that changes many functions is applied or is not, also when the patcher is killed.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use restub_loader::{PAGE_BYTES, Window};

use crate::inject::Call;
use crate::procfs::{Mapping, Procfs, word};

/// What an arena starts with.
pub(crate) const MAGIC: &[u8; 8] = b"restubar";
/// What the switch page starts with, once there is a registry.
pub(crate) const SWITCH_MAGIC: &[u8; 8] = b"restubsw";
const VERSION: u64 = 1;

const HEADER_BYTES: u64 = PAGE_BYTES;
/// Where detours go: behind the header.
const DETOUR_OFFSET: u64 = 256;
pub(crate) const SLOT_BYTES: u64 = 512;
const PAD_BYTES: u64 = 16;
/// Versions of one function that can be told apart at a time, the original included.
pub(crate) const PADS: u8 = 16;
const STUB_OFFSET: u64 = PADS as u64 * PAD_BYTES;
const WORDS_OFFSET: u64 = 64;
/// Functions that can be redirected in one process: what one page has words for.
pub(crate) const SLOTS: u64 = (PAGE_BYTES - WORDS_OFFSET) / 8;
const TABLE_BYTES: u64 = 256 * 1024;
const TABLE_ENTRY_BYTES: u64 = 32;
pub(crate) const TABLE_ENTRIES: u64 = (TABLE_BYTES - 8) / TABLE_ENTRY_BYTES;
pub(crate) const REGISTRY_BYTES: u64 = 1024 * 1024;

/// Bytes that slots and header take of the first arena's code.
const SHARED_CODE_BYTES: u64 = (HEADER_BYTES + SLOTS * SLOT_BYTES).next_multiple_of(PAGE_BYTES);
const SHARED_DATA_BYTES: u64 = PAGE_BYTES + TABLE_BYTES + 2 * REGISTRY_BYTES;
/// What an arena has at least for images.
const CODE_BYTES: u64 = 2 << 20;
const CONSTANT_BYTES: u64 = 2 << 20;
const DATA_BYTES: u64 = 4 << 20;
/// Distance kept from other mappings, which may grow.
const MARGIN_BYTES: u64 = 1 << 20;
const HEAP_MARGIN_BYTES: u64 = 1 << 30;

/// An arena.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Arena {
    /// The address of its code.
    pub(crate) start: u64,
    pub(crate) code_bytes: u64,
    pub(crate) constant_bytes: u64,
    pub(crate) data_bytes: u64,
    /// Whether it has slots and switch page.
    pub(crate) shared: bool,
}

impl Arena {
    pub(crate) fn end(&self) -> u64 {
        self.data() + self.data_bytes
    }

    pub(crate) fn range(&self) -> Range<u64> {
        self.start..self.end()
    }

    fn constants(&self) -> u64 {
        self.start + self.code_bytes
    }

    pub(crate) fn data(&self) -> u64 {
        self.constants() + self.constant_bytes
    }

    pub(crate) fn window(&self) -> Window {
        Window {
            start: self.start,
            end: self.end(),
        }
    }

    /// Where detours for system calls go.
    pub(crate) fn detour(&self) -> u64 {
        self.start + DETOUR_OFFSET
    }

    pub(crate) fn switch_page(&self) -> u64 {
        self.data()
    }

    pub(crate) fn table(&self) -> u64 {
        self.data() + PAGE_BYTES
    }

    pub(crate) fn table_entry(&self, index: u64) -> u64 {
        self.table() + 8 + index * TABLE_ENTRY_BYTES
    }

    /// One of the two places of the registry.
    pub(crate) fn registry(&self, which: u64) -> u64 {
        self.data() + PAGE_BYTES + TABLE_BYTES + (which % 2) * REGISTRY_BYTES
    }

    pub(crate) fn word(&self, slot: u64) -> u64 {
        self.switch_page() + word_offset(slot) as u64
    }

    fn slot(&self, slot: u64) -> u64 {
        self.start + HEADER_BYTES + slot * SLOT_BYTES
    }

    pub(crate) fn pad(&self, slot: u64, pad: u8) -> u64 {
        self.slot(slot) + u64::from(pad) * PAD_BYTES
    }

    pub(crate) fn stub(&self, slot: u64) -> u64 {
        self.slot(slot) + STUB_OFFSET
    }

    /// Where threads may be on their way from an entry to a version.
    pub(crate) fn passage(&self, slot: u64) -> Range<u64> {
        self.slot(slot)..self.slot(slot) + SLOT_BYTES
    }

    /// `jmp` through the slot's word, behind a landing pad for indirect jumps.
    pub(crate) fn stub_bytes(&self, slot: u64) -> Vec<u8> {
        const ENDBR64: [u8; 4] = [0xf3, 0x0f, 0x1e, 0xfa];
        const JUMP_BYTES: u64 = 6;
        let end = self.stub(slot) + ENDBR64.len() as u64 + JUMP_BYTES;
        let distance = self.word(slot).wrapping_sub(end) as u32;
        let mut bytes = ENDBR64.to_vec();
        bytes.extend([0xff, 0x25]);
        bytes.extend(distance.to_le_bytes());
        bytes
    }

    pub(crate) fn header(&self) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        let words = [
            VERSION,
            self.start,
            self.code_bytes,
            self.constant_bytes,
            self.data_bytes,
            u64::from(self.shared),
        ];
        for word in words {
            bytes.extend(word.to_le_bytes());
        }
        bytes
    }

    /// The arena with this header, if it is one that lies at `address`.
    pub(crate) fn from_header(address: u64, bytes: &[u8]) -> Option<Self> {
        let mut words = bytes.strip_prefix(MAGIC)?.chunks_exact(8).map(word);
        let mut next = || words.next();
        if next()? != VERSION || next()? != address {
            return None;
        }
        let arena = Arena {
            start: address,
            code_bytes: next()?,
            constant_bytes: next()?,
            data_bytes: next()?,
            shared: next()? != 0,
        };
        let sizes = [arena.code_bytes, arena.constant_bytes, arena.data_bytes];
        let sound = sizes
            .iter()
            .all(|size| *size < 1 << 31 && size.is_multiple_of(PAGE_BYTES));
        let fits = !arena.shared || (arena.code_bytes > SHARED_CODE_BYTES && arena.data_bytes > SHARED_DATA_BYTES);
        (sound && fits && address < 1 << 47).then_some(arena)
    }

    /// The system calls that map it.
    pub(crate) fn calls(&self) -> Vec<Call> {
        let map = |start: u64, bytes: u64, protection: i32, flags: i32| Call {
            name: "mmap",
            number: libc::SYS_mmap,
            arguments: [
                start,
                bytes,
                protection as u64,
                (libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | flags) as u64,
                u64::MAX,
                0,
            ],
        };
        let all = map(
            self.start - PAGE_BYTES,
            self.end() + 2 * PAGE_BYTES - self.start,
            libc::PROT_NONE,
            libc::MAP_FIXED_NOREPLACE | libc::MAP_NORESERVE,
        );
        let parts = self.parts();
        let parts = parts.map(|(start, bytes, protection)| map(start, bytes, protection, libc::MAP_FIXED));
        [&[all][..], &parts].concat()
    }

    /// Address, bytes and protection of its mappings.
    pub(crate) fn parts(&self) -> [(u64, u64, i32); 3] {
        [
            (self.start, self.code_bytes, libc::PROT_READ | libc::PROT_EXEC),
            (self.constants(), self.constant_bytes, libc::PROT_READ),
            (self.data(), self.data_bytes, libc::PROT_READ | libc::PROT_WRITE),
        ]
    }
}

/// Where a slot's word is on the switch page.
pub(crate) fn word_offset(slot: u64) -> usize {
    (WORDS_OFFSET + slot * 8) as usize
}

/// The first arena of a process, if it has one: by its header, since names of anonymous memory need a kernel option.
pub(crate) fn find(procfs: &Procfs, maps: &[Mapping]) -> Option<Arena> {
    let anonymous = maps
        .iter()
        .filter(|mapping| mapping.is_executable() && mapping.inode == 0 && !mapping.path.starts_with("["));
    let mut arenas = anonymous.filter_map(|mapping| {
        let header = procfs.read_vec(mapping.start, 64)?;
        Arena::from_header(mapping.start, &header)
    });
    arenas.find(|arena| arena.shared)
}

/// The regions of an arena that space is given out from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Region {
    Code,
    Constants,
    Data,
}

/// The arenas of a process, with what is in use.
#[derive(Debug, Clone)]
pub(crate) struct Space {
    pub(crate) arenas: Vec<Arena>,
    /// How many of them are mapped already.
    pub(crate) mapped: usize,
    used: Vec<Range<u64>>,
    maps: Vec<Mapping>,
}

impl Space {
    pub(crate) fn new(arenas: Vec<Arena>, used: Vec<Range<u64>>, maps: Vec<Mapping>) -> Self {
        Space {
            mapped: arenas.len(),
            arenas,
            used,
            maps,
        }
    }

    /// The arenas that are still to be mapped.
    pub(crate) fn planned(&self) -> &[Arena] {
        &self.arenas[self.mapped..]
    }

    /// The arena that an address is in.
    pub(crate) fn arena_of(&self, address: u64) -> Option<Arena> {
        let mut arenas = self.arenas.iter();
        arenas.find(|arena| arena.range().contains(&address)).copied()
    }

    fn region(arena: &Arena, region: Region) -> Range<u64> {
        match region {
            Region::Code => {
                arena.start + if arena.shared { SHARED_CODE_BYTES } else { HEADER_BYTES }..arena.constants()
            }
            Region::Constants => arena.constants()..arena.data(),
            Region::Data => arena.data() + if arena.shared { SHARED_DATA_BYTES } else { 0 }..arena.end(),
        }
    }

    /// The first free range in a region.
    pub(crate) fn find_free(&self, arena: &Arena, region: Region, bytes: u64, align: u64) -> Option<u64> {
        let range = Self::region(arena, region);
        let mut at = range.start.checked_next_multiple_of(align)?;
        loop {
            let end = at.checked_add(bytes)?;
            if end > range.end {
                return None;
            }
            match self.used.iter().find(|used| used.start < end && at < used.end) {
                Some(used) => at = used.end.checked_next_multiple_of(align)?,
                None => return Some(at),
            }
        }
    }

    pub(crate) fn take(&mut self, range: Range<u64>) {
        if !range.is_empty() {
            self.used.push(range);
        }
    }

    /// Room for a block of code within reach of all of a range.
    pub(crate) fn near_block(&mut self, near: &Range<u64>, bytes: u64) -> Option<u64> {
        const ALIGN: u64 = 64;
        let reaching = |arena: &Arena| arena.window().reaches(near.start) && arena.window().reaches(near.end);
        let found = self
            .arenas
            .iter()
            .filter(|arena| reaching(arena))
            .find_map(|arena| self.find_free(arena, Region::Code, bytes, ALIGN));
        let address = match found {
            Some(address) => address,
            None => {
                let arena = self.plan_arena(near, &[0; 3], u64::MAX)?;
                self.arenas.push(arena);
                self.find_free(&arena, Region::Code, bytes, ALIGN)?
            }
        };
        self.take(address..address + bytes);
        Some(address)
    }

    /// An arena within reach of a range and below a limit, with room for regions of these sizes.
    pub(crate) fn plan_arena(&self, near: &Range<u64>, sizes: &[u64; 3], limit: u64) -> Option<Arena> {
        let shared = self.arenas.is_empty();
        let room = |size: u64, least: u64| {
            let wanted = size.checked_mul(2)?.max(least);
            wanted.checked_next_multiple_of(PAGE_BYTES)
        };
        let mut arena = Arena {
            start: 0,
            code_bytes: room(sizes[0], CODE_BYTES)? + if shared { SHARED_CODE_BYTES } else { 0 },
            constant_bytes: room(sizes[1], CONSTANT_BYTES)?,
            data_bytes: room(sizes[2], DATA_BYTES)? + if shared { SHARED_DATA_BYTES } else { 0 },
            shared,
        };
        let total = arena.end() + 2 * PAGE_BYTES;
        let planned = self
            .planned()
            .iter()
            .map(|arena| (arena.start - PAGE_BYTES, arena.end() + PAGE_BYTES));
        arena.start = find_gap(&self.maps, planned, total, near, limit)? + PAGE_BYTES;
        Some(arena)
    }
}

/// The free range of that size that is nearest to another one, with all of both within reach of one another.
fn find_gap(
    maps: &[Mapping],
    planned: impl Iterator<Item = (u64, u64)>,
    bytes: u64,
    near: &Range<u64>,
    limit: u64,
) -> Option<u64> {
    const LOWEST: u64 = 0x1_0000;
    const HIGHEST: u64 = (1 << 47) - PAGE_BYTES;
    const SPAN: u64 = (1 << 31) - (64 << 20);
    let mut taken: Vec<(u64, u64, &Mapping)> = Vec::new();
    for mapping in maps {
        taken.push((mapping.start, mapping.end, mapping));
    }
    let planned: Vec<(u64, u64)> = planned.collect();
    let free = |start: u64| {
        let end = start + bytes;
        planned.iter().all(|(from, to)| end <= *from || *to <= start)
    };
    let grows = |mapping: &Mapping| mapping.path.as_os_str() == "[heap]";
    let mut candidates = Vec::new();
    for index in 0..=taken.len() {
        let low = index.checked_sub(1).map_or(LOWEST, |before| taken[before].1);
        let high = taken.get(index).map_or(HIGHEST, |next| next.0).min(limit);
        // The heap starts somewhere behind the executable, and grows.
        let before = index.checked_sub(1).map(|before| taken[before].2);
        let heap = before.is_some_and(|mapping| grows(mapping) || mapping.end.abs_diff(near.end) < MARGIN_BYTES);
        let stack = taken
            .get(index)
            .is_some_and(|(_, _, next)| next.path.as_os_str() == "[stack]");
        let margin = if heap { HEAP_MARGIN_BYTES } else { MARGIN_BYTES };
        let above = low.saturating_add(margin).checked_next_multiple_of(PAGE_BYTES);
        let below = high.checked_sub(bytes.saturating_add(if stack { HEAP_MARGIN_BYTES } else { MARGIN_BYTES }));
        for start in [above, below.map(|start| start & !(PAGE_BYTES - 1))]
            .into_iter()
            .flatten()
        {
            let end = start.saturating_add(bytes);
            let within = start >= low.max(LOWEST) && end <= high;
            let reach = near.end.saturating_sub(start) < SPAN && end.saturating_sub(near.start) < SPAN;
            if within && reach && free(start) {
                candidates.push(start);
            }
        }
    }
    candidates.into_iter().min_by_key(|start| start.abs_diff(near.start))
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn mapping(start: u64, end: u64, path: &str) -> Mapping {
        Mapping {
            start,
            end,
            permissions: *b"r-xp",
            offset: 0,
            inode: 1,
            path: PathBuf::from(path),
        }
    }

    #[test]
    fn pads_of_a_slot_differ_in_one_byte() {
        let arena = Arena {
            start: 0x5555_1234_5000,
            code_bytes: 4 << 20,
            constant_bytes: 1 << 20,
            data_bytes: 8 << 20,
            shared: true,
        };
        for slot in [0, 1, SLOTS - 1] {
            let base = arena.pad(slot, 0);
            assert!((0..PADS).all(|pad| arena.pad(slot, pad) >> 8 == base >> 8));
            assert!(arena.passage(slot).contains(&arena.stub(slot)));
            assert_eq!(arena.word(slot) % 8, 0);
            assert_eq!(arena.word(slot) / PAGE_BYTES, arena.switch_page() / PAGE_BYTES);
        }
        assert!(arena.passage(SLOTS - 1).end <= arena.start + SHARED_CODE_BYTES);
        assert!(arena.registry(1) + REGISTRY_BYTES <= arena.end());
        assert_eq!(Arena::from_header(arena.start, &arena.header()), Some(arena));
        assert_eq!(Arena::from_header(arena.start + 4096, &arena.header()), None);
        assert_eq!(Arena::from_header(arena.start, &arena.header()[..40]), None);
    }

    #[test]
    fn gaps_are_near_and_away_from_what_grows() {
        let maps = [
            mapping(0x40_0000, 0x41_0000, "/exe"),
            mapping(0x1f0_0000, 0x1f2_0000, "[heap]"),
            mapping(0x7ffd_0000_0000, 0x7ffd_0002_1000, "[stack]"),
        ];
        let near = 0x40_0000..0x41_0000;
        let gap = find_gap(&maps, std::iter::empty(), 16 << 20, &near, 1 << 31).unwrap();
        let end = gap + (16 << 20);
        let grows_into = 0x1f2_0000..0x1f2_0000 + HEAP_MARGIN_BYTES;
        assert!(end <= 0x1f0_0000 || gap >= grows_into.end, "{gap:#x}");
        assert!(gap >= 0x41_0000 && end <= 1 << 31, "{gap:#x}");
        let high = [mapping(0x5555_5555_4000, 0x5555_5555_8000, "/exe")];
        let gap = find_gap(
            &high,
            std::iter::empty(),
            16 << 20,
            &(0x5555_5555_4000..0x5555_5555_8000),
            u64::MAX,
        );
        assert_eq!(gap, Some(0x5555_5555_4000 - (17 << 20)));
    }
}
