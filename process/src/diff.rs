//! What a change of a source changes in its object: the functions that are worth a patch.
//!
//! Instructions are compared one by one, and what they refer to by its meaning: a symbol by its name, a string by its
//! contents, a place in the function by its distance from the start. Where things lie in their sections does not matter,
//! nor on which lines of the source they are.

mod compare;
mod extract;
mod lines;
mod object;
mod output;

use std::collections::{BTreeSet, HashSet};

use ::object::elf;

use crate::error::{Error, Refusal, Result};
use compare::{Comparison, Outcome};
use extract::Extract;
use object::{CompareObject, Role};

/// What became of a function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Its code is another one: why, with the first instruction that differs.
    Changed(String),
    /// Nothing but constants in its instructions differ, all by the same, as numbers of lines do: the first of them.
    Constants(String),
    /// Nothing differs but numbers of source lines, as the debug information of both objects says: no reason to patch it.
    Lines,
    /// The old object has none of that name.
    Added,
    /// The new object has none of that name.
    Removed,
    /// It does the same.
    Same,
}

/// How to compare.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DiffOptions {
    /// Functions whose constants alone differ, all by the same, are no part of the patch: their lines have moved. For
    /// objects without debug information, which would tell.
    pub ignore_line_numbers: bool,
}

/// What is different between two objects.
#[derive(Debug, Clone)]
pub struct Difference {
    /// Every function of both, by name.
    pub functions: Vec<(String, Change)>,
    /// What a patch cannot do: it keeps variables as they are.
    pub inexpressible: Vec<Refusal>,
    /// An object with the changed and added functions and what they need; the rest is the process's. `None` if there are
    /// none.
    pub patch: Option<Vec<u8>>,
}

/// Compares an object with the one that it replaces. Names are for messages.
///
/// # Errors
/// If one of the files is no relocatable object, or has relocations of a form that is not to be compared.
pub fn diff(old: (&str, &[u8]), new: (&str, &[u8]), options: &DiffOptions) -> Result<Difference> {
    let (old, new) = (CompareObject::read(old.0, old.1)?, CompareObject::read(new.0, new.1)?);
    let mut comparison = Comparison::new(&old, &new);
    let mut functions = Vec::new();
    let mut worth = HashSet::new();
    let all: Vec<usize> = functions_of(&new).collect();
    for index in all {
        let change = match comparison.before(index) {
            None => Change::Added,
            Some(before) => match comparison.functions(before, index) {
                Outcome::Same => Change::Same,
                Outcome::Lines => Change::Lines,
                Outcome::Different(reason, true) => Change::Constants(reason),
                Outcome::Different(reason, false) => Change::Changed(reason),
            },
        };
        let patched = match change {
            Change::Changed(_) | Change::Added => true,
            Change::Constants(_) => !options.ignore_line_numbers,
            Change::Lines | Change::Removed | Change::Same => false,
        };
        // What runs when a program starts has run.
        if patched && !is_start(&new.symbols[index].name) {
            worth.insert(index);
        }
        functions.push((new.symbols[index].name.clone(), change));
    }
    let names: BTreeSet<(&str, bool)> = functions_of(&new)
        .map(|index| (new.symbols[index].name.as_str(), new.symbols[index].local))
        .collect();
    let removed = functions_of(&old).map(|index| &old.symbols[index]);
    let removed = removed.filter(|symbol| !names.contains(&(symbol.name.as_str(), symbol.local)));
    functions.extend(removed.map(|symbol| (symbol.name.clone(), Change::Removed)));
    functions.sort_by(|a, b| a.0.cmp(&b.0));
    let inexpressible = inexpressible(&mut comparison, &functions);
    let patch = if worth.is_empty() {
        None
    } else {
        let bytes = Extract::new(&mut comparison, worth).write();
        Some(bytes.ok_or_else(|| malformed(&new.name, "its relocations are of an unusual form"))?)
    };
    Ok(Difference {
        functions,
        inexpressible,
        patch,
    })
}

fn malformed(object: &str, reason: &str) -> Error {
    Error::Link(restub_loader::Error::Malformed {
        object: object.into(),
        reason: reason.into(),
    })
}

fn functions_of<'o>(object: &'o CompareObject<'_>) -> impl Iterator<Item = usize> + 'o {
    let all = object.definitions();
    all.filter(|(_, symbol, role)| *role == Role::Function && symbol.size > 0)
        .map(|(index, ..)| index)
}

/// Functions in which compilers put what a file does when the program starts.
pub(crate) fn is_start(name: &str) -> bool {
    const STARTS: [&str; 4] = [
        "_GLOBAL__sub_I_",
        "_GLOBAL__I_",
        "__cxx_global_var_init",
        "_Z41__static_initialization_and_destruction_0",
    ];
    STARTS.iter().any(|start| name.starts_with(start))
}

/// Whether a variable is the same one, so that the process's can be used.
fn same_variable(old: &CompareObject<'_>, before: usize, new: &CompareObject<'_>, after: usize) -> bool {
    old.symbols[before].size == new.symbols[after].size && !starts_differently(old, before, new, after)
}

fn starts_differently(old: &CompareObject<'_>, before: usize, new: &CompareObject<'_>, after: usize) -> bool {
    // Without contents it starts with zeros.
    let contents = |object: &CompareObject<'_>, index: usize| {
        let section = object.symbols[index].section.unwrap_or(0);
        let range = object.extent(index);
        let mut bytes = object.bytes(section, &range).to_vec();
        for row in object.relocations(section, &range) {
            let at = usize::try_from(row.offset - range.start).unwrap_or(usize::MAX);
            let end = bytes.len().min(at.saturating_add(8));
            if let Some(field) = bytes.get_mut(at..end) {
                field.fill(0);
            }
        }
        bytes
    };
    let (one, other) = (contents(old, before), contents(new, after));
    one.iter().zip(&other).any(|(a, b)| a != b) || compare::more_than_padding(&one, &other)
}

/// What no patch can bring about.
fn inexpressible(comparison: &mut Comparison<'_, '_>, functions: &[(String, Change)]) -> Vec<Refusal> {
    let (old, new) = (comparison.old, comparison.new);
    let mut found = Vec::new();
    for (index, symbol, role) in new.definitions() {
        if role != Role::State {
            continue;
        }
        let refusal = |code, reason: String| Refusal::new(code, symbol.name.clone(), reason);
        if comparison.unclear.contains(&index) {
            let reason =
                "functions of both objects have static variables of this name, and it is not clear which is which";
            found.push(refusal("ambiguous", reason.into()));
            continue;
        }
        let Some(before) = comparison.before(index) else {
            continue;
        };
        let (one, other) = (old.symbols[before].size, symbol.size);
        if one != other {
            let reason = format!("it has {one} bytes in the old object and {other} in the new one");
            found.push(refusal("variable-size", reason));
        } else if symbol.kind != elf::STT_TLS && starts_differently(old, before, new, index) {
            let reason = "its initial value differs; in the process it keeps its value";
            found.push(refusal("initial-value", reason.into()));
        } else if symbol.weak && !comparison.same_constants(before, index) {
            let reason =
                "it is a table of virtual functions or the like that differs; objects in the process have the old one";
            found.push(refusal("virtual-table", reason.into()));
        }
    }
    for (name, change) in functions {
        if is_start(name) && !matches!(change, Change::Same | Change::Lines) {
            let reason = "it runs when the program starts, which it has; what it would do differently is not done";
            found.push(Refusal::new("constructor", name.clone(), reason));
        }
    }
    found
}
