//! Symbols and the values made of them.

use alloc::vec::Vec;

use crate::reg::Reg;

/// A symbol's number; 0 is none.
pub(crate) type SymbolId = u32;
/// A section's number.
pub(crate) type SectionId = u32;

/// `@PLT` and its kin.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Operator {
    #[default]
    None,
    Plt,
    Gotpcrel,
    GotpcrelNorelax,
    Got,
    Gotoff,
    Pltoff,
    Gotplt,
    Tlsgd,
    Tlsld,
    Gottpoff,
    Tpoff,
    Dtpoff,
    Tlsdesc,
    Tlscall,
    Size,
    /// `@gotntpoff` and others of 32-bit code: known, and refused with a reason.
    Foreign,
}

impl Operator {
    pub(crate) fn named(name: &[u8]) -> Option<Self> {
        let mut lower = [0u8; 16];
        let lower = lower.get_mut(..name.len())?;
        lower.copy_from_slice(name);
        lower.make_ascii_lowercase();
        Some(match &*lower {
            b"plt" => Self::Plt,
            b"gotpcrel" => Self::Gotpcrel,
            b"gotpcrel_norelax" => Self::GotpcrelNorelax,
            b"got" => Self::Got,
            b"gotoff" => Self::Gotoff,
            b"pltoff" => Self::Pltoff,
            b"gotplt" => Self::Gotplt,
            b"tlsgd" => Self::Tlsgd,
            b"tlsld" => Self::Tlsld,
            b"gottpoff" => Self::Gottpoff,
            b"tpoff" => Self::Tpoff,
            b"dtpoff" => Self::Dtpoff,
            b"tlsdesc" => Self::Tlsdesc,
            b"tlscall" => Self::Tlscall,
            b"size" => Self::Size,
            b"tlsldm" | b"gotntpoff" | b"indntpoff" | b"ntpoff" | b"secrel32" => Self::Foreign,
            _ => return None,
        })
    }

    /// Whether the symbol has to be a thread-local one.
    pub(crate) const fn is_tls(self) -> bool {
        matches!(
            self,
            Self::Tlsgd | Self::Tlsld | Self::Gottpoff | Self::Tpoff | Self::Dtpoff | Self::Tlsdesc | Self::Tlscall
        )
    }
}

/// `plus - minus + addend`, or a tree where that is not enough.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Value {
    pub(crate) addend: i64,
    pub(crate) plus: SymbolId,
    pub(crate) minus: SymbolId,
    /// Number of the tree plus one, or 0. A tree stands alone, with an addend at most.
    pub(crate) tree: u32,
    pub(crate) operator: Operator,
}

impl Value {
    pub(crate) const fn constant(addend: i64) -> Self {
        Self {
            addend,
            plus: 0,
            minus: 0,
            tree: 0,
            operator: Operator::None,
        }
    }

    pub(crate) const fn symbol(plus: SymbolId) -> Self {
        Self {
            addend: 0,
            plus,
            minus: 0,
            tree: 0,
            operator: Operator::None,
        }
    }

    pub(crate) const fn as_constant(&self) -> Option<i64> {
        if self.plus == 0 && self.minus == 0 && self.tree == 0 {
            Some(self.addend)
        } else {
            None
        }
    }
}

/// An operation on values that cannot be folded when it is read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tree {
    pub(crate) operation: Operation,
    pub(crate) left: Value,
    pub(crate) right: Value,
}

/// The operators of expressions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
    ShiftLeft,
    ShiftRight,
    And,
    Or,
    Xor,
    OrNot,
    Equal,
    NotEqual,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
    LogicalAnd,
    LogicalOr,
    Negate,
    Not,
    LogicalNot,
}

