//! Assembling from Rust: instructions, labels, data and sections, to bytes at an address or to an object.

use alloc::string::String;
use alloc::vec::Vec;

use crate::EncodeError;
use crate::encode::{self, CAPACITY, Fault, FixupKind, encode};
use crate::inst::{Hints, Inst};
use crate::layout::{Target, r};
use crate::operand::{Imm, Mem, Operand, Symbolic};
use crate::row::{Mnemonic, flag};
use crate::section::{Fix, Item, ItemKind, Padding, Section, elf};
use crate::symbol::{Binding, Place, SectionId, SymbolId, Value, ValueId};
use crate::tail::Tail;
use crate::typed::{Emit, Sealed};
use crate::unit::Unit;

/// A place in the code, or a symbol of somewhere else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Label(SymbolId);

impl Label {
    /// As the target of a branch or call.
    #[must_use]
    pub fn target(self) -> Operand {
        Operand::Target(Imm {
            value: 0,
            symbolic: Symbolic(self.0),
        })
    }

    /// As memory: `[rip + label + disp]`.
    #[must_use]
    pub fn memory(self, disp: i32) -> Mem {
        Mem::symbol(Symbolic(self.0), disp)
    }

    /// As an immediate: the address, plus a constant.
    #[must_use]
    pub fn address(self, addend: i64) -> Imm {
        Imm {
            value: addend,
            symbolic: Symbolic(self.0),
        }
    }
}

impl From<Label> for Operand {
    fn from(label: Label) -> Self {
        label.target()
    }
}

/// Why code cannot be finished.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// A label was used and never bound, and nobody knows the symbol.
    #[error("{name} is not bound")]
    Unbound {
        /// The symbol, or "a local label".
        name: String,
    },
    /// A label was bound twice.
    #[error("{name} is bound already")]
    BoundTwice {
        /// The symbol, or "a local label".
        name: String,
    },
    /// A value does not fit its place.
    #[error("at {offset:#x}: {value:#x} does not fit {bits} bits")]
    Range {
        /// Where in the bytes.
        offset: u64,
        /// The value.
        value: i64,
        /// The place's width.
        bits: u32,
    },
    /// This needs an object: bytes at an address have no relocations and one section.
    #[error("{what}")]
    NotPlain {
        /// What is needed.
        what: String,
    },
    /// What the layout of an object found.
    #[error("{message}")]
    Layout {
        /// What is wrong.
        message: String,
    },
}

/// Builds machine code.
///
/// Jumps to labels take two bytes where they reach, whether the label is before or after.
#[derive(Debug)]
pub struct Builder {
    unit: Unit,
    current: SectionId,
    /// The bytes of the current section, which has none meanwhile.
    tail: Tail,
}

impl Default for Builder {
    fn default() -> Self {
        Self::new()
    }
}

impl Builder {
    /// Nothing yet; what is added goes to `.text`.
    #[must_use]
    pub fn new() -> Self {
        let mut unit = Unit::new(0);
        unit.sections.push(Section::new(
            b".text",
            elf::SHT_PROGBITS,
            elf::SHF_ALLOC | elf::SHF_EXECINSTR,
        ));
        Self {
            unit,
            current: 0,
            tail: Tail::default(),
        }
    }

    /// A label that is not bound yet.
    pub fn label(&mut self) -> Label {
        Label(self.unit.symbols.anonymous(Place::Undefined))
    }

    /// The symbol of this name: one of this code's own if it gets bound, else one of somewhere else.
    pub fn symbol(&mut self, name: &str) -> Label {
        Label(self.unit.symbols.intern(name.as_bytes()))
    }

    /// Makes a symbol global in an object.
    pub fn global(&mut self, symbol: Label) {
        let symbol = self.unit.symbols.get_mut(symbol.0);
        symbol.binding = Binding::Global;
        symbol.mentioned = true;
    }

    /// Makes a symbol a function of an object.
    pub fn function(&mut self, symbol: Label) {
        self.unit.symbols.get_mut(symbol.0).kind = elf::STT_FUNC;
    }

    /// The label is here.
    ///
    /// # Errors
    /// If it is somewhere already.
    pub fn bind(&mut self, label: Label) -> Result<(), BuildError> {
        if self.unit.symbols.get(label.0).place != Place::Undefined {
            return Err(BuildError::BoundTwice {
                name: self.unit.name(label.0),
            });
        }
        self.unit.symbols.get_mut(label.0).place = self.place();
        Ok(())
    }

