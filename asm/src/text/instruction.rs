//! Instruction statements: prefixes, mnemonic, operands; and where their bytes go.

use super::cursor::{Cursor, starts_name};
use super::{Assembler, Fail, fail};
use crate::encode::{Encoded, FixupKind, encode};
use crate::inst::{Hints, Inst, Prefixes, Syntax};
use crate::operand::{DispSize, Operand, Symbolic};
use crate::row::{Mnemonic, flag};
use crate::section::Fix;
use crate::symbol::{Operator, Value};

/// `call` and `jmp` with 32 bits, `jmp` with 8.
const CALL: u8 = 0xe8;
const JMP: u8 = 0xe9;
const SHORT_JMP: u8 = 0xeb;

/// The 8-bit form of a jump's opcode.
fn short_opcode(long: u8) -> u8 {
    if long == JMP { SHORT_JMP } else { long - 0x10 }
}

/// The longest mnemonic with a suffix.
const LONGEST: usize = 32;

/// What a line says before the mnemonic.
#[derive(Default, PartialEq, Eq)]
struct Before {
    prefixes: Prefixes,
    hints: Hints,
    disp: DispSize,
    /// A segment prefix by itself: the register's number plus one.
    segment: u8,
}

impl Before {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// A mnemonic as written: as it stands, and less a size suffix.
struct Found {
    exact: Option<Mnemonic>,
    stripped: Option<(Mnemonic, u8)>,
    suffix_first: bool,
}

impl Assembler<'_> {
    /// An instruction whose mnemonic or first prefix has been read.
    pub(super) fn instruction(&mut self, cursor: &mut Cursor<'_>, name: &[u8], start: usize) -> Result<(), Fail> {
        let mut before = Before::default();
        let mut buffer = [0u8; LONGEST];
        let mut name = name;
        let mut start = start;
        let found = loop {
            if name.is_empty() {
                self.pseudo_prefix(cursor, &mut before)?;
                cursor.skip_space();
                start = cursor.pos;
                name = cursor.name();
                if name.is_empty() && cursor.peek() != b'{' {
                    return fail("an instruction is expected");
                }
                continue;
            }
            let Some(lower) = buffer.get_mut(..name.len()) else {
                cursor.pos = start;
                return fail("there is no such instruction");
            };
            lower.copy_from_slice(name);
            if cursor.peek() == b'-' && matches!(&*lower, b"xcrypt" | b"xstore") {
                // Only these names have a hyphen.
                cursor.pos += 1;
                cursor.name();
                name = &cursor.text[start..cursor.pos];
                continue;
            }
            lower.make_ascii_lowercase();
            let found = self.find(lower);
            if found.exact.is_some() || found.stripped.is_some() {
                let is_wait = lower == b"wait" || lower == b"fwait";
                if !is_wait || cursor.at_end() {
                    break found;
                }
            }
            if !prefix(lower, &mut before) {
                cursor.pos = start;
                return fail(alloc::format!(
                    "there is no instruction `{}`",
                    alloc::string::String::from_utf8_lossy(name)
                ));
            }
            if cursor.at_end() {
                self.lone_prefix(&before)?;
                return Ok(());
            }
            start = cursor.pos;
            name = cursor.name();
        };
        if cursor.peek() == b',' {
            branch_hint(cursor, &mut before)?;
        }
        if let Some(mnemonic) = found.exact
            && before.is_empty()
            && mnemonic.is_branch()
            && self.plain_branch(cursor, mnemonic)?
        {
            return Ok(());
        }
        self.finish_instruction(cursor, &found, &before, start)
    }

    fn find(&self, lower: &[u8]) -> Found {
        let exact = Mnemonic::named(lower);
        if self.intel {
            return Found {
                exact,
                stripped: None,
                suffix_first: false,
            };
        }
        let mut found = Found {
            exact,
            stripped: None,
            suffix_first: false,
        };
        if let [head @ .., suffix @ (b'b' | b'w' | b'l' | b'q' | b's' | b't')] = lower {
            found.stripped = Mnemonic::named(head).map(|m| (m, *suffix));
            found.suffix_first = lower == b"movq";
        }
        found
    }