impl Operation {
    /// The result, in 64 bits that wrap; `None` for a division by zero. Comparisons yield -1 for true, as GNU as has it.
    pub(crate) fn apply(self, a: i64, b: i64) -> Option<i64> {
        let truth = |t: bool| -i64::from(t);
        Some(match self {
            Self::Add => a.wrapping_add(b),
            Self::Subtract => a.wrapping_sub(b),
            Self::Multiply => a.wrapping_mul(b),
            Self::Divide => a.checked_div(b).or((b != 0).then_some(i64::MIN))?,
            Self::Remainder => a.checked_rem(b).or((b != 0).then_some(0))?,
            Self::ShiftLeft if !(0..64).contains(&b) => 0,
            Self::ShiftLeft => a << b,
            Self::ShiftRight if !(0..64).contains(&b) => 0,
            Self::ShiftRight => ((a as u64) >> b) as i64,
            Self::And => a & b,
            Self::Or => a | b,
            Self::Xor => a ^ b,
            Self::OrNot => a | !b,
            Self::Equal => truth(a == b),
            Self::NotEqual => truth(a != b),
            Self::Less => truth(a < b),
            Self::LessEqual => truth(a <= b),
            Self::Greater => truth(a > b),
            Self::GreaterEqual => truth(a >= b),
            Self::LogicalAnd => i64::from(a != 0 && b != 0),
            Self::LogicalOr => i64::from(a != 0 || b != 0),
            Self::Negate => a.wrapping_neg(),
            Self::Not => !a,
            Self::LogicalNot => i64::from(a == 0),
        })
    }
}

/// A value that is kept: what a symbol is set to, has as its size, or what an item of a section depends on. It is a
/// number in a list, of which 0 is the constant 0, or by itself a symbol as it is or with `@PLT`, as most are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ValueId(u32);

impl ValueId {
    const SYMBOL: u32 = 1 << 31;
    const PLT: u32 = 1 << 30;

    /// The symbol itself. Numbers do not come near the two bits: symbols are larger than a byte.
    #[inline]
    pub(crate) fn symbol(id: SymbolId) -> Self {
        debug_assert!((1..Self::PLT).contains(&id));
        Self(Self::SYMBOL | id)
    }

    fn of_symbol(value: &Value) -> Option<Self> {
        let plt = match value.operator {
            Operator::None => 0,
            Operator::Plt => Self::PLT,
            _ => return None,
        };
        let plain = value.minus | value.tree == 0 && value.addend == 0 && (1..Self::PLT).contains(&value.plus);
        plain.then_some(Self(Self::SYMBOL | plt | value.plus))
    }

    #[inline]
    fn as_symbol(self) -> Option<Value> {
        (self.0 & Self::SYMBOL != 0).then(|| Value {
            operator: if self.0 & Self::PLT == 0 {
                Operator::None
            } else {
                Operator::Plt
            },
            ..Value::symbol(self.0 & !(Self::SYMBOL | Self::PLT))
        })
    }
}

/// Where a symbol is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Undefined,
    /// At this offset among the fixed bytes of a section, after this many of its variable items.
    Label {
        section: SectionId,
        offset: u64,
        item: u32,
    },
    /// `.set`
    Equal(ValueId),
    Common {
        size: u64,
        align: u64,
    },
    /// Another name of a register.
    Register(Reg),
}

/// STB_LOCAL, STB_GLOBAL, STB_WEAK, STB_GNU_UNIQUE.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Binding {
    /// Nobody said: local if defined, else global.
    #[default]
    Default,
    /// `.local`
    Local,
    Global,
    Weak,
    Unique,
}

/// A symbol.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Symbol {
    name: Name,
    pub(crate) place: Place,
    pub(crate) binding: Binding,
    /// STV_*
    pub(crate) visibility: u8,
    /// STT_*
    pub(crate) kind: u8,
    /// Set by `.size`.
    pub(crate) size: ValueId,
    /// Referred to by anything but its own directives.
    pub(crate) used: bool,
    /// A directive said something of it, such as `.globl`.
    pub(crate) mentioned: bool,
    /// A temporary of the assembler: dot, a numeric label. Never in the symbol table.
    pub(crate) anonymous: bool,
    /// Set by `.set` more than once, or with `.`: its value is taken at each use.
    pub(crate) redefinable: bool,
    /// `.weakref`
    pub(crate) weakref: bool,
}

impl Symbol {
    /// Whether other files can refer to it, if it is defined here.
    pub(crate) fn is_exported(&self) -> bool {
        matches!(self.binding, Binding::Global | Binding::Weak | Binding::Unique)
    }

    pub(crate) fn is_defined(&self) -> bool {
        !matches!(self.place, Place::Undefined | Place::Common { .. })
    }
}