    /// A new label that is here.
    pub fn here(&mut self) -> Label {
        let place = self.place();
        Label(self.unit.symbols.anonymous(place))
    }

    #[inline]
    fn place(&self) -> Place {
        Place::Label {
            section: self.current,
            offset: self.position(),
            item: self.unit.sections[self.current as usize].item_count(),
        }
    }

    /// What follows goes to the section of this name; the flags are ELF's (`SHF_*`) and count where it is new.
    pub fn section(&mut self, name: &str, flags: u64) {
        let known = self.unit.sections.iter().position(|s| s.name == name.as_bytes());
        let index = known.unwrap_or_else(|| {
            self.unit
                .sections
                .push(Section::new(name.as_bytes(), elf::SHT_PROGBITS, flags));
            self.unit.sections.len() - 1
        });
        self.leave();
        self.current = index as SectionId;
        self.tail = Tail::new(core::mem::take(&mut self.section_mut().bytes));
    }

    /// Gives the current section its bytes.
    fn leave(&mut self) {
        self.section_mut().bytes = core::mem::take(&mut self.tail).into_bytes();
    }

    /// Appends an instruction.
    ///
    /// # Errors
    /// As [`encode`].
    pub fn emit(&mut self, inst: &Inst) -> Result<(), EncodeError> {
        let encoded = encode(inst)?;
        let row = inst.mnemonic.row();
        if let Operand::Target(target) = inst.operands[0]
            && row.flags & flag::RELAX != 0
            && target.symbolic.is_some()
            && !inst.hints.has(Hints::DISP32)
        {
            let opcode = if row.opcode == 0xe9 { 0xeb } else { row.opcode - 0x10 };
            let lead = encoded.bytes().len() - if opcode == 0xeb { 5 } else { 6 };
            self.tail.extend(&encoded.bytes()[..lead]);
            self.push_jump(opcode, target);
            return Ok(());
        }
        let offset = self.position();
        self.tail.extend(encoded.bytes());
        let section = self.section_mut();
        for fixup in encoded.fixups() {
            let fix = Fix {
                offset: offset + u64::from(fixup.offset),
                value: Value {
                    addend: fixup.addend,
                    ..Value::symbol(fixup.symbolic.0)
                },
                item: section.item_count(),
                line: 0,
                size: fixup.size,
                to_end: fixup.to_end,
                relaxable: fixup.relaxable,
                kind: fixup.kind,
            };
            section.fixes.push(fix);
        }
        Ok(())
    }

    #[inline(always)]
    fn section_mut(&mut self) -> &mut Section {
        &mut self.unit.sections[self.current as usize]
    }

    /// Appends an instruction with something to be filled in later.
    #[inline(never)]
    fn open(&mut self, mnemonic: Mnemonic, operands: &[Operand]) -> Result<(), EncodeError> {
        self.emit(&Inst::with(mnemonic, operands))
    }

    #[inline]
    fn push_jump(&mut self, opcode: u8, target: Imm) {
        let target = match target {
            Imm { value: 0, symbolic } => ValueId::symbol(symbolic.0),
            Imm { value, symbolic } => self.unit.symbols.keep(Value {
                addend: value,
                ..Value::symbol(symbolic.0)
            }),
        };
        let offset = self.position();
        self.section_mut().items.push(Item {
            offset,
            kind: ItemKind::Jump {
                opcode,
                long: false,
                target,
            },
            line: 0,
        });
    }

