//! Own definitions whose references go elsewhere: functions to their stubs, variables to storage that exists already.
//!
//! An image that replaces another one defines the same names. Its functions are called through stubs, also by
//! themselves, and its variables keep the storage of the ones before. What stands for a definition is decided by the
//! [`Resolver`]; this file asks it, and finds out which definition a relocation against a *section* means.

use object::elf;

use crate::error::{MemoryError, RelocationError};
use crate::image::{ImageReference, SymbolBinding};
use crate::layout::{Layout, SectionPlace};
use crate::memory::{Memory, SegmentKind, TlsPlacement, Window};
use crate::object::Section;
use crate::relocation::{Formula, Row};
use crate::resolver::{Resolver, Target, TargetKind};
use crate::unit::{Definition, Symbol, SymbolId, Unit};

/// No entry in [`Unit::owns`].
pub(crate) const NOT_OWN: u32 = u32::MAX;

/// A definition of the inputs, as [`Resolver::rebind`] is asked about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Own<'a> {
    /// The name.
    pub name: &'a [u8],
    /// The object that defines it, as messages call it.
    pub object: &'a str,
    /// The source file of a local definition (`STT_FILE`), where the object tells.
    pub file: Option<&'a [u8]>,
    /// What it is.
    pub kind: OwnKind,
    /// The size in bytes.
    pub size: u64,
    /// Whether and how others may bind to it.
    pub binding: SymbolBinding,
    /// An alignment in bytes that code may rely on: that of its section, as far as its place in it allows.
    pub align: u64,
    /// Whether it is a tentative definition (`SHN_COMMON`), which gives way to any other.
    pub tentative: bool,
}

/// What an own definition is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OwnKind {
    /// A function.
    Function,
    /// A variable: it is written to.
    Variable,
    /// Read-only data.
    Constant,
    /// A thread-local variable.
    ThreadLocal,
}

/// Where references to an own definition go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rebind {
    /// To the definition.
    Own,
    /// Elsewhere. The definition stays in the image, and only its own unwind tables, debug sections and arrays of
    /// constructors refer to it.
    To(Target),
    /// To the address that [`Resolver::stub`] gives.
    Stub,
}

/// An own definition, once it has been decided about.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Owned {
    pub(crate) id: SymbolId,
    pub(crate) kind: OwnKind,
    /// The object whose symbol table names the source file, and the place of that name in it.
    pub(crate) file: Option<SymbolId>,
    pub(crate) rebind: Rebind,
}

/// A variable's part of a section, and what stands for it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Piece {
    start: u64,
    size: u64,
    own: u32,
    /// The address of the variable's storage, if that is not the section's.
    to: Option<u64>,
}

impl Piece {
    fn contains(&self, offset: u64) -> bool {
        offset.wrapping_sub(self.start) < self.size.max(1)
    }

    /// How far from its place in a section at `base` the variable is kept.
    fn shift(&self, base: u64) -> u64 {
        self.to.map_or(0, |to| to.wrapping_sub(base.wrapping_add(self.start)))
    }
}

/// Asks where references to own definitions go.
pub(crate) fn rebind(unit: &mut Unit<'_>, layout: &Layout, resolver: &mut dyn Resolver) {
    if !unit.rebinds {
        return;
    }
    unit.owns = definitions(unit, layout);
    let asked: Vec<_> = unit.owns.iter().map(|owned| describe(unit, owned)).collect();
    let answers = resolver.rebind(&asked);
    for (owned, answer) in unit.owns.iter_mut().zip(answers) {
        owned.rebind = answer;
    }
    for index in 0..unit.owns.len() {
        let id = unit.owns[index].id;
        unit.symbols[id.0 as usize].own = u32::try_from(index).unwrap_or(NOT_OWN);
    }
    split_sections(unit);
    let starts = unit.owns.iter().filter(|owned| owned.kind == OwnKind::Function);
    let start = |owned: &Owned| {
        let symbol = &unit.symbols[owned.id.0 as usize];
        match symbol.definition {
            Definition::Section { section, value } => Some((symbol.object, section, value)),
            _ => None,
        }
    };
    unit.function_starts = starts.filter_map(start).collect();
}