    /// `jmp`, `jcc` or `call` and the name of a symbol, which most branches are. Returns whether it was one.
    fn plain_branch(&mut self, cursor: &mut Cursor<'_>, mnemonic: Mnemonic) -> Result<bool, Fail> {
        let row = mnemonic.row();
        let is_jump = row.flags & flag::RELAX != 0;
        cursor.skip_space();
        // In Intel syntax other names may be registers or keywords.
        let named = cursor.peek() == b'.' || (!self.intel && starts_name(cursor.peek()));
        if !named || !(is_jump || row.opcode == CALL) {
            return Ok(false);
        }
        let start = *cursor;
        let value = self.expression(cursor)?;
        let value = self.unit.fold(&value, 0).unwrap_or(value);
        let branches = matches!(value.operator, Operator::None | Operator::Plt);
        if value.as_constant().is_some() || !branches || !cursor.at_end() {
            *cursor = start;
            return Ok(false);
        }
        if self.lines.pending {
            self.line_entry();
        }
        let line = self.line;
        let section = &mut self.unit.sections[self.current as usize];
        if section.is_nobits() {
            return fail("instructions in a section without bytes");
        }
        section.has_code = true;
        if is_jump {
            section.push_jump(short_opcode(row.opcode), self.unit.symbols.keep(value), line);
            return Ok(true);
        }
        let kind = self.unit.branch_kind(&value);
        let section = &mut self.unit.sections[self.current as usize];
        section.bytes.extend([CALL, 0, 0, 0, 0]);
        section.fixes.push(Fix {
            offset: section.bytes.len() as u64 - 4,
            value,
            item: section.items.len() as u32,
            line,
            size: 4,
            to_end: 4,
            relaxable: 0,
            kind,
        });
        Ok(true)
    }

    fn finish_instruction(
        &mut self,
        cursor: &mut Cursor<'_>,
        found: &Found,
        before: &Before,
        start: usize,
    ) -> Result<(), Fail> {
        let Some(first) = found.exact.or(found.stripped.map(|(m, _)| m)) else {
            return fail("no mnemonic");
        };
        self.values.clear();
        let mut inst = Inst::new(first);
        inst.prefixes = before.prefixes;
        inst.hints = before.hints;
        if let Some(flags) = default_flags(cursor)? {
            inst.default_flags = flags;
            inst.hints = inst.hints.with(Hints::DFV);
        }
        let branch = first.is_branch();
        if self.intel {
            self.intel_operands(cursor, &mut inst, branch)?;
        } else {
            inst.syntax = Syntax::Att;
            self.att_operands(cursor, &mut inst, branch)?;
        }
        for operand in inst.operands.iter_mut().take(inst.len as usize) {
            if let Operand::Mem(mem) = operand {
                mem.set_disp_size(before.disp);
                if before.segment != 0 && mem.segment == 0 {
                    mem.segment = before.segment;
                }
            }
        }
        if self.values.iter().any(|value| value.operator == Operator::Tlscall) {
            return self.tls_call(inst, cursor, start);
        }
        let whole = Inst {
            mnemonic: first,
            suffix: if found.exact.is_none() {
                found.stripped.map_or(0, |s| s.1)
            } else {
                0
            },
            ..inst
        };
        if is_breakpoint(&whole) {
            let int3 = Inst {
                len: 0,
                mnemonic: const { Mnemonic::constant("int3") },
                ..whole
            };
            return self.encode_and_emit(&int3, cursor, start);
        }
        if let (Some(_), Some((mnemonic, suffix))) = (found.exact, found.stripped) {
            let with_suffix = Inst {
                mnemonic,
                suffix,
                ..inst
            };
            let vector = inst
                .operands()
                .iter()
                .any(|op| matches!(op, Operand::Reg(r) if r.size_bytes() >= 16 || r.class == crate::reg::RegClass::Mm));
            let (one, other) = if found.suffix_first && !vector {
                (with_suffix, whole)
            } else {
                (whole, with_suffix)
            };
            return match encode(&one) {
                Ok(encoded) => self.emit(&one, &encoded),
                Err(error) => match encode(&other) {
                    Ok(encoded) => self.emit(&other, &encoded),
                    Err(_) => {
                        cursor.pos = start;
                        fail(alloc::format!("{error}"))
                    }
                },
            };
        }
        self.encode_and_emit(&whole, cursor, start)
    }

    /// `call *x@TLSCALL(%rax)`: the relocation marks the instruction and fills nothing in.
    fn tls_call(&mut self, mut inst: Inst, cursor: &mut Cursor<'_>, start: usize) -> Result<(), Fail> {
        let value = self.values[0];
        if let Operand::Mem(mem) = &mut inst.operands[0] {
            mem.symbolic = Symbolic::NONE;
        }
        let section = &mut self.unit.sections[self.current as usize];
        section.fixes.push(Fix {
            offset: section.fixed_size(),
            value,
            item: section.item_count(),
            line: self.line,
            size: 0,
            to_end: 0,
            relaxable: 0,
            kind: FixupKind::Absolute,
        });
        self.encode_and_emit(&inst, cursor, start)
    }