/// A symbol's name: up to 15 bytes and their number, or where in the names' text it is.
#[derive(Clone, Copy, Debug)]
struct Name([u8; 16]);

impl Name {
    const EMPTY: Self = Self([0; 16]);
    /// The last byte of a name that is elsewhere.
    const ELSEWHERE: u8 = 0xff;

    fn new(name: &[u8], text: &mut Vec<u8>) -> Self {
        Self::short(name).unwrap_or_else(|| {
            let place = (text.len() as u64) << 32 | name.len() as u64;
            text.extend_from_slice(name);
            Self((u128::from(Self::ELSEWHERE) << 120 | u128::from(place)).to_le_bytes())
        })
    }

    #[inline]
    fn short(name: &[u8]) -> Option<Self> {
        let len = name.len();
        let word = |bytes: &[u8; 8]| u128::from(u64::from_le_bytes(*bytes));
        let half = |bytes: &[u8; 4]| u128::from(u32::from_le_bytes(*bytes));
        // The last bytes overlap the first ones, with the same in the same place.
        let bytes = match (
            name.first_chunk(),
            name.last_chunk(),
            name.first_chunk(),
            name.last_chunk(),
        ) {
            _ if len > 15 => return None,
            (Some(first), Some(last), ..) => word(first) | word(last) << (8 * (len - 8)),
            (.., Some(first), Some(last)) => half(first) | half(last) << (8 * (len - 4)),
            _ => name.iter().rev().fold(0, |word, &byte| word << 8 | u128::from(byte)),
        };
        Some(Self(((len as u128) << 120 | bytes).to_le_bytes()))
    }

    #[inline]
    fn text<'a>(&'a self, text: &'a [u8]) -> &'a [u8] {
        if self.0[15] != Self::ELSEWHERE {
            return &self.0[..self.0[15] as usize];
        }
        let place = u128::from_le_bytes(self.0) as u64;
        let start = (place >> 32) as usize;
        &text[start..start + place as u32 as usize]
    }
}

impl PartialEq for Name {
    #[inline]
    fn eq(&self, other: &Self) -> bool {
        u128::from_le_bytes(self.0) == u128::from_le_bytes(other.0)
    }
}

/// All symbols, by number and by name.
#[derive(Debug)]
pub(crate) struct Symbols {
    text: Vec<u8>,
    all: Vec<Symbol>,
    values: Vec<Value>,
    /// Open addressing, a power of two: a symbol, and part of its name's hash in the high half; 0 is free.
    slots: Vec<u64>,
    named: usize,
}

const BLANK: Symbol = Symbol {
    name: Name::EMPTY,
    place: Place::Undefined,
    binding: Binding::Default,
    visibility: 0,
    kind: 0,
    size: ValueId(0),
    used: false,
    mentioned: false,
    anonymous: true,
    redefinable: false,
    weakref: false,
};

/// Names that differ in their last byte alone, as numbered labels do, are next to each other: where one is in the cache,
/// those are that are likely to come next. The high half tells names apart.
#[inline]
fn hash(name: &[u8]) -> u64 {
    let Some((&last, rest)) = name.split_last() else {
        return 0;
    };
    let block = hash_block(rest);
    (block ^ u64::from(last) << 56) & !15 | u64::from(last & 15)
}

/// Eight bytes at a time; the last eight overlap those before.
#[inline]
fn hash_block(name: &[u8]) -> u64 {
    const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut value = name.len() as u64;
    let mut mix = |word: u64| value = (value.rotate_left(23) ^ word).wrapping_mul(FACTOR);
    if let Some(last) = name.last_chunk::<8>() {
        for word in name.as_chunks::<8>().0 {
            mix(u64::from_le_bytes(*word));
        }
        mix(u64::from_le_bytes(*last));
    } else if let (Some(first), Some(last)) = (name.first_chunk::<4>(), name.last_chunk::<4>()) {
        mix(u64::from(u32::from_le_bytes(*first)) << 32 | u64::from(u32::from_le_bytes(*last)));
    } else {
        mix(name.iter().fold(0, |word, &byte| word << 8 | u64::from(byte)));
    }
    // Names of labels differ in a few digits; one more round spreads them over all bits.
    value = (value ^ value >> 29).wrapping_mul(FACTOR);
    value ^ value >> 32
}

