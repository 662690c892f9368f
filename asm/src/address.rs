//! ModRM, SIB and displacement (SDM 2.1.5, 2.7.5).

use crate::encode::{Fault, FixupKind};
use crate::form::{Form, is};
use crate::operand::{DispSize, Mem};
use crate::reg::{Reg, RegClass};
use crate::row::{Row, Space, flag};

/// Whether the address is computed in 32 bits.
#[inline(always)]
pub(crate) fn is_narrow(mem: &Mem) -> bool {
    let narrow = |reg: Option<Reg>| match reg {
        Some(reg) => {
            reg.class == RegClass::R32 || matches!(reg.class, RegClass::Rip | RegClass::NoIndex) && reg.num == 1
        }
        None => false,
    };
    narrow(mem.base) || narrow(mem.index)
}

const SEGMENT_PREFIX: [u8; 6] = [0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65];

/// The segment prefix, where it is not the one that the base register implies.
#[inline(always)]
pub(crate) fn segment_prefix(mem: &Mem) -> Option<u8> {
    let stated = mem.segment.checked_sub(1)?;
    let stack = matches!(
        mem.base,
        Some(Reg {
            class: RegClass::R64 | RegClass::R32,
            num: 4 | 5
        })
    );
    let implied = if stack { 2 } else { 3 };
    (stated != implied).then(|| SEGMENT_PREFIX[stated as usize])
}

/// The addresses that a row with special demands refuses.
pub(crate) fn check(row: &Row, mem: &Mem) -> Result<(), Fault> {
    // MPX instructions ignore an address size prefix, so the address would be another one.
    if row.flags & flag::ADDR64 != 0 && is_narrow(mem) {
        return Err(Fault::NotAllowed("a 32-bit address"));
    }
    let rip = mem.base.is_some_and(|base| base.class == RegClass::Rip);
    if row.flags & flag::NO_RIP != 0 && rip {
        return Err(Fault::NotAllowed("an address relative to rip"));
    }
    Ok(())
}

/// The number of a register that may not be there.
#[inline(always)]
pub(crate) fn number(reg: Option<Reg>) -> u8 {
    reg.map_or(0, |reg| reg.num)
}

/// Whether general registers, a scale and a segment form an address that can be encoded.
#[inline(always)]
pub(crate) fn is_general(mem: &Mem) -> bool {
    use RegClass as C;
    let index = match (mem.base.map(|r| r.class), mem.index.map(|r| r.class)) {
        (None | Some(C::R64 | C::R32 | C::Rip), None) => true,
        (base @ (None | Some(C::R64 | C::R32)), Some(index)) => {
            index == C::NoIndex || (matches!(index, C::R64 | C::R32) && base.is_none_or(|base| base == index))
        }
        _ => false,
    };
    index && has_numbers(mem)
}

/// Whether these form an address with a vector index.
pub(crate) fn is_vector(mem: &Mem) -> bool {
    use RegClass as C;
    let base = matches!(mem.base.map(|r| r.class), None | Some(C::R64 | C::R32));
    base && matches!(mem.index.map(|r| r.class), Some(C::Xmm | C::Ymm | C::Zmm)) && has_numbers(mem)
}

/// Whether the numbers in an address are ones that there are.
#[inline(always)]
fn has_numbers(mem: &Mem) -> bool {
    (number(mem.base) | number(mem.index)) < 32 && has_scale(mem) && mem.segment as usize <= SEGMENT_PREFIX.len()
}

#[inline(always)]
pub(crate) fn has_scale(mem: &Mem) -> bool {
    matches!(mem.scale, 1 | 2 | 4 | 8)
}

/// ModRM, SIB and displacement, as far as they are known.
#[derive(Clone, Copy)]
pub(crate) struct Address {
    /// The first byte lowest, and how many.
    pub(crate) bytes: u64,
    pub(crate) len: u8,
    /// The numbers of base (or ModRM.rm, or the register in the opcode) and index, whose high bits prefixes have.
    pub(crate) base: u8,
    pub(crate) index: u8,
    /// Where the displacement is, if it is open, and how it is computed.
    pub(crate) open: Option<(u8, FixupKind)>,
}

