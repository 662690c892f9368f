//! Choices made from bytes: those of a fuzzer, or random ones that follow from a seed.

use arbitrary::Unstructured;

/// Bytes that a seed stands for; more than the largest case asks for.
const SEED_BYTES: usize = 16 * 1024;

/// How often bytes are read again: by then every choice has been made, unless there is but a handful of bytes.
const ROUNDS: u32 = 64;

/// Makes choices from bytes. Where none are left it starts anew, so that few bytes choose as much as many do; after some
/// rounds, and where there are no bytes, every choice is the first one.
#[derive(Debug)]
pub struct Choices<'a> {
    bytes: &'a [u8],
    rest: Unstructured<'a>,
    rounds: u32,
}

impl<'a> Choices<'a> {
    /// Choices made from these bytes: a small change of them is a small change of what they choose.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        Choices {
            bytes,
            rest: Unstructured::new(bytes),
            rounds: ROUNDS,
        }
    }

    fn rest(&mut self) -> &mut Unstructured<'a> {
        if self.rest.is_empty() && self.rounds > 0 {
            self.rounds -= 1;
            self.rest = Unstructured::new(self.bytes);
        }
        &mut self.rest
    }

    /// A number below `end`, and 0 where nothing is below it.
    pub fn below(&mut self, end: u64) -> u64 {
        self.rest().int_in_range(0..=end.saturating_sub(1)).unwrap_or(0)
    }

    /// True once in `times`; false where no bytes are left.
    pub fn once_in(&mut self, times: u64) -> bool {
        self.below(times) + 1 == times
    }

    /// One of several.
    ///
    /// # Panics
    /// If there is none.
    pub fn pick<'list, T>(&mut self, list: &'list [T]) -> &'list T {
        let end = list.len() as u64;
        &list[usize::try_from(self.below(end)).unwrap_or(0)]
    }

    /// Any number.
    pub fn word(&mut self) -> u64 {
        self.rest().arbitrary().unwrap_or(0)
    }

    /// A number of the kind that breaks things: small, large, or beside a power of two.
    pub fn edge(&mut self) -> u64 {
        match self.below(6) {
            0 => self.below(64),
            1 => u64::MAX - self.below(64),
            2 => 1 << self.below(64),
            3 => (1 << self.below(64)) - 1,
            4 => (1_u64 << self.below(64)).wrapping_neg(),
            _ => self.word(),
        }
    }

    /// As many bytes.
    pub fn bytes(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        // Bytes behind the end are zeros.
        let _ = self.rest().fill_buffer(&mut bytes);
        bytes
    }
}

/// The bytes that a seed stands for: the same ones for ever.
#[must_use]
pub fn entropy(seed: u64) -> Vec<u8> {
    let mut random = SplitMix(seed);
    let words = std::iter::repeat_with(|| random.next().to_le_bytes());
    words.take(SEED_BYTES / 8).flatten().collect()
}

/// SplitMix64 (Steele, Lea, Flood: "Fast Splittable Pseudorandom Number Generators").
struct SplitMix(u64);

impl SplitMix {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}
