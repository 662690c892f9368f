//! The `.cfi_*` directives. What they say is written in the end ([`super::frames`]), when addresses are known.

use alloc::vec::Vec;

use super::cursor::Cursor;
use super::{Assembler, Fail, fail, string};
use crate::symbol::{SectionId, SymbolId, Value};

type Done = Result<(), Fail>;

/// DW_EH_PE_omit
pub(super) const PE_OMIT: u8 = 0xff;
pub(super) const RETURN_ADDRESS: u64 = 16;

/// A place in a section before its size is final: offset and item.
pub(super) type Spot = (u64, u32);

/// One call frame instruction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Op {
    DefCfa(u64, i64),
    DefCfaRegister(u64),
    DefCfaOffset(i64),
    Offset(u64, i64),
    ValOffset(u64, i64),
    Register(u64, u64),
    Restore(u64),
    Undefined(u64),
    SameValue(u64),
    Remember,
    RestoreState,
    WindowSave,
    Escape(Vec<u8>),
    /// No instruction: a symbol at this place of the table.
    Label(SymbolId),
}

/// A pointer of the augmentation: how it is encoded, and what it points at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pointer {
    pub(super) encoding: u8,
    pub(super) value: Value,
}

impl Pointer {
    const NONE: Self = Self {
        encoding: PE_OMIT,
        value: Value::constant(0),
    };
}

/// A function's frame information.
#[derive(Debug)]
pub(super) struct Frame {
    pub(super) section: SectionId,
    pub(super) start: Spot,
    pub(super) end: Option<Spot>,
    pub(super) ops: Vec<(Spot, Op)>,
    pub(super) personality: Pointer,
    pub(super) lsda: Pointer,
    pub(super) signal: bool,
    pub(super) return_address: u64,
    pub(super) line: u32,
}

/// The state of the CFI directives.
#[derive(Debug)]
pub(super) struct Cfi {
    pub(super) frames: Vec<Frame>,
    open: bool,
    /// The CFA's offset from its register, and those saved by `.cfi_remember_state`.
    offset: i64,
    saved: Vec<i64>,
    pub(super) eh_frame: bool,
    pub(super) debug_frame: bool,
}

impl Default for Cfi {
    fn default() -> Self {
        Self {
            frames: Vec::new(),
            open: false,
            offset: 0,
            saved: Vec::new(),
            eh_frame: true,
            debug_frame: false,
        }
    }
}

