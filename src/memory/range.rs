//! Free address ranges of this process.

use restub_loader::{MemoryError, Reach};
use std::ops::Range;

use super::arena::ArenaSizes;

const GIB_2: u64 = 1 << 31;
/// Kept free at either end of a reach, for addends and for what is loaded later.
const SLACK_BYTES: u64 = 32 << 20;
/// Left free below the shared libraries, for those that are loaded later: the kernel fills the gap from its top.
const LIBRARY_ROOM_BYTES: u64 = 128 << 20;
const PREFERRED_LOW: u64 = 256 << 20;
const HUGE_PAGE_BYTES: u64 = 2 << 20;
/// libgcc passes over a registered unwind record if its function begins at a multiple of this: in four bytes, which is
/// what a record has for an address, that is zero, as it is for a function that the linker discarded.
const UNSEEN_MULTIPLE: u64 = 4 << 30;

/// The words for a reach in messages.
pub(crate) fn words(reach: Reach) -> &'static str {
    match reach {
        Reach::Default => "near the shared libraries",
        Reach::Low => "below 2 GiB",
        Reach::Near(_) => "near the variable that the code refers to",
    }
}

/// Finds free memory for an arena that `reach` allows. Another thread may take it before it is reserved.
pub(crate) fn find(sizes: ArenaSizes, reach: Reach, libraries: &Range<u64>) -> Result<u64, MemoryError> {
    let no_space = MemoryError::NoSpace {
        size_bytes: sizes.total(),
        placement: words(reach),
    };
    let maps = std::fs::read_to_string("/proc/self/maps").map_err(|error| MemoryError::System {
        operation: "reading /proc/self/maps",
        reason: error.to_string(),
    })?;
    let mapped: Vec<Range<u64>> = maps.lines().filter_map(parse_line).collect();
    let around =
        |first: u64, last: u64| last.saturating_sub(GIB_2 - SLACK_BYTES)..first.saturating_add(GIB_2 - SLACK_BYTES);
    let found = match reach {
        // A null pointer with a large offset had better not hit anything.
        Reach::Low => {
            let size = sizes.total();
            lowest(&mapped, PREFERRED_LOW..GIB_2, size).or_else(|| lowest(&mapped, lowest_address()..GIB_2, size))
        }
        Reach::Near(address) => highest(&mapped, around(address, address), sizes, address),
        Reach::Default => {
            let below = libraries.start.saturating_sub(LIBRARY_ROOM_BYTES);
            highest(&mapped, around(libraries.start, libraries.end), sizes, below)
                .or_else(|| highest(&mapped, around(libraries.start, libraries.end), sizes, u64::MAX))
        }
    };
    found.ok_or(no_space)
}

/// The lowest address that a process may map (`/proc/sys/vm/mmap_min_addr`), and never the first 64 KiB.
fn lowest_address() -> u64 {
    let text = std::fs::read_to_string("/proc/sys/vm/mmap_min_addr").unwrap_or_default();
    text.trim().parse().unwrap_or(0).max(0x1_0000)
}

fn parse_line(line: &str) -> Option<Range<u64>> {
    let (start, rest) = line.split_once('-')?;
    let (end, _) = rest.split_once(' ')?;
    Some(u64::from_str_radix(start, 16).ok()?..u64::from_str_radix(end, 16).ok()?)
}

/// The gaps between mappings, clipped to `within`.
fn gaps(mapped: &[Range<u64>], within: Range<u64>) -> impl DoubleEndedIterator<Item = Range<u64>> {
    let starts = std::iter::once(0).chain(mapped.iter().map(|m| m.end));
    let ends = mapped.iter().map(|m| m.start).chain(std::iter::once(1 << 47));
    let all: Vec<_> = starts.zip(ends).collect();
    all.into_iter()
        .map(move |(start, end)| start.max(within.start)..end.min(within.end))
        .filter(|gap| gap.start < gap.end)
}

fn lowest(mapped: &[Range<u64>], within: Range<u64>, size: u64) -> Option<u64> {
    gaps(mapped, within).find_map(|gap| {
        let start = gap.start.next_multiple_of(HUGE_PAGE_BYTES);
        (start + size <= gap.end).then_some(start)
    })
}

/// The highest place whose end is not above `limit`, and whose code can be unwound wherever its functions begin.
fn highest(mapped: &[Range<u64>], within: Range<u64>, sizes: ArenaSizes, limit: u64) -> Option<u64> {
    let below = |end: u64, size: u64| Some(end.checked_sub(size)? & !(HUGE_PAGE_BYTES - 1));
    gaps(mapped, within).rev().find_map(|gap| {
        let mut start = below(gap.end.min(limit), sizes.total())?;
        let multiple = (start + sizes.code - 1) & !(UNSEEN_MULTIPLE - 1);
        if multiple >= start {
            start = below(multiple, sizes.code)?;
        }
        (start >= gap.start).then_some(start)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const M: u64 = 1 << 20;

    /// An arena of this size, a fourth of it code.
    fn sizes(size: u64) -> ArenaSizes {
        ArenaSizes {
            code: size / 4,
            constants: size / 4,
            data: size / 2,
        }
    }

    #[test]
    fn the_highest_gap_below_the_limit_is_taken() {
        let mapped = [16 * M..20 * M, 40 * M..44 * M];
        assert_eq!(highest(&mapped, 0..100 * M, sizes(8 * M), 40 * M), Some(32 * M));
        assert_eq!(highest(&mapped, 0..100 * M, sizes(30 * M), u64::MAX), Some(70 * M));
        assert_eq!(highest(&mapped, 0..100 * M, sizes(30 * M), 42 * M), None);
    }

    #[test]
    fn no_code_lies_at_a_multiple_of_4_gib() {
        let at = 32 * UNSEEN_MULTIPLE;
        let place = |gap: Range<u64>| highest(&[0..gap.start, gap.end..1 << 47], 0..1 << 47, sizes(256 * M), u64::MAX);
        // Where it would be at the beginning of the code, inside of it, and at the end.
        assert_eq!(place(at - 256 * M..at + 256 * M), Some(at - 64 * M));
        assert_eq!(place(at - 256 * M..at + 224 * M), Some(at - 64 * M));
        assert_eq!(place(at - 256 * M..at + 192 * M), Some(at - 64 * M));
        assert_eq!(place(at - 256 * M..at + 64 * M), Some(at - 192 * M));
        // Where there is no room before it.
        assert_eq!(place(at - 62 * M..at + 256 * M), None);
        assert_eq!(place(at..at + 258 * M), Some(at + 2 * M));
    }

    #[test]
    fn the_lowest_gap_is_taken() {
        let mapped = [16 * M..20 * M, 40 * M..44 * M];
        assert_eq!(lowest(&mapped, M..100 * M, 16 * M), Some(20 * M));
        assert_eq!(lowest(&mapped, M..50 * M, 60 * M), None);
    }
}
