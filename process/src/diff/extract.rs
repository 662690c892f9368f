//! Writes what has changed as an object of its own: changed functions, and of the rest only what they need and the
//! process does not have. Everything else is the process's own, by its name.
//!
//! What is kept is kept as ranges of the old sections, each of which becomes a section. Ranges that overlap are one, so
//! that distances inside of it stay.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::Range;

use object::elf;

use super::compare::Comparison;
use super::object::{CompareObject, Field, Meant, Relocation, Role};
use super::output::Output;
use crate::retarget::numbered;

/// What a reference becomes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Bound {
    /// The process's definition of this name, and how far behind it.
    Process(String, i64),
    /// A symbol that no object of this patch defines, or a common one.
    Name(usize, i64),
    /// A part that the patch has: a section and an offset in it.
    Part(usize, i64),
}

pub(crate) struct Extract<'c, 'o, 'a> {
    comparison: &'c mut Comparison<'o, 'a>,
    pub(super) new: &'o CompareObject<'a>,
    /// Functions that the patch replaces or adds.
    pub(super) changed: HashSet<usize>,
    /// What the process has as well: constants and variables, by the name that it has there.
    pub(super) shared: HashMap<usize, String>,
    pub(super) kept: BTreeMap<usize, Vec<Range<u64>>>,
    /// The ranges of kept bytes whose references count.
    pub(super) live: BTreeMap<usize, Vec<Range<u64>>>,
    /// Records of functions that are kept: section, and range.
    pub(super) records: Vec<(usize, Record)>,
}

/// A record of unwind information.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) range: Range<u64>,
    /// Where the record is that it refers to; `None` for those that others refer to.
    pub(super) common: Option<u64>,
}

impl<'c, 'o, 'a> Extract<'c, 'o, 'a> {
    pub(crate) fn new(comparison: &'c mut Comparison<'o, 'a>, changed: HashSet<usize>) -> Self {
        let new = comparison.new;
        let mut extract = Extract {
            comparison,
            new,
            changed,
            shared: HashMap::new(),
            kept: BTreeMap::new(),
            live: BTreeMap::new(),
            records: Vec::new(),
        };
        for (index, _, role) in new.definitions() {
            if matches!(role, Role::State | Role::Constant)
                && let Some(name) = extract.find_shared(index)
            {
                extract.shared.insert(index, name);
            }
        }
        extract
    }

    /// The new object. `None` if the old one's structure does not allow it.
    pub(crate) fn write(mut self) -> Option<Vec<u8>> {
        let mut roots: Vec<usize> = self.changed.iter().copied().collect();
        roots.sort_unstable();
        let mut open = Vec::new();
        for root in roots {
            let section = self.new.symbols[root].section?;
            self.keep(section, self.new.extent(root), &mut open);
        }
        self.follow(open)?;
        Output::new(&self).finish(&self)
    }

    /// Keeps all that what is kept refers to.
    fn follow(&mut self, mut open: Vec<(usize, Range<u64>)>) -> Option<()> {
        let records = records(self.new)?;
        loop {
            while let Some((section, range)) = open.pop() {
                for field in self.new.fields(section, range) {
                    self.keep_for(section, &field, &mut open);
                }
            }
            for (section, record) in &records {
                let entry = (*section, record.clone());
                if !self.records.contains(&entry) && self.describes_kept(*section, record) {
                    self.records.push(entry);
                    let common = records
                        .iter()
                        .find(|(of, other)| of == section && Some(other.range.start) == record.common);
                    let ranges = common
                        .map(|(_, common)| common.range.clone())
                        .into_iter()
                        .chain([record.range.clone()]);
                    for row in ranges.flat_map(|range| self.new.relocations(*section, &range)) {
                        let field = self.new.plain_field(*row);
                        self.keep_for(*section, &field, &mut open);
                    }
                }
            }
            if open.is_empty() {
                return Some(());
            }
        }
    }

    /// Whether a record is of a function that is kept.
    fn describes_kept(&self, section: usize, record: &Record) -> bool {
        const START: u64 = 8;
        if record.common.is_none() {
            return false;
        }
        let start = record.range.start + START;
        let rows = self.new.relocations(section, &(start..start + 1));
        rows.first().is_some_and(|row| {
            let (of, offset) = self.raw(row);
            of.is_some_and(|of| self.chunk(of, offset).is_some())
        })
    }

    /// Where a relocation leads, without regard of what is there.
    fn raw(&self, row: &Relocation) -> (Option<usize>, i64) {
        let symbol = &self.new.symbols[row.symbol];
        (symbol.section, row.addend.wrapping_add_unsigned(symbol.value))
    }

    fn chunk(&self, section: usize, offset: i64) -> Option<&Range<u64>> {
        let offset = u64::try_from(offset).ok()?;
        self.kept.get(&section)?.iter().find(|range| range.contains(&offset))
    }

