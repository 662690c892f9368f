//! A unit of assembly: its sections and symbols, and what the values made of them come to.

use alloc::string::String;
use alloc::vec::Vec;

use crate::encode::FixupKind;
use crate::section::Section;
use crate::symbol::{Operator, Place, SectionId, SymbolId, Symbols, Tree, Value, ValueId};

/// Something wrong that was found after a line was read.
#[derive(Clone, Debug)]
pub(crate) struct Problem {
    pub(crate) line: u32,
    pub(crate) message: String,
}

/// Sections, symbols and expressions.
#[derive(Debug)]
pub(crate) struct Unit {
    pub(crate) symbols: Symbols,
    pub(crate) sections: Vec<Section>,
    pub(crate) trees: Vec<Tree>,
    pub(crate) problems: Vec<Problem>,
}

/// What a value comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Resolved {
    Constant(i64),
    /// An offset in a section.
    Section(SectionId, i64),
    /// A symbol that is not defined here, or common, and what is added.
    Symbol(SymbolId, i64),
}

/// Why a value comes to nothing. Values are tried often before they are known, so the words are made later.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Unresolved {
    Circular(SymbolId),
    TooDeep,
    /// The two have no constant distance.
    Difference(Resolved, Resolved),
    DivisionByZero,
    /// An operation on what is no constant.
    Operation,
    NotConstant(Resolved),
    /// A register's name where a value is needed.
    Register(SymbolId),
}

/// How many bytes of source there are for each symbol, roughly, in what compilers write.
const BYTES_PER_SYMBOL: usize = 128;

/// Deeper `.set` chains and expressions than this are taken to be circular.
const DEEPEST: u32 = 64;

impl Unit {
    /// A unit without sections, for a source of this size.
    pub(crate) fn new(source_bytes: usize) -> Self {
        Self {
            symbols: Symbols::new(source_bytes / BYTES_PER_SYMBOL),
            sections: Vec::new(),
            trees: Vec::new(),
            problems: Vec::new(),
        }
    }

    pub(crate) fn problem(&mut self, line: u32, message: impl Into<String>) {
        self.problems.push(Problem {
            line,
            message: message.into(),
        });
    }

    /// The name of a symbol for a message.
    pub(crate) fn name(&self, id: SymbolId) -> String {
        let name = self.symbols.name(id);
        if name.is_empty() {
            String::from("a local label")
        } else {
            String::from_utf8_lossy(name).into_owned()
        }
    }

    /// What a symbol stands for, through `.set`.
    pub(crate) fn resolve_symbol(&self, id: SymbolId) -> Result<Resolved, Unresolved> {
        self.symbol_at_depth(id, 0)
    }

    fn symbol_at_depth(&self, id: SymbolId, depth: u32) -> Result<Resolved, Unresolved> {
        if depth > DEEPEST {
            return Err(Unresolved::Circular(id));
        }
        match self.symbols.get(id).place {
            Place::Undefined | Place::Common { .. } => Ok(Resolved::Symbol(id, 0)),
            Place::Register(_) => Err(Unresolved::Register(id)),
            Place::Label { section, offset, item } => {
                let position = self.sections[section as usize].position(offset, item);
                Ok(Resolved::Section(section, position as i64))
            }
            Place::Equal(value) => self.value_at_depth(&self.symbols.value(value), depth + 1),
        }
    }

    /// How a branch to a value is filled in, as things are now. GNU as decides when it reads a call, and when it lays a
    /// jump out: what is not known to be in this file is marked as a branch (R_X86_64_PLT32), unless something is added.
    pub(crate) fn branch_kind(&self, target: &Value) -> FixupKind {
        let is_outside = || {
            self.symbols.get(target.plus).is_exported()
                || matches!(self.resolve_symbol(target.plus), Ok(Resolved::Symbol(..)))
        };
        if target.plus != 0 && target.addend == 0 && is_outside() {
            FixupKind::Branch
        } else {
            FixupKind::Relative
        }
    }

    /// What a value comes to with the addresses of now.
    pub(crate) fn resolve(&self, value: &Value) -> Result<Resolved, Unresolved> {
        self.value_at_depth(value, 0)
    }

    fn value_at_depth(&self, value: &Value, depth: u32) -> Result<Resolved, Unresolved> {
        if depth > DEEPEST {
            return Err(Unresolved::TooDeep);
        }
        if value.tree != 0 {
            return Ok(Self::plus(self.tree_at_depth(value.tree, depth + 1)?, value.addend));
        }
        let plus = match value.plus {
            0 => Resolved::Constant(0),
            id => self.symbol_at_depth(id, depth + 1)?,
        };
        let minus = match value.minus {
            0 => return Ok(Self::plus(plus, value.addend)),
            id => self.symbol_at_depth(id, depth + 1)?,
        };
        Self::subtract(plus, minus).map(|difference| Self::plus(difference, value.addend))
    }

