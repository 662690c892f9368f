//! A range of addresses from which pieces are taken and to which they are given back.

use std::collections::{BTreeMap, BTreeSet};

/// Best-fit allocation: the smallest free piece that fits, the lowest of equals. Neighbours merge when freed.
#[derive(Debug)]
pub(crate) struct Region {
    /// From start to length.
    by_start: BTreeMap<u64, u64>,
    /// Length and start.
    by_length: BTreeSet<(u64, u64)>,
    used: u64,
    /// Nothing from here on was ever taken.
    untouched: u64,
}

impl Region {
    pub(crate) fn new(start: u64, size: u64) -> Self {
        let (by_start, by_length) = (BTreeMap::new(), BTreeSet::new());
        let mut region = Region {
            by_start,
            by_length,
            used: 0,
            untouched: start,
        };
        region.insert(start, size);
        region
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
        size == 0 || self.find(size, align).is_some()
    }

    /// Takes `size` bytes at a multiple of `align`, a power of two.
    pub(crate) fn allocate(&mut self, size: u64, align: u64) -> Option<u64> {
        let (start, length, taken) = self.find(size, align)?;
        self.remove(start, length);
        if taken > start {
            self.insert(start, taken - start);
        }
        let end = taken + size;
        if start + length > end {
            self.insert(end, start + length - end);
        }
        self.used += size;
        self.untouched = self.untouched.max(end);
        Some(taken)
    }

    /// Gives back what [`allocate`](Region::allocate) gave.
    pub(crate) fn free(&mut self, address: u64, size: u64) {
        if size == 0 {
            return;
        }
        self.used -= size;
        let (mut start, mut length) = (address, size);
        if let Some((&before, &before_length)) = self.by_start.range(..address).next_back()
            && before + before_length == address
        {
            self.remove(before, before_length);
            start = before;
            length += before_length;
        }
        if let Some(&after_length) = self.by_start.get(&(address + size)) {
            self.remove(address + size, after_length);
            length += after_length;
        }
        self.insert(start, length);
    }

    fn find(&self, size: u64, align: u64) -> Option<(u64, u64, u64)> {
        let candidates = self.by_length.range((size, 0)..);
        candidates.into_iter().find_map(|&(length, start)| {
            let taken = start.checked_next_multiple_of(align)?;
            let end = taken.checked_add(size)?;
            (end <= start + length).then_some((start, length, taken))
        })
    }

    fn insert(&mut self, start: u64, length: u64) {
        if length > 0 {
            self.by_start.insert(start, length);
            self.by_length.insert((length, start));
        }
    }

    fn remove(&mut self, start: u64, length: u64) {
        self.by_start.remove(&start);
        self.by_length.remove(&(length, start));
    }
}

#[cfg(test)]
mod tests {
    use super::Region;

    #[test]
    fn pieces_come_back_whole() {
        let mut region = Region::new(4096, 1000);
        let a = region.allocate(100, 16).expect("a");
        let b = region.allocate(50, 64).expect("b");
        let c = region.allocate(10, 1).expect("c");
        assert_eq!(b % 64, 0);
        for (start, size) in [(a, 100), (c, 10), (b, 50)] {
            region.free(start, size);
        }
        assert_eq!(region.used(), 0);
        assert_eq!(region.allocate(1000, 1), Some(4096));
        assert!(!region.fits(1, 1));
    }

    #[test]
    fn sizes_near_the_end_of_the_address_space_do_not_overflow() {
        let region = Region::new(4096, 1000);
        assert!(!region.fits(u64::MAX, 1 << 30));
        assert!(!region.fits(1, 1 << 63));
    }
}
