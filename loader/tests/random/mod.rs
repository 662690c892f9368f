//! Random numbers that are the same in every run, unless `RESTUB_SEED` says otherwise.

#![allow(dead_code, reason = "each test uses a part of it")]

/// SplitMix64: small, and good enough to choose test inputs.
#[derive(Debug, Clone)]
pub(crate) struct Random(u64);

impl Random {
    /// A generator of its own for each `stream`.
    pub(crate) fn new(stream: u64) -> Random {
        let seed = std::env::var("RESTUB_SEED").ok().and_then(|seed| seed.parse().ok());
        Random(seed.unwrap_or(0x5eed_u64).wrapping_add(stream << 32))
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `end`.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    /// One of several.
    pub(crate) fn choose<'a, T>(&mut self, list: &'a [T]) -> &'a T {
        &list[self.below(list.len() as u64) as usize]
    }
}
