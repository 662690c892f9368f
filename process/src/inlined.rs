//! Copies of a function inside of others, as the debug information tells: a patch of the function does not reach them.

use std::collections::{BTreeSet, HashMap};

use crate::dwarf::DebugInfo;

/// For each of some functions, the functions that have a copy of it.
pub(crate) fn callers(info: &DebugInfo<'_>, names: &BTreeSet<&str>) -> HashMap<String, BTreeSet<String>> {
    let mut found: HashMap<String, BTreeSet<String>> = HashMap::new();
    // The functions around the entry, each with its depth.
    let mut around: Vec<(isize, String)> = Vec::new();
    info.each(|place, entry| {
        let depth = entry.depth();
        around.retain(|(outer, _)| *outer < depth);
        match entry.tag() {
            gimli::DW_TAG_subprogram => around.push((depth, info.symbol_name(place).unwrap_or_default())),
            gimli::DW_TAG_inlined_subroutine => {
                let name = info.symbol_name(place).unwrap_or_default();
                if let (true, Some((_, caller))) = (names.contains(&*name), around.last()) {
                    found.entry(name).or_default().insert(caller.clone());
                }
            }
            _ => {}
        }
    });
    found
}