    fn keep_for(&mut self, section: usize, field: &Field, open: &mut Vec<(usize, Range<u64>)>) {
        let Bound::Part(of, _) = self.bind(field) else { return };
        let range = match field.meant {
            Meant::Definition(index, _) => self.new.extent(index),
            Meant::Unnamed(_, offset) => self.new.unnamed(of, offset),
            Meant::Name(..) => return,
        };
        let flags = self.new.sections[of].flags;
        let whole =
            matches!(field.meant, Meant::Unnamed(..)) && !flags.contains(elf::SHF_MERGE) && !self.new.is_code(of);
        if whole {
            // Where a part without a name ends is a guess; all bytes stay, and what this one and the next refer to.
            let next = self.new.unnamed(of, range.end);
            self.insert(of, 0..self.new.sections[of].size);
            self.revive(of, range, open);
            self.revive(of, next, open);
        } else if of == section && field.relocation.is_none() && field.width < 4 {
            // A short jump out of the function: the distance has to stay.
            let around = range.start.min(field.at)..range.end.max(field.at + 1);
            self.keep(of, around, open);
        } else {
            self.keep(of, range, open);
        }
    }

    fn keep(&mut self, section: usize, range: Range<u64>, open: &mut Vec<(usize, Range<u64>)>) {
        self.insert(section, range.clone());
        self.revive(section, range, open);
    }

    fn revive(&mut self, section: usize, range: Range<u64>, open: &mut Vec<(usize, Range<u64>)>) {
        let live = self.live.entry(section).or_default();
        if !range.is_empty() && !live.contains(&range) {
            live.push(range.clone());
            open.push((section, range));
        }
    }

    /// Adds a range, and joins it with those that it overlaps.
    fn insert(&mut self, section: usize, mut range: Range<u64>) {
        let kept = self.kept.entry(section).or_default();
        kept.retain(|other| {
            let overlaps = other.start < range.end && range.start < other.end;
            if overlaps {
                range = range.start.min(other.start)..range.end.max(other.end);
            }
            !overlaps
        });
        kept.push(range);
        kept.sort_by_key(|range| range.start);
    }

    /// What a reference becomes.
    pub(super) fn bind(&self, field: &Field) -> Bound {
        let (index, distance) = match field.meant {
            Meant::Name(symbol, distance) => return Bound::Name(symbol, distance),
            Meant::Unnamed(section, offset) => return Bound::Part(section, offset.cast_signed()),
            Meant::Definition(index, distance) => (index, distance),
        };
        let symbol = &self.new.symbols[index];
        let process = match self.new.role(index) {
            _ if self.changed.contains(&index) => None,
            Some(Role::Function) if distance == 0 => self.comparison.before(index).map(|old| self.process_name(old)),
            Some(Role::State | Role::Constant) => self.shared.get(&index).cloned(),
            _ => None,
        };
        let place = distance.wrapping_add_unsigned(symbol.value);
        process.map_or(Bound::Part(symbol.section.unwrap_or(0), place), |name| {
            Bound::Process(name, distance)
        })
    }

    fn find_shared(&mut self, index: usize) -> Option<String> {
        let old = self.comparison.before(index)?;
        let symbol = &self.new.symbols[index];
        let same = match self.new.role(index)? {
            // Tables of virtual functions and the like: the process has one, and finds types by its address.
            Role::State if symbol.weak => true,
            Role::State => super::same_variable(self.comparison.old, old, self.new, index),
            Role::Constant if symbol.name.starts_with("DW.ref.") || numbered(&symbol.name).is_some() => false,
            _ => self.comparison.same_constants(old, index),
        };
        same.then(|| self.process_name(old))
    }

    /// What the resolver is asked for: a static definition's name has its source file.
    fn process_name(&self, old: usize) -> String {
        let symbol = &self.comparison.old.symbols[old];
        match (&self.comparison.old.source, symbol.local) {
            (Some(source), true) => format!("{}#{source}", symbol.name),
            _ => symbol.name.clone(),
        }
    }
}

/// The records of unwind information (LSB, section 10.6.1): each with its length in front of it.
pub(super) fn records(object: &CompareObject<'_>) -> Option<Vec<(usize, Record)>> {
    let mut found = Vec::new();
    for (index, section) in object.sections.iter().enumerate() {
        if section.name != ".eh_frame" {
            continue;
        }
        let word = |at: usize| Some(u32::from_le_bytes(section.data.get(at..at + 4)?.try_into().ok()?));
        let mut at = 0;
        while let Some(length) = word(at).filter(|length| *length > 0) {
            let end = at + 4 + usize::try_from(length).ok()?;
            let back = word(at + 4)?;
            let common = match back {
                0 => None,
                _ => Some((at as u64 + 4).checked_sub(u64::from(back))?),
            };
            let range = at as u64..end as u64;
            found.push((index, Record { range, common }));
            at = end;
        }
    }
    Some(found)
}
