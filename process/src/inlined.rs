//! Copies of a function inside of others, as the debug information tells: a patch of the function does not reach them.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::dwarf::DebugInfo;

/// Functions by name: the source file of static ones, of which other files may have another one of the same name.
pub(crate) type Names<'n> = BTreeMap<&'n str, Option<&'n str>>;

/// For each of some functions, the functions that have a copy of it.
pub(crate) fn callers(info: &DebugInfo<'_>, names: &Names<'_>) -> HashMap<String, BTreeSet<String>> {
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
                let (Some(file), Some((_, caller))) = (names.get(&*name), around.last()) else {
                    return;
                };
                let is_same = if info.inherited(place, gimli::DW_AT_external).is_some() {
                    file.is_none()
                } else {
                    *file == info.source(place).as_deref()
                };
                if is_same {
                    found.entry(name).or_default().insert(caller.clone());
                }
            }
            _ => {}
        }
    });
    found
}
