//! Final bytes and relocations of the sections.

use alloc::string::String;
use alloc::vec::Vec;

use crate::encode::FixupKind;
use crate::nop;
use crate::relax::jump_size;
pub(crate) use crate::relocation::r;
use crate::relocation::{absolute_kind, operator_kind, relative_kind};
use crate::section::{Fix, ItemKind, Padding, elf};
use crate::symbol::{Binding, Operator, Place, SectionId, SymbolId, Value};
use crate::unit::{Resolved, Unit};

/// What a relocation refers to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    None,
    Symbol(SymbolId),
    Section(SectionId),
}

/// A relocation of the object.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reloc {
    pub(crate) offset: u64,
    pub(crate) kind: u32,
    pub(crate) target: Target,
    pub(crate) addend: i64,
}

/// A section's final bytes.
#[derive(Debug, Default)]
pub(crate) struct Image {
    pub(crate) bytes: Vec<u8>,
    pub(crate) size: u64,
    pub(crate) relocs: Vec<Reloc>,
}

/// What goes into a place: bytes, and a relocation where they are not the whole truth.
enum Filled {
    Bytes(i64),
    Reloc { kind: u32, target: Target, addend: i64 },
}

impl Unit {
    /// The final bytes of every section, in order. Call after relaxation.
    pub(crate) fn images(&mut self) -> Vec<Image> {
        (0..self.sections.len() as SectionId).map(|id| self.image(id)).collect()
    }

    fn image(&mut self, id: SectionId) -> Image {
        let mut image = Image {
            size: self.sections[id as usize].size(),
            ..Image::default()
        };
        if self.sections[id as usize].parent.is_some() {
            return image;
        }
        let section = &mut self.sections[id as usize];
        if section.is_nobits() {
            if let Some(fix) = section.fixes.first() {
                let line = fix.line;
                self.problem(line, "a value that is not zero in a section without bytes");
            }
            return image;
        }
        if section.items.is_empty() {
            image.bytes = core::mem::take(&mut section.bytes);
        } else {
            self.write_items(id, &mut image);
        }
        self.apply_fixes(id, &mut image);
        self.explicit_relocs(id, &mut image);
        image
    }

    /// The fixed bytes with the items between them.
    fn write_items(&mut self, id: SectionId, image: &mut Image) {
        let fixed = core::mem::take(&mut self.sections[id as usize].bytes);
        let items = core::mem::take(&mut self.sections[id as usize].items);
        let size = usize::try_from(image.size).unwrap_or(0);
        image.bytes.reserve_exact(size.saturating_add(CHUNK));
        let mut from = 0;
        for (index, item) in items.iter().enumerate() {
            let to = item.offset as usize;
            copy(&mut image.bytes, &fixed, from, to);
            from = to;
            if let ItemKind::Jump { opcode, long, target } = item.kind {
                self.write_jump(id, image, opcode, long, &self.symbols.value(target), item.line);
                continue;
            }
            let size = self.sections[id as usize].item_size(index) as usize;
            let out = &mut image.bytes;
            match item.kind {
                ItemKind::Jump { .. } => {}
                ItemKind::Align { padding, .. } => pad(out, padding, size),
                ItemKind::Leb { value, signed } => {
                    let known = self.kept_constant(value);
                    if let Err(why) = known {
                        let message = self.explain(why);
                        self.problem(item.line, message);
                    }
                    put_leb(out, known.unwrap_or(0), signed, size);
                }
                ItemKind::Space { value, unit, .. } => fill(out, value.into(), unit, size),
                ItemKind::Org { fill, .. } => out.resize(out.len() + size, fill),
            }
        }
        image.bytes.extend_from_slice(&fixed[from..]);
        self.sections[id as usize].items = items;
    }