    /// Bytes in the current section so far, jumps and padding not counted.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.tail.len() as u64
    }

    /// Appends bytes.
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.tail.extend(bytes);
    }

    /// Appends the 8-byte address of a label, plus a constant.
    pub fn quad(&mut self, label: Label, addend: i64) {
        let offset = self.position();
        let section = self.section_mut();
        section.fixes.push(Fix {
            offset,
            value: Value {
                addend,
                ..Value::symbol(label.0)
            },
            item: section.item_count(),
            line: 0,
            size: 8,
            to_end: 8,
            relaxable: 0,
            kind: FixupKind::Absolute,
        });
        self.tail.extend(&[0; 8]);
    }

    /// Pads to a multiple of `align`, a power of two, with nops in code and zeros elsewhere.
    ///
    /// # Panics
    /// If `align` is not a power of two.
    pub fn align(&mut self, align: u64) {
        assert!(align.is_power_of_two(), "an alignment is a power of two");
        let offset = self.position();
        let section = self.section_mut();
        section.align = section.align.max(align);
        let padding = if section.is_code() {
            Padding::Code
        } else {
            Padding::Value { value: 0, size: 1 }
        };
        let (power, most) = (align.trailing_zeros() as u8, 0);
        section.items.push(Item {
            offset,
            kind: ItemKind::Align { power, most, padding },
            line: 0,
        });
    }

    /// The bytes of `.text` as they are at `address`. `resolve` knows the symbols of elsewhere.
    ///
    /// # Errors
    /// If a label is not bound or not known, if a value does not fit its place, or if there are other sections.
    pub fn finish_at(mut self, address: u64, resolve: impl Fn(&str) -> Option<u64>) -> Result<Vec<u8>, BuildError> {
        if self.unit.sections.len() > 1 {
            return Err(BuildError::NotPlain {
                what: String::from("several sections make an object, not plain bytes"),
            });
        }
        self.leave();
        self.unit.relax();
        let image = self.unit.images().swap_remove(0);
        self.check()?;
        let mut bytes = image.bytes;
        for reloc in image.relocs {
            let base = match reloc.target {
                Target::None => 0,
                Target::Section(_) => address,
                Target::Symbol(id) => match crate::unit::Resolved::Symbol(id, 0) == self.resolved(id) {
                    false => address.wrapping_add_signed(self.offset_of(id)),
                    true => self.external(id, &resolve)?,
                },
            };
            let place = address + reloc.offset;
            let value = base.wrapping_add_signed(reloc.addend);
            let relative = value.wrapping_sub(place) as i64;
            let (size, value, signed) = match reloc.kind {
                r::R64 => (8, value as i64, false),
                r::R32 => (4, value as i64, false),
                r::R32S => (4, value as i64, true),
                r::PC32 | r::PLT32 => (4, relative, true),
                r::PC8 => (1, relative, true),
                r::PC64 => (8, relative, false),
                kind => {
                    return Err(BuildError::NotPlain {
                        what: alloc::format!("relocation type {kind} needs an object"),
                    });
                }
            };
            check_fit(reloc.offset, value, size, signed)?;
            let at = reloc.offset as usize;
            bytes[at..at + size].copy_from_slice(&value.to_le_bytes()[..size]);
        }
        Ok(bytes)
    }

    fn resolved(&self, id: SymbolId) -> crate::unit::Resolved {
        self.unit
            .resolve_symbol(id)
            .unwrap_or(crate::unit::Resolved::Symbol(id, 0))
    }

    fn offset_of(&self, id: SymbolId) -> i64 {
        match self.resolved(id) {
            crate::unit::Resolved::Section(_, offset) | crate::unit::Resolved::Constant(offset) => offset,
            crate::unit::Resolved::Symbol(..) => 0,
        }
    }

    fn external(&self, id: SymbolId, resolve: &impl Fn(&str) -> Option<u64>) -> Result<u64, BuildError> {
        let name = self.unit.name(id);
        resolve(&name).ok_or(BuildError::Unbound { name })
    }

    /// An ELF relocatable object with all sections; symbols that are not bound stay open.
    ///
    /// # Errors
    /// If a value does not fit its place, or a label without a name is not bound.
    pub fn finish_object(mut self) -> Result<Vec<u8>, BuildError> {
        for section in &self.unit.sections {
            for id in section.fixes.iter().map(|fix| fix.value.plus) {
                let symbol = self.unit.symbols.get(id);
                if symbol.anonymous && id != 0 && !symbol.is_defined() {
                    return Err(BuildError::Unbound {
                        name: self.unit.name(id),
                    });
                }
            }
        }
        self.leave();
        self.leave();
        self.unit.relax();
        let images = self.unit.images();
        self.check()?;
        crate::elf_writer::write(&mut self.unit, images, &[]).map_err(|problems| BuildError::Layout {
            message: problems.into_iter().map(|p| p.message).collect::<Vec<_>>().join("; "),
        })
    }

    fn check(&mut self) -> Result<(), BuildError> {
        match self.unit.problems.first() {
            None => Ok(()),
            Some(problem) => Err(BuildError::Layout {
                message: problem.message.clone(),
            }),
        }
    }
}

