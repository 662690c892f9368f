//! AT&T operands: `$imm`, `%reg`, `disp(base,index,scale)`, `*target`.

use super::cursor::Cursor;
use super::{Assembler, Fail, fail};
use crate::inst::{Inst, Rounding};
use crate::operand::{DispSize, Imm, Mem, Operand, Symbolic};
use crate::reg::{Reg, RegClass};
use crate::symbol::Value;

impl Assembler<'_> {
    /// The operands of one instruction, in the SDM's order.
    pub(super) fn att_operands(&mut self, cursor: &mut Cursor<'_>, inst: &mut Inst, branch: bool) -> Result<(), Fail> {
        if cursor.at_end() {
            return Ok(());
        }
        loop {
            cursor.skip_space();
            if cursor.peek() == b'{' {
                // Rounding stands where an operand does.
                self.decorations(cursor, inst, None)?;
            } else {
                let mut operand = self.att_operand(cursor, branch)?;
                if cursor.eat(b'{') {
                    cursor.pos -= 1;
                    self.decorations(cursor, inst, Some(&mut operand))?;
                }
                if !inst.push(operand) {
                    return fail("no instruction has more than five operands");
                }
            }
            if !cursor.eat(b',') {
                break;
            }
        }
        let len = inst.len as usize;
        let operands = &mut inst.operands[..len];
        if !inst.mnemonic.row().keeps_order() {
            operands.reverse();
        }
        Ok(())
    }

    #[inline]
    fn att_operand(&mut self, cursor: &mut Cursor<'_>, branch: bool) -> Result<Operand, Fail> {
        if let Some(reg) = self.register_alias(cursor) {
            return Ok(Operand::Reg(reg));
        }
        match cursor.peek() {
            b'%' => {
                let reg = self.register(cursor)?;
                if reg.class == RegClass::Seg && cursor.eat(b':') {
                    cursor.skip_space();
                    return self.att_memory(cursor, reg.num + 1);
                }
                Ok(Operand::Reg(reg))
            }
            b'$' => {
                cursor.pos += 1;
                let start = cursor.pos;
                let value = self.expression(cursor)?;
                if self.as_register(&value).is_some() {
                    cursor.pos = start;
                    return fail("a register where a value is expected");
                }
                Ok(Operand::Imm(self.open(value)))
            }
            b'*' => {
                cursor.pos += 1;
                cursor.skip_space();
                if cursor.peek() == b'%' {
                    return self.att_operand(cursor, false);
                }
                if let Some(reg) = self.register_alias(cursor) {
                    return Ok(Operand::Reg(reg));
                }
                self.att_memory(cursor, 0)
            }
            _ if branch => {
                let value = self.expression(cursor)?;
                if cursor.eat(b'(') {
                    cursor.pos -= 1;
                    return fail("an indirect branch has a `*` before its operand");
                }
                Ok(Operand::Target(self.open(value)))
            }
            _ => self.att_memory(cursor, 0),
        }
    }

    /// A value as an immediate or displacement: a number, or a number for the fixup to come.
    #[inline]
    pub(super) fn open(&mut self, value: Value) -> Imm {
        if let Some(value) = value.as_constant() {
            return Imm {
                value,
                symbolic: Symbolic::NONE,
            };
        }
        let value = self.unit.fold(&value, 0).unwrap_or(value);
        if let Some(value) = value.as_constant() {
            return Imm {
                value,
                symbolic: Symbolic::NONE,
            };
        }
        self.values.push(Value { addend: 0, ..value });
        Imm {
            value: value.addend,
            symbolic: Symbolic(self.values.len() as u32),
        }
    }

    /// `%name`
    #[inline]
    pub(super) fn register(&mut self, cursor: &mut Cursor<'_>) -> Result<Reg, Fail> {
        let start = cursor.pos;
        cursor.pos += 1;
        cursor.skip_space();
        match register_name(cursor) {
            Some(reg) => Ok(reg),
            None => {
                cursor.pos = start;
                fail("there is no such register")
            }
        }
    }

    fn att_memory(&mut self, cursor: &mut Cursor<'_>, segment: u8) -> Result<Operand, Fail> {
        let mut mem = Mem {
            segment,
            ..Mem::absolute(0)
        };
        if !(cursor.peek() == b'(' && self.opens_address(*cursor)) {
            let value = self.expression(cursor)?;
            let imm = self.open(value);
            (mem.disp, mem.symbolic) = (imm.value, imm.symbolic);
            cursor.skip_space();
        }
        if cursor.peek() != b'(' {
            return Ok(Operand::Mem(mem));
        }
        cursor.pos += 1;
        cursor.skip_space();
        mem.base = self.address_register(cursor)?;
        if cursor.eat(b',') {
            cursor.skip_space();
            mem.index = self.address_register(cursor)?;
            if mem.index.is_some() {
                if cursor.eat(b',') && !cursor.eat(b')') {
                    mem.scale = self.scale(cursor)?;
                } else if cursor.text[cursor.pos - 1] == b')' {
                    return Ok(Operand::Mem(mem));
                }
            } else {
                // `(base,1)`: a scale for nothing.
                self.scale(cursor)?;
            }
        }
        if !cursor.eat(b')') {
            return fail("a `)` is expected");
        }
        check_address(&mem)?;
        // `(%dx)` names the port, not memory.
        if let Some(
            reg @ Reg {
                class: RegClass::R16,
                num: 2,
            },
        ) = mem.base
        {
            return Ok(Operand::Reg(reg));
        }
        Ok(Operand::Mem(mem))
    }

    /// A register of an address, if there is one here.
    fn address_register(&mut self, cursor: &mut Cursor<'_>) -> Result<Option<Reg>, Fail> {
        if cursor.peek() == b'%' {
            return self.register(cursor).map(Some);
        }
        Ok(self.register_alias(cursor))
    }

    /// Whether a parenthesis holds registers rather than an expression.
    fn opens_address(&mut self, mut cursor: Cursor<'_>) -> bool {
        cursor.pos += 1;
        cursor.skip_space();
        matches!(cursor.peek(), b'%' | b',' | b')') || self.register_alias(&mut cursor).is_some()
    }

    fn scale(&mut self, cursor: &mut Cursor<'_>) -> Result<u8, Fail> {
        match self.number(cursor)? {
            scale @ (1 | 2 | 4 | 8) => Ok(scale as u8),
            other => fail(alloc::format!("the scale is 1, 2, 4 or 8, not {other}")),
        }
    }

    /// `{%k1}{z}`, `{1to8}`, `{rn-sae}` behind an operand or alone.
    pub(super) fn decorations(
        &mut self,
        cursor: &mut Cursor<'_>,
        inst: &mut Inst,
        mut operand: Option<&mut Operand>,
    ) -> Result<(), Fail> {
        while cursor.eat(b'{') {
            cursor.skip_space();
            let percent = cursor.eat(b'%');
            cursor.skip_space();
            let start = cursor.pos;
            while !matches!(cursor.peek(), b'}' | b'\n' | 0 | b' ') {
                cursor.pos += 1;
            }
            let word = cursor.text[start..cursor.pos].to_ascii_lowercase();
            if !cursor.eat(b'}') {
                return fail("a `}` is expected");
            }
            match &word[..] {
                [b'k', digit @ b'0'..=b'7'] if percent || self.intel => {
                    if *digit == b'0' {
                        return fail("k0 cannot be a write mask");
                    }
                    inst.mask = digit - b'0';
                }
                b"z" => inst.zeroing = true,
                b"rn-sae" => inst.rounding = Rounding::Nearest,
                b"rd-sae" => inst.rounding = Rounding::Down,
                b"ru-sae" => inst.rounding = Rounding::Up,
                b"rz-sae" => inst.rounding = Rounding::Zero,
                b"sae" => inst.rounding = Rounding::Sae,
                [b'1', b't', b'o', count @ ..] => {
                    let count = super::expression::parse_number(count, false);
                    match (&mut operand, count) {
                        (Some(Operand::Mem(mem)), Some(count @ (2 | 4 | 8 | 16 | 32))) => mem.broadcast = count as u8,
                        _ => return fail("a broadcast belongs to a memory operand: {1to2} to {1to32}"),
                    }
                }
                _ => {
                    cursor.pos = start;
                    return fail("an unknown decoration: {%k1} to {%k7}, {z}, {1toN}, {sae} or a rounding is expected");
                }
            }
        }
        Ok(())
    }
}