impl Address {
    /// Of an instruction whose memory is not encoded.
    pub(crate) const NONE: Self = Self {
        bytes: 0,
        len: 0,
        base: 0,
        index: 0,
        open: None,
    };
}

/// The address of a memory operand, next to these low bits in ModRM.reg.
#[inline(always)]
pub(crate) fn address(form: &Form, mem: &Mem, reg: u8, narrow: bool) -> Result<Address, Fault> {
    let (index, index_number) = match mem.index {
        Some(index) => match index.class {
            RegClass::R32 | RegClass::R64 if index.num == 4 => return Err(Fault::BadIndex(index)),
            RegClass::NoIndex => (4, 0),
            _ => (index.num & 7, index.num),
        },
        None => (4, 0),
    };
    let scale = mem.scale.trailing_zeros() as u8 & 3;
    let sib = |base: u8| u64::from(scale << 6 | index << 3 | base) << 8;
    let modrm = |mode: u8, rm: u8| u64::from(mode << 6 | reg << 3 | rm);
    let Some(base) = mem.base else {
        let head = modrm(0, 4) | sib(5);
        return displacement32(mem, head, 2, absolute(narrow), (0, index_number));
    };
    if base.class == RegClass::Rip {
        return displacement32(mem, modrm(0, 5), 1, FixupKind::Relative, (0, 0));
    }
    let low = base.num & 7;
    let numbers = (base.num, index_number);
    let (mode, disp) = displacement_mode(form, mem, low, narrow);
    let (head, len) = if mem.index.is_some() || low == 4 || form.has(is::SIB) {
        (modrm(mode, 4) | sib(low), 2)
    } else {
        (modrm(mode, low), 1)
    };
    if mode == 2 {
        return displacement32(mem, head, len, absolute(narrow), numbers);
    }
    // A displacement that is not there is 0.
    Ok(Address {
        bytes: head | u64::from(disp as u8) << (8 * len),
        len: len + mode,
        base: numbers.0,
        index: numbers.1,
        open: None,
    })
}

#[inline(always)]
fn absolute(narrow: bool) -> FixupKind {
    if narrow {
        FixupKind::Absolute
    } else {
        FixupKind::AbsoluteSigned
    }
}

/// ModRM.mod, and the 8-bit displacement if it is 1.
#[inline(always)]
fn displacement_mode(form: &Form, mem: &Mem, base: u8, narrow: bool) -> (u8, i64) {
    if mem.symbolic.is_some() || mem.disp_size == DispSize::Disp32 {
        return (2, 0);
    }
    let disp = if narrow { i64::from(mem.disp as i32) } else { mem.disp };
    if disp == 0 && base != 5 && mem.disp_size == DispSize::Auto {
        return (0, 0);
    }
    if form.space != Space::Evex {
        let mode = if i8::try_from(disp).is_ok() { 1 } else { 2 };
        return (mode, disp);
    }
    let unit = if mem.broadcast != 0 {
        form.broadcast_unit
    } else {
        form.unit
    };
    let scaled = disp >> unit;
    match scaled << unit == disp && i8::try_from(scaled).is_ok() {
        true => (1, scaled),
        false => (2, disp),
    }
}

/// The address with a displacement of 32 bits behind the `len` bytes of its head.
#[inline(always)]
fn displacement32(mem: &Mem, head: u64, len: u8, kind: FixupKind, (base, index): (u8, u8)) -> Result<Address, Fault> {
    let mut address = Address {
        bytes: head,
        len: len + 4,
        base,
        index,
        open: None,
    };
    if mem.symbolic.is_some() {
        address.open = Some((len, kind));
        return Ok(address);
    }
    let high = if kind == FixupKind::Absolute {
        i64::from(u32::MAX)
    } else {
        i64::from(i32::MAX)
    };
    if !(i64::from(i32::MIN)..=high).contains(&mem.disp) {
        return Err(Fault::Displacement(mem.disp));
    }
    address.bytes |= u64::from(mem.disp as u32) << (8 * len);
    Ok(address)
}
