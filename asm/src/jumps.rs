//! Relaxation of sections whose only variable items are jumps within the section and alignments: code.
//!
//! The walks are those of [`crate::relax`], over packed items. After the first walk most jumps are settled: they are
//! long, or nothing between them and their targets can grow enough. Those become fixed bytes, and the walks that
//! follow are over the few that are left, and only where something moves.

use alloc::vec::Vec;

use crate::relax::{MOST_PASSES, jump_size, padding, short_reaches};
use crate::section::{Item, ItemKind, Section};
use crate::symbol::SectionId;
use crate::unit::Unit;

/// No section that is walked over here can come to be larger.
const LARGEST: u64 = 1 << 30;

/// A jump or an alignment.
#[derive(Clone, Copy)]
struct Step {
    /// Where it is among the bytes whose number is fixed.
    offset: u32,
    size: u32,
    /// Its number among the section's items.
    item: u32,
    kind: StepKind,
}

#[derive(Clone, Copy)]
enum StepKind {
    Align {
        power: u8,
        /// The most padding; 0 is no limit.
        most: u32,
    },
    Short {
        opcode: u8,
        /// No alignment lies between it and its target.
        same_region: bool,
        /// The target among the fixed bytes, and how many steps are before that.
        target: u32,
        steps: u32,
    },
    Long,
}

/// Steps of a block.
const BLOCK: usize = 64;

/// Steps that are walked over together, or not at all.
struct Block {
    /// The blocks that the targets of its jumps are in, itself included.
    first: u32,
    last: u32,
    /// The walk in which any of it moved last.
    moved: u32,
}

/// The steps of a section.
pub(crate) struct Walk {
    section: SectionId,
    steps: Vec<Step>,
    /// How much the steps before each step take; one more entry than steps.
    before: Vec<u32>,
}

impl Walk {
    /// `None` where a section has other items, or jumps whose targets are no labels.
    pub(crate) fn plan(unit: &Unit, id: SectionId) -> Option<Self> {
        let section = &unit.sections[id as usize];
        let regions = regions(section)?;
        let mut walk = Self {
            section: id,
            steps: Vec::with_capacity(section.items.len()),
            before: Vec::with_capacity(section.items.len() + 1),
        };
        let mut grown = 0;
        for (index, item) in section.items.iter().enumerate() {
            walk.before.push(grown);
            let offset = item.offset as u32;
            let (size, kind) = match item.kind {
                ItemKind::Align { power, most, .. } => {
                    let kind = StepKind::Align { power, most };
                    (padding((offset + grown).into(), power, most) as u32, kind)
                }
                ItemKind::Jump { opcode, target, .. } => {
                    let target = unit.symbols.value(target);
                    let label = unit.private_label(id, &target);
                    let stays = matches!(label, (Some(_), true)) || unit.stays_here(id, &target);
                    let kind = if stays {
                        let (Some((offset, item)), _) = label else {
                            return None;
                        };
                        if target.addend != 0 {
                            return None;
                        }
                        StepKind::Short {
                            opcode,
                            same_region: regions[item as usize] == regions[index],
                            target: offset as u32,
                            steps: item,
                        }
                    } else {
                        StepKind::Long
                    };
                    (jump_size(opcode, !stays) as u32, kind)
                }
                _ => return None,
            };
            grown += size;
            walk.steps.push(Step {
                offset,
                size,
                item: index as u32,
                kind,
            });
        }
        walk.before.push(grown);
        Some(walk)
    }

    /// Gives every item of the section its size.
    pub(crate) fn relax(mut self, unit: &mut Unit) {
        let section = &mut unit.sections[self.section as usize];
        let mut stretch = 0;
        let all = self.steps.len();
        if self.steps_in(0, all, &mut stretch) {
            self.settle(&mut section.items);
            let mut blocks = self.blocks();
            for number in 2..=MOST_PASSES {
                if !self.pass(number, &mut blocks) {
                    break;
                }
            }
        }
        for step in &self.steps {
            step.store(&mut section.items);
        }
        // The alignments are still among the steps, in their order.
        let mut alignments = self
            .steps
            .iter()
            .filter(|step| matches!(step.kind, StepKind::Align { .. }));
        section.growth = Vec::with_capacity(section.items.len() + 1);
        let mut grown = 0;
        section.growth.push(0);
        for item in &section.items {
            grown += match item.kind {
                ItemKind::Jump { opcode, long, .. } => jump_size(opcode, long),
                _ => alignments.next().map_or(0, |step| step.size.into()),
            };
            section.growth.push(grown);
        }
    }

    /// The steps in blocks, all of which have just moved.
    fn blocks(&self) -> Vec<Block> {
        let block = |steps: &[Step], number: usize| {
            let targets = steps.iter().filter_map(|step| match step.kind {
                StepKind::Short { steps, .. } => Some(steps / BLOCK as u32),
                _ => None,
            });
            let number = number as u32;
            let (first, last) = targets.fold((number, number), |(first, last), target| {
                (first.min(target), last.max(target))
            });
            let moved = 1;
            Block { first, last, moved }
        };
        // A target may be behind the last step, which may be the first of a block without steps.
        let whole = self.steps.chunks(BLOCK).chain(core::iter::once(&[][..]));
        whole.enumerate().map(|(number, steps)| block(steps, number)).collect()
    }

