//! Expressions (GNU as manual, "Expressions").

use alloc::string::String;
use alloc::vec::Vec;

use super::cursor::{Cursor, in_name, starts_name, starts_operator};
use super::{Assembler, Fail, fail};
use crate::reg::Reg;
use crate::symbol::{Operation, Operator, Place, SymbolId, Tree, Value};

/// Parentheses deeper than this are refused rather than followed.
const DEEPEST: u32 = 100;

impl Assembler<'_> {
    /// An expression.
    #[inline]
    pub(crate) fn expression(&mut self, cursor: &mut Cursor<'_>) -> Result<Value, Fail> {
        let value = match plain_number(cursor) {
            Some(number) => Value::constant(number),
            None => self.term(cursor, 0)?,
        };
        cursor.skip_space();
        if starts_operator(cursor.peek()) {
            return self.operators(cursor, value, 0, 0);
        }
        Ok(value)
    }

    /// An expression that has to be a number by now.
    #[inline]
    pub(crate) fn number(&mut self, cursor: &mut Cursor<'_>) -> Result<i64, Fail> {
        let start = *cursor;
        if let Some(number) = literal(cursor) {
            return Ok(number);
        }
        let value = self.expression(cursor)?;
        match value.as_constant().or_else(|| self.unit.constant_now(&value)) {
            Some(number) => Ok(number),
            None => {
                *cursor = start;
                fail("a constant is expected here")
            }
        }
    }

    /// One operand of an expression.
    pub(crate) fn single_term(&mut self, cursor: &mut Cursor<'_>) -> Result<Value, Fail> {
        self.term(cursor, 0)
    }

    /// The current place as a symbol.
    pub(crate) fn dot(&mut self) -> SymbolId {
        let place = self.here();
        self.unit.symbols.anonymous(place)
    }

    fn operators(&mut self, cursor: &mut Cursor<'_>, first: Value, lowest: u8, depth: u32) -> Result<Value, Fail> {
        let mut left = first;
        loop {
            let Some((operation, rank, length)) = binary(cursor) else {
                return Ok(left);
            };
            if rank < lowest {
                return Ok(left);
            }
            cursor.pos += length;
            let mut right = self.term(cursor, depth)?;
            while let Some((_, next, _)) = binary(cursor) {
                if next <= rank {
                    break;
                }
                right = self.operators(cursor, right, next, depth)?;
            }
            left = self.combine(operation, left, right)?;
        }
    }

    /// The distance of two labels, which compilers write more often than anything else.
    #[inline]
    fn label_difference(&self, a: &Value, b: &Value) -> Option<Value> {
        let is_plain = |v: &Value| {
            let set = matches!(self.unit.symbols.get(v.plus).place, Place::Equal(_));
            v.plus != 0 && v.tree | v.minus == 0 && v.operator == Operator::None && !set
        };
        if !is_plain(a) || !is_plain(b) {
            return None;
        }
        let value = Value {
            addend: a.addend.wrapping_sub(b.addend),
            minus: b.plus,
            ..*a
        };
        Some(self.unit.fold(&value, 0).unwrap_or(value))
    }

    /// `a op b`, folded as far as it goes.
    pub(crate) fn combine(&mut self, operation: Operation, a: Value, b: Value) -> Result<Value, Fail> {
        if operation == Operation::Subtract
            && let Some(difference) = self.label_difference(&a, &b)
        {
            return Ok(difference);
        }
        let unfolded = (a, b);
        let folded = |v: Value| match v.plus {
            0 => v,
            _ => self.unit.fold(&v, 0).unwrap_or(v),
        };
        let (a, b) = (folded(a), folded(b));
        if let (Some(x), Some(y)) = (a.as_constant(), b.as_constant()) {
            return operation
                .apply(x, y)
                .map(Value::constant)
                .ok_or_else(|| Fail::new("division by zero"));
        }
        let (a, b) = unfolded;
        let simple = |v: &Value| v.tree | v.minus == 0;
        if let (Some(x), Some(y)) = (self.as_register(&a), self.as_register(&b))
            && matches!(operation, Operation::Equal | Operation::NotEqual)
        {
            return Ok(Value::constant(-i64::from((x == y) == (operation == Operation::Equal))));
        }
        match operation {
            Operation::Add => {
                if let Some(y) = b.as_constant() {
                    return Ok(Value {
                        addend: a.addend.wrapping_add(y),
                        ..a
                    });
                }
                if let Some(x) = a.as_constant() {
                    return Ok(Value {
                        addend: b.addend.wrapping_add(x),
                        ..b
                    });
                }
                // `(x - y) + z` where x or z is a number to come stays a tree; `x + (y - x)` does not occur.
                if a.plus == 0 && a.minus != 0 && a.tree == 0 && simple(&b) {
                    return Ok(Value {
                        minus: a.minus,
                        addend: a.addend.wrapping_add(b.addend),
                        ..b
                    });
                }
            }
            Operation::Subtract => {
                if let Some(y) = b.as_constant() {
                    return Ok(Value {
                        addend: a.addend.wrapping_sub(y),
                        ..a
                    });
                }
                if simple(&a) && simple(&b) && b.operator == Operator::None && a.operator == Operator::None {
                    let value = Value {
                        addend: a.addend.wrapping_sub(b.addend),
                        minus: b.plus,
                        ..a
                    };
                    return Ok(self
                        .unit
                        .fold(&value, 0)
                        .filter(|v| v.as_constant().is_some())
                        .unwrap_or(value));
                }
            }
            _ => {}
        }
        self.unit.trees.push(Tree {
            operation,
            left: a,
            right: b,
        });
        Ok(Value {
            tree: self.unit.trees.len() as u32,
            ..Value::constant(0)
        })
    }

    /// The register that a value is a name of.
    pub(crate) fn as_register(&self, value: &Value) -> Option<Reg> {
        match self.unit.symbols.get(value.plus).place {
            Place::Register(reg) if *value == Value::symbol(value.plus) => Some(reg),
            _ => None,
        }
    }

    /// Another name of a register, which `.set` or `=` made one; takes nothing where there is none.
    pub(crate) fn register_alias(&mut self, cursor: &mut Cursor<'_>) -> Option<Reg> {
        if !self.has_aliases || !starts_name(cursor.peek()) {
            return None;
        }
        let mut ahead = *cursor;
        let id = self.unit.symbols.find(ahead.name())?;
        let Place::Register(reg) = self.unit.symbols.get(id).place else {
            return None;
        };
        self.names_read += 1;
        *cursor = ahead;
        Some(reg)
    }

    /// A number, a symbol, a parenthesis, or a unary operator and its operand.
    fn term(&mut self, cursor: &mut Cursor<'_>, depth: u32) -> Result<Value, Fail> {
        if depth > DEEPEST {
            return fail("this expression is too deep");
        }
        cursor.skip_space();
        let byte = cursor.peek();
        match byte {
            b'0'..=b'9' => self.numeral(cursor),
            _ if starts_name(byte) => self.symbol_term(cursor),
            b'(' | b'[' => {
                cursor.pos += 1;
                let first = self.term(cursor, depth + 1)?;
                let value = self.operators(cursor, first, 0, depth + 1)?;
                if !cursor.eat(if byte == b'(' { b')' } else { b']' }) {
                    return fail("a closing parenthesis is expected");
                }
                self.operator_suffix(cursor, value)
            }
            b'-' | b'~' | b'!' | b'+' => {
                cursor.pos += 1;
                let value = self.term(cursor, depth + 1)?;
                match byte {
                    b'-' => self.unary(Operation::Negate, value),
                    b'~' => self.unary(Operation::Not, value),
                    b'!' => self.unary(Operation::LogicalNot, value),
                    _ => Ok(value),
                }
            }
            b'\'' => character(cursor),
            b'"' => self.symbol_term(cursor),
            b'%' => {
                let start = cursor.pos;
                let reg = self.register(cursor)?;
                let name = cursor.text[start..cursor.pos].to_ascii_lowercase();
                let id = self.unit.symbols.intern(&name);
                let symbol = self.unit.symbols.get_mut(id);
                symbol.place = Place::Register(reg);
                Ok(Value::symbol(id))
            }
            _ => fail("an expression is expected"),
        }
    }

    fn unary(&mut self, operation: Operation, value: Value) -> Result<Value, Fail> {
        if let Some(constant) = self.unit.constant_now(&value) {
            return Ok(Value::constant(operation.apply(constant, 0).unwrap_or(0)));
        }
        if operation == Operation::Negate && value.tree == 0 && value.operator == Operator::None {
            return Ok(Value {
                plus: value.minus,
                minus: value.plus,
                addend: value.addend.wrapping_neg(),
                ..value
            });
        }
        self.unit.trees.push(Tree {
            operation,
            left: value,
            right: Value::constant(0),
        });
        Ok(Value {
            tree: self.unit.trees.len() as u32,
            ..Value::constant(0)
        })
    }

    /// A name, quoted or not, with `@OPERATOR`.
    fn symbol_term(&mut self, cursor: &mut Cursor<'_>) -> Result<Value, Fail> {
        self.names_read += 1;
        let quoted: Vec<u8>;
        let name = if cursor.peek() == b'"' {
            quoted = super::string::quoted(cursor)?;
            &quoted[..]
        } else {
            cursor.name()
        };
        if name == b"." {
            let dot = self.dot();
            return Ok(Value::symbol(dot));
        }
        let id = self.unit.symbols.intern(name);
        let mut value = Value::symbol(id);
        let symbol = self.unit.symbols.get(id);
        // A symbol that may be set again has the value of this moment.
        if let Place::Equal(now) = symbol.place {
            let now = self.unit.symbols.value(now);
            if symbol.redefinable || now.as_constant().is_some() {
                value = now;
            }
        }
        if cursor.peek() == b'@' {
            self.operator_suffix(cursor, value)
        } else {
            Ok(value)
        }
    }

    /// `@PLT` behind a symbol or a parenthesis.
    pub(crate) fn operator_suffix(&mut self, cursor: &mut Cursor<'_>, value: Value) -> Result<Value, Fail> {
        if cursor.peek() != b'@' {
            return Ok(value);
        }
        cursor.pos += 1;
        let name = cursor.name();
        match Operator::named(name) {
            Some(operator) => {
                if !matches!(operator, Operator::Plt | Operator::Size | Operator::Foreign) {
                    self.refer_to_got();
                }
                Ok(Value { operator, ..value })
            }
            None => fail(alloc::format!(
                "an unknown relocation operator: @{}",
                String::from_utf8_lossy(name)
            )),
        }
    }

    /// Whatever needs the GOT refers to its symbol, as GNU as has it.
    fn refer_to_got(&mut self) {
        let got = self.unit.symbols.intern(b"_GLOBAL_OFFSET_TABLE_");
        self.unit.symbols.get_mut(got).used = true;
    }

    /// A number, or a numeric label with `b` or `f`.
    fn numeral(&mut self, cursor: &mut Cursor<'_>) -> Result<Value, Fail> {
        let start = cursor.pos;
        let mut end = start;
        while in_name(cursor.text.get(end).copied().unwrap_or(0)) {
            end += 1;
        }
        let text = &cursor.text[start..end];
        cursor.pos = end;
        if let Some(value) = parse_number(text, self.intel) {
            return Ok(Value::constant(value as i64));
        }
        if let [digits @ .., direction @ (b'b' | b'f' | b'B' | b'F')] = text
            && let Some(number) = parse_number(digits, false)
        {
            return self.numeric_label(number, direction.eq_ignore_ascii_case(&b'f'));
        }
        if let [digits @ .., b'$'] = text
            && let Some(number) = parse_number(digits, false)
        {
            return Ok(Value::symbol(self.dollar_label(number)));
        }
        cursor.pos = start;
        fail("this is not a number")
    }

    fn numeric_label(&mut self, number: u64, forward: bool) -> Result<Value, Fail> {
        self.names_read += 1;
        let seen = self.numeric.entry(number).or_default();
        if !forward {
            return match seen.last {
                0 => fail(alloc::format!("there is no label {number} before this")),
                id => Ok(Value::symbol(id)),
            };
        }
        if seen.next == 0 {
            seen.next = self.unit.symbols.anonymous(Place::Undefined);
            let next = seen.next;
            self.pending_numeric.push((number, next, self.line));
        }
        Ok(Value::symbol(self.numeric[&number].next))
    }

    /// `55$`: local between two ordinary labels.
    pub(crate) fn dollar_label(&mut self, number: u64) -> SymbolId {
        self.names_read += 1;
        if let Some(&id) = self.dollar.get(&number) {
            return id;
        }
        let id = self.unit.symbols.anonymous(Place::Undefined);
        self.dollar.insert(number, id);
        id
    }
}

