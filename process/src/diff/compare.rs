//! Whether two functions do the same: instruction by instruction, and with all that is theirs alone.
//!
//! Constants, strings, and pieces of functions have no meaning of their own. Two references to such are the same if what
//! is there is the same, and so on; what leads back to a pair that is being compared is taken to be the same.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Range;

use iced_x86::{Decoder, DecoderOptions, Formatter as _, GasFormatter, Instruction};
use object::elf;

use super::lines::Lines;
use super::object::{CompareObject, Field, Meant, Role};
use crate::retarget::{base_name, numbered};

/// Something that is compared: one of each object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Pair {
    Code(usize, usize),
    Constant(usize, usize),
    Unnamed((usize, u64), (usize, u64)),
}

/// How two functions compare.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    Same,
    /// Numbers of source lines differ, as the debug information of both says.
    Lines,
    /// The first difference, and whether nothing but constants in instructions differ, all by the same.
    Different(String, bool),
}

/// A comparison of one pair, without what it refers to.
#[derive(Debug, Clone)]
struct Look {
    difference: Option<String>,
    /// By how much constants differ, if nothing else does.
    shifts: BTreeSet<i64>,
    lines: bool,
    further: Vec<Pair>,
}

pub(crate) struct Comparison<'o, 'a> {
    pub(crate) old: &'o CompareObject<'a>,
    pub(crate) new: &'o CompareObject<'a>,
    lines: Option<(Lines, Lines)>,
    /// Variables of functions of the new object, with those of the old one.
    pub(crate) statics: HashMap<usize, usize>,
    /// Variables of the new object of which it is not clear which they are.
    pub(crate) unclear: BTreeSet<usize>,
    looks: HashMap<Pair, Look>,
    /// The old object's definitions.
    named: HashMap<(&'o str, bool, Role), usize>,
}

impl<'o, 'a> Comparison<'o, 'a> {
    pub(crate) fn new(old: &'o CompareObject<'a>, new: &'o CompareObject<'a>) -> Self {
        let lines = Lines::read(old).zip(Lines::read(new));
        let mut comparison = Comparison {
            old,
            new,
            lines,
            statics: HashMap::new(),
            unclear: BTreeSet::new(),
            looks: HashMap::new(),
            named: HashMap::new(),
        };
        for (index, symbol, role) in old.definitions() {
            let key = (symbol.name.as_str(), symbol.local, role);
            comparison.named.entry(key).or_insert(index);
        }
        comparison.match_statics();
        comparison
    }

    /// The old object's function or constant of the same name.
    pub(crate) fn before(&self, index: usize) -> Option<usize> {
        if let Some(found) = self.statics.get(&index) {
            return Some(*found);
        }
        if self.unclear.contains(&index) {
            return None;
        }
        let symbol = &self.new.symbols[index];
        let key = (symbol.name.as_str(), symbol.local, self.new.role(index)?);
        self.named.get(&key).copied()
    }

    /// Compares two functions.
    pub(crate) fn functions(&mut self, old: usize, new: usize) -> Outcome {
        self.compare(Pair::Code(old, new))
    }

    /// Whether two constants are the same, with all that they refer to.
    pub(crate) fn same_constants(&mut self, old: usize, new: usize) -> bool {
        self.compare(Pair::Constant(old, new)) == Outcome::Same
    }

    fn compare(&mut self, first: Pair) -> Outcome {
        let mut open = vec![first];
        let mut seen = BTreeSet::from([order(first)]);
        let mut lines = false;
        let mut shifts: BTreeSet<i64> = BTreeSet::new();
        let mut constants = None;
        while let Some(pair) = open.pop() {
            if !self.looks.contains_key(&pair) {
                let look = self.look(pair);
                self.looks.insert(pair, look);
            }
            let look = &self.looks[&pair];
            lines |= look.lines;
            if let Some(difference) = &look.difference {
                let text = if pair == first {
                    difference.clone()
                } else {
                    format!("{}, which it uses: {difference}", self.name_of(pair))
                };
                if look.shifts.is_empty() {
                    return Outcome::Different(text, false);
                }
                shifts.extend(&look.shifts);
                constants.get_or_insert(text);
            }
            open.extend(look.further.iter().filter(|pair| seen.insert(order(**pair))));
        }
        match constants {
            Some(text) => Outcome::Different(text, shifts.len() == 1),
            None if lines => Outcome::Lines,
            None => Outcome::Same,
        }
    }

    fn name_of(&self, pair: Pair) -> String {
        match pair {
            Pair::Code(_, new) | Pair::Constant(_, new) => self.new.symbols[new].name.clone(),
            Pair::Unnamed(_, (section, offset)) => {
                format!("what is at {}+{offset:#x}", self.new.sections[section].name)
            }
        }
    }