/// Gives the functions that are to have one their stubs.
pub(crate) fn take_stubs(
    unit: &mut Unit<'_>,
    window: Window,
    resolver: &mut dyn Resolver,
    memory: &mut dyn Memory,
) -> Result<(), MemoryError> {
    for index in 0..unit.owns.len() {
        let owned = unit.owns[index];
        if owned.rebind != Rebind::Stub {
            continue;
        }
        let symbol = &unit.symbols[owned.id.0 as usize];
        let address = resolver.stub(symbol.name, window, memory)?;
        unit.owns[index].rebind = Rebind::To(Target {
            address,
            size: symbol.size,
            kind: TargetKind::Function,
        });
    }
    Ok(())
}

/// The thread-local block that all thread-local variables of the unit are kept in, if there is one.
pub(crate) fn kept_tls_block(unit: &Unit<'_>) -> Option<TlsPlacement> {
    let mut variables = unit.owns.iter().filter(|owned| owned.kind == OwnKind::ThreadLocal);
    let block = |owned: &Owned| match owned.rebind {
        Rebind::To(Target {
            kind: TargetKind::Tls { module, block_offset },
            ..
        }) => Some(TlsPlacement { module, block_offset }),
        _ => None,
    };
    let first = block(variables.next()?)?;
    variables.all(|owned| block(owned) == Some(first)).then_some(first)
}

/// Describes a definition, for a resolver or in an image.
pub(crate) fn describe<'a>(unit: &'a Unit<'_>, owned: &Owned) -> Own<'a> {
    let symbol = &unit.symbols[owned.id.0 as usize];
    let align = match symbol.definition {
        Definition::Section { section, value } => {
            let section = unit.objects[symbol.object as usize].sections[section as usize]
                .align
                .max(1);
            if value == 0 {
                section
            } else {
                section.min(1 << value.trailing_zeros())
            }
        }
        Definition::Common { align, .. } => align,
        _ => 1,
    };
    Own {
        align,
        name: symbol.name,
        object: &unit.objects[symbol.object as usize].name,
        file: owned.file.map(|file| unit.symbols[file.0 as usize].name),
        kind: owned.kind,
        size: symbol.size,
        binding: symbol.visible_binding(),
        tentative: matches!(symbol.definition, Definition::Common { .. }),
    }
}

/// The named functions, variables and constants that the inputs define.
fn definitions(unit: &Unit<'_>, layout: &Layout) -> Vec<Owned> {
    let mut owns = Vec::new();
    for (number, ids) in unit.symbol_ids.iter().enumerate() {
        let mut file = None;
        for id in ids {
            let symbol = &unit.symbols[id.0 as usize];
            if symbol.kind == elf::STT_FILE {
                file = Some(*id).filter(|_| !symbol.name.is_empty());
                continue;
            }
            if symbol.object as usize != number || symbol.name.is_empty() {
                continue;
            }
            let Some(kind) = kind(unit, layout, *id) else {
                continue;
            };
            let local = symbol.binding == elf::STB_LOCAL;
            // Local labels in code are no functions.
            if local && kind == OwnKind::Function && symbol.kind == elf::STT_NOTYPE {
                continue;
            }
            owns.push(Owned {
                id: *id,
                kind,
                file: file.filter(|_| local),
                rebind: Rebind::Own,
            });
        }
    }
    owns
}