/// A register's name without `%`, `st(1)` included.
pub(super) fn register_name(cursor: &mut Cursor<'_>) -> Option<Reg> {
    let start = *cursor;
    let name = cursor.name();
    let mut lower = [0u8; 8];
    let lower = lower.get_mut(..name.len())?;
    lower.copy_from_slice(name);
    lower.make_ascii_lowercase();
    let Some(reg) = Reg::named(lower) else {
        *cursor = start;
        return None;
    };
    if reg.class == RegClass::St {
        let mut ahead = *cursor;
        if ahead.eat(b'(') {
            ahead.skip_space();
            let digit = ahead.peek();
            ahead.pos += 1;
            if (b'0'..=b'7').contains(&digit) && ahead.eat(b')') {
                *cursor = ahead;
                return Some(Reg::new(RegClass::St, digit - b'0'));
            }
        }
    }
    Some(reg)
}

/// Registers that can form an address.
pub(super) fn check_address(mem: &Mem) -> Result<(), Fail> {
    let base_fits = match mem.base {
        None => true,
        Some(Reg {
            class: RegClass::R64 | RegClass::R32,
            ..
        }) => true,
        Some(Reg {
            class: RegClass::Rip, ..
        }) => mem.index.is_none(),
        Some(Reg {
            class: RegClass::R16,
            num: 2,
        }) => mem.index.is_none() && mem.disp == 0,
        Some(_) => false,
    };
    let index_fits = match (mem.index, mem.base) {
        (None, _) => true,
        (Some(index), base) => match index.class {
            RegClass::R64 | RegClass::R32 => base.is_none_or(|b| b.class == index.class),
            RegClass::NoIndex | RegClass::Xmm | RegClass::Ymm | RegClass::Zmm => true,
            _ => false,
        },
    };
    if base_fits && index_fits {
        Ok(())
    } else {
        fail("these registers do not form an address")
    }
}

impl Mem {
    /// Applies `{disp8}` and `{disp32}`.
    pub(super) fn set_disp_size(&mut self, size: DispSize) {
        self.disp_size = size;
    }
}