/// A plain number that is a whole operand. Takes nothing where there is none.
#[inline]
pub(super) fn literal(cursor: &mut Cursor<'_>) -> Option<i64> {
    let start = cursor.pos;
    let number = plain_number(cursor)?;
    if cursor.ends_operand() {
        return Some(number);
    }
    cursor.pos = start;
    None
}

/// A decimal or hexadecimal number of 60 bits or less with nothing of a name behind it, as most are. Takes nothing
/// where there is none.
#[inline]
fn plain_number(cursor: &mut Cursor<'_>) -> Option<i64> {
    let text = cursor.text.get(cursor.pos..).unwrap_or_default();
    let (start, radix, most) = match text {
        [b'0', b'x', ..] => (2, 16, 15),
        [b'1'..=b'9', ..] => (0, 10, 18),
        [b'0', ..] => (0, 10, 1),
        _ => return None,
    };
    let mut value = 0;
    let mut len = start;
    for &byte in &text[start..] {
        let digit = i64::from(super::cursor::DIGIT[byte as usize]);
        if digit >= radix {
            break;
        }
        len += 1;
        if len - start > most {
            return None;
        }
        value = value * radix + digit;
    }
    if len == start || text.get(len).is_some_and(|&byte| in_name(byte)) {
        return None;
    }
    cursor.pos += len;
    Some(value)
}

