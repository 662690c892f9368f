//! What a change of a source changes in its object: the functions that are worth a patch.
//!
//! Instructions are compared one by one, and what they refer to by its meaning: a symbol by its name, a string by its
//! contents, a place in the function by its distance from the start. Where things lie in their sections does not matter.

use std::collections::HashMap;

use iced_x86::{Decoder, DecoderOptions, Formatter as _, GasFormatter, Instruction};
use object::elf;

use crate::error::{Error, Refusal, Result};
use crate::retarget::{Alias, Definition, PatchObject};

/// What became of a function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Its code is another one: why, with the first instruction that differs.
    Changed(String),
    /// The old object has none of that name.
    Added,
    /// The new object has none of that name.
    Removed,
    /// It does the same.
    Same,
}

/// What is different between two objects.
#[derive(Debug, Clone)]
pub struct Difference {
    /// Every function of both, by name.
    pub functions: Vec<(String, Change)>,
    /// What a patch cannot do: it keeps variables as they are.
    pub inexpressible: Vec<Refusal>,
    /// An object whose changed and added functions are its only functions: the rest is the process's. `None` if there
    /// are none.
    pub patch: Option<Vec<u8>>,
}

/// Compares an object with the one that it replaces. Names are for messages.
///
/// # Errors
/// If one of the files is no relocatable object, or has relocations of a form that is not to be compared.
pub fn diff(old: (&str, &[u8]), new: (&str, &[u8])) -> Result<Difference> {
    let (old, new) = (read(old)?, read(new)?);
    let mut functions = Vec::new();
    let mut same = HashMap::new();
    for definition in new.definitions.iter().filter(|definition| is_function(definition)) {
        let change = match find(&old, definition) {
            None => Change::Added,
            Some(before) => compare(&old, before, &new, definition).map_or(Change::Same, Change::Changed),
        };
        if change == Change::Same {
            same.insert(definition.index, alias(&new, definition));
        }
        functions.push((definition.name.clone(), change));
    }
    let removed = old
        .definitions
        .iter()
        .filter(|before| is_function(before) && find(&new, before).is_none());
    functions.extend(removed.map(|before| (before.name.clone(), Change::Removed)));
    functions.sort_by(|a, b| a.0.cmp(&b.0));
    let worth = functions
        .iter()
        .any(|(_, change)| matches!(change, Change::Changed(_) | Change::Added));
    let patch = if worth {
        let bytes = new
            .retarget(&same)
            .and_then(|bytes| new.without(bytes, same.keys().copied()));
        Some(bytes.ok_or_else(|| malformed(&new.name, "its relocations are of an unusual form"))?)
    } else {
        None
    };
    Ok(Difference {
        inexpressible: variables(&old, &new),
        functions,
        patch,
    })
}

fn read<'a>((name, bytes): (&str, &'a [u8])) -> Result<PatchObject<'a>> {
    if let Some(object) = PatchObject::read(name, bytes) {
        return Ok(object);
    }
    restub_loader::Object::parse(name, bytes)?;
    Err(malformed(name, "it has no symbols"))
}

fn malformed(object: &str, reason: &str) -> Error {
    Error::Link(restub_loader::Error::Malformed {
        object: object.into(),
        reason: reason.into(),
    })
}

fn is_function(definition: &Definition) -> bool {
    definition.kind == elf::STT_FUNC && definition.size > 0
}

/// What the reference to an unchanged function is: by its name, and for a static one with its source file.
fn alias(object: &PatchObject<'_>, definition: &Definition) -> Alias {
    let name = match (&object.source, definition.local) {
        (Some(source), true) => format!("{}#{source}", definition.name),
        _ => definition.name.clone(),
    };
    Alias { name }
}

fn find<'o>(object: &'o PatchObject<'_>, like: &Definition) -> Option<&'o Definition> {
    let mut all = object.definitions.iter();
    all.find(|other| other.name == like.name && other.kind == like.kind && other.local == like.local)
}

