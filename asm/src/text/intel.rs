//! Intel operands as GNU as reads and compilers write them: `QWORD PTR 8[rax+rcx*4]`, `OFFSET FLAT:x`, `x[rip+4]`.

use super::att::{check_address, register_name};
use super::cursor::{Cursor, starts_name};
use super::{Assembler, Fail, fail};
use crate::inst::Inst;
use crate::operand::{Mem, Operand};
use crate::reg::{Reg, RegClass};
use crate::symbol::{Operation, Value};

/// Brackets and parentheses deeper than this are refused.
const DEEPEST: u32 = 50;

/// What has been read of an operand.
struct Parts {
    mem: Mem,
    value: Value,
    /// A register outside of brackets.
    reg: Option<Reg>,
    brackets: bool,
    /// `OFFSET`
    offset: bool,
    /// `QWORD PTR`
    sized: bool,
    /// `DWORD BCST`
    broadcast: bool,
    symbol: bool,
}

impl Assembler<'_> {
    /// The operands of one instruction.
    pub(super) fn intel_operands(
        &mut self,
        cursor: &mut Cursor<'_>,
        inst: &mut Inst,
        branch: bool,
    ) -> Result<(), Fail> {
        if cursor.at_end() {
            return Ok(());
        }
        loop {
            cursor.skip_space();
            if cursor.peek() == b'{' {
                self.decorations(cursor, inst, None)?;
            } else {
                let mut operand = self.intel_operand(cursor, branch)?;
                if cursor.eat(b'{') {
                    cursor.pos -= 1;
                    self.decorations(cursor, inst, Some(&mut operand))?;
                }
                if !inst.push(operand) {
                    return fail("no instruction has more than five operands");
                }
            }
            if !cursor.eat(b',') {
                return Ok(());
            }
        }
    }

    fn intel_operand(&mut self, cursor: &mut Cursor<'_>, branch: bool) -> Result<Operand, Fail> {
        let mut parts = Parts {
            mem: Mem::absolute(0),
            value: Value::constant(0),
            reg: None,
            brackets: false,
            offset: false,
            sized: false,
            broadcast: false,
            symbol: false,
        };
        self.sum(cursor, &mut parts, false, 0)?;
        let Parts {
            mut mem,
            value,
            reg,
            brackets,
            offset,
            sized,
            broadcast,
            symbol,
        } = parts;
        if let Some(reg) = reg {
            if brackets || value != Value::constant(0) || mem.segment != 0 {
                return fail("a register and something else; an address stands in brackets");
            }
            return Ok(Operand::Reg(reg));
        }
        let imm = self.open(value);
        let constant = !symbol || !imm.symbolic.is_some();
        if offset || (constant && !brackets && mem.segment == 0 && !(sized && symbol)) {
            return match branch && !offset {
                true => Ok(Operand::Target(imm)),
                false => Ok(Operand::Imm(imm)),
            };
        }
        if branch && !brackets && !sized && mem.segment == 0 {
            return Ok(Operand::Target(imm));
        }
        (mem.disp, mem.symbolic) = (imm.value, imm.symbolic);
        // rsp cannot be an index, but with scale 1 the two can change places.
        if mem.scale == 1
            && let (
                Some(base),
                Some(Reg {
                    class: RegClass::R64 | RegClass::R32,
                    num: 4,
                }),
            ) = (mem.base, mem.index)
        {
            (mem.base, mem.index) = (mem.index, Some(base));
        }
        check_address(&mem)?;
        if broadcast {
            mem.broadcast = crate::select::ANY_COUNT;
        }
        if let (
            Some(
                port @ Reg {
                    class: RegClass::R16,
                    num: 2,
                },
            ),
            None,
        ) = (mem.base, mem.index)
        {
            return Ok(Operand::Reg(port));
        }
        Ok(Operand::Mem(mem))
    }

    /// `term + term - term`, inside of brackets or not.
    fn sum(&mut self, cursor: &mut Cursor<'_>, parts: &mut Parts, inside: bool, depth: u32) -> Result<(), Fail> {
        if depth > DEEPEST {
            return fail("this operand is too deep");
        }
        let mut negative = false;
        loop {
            cursor.skip_space();
            match cursor.peek() {
                b'+' => {
                    cursor.pos += 1;
                    continue;
                }
                b'-' => {
                    cursor.pos += 1;
                    negative = !negative;
                    continue;
                }
                _ => {}
            }
            self.product(cursor, parts, negative, inside, depth)?;
            negative = false;
            cursor.skip_space();
            match cursor.peek() {
                b'+' | b'-' | b'[' => {}
                _ => return Ok(()),
            }
        }
    }

    /// One term of a sum.
    fn product(
        &mut self,
        cursor: &mut Cursor<'_>,
        parts: &mut Parts,
        negative: bool,
        inside: bool,
        depth: u32,
    ) -> Result<(), Fail> {
        match cursor.peek() {
            b'[' => {
                cursor.pos += 1;
                parts.brackets = true;
                self.sum(cursor, parts, true, depth + 1)?;
                if !cursor.eat(b']') {
                    return fail("a `]` is expected");
                }
                return Ok(());
            }
            b'%' => {
                let reg = self.register(cursor)?;
                return self.register_term(cursor, parts, reg, inside);
            }
            byte if starts_name(byte) => {
                if self.keyword(cursor, parts)? {
                    return self.sum_after_keyword(cursor, parts, negative, inside, depth);
                }
                let mut ahead = *cursor;
                if let Some(reg) = register_name(&mut ahead)
                    && self.is_register_here(ahead, parts, inside)
                {
                    *cursor = ahead;
                    return self.register_term(cursor, parts, reg, inside);
                }
                parts.symbol = true;
            }
            _ => {}
        }
        self.value_term(cursor, parts, negative, inside)
    }

    fn sum_after_keyword(
        &mut self,
        cursor: &mut Cursor<'_>,
        parts: &mut Parts,
        negative: bool,
        inside: bool,
        depth: u32,
    ) -> Result<(), Fail> {
        cursor.skip_space();
        match cursor.peek() {
            b'-' if !negative => {
                cursor.pos += 1;
                cursor.skip_space();
                self.product(cursor, parts, true, inside, depth)
            }
            _ => self.product(cursor, parts, negative, inside, depth),
        }
    }

    /// Whether a register's name means the register: a symbol has an index behind it, or stands where only memory can.
    fn is_register_here(&self, after: Cursor<'_>, parts: &Parts, inside: bool) -> bool {
        let mut after = after;
        after.skip_space();
        let indexed = after.peek() == b'[' || after.peek() == b'@';
        inside && !indexed || !indexed && !parts.sized && !parts.offset || after.peek() == b':'
    }

    /// A register: an operand of its own, a segment, or a part of an address.
    fn register_term(
        &mut self,
        cursor: &mut Cursor<'_>,
        parts: &mut Parts,
        reg: Reg,
        inside: bool,
    ) -> Result<(), Fail> {
        if reg.class == RegClass::Seg && cursor.eat(b':') {
            parts.mem.segment = reg.num + 1;
            cursor.skip_space();
            return self.product(cursor, parts, false, inside, 1);
        }
        if !inside {
            if parts.reg.replace(reg).is_some() {
                return fail("two registers in one operand");
            }
            return Ok(());
        }
        if cursor.eat(b'*') {
            let scale = self.scale_value(cursor)?;
            return self.add_index(parts, reg, scale);
        }
        let vector = reg.size_bytes() >= 16 || reg.class == RegClass::NoIndex;
        if parts.mem.base.is_none() && !vector {
            parts.mem.base = Some(reg);
            return Ok(());
        }
        self.add_index(parts, reg, 1)
    }

    fn add_index(&mut self, parts: &mut Parts, reg: Reg, scale: u8) -> Result<(), Fail> {
        if let Some(first) = parts.mem.index {
            // `[rax*1 + rcx*2]`
            if parts.mem.base.is_none() && parts.mem.scale == 1 {
                parts.mem.base = Some(first);
            } else {
                return fail("an address has one base and one index");
            }
        }
        parts.mem.index = Some(reg);
        parts.mem.scale = scale;
        Ok(())
    }

    fn scale_value(&mut self, cursor: &mut Cursor<'_>) -> Result<u8, Fail> {
        cursor.skip_space();
        let digit = cursor.peek();
        cursor.pos += 1;
        cursor.clamp();
        match digit {
            b'1' | b'2' | b'4' | b'8' if !cursor.peek().is_ascii_digit() => Ok(digit - b'0'),
            _ => fail("the scale is 1, 2, 4 or 8"),
        }
    }

    /// A number or symbol, with multiplications; `4*rax` is an index.
    fn value_term(
        &mut self,
        cursor: &mut Cursor<'_>,
        parts: &mut Parts,
        negative: bool,
        inside: bool,
    ) -> Result<(), Fail> {
        let mut value = self.intel_factor(cursor)?;
        while cursor.eat(b'*') {
            cursor.skip_space();
            let mut ahead = *cursor;
            if cursor.peek() == b'%' {
                ahead.pos += 1;
            }
            if let (true, Some(reg)) = (inside, register_name(&mut ahead)) {
                let Some(scale @ (1 | 2 | 4 | 8)) = value.as_constant() else {
                    return fail("the scale is 1, 2, 4 or 8");
                };
                *cursor = ahead;
                return self.add_index(parts, reg, scale as u8);
            }
            let right = self.intel_factor(cursor)?;
            value = self.combine(Operation::Multiply, value, right)?;
        }
        let operation = if negative { Operation::Subtract } else { Operation::Add };
        let operator = if value.operator == crate::symbol::Operator::None {
            parts.value.operator
        } else {
            value.operator
        };
        parts.value = self.combine(operation, parts.value, value)?;
        if parts.value.as_constant().is_none() {
            parts.value.operator = operator;
        }
        Ok(())
    }

    /// A number, a symbol or a parenthesis.
    fn intel_factor(&mut self, cursor: &mut Cursor<'_>) -> Result<Value, Fail> {
        cursor.skip_space();
        if matches!(cursor.peek(), b'+' | b'-' | b'*' | b'[' | b']' | b',') {
            return fail("a number or a symbol is expected");
        }
        self.single_term(cursor)
    }

    /// `QWORD PTR`, `OFFSET FLAT:`, `SHORT`. Returns whether there was one.
    fn keyword(&mut self, cursor: &mut Cursor<'_>, parts: &mut Parts) -> Result<bool, Fail> {
        let mut ahead = *cursor;
        let name = ahead.name();
        if name.len() < 4 || name.len() > 8 {
            return Ok(false);
        }
        let mut lower = [0u8; 8];
        lower[..name.len()].copy_from_slice(name);
        lower.make_ascii_lowercase();
        let size = match &lower[..name.len()] {
            b"byte" => 1,
            b"word" => 2,
            b"dword" => 4,
            b"fword" => 6,
            b"qword" | b"mmword" => 8,
            b"tbyte" => 10,
            b"oword" | b"xmmword" => 16,
            b"ymmword" => 32,
            b"zmmword" => 64,
            b"offset" => {
                ahead.skip_space();
                parts.offset = true;
                let mut flat = ahead;
                if flat.name().eq_ignore_ascii_case(b"flat") && flat.eat(b':') {
                    ahead = flat;
                }
                *cursor = ahead;
                return Ok(true);
            }
            b"short" | b"near" | b"flat" => {
                ahead.eat(b':');
                let mut pointer = ahead;
                pointer.skip_space();
                if pointer.name().eq_ignore_ascii_case(b"ptr") {
                    ahead = pointer;
                }
                *cursor = ahead;
                return Ok(true);
            }
            _ => return Ok(false),
        };
        ahead.skip_space();
        let mut pointer = ahead;
        let word = pointer.name();
        if word.eq_ignore_ascii_case(b"ptr") {
            ahead = pointer;
        } else if word.eq_ignore_ascii_case(b"bcst") {
            ahead = pointer;
            parts.broadcast = true;
        } else if !matches!(ahead.peek(), b'[') {
            return Ok(false);
        }
        parts.mem.size = size;
        parts.sized = true;
        *cursor = ahead;
        Ok(true)
    }
}