    fn look(&self, pair: Pair) -> Look {
        match pair {
            Pair::Code(old, new) => self.look_at_code(old, new),
            Pair::Constant(old, new) => {
                let place = |object: &CompareObject<'_>, index: usize| object.symbols[index].section.unwrap_or(0);
                let (a, b) = (self.old.extent(old), self.new.extent(new));
                let sizes = (a.end - a.start, b.end - b.start);
                let mut look = self.look_at_data((place(self.old, old), a), (place(self.new, new), b));
                if sizes.0 != sizes.1 {
                    look.difference = Some(format!("{} bytes become {}", sizes.0, sizes.1));
                }
                look
            }
            Pair::Unnamed(old, new) => {
                let ranges = (self.old.unnamed(old.0, old.1), self.new.unnamed(new.0, new.1));
                self.look_at_data((old.0, ranges.0), (new.0, ranges.1))
            }
        }
    }

    /// Compares data: bytes, and what is referred to. What lies behind the end of the shorter one is padding if it is
    /// zeros.
    fn look_at_data(&self, old: (usize, Range<u64>), new: (usize, Range<u64>)) -> Look {
        let mut look = Look::same();
        let (a, b) = (self.old.bytes(old.0, &old.1), self.new.bytes(new.0, &new.1));
        let fields = (
            self.old.fields(old.0, old.1.clone()),
            self.new.fields(new.0, new.1.clone()),
        );
        let text = is_text(self.old, old.0) && is_text(self.new, new.0);
        let shown = |bytes: &[u8]| {
            format!(
                "{:?}",
                String::from_utf8_lossy(bytes.strip_suffix(&[0]).unwrap_or(bytes))
            )
        };
        let (mut masked, mut other) = (a.to_vec(), b.to_vec());
        mask(&mut masked, old.1.start, &fields.0);
        mask(&mut other, new.1.start, &fields.1);
        if text && is_own_path(self.old, a) && is_own_path(self.new, b) {
            return look;
        }
        if text && a != b {
            look.difference = Some(format!("{} becomes {}", shown(a), shown(b)));
        } else if let Some(at) = masked.iter().zip(&other).position(|(a, b)| a != b) {
            look.difference = Some(format!("at +{at:#x}: {:#04x} becomes {:#04x}", masked[at], other[at]));
        } else if more_than_padding(&masked, &other) || fields.0.len() != fields.1.len() {
            look.difference = Some("its size differs".into());
        } else {
            for (one, two) in fields.0.iter().zip(&fields.1) {
                let same_place = one.at - old.1.start == two.at - new.1.start;
                if !same_place || !self.same_reference(one, two, None, &mut look.further) {
                    let (from, to) = (self.describe(self.old, one), self.describe(self.new, two));
                    look.difference = Some(format!("at +{:#x}: {from} becomes {to}", one.at - old.1.start));
                    break;
                }
            }
        }
        look
    }

    fn look_at_code(&self, old: usize, new: usize) -> Look {
        let mut look = Look::same();
        let (from, to) = (self.old.extent(old), self.new.extent(new));
        let sections = (
            self.old.symbols[old].section.unwrap_or(0),
            self.new.symbols[new].section.unwrap_or(0),
        );
        let one = self.old.instructions(sections.0, &from);
        let two = self.new.instructions(sections.1, &to);
        for (a, b) in one.iter().zip(&two) {
            let fields = (self.old.fields_of(sections.0, a), self.new.fields_of(sections.1, b));
            let bytes = (
                masked(self.old, sections.0, a, &fields.0),
                masked(self.new, sections.1, b, &fields.1),
            );
            let same_fields = fields.0.len() == fields.1.len()
                && fields.0.iter().zip(&fields.1).all(|(one, two)| {
                    let same_place = one.at - a.ip() == two.at - b.ip();
                    same_place && self.same_reference(one, two, Some((old, new)), &mut look.further)
                });
            let at = a.ip() - from.start;
            if same_fields && bytes.0 == bytes.1 && at == b.ip() - to.start {
                continue;
            }
            let text = || {
                format!(
                    "at +{at:#x}: {} becomes {}",
                    self.instruction(self.old, a, &fields.0),
                    self.instruction(self.new, b, &fields.1)
                )
            };
            let constants = constant_of(a, &bytes.0).zip(constant_of(b, &bytes.1));
            match constants {
                Some(((from, rest), (to, other))) if same_fields && rest == other && a.code() == b.code() => {
                    if self.are_lines((sections.0, a.ip(), from), (sections.1, b.ip(), to)) {
                        look.lines = true;
                        continue;
                    }
                    look.difference.get_or_insert_with(text);
                    look.shifts.insert(to.wrapping_sub(from));
                }
                _ => {
                    look.difference = Some(text());
                    look.shifts.clear();
                    return look;
                }
            }
        }
        if one.len() != two.len() {
            look.difference = Some(format!("{} instructions become {}", one.len(), two.len()));
            look.shifts.clear();
        }
        look
    }