fn variables(old: &PatchObject<'_>, new: &PatchObject<'_>) -> Vec<Refusal> {
    let mut found = Vec::new();
    for definition in new
        .definitions
        .iter()
        .filter(|definition| definition.kind == elf::STT_OBJECT)
    {
        let Some(before) = find(old, definition) else { continue };
        let refusal = |code, reason: String| Refusal::new(code, definition.name.clone(), reason);
        if before.size != definition.size {
            let reason = format!(
                "it has {} bytes in the old object and {} in the new one",
                before.size, definition.size
            );
            found.push(refusal("variable-size", reason));
        } else if definition.writable && old.contents(before) != new.contents(definition) {
            found.push(refusal(
                "initial-value",
                "its initial value differs; in the process it keeps its value".into(),
            ));
        }
    }
    found
}

/// Why two functions differ; `None` if they do the same.
fn compare(old: &PatchObject<'_>, before: &Definition, new: &PatchObject<'_>, after: &Definition) -> Option<String> {
    let (one, other) = (decode(old, before), decode(new, after));
    let (one, other) = match (one, other) {
        (Some(one), Some(other)) => (one, other),
        _ => return Some("its code cannot be read".into()),
    };
    for (a, b) in one.iter().zip(&other) {
        let at = a.ip() - before.value;
        let (left, right) = (meaning(old, before, a), meaning(new, after, b));
        if left != right || at != b.ip() - after.value {
            return Some(format!("at +{at:#x}: {} becomes {}", text(a, &left), text(b, &right)));
        }
    }
    (one.len() != other.len()).then(|| format!("{} instructions become {}", one.len(), other.len()))
}

fn decode(object: &PatchObject<'_>, definition: &Definition) -> Option<Vec<Instruction>> {
    let (bytes, _) = object.contents(definition)?;
    Some(
        Decoder::with_ip(64, bytes, definition.value, DecoderOptions::NONE)
            .into_iter()
            .collect(),
    )
}

/// An instruction without what depends on places, and what it refers to.
#[derive(Debug, PartialEq, Eq)]
struct Meaning {
    bytes: Vec<u8>,
    refers: Vec<String>,
}

fn meaning(object: &PatchObject<'_>, function: &Definition, instruction: &Instruction) -> Meaning {
    let start = instruction.ip();
    let mut bytes = object.code(function.section, start, instruction.len()).to_vec();
    let mut refers = Vec::new();
    let relocations = object.relocations_in(function.section, start..instruction.next_ip());
    for relocation in &relocations {
        let at = (relocation.offset - start) as usize;
        let length = bytes.len().min(at + 4);
        bytes[at..length].fill(0);
        refers.push(format!(
            "{} {}",
            relocation.number,
            object.describe(relocation, instruction.next_ip())
        ));
    }
    // What the assembler has worked out itself, since it is in the same section.
    let target = instruction.near_branch_target();
    let place = if target != 0 || instruction.is_jcc_short_or_near() || instruction.is_jmp_short_or_near() {
        Some(target)
    } else if instruction.is_ip_rel_memory_operand() {
        Some(instruction.ip_rel_memory_address())
    } else {
        None
    };
    if let (Some(place), true) = (place, relocations.is_empty()) {
        let mut decoder = Decoder::with_ip(64, &bytes, start, DecoderOptions::NONE);
        let offsets = {
            let decoded = decoder.decode();
            decoder.get_constant_offsets(&decoded)
        };
        for (has, offset, size) in [
            (
                offsets.has_displacement(),
                offsets.displacement_offset(),
                offsets.displacement_size(),
            ),
            (
                target != 0 && offsets.has_immediate(),
                offsets.immediate_offset(),
                offsets.immediate_size(),
            ),
        ] {
            if has {
                bytes[offset..offset + size].fill(0);
            }
        }
        let own = function.value..function.value + function.size;
        refers.push(if own.contains(&place) {
            format!("+{:#x}", place - function.value)
        } else {
            object.name_at(function.section, place)
        });
    }
    Meaning { bytes, refers }
}

fn text(instruction: &Instruction, meaning: &Meaning) -> String {
    let mut text = String::new();
    GasFormatter::new().format(instruction, &mut text);
    let refers: Vec<&str> = meaning
        .refers
        .iter()
        .map(|refers| refers.split_once(' ').map_or(&**refers, |(_, name)| name))
        .collect();
    if refers.is_empty() {
        return format!("`{text}`");
    }
    format!("`{text}` ({})", refers.join(", "))
}
