//! Relaxation of sections whose only variable items are jumps within the section and alignments: code.
//!
//! The walks are those of [`crate::relax`], over packed items. After the first walk most jumps are settled: they are
//! long, or nothing between them and their targets can grow enough. Those become fixed bytes, and the walks that
//! follow are over the few that are left.

use alloc::vec::Vec;

use crate::relax::{MOST_PASSES, first_padding, jump_size, padding, short_reaches};
use crate::section::{Item, ItemKind};
use crate::symbol::{Place, SectionId};
use crate::unit::Unit;

/// A jump or an alignment.
#[derive(Clone, Copy)]
struct Step {
    /// Where it is among the bytes whose number is fixed.
    offset: u64,
    size: u64,
    /// Its number among the section's items.
    item: u32,
    kind: StepKind,
}

#[derive(Clone, Copy)]
enum StepKind {
    Align {
        align: u64,
        most: u64,
    },
    Short {
        opcode: u8,
        /// The target among the fixed bytes, and how many steps are before it.
        target: i64,
        steps: u32,
        /// No alignment lies between.
        same_region: bool,
        /// The target is a label, with nothing added.
        plain: bool,
    },
    Long,
}

/// The steps of a section.
pub(crate) struct Walk {
    section: SectionId,
    steps: Vec<Step>,
    /// How much the steps before each step take; one more entry than steps.
    before: Vec<u64>,
}

impl Walk {
    /// `None` where a section has other items, or jumps whose targets are no labels.
    pub(crate) fn plan(unit: &Unit, id: SectionId) -> Option<Self> {
        let section = &unit.sections[id as usize];
        let mut regions = Vec::with_capacity(section.items.len() + 1);
        let mut region = 0u32;
        for item in &section.items {
            regions.push(region);
            match item.kind {
                ItemKind::Align { .. } => region += 1,
                ItemKind::Jump { .. } => {}
                _ => return None,
            }
        }
        regions.push(region);
        let mut walk = Self {
            section: id,
            steps: Vec::with_capacity(section.items.len()),
            before: Vec::with_capacity(section.items.len() + 1),
        };
        let mut grown = 0;
        for (index, item) in section.items.iter().enumerate() {
            walk.before.push(grown);
            let (size, kind) = match item.kind {
                ItemKind::Align { align, most, .. } => (
                    first_padding(item.offset + grown, align, most),
                    StepKind::Align { align, most },
                ),
                ItemKind::Jump { opcode, target, .. } if unit.stays_here(id, &target) => {
                    if target.minus != 0 || target.tree != 0 {
                        return None;
                    }
                    let Place::Label { offset, item, .. } = unit.symbols.get(target.plus).place else {
                        return None;
                    };
                    let kind = StepKind::Short {
                        opcode,
                        target: offset as i64 + target.addend,
                        steps: item,
                        same_region: regions[item as usize] == regions[index],
                        plain: target.addend == 0,
                    };
                    (jump_size(opcode, false), kind)
                }
                ItemKind::Jump { opcode, .. } => (jump_size(opcode, true), StepKind::Long),
                _ => return None,
            };
            walk.steps.push(Step {
                offset: item.offset,
                size,
                item: index as u32,
                kind,
            });
            grown += size;
        }
        walk.before.push(grown);
        Some(walk)
    }

    /// Gives every item of the section its size.
    pub(crate) fn relax(mut self, unit: &mut Unit) {
        let items = &mut unit.sections[self.section as usize].items;
        if self.pass() {
            self.settle(items);
            for _ in 1..MOST_PASSES {
                if !self.pass() {
                    break;
                }
            }
        }
        for step in &self.steps {
            step.store(&mut items[step.item as usize]);
        }
        let section = &mut unit.sections[self.section as usize];
        section.growth = Vec::with_capacity(section.items.len() + 1);
        let mut grown = 0;
        section.growth.push(0);
        for item in &section.items {
            grown += item.size;
            section.growth.push(grown);
        }
    }

    /// One walk. Returns whether anything changed.
    fn pass(&mut self) -> bool {
        let mut stretch = 0i64;
        let mut changed = false;
        for index in 0..self.steps.len() {
            self.before[index] = self.before[index].wrapping_add_signed(stretch);
            let step = &mut self.steps[index];
            let position = step.offset + self.before[index];
            let size = match step.kind {
                StepKind::Long => continue,
                StepKind::Align { align, most } => padding(position, align, most),
                StepKind::Short {
                    opcode,
                    target,
                    steps,
                    same_region,
                    ..
                } => {
                    let to = target + self.before[steps as usize] as i64;
                    let ahead = steps as usize > index;
                    if short_reaches(to, position, ahead, same_region, stretch) {
                        continue;
                    }
                    step.kind = StepKind::Long;
                    jump_size(opcode, true)
                }
            };
            if size != step.size {
                changed = true;
                stretch += size as i64 - step.size as i64;
                step.size = size;
            }
        }
        if let Some(last) = self.before.last_mut() {
            *last = last.wrapping_add_signed(stretch);
        }
        changed
    }

    /// Takes out the jumps whose size is final, and counts them among the fixed bytes.
    ///
    /// A short jump that reaches its target when everything between has its largest size stays short: no walk takes
    /// the distance to be larger. That long ones stay long is the rule.
    fn settle(&mut self, items: &mut [Item]) {
        let count = self.steps.len();
        let mut largest = Vec::with_capacity(count + 1);
        let mut sum = 0u64;
        for step in &self.steps {
            largest.push(sum);
            sum = sum.saturating_add(step.largest());
        }
        largest.push(sum);
        // Steps and fixed bytes before each step, once the settled ones are out.
        let mut kept = Vec::with_capacity(count + 1);
        let mut fixed = Vec::with_capacity(count + 1);
        let (mut steps, mut bytes) = (0u32, 0u64);
        let mut open = Vec::new();
        for (index, step) in self.steps.iter().enumerate() {
            kept.push(steps);
            fixed.push(bytes);
            let settled = match step.kind {
                StepKind::Long => true,
                StepKind::Align { .. } => false,
                StepKind::Short {
                    target, steps, plain, ..
                } => {
                    let (from, to) = (largest[index + 1], largest[steps as usize]);
                    let between = if steps as usize > index { to - from } else { from - to };
                    let distance = (target - (step.offset as i64)).unsigned_abs();
                    plain && between.saturating_add(distance) <= 120
                }
            };
            if settled {
                step.store(&mut items[step.item as usize]);
                bytes += step.size;
            } else {
                open.push(*step);
                steps += 1;
            }
        }
        kept.push(steps);
        fixed.push(bytes);
        let mut before = Vec::with_capacity(open.len() + 1);
        let mut grown = 0;
        for step in &mut open {
            before.push(grown);
            grown += step.size;
            let at = |item: u32| fixed[item as usize];
            step.offset += at(step.item);
            if let StepKind::Short { target, steps, .. } = &mut step.kind {
                *target += at(*steps) as i64;
                *steps = kept[*steps as usize];
            }
        }
        before.push(grown);
        (self.steps, self.before) = (open, before);
    }
}

impl Step {
    /// The most bytes that it can come to have.
    fn largest(&self) -> u64 {
        match self.kind {
            StepKind::Long => self.size,
            StepKind::Align { align, most: 0 } => align - 1,
            StepKind::Align { align, most } => (align - 1).min(most),
            StepKind::Short { opcode, .. } => jump_size(opcode, true),
        }
    }

    fn store(&self, item: &mut Item) {
        item.size = self.size;
        if let ItemKind::Jump { long, .. } = &mut item.kind {
            *long = matches!(self.kind, StepKind::Long);
        }
    }
}