    #[inline]
    fn write_jump(&mut self, id: SectionId, image: &mut Image, opcode: u8, long: bool, target: &Value, line: u32) {
        let out = &mut image.bytes;
        if let Some(to) = self.near_label(id, target, long) {
            let after = out.len() as u64 + jump_size(opcode, long);
            let distance = (to + target.addend).wrapping_sub(after as i64);
            if !long && i8::try_from(distance).is_ok() {
                out.extend([opcode, distance as u8]);
                return;
            }
            if long && let Ok(distance) = i32::try_from(distance) {
                write_jump_opcode(out, opcode, true);
                out.extend(distance.to_le_bytes());
                return;
            }
        }
        write_jump_opcode(out, opcode, long);
        let size: u8 = if long { 4 } else { 1 };
        let position = out.len() as u64;
        let fix = Fix {
            offset: position,
            value: *target,
            item: 0,
            line,
            size,
            to_end: size,
            relaxable: 0,
            kind: self.branch_kind(target),
        };
        out.resize(out.len() + size as usize, 0);
        let stays = !long || self.jump_stays(id, target);
        self.apply(id, &fix, position, stays, &mut image.bytes, &mut image.relocs);
    }

    /// Where a label of this section is, if a jump to it needs nothing but the distance. That of most jumps does.
    #[inline]
    fn near_label(&self, id: SectionId, target: &Value, long: bool) -> Option<i64> {
        match self.private_label(id, target) {
            (Some((offset, item)), private) if private || !long => {
                Some(self.sections[id as usize].position(offset, item) as i64)
            }
            _ => None,
        }
    }

    /// Where a label of this section is among its fixed bytes and items, and whether nobody can make it another one.
    #[inline]
    pub(crate) fn private_label(&self, id: SectionId, target: &Value) -> (Option<(u64, u32)>, bool) {
        let symbol = self.symbols.get(target.plus);
        let private = matches!(symbol.binding, Binding::Default | Binding::Local) && symbol.kind != elf::STT_GNU_IFUNC;
        let plain = matches!(target.operator, Operator::None | Operator::Plt) && target.minus | target.tree == 0;
        match symbol.place {
            Place::Label { section, offset, item } if section == id && plain => (Some((offset, item)), private),
            _ => (None, private),
        }
    }

    /// Whether a long jump still ends in its own section.
    fn jump_stays(&self, id: SectionId, target: &Value) -> bool {
        let symbol = self.symbols.get(target.plus);
        let preemptible = match target.operator {
            Operator::None => matches!(symbol.binding, Binding::Weak | Binding::Unique),
            Operator::Plt => !matches!(symbol.binding, Binding::Default | Binding::Local) && symbol.visibility == 0,
            _ => true,
        };
        !preemptible
            && symbol.kind != elf::STT_GNU_IFUNC
            && matches!(self.resolve(target), Ok(Resolved::Section(section, _)) if section == id)
    }

    fn apply_fixes(&mut self, id: SectionId, image: &mut Image) {
        let fixes = core::mem::take(&mut self.sections[id as usize].fixes);
        // Jumps among the items have put theirs already; the result is in order of offsets again.
        let in_order = image.relocs.is_empty();
        for fix in &fixes {
            let position = self.sections[id as usize].position(fix.offset, fix.item);
            self.apply(id, fix, position, false, &mut image.bytes, &mut image.relocs);
        }
        if !in_order {
            image.relocs.sort_by_key(|reloc| reloc.offset);
        }
    }

    /// Fills one place. `local`: a branch that is known to need no relocation.
    fn apply(
        &mut self,
        id: SectionId,
        fix: &Fix,
        position: u64,
        local: bool,
        bytes: &mut [u8],
        relocs: &mut Vec<Reloc>,
    ) {
        match self.fill_in(id, fix, position, local) {
            Ok(Filled::Bytes(value)) => {
                if let Err(message) = check_range(value, fix) {
                    self.problem(fix.line, message);
                }
                let at = position as usize;
                bytes[at..at + fix.size as usize].copy_from_slice(&value.to_le_bytes()[..fix.size as usize]);
            }
            Ok(Filled::Reloc { kind, target, addend }) => {
                if let Target::Symbol(symbol) = target {
                    self.symbols.get_mut(symbol).used = true;
                }
                relocs.push(Reloc {
                    offset: position,
                    kind,
                    target,
                    addend,
                });
            }
            Err(message) => self.problem(fix.line, message),
        }
    }

