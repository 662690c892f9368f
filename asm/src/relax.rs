//! Sizes of the variable items: GNU as's relaxation.
//!
//! Jumps start short and only grow. One pass walks a section in order and carries how far everything behind has moved
//! (`stretch`); a target that lies ahead is taken to move along, unless an alignment stands between, which may absorb
//! it. Passes repeat until nothing changes.

use alloc::string::String;

use alloc::vec::Vec;

use crate::jumps::Walk;
use crate::section::ItemKind;
use crate::symbol::{Binding, Operator, Place, SectionId, SymbolId, Value};
use crate::unit::{Resolved, Unit};

/// More passes than this and alignments or LEB128 values are chasing each other.
pub(crate) const MOST_PASSES: u32 = 200;

/// No item is taken to be larger; a section with such an item is refused in the end.
const HUGE: u64 = 1 << 40;
/// The most bytes a section with bytes can have.
const LARGEST: u64 = 1 << 30;

/// How many bytes to the next multiple of a power of two.
pub(crate) fn padding(position: u64, power: u8, most: u32) -> u64 {
    let need = position.wrapping_neg() & ((1 << power) - 1);
    if most != 0 && need > most.into() { 0 } else { need }
}

/// Whether the short form of the jump at `position` reaches `to`, as far as this walk can know: `ahead` of what has
/// been walked over everything moves by `stretch`, unless an alignment lies between and absorbs it.
pub(crate) fn short_reaches(to: i64, position: u64, ahead: bool, same_region: bool, stretch: i64) -> bool {
    let mut to = to;
    if ahead && stretch != 0 {
        if stretch < 0 || same_region {
            to += stretch;
        } else if to < position as i64 + 1 {
            return true;
        }
    }
    (-128..=127).contains(&(to - (position as i64 + 2)))
}

/// Bytes of an unsigned LEB128 number (DWARF 5, 7.6).
pub(crate) fn uleb_size(value: u64) -> u64 {
    u64::from((64 - (value | 1).leading_zeros()).div_ceil(7))
}

/// Bytes of a signed LEB128 number.
pub(crate) fn sleb_size(value: i64) -> u64 {
    let magnitude = if value < 0 { !value } else { value } as u64;
    u64::from((65 - magnitude.leading_zeros()).div_ceil(7))
}

impl Unit {
    /// Gives every item its size.
    pub(crate) fn relax(&mut self) {
        let rest = self.relax_code();
        self.relax_values(&rest);
    }

    /// Gives the items of code their sizes. Returns the sections that have others, which [`Unit::relax_values`] takes.
    pub(crate) fn relax_code(&mut self) -> Vec<SectionId> {
        let mut rest = Vec::new();
        for id in 0..self.sections.len() as SectionId {
            match Walk::plan(self, id) {
                Some(walk) => walk.relax(self),
                None => rest.push(id),
            }
        }
        for &id in &rest {
            self.start(id);
        }
        if rest.iter().any(|&id| self.sections[id as usize].is_code()) {
            self.relax_values(&rest);
        }
        rest
    }

    /// Walks over sections whose items depend on values, until nothing changes.
    pub(crate) fn relax_values(&mut self, sections: &[SectionId]) {
        let passes = if self.depend_on_each_other(sections) {
            MOST_PASSES
        } else {
            1
        };
        for _ in 0..passes {
            let mut changed = false;
            for &id in sections {
                for _ in 0..passes {
                    if !self.pass(id) {
                        break;
                    }
                    changed = true;
                }
            }
            if !changed {
                break;
            }
        }
    }

    /// Whether items of these sections depend on the size of any. Debugging information depends on code alone.
    fn depend_on_each_other(&self, sections: &[SectionId]) -> bool {
        let mut these = alloc::vec![false; self.sections.len()];
        for &id in sections {
            these[id as usize] = true;
        }
        let in_these = |symbol: SymbolId| match self.symbols.get(symbol).place {
            Place::Label { section, .. } => these[section as usize],
            Place::Equal(value) => self.symbols.value(value).as_constant().is_none(),
            _ => false,
        };
        sections.iter().any(|&id| {
            self.sections[id as usize].items.iter().any(|item| match item.kind {
                ItemKind::Leb { value, .. } => {
                    let value = self.symbols.value(value);
                    value.tree != 0 || in_these(value.plus) || in_these(value.minus)
                }
                _ => true,
            })
        })
    }

    /// First sizes: short jumps, one-byte LEBs, alignments as they come.
    fn start(&mut self, id: SectionId) {
        let count = self.sections[id as usize].items.len();
        let section = &mut self.sections[id as usize];
        section.growth = alloc::vec![0; count + 1];
        section.regions = alloc::vec![0; count + 1];
        for index in 0..count {
            let item = self.sections[id as usize].items[index];
            let growth = self.sections[id as usize].growth[index];
            let (size, starts_region) = match item.kind {
                ItemKind::Jump { opcode, target, .. } => {
                    let far = !self.stays_here(id, &self.symbols.value(target));
                    if let ItemKind::Jump { long, .. } = &mut self.sections[id as usize].items[index].kind {
                        *long = far;
                    }
                    (jump_size(opcode, far), false)
                }
                ItemKind::Align { power, most, .. } => (padding(item.offset + growth, power, most), true),
                ItemKind::Leb { .. } => (1, false),
                ItemKind::Space { count, unit, .. } => (
                    (self.constant_now(&self.symbols.value(count)).unwrap_or(0).max(0) as u64)
                        .saturating_mul(unit.into()),
                    true,
                ),
                ItemKind::Org { .. } => (0, true),
            };
            let size = size.min(HUGE);
            let section = &mut self.sections[id as usize];
            section.growth[index + 1] = growth + size;
            section.regions[index + 1] = section.regions[index] + u32::from(starts_region);
        }
    }