    /// Whether two constants are the numbers of the source lines that their instructions are of.
    fn are_lines(&self, old: (usize, u64, i64), new: (usize, u64, i64)) -> bool {
        self.lines
            .as_ref()
            .is_some_and(|(before, after)| before.is_line(old.0, old.1, old.2) && after.is_line(new.0, new.1, new.2))
    }

    /// Whether two fields refer to the same. What that depends on is added to `further`.
    fn same_reference(&self, old: &Field, new: &Field, own: Option<(usize, usize)>, further: &mut Vec<Pair>) -> bool {
        if form(old) != form(new) {
            return false;
        }
        match (old.meant, new.meant) {
            (Meant::Name(a, distance), Meant::Name(b, other)) => {
                self.old.symbols[a].name == self.new.symbols[b].name && distance == other
            }
            (Meant::Name(a, distance), Meant::Definition(b, other))
            | (Meant::Definition(a, distance), Meant::Name(b, other)) => {
                self.old.symbols[a].name == self.new.symbols[b].name && distance == other
            }
            (Meant::Definition(a, distance), Meant::Definition(b, other)) => {
                distance == other && (own == Some((a, b)) || self.same_definition(a, b, further))
            }
            (Meant::Unnamed(of, a), Meant::Unnamed(other, b)) => {
                further.push(Pair::Unnamed((of, a), (other, b)));
                true
            }
            _ => false,
        }
    }

    fn same_definition(&self, a: usize, b: usize, further: &mut Vec<Pair>) -> bool {
        let (one, two) = (&self.old.symbols[a], &self.new.symbols[b]);
        let base = |name: &'_ str| numbered(name).map_or_else(|| name.to_owned(), |(base, _)| base.to_owned());
        match (self.old.role(a), self.new.role(b)) {
            (Some(Role::Private), Some(Role::Private)) => {
                further.push(Pair::Code(a, b));
                true
            }
            (Some(Role::Constant), Some(Role::Constant)) if base(&one.name) == base(&two.name) => {
                further.push(Pair::Constant(a, b));
                true
            }
            (Some(Role::State), Some(Role::State)) if two.local && numbered(&two.name).is_some() => {
                self.statics.get(&b) == Some(&a)
            }
            _ => one.name == two.name && one.local == two.local,
        }
    }

    fn describe(&self, object: &CompareObject<'_>, field: &Field) -> String {
        let distance = |distance: i64| {
            if distance == 0 {
                String::new()
            } else {
                format!("{distance:+#x}")
            }
        };
        match field.meant {
            Meant::Name(symbol, behind) | Meant::Definition(symbol, behind) => {
                format!("{}{}", object.symbols[symbol].name, distance(behind))
            }
            Meant::Unnamed(section, offset) => {
                let range = object.unnamed(section, offset);
                let bytes = object.bytes(section, &range);
                if is_text(object, section) {
                    return format!(
                        "{:?}",
                        String::from_utf8_lossy(bytes.strip_suffix(&[0]).unwrap_or(bytes))
                    );
                }
                let few: Vec<String> = bytes.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
                format!("{}+{offset:#x} = {}", object.sections[section].name, few.join(" "))
            }
        }
    }

    fn instruction(&self, object: &CompareObject<'_>, instruction: &Instruction, fields: &[Field]) -> String {
        let mut text = String::new();
        GasFormatter::new().format(instruction, &mut text);
        let refers: Vec<String> = fields.iter().map(|field| self.describe(object, field)).collect();
        if refers.is_empty() {
            return format!("`{text}`");
        }
        format!("`{text}` ({})", refers.join(", "))
    }

