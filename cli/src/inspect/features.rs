//! What an object needs of the processor, of the place it is loaded to, and of whoever loads it.

use object::elf;
use restub::loader::{Need, Object, ObjectSymbol, Row, Section, SymbolPlace};

/// The TLS models that the object's code uses.
pub(super) fn tls_models(object: &Object<'_>) -> Vec<&'static str> {
    const MODELS: [(Need, &str); 5] = [
        (Need::TlsGd, "general dynamic"),
        (Need::TlsLd, "local dynamic"),
        (Need::TlsDesc, "descriptors"),
        (Need::TlsIe, "initial exec"),
        (Need::TlsLe, "local exec"),
    ];
    let used = |need: Need| rows(object).any(|row| row.need == need);
    MODELS
        .iter()
        .filter(|(need, _)| used(*need))
        .map(|(_, words)| *words)
        .collect()
}

/// What the object needs, in words.
pub(super) fn needs(object: &Object<'_>, symbols: &[ObjectSymbol<'_>]) -> Vec<String> {
    let mut needs = processor(object);
    let mut add = |present: bool, words: &str| {
        if present {
            needs.push(words.to_owned());
        }
    };
    let section = |suits: &dyn Fn(&Section<'_>) -> bool| object.sections().iter().any(suits);
    let named = |prefix: &[u8]| section(&|section| section.is_allocated() && section.name.starts_with(prefix));
    let symbol = |suits: &dyn Fn(&ObjectSymbol<'_>) -> bool| symbols.iter().any(suits);
    add(
        rows(object).any(Row::is_narrow_absolute),
        "an address below 2 GiB (not position-independent)",
    );
    add(
        section(&|section| section.is_large()),
        "the large code model's sections",
    );
    add(section(&|section| section.is_tls()), "thread-local storage");
    add(
        named(b".init_array") || named(b".ctors") || named(b".preinit_array"),
        "constructors",
    );
    add(named(b".fini_array") || named(b".dtors"), "destructors");
    add(named(b".eh_frame"), "unwind tables");
    add(named(b".gcc_except_table"), "exception handling");
    add(symbol(&|symbol| symbol.kind == elf::STT_GNU_IFUNC), "IFUNC resolvers");
    add(
        symbol(&|symbol| symbol.binding == elf::STB_GNU_UNIQUE),
        "unique symbols (GNU_UNIQUE)",
    );
    add(symbol(&|symbol| symbol.place == SymbolPlace::Common), "common symbols");
    add(
        section(&|section| section.name == b".note.GNU-split-stack"),
        "split stacks",
    );
    let executable_stack =
        |section: &Section<'_>| section.name == b".note.GNU-stack" && section.flags.contains(elf::SHF_EXECINSTR);
    add(section(&executable_stack), "an executable stack");
    needs
}

/// The rows of the relocations that are applied.
fn rows<'a>(object: &'a Object<'_>) -> impl Iterator<Item = &'static Row> + 'a {
    let loaded = object.sections().iter().filter(|section| section.is_allocated());
    loaded
        .flat_map(|section| section.relocations.iter())
        .filter_map(|relocation| Row::of(relocation.number))
}

/// What `.note.gnu.property` says (Linux gABI extensions, "Program Property"; psABI section 4.1.1).
fn processor(object: &Object<'_>) -> Vec<String> {
    const FEATURE_1_AND: u32 = 0xc000_0002;
    const ISA_1_NEEDED: u32 = 0xc000_8002;
    const WORDS: [(u32, u32, &str); 6] = [
        (ISA_1_NEEDED, 1, "x86-64 baseline"),
        (ISA_1_NEEDED, 2, "x86-64-v2"),
        (ISA_1_NEEDED, 4, "x86-64-v3"),
        (ISA_1_NEEDED, 8, "x86-64-v4"),
        (FEATURE_1_AND, 1, "IBT (usable, not required)"),
        (FEATURE_1_AND, 2, "SHSTK (usable, not required)"),
    ];
    let notes = object
        .sections()
        .iter()
        .filter(|section| section.name == b".note.gnu.property");
    let properties: Vec<(u32, u32)> = notes.flat_map(|section| properties(section.data)).collect();
    let present = |kind: u32, bit: u32| properties.iter().any(|(known, bits)| *known == kind && bits & bit != 0);
    WORDS
        .iter()
        .filter(|(kind, bit, _)| present(*kind, *bit))
        .map(|(_, _, words)| (*words).to_owned())
        .collect()
}

/// The 4-byte properties of a note section: type and bits.
fn properties(mut notes: &[u8]) -> Vec<(u32, u32)> {
    const NT_GNU_PROPERTY_TYPE_0: u32 = 5;
    let word =
        |bytes: &[u8], at: usize| -> Option<u32> { Some(u32::from_le_bytes(bytes.get(at..)?.first_chunk().copied()?)) };
    let mut found = Vec::new();
    while let (Some(4), Some(size), Some(kind)) = (word(notes, 0), word(notes, 4), word(notes, 8)) {
        let Some(mut rest) = notes.get(16..).and_then(|rest| rest.get(..size as usize)) else {
            break;
        };
        while let (NT_GNU_PROPERTY_TYPE_0, Some(property), Some(length)) = (kind, word(rest, 0), word(rest, 4)) {
            if let (4, Some(bits)) = (length, word(rest, 8)) {
                found.push((property, bits));
            }
            let next = (length as usize).next_multiple_of(8).saturating_add(8);
            rest = rest.get(next..).unwrap_or_default();
        }
        let next = (size as usize).next_multiple_of(8).saturating_add(16);
        notes = notes.get(next..).unwrap_or_default();
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn properties_are_read_and_damage_ends_them() {
        let mut note = Vec::new();
        for word in [
            4_u32,
            32,
            5,
            u32::from_le_bytes(*b"GNU\0"),
            0xc000_8002,
            4,
            4,
            0,
            0xc000_0002,
            4,
            3,
            0,
        ] {
            note.extend(word.to_le_bytes());
        }
        assert_eq!(properties(&note), [(0xc000_8002, 4), (0xc000_0002, 3)]);
        for length in 0..note.len() {
            assert!(properties(&note[..length]).is_empty(), "cut off after {length} bytes");
        }
    }
}
