//! Which functions and constants of two versions of an object are the same.
//!
//! A file that is compiled again gives all of its functions anew; what the user wants to know is which have changed. Two
//! are the same if their bytes are, and if what they refer to has the same names, or, where it has none, the same
//! contents.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::{Bound, Range};

use object::elf;
use object::read::elf::ElfFile64;
use object::{
    LittleEndian, Object as _, ObjectSection as _, ObjectSymbol as _, RelocationFlags, RelocationTarget, SectionIndex,
    SymbolKind,
};

type File<'data> = ElfFile64<'data, LittleEndian>;

/// The names of the functions and constants that are the same in both objects.
pub(super) fn unchanged(before: &[u8], after: &[u8]) -> BTreeSet<String> {
    let (Some(before), Some(after)) = (contents(before), contents(after)) else {
        return BTreeSet::new();
    };
    let same = after
        .into_iter()
        .filter(|(name, contents)| before.get(name) == Some(contents));
    same.map(|(name, _)| name).collect()
}

/// What functions and constants consist of, by name. `None` if the object cannot be read.
fn contents(object: &[u8]) -> Option<BTreeMap<String, Vec<u8>>> {
    let file = File::parse(object).ok()?;
    let places = Places::of(&file);
    let mut contents = BTreeMap::new();
    for symbol in file.symbols() {
        let (Some(section), Ok(name)) = (symbol.section_index(), symbol.name()) else {
            continue;
        };
        if matches!(symbol.kind(), SymbolKind::Text | SymbolKind::Data) && symbol.size() > 0 {
            let end = symbol.address().checked_add(symbol.size())?;
            contents.insert(name.to_owned(), places.describe(section, symbol.address()..end, 0)?);
        }
    }
    Some(contents)
}

/// How far references are followed through what has no name: a table of jumps, or of strings.
const DEPTH: usize = 3;

/// What there is in an object to refer to.
#[derive(Debug)]
struct Places<'file, 'data> {
    file: &'file File<'data>,
    /// The size and the name of what begins at a place of a section.
    named: BTreeMap<(usize, u64), (u64, String)>,
    /// Where something is referred to that has no name: it ends where the next thing begins.
    nameless: BTreeSet<(usize, u64)>,
}

impl<'file, 'data> Places<'file, 'data> {
    fn of(file: &'file File<'data>) -> Self {
        let mut named = BTreeMap::new();
        for symbol in file.symbols().filter(|symbol| symbol.size() > 0) {
            if let (Some(section), Ok(name)) = (symbol.section_index(), symbol.name()) {
                let place = (symbol.size(), without_number(name).to_owned());
                named.insert((section.0, symbol.address()), place);
            }
        }
        let relocations = file.sections().flat_map(|section| section.relocations());
        let nameless = relocations.filter_map(|(_, relocation)| match target(file, &relocation)? {
            Target::Place(section, at) => Some((section.0, at)),
            Target::Name(..) => None,
        });
        Places {
            file,
            named,
            nameless: nameless.collect(),
        }
    }

    /// The bytes of a range, and what is referred to from there.
    fn describe(&self, section: SectionIndex, range: Range<u64>, depth: usize) -> Option<Vec<u8>> {
        let section = self.file.section_by_index(section).ok()?;
        let bytes = usize::try_from(range.start).ok()?..usize::try_from(range.end).ok()?;
        let mut text = (range.end - range.start).to_le_bytes().to_vec();
        // What is not in the file is zero.
        text.extend(section.data().ok()?.get(bytes).unwrap_or_default());
        let relocations = section.relocations().filter(|(offset, _)| range.contains(offset));
        for (offset, relocation) in relocations {
            let RelocationFlags::Elf { r_type } = relocation.flags() else {
                continue;
            };
            text.extend((offset - range.start).to_le_bytes());
            text.extend(r_type.0.to_le_bytes());
            match target(self.file, &relocation) {
                Some(Target::Name(name, addend)) => text.extend(named(&name, addend)),
                Some(Target::Place(section, at)) => text.extend(self.describe_place(section, at, depth)?),
                None => text.extend(relocation.addend().to_le_bytes()),
            }
        }
        Some(text)
    }

    fn describe_place(&self, section: SectionIndex, at: u64, depth: usize) -> Option<Vec<u8>> {
        let place = (section.0, at);
        if let Some(((of, start), (size, name))) = self.named.range(..=place).next_back()
            && *of == section.0
            && at - start < *size
        {
            return Some(named(name, (at - start).cast_signed()));
        }
        let whole = self.file.section_by_index(section).ok()?;
        if depth == DEPTH {
            // Too much rather than too little.
            return Some(whole.data().ok()?.to_vec());
        }
        let size = whole.size();
        let after = (Bound::Excluded(place), Bound::Unbounded);
        let next = [
            self.named.range(after).next().map(|(next, _)| *next),
            self.nameless.range(after).next().copied(),
        ];
        let in_section = next.into_iter().flatten().filter(|(of, _)| *of == section.0);
        let end = in_section.map(|(_, start)| start).min().unwrap_or(size);
        self.describe(section, at..end.max(at), depth + 1)
    }
}

/// What a relocation refers to.
#[derive(Debug)]
enum Target {
    Name(String, i64),
    Place(SectionIndex, u64),
}

fn target(file: &File<'_>, relocation: &object::Relocation) -> Option<Target> {
    let RelocationTarget::Symbol(symbol) = relocation.target() else {
        return None;
    };
    let symbol = file.symbol_by_index(symbol).ok()?;
    let (section, addend) = (symbol.section_index(), relocation.addend());
    let name = symbol.name().ok().filter(|_| symbol.kind() != SymbolKind::Section);
    // A label of the compiler's has another number each time.
    if let Some(name) = name.filter(|name| section.is_none() || !name.starts_with(".L")) {
        return Some(Target::Name(without_number(name).to_owned(), addend));
    }
    // A displacement counts from the end of the field.
    let field = match relocation.flags() {
        RelocationFlags::Elf { r_type } if is_relative(r_type) => 4,
        _ => 0,
    };
    let at = symbol.address().cast_signed().wrapping_add(addend).wrapping_add(field);
    Some(Target::Place(section?, u64::try_from(at).ok()?))
}

fn named(name: &str, offset: i64) -> Vec<u8> {
    let mut text = name.as_bytes().to_vec();
    text.push(0);
    text.extend(offset.to_le_bytes());
    text
}

fn is_relative(kind: elf::RelocationType) -> bool {
    [
        elf::R_X86_64_PC32,
        elf::R_X86_64_PLT32,
        elf::R_X86_64_GOTPCREL,
        elf::R_X86_64_GOTPCRELX,
        elf::R_X86_64_REX_GOTPCRELX,
    ]
    .contains(&kind)
}

/// `count.12` is the variable `count` of some function, and the number is the compiler's.
fn without_number(name: &str) -> &str {
    name.rsplit_once('.')
        .filter(|(stem, digits)| !stem.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()))
        .map_or(name, |(stem, _)| stem)
}
