//! ModRM, SIB and displacement (SDM 2.1.5, 2.7.5).

use crate::encode::{Fault, FixupKind, Out, Parts};
use crate::form::Form;
use crate::operand::{DispSize, Mem};
use crate::reg::{Reg, RegClass};
use crate::row::{Space, flag};

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
pub(crate) fn check(form: &Form, mem: &Mem) -> Result<(), Fault> {
    // MPX instructions ignore an address size prefix, so the address would be another one.
    if form.has(flag::ADDR64) && is_narrow(mem) {
        return Err(Fault::NotAllowed("a 32-bit address"));
    }
    let rip = mem.base.is_some_and(|base| base.class == RegClass::Rip);
    if form.has(flag::NO_RIP) && rip {
        return Err(Fault::NotAllowed("an address relative to rip"));
    }
    Ok(())
}

/// Writes them.
#[inline(always)]
pub(crate) fn put<const OPEN: bool>(
    out: &mut Out<'_, OPEN>,
    form: &Form,
    mem: &Mem,
    parts: &Parts<'_>,
) -> Result<(), Fault> {
    let reg = (parts.reg(form) & 7) << 3;
    let narrow = parts.narrow;
    let index = match mem.index {
        Some(index) => match index.class {
            RegClass::R32 | RegClass::R64 if index.num == 4 => return Err(Fault::BadIndex(index)),
            RegClass::NoIndex => 4,
            _ => index.num & 7,
        },
        None => 4,
    };
    let sib = |base: u8| (mem.scale.trailing_zeros() as u8 & 3) << 6 | index << 3 | base;
    let Some(base) = mem.base else {
        out.put(reg | 4);
        out.put(sib(5));
        return displacement32(out, mem, absolute(narrow));
    };
    if base.class == RegClass::Rip {
        out.put(reg | 5);
        return displacement32(out, mem, FixupKind::Relative);
    }
    let low = base.num & 7;
    let (mode, disp) = displacement_mode(form, mem, low, narrow);
    if mem.index.is_some() || low == 4 || form.has(flag::SIB) {
        out.put(mode << 6 | reg | 4);
        out.put(sib(low));
    } else {
        out.put(mode << 6 | reg | low);
    }
    match mode {
        0 => Ok(()),
        1 => {
            out.put(disp as u8);
            Ok(())
        }
        _ => displacement32(out, mem, absolute(narrow)),
    }
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
    // N is a power of two.
    let unit = if mem.broadcast != 0 {
        form.broadcast_unit
    } else {
        form.unit
    };
    let scaled = disp >> unit.trailing_zeros();
    match scaled << unit.trailing_zeros() == disp && i8::try_from(scaled).is_ok() {
        true => (1, scaled),
        false => (2, disp),
    }
}

#[inline(always)]
fn displacement32<const OPEN: bool>(out: &mut Out<'_, OPEN>, mem: &Mem, kind: FixupKind) -> Result<(), Fault> {
    if mem.symbolic.is_some() {
        out.put_fixup(mem.symbolic, mem.disp, 4, kind);
        return Ok(());
    }
    let high = if kind == FixupKind::Absolute {
        i64::from(u32::MAX)
    } else {
        i64::from(i32::MAX)
    };
    if !(i64::from(i32::MIN)..=high).contains(&mem.disp) {
        return Err(Fault::Displacement(mem.disp));
    }
    out.put_value(mem.disp, 4);
    Ok(())
}