/// A number in any of the notations; `None` if it is none or does not fit 64 bits.
pub(crate) fn parse_number(text: &[u8], intel: bool) -> Option<u64> {
    let digits = |digits: &[u8], radix: u32| -> Option<u64> {
        if digits.is_empty() {
            return None;
        }
        digits.iter().try_fold(0u64, |n, &d| {
            let digit = (d as char).to_digit(radix)?;
            n.checked_mul(radix.into())?.checked_add(digit.into())
        })
    };
    match text {
        [b'0', b'x' | b'X', rest @ ..] => digits(rest, 16),
        [b'0', b'b' | b'B', rest @ ..] if !rest.is_empty() => digits(rest, 2),
        [rest @ .., b'h' | b'H'] if intel && text[0].is_ascii_digit() => digits(rest, 16),
        [b'0', rest @ ..] if !rest.is_empty() => digits(rest, 8),
        _ => digits(text, 10),
    }
}

/// `'a` or `'a'`, with escapes.
fn character(cursor: &mut Cursor<'_>) -> Result<Value, Fail> {
    cursor.pos += 1;
    let mut byte = cursor.peek();
    cursor.pos += 1;
    if byte == b'\\' {
        byte = match cursor.peek() {
            b'n' => b'\n',
            b't' => b'\t',
            b'r' => b'\r',
            b'b' => 8,
            b'f' => 12,
            b'0' => 0,
            other => other,
        };
        cursor.pos += 1;
    }
    if cursor.peek() == b'\'' {
        cursor.pos += 1;
    }
    if cursor.pos > cursor.text.len() {
        cursor.clamp();
        return fail("a character is expected");
    }
    Ok(Value::constant(byte.into()))
}