    #[inline]
    fn encode_and_emit(&mut self, inst: &Inst, cursor: &mut Cursor<'_>, start: usize) -> Result<(), Fail> {
        match encode(inst) {
            Ok(encoded) => self.emit(inst, &encoded),
            Err(error) => {
                cursor.pos = start;
                fail(alloc::format!("{error}"))
            }
        }
    }

    /// Appends bytes of a line that has been seen.
    #[inline]
    pub(super) fn append_known(&mut self, bytes: &[u8; super::memo::BYTES], len: usize) {
        let section = &mut self.unit.sections[self.current as usize];
        // A copy of a size that the compiler knows, and the rest of it taken off again.
        section.bytes.extend_from_slice(bytes);
        section.bytes.truncate(section.bytes.len() - (bytes.len() - len));
    }

    /// An instruction comes: the line that waits for one is its, and the section has code.
    #[inline]
    pub(super) fn before_instruction(&mut self) {
        if self.lines.pending {
            self.line_entry();
        }
        self.unit.sections[self.current as usize].has_code = true;
    }

    /// Appends an instruction to the section.
    #[inline]
    fn emit(&mut self, inst: &Inst, encoded: &Encoded) -> Result<(), Fail> {
        if self.lines.pending {
            self.line_entry();
        }
        let line = self.line;
        let section = &mut self.unit.sections[self.current as usize];
        if section.is_nobits() {
            return fail("instructions in a section without bytes");
        }
        section.has_code = true;
        if inst.mnemonic.row().flags & flag::RELAX != 0
            && let Operand::Target(target) = inst.operands[0]
            && target.symbolic.is_some()
            && !inst.hints.has(Hints::DISP32)
        {
            let opcode = short_opcode(inst.mnemonic.row().opcode);
            // Everything before the opcode: `bnd`, `notrack`, branch hints.
            let lead = encoded.bytes().len() - if opcode == SHORT_JMP { 5 } else { 6 };
            section.bytes.extend_from_slice(&encoded.bytes()[..lead]);
            let value = self.values[target.symbolic.0 as usize - 1];
            let target = Value {
                addend: target.value,
                ..value
            };
            section.push_jump(opcode, self.unit.symbols.keep(target), line);
            return Ok(());
        }
        let offset = section.bytes.len() as u64;
        section.bytes.extend_from_slice(encoded.bytes());
        if encoded.fixups().is_empty() {
            self.known_len = encoded.bytes().len();
        }
        let item = section.items.len() as u32;
        for fixup in encoded.fixups() {
            let value = match fixup.symbolic.0 {
                0 => Value::constant(fixup.addend),
                id => Value {
                    addend: fixup.addend,
                    ..self.values[id as usize - 1]
                },
            };
            let kind = match fixup.kind {
                FixupKind::Branch => self.unit.branch_kind(&value),
                kind => kind,
            };
            self.unit.sections[self.current as usize].fixes.push(Fix {
                offset: offset + u64::from(fixup.offset),
                value,
                item,
                line,
                size: fixup.size,
                to_end: fixup.to_end,
                relaxable: fixup.relaxable,
                kind,
            });
        }
        Ok(())
    }

    /// `{vex3}`, `{disp32}`, `{dfv=of,cf}` before the mnemonic.
    fn pseudo_prefix(&mut self, cursor: &mut Cursor<'_>, before: &mut Before) -> Result<(), Fail> {
        let start = cursor.pos;
        cursor.pos += 1;
        let from = cursor.pos;
        while !matches!(cursor.peek(), b'}' | b'\n' | 0) {
            cursor.pos += 1;
        }
        let word = cursor.text[from..cursor.pos].trim_ascii().to_ascii_lowercase();
        if !cursor.eat(b'}') {
            return fail("a `}` is expected");
        }
        let hint = match &word[..] {
            b"vex" | b"vex2" => Hints::VEX,
            b"vex3" => Hints::VEX3,
            b"evex" => Hints::EVEX,
            b"load" => Hints::LOAD,
            b"store" => Hints::STORE,
            b"nooptimize" => Hints::KEEP,
            b"nf" => Hints::NF,
            b"disp8" => {
                before.disp = DispSize::Disp8;
                Hints::DISP8
            }
            b"disp32" => {
                before.disp = DispSize::Disp32;
                Hints::DISP32
            }
            b"rex" => {
                before.prefixes = before.prefixes.with(Prefixes::REX);
                return Ok(());
            }
            b"rex2" => {
                before.prefixes = before.prefixes.with(Prefixes::REX2);
                return Ok(());
            }
            _ => {
                cursor.pos = start;
                return fail("an unknown pseudo prefix");
            }
        };
        // Only the branch forms look at these two; elsewhere they are about displacements.
        if !matches!(hint, Hints::DISP8 | Hints::DISP32) {
            before.hints = before.hints.with(hint);
        }
        Ok(())
    }