    fn plus(value: Resolved, addend: i64) -> Resolved {
        match value {
            Resolved::Constant(a) => Resolved::Constant(a.wrapping_add(addend)),
            Resolved::Section(section, a) => Resolved::Section(section, a.wrapping_add(addend)),
            Resolved::Symbol(symbol, a) => Resolved::Symbol(symbol, a.wrapping_add(addend)),
        }
    }

    fn subtract(plus: Resolved, minus: Resolved) -> Result<Resolved, Unresolved> {
        match (plus, minus) {
            (_, Resolved::Constant(b)) => Ok(Self::plus(plus, b.wrapping_neg())),
            (Resolved::Section(a, x), Resolved::Section(b, y)) if a == b => Ok(Resolved::Constant(x.wrapping_sub(y))),
            (Resolved::Symbol(a, x), Resolved::Symbol(b, y)) if a == b => Ok(Resolved::Constant(x.wrapping_sub(y))),
            _ => Err(Unresolved::Difference(plus, minus)),
        }
    }

    /// The words for why a value comes to nothing.
    #[cold]
    pub(crate) fn explain(&self, why: Unresolved) -> String {
        match why {
            Unresolved::Circular(id) => alloc::format!("the definition of {} is circular", self.name(id)),
            Unresolved::TooDeep => String::from("this expression is circular or too deep"),
            Unresolved::Difference(plus, minus) => alloc::format!(
                "the difference of {} and {} is not constant",
                self.describe(plus),
                self.describe(minus)
            ),
            Unresolved::DivisionByZero => String::from("division by zero"),
            Unresolved::Operation => String::from("this operation needs constants"),
            Unresolved::Register(id) => alloc::format!("{} is a register, not a value", self.name(id)),
            Unresolved::NotConstant(value) => alloc::format!("{} is not a constant", self.describe(value)),
        }
    }

    /// A value for a message: `foo`, `.text+0x12`.
    pub(crate) fn describe(&self, value: Resolved) -> String {
        match value {
            Resolved::Constant(a) => alloc::format!("{a:#x}"),
            Resolved::Section(section, offset) => {
                let name = String::from_utf8_lossy(&self.sections[section as usize].name);
                alloc::format!("{name}+{offset:#x}")
            }
            Resolved::Symbol(symbol, _) => self.name(symbol),
        }
    }

    fn tree_at_depth(&self, tree: u32, depth: u32) -> Result<Resolved, Unresolved> {
        use crate::symbol::Operation as Op;
        let Tree { operation, left, right } = self.trees[tree as usize - 1];
        let a = self.value_at_depth(&left, depth)?;
        let b = self.value_at_depth(&right, depth)?;
        match (operation, a, b) {
            (_, Resolved::Constant(a), Resolved::Constant(b)) => operation
                .apply(a, b)
                .map(Resolved::Constant)
                .ok_or(Unresolved::DivisionByZero),
            (Op::Subtract, a, b) => Self::subtract(a, b),
            (Op::Add, a, Resolved::Constant(b)) => Ok(Self::plus(a, b)),
            (Op::Add, Resolved::Constant(a), b) => Ok(Self::plus(b, a)),
            (Op::Equal | Op::NotEqual, a, b) => {
                Ok(Resolved::Constant(-i64::from((a == b) == (operation == Op::Equal))))
            }
            (
                Op::Less | Op::LessEqual | Op::Greater | Op::GreaterEqual,
                Resolved::Section(s, x),
                Resolved::Section(t, y),
            ) if s == t => Ok(Resolved::Constant(operation.apply(x, y).unwrap_or(0))),
            _ => Err(Unresolved::Operation),
        }
    }

    /// A value that has to be a number.
    pub(crate) fn constant(&self, value: &Value) -> Result<i64, Unresolved> {
        if let Some(constant) = value.as_constant() {
            return Ok(constant);
        }
        match self.resolve(value)? {
            Resolved::Constant(a) => Ok(a),
            other => Err(Unresolved::NotConstant(other)),
        }
    }

    /// As [`Unit::constant`], of a value that is kept.
    pub(crate) fn kept_constant(&self, value: ValueId) -> Result<i64, Unresolved> {
        self.constant(&self.symbols.value(value))
    }

    /// A value that is a number already, while sections still grow: labels with variable items between them are not.
    pub(crate) fn constant_now(&self, value: &Value) -> Option<i64> {
        self.fold(value, 0)?.as_constant()
    }

