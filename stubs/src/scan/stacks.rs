//! Where stacks end: the writable mappings, read before any thread is asked.
//!
//! A handler may not read `/proc/self/maps` itself, nor call `pthread_getattr_np`, which allocates.

use std::fs;
use std::ops::Range;

use super::ScanError;

/// A snapshot of the process's readable and writable mappings, in ascending order.
#[derive(Debug)]
pub(super) struct Stacks {
    mappings: Vec<Range<u64>>,
    main: Range<u64>,
}

impl Stacks {
    pub(super) fn read() -> Result<Self, ScanError> {
        let path = "/proc/self/maps";
        let maps = fs::read_to_string(path).map_err(|source| ScanError::Proc { path, source })?;
        Ok(Self::parse(&maps))
    }

    fn parse(maps: &str) -> Self {
        let mut stacks = Stacks {
            mappings: Vec::new(),
            main: 0..0,
        };
        for line in maps.lines() {
            let Some((range, rest)) = line.split_once(' ') else {
                continue;
            };
            let Some(range) = parse_range(range) else { continue };
            if rest.ends_with("[stack]") {
                stacks.main = range.clone();
            }
            if rest.starts_with("rw") {
                stacks.mappings.push(range);
            }
        }
        stacks
    }

    /// The mapping that holds an address. Safe to call from a signal handler.
    pub(super) fn around(&self, address: u64) -> Option<Range<u64>> {
        let next = self.mappings.partition_point(|range| range.end <= address);
        let range = self.mappings.get(next)?;
        range.contains(&address).then(|| range.clone())
    }

    /// The main thread's stack, which grows: addresses below what it was at the time of the snapshot belong to it too.
    pub(super) fn main(&self) -> Range<u64> {
        self.main.clone()
    }
}

fn parse_range(text: &str) -> Option<Range<u64>> {
    let (start, end) = text.split_once('-')?;
    Some(u64::from_str_radix(start, 16).ok()?..u64::from_str_radix(end, 16).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mappings_are_found_by_address() {
        let maps = "1000-2000 rw-p 00000000 00:00 0\n\
                    2000-3000 r-xp 00000000 00:00 0 /lib/x.so\n\
                    3000-5000 rw-p 00000000 00:00 0\n\
                    7ffc0000-7ffd0000 rw-p 00000000 00:00 0                          [stack]\n";
        let stacks = Stacks::parse(maps);
        assert_eq!(stacks.around(0x1800), Some(0x1000..0x2000));
        assert_eq!(stacks.around(0x2800), None);
        assert_eq!(stacks.around(0x3000), Some(0x3000..0x5000));
        assert_eq!(stacks.around(0x5000), None);
        assert_eq!(stacks.main(), 0x7ffc_0000..0x7ffd_0000);
    }
}