impl Sealed for Builder {}
impl Emit for Builder {
    #[inline]
    fn op(&mut self, mnemonic: Mnemonic, operands: &[Operand]) -> Result<(), EncodeError> {
        match encode::encode_closed(self.tail.room(), mnemonic, operands)? {
            Some(len) => {
                self.tail.advance(len);
                Ok(())
            }
            None => self.open(mnemonic, operands),
        }
    }

    #[inline(always)]
    fn append(
        &mut self,
        mnemonic: Mnemonic,
        write: impl FnOnce(&mut [u8; CAPACITY]) -> Result<usize, Fault>,
    ) -> Result<(), EncodeError> {
        match write(self.tail.room()) {
            Ok(len) => {
                self.tail.advance(len);
                Ok(())
            }
            Err(fault) => Err(fault.explain(mnemonic)),
        }
    }

    #[inline]
    fn jump(&mut self, short_opcode: u8, target: Label) -> Result<(), EncodeError> {
        let target = Imm {
            value: 0,
            symbolic: Symbolic(target.0),
        };
        self.push_jump(short_opcode, target);
        Ok(())
    }
}

fn check_fit(offset: u64, value: i64, size: usize, signed: bool) -> Result<(), BuildError> {
    let bits = size as u32 * 8;
    let fits = match (bits, signed) {
        (64, _) => true,
        (_, true) => value >= -(1 << (bits - 1)) && value < 1 << (bits - 1),
        (_, false) => (0..1 << bits).contains(&value),
    };
    if fits {
        Ok(())
    } else {
        Err(BuildError::Range { offset, value, bits })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Instructions;
    use crate::reg::*;

    #[test]
    fn labels_reach_in_both_directions() {
        let mut code = Builder::new();
        let (start, end) = (code.here(), code.label());
        code.test(EDI, EDI).unwrap();
        code.je(end).unwrap();
        code.dec(EDI).unwrap();
        code.jmp(start).unwrap();
        code.bind(end).unwrap();
        code.ret().unwrap();
        let bytes = code.finish_at(0x1000, |_| None).unwrap();
        assert_eq!(bytes, [0x85, 0xff, 0x74, 0x04, 0xff, 0xcf, 0xeb, 0xf8, 0xc3]);
    }

    #[test]
    fn far_labels_get_long_jumps() {
        let mut code = Builder::new();
        let end = code.label();
        code.jne(end).unwrap();
        code.bytes(&[0x90; 200]);
        code.bind(end).unwrap();
        let bytes = code.finish_at(0, |_| None).unwrap();
        assert_eq!(bytes[..6], [0x0f, 0x85, 200, 0, 0, 0]);
    }

    #[test]
    fn symbols_of_elsewhere_are_resolved_and_checked() {
        let build = |target: u64| {
            let mut code = Builder::new();
            let puts = code.symbol("puts");
            code.call(puts).unwrap();
            code.mov(RAX, puts.memory(4)).unwrap();
            code.finish_at(0x40_0000, move |name| (name == "puts").then_some(target))
        };
        let bytes = build(0x40_1000).unwrap();
        assert_eq!(bytes[..5], [0xe8, 0xfb, 0x0f, 0, 0]);
        assert_eq!(bytes[5..], [0x48, 0x8b, 0x05, 0xf8, 0x0f, 0, 0]);
        assert!(matches!(build(1 << 40), Err(BuildError::Range { bits: 32, .. })));
    }

    #[test]
    fn unbound_labels_are_errors() {
        let mut code = Builder::new();
        let label = code.label();
        code.call(label).unwrap();
        assert!(matches!(code.finish_at(0, |_| None), Err(BuildError::Unbound { .. })));
        let mut code = Builder::new();
        let label = code.here();
        assert!(matches!(code.bind(label), Err(BuildError::BoundTwice { .. })));
    }

    #[test]
    fn impossible_operands_have_reasons() {
        let mut code = Builder::new();
        let error = code.mov(Mem::base(RAX, 0), Mem::base(RBX, 0)).unwrap_err();
        assert!(matches!(error, EncodeError::NoForm { .. }), "{error}");
        let error = code.mov(Mem::base(RAX, 0), 1).unwrap_err();
        assert!(matches!(error, EncodeError::AmbiguousSize { .. }), "{error}");
        let high = Reg::new(RegClass::High8, 4);
        assert!(matches!(code.mov(high, R8B), Err(EncodeError::HighByteWithRex { .. })));
    }
}