    fn fill_in(&mut self, id: SectionId, fix: &Fix, position: u64, local: bool) -> Result<Filled, String> {
        let value = fix.value;
        let relative = matches!(fix.kind, FixupKind::Relative | FixupKind::Branch);
        let after = position as i64 + i64::from(fix.to_end);
        if value.operator == Operator::None && value.minus == 0 && value.tree == 0 {
            let symbol = self.symbols.get(value.plus);
            let exported = symbol.is_exported() || symbol.kind == elf::STT_GNU_IFUNC;
            let spells_another = matches!(symbol.place, Place::Equal(_))
                && matches!(self.resolve_symbol(value.plus), Ok(Resolved::Symbol(..)));
            if value.plus != 0 && exported && !local && !spells_another {
                return self.relocation(fix, value.plus, value.addend, after - position as i64, relative);
            }
        }
        if value.operator != Operator::None {
            return self.operator_relocation(id, fix, after, local);
        }
        let resolved = match self.resolve(&value) {
            Ok(resolved) => resolved,
            Err(why) => return self.difference(id, fix, position).ok_or_else(|| self.explain(why)),
        };
        let to_place = after - position as i64;
        match resolved {
            Resolved::Constant(value) if !relative => Ok(Filled::Bytes(value)),
            Resolved::Constant(value) => Ok(Filled::Reloc {
                kind: relative_kind(fix.size)?,
                target: Target::None,
                addend: value - to_place,
            }),
            Resolved::Section(section, offset) if relative && section == id => Ok(Filled::Bytes(offset - after)),
            Resolved::Section(section, offset) => {
                let (target, addend) = self.target_of(id, value.plus, section, offset, value.addend, relative);
                if let Target::Symbol(symbol) = target {
                    return self.relocation(fix, symbol, addend, to_place, relative);
                }
                let kind = if relative {
                    relative_kind(fix.size)?
                } else {
                    absolute_kind(fix)?
                };
                let adjust = if relative { to_place } else { 0 };
                Ok(Filled::Reloc {
                    kind,
                    target,
                    addend: addend - adjust,
                })
            }
            Resolved::Symbol(symbol, addend) => self.relocation(fix, symbol, addend, to_place, relative),
        }
    }

    /// Against a symbol that keeps its name.
    fn relocation(
        &self,
        fix: &Fix,
        symbol: SymbolId,
        addend: i64,
        to_place: i64,
        relative: bool,
    ) -> Result<Filled, String> {
        let is_got = self.symbols.name(symbol) == b"_GLOBAL_OFFSET_TABLE_";
        let kind = match (relative, fix.size) {
            _ if is_got && fix.size == 8 => r::GOTPC64,
            _ if is_got && fix.size == 4 => r::GOTPC32,
            (true, 4) if fix.kind == FixupKind::Branch => r::PLT32,
            (true, size) => relative_kind(size)?,
            (false, _) => absolute_kind(fix)?,
        };
        // A GOT-relative value in an absolute place is relative to the instruction's start, which GNU as writes so.
        let adjust = if relative { to_place } else { 0 };
        Ok(Filled::Reloc {
            kind,
            target: Target::Symbol(symbol),
            addend: addend - adjust,
        })
    }

    /// The section symbol with the label's offset, or the label itself where that would change the meaning: in
    /// mergeable sections (an addend there selects another string), thread-local ones, and from outside in those of
    /// COMDAT groups (the linker may take another file's, which is laid out otherwise).
    fn target_of(
        &self,
        from: SectionId,
        symbol: SymbolId,
        section: SectionId,
        offset: i64,
        addend: i64,
        relative: bool,
    ) -> (Target, i64) {
        let home = &self.sections[section as usize];
        let flags = home.flags;
        let named = |symbol| {
            let name = self.symbols.name(symbol);
            !name.is_empty() && !name.starts_with(b".L")
        };
        let grouped = home.group.as_ref().is_some_and(|group| group.comdat) || home.name.starts_with(b".gnu.linkonce");
        let comdat = grouped && section != from;
        let keep = symbol != 0
            && (flags & elf::SHF_TLS != 0
                || (flags & elf::SHF_MERGE != 0 && (relative || addend != 0))
                || (comdat && named(symbol)));
        match self.label_behind(symbol) {
            Some((label, label_offset)) if keep => (Target::Symbol(label), offset - label_offset),
            _ => (Target::Section(section), offset),
        }
    }

