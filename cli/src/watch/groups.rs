//! Which files are one module.
//!
//! Each is one of its own, so that it can be replaced as a whole. Only those that use each other's variables, in a
//! circle, cannot be loaded one after the other, and are one together.

use std::collections::{BTreeMap, BTreeSet};

use object::elf;
use object::read::elf::{FileHeader as _, SectionHeader as _, Sym as _};
use restub::loader::{Object, SymbolPlace};

/// What an object defines for others, and what it wants of them.
#[derive(Debug, Default)]
pub(super) struct Names {
    /// Whether it is a variable, by name.
    defined: BTreeMap<String, bool>,
    /// Those that have to be found, but for thread-local variables.
    wanted: BTreeSet<String>,
    wanted_thread_locals: BTreeSet<String>,
}

impl Names {
    pub(super) fn of(object: &Object<'_>) -> restub::loader::Result<Self> {
        let mut names = Names::default();
        for symbol in object.symbols() {
            let symbol = symbol?;
            if symbol.binding == elf::STB_LOCAL || symbol.name.is_empty() {
                continue;
            }
            let name = String::from_utf8_lossy(symbol.name).into_owned();
            match symbol.place {
                SymbolPlace::Undefined if symbol.binding == elf::STB_WEAK => {}
                SymbolPlace::Undefined if symbol.kind == elf::STT_TLS => _ = names.wanted_thread_locals.insert(name),
                SymbolPlace::Undefined => _ = names.wanted.insert(name),
                SymbolPlace::Section(section) => {
                    let code = object.sections()[section].flags.contains(elf::SHF_EXECINSTR);
                    names.defined.insert(name, !code);
                }
                _ => _ = names.defined.insert(name, true),
            }
        }
        Ok(names)
    }

    pub(super) fn defines(&self, name: &str) -> bool {
        self.defined.contains_key(name)
    }

    /// What others have to define: functions and variables, but for thread-local ones.
    pub(super) fn wanted(&self) -> impl Iterator<Item = &str> {
        self.wanted.iter().map(String::as_str)
    }

    fn uses_variable_of(&self, other: &Names) -> bool {
        let mut wanted = self.wanted.iter().chain(&self.wanted_thread_locals);
        wanted.any(|name| other.defined.get(name) == Some(&true))
    }
}

/// Puts files together that use each other's variables in a circle; every other one is alone. In the order of the files.
pub(super) fn groups(files: &[&Names]) -> Vec<Vec<usize>> {
    let reached: Vec<BTreeSet<usize>> = (0..files.len()).map(|file| reached_from(file, files)).collect();
    let mut groups: Vec<Vec<usize>> = Vec::new();
    for file in 0..files.len() {
        let circle = groups.iter_mut().find(|group| {
            let first = group[0];
            reached[first].contains(&file) && reached[file].contains(&first)
        });
        match circle {
            Some(group) => group.push(file),
            None => groups.push(vec![file]),
        }
    }
    groups
}

/// The files whose variables a file uses, and those that these use, and so on.
fn reached_from(file: usize, files: &[&Names]) -> BTreeSet<usize> {
    let mut reached = BTreeSet::new();
    let mut open = vec![file];
    while let Some(from) = open.pop() {
        for (to, names) in files.iter().enumerate() {
            if to != from && !reached.contains(&to) && files[from].uses_variable_of(names) {
                reached.insert(to);
                open.push(to);
            }
        }
    }
    reached
}

/// Makes hidden symbols of an object visible to the other files of the program, as they are to a linker that puts all of
/// them into one file. Of undefined ones only those that `is_elsewhere`, in another file.
pub(super) fn unhide(object: &mut [u8], is_elsewhere: impl Fn(&[u8]) -> bool) {
    const OTHER: usize = std::mem::offset_of!(elf::Sym64<object::LittleEndian>, st_other);
    const VISIBILITY: u8 = 3;
    for offset in hidden_symbols(object, is_elsewhere).unwrap_or_default() {
        if let Some(other) = object.get_mut(offset + OTHER) {
            *other &= !VISIBILITY;
        }
    }
}

/// Where in the file the symbols are; an object that cannot be read has none, and is refused by the loader.
fn hidden_symbols(object: &[u8], is_elsewhere: impl Fn(&[u8]) -> bool) -> object::read::Result<Vec<usize>> {
    let endian = object::LittleEndian;
    let header = elf::FileHeader64::<object::LittleEndian>::parse(object)?;
    let sections = header.sections(endian, object)?;
    let table = sections.symbols(endian, object, elf::SHT_SYMTAB)?;
    let start = sections.section(table.section())?.sh_offset(endian);
    let size = size_of::<elf::Sym64<object::LittleEndian>>();
    let mut found = Vec::new();
    for (index, symbol) in table.enumerate() {
        let hidden = matches!(symbol.st_visibility(), elf::STV_HIDDEN | elf::STV_INTERNAL);
        if symbol.st_bind() == elf::STB_LOCAL || !hidden {
            continue;
        }
        if !symbol.is_undefined(endian) || is_elsewhere(table.symbol_name(endian, symbol)?) {
            found.push(start as usize + index.0 * size);
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(variables: &[&str], wanted: &[&str]) -> Names {
        Names {
            defined: variables.iter().map(|name| ((*name).to_owned(), true)).collect(),
            wanted: wanted.iter().map(|name| (*name).to_owned()).collect(),
            wanted_thread_locals: BTreeSet::new(),
        }
    }

    #[test]
    fn only_circles_are_together() {
        let files = [
            file(&["a"], &["b"]),
            file(&["b"], &["c", "printf"]),
            file(&["c"], &["a"]),
            file(&["d"], &["a"]),
            file(&["e"], &["d", "e"]),
        ];
        assert_eq!(
            groups(&files.iter().collect::<Vec<_>>()),
            [vec![0, 1, 2], vec![3], vec![4]]
        );
    }
}