fn kind(unit: &Unit<'_>, layout: &Layout, id: SymbolId) -> Option<OwnKind> {
    let symbol = &unit.symbols[id.0 as usize];
    if matches!(symbol.kind, elf::STT_SECTION | elf::STT_FILE) {
        return None;
    }
    let section = match symbol.definition {
        Definition::Common { .. } if symbol.kind == elf::STT_TLS => return Some(OwnKind::ThreadLocal),
        Definition::Common { .. } => return Some(OwnKind::Variable),
        Definition::Section { section, .. } => section as usize,
        _ => return None,
    };
    let place = layout.places[symbol.object as usize][section];
    let is_tls = unit.objects[symbol.object as usize].sections[section].is_tls();
    match place {
        SectionPlace::Nowhere => None,
        _ if is_tls => Some(OwnKind::ThreadLocal),
        SectionPlace::In(SegmentKind::Code, _) => {
            let function = matches!(symbol.kind, elf::STT_FUNC | elf::STT_GNU_IFUNC | elf::STT_NOTYPE);
            function.then_some(OwnKind::Function)
        }
        SectionPlace::In(SegmentKind::ReadOnly, _) => Some(OwnKind::Constant),
        // Where unwind tables find a personality routine: writable for the dynamic linker's sake only.
        _ if symbol.name.starts_with(b"DW.ref.") => Some(OwnKind::Constant),
        SectionPlace::In(..) | SectionPlace::Tls(_) => Some(OwnKind::Variable),
    }
}

/// Notes which parts of a section are kept elsewhere. Assemblers write references to local variables as the section and
/// an offset, so the offset tells which variable is meant.
fn split_sections(unit: &mut Unit<'_>) {
    unit.pieces.clear();
    for (index, owned) in unit.owns.iter().enumerate() {
        let symbol = &unit.symbols[owned.id.0 as usize];
        if let (OwnKind::Variable, Definition::Section { section, value }) = (owned.kind, symbol.definition) {
            unit.pieces.entry((symbol.object, section)).or_default().push(Piece {
                start: value,
                size: symbol.size,
                own: index as u32,
                to: match owned.rebind {
                    Rebind::To(target) => Some(target.address),
                    _ => None,
                },
            });
        }
    }
    unit.pieces
        .retain(|_, pieces| pieces.iter().any(|piece| piece.to.is_some()));
    for pieces in unit.pieces.values_mut() {
        pieces.sort_unstable_by_key(|piece| (piece.start, piece.size));
    }
}

/// What of an image its code and data have the addresses of, beside its stubs: that may be anywhere in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Exposed {
    /// A function that is not called through a stub, as far as relocations tell. Assemblers resolve references inside of
    /// a section themselves.
    pub functions: bool,
    /// A constant.
    pub constants: bool,
    /// A variable.
    pub variables: bool,
}

/// What is noted of an image's relocations.
#[derive(Debug, Default)]
pub(crate) struct Noted {
    pub(crate) references: Vec<ImageReference>,
    pub(crate) exposed: Exposed,
}