impl Assembler<'_> {
    fn spot(&self) -> Spot {
        let section = &self.unit.sections[self.current as usize];
        (section.fixed_size(), section.item_count())
    }

    /// `.cfi_startproc [simple]`
    pub(super) fn start_frame(&mut self, cursor: &mut Cursor<'_>) -> Done {
        if self.cfi.open {
            return fail("the .cfi_startproc before this has no .cfi_endproc");
        }
        let simple = cursor.name() == b"simple";
        let start = self.spot();
        let mut ops = Vec::new();
        if !simple {
            ops.push((start, Op::DefCfa(7, 8)));
            ops.push((start, Op::Offset(RETURN_ADDRESS, -8)));
        }
        self.cfi.frames.push(Frame {
            section: self.current,
            start,
            end: None,
            ops,
            personality: Pointer::NONE,
            lsda: Pointer::NONE,
            signal: false,
            return_address: RETURN_ADDRESS,
            line: self.line,
        });
        self.cfi.open = true;
        self.cfi.offset = if simple { 0 } else { 8 };
        self.cfi.saved.clear();
        Ok(())
    }

    /// `.cfi_sections .eh_frame, .debug_frame`
    pub(super) fn cfi_sections(&mut self, cursor: &mut Cursor<'_>) -> Done {
        (self.cfi.eh_frame, self.cfi.debug_frame) = (false, false);
        while !cursor.at_end() {
            match cursor.name() {
                b".eh_frame" => self.cfi.eh_frame = true,
                b".debug_frame" => self.cfi.debug_frame = true,
                _ => return fail(".eh_frame or .debug_frame is expected"),
            }
            cursor.eat(b',');
        }
        Ok(())
    }

    /// The function that is being described.
    fn frame(&mut self) -> Result<&mut Frame, Fail> {
        match self.cfi.frames.last_mut() {
            Some(frame) if self.cfi.open => Ok(frame),
            _ => fail("a CFI directive outside of .cfi_startproc and .cfi_endproc"),
        }
    }

    pub(super) fn end_frame(&mut self) -> Done {
        let (end, current) = (self.spot(), self.current);
        let frame = self.frame()?;
        if frame.section != current {
            return fail("this function began in another section");
        }
        frame.end = Some(end);
        self.cfi.open = false;
        Ok(())
    }

    pub(super) fn signal_frame(&mut self) -> Done {
        self.frame()?.signal = true;
        Ok(())
    }

    pub(super) fn return_column(&mut self, cursor: &mut Cursor<'_>) -> Done {
        let register = self.cfi_register(cursor)?;
        self.frame()?.return_address = register;
        Ok(())
    }

    /// `.cfi_personality encoding, symbol` and `.cfi_lsda`
    pub(super) fn cfi_pointer(&mut self, cursor: &mut Cursor<'_>, lsda: bool) -> Done {
        let encoding = self.number(cursor)? as u8;
        let mut pointer = Pointer::NONE;
        if encoding != PE_OMIT {
            if !cursor.eat(b',') {
                return fail("a `,` and a symbol are expected");
            }
            pointer = Pointer {
                encoding,
                value: self.expression(cursor)?,
            };
            if encoded_size(encoding) == 0 {
                return fail("this pointer encoding is not supported");
            }
        }
        let frame = self.frame()?;
        *(if lsda { &mut frame.lsda } else { &mut frame.personality }) = pointer;
        Ok(())
    }

    pub(super) fn def_cfa(&mut self, cursor: &mut Cursor<'_>) -> Done {
        let (register, offset) = self.register_and_offset(cursor)?;
        self.cfi.offset = offset;
        self.add_op(Op::DefCfa(register, offset))
    }

    pub(super) fn def_cfa_register(&mut self, cursor: &mut Cursor<'_>) -> Done {
        let register = self.cfi_register(cursor)?;
        self.add_op(Op::DefCfaRegister(register))
    }

    pub(super) fn def_cfa_offset(&mut self, cursor: &mut Cursor<'_>) -> Done {
        self.cfi.offset = self.number(cursor)?;
        self.add_op(Op::DefCfaOffset(self.cfi.offset))
    }

    pub(super) fn adjust_cfa_offset(&mut self, cursor: &mut Cursor<'_>) -> Done {
        let more = self.number(cursor)?;
        self.cfi.offset = self.cfi.offset.wrapping_add(more);
        self.add_op(Op::DefCfaOffset(self.cfi.offset))
    }

    pub(super) fn cfi_offset(&mut self, cursor: &mut Cursor<'_>) -> Done {
        let (register, offset) = self.register_and_offset(cursor)?;
        self.add_op(Op::Offset(register, offset))
    }

    pub(super) fn cfi_rel_offset(&mut self, cursor: &mut Cursor<'_>) -> Done {
        let (register, offset) = self.register_and_offset(cursor)?;
        self.add_op(Op::Offset(register, offset.wrapping_sub(self.cfi.offset)))
    }

    pub(super) fn cfi_val_offset(&mut self, cursor: &mut Cursor<'_>) -> Done {
        let (register, offset) = self.register_and_offset(cursor)?;
        self.add_op(Op::ValOffset(register, offset))
    }

    /// `.cfi_register register, register`
    pub(super) fn cfi_moved(&mut self, cursor: &mut Cursor<'_>) -> Done {
        let register = self.cfi_register(cursor)?;
        if !cursor.eat(b',') {
            return fail("a `,` and a register are expected");
        }
        let to = self.cfi_register(cursor)?;
        self.add_op(Op::Register(register, to))
    }

    /// `.cfi_restore register, register`, `.cfi_undefined`, `.cfi_same_value`
    pub(super) fn cfi_registers(&mut self, cursor: &mut Cursor<'_>, op: fn(u64) -> Op) -> Done {
        loop {
            let register = self.cfi_register(cursor)?;
            self.add_op(op(register))?;
            if !cursor.eat(b',') {
                return Ok(());
            }
        }
    }

    pub(super) fn remember_state(&mut self) -> Done {
        self.cfi.saved.push(self.cfi.offset);
        self.add_op(Op::Remember)
    }

    pub(super) fn restore_state(&mut self) -> Done {
        let Some(offset) = self.cfi.saved.pop() else {
            return fail(".cfi_restore_state without .cfi_remember_state");
        };
        self.cfi.offset = offset;
        self.add_op(Op::RestoreState)
    }

    /// `.cfi_escape byte, byte`
    pub(super) fn cfi_escape(&mut self, cursor: &mut Cursor<'_>) -> Done {
        let mut bytes = Vec::new();
        loop {
            bytes.push(self.number(cursor)? as u8);
            if !cursor.eat(b',') {
                break;
            }
        }
        self.add_op(Op::Escape(bytes))
    }

    /// `.cfi_label name`
    pub(super) fn cfi_label(&mut self, cursor: &mut Cursor<'_>) -> Done {
        let name = string::name_or_quoted(cursor)?;
        let id = self.unit.symbols.intern(&name);
        if self.unit.symbols.get(id).is_defined() {
            return fail("this symbol is defined already");
        }
        self.add_op(Op::Label(id))
    }

    pub(super) fn add_op(&mut self, op: Op) -> Done {
        let (spot, current) = (self.spot(), self.current);
        let frame = self.frame()?;
        if frame.section != current {
            return fail("this function began in another section");
        }
        frame.ops.push((spot, op));
        Ok(())
    }

    fn register_and_offset(&mut self, cursor: &mut Cursor<'_>) -> Result<(u64, i64), Fail> {
        let register = self.cfi_register(cursor)?;
        if !cursor.eat(b',') {
            return fail("a `,` and an offset are expected");
        }
        Ok((register, self.number(cursor)?))
    }

    /// A DWARF register: a number or a name (psABI, figure 3.36).
    fn cfi_register(&mut self, cursor: &mut Cursor<'_>) -> Result<u64, Fail> {
        use crate::reg::RegClass as C;
        cursor.skip_space();
        if cursor.peek().is_ascii_digit() {
            return Ok(self.number(cursor)? as u64);
        }
        let start = *cursor;
        let percent = cursor.eat(b'%');
        if let Some(reg) = super::att::register_name(cursor) {
            const ORDER: [u64; 8] = [0, 2, 1, 3, 7, 6, 4, 5];
            let number = match reg.class {
                C::R64 if reg.num < 8 => ORDER[reg.num as usize],
                C::R64 => reg.num.into(),
                C::Rip => 16,
                C::Xmm if reg.num < 16 => 17 + u64::from(reg.num),
                C::Xmm => 67 + u64::from(reg.num) - 16,
                C::St => 33 + u64::from(reg.num),
                C::Mm => 41 + u64::from(reg.num),
                C::Seg => 50 + u64::from(reg.num),
                C::K => 118 + u64::from(reg.num),
                _ => return fail("this register has no DWARF number"),
            };
            return Ok(number);
        }
        *cursor = start;
        if percent {
            return fail("there is no such register");
        }
        Ok(self.number(cursor)? as u64)
    }

    pub(super) fn check_cfi(&mut self) {
        if self.cfi.open {
            let line = self.cfi.frames.last().map_or(0, |frame| frame.line);
            self.report_line(line, "this .cfi_startproc has no .cfi_endproc");
        }
    }
}

/// The size of a pointer of this encoding; 0 for none and for the variable ones.
pub(super) fn encoded_size(encoding: u8) -> u8 {
    match encoding {
        PE_OMIT => 0,
        _ => match encoding & 15 {
            0 | 4 | 12 => 8,
            2 | 10 => 2,
            3 | 11 => 4,
            _ => 0,
        },
    }
}