impl Symbols {
    /// No symbols, and room for about so many names.
    pub(crate) fn new(names: usize) -> Self {
        let slots = (names + names / 2).next_power_of_two().clamp(256, 1 << 22);
        Self {
            text: Vec::new(),
            all: alloc::vec![BLANK],
            values: alloc::vec![Value::constant(0)],
            slots: alloc::vec![0; slots],
            named: 0,
        }
    }

    pub(crate) fn get(&self, id: SymbolId) -> &Symbol {
        &self.all[id as usize]
    }

    pub(crate) fn get_mut(&mut self, id: SymbolId) -> &mut Symbol {
        &mut self.all[id as usize]
    }

    #[inline]
    pub(crate) fn value(&self, id: ValueId) -> Value {
        id.as_symbol().unwrap_or_else(|| self.values[id.0 as usize])
    }

    /// Keeps a value.
    pub(crate) fn keep(&mut self, value: Value) -> ValueId {
        if value == Value::constant(0) {
            return ValueId(0);
        }
        if let Some(symbol) = ValueId::of_symbol(&value) {
            return symbol;
        }
        self.values.push(value);
        ValueId(self.values.len() as u32 - 1)
    }

    /// Makes a symbol equal to a value.
    pub(crate) fn set(&mut self, id: SymbolId, value: Value) {
        let value = self.keep(value);
        self.get_mut(id).place = Place::Equal(value);
    }

    pub(crate) fn name(&self, id: SymbolId) -> &[u8] {
        self.all[id as usize].name.text(&self.text)
    }

    pub(crate) fn ids(&self) -> impl Iterator<Item = SymbolId> + use<> {
        1..self.all.len() as SymbolId
    }

    /// One more than the highest number.
    pub(crate) fn count(&self) -> usize {
        self.all.len()
    }

    pub(crate) fn find(&self, name: &[u8]) -> Option<SymbolId> {
        match self.slots[self.slot(name, hash(name))] {
            0 => None,
            entry => Some(entry as SymbolId),
        }
    }

    /// The slot that has this name, or the free one where it belongs.
    #[inline]
    fn slot(&self, name: &[u8], hash: u64) -> usize {
        let mask = self.slots.len() - 1;
        let mut slot = hash as usize & mask;
        let short = Name::short(name);
        loop {
            let entry = self.slots[slot];
            let is_it = |id: SymbolId| match short {
                Some(short) => self.all[id as usize].name == short,
                None => self.name(id) == name,
            };
            if entry == 0 || ((entry ^ hash) >> 32 == 0 && is_it(entry as SymbolId)) {
                return slot;
            }
            slot = (slot + 1) & mask;
        }
    }

    /// The symbol of this name, made if it is not there yet.
    pub(crate) fn intern(&mut self, name: &[u8]) -> SymbolId {
        let hash = hash(name);
        let slot = self.slot(name, hash);
        if self.slots[slot] != 0 {
            return self.slots[slot] as SymbolId;
        }
        let id = self.all.len() as SymbolId;
        self.all.push(Symbol {
            name: Name::new(name, &mut self.text),
            anonymous: false,
            ..BLANK
        });
        self.slots[slot] = hash >> 32 << 32 | u64::from(id);
        self.named += 1;
        if self.named * 8 > self.slots.len() * 5 {
            self.grow();
        }
        id
    }

    #[cold]
    fn grow(&mut self) {
        let mask = self.slots.len() * 2 - 1;
        self.slots = alloc::vec![0; mask + 1];
        for id in 1..self.all.len() as SymbolId {
            if self.all[id as usize].anonymous {
                continue;
            }
            let hash = hash(self.name(id));
            let mut slot = hash as usize & mask;
            while self.slots[slot] != 0 {
                slot = (slot + 1) & mask;
            }
            self.slots[slot] = hash >> 32 << 32 | u64::from(id);
        }
    }

    /// A symbol without a name.
    pub(crate) fn anonymous(&mut self, place: Place) -> SymbolId {
        self.all.push(Symbol { place, ..BLANK });
        self.all.len() as SymbolId - 1
    }
}