impl Noted {
    /// Notes a relocation in one section against another one of the image.
    pub(crate) fn expose(
        &mut self,
        unit: &Unit<'_>,
        row: &Row,
        addend: u64,
        symbol: &Symbol<'_>,
        field: (&Section<'_>, usize),
    ) {
        let Definition::Section { section, value } = symbol.definition else {
            return;
        };
        if !takes_address(row, field) {
            return;
        }
        let to = &unit.objects[symbol.object as usize].sections[section as usize];
        if to.flags.contains(elf::SHF_EXECINSTR) {
            // Tables of jumps name places inside of functions.
            let from_code = field.0.flags.contains(elf::SHF_EXECINSTR);
            let start = (symbol.object, section, value.wrapping_add(addend));
            self.exposed.functions |= from_code || unit.function_starts.contains(&start);
        } else if to.flags.contains(elf::SHF_WRITE) {
            self.exposed.variables = true;
        } else {
            self.exposed.constants = true;
        }
    }
}

/// Whether a field is or makes an address, and does not just call or read what is there.
fn takes_address(row: &Row, field: (&Section<'_>, usize)) -> bool {
    const LEA: u8 = 0x8d;
    let is_code = field.0.flags.contains(elf::SHF_EXECINSTR);
    match row.formula {
        Formula::Absolute | Formula::SlotFromGot | Formula::SlotRelative | Formula::FromGot => true,
        Formula::Relative if is_code => field.1.checked_sub(2).and_then(|at| field.0.data.get(at)) == Some(&LEA),
        _ => false,
    }
}

/// What a relocation against a section means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Meant {
    /// What to add to the section's address.
    pub(crate) shift: u64,
    /// The variable, by its place in [`Unit::owns`], or [`NOT_OWN`].
    pub(crate) own: u32,
}

/// Finds the variable that a relocation against a split section means.
///
/// `addend` counts from the section's start, and `base` is where the section is in this image. `field` is the contents
/// of the section that refers, and the offset of the field in it.
pub(crate) fn meant(
    unit: &Unit<'_>,
    pieces: &[Piece],
    row: &Row,
    addend: u64,
    base: u64,
    field: (&Section<'_>, usize),
) -> Result<Meant, RelocationError> {
    let is_code = field.0.flags.contains(elf::SHF_EXECINSTR);
    if row.formula != Formula::Relative || !is_code {
        return piece_at(unit, pieces, addend, base);
    }
    // The processor counts from the end of the instruction, which may have an immediate behind the displacement.
    const DISPLACEMENT_BYTES: u64 = 4;
    let at = |immediate: u64| piece_at(unit, pieces, addend.wrapping_add(DISPLACEMENT_BYTES + immediate), base);
    let first = at(0);
    if let Ok(first) = first
        && [1, 2, 4]
            .into_iter()
            .all(|immediate| at(immediate).is_ok_and(|other| other.shift == first.shift))
    {
        return Ok(first);
    }
    match immediate_bytes(field.0.data, field.1) {
        Some(immediate) => at(immediate),
        None => Err(RelocationError::UnknownVariable),
    }
}

/// How far from its place in this image the variable is kept that a section's symbol and an addend mean.
pub(crate) fn shift_of(unit: &Unit<'_>, symbol: &Symbol<'_>, addend: i64) -> u64 {
    let Definition::Section { section, value } = symbol.definition else {
        return 0;
    };
    let Some(pieces) = unit.pieces.get(&(symbol.object, section)) else {
        return 0;
    };
    let offset = value.wrapping_add_signed(addend);
    let piece = before(pieces, offset).find(|piece| piece.contains(offset));
    piece.map_or(0, |piece| piece.shift(symbol.address.wrapping_sub(value)))
}

/// The pieces that start at an offset or before it, the last one first.
fn before(pieces: &[Piece], offset: u64) -> impl Iterator<Item = &Piece> {
    let next = pieces.partition_point(|piece| piece.start <= offset);
    pieces[..next].iter().rev()
}

fn piece_at(unit: &Unit<'_>, pieces: &[Piece], offset: u64, base: u64) -> Result<Meant, RelocationError> {
    /// What is larger may be an array, to whose end a loop may have a pointer.
    const SCALAR_BYTES: u64 = 16;
    let mut found = None;
    for piece in before(pieces, offset) {
        let behind = offset - piece.start == piece.size;
        if piece.contains(offset) && found.is_none() {
            found = Some(piece);
        } else if behind && let Some(inner) = found {
            if piece.size > SCALAR_BYTES && piece.shift(base) != inner.shift(base) {
                let name = |piece: &Piece| unit.display(unit.owns[piece.own as usize].id);
                return Err(RelocationError::EndOrStart {
                    end: name(piece),
                    start: name(inner),
                });
            }
            break;
        } else if behind {
            found = Some(piece);
            break;
        }
    }
    Ok(found.map_or(Meant { shift: 0, own: NOT_OWN }, |piece| Meant {
        shift: piece.shift(base),
        own: piece.own,
    }))
}

/// The bytes of immediate operand behind a displacement that is relative to the instruction pointer, or `None` where the
/// bytes before it can be read in two ways (SDM volume 2, chapter 2 and appendix A).
fn immediate_bytes(code: &[u8], at: usize) -> Option<u64> {
    const RIP_RELATIVE: u8 = 0b0000_0101;
    let byte = |back: usize| at.checked_sub(back).and_then(|at| code.get(at)).copied();
    let modrm = byte(1)?;
    if modrm & 0b1100_0111 != RIP_RELATIVE {
        return None; // a call or jump: no data operand
    }
    let (opcode, register) = (byte(2)?, modrm >> 3 & 7);
    let operand_16 = |prefix: usize| byte(prefix) == Some(0x66) || byte(prefix + 1) == Some(0x66);
    let word = |prefix: usize| if operand_16(prefix) { 2 } else { 4 };
    let one_byte_map = match opcode {
        0x69 | 0x81 | 0xc7 => Some(word(3)),
        0x6b | 0x80 | 0x83 | 0xc0 | 0xc1 | 0xc6 => Some(1),
        0xf6 if register < 2 => Some(1),
        0xf7 if register < 2 => Some(word(3)),
        0x00..=0x3b if opcode & 7 < 4 => Some(0),
        0x63 | 0x84..=0x8f | 0xd0..=0xd3 | 0xd8..=0xdf | 0xf6 | 0xf7 | 0xfe | 0xff => Some(0),
        _ => None,
    };
    let two_byte_map = |opcode: u8| match opcode {
        0x70..=0x73 | 0xa4 | 0xac | 0xba | 0xc2 | 0xc4..=0xc6 => 1,
        _ => 0,
    };
    let map = |number: u8, opcode: u8| match number {
        1 => Some(two_byte_map(opcode)),
        2 => Some(0),
        3 => Some(1),
        _ => None,
    };
    let escaped = match (byte(3), byte(4)) {
        (Some(0x38), Some(0x0f)) => Some(0),
        (Some(0x3a), Some(0x0f)) => Some(1),
        (Some(0x0f), _) => Some(two_byte_map(opcode)),
        _ => None,
    };
    let vex_2 = (byte(4) == Some(0xc5)).then(|| two_byte_map(opcode));
    let vex_3 = (byte(5) == Some(0xc4)).then(|| map(byte(4)? & 0x1f, opcode)).flatten();
    let evex = (byte(6) == Some(0x62)).then(|| map(byte(5)? & 7, opcode)).flatten();
    let mut readings = [one_byte_map, escaped, vex_2, vex_3, evex].into_iter().flatten();
    let first = readings.next()?;
    readings.all(|other| other == first).then_some(first)
}

#[cfg(test)]
mod tests {
    use super::immediate_bytes;

    #[test]
    fn immediates_behind_displacements() {
        let cases: [(&[u8], Option<u64>); 9] = [
            (&[0x8b, 0x05], Some(0)),                         // mov eax, [rip+d]
            (&[0x83, 0x05], Some(1)),                         // add dword [rip+d], imm8
            (&[0xc7, 0x05], Some(4)),                         // mov dword [rip+d], imm32
            (&[0x66, 0xc7, 0x05], Some(2)),                   // mov word [rip+d], imm16
            (&[0x48, 0xc7, 0x05], Some(4)),                   // mov qword [rip+d], imm32
            (&[0xc5, 0xf9, 0x70, 0x05], Some(1)),             // vpshufd xmm0, [rip+d], imm8
            (&[0xc4, 0xe3, 0x79, 0x61, 0x05], Some(1)),       // vpcmpestri xmm0, [rip+d], imm8
            (&[0x62, 0xf1, 0x7c, 0x48, 0x10, 0x05], Some(0)), // vmovups zmm0, [rip+d]
            (&[0x0f, 0xc1, 0x05], None),                      // xadd, or a shift behind a byte of 0f
        ];
        for (bytes, expected) in cases {
            let mut code = vec![0x90; 8];
            code.extend(bytes);
            assert_eq!(immediate_bytes(&code, code.len()), expected, "{bytes:02x?}");
        }
    }
}