    /// A prefix that stands alone on its line applies to the next instruction, which begins here for a line table.
    fn lone_prefix(&mut self, before: &Before) -> Result<(), Fail> {
        let p = before.prefixes;
        let all = [
            (Prefixes::FWAIT, 0x9b),
            (Prefixes::NOTRACK, 0x3e),
            (Prefixes::ADDR32, 0x67),
            (Prefixes::DATA16, 0x66),
            (Prefixes::REPNE, 0xf2),
            (Prefixes::XACQUIRE, 0xf2),
            (Prefixes::REP, 0xf3),
            (Prefixes::XRELEASE, 0xf3),
            (Prefixes::LOCK, 0xf0),
            (Prefixes::REX, 0x40),
            (Prefixes::REX64, 0x48),
        ];
        if self.lines.pending {
            self.line_entry();
        }
        let section = &mut self.unit.sections[self.current as usize];
        if section.is_nobits() {
            return fail("instructions in a section without bytes");
        }
        section.has_code = true;
        if let Some(segment) = before.segment.checked_sub(1) {
            section
                .bytes
                .push([0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65][segment as usize]);
        }
        let stated = all.iter().filter(|(prefix, _)| p.has(*prefix));
        section.bytes.extend(stated.map(|(_, byte)| byte));
        Ok(())
    }
}

/// `int $3`, which has an opcode of its own.
fn is_breakpoint(inst: &Inst) -> bool {
    inst.mnemonic == const { Mnemonic::constant("int") }
        && matches!(inst.operands(), [Operand::Imm(imm)] if imm.value == 3 && !imm.symbolic.is_some())
}

/// Takes a prefix's name.
fn prefix(name: &[u8], before: &mut Before) -> bool {
    let prefix = match name {
        b"lock" => Prefixes::LOCK,
        b"rep" | b"repe" | b"repz" => Prefixes::REP,
        b"repne" | b"repnz" | b"bnd" => Prefixes::REPNE,
        b"data16" | b"data32" | b"word" => Prefixes::DATA16,
        b"addr32" | b"addr16" | b"aword" => Prefixes::ADDR32,
        b"notrack" => Prefixes::NOTRACK,
        b"rex64" | b"rex.w" => Prefixes::REX64,
        b"rex" => Prefixes::REX,
        b"wait" | b"fwait" => Prefixes::FWAIT,
        b"xacquire" => Prefixes::XACQUIRE,
        b"xrelease" => Prefixes::XRELEASE,
        b"es" | b"cs" | b"ss" | b"ds" | b"fs" | b"gs" => {
            let names: [&[u8]; 6] = [b"es", b"cs", b"ss", b"ds", b"fs", b"gs"];
            before.segment = names.iter().position(|n| *n == name).map_or(0, |n| n as u8 + 1);
            return true;
        }
        _ => return false,
    };
    before.prefixes = before.prefixes.with(prefix);
    true
}

/// `{dfv=of,sf}` behind `ccmp` and `ctest`: what the flags are if the condition does not hold.
fn default_flags(cursor: &mut Cursor<'_>) -> Result<Option<u8>, Fail> {
    cursor.skip_space();
    let start = *cursor;
    if !cursor.eat(b'{') {
        return Ok(None);
    }
    cursor.skip_space();
    if !cursor.name().eq_ignore_ascii_case(b"dfv") || !cursor.eat(b'=') {
        *cursor = start;
        return Ok(None);
    }
    let mut flags = 0;
    loop {
        cursor.skip_space();
        let bit = match &cursor.name().to_ascii_lowercase()[..] {
            b"of" => 8,
            b"sf" => 4,
            b"zf" => 2,
            b"cf" => 1,
            b"" if flags == 0 => 0,
            _ => return fail("a default flag is of, sf, zf or cf"),
        };
        if bit != 0 && flags & bit != 0 {
            return fail("a default flag stands twice");
        }
        flags |= bit;
        if cursor.eat(b'}') {
            return Ok(Some(flags));
        }
        if bit == 0 || !cursor.eat(b',') {
            return fail("a `}` is expected");
        }
    }
}

/// `jne,pt target`
fn branch_hint(cursor: &mut Cursor<'_>, before: &mut Before) -> Result<(), Fail> {
    cursor.pos += 1;
    match cursor.name() {
        b"pt" => before.prefixes = before.prefixes.with(Prefixes::NOTRACK),
        b"pn" => before.segment = 2,
        _ => return fail("`pt` or `pn` is expected"),
    }
    Ok(())
}
