//! Who refers to a function of the target, apart from functions that are replaced with it.

use std::ops::Range;

use crate::module::{Kind, Module};
use crate::procfs::{Procfs, word};

/// How many are named.
const NAMED: usize = 4;

/// The functions and the data of the process that refer to an address, in words; `None` if nothing does.
///
/// A reference is a displacement or an address anywhere in the bytes: what no instruction is can look like one, which
/// costs a refusal and nothing else.
pub(crate) fn others(
    procfs: &Procfs,
    modules: &[Module],
    home: usize,
    address: u64,
    replaced: &[Range<u64>],
) -> Option<String> {
    let module = &modules[home];
    let mut found: Vec<String> = Vec::new();
    for range in &module.code {
        let Some(bytes) = read(procfs, range) else { continue };
        for place in references(&bytes, range.start, address) {
            if replaced.iter().any(|range| range.contains(&place)) {
                continue;
            }
            found.push(module.name_at(place, Kind::Function));
        }
    }
    for range in data(procfs, modules) {
        let Some(bytes) = read(procfs, &range) else { continue };
        for (index, value) in bytes.chunks_exact(8).enumerate() {
            if word(value) != address {
                continue;
            }
            let place = range.start + index as u64 * 8;
            let owner = modules.iter().find(|module| module.range.contains(&place));
            found.push(owner.map_or_else(
                || format!("memory at {place:#x}"),
                |owner| owner.name_at(place, Kind::Data),
            ));
        }
    }
    found.sort();
    found.dedup();
    let more = found.len().saturating_sub(NAMED);
    found.truncate(NAMED);
    if more > 0 {
        found.push(format!("{more} more"));
    }
    (!found.is_empty()).then(|| found.join(", "))
}

fn read(procfs: &Procfs, range: &Range<u64>) -> Option<Vec<u8>> {
    procfs.read_vec(range.start, usize::try_from(range.end.checked_sub(range.start)?).ok()?)
}

/// The places of 32-bit displacements and addresses that mean an address.
fn references(bytes: &[u8], start: u64, address: u64) -> impl Iterator<Item = u64> + '_ {
    let absolute = u32::try_from(address).ok();
    bytes.windows(4).enumerate().filter_map(move |(at, field)| {
        let value = u32::from_le_bytes([field[0], field[1], field[2], field[3]]);
        let place = start + at as u64;
        let relative = place
            .wrapping_add(4)
            .wrapping_add_signed(i64::from(value.cast_signed()));
        // Padding in front of a function ends in zeros, which would be the distance to it.
        let jumps = value != 0
            || at
                .checked_sub(1)
                .is_some_and(|before| [0xe8, 0xe9].contains(&bytes[before]));
        (relative == address && jumps || absolute == Some(value)).then_some(place)
    })
}

/// The data of all modules, as the dynamic linker and the program have filled it.
fn data(procfs: &Procfs, modules: &[Module]) -> Vec<Range<u64>> {
    let maps = procfs.maps().unwrap_or_default();
    let of_modules = maps.into_iter().filter(|mapping| {
        let inside = modules.iter().any(|module| module.range.contains(&mapping.start));
        inside && mapping.is_readable() && !mapping.is_executable()
    });
    of_modules.map(|mapping| mapping.start..mapping.end).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_and_addresses_are_references() {
        // call 0x1010; mov $0x1010, %edi
        let bytes = [0xe8, 0x0b, 0, 0, 0, 0xbf, 0x10, 0x10, 0, 0];
        let found: Vec<u64> = references(&bytes, 0x1000, 0x1010).collect();
        assert_eq!(found, [0x1001, 0x1006]);
        assert_eq!(references(&bytes, 0x1000, 0x1011).count(), 0);
        let padding = [0x66, 0x90, 0x0f, 0x1f, 0x40, 0, 0, 0, 0, 0];
        assert_eq!(references(&padding, 0x1000, 0x100a).count(), 0);
        assert_eq!(references(&[0xe9, 0, 0, 0, 0], 0x1000, 0x1005).count(), 1);
    }
}