    /// The value with everything folded that can be at this point of the source; `None` if it is circular.
    #[inline]
    pub(crate) fn fold(&self, value: &Value, depth: u32) -> Option<Value> {
        if value.tree != 0 {
            return self.fold_deep(value, depth);
        }
        match (self.symbols.get(value.plus).place, self.symbols.get(value.minus).place) {
            (Place::Equal(_), _) | (_, Place::Equal(_)) => self.fold_deep(value, depth),
            (
                Place::Label { section, offset, item },
                Place::Label {
                    section: s,
                    offset: o,
                    item: i,
                },
            ) if section == s && item == i => Some(Value::constant(
                value.addend.wrapping_add(offset as i64).wrapping_sub(o as i64),
            )),
            _ if value.plus == value.minus && value.plus != 0 => Some(Value::constant(value.addend)),
            _ => Some(*value),
        }
    }

    /// As [`Unit::fold`], through what symbols are set to.
    fn fold_deep(&self, value: &Value, depth: u32) -> Option<Value> {
        if depth > DEEPEST {
            return None;
        }
        let mut out = *value;
        if value.tree != 0 {
            let Tree { operation, left, right } = self.trees[value.tree as usize - 1];
            let (a, b) = (self.fold(&left, depth + 1)?, self.fold(&right, depth + 1)?);
            return match (a.as_constant(), b.as_constant()) {
                (Some(a), Some(b)) => Some(Value::constant(operation.apply(a, b)?.wrapping_add(value.addend))),
                _ => Some(out),
            };
        }
        for _ in 0..DEEPEST {
            let Place::Equal(inner) = self.symbols.get(out.plus).place else {
                break;
            };
            let inner = self.fold(&self.symbols.value(inner), depth + 1)?;
            if inner.tree != 0
                || (inner.minus != 0 && out.minus != 0)
                || (inner.plus != 0 && out.operator != Operator::None)
            {
                break;
            }
            out.plus = inner.plus;
            out.minus |= inner.minus;
            out.addend = out.addend.wrapping_add(inner.addend);
            if out.operator == Operator::None {
                out.operator = inner.operator;
            }
        }
        if let Place::Equal(inner) = self.symbols.get(out.minus).place {
            let inner = self.fold(&self.symbols.value(inner), depth + 1)?;
            if inner.minus == 0 && inner.tree == 0 {
                out.minus = inner.plus;
                out.addend = out.addend.wrapping_sub(inner.addend);
            }
        }
        if out.plus != 0 && out.minus != 0 {
            if out.plus == out.minus {
                return Some(Value::constant(out.addend));
            }
            if let (
                Place::Label { section, offset, item },
                Place::Label {
                    section: s,
                    offset: o,
                    item: i,
                },
            ) = (self.symbols.get(out.plus).place, self.symbols.get(out.minus).place)
                && section == s
                && item == i
            {
                return Some(Value::constant(
                    out.addend.wrapping_add(offset as i64).wrapping_sub(o as i64),
                ));
            }
        }
        if out.as_constant().is_some() {
            return Some(out);
        }
        // A symbol set to another one stays itself: it may be bound differently. Only `.weakref` is mere spelling.
        let renamed = self.symbols.get(value.plus).weakref;
        Some(if renamed { out } else { *value })
    }

    /// Subsections take their places behind the section that they belong to, in the order of their numbers.
    pub(crate) fn merge_subsections(&mut self) {
        let mut subsections: Vec<(u32, i64, usize)> = Vec::new();
        for (index, section) in self.sections.iter().enumerate() {
            if let Some((parent, number)) = section.parent {
                subsections.push((parent, number, index));
            }
        }
        if subsections.is_empty() {
            return;
        }
        subsections.sort_unstable();
        // Where each section's fixed bytes and items went.
        let mut moved: Vec<(u32, u64, u32)> = (0..self.sections.len() as u32).map(|s| (s, 0, 0)).collect();
        for (parent, _, index) in subsections {
            let mut child = core::mem::replace(&mut self.sections[index], Section::new(b"", 0, 0));
            child.parent = None;
            self.sections[index].parent = Some((parent, 0));
            let target = &mut self.sections[parent as usize];
            let (base, items) = (target.fixed_size(), target.item_count());
            moved[index] = (parent, base, items);
            target.bytes.append(&mut child.bytes);
            target.virtual_size += child.virtual_size;
            target.align = target.align.max(child.align);
            for item in &mut child.items {
                item.offset += base;
            }
            for fix in &mut child.fixes {
                fix.offset += base;
                fix.item += items;
            }
            target.items.append(&mut child.items);
            target.fixes.append(&mut child.fixes);
            target.explicit.append(&mut child.explicit);
        }
        for id in self.symbols.ids() {
            if let Place::Label { section, offset, item } = &mut self.symbols.get_mut(id).place {
                let (parent, base, items) = moved[*section as usize];
                *section = parent;
                *offset += base;
                *item += items;
            }
        }
    }
}