    /// Whether a branch to this target needs no relocation.
    pub(crate) fn stays_here(&self, id: SectionId, target: &Value) -> bool {
        if target.minus != 0 || target.tree != 0 {
            return matches!(self.resolve(target), Ok(Resolved::Section(section, _)) if section == id);
        }
        let symbol = self.symbols.get(target.plus);
        let preemptible = match target.operator {
            Operator::None => matches!(symbol.binding, Binding::Weak | Binding::Unique),
            // With @PLT the source says that a global symbol may be another one at run time.
            Operator::Plt => !matches!(symbol.binding, Binding::Default | Binding::Local) && symbol.visibility == 0,
            _ => true,
        };
        if preemptible || symbol.kind == crate::section::elf::STT_GNU_IFUNC {
            return false;
        }
        match symbol.place {
            Place::Label { section, .. } => section == id,
            Place::Equal(_) => matches!(self.resolve(target), Ok(Resolved::Section(section, _)) if section == id),
            _ => false,
        }
    }

    /// One walk over a section. Returns whether anything changed.
    fn pass(&mut self, id: SectionId) -> bool {
        let count = self.sections[id as usize].items.len();
        let mut stretch = 0i64;
        let mut changed = false;
        for index in 0..count {
            let section = &mut self.sections[id as usize];
            let before = section.item_size(index);
            section.growth[index] = section.growth[index].wrapping_add_signed(stretch);
            let item = section.items[index];
            let position = item.offset + section.growth[index];
            let size = match item.kind {
                ItemKind::Jump { long: true, .. } => continue,
                ItemKind::Jump { opcode, target, .. } => {
                    if self.reaches(id, index, position, &self.symbols.value(target), stretch) {
                        continue;
                    }
                    if let ItemKind::Jump { long, .. } = &mut self.sections[id as usize].items[index].kind {
                        *long = true;
                    }
                    jump_size(opcode, true)
                }
                ItemKind::Align { power, most, .. } => padding(position, power, most),
                ItemKind::Leb { value, signed } => match self.kept_constant(value) {
                    Ok(value) if signed => sleb_size(value),
                    Ok(value) => uleb_size(value as u64),
                    Err(_) => before,
                },
                ItemKind::Space { count, unit, .. } => match self.kept_constant(count) {
                    Ok(count) => (count.max(0) as u64).saturating_mul(unit.into()),
                    Err(_) => before,
                },
                ItemKind::Org { target, .. } => match self.resolve(&self.symbols.value(target)) {
                    Ok(Resolved::Constant(to)) => (to as u64).saturating_sub(position),
                    Ok(Resolved::Section(section, to)) if section == id => (to as u64).saturating_sub(position),
                    _ => 0,
                },
            };
            let size = size.min(HUGE);
            if size != before {
                changed = true;
                stretch += size as i64 - before as i64;
            }
        }
        let last = &mut self.sections[id as usize].growth[count];
        *last = last.wrapping_add_signed(stretch);
        changed
    }

    /// Whether the short form of the jump at `position`, the `index`th item, reaches its target.
    fn reaches(&self, id: SectionId, index: usize, position: u64, target: &Value, stretch: i64) -> bool {
        let section = &self.sections[id as usize];
        match self.symbols.get(target.plus).place {
            Place::Label { offset, item, .. } if target.minus == 0 && target.tree == 0 => {
                let to = section.position(offset, item) as i64 + target.addend;
                let same_region = section.regions[item as usize] == section.regions[index];
                short_reaches(to, position, item as usize > index, same_region, stretch)
            }
            _ => match self.resolve(target) {
                Ok(Resolved::Section(_, to)) => short_reaches(to, position, to as u64 > position, false, stretch),
                _ => true,
            },
        }
    }

    /// Complains about items whose values never became known.
    pub(crate) fn check_items(&mut self) {
        let mut found: alloc::vec::Vec<(u32, String)> = alloc::vec::Vec::new();
        for (id, section) in self.sections.iter().enumerate() {
            if section.size() > LARGEST && !section.is_nobits() {
                let largest = (0..section.items.len()).max_by_key(|&index| section.item_size(index));
                let line = largest.map_or(0, |index| section.items[index].line);
                found.push((line, String::from("the section is larger than 1 GiB")));
            }
            for (index, item) in section.items.iter().enumerate() {
                let result = match item.kind {
                    ItemKind::Space { count, .. } => match self.kept_constant(count) {
                        Ok(count) if count < 0 => Err(alloc::format!("a negative count: {count}")),
                        other => other.map(|_| ()).map_err(|why| self.explain(why)),
                    },
                    ItemKind::Org { target, .. } => {
                        let position = section.position(item.offset, index as u32);
                        match self.resolve(&self.symbols.value(target)) {
                            Ok(Resolved::Constant(to)) if to as u64 >= position => Ok(()),
                            Ok(Resolved::Section(s, to)) if s as usize == id && to as u64 >= position => Ok(()),
                            Ok(_) => Err(String::from(".org goes backwards or leaves its section")),
                            Err(why) => Err(self.explain(why)),
                        }
                    }
                    _ => Ok(()),
                };
                if let Err(message) = result {
                    found.push((item.line, message));
                }
            }
        }
        for (line, message) in found {
            self.problem(line, message);
        }
    }
}

/// Size of a jump: `eb`, `7x` with 8 bits; `e9`, `0f 8x` with 32.
pub(crate) fn jump_size(opcode: u8, long: bool) -> u64 {
    match (long, opcode) {
        (false, _) => 2,
        (true, 0xeb) => 5,
        (true, _) => 6,
    }
}