    /// Finds which static variable of a function is which: compilers number those of one name in each object anew. The
    /// functions that use them tell.
    fn match_statics(&mut self) {
        let (old, new) = (groups(self.old), groups(self.new));
        for (base, after) in new {
            let Some(before) = old.get(&base) else { continue };
            if let ([(one, _)], [(other, _)]) = (before.as_slice(), after.as_slice()) {
                self.statics.insert(*other, *one);
                continue;
            }
            for (index, users) in &after {
                let same: Vec<usize> = before
                    .iter()
                    .filter(|(_, its)| its == users)
                    .map(|(index, _)| *index)
                    .collect();
                let twins = after.iter().filter(|(_, its)| its == users).count();
                match same.as_slice() {
                    [only] if twins == 1 => {
                        self.statics.insert(*index, *only);
                    }
                    _ => {
                        self.unclear.insert(*index);
                    }
                }
            }
        }
    }
}

impl Look {
    fn same() -> Self {
        Look {
            difference: None,
            shifts: BTreeSet::new(),
            lines: false,
            further: Vec::new(),
        }
    }
}

/// Numbered static variables by the name without the number, each with the functions that use it.
type Groups = BTreeMap<String, Vec<(usize, BTreeSet<String>)>>;

fn groups(object: &CompareObject<'_>) -> Groups {
    let mut found: BTreeMap<usize, BTreeSet<String>> = BTreeMap::new();
    for (index, symbol, role) in object.definitions() {
        if role == Role::State && symbol.local && numbered(&symbol.name).is_some() {
            found.entry(index).or_default();
        }
    }
    if !found.is_empty() {
        for (index, symbol, role) in object.definitions() {
            if !matches!(role, Role::Function | Role::Private) {
                continue;
            }
            let base = symbol.name.split('.').next().unwrap_or_default().to_owned();
            for field in object.fields(symbol.section.unwrap_or(0), object.extent(index)) {
                if let Meant::Definition(used, _) = field.meant
                    && let Some(users) = found.get_mut(&used)
                {
                    users.insert(base.clone());
                }
            }
        }
    }
    let mut groups = Groups::new();
    for (index, users) in found {
        let base = numbered(&object.symbols[index].name).map_or("", |(base, _)| base);
        groups.entry(base.to_owned()).or_default().push((index, users));
    }
    groups
}

/// What a field is like: displacements that assemblers and linkers work out are the same.
fn form(field: &Field) -> (elf::RelocationType, u8) {
    let kind = field
        .relocation
        .map_or(elf::R_X86_64_PC32, |relocation| relocation.kind);
    let kind = if kind == elf::R_X86_64_PLT32 {
        elf::R_X86_64_PC32
    } else {
        kind
    };
    (kind, field.width)
}

fn is_text(object: &CompareObject<'_>, section: usize) -> bool {
    object.sections[section].flags.contains(elf::SHF_STRINGS)
}

/// Whether a text is the path of the object's source, which need not lie in the same folder.
fn is_own_path(object: &CompareObject<'_>, text: &[u8]) -> bool {
    let text = std::str::from_utf8(text.strip_suffix(&[0]).unwrap_or(text));
    text.is_ok_and(|text| Some(base_name(text)) == object.source.as_deref())
}

/// Whether what the longer one has behind the shorter one's end is more than zeros.
pub(super) fn more_than_padding(one: &[u8], other: &[u8]) -> bool {
    let common = one.len().min(other.len());
    let mut rest = one[common..].iter().chain(&other[common..]);
    rest.any(|byte| *byte != 0)
}

fn mask(bytes: &mut [u8], start: u64, fields: &[Field]) {
    for field in fields {
        let at = usize::try_from(field.at - start).unwrap_or(usize::MAX);
        let end = bytes.len().min(at.saturating_add(usize::from(field.width)));
        if let Some(bytes) = bytes.get_mut(at..end) {
            bytes.fill(0);
        }
    }
}

/// An instruction without what it refers to.
fn masked(object: &CompareObject<'_>, section: usize, instruction: &Instruction, fields: &[Field]) -> Vec<u8> {
    let mut bytes = object
        .bytes(section, &(instruction.ip()..instruction.next_ip()))
        .to_vec();
    mask(&mut bytes, instruction.ip(), fields);
    bytes
}

/// An instruction's constant, and its bytes without that.
fn constant_of(instruction: &Instruction, bytes: &[u8]) -> Option<(i64, Vec<u8>)> {
    let mut decoder = Decoder::with_ip(64, bytes, instruction.ip(), DecoderOptions::NONE);
    let decoded = decoder.decode();
    let offsets = decoder.get_constant_offsets(&decoded);
    if !offsets.has_immediate() || offsets.has_immediate2() {
        return None;
    }
    let range = offsets.immediate_offset()..offsets.immediate_offset() + offsets.immediate_size();
    let mut wide = [0; 8];
    wide[..range.len()].copy_from_slice(bytes.get(range.clone())?);
    let mut rest = bytes.to_vec();
    rest[range].fill(0);
    Some((i64::from_le_bytes(wide), rest))
}

fn order(pair: Pair) -> (u8, [u64; 4]) {
    match pair {
        Pair::Code(a, b) => (0, [a as u64, b as u64, 0, 0]),
        Pair::Constant(a, b) => (1, [a as u64, b as u64, 0, 0]),
        Pair::Unnamed((a, b), (c, d)) => (2, [a as u64, b, c as u64, d]),
    }
}