    /// One walk. Returns whether anything changed.
    ///
    /// Where nothing moved, neither here nor at any target, neither in this walk nor in the one before, a step finds
    /// what it found then.
    fn pass(&mut self, number: u32, blocks: &mut [Block]) -> bool {
        let mut stretch = 0;
        let mut changed = false;
        for index in 0..blocks.len() {
            let Block { first, last, .. } = blocks[index];
            let near = &blocks[first as usize..=last as usize];
            if stretch == 0 && near.iter().all(|block| block.moved + 1 < number) {
                continue;
            }
            let from = index * BLOCK;
            let to = (from + BLOCK).min(self.steps.len());
            let entered = stretch;
            let grew = from < to && self.steps_in(from, to, &mut stretch);
            changed |= grew;
            if grew || entered != 0 {
                blocks[index].moved = number;
            }
        }
        let last = self.steps.len();
        self.before[last] = self.before[last].wrapping_add_signed(stretch);
        changed
    }

    /// Walks over a part of the steps. Returns whether anything changed.
    fn steps_in(&mut self, from: usize, to: usize, carried: &mut i32) -> bool {
        let mut stretch = *carried;
        let mut changed = false;
        for index in from..to {
            let before = self.before[index].wrapping_add_signed(stretch);
            self.before[index] = before;
            let step = &mut self.steps[index];
            let position = step.offset + before;
            let size = match step.kind {
                StepKind::Long => continue,
                StepKind::Align { power, most } => padding(position.into(), power, most) as u32,
                StepKind::Short {
                    opcode,
                    same_region,
                    target,
                    steps,
                } => {
                    let to = i64::from(target) + i64::from(self.before[steps as usize]);
                    let ahead = steps as usize > index;
                    if short_reaches(to, position.into(), ahead, same_region, stretch.into()) {
                        continue;
                    }
                    step.kind = StepKind::Long;
                    jump_size(opcode, true) as u32
                }
            };
            if size != step.size {
                changed = true;
                stretch += size.wrapping_sub(step.size).cast_signed();
                step.size = size;
            }
        }
        *carried = stretch;
        changed
    }

    /// Takes out the jumps whose size is final, and counts them among the fixed bytes.
    ///
    /// A short jump that reaches its target when everything between has its largest size stays short: no walk takes
    /// the distance to be larger. That long ones stay long is the rule.
    fn settle(&mut self, items: &mut [Item]) {
        let count = self.steps.len();
        let mut largest = Vec::with_capacity(count + 1);
        let mut sum = 0u32;
        for step in &self.steps {
            largest.push(sum);
            sum += step.largest();
        }
        largest.push(sum);
        // For each step, how many steps and fixed bytes are before it once the settled ones are out.
        let mut moved = Vec::with_capacity(count + 1);
        let mut bytes = 0u32;
        let mut open: Vec<Step> = Vec::new();
        for (index, step) in self.steps.iter().enumerate() {
            moved.push((open.len() as u32, bytes));
            let settled = match step.kind {
                StepKind::Long => true,
                StepKind::Align { .. } => false,
                StepKind::Short { target, steps, .. } => {
                    let between = largest[index + 1].abs_diff(largest[steps as usize]);
                    target.abs_diff(step.offset) + between <= 120
                }
            };
            if settled {
                step.store(items);
                bytes += step.size;
            } else {
                open.push(*step);
            }
        }
        moved.push((open.len() as u32, bytes));
        self.before.clear();
        let mut grown = 0;
        for step in &mut open {
            self.before.push(grown);
            grown += step.size;
            step.offset += moved[step.item as usize].1;
            if let StepKind::Short { target, steps, .. } = &mut step.kind {
                let (kept, bytes) = moved[*steps as usize];
                *target += bytes;
                *steps = kept;
            }
        }
        self.before.push(grown);
        self.steps = open;
    }
}

impl Step {
    /// The most bytes that it can come to have.
    fn largest(&self) -> u32 {
        match self.kind {
            StepKind::Long => self.size,
            StepKind::Align { power, most: 0 } => (1 << power) - 1,
            StepKind::Align { power, most } => ((1 << power) - 1).min(most),
            StepKind::Short { opcode, .. } => jump_size(opcode, true) as u32,
        }
    }

    fn store(&self, items: &mut [Item]) {
        if let ItemKind::Jump { long, .. } = &mut items[self.item as usize].kind {
            *long = matches!(self.kind, StepKind::Long);
        }
    }
}

/// For each number of items, how many alignments those are. `None` where there are items of other kinds, or so much
/// that 32 bits do not hold it.
fn regions(section: &Section) -> Option<Vec<u32>> {
    let mut regions = Vec::with_capacity(section.items.len() + 1);
    let mut region = 0u32;
    let mut largest = section.fixed_size();
    for item in &section.items {
        regions.push(region);
        largest = largest.saturating_add(match item.kind {
            ItemKind::Align { power, .. } => {
                region += 1;
                1 << power
            }
            ItemKind::Jump { opcode, .. } => jump_size(opcode, true),
            _ => return None,
        });
    }
    regions.push(region);
    (largest <= LARGEST).then_some(regions)
}