/// The binary operator here: what it does, its rank, its length.
fn binary(cursor: &mut Cursor<'_>) -> Option<(Operation, u8, usize)> {
    use Operation as O;
    cursor.skip_space();
    Some(match (cursor.peek(), cursor.peek_at(1)) {
        (b'*', _) => (O::Multiply, 5, 1),
        (b'/', _) => (O::Divide, 5, 1),
        (b'%', next) if !starts_name(next) => (O::Remainder, 5, 1),
        (b'<', b'<') => (O::ShiftLeft, 5, 2),
        (b'>', b'>') => (O::ShiftRight, 5, 2),
        (b'|', b'|') => (O::LogicalOr, 0, 2),
        (b'&', b'&') => (O::LogicalAnd, 1, 2),
        (b'|', _) => (O::Or, 4, 1),
        (b'&', _) => (O::And, 4, 1),
        (b'^', _) => (O::Xor, 4, 1),
        (b'!', b'=') => (O::NotEqual, 2, 2),
        (b'!', _) => (O::OrNot, 4, 1),
        (b'+', _) => (O::Add, 3, 1),
        (b'-', _) => (O::Subtract, 3, 1),
        (b'=', b'=') => (O::Equal, 2, 2),
        (b'<', b'>') => (O::NotEqual, 2, 2),
        (b'<', b'=') => (O::LessEqual, 2, 2),
        (b'>', b'=') => (O::GreaterEqual, 2, 2),
        (b'<', _) => (O::Less, 2, 1),
        (b'>', _) => (O::Greater, 2, 1),
        _ => return None,
    })
}