    /// The label that a symbol is, through `.set`, and its offset.
    fn label_behind(&self, symbol: SymbolId) -> Option<(SymbolId, i64)> {
        match self.resolve_symbol(symbol).ok()? {
            Resolved::Section(_, offset) => Some((symbol, offset)),
            _ => None,
        }
    }

    /// `a - b` where b is in this section: relative to here.
    fn difference(&mut self, id: SectionId, fix: &Fix, position: u64) -> Option<Filled> {
        let value = self.fold(&fix.value, 0)?;
        if value.tree != 0 || value.minus == 0 || value.plus == 0 {
            return None;
        }
        let Ok(Resolved::Section(section, offset)) = self.resolve_symbol(value.minus) else {
            return None;
        };
        if section != id {
            return None;
        }
        let addend = value.addend + position as i64 - offset;
        let is_got = self.symbols.name(value.plus) == b"_GLOBAL_OFFSET_TABLE_";
        let kind = match fix.size {
            8 if is_got => r::GOTPC64,
            4 if is_got => r::GOTPC32,
            size => relative_kind(size).ok()?,
        };
        let exported = self.symbols.get(value.plus).is_exported();
        match self.resolve_symbol(value.plus).ok()? {
            Resolved::Section(section, offset) if !exported => {
                let (target, base) = self.target_of(id, value.plus, section, offset, value.addend, true);
                Some(Filled::Reloc {
                    kind,
                    target,
                    addend: base + addend,
                })
            }
            Resolved::Constant(_) => None,
            Resolved::Symbol(symbol, more) => Some(Filled::Reloc {
                kind,
                target: Target::Symbol(symbol),
                addend: addend + more,
            }),
            Resolved::Section(..) => Some(Filled::Reloc {
                kind,
                target: Target::Symbol(value.plus),
                addend,
            }),
        }
    }

    /// `symbol@PLT` and so on.
    fn operator_relocation(&mut self, id: SectionId, fix: &Fix, after: i64, local: bool) -> Result<Filled, String> {
        use Operator as O;
        let value = self.fold(&fix.value, 0).unwrap_or(fix.value);
        if value.minus != 0 || value.tree != 0 || value.plus == 0 {
            return Err(String::from("a relocation operator takes a symbol and a constant"));
        }
        let relative = matches!(fix.kind, FixupKind::Relative | FixupKind::Branch);
        let to_place = i64::from(fix.to_end);
        let symbol = self.symbols.get(value.plus);
        let here = matches!(symbol.place, Place::Label { .. } | Place::Equal(_));
        let private = matches!(symbol.binding, Binding::Default | Binding::Local) && symbol.kind != elf::STT_GNU_IFUNC;
        if value.operator == O::Plt && here && (private || local) {
            // Nobody can preempt it, so this is a plain branch.
            let plain = Fix {
                value: Value {
                    operator: O::None,
                    ..value
                },
                ..*fix
            };
            return self.fill_in(id, &plain, (after - to_place) as u64, local);
        }
        let kind = operator_kind(value.operator, fix, relative)?;
        let resolved = self.resolve_symbol(value.plus);
        // What is equal to a symbol of another file is another spelling of it.
        let (meant, more) = match resolved {
            Ok(Resolved::Symbol(symbol, more)) => (symbol, more),
            _ => (value.plus, 0),
        };
        if value.operator.is_tls() && self.symbols.get(meant).kind == 0 {
            self.symbols.get_mut(meant).kind = elf::STT_TLS;
        }
        let adjust = if relative { to_place } else { 0 };
        // GNU as turns these two into section plus offset.
        let by_section = here && private && matches!(value.operator, O::Pltoff | O::Got) && fix.size == 8;
        if let (Ok(Resolved::Section(section, offset)), true) = (resolved, by_section) {
            return Ok(Filled::Reloc {
                kind,
                target: Target::Section(section),
                addend: offset + value.addend - adjust,
            });
        }
        Ok(Filled::Reloc {
            kind,
            target: Target::Symbol(meant),
            addend: value.addend + more - adjust,
        })
    }

