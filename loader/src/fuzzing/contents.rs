//! Where a linked case's sections and symbols are, and what of them must be as it was.

use std::collections::HashSet;

use super::model::Bound;
use super::ours::Ours;
use super::plan::SymbolPlanPlace;
use crate::relocation::{Need, Row};

/// Start, end and name.
type NamedRange = (u64, u64, String);

impl Ours<'_> {
    /// What is wrong with the addresses of sections and symbols.
    pub(super) fn misplaced(&self) -> Option<String> {
        let case = self.model.case;
        let expected: HashSet<_> = self.model.sections().collect();
        let placed: HashSet<_> = self.sections.keys().copied().collect();
        if expected != placed {
            return Some(format!("sections {placed:?} are placed, not {expected:?}"));
        }
        let mut ranges: Vec<NamedRange> = Vec::new();
        let mut block = Vec::new();
        let template = self.image.tls.map_or(0, |tls| tls.template);
        for ((object, at), address) in &self.sections {
            let plan = &case.object(*object).sections[*at];
            if plan.is_tls() {
                let offset = address.wrapping_sub(template);
                block.push((offset, offset + plan.size, plan.name.clone()));
                if plan.is_nobits() {
                    continue; // in each thread's block only
                }
            }
            if address % plan.align != 0 {
                return Some(format!(
                    "{} of object {object} at {address:#x} is not aligned",
                    plan.name
                ));
            }
            ranges.push((*address, address + plan.size, plan.name.clone()));
        }
        if let Some(wrong) = self.misplaced_symbol(&mut ranges, &mut block) {
            return Some(wrong);
        }
        if self.image.init != self.arrays(true) || self.image.fini != self.arrays(false) {
            return Some(format!("init {:x?} is not {:x?}", self.image.init, self.arrays(true)));
        }
        let records = self.sections.iter().filter_map(|((object, at), address)| {
            let plan = &case.object(*object).sections[*at];
            (plan.name == ".eh_frame").then_some((*address, plan.size))
        });
        let start = records.clone().map(|(address, _)| address).min();
        let expected = start.map(|start| (start, records.map(|(_, size)| size).sum::<u64>()));
        if self.image.eh_frame != expected {
            return Some(format!(
                "unwind records at {:x?}, not {expected:x?}",
                self.image.eh_frame
            ));
        }
        let tables = self.image.sections.iter().filter(|section| section.object.is_none());
        ranges.extend(tables.map(|table| (table.address, table.address + table.size, table.name.to_string())));
        if let (Some(tls), Some(end)) = (self.image.tls, block.iter().map(|range| range.1).max())
            && end > tls.size_bytes
        {
            return Some(format!(
                "the thread-local block has {} bytes, not {end}",
                tls.size_bytes
            ));
        }
        overlap(ranges).or_else(|| overlap(block))
    }

    /// A global symbol that is not where it should be. Adds what tentative definitions take of memory and of the
    /// thread-local block.
    fn misplaced_symbol(&self, ranges: &mut Vec<NamedRange>, block: &mut Vec<NamedRange>) -> Option<String> {
        for (name, bound) in &self.model.globals {
            let address = self.symbols.get(*name).copied();
            match bound {
                Bound::Common { size, align, tls, .. } => {
                    let Some(address) = address else {
                        return Some(format!("the image does not define {name}"));
                    };
                    if address % align.max(&1) != 0 {
                        return Some(format!("{name} at {address:#x} is not aligned"));
                    }
                    let ranges = if *tls { &mut *block } else { &mut *ranges };
                    ranges.push((address, address + size, (*name).to_owned()));
                }
                Bound::Section(object, symbol) => {
                    let SymbolPlanPlace::Section(at) = symbol.place else {
                        continue;
                    };
                    if !self.model.case.object(*object).sections[at].is_allocated() {
                        continue;
                    }
                    let expected = if self.canonical_plt(bound, symbol) {
                        None
                    } else {
                        Some(self.definition(bound, name))
                    };
                    if address.is_none() || (expected.is_some() && address != expected) {
                        return Some(format!("{name} is at {address:x?}, not at {expected:x?}"));
                    }
                }
                _ => {}
            }
        }
        None
    }

    /// A byte of a section that no relocation covers and that is not the object's.
    pub(super) fn changed_byte(&self) -> Option<String> {
        for place in self.model.sections() {
            let plan = &self.model.case.object(place.0).sections[place.1];
            let Some(&start) = self.sections.get(&place) else {
                continue;
            };
            if plan.is_nobits() {
                continue;
            }
            let Some(linked) = self.memory.read_image(start, plan.contents.len()) else {
                return Some(format!("{} is not among the contents", plan.name));
            };
            let mut free = vec![true; plan.contents.len()];
            for relocation in &plan.relocations {
                let Some(row) = Row::of(relocation.number) else {
                    continue;
                };
                // What the instruction before a relaxable field became, `meaning` has judged.
                let before = if row.need == Need::RelaxableGot { 2 } else { 0 };
                let at = relocation.offset as usize;
                free[at - before..at + usize::from(row.width)].fill(false);
            }
            let differs = |at: &usize| free[*at] && linked[*at] != plan.contents[*at];
            if let Some(at) = (0..free.len()).find(differs) {
                return Some(format!("{}+{at:#x} of object {} was changed", plan.name, place.0));
            }
        }
        None
    }
}

/// Two ranges that have a byte in common.
fn overlap(mut ranges: Vec<NamedRange>) -> Option<String> {
    ranges.sort();
    let overlap = ranges
        .windows(2)
        .find(|pair| pair[0].1 > pair[1].0 && pair[0].0 < pair[0].1 && pair[1].0 < pair[1].1);
    overlap.map(|pair| format!("{:x?} and {:x?} overlap", pair[0], pair[1]))
}
