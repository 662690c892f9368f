//! A range of addresses from which pieces are taken and to which they are given back.

use std::collections::{BTreeMap, BTreeSet};

use crate::fault;

/// Sizes and addresses are multiples of this, so that no splinters are left between pieces.
const GRANULE: u64 = 16;

/// Best-fit allocation in the holes that freed pieces left, then in the rest that was never taken. Neighbours merge
/// when freed.
#[derive(Debug)]
pub(crate) struct Region {
    /// Holes, from start to length.
    holes: BTreeMap<u64, u64>,
    /// The same, as length and start.
    by_length: BTreeSet<(u64, u64)>,
    /// Nothing from here on was ever taken.
    untouched: u64,
    end: u64,
    used: u64,
}

impl Region {
    pub(crate) fn new(start: u64, size: u64) -> Self {
        let (holes, by_length) = (BTreeMap::new(), BTreeSet::new());
        Region {
            holes,
            by_length,
            untouched: start,
            end: start + size,
            used: 0,
        }
    }

    pub(crate) fn used(&self) -> u64 {
        self.used
    }

    /// The address from which on nothing was ever taken.
    pub(crate) fn untouched(&self) -> u64 {
        self.untouched
    }

    /// Whether [`allocate`](Region::allocate) would succeed.
    pub(crate) fn fits(&self, size: u64, align: u64) -> bool {
        size == 0 || self.beyond(round(size), align).is_some() || self.hole(round(size), align).is_some()
    }

    /// Takes `size` bytes at a multiple of `align`, a power of two.
    pub(crate) fn allocate(&mut self, size: u64, align: u64) -> Option<u64> {
        if fault::is_due() {
            return None;
        }
        let size = round(size);
        let taken = if let Some((start, length, taken)) = self.hole(size, align) {
            self.remove(start, length);
            self.insert(start, taken - start);
            self.insert(taken + size, start + length - (taken + size));
            taken
        } else {
            let taken = self.beyond(size, align)?;
            self.insert(self.untouched, taken - self.untouched);
            self.untouched = taken + size;
            taken
        };
        self.used += size;
        Some(taken)
    }

    /// Gives back what [`allocate`](Region::allocate) gave.
    pub(crate) fn free(&mut self, address: u64, size: u64) {
        let size = round(size);
        self.used -= size;
        let (mut start, mut length) = (address, size);
        if let Some((&before, &before_length)) = self.holes.range(..address).next_back()
            && before + before_length == address
        {
            self.remove(before, before_length);
            start = before;
            length += before_length;
        }
        if let Some(&after_length) = self.holes.get(&(address + size)) {
            self.remove(address + size, after_length);
            length += after_length;
        }
        self.insert(start, length);
    }

    /// A hole with room, as its start and length and the address of the room.
    fn hole(&self, size: u64, align: u64) -> Option<(u64, u64, u64)> {
        // Holes of about the size may lie badly; one with room for any alignment comes after a few.
        const TRIES: usize = 8;
        let surely = size.saturating_add(align.max(GRANULE) - GRANULE);
        let tight = self.by_length.range((size, 0)..(surely, 0)).take(TRIES);
        tight
            .chain(self.by_length.range((surely, 0)..).take(1))
            .find_map(|&(length, start)| {
                let taken = start.checked_next_multiple_of(align.max(GRANULE))?;
                let end = taken.checked_add(size)?;
                (end <= start + length).then_some((start, length, taken))
            })
    }

    fn beyond(&self, size: u64, align: u64) -> Option<u64> {
        let taken = self.untouched.checked_next_multiple_of(align.max(GRANULE))?;
        (taken.checked_add(size)? <= self.end).then_some(taken)
    }

    fn insert(&mut self, start: u64, length: u64) {
        if length > 0 {
            self.holes.insert(start, length);
            self.by_length.insert((length, start));
        }
    }

    fn remove(&mut self, start: u64, length: u64) {
        self.holes.remove(&start);
        self.by_length.remove(&(length, start));
    }
}

/// A size in whole granules; one that is too large stays so.
fn round(size: u64) -> u64 {
    size.checked_next_multiple_of(GRANULE).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::Region;

    #[test]
    fn pieces_come_back_whole() {
        let mut region = Region::new(4096, 1024);
        let a = region.allocate(100, 16).expect("a");
        let b = region.allocate(50, 256).expect("b");
        let c = region.allocate(10, 1).expect("c");
        assert_eq!(b % 256, 0);
        assert!(c < b, "the hole before the aligned piece is used");
        for (start, size) in [(a, 100), (c, 10), (b, 50)] {
            region.free(start, size);
        }
        assert_eq!(region.used(), 0);
        let whole = region.untouched() - 4096;
        assert_eq!(region.allocate(whole, 1), Some(4096));
    }

    #[test]
    fn what_was_never_taken_is_taken_last() {
        let mut region = Region::new(0, 1024);
        let first = region.allocate(512, 1).expect("first");
        region.free(first, 512);
        assert_eq!(region.allocate(64, 64), Some(first));
        assert!(region.fits(512, 1) && !region.fits(1024, 1));
    }

    #[test]
    fn sizes_near_the_end_of_the_address_space_do_not_overflow() {
        let region = Region::new(4096, 1000);
        assert!(!region.fits(u64::MAX, 1 << 30));
        assert!(!region.fits(1, 1 << 63));
    }
}
