//! Two versions of an object that are compared: files that may hold anything, or a generated object and what becomes of it.

use std::collections::HashSet;

use object::elf;
use restub_loader::fuzzing::{Case, Choices, ObjectPlan, Scope, SymbolPlanPlace};
use restub_loader::{Object, SymbolPlace};

use crate::diff::{Change, DiffOptions, Difference, diff, is_start};

/// Writes an input of [`check_difference`] that is two files: an object, and the one that it becomes.
#[must_use]
pub fn difference_input(old: &[u8], new: &[u8]) -> Vec<u8> {
    [&[0], &(old.len() as u32).to_le_bytes()[..], old, new].concat()
}

/// Compares two objects, as `restub diff` would: whatever the bytes are, there is an answer or an error, the same each
/// time, an object that is a patch defines the functions that it is for, and nothing differs from itself.
///
/// The first byte says what the others are: two files, as [`difference_input`] writes them, or choices for a generated
/// object and what changes.
///
/// # Panics
/// If it does not.
pub fn check_difference(input: &[u8]) {
    let Some((kind, rest)) = input.split_first() else {
        return;
    };
    if kind % 2 == 1 {
        let (old, new) = generated(&mut Choices::new(rest));
        check(&old, &new);
    } else if let Some((length, files)) = rest.split_first_chunk() {
        let length = u32::from_le_bytes(*length) as usize;
        let (old, new) = files.split_at(length.min(files.len()));
        check(old, new);
    }
}

/// Whether they can be compared.
fn check(old: &[u8], new: &[u8]) -> bool {
    let compare = || diff(("old.o", old), ("new.o", new), &DiffOptions::default());
    let (one, again) = match (compare(), compare()) {
        (Ok(one), Ok(again)) => (one, again),
        (Err(one), Err(again)) => {
            assert_eq!(one.to_string(), again.to_string());
            return false;
        }
        (one, again) => panic!("{one:?}, then {again:?}"),
    };
    assert_eq!(one.functions, again.functions);
    assert_eq!(one.inexpressible, again.inexpressible);
    assert_eq!(one.patch, again.patch);
    check_itself(new);
    let Some(patch) = one.patch else { return true };
    let patch = Object::parse("patch.o", &patch).expect("a patch is an object");
    let symbols: Vec<_> = patch.symbols().map(|symbol| symbol.expect("a symbol")).collect();
    for (name, change) in &one.functions {
        if matches!(change, Change::Changed(_) | Change::Added) && !is_start(name) {
            let defined = symbols.iter().any(|symbol| symbol.name == name.as_bytes());
            assert!(defined, "{name}: {change:?}, and not in the patch");
        }
    }
    true
}

/// An object does not differ from itself, unless it leaves open which definition is which.
fn check_itself(object: &[u8]) {
    let object = ("object.o", object);
    let mut names = HashSet::new();
    let parsed = Object::parse(object.0, object.1).expect("it has been read");
    let mut defined = parsed
        .symbols()
        .map_while(restub_loader::Result::ok)
        .filter(|symbol| symbol.kind != elf::STT_SECTION && matches!(symbol.place, SymbolPlace::Section(_)));
    let twice = !defined.all(|symbol| names.insert(symbol.name));
    let Difference {
        functions,
        inexpressible,
        patch,
    } = diff(object, object, &DiffOptions::default()).expect("it has been read");
    let unclear = inexpressible.iter().any(|refusal| refusal.code == "ambiguous");
    if !twice && !unclear {
        let different = functions.iter().find(|(_, change)| *change != Change::Same);
        assert_eq!(different, None);
        assert_eq!(inexpressible, []);
        assert_eq!(patch, None);
    }
}

/// An object, and the one that it becomes.
fn generated(choices: &mut Choices<'_>) -> (Vec<u8>, Vec<u8>) {
    let mut case = Case::generate(choices, Scope::Anything, "", 0x1000_0000);
    let count = case.objects.len() as u64;
    let old = &mut case.objects[choices.below(count) as usize];
    // A linker need not care about sizes, and generated ones are any.
    for symbol in &mut old.symbols {
        if let SymbolPlanPlace::Section(section) = symbol.place {
            let section = old.sections[section].size;
            symbol.value = symbol.value.min(section);
            symbol.size = symbol.size.min(section - symbol.value);
        }
    }
    let mut new = old.clone();
    for _ in 0..=choices.below(4) {
        change(&mut new, choices);
    }
    (old.write(), new.write())
}

/// Changes one thing, as an edit of the source may, or as none does.
fn change(object: &mut ObjectPlan, choices: &mut Choices<'_>) {
    let sections = object.sections.len() as u64;
    let symbols = object.symbols.len() as u64;
    let section = object.sections.get_mut(choices.below(sections) as usize);
    let symbol = object.symbols.get_mut(choices.below(symbols) as usize);
    let (Some(section), Some(symbol)) = (section, symbol) else {
        return;
    };
    let bytes = section.contents.len() as u64;
    let relocations = section.relocations.len() as u64;
    let relocation = section.relocations.get_mut(choices.below(relocations) as usize);
    match (choices.below(10), relocation) {
        (0 | 1, _) => {
            if let Some(byte) = section.contents.get_mut(choices.below(bytes) as usize) {
                *byte = choices.below(256) as u8;
            }
        }
        (2, Some(relocation)) => relocation.addend = relocation.addend.wrapping_add_unsigned(choices.edge()),
        (3, Some(relocation)) => relocation.symbol = choices.below(symbols) as usize,
        (4, Some(relocation)) => relocation.offset = choices.below(bytes + 1),
        (5, _) => symbol.size = choices.below(100),
        (6, _) => symbol.value = choices.below(100),
        (7, _) => symbol.name += *choices.pick(&[".1", ".cold", ".part.0", "x"]),
        (8, _) => symbol.place = SymbolPlanPlace::Section(choices.below(sections) as usize),
        _ => object.sections.swap(0, choices.below(sections) as usize),
    }
}

#[cfg(test)]
mod tests {
    use restub_loader::fuzzing::{Choices, entropy};

    use super::{check, generated};

    #[test]
    fn generated_objects_are_compared() {
        const COUNT: usize = 300;
        let compared = (0..COUNT as u64).filter(|seed| {
            let (old, new) = generated(&mut Choices::new(&entropy(*seed)));
            check(&old, &new)
        });
        let compared = compared.count();
        assert!(compared > COUNT / 3, "{compared} of {COUNT}");
    }
}