    /// `.reloc offset, type, value`
    fn explicit_relocs(&mut self, id: SectionId, image: &mut Image) {
        let explicit = core::mem::take(&mut self.sections[id as usize].explicit);
        if explicit.is_empty() {
            return;
        }
        for reloc in explicit {
            let offset = match self.resolve(&reloc.offset) {
                Ok(Resolved::Constant(offset)) => offset,
                Ok(Resolved::Section(section, offset)) if section == id => offset,
                _ => {
                    self.problem(reloc.line, "the offset of .reloc is not in this section");
                    continue;
                }
            };
            let (target, addend) = match self.resolve(&reloc.value) {
                Ok(Resolved::Constant(addend)) => (Target::None, addend),
                Ok(Resolved::Symbol(symbol, addend)) => (Target::Symbol(symbol), addend),
                Ok(Resolved::Section(section, addend)) => {
                    let symbol = self.symbols.get(reloc.value.plus);
                    if matches!(symbol.binding, Binding::Default | Binding::Local) {
                        (Target::Section(section), addend)
                    } else {
                        (Target::Symbol(reloc.value.plus), reloc.value.addend)
                    }
                }
                Err(why) => {
                    let message = self.explain(why);
                    self.problem(reloc.line, message);
                    continue;
                }
            };
            if let Target::Symbol(symbol) = target {
                self.symbols.get_mut(symbol).used = true;
            }
            image.relocs.push(Reloc {
                offset: offset as u64,
                kind: reloc.kind,
                target,
                addend,
            });
        }
        image.relocs.sort_by_key(|reloc| reloc.offset);
    }
}

/// Whether a known value fits its place, as unsigned or as signed.
fn check_range(value: i64, fix: &Fix) -> Result<(), String> {
    let bits = u32::from(fix.size) * 8;
    if bits >= 64 {
        return Ok(());
    }
    let low = -(1i64 << (bits - 1));
    let high = match fix.kind {
        FixupKind::Relative | FixupKind::Branch | FixupKind::AbsoluteSigned => (1i64 << (bits - 1)) - 1,
        FixupKind::Absolute => (1i64 << bits) - 1,
    };
    if (low..=high).contains(&value) {
        return Ok(());
    }
    Err(alloc::format!("the value {value:#x} does not fit {bits} bits"))
}

/// Bytes that are copied at once.
const CHUNK: usize = 32;

/// Appends a part of some bytes. Most are a few: those are copied in a size that the compiler knows, and the rest of it
/// is taken off again.
#[inline]
fn copy(out: &mut Vec<u8>, bytes: &[u8], from: usize, to: usize) {
    let len = to - from;
    match bytes[from..].first_chunk::<CHUNK>() {
        Some(chunk) if len <= CHUNK => {
            out.extend_from_slice(chunk);
            out.truncate(out.len() - (CHUNK - len));
        }
        _ => out.extend_from_slice(&bytes[from..to]),
    }
}

fn write_jump_opcode(out: &mut Vec<u8>, opcode: u8, long: bool) {
    match (long, opcode) {
        (false, _) => out.push(opcode),
        (true, 0xeb) => out.push(0xe9),
        (true, _) => out.extend([0x0f, opcode + 0x10]),
    }
}

fn pad(out: &mut Vec<u8>, padding: Padding, count: usize) {
    match padding {
        Padding::Code => nop::fill(out, count),
        Padding::Value { value, size } => {
            // What does not fill a whole unit is zero and comes first.
            let unit = size as usize;
            out.resize(out.len() + count % unit, 0);
            fill(out, value.into(), size, count - count % unit);
        }
    }
}

fn fill(out: &mut Vec<u8>, value: u64, unit: u8, count: usize) {
    if value == 0 || unit == 1 {
        out.resize(out.len() + count, value as u8);
        return;
    }
    let bytes = value.to_le_bytes();
    for index in 0..count {
        out.push(bytes.get(index % unit as usize).copied().unwrap_or(0));
    }
}

/// LEB128 in exactly so many bytes.
pub(crate) fn put_leb(out: &mut Vec<u8>, value: i64, signed: bool, size: usize) {
    let mut rest = value;
    for index in 0..size {
        let more = if index + 1 < size { 0x80 } else { 0 };
        out.push(rest as u8 & 0x7f | more);
        rest = if signed { rest >> 7 } else { ((rest as u64) >> 7) as i64 };
    }
}
