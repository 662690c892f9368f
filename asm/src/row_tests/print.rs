//! Instructions as text, in the dialects of GNU as and LLVM.

use std::fmt::Write as _;

use super::cases::Case;
use crate::class::Class;
use crate::reg::{Reg, RegClass};
use crate::row::flag;
use crate::select::suffix_variants;
use crate::{Hints, Inst, Mem, Operand, Rounding, Syntax};

/// Whose syntax.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    Att,
    /// An address without registers has a segment; without it, it would be a number.
    GnuIntel,
    /// A segment is a prefix, even where it changes nothing.
    LlvmIntel,
}

impl Dialect {
    pub(super) fn syntax(self) -> Syntax {
        if self == Self::Att { Syntax::Att } else { Syntax::Intel }
    }
}

fn size_name(size: u16) -> &'static str {
    match size {
        1 => "byte ptr ",
        2 => "word ptr ",
        4 => "dword ptr ",
        6 => "fword ptr ",
        8 => "qword ptr ",
        10 => "tbyte ptr ",
        16 => "xmmword ptr ",
        32 => "ymmword ptr ",
        64 => "zmmword ptr ",
        _ => "",
    }
}

fn intel_memory(mem: &Mem, class: Class, dialect: Dialect) -> String {
    let mut text = match class.letter() {
        b'A' => String::new(),
        _ => size_name(mem.size).to_string(),
    };
    if mem.segment != 0 {
        let _ = write!(text, "{}:", Reg::new(RegClass::Seg, mem.segment - 1));
    } else if mem.base.is_none() && mem.index.is_none() && dialect == Dialect::GnuIntel {
        text += "ds:";
    }
    text += "[";
    if let Some(base) = mem.base {
        let _ = write!(text, "{base}");
    }
    if let Some(index) = mem.index {
        let plus = if mem.base.is_some() { "+" } else { "" };
        let _ = write!(text, "{plus}{index}*{}", mem.scale);
    }
    if mem.disp != 0 || mem.base.is_none() {
        let signed = mem.base.is_some() || mem.index.is_some();
        let _ = match signed {
            true => write!(text, "{:+}", mem.disp),
            false => write!(text, "{}", mem.disp),
        };
    }
    text += "]";
    if mem.broadcast != 0 {
        let _ = write!(text, "{{1to{}}}", mem.broadcast);
    }
    text
}

fn att_memory(mem: &Mem) -> String {
    let mut text = String::new();
    if mem.segment != 0 {
        let _ = write!(text, "%{}:", Reg::new(RegClass::Seg, mem.segment - 1));
    }
    if mem.disp != 0 || mem.base.is_none() {
        let _ = write!(text, "{}", mem.disp);
    }
    if mem.base.is_some() || mem.index.is_some() {
        text += "(";
        if let Some(base) = mem.base {
            let _ = write!(text, "%{base}");
        }
        if let Some(index) = mem.index {
            let _ = write!(text, ",%{index},{}", mem.scale);
        }
        text += ")";
    }
    if mem.broadcast != 0 {
        let _ = write!(text, "{{1to{}}}", mem.broadcast);
    }
    text
}

fn rounding(inst: &Inst) -> &'static str {
    match inst.rounding {
        Rounding::None => "",
        Rounding::Nearest => "{rn-sae}",
        Rounding::Down => "{rd-sae}",
        Rounding::Up => "{ru-sae}",
        Rounding::Zero => "{rz-sae}",
        Rounding::Sae => "{sae}",
    }
}

/// `{vex} `, `{nf} `
fn hints(case: &Case) -> String {
    let mut text = String::new();
    if case.row.flags & flag::VEX_HINT != 0 {
        text += "{vex} ";
    }
    for (hint, name) in [(Hints::NF, "{nf} "), (Hints::EVEX, "{evex} ")] {
        if case.inst.hints.has(hint) {
            text += name;
        }
    }
    text
}

/// ` {dfv=of,cf}`
fn default_flags(inst: &Inst) -> String {
    if !inst.hints.has(Hints::DFV) {
        return String::new();
    }
    let names = [(8, "of"), (4, "sf"), (2, "zf"), (1, "cf")];
    let set: Vec<&str> = names
        .iter()
        .filter(|(bit, _)| inst.default_flags & bit != 0)
        .map(|(_, name)| *name)
        .collect();
    format!(" {{dfv={}}}", set.join(","))
}

fn mask(inst: &Inst, percent: &str) -> String {
    match (inst.mask, inst.zeroing) {
        (0, _) => String::new(),
        (k, zeroing) => format!("{{{percent}k{k}}}{}", if zeroing { "{z}" } else { "" }),
    }
}

/// Intel syntax without register prefixes.
fn intel(case: &Case, dialect: Dialect) -> String {
    let inst = &case.inst;
    let mut parts: Vec<String> = inst
        .operands()
        .iter()
        .enumerate()
        .map(|(i, operand)| match operand {
            Operand::Reg(reg) => reg.to_string(),
            Operand::Mem(mem) => intel_memory(mem, case.row.ops[i], dialect),
            Operand::Imm(imm) => imm.value.to_string(),
            Operand::Target(_) => String::new(),
        })
        .collect();
    if let Some(first) = parts.first_mut() {
        *first += &mask(inst, "");
    }
    // The rounding stands behind the last register.
    if inst.rounding != Rounding::None {
        let immediates = usize::from(matches!(inst.operands().last(), Some(Operand::Imm(_))));
        parts.insert(parts.len() - immediates, rounding(inst).into());
    }
    let name = inst.mnemonic.name();
    format!("{}{name}{} {}", hints(case), default_flags(inst), parts.join(", "))
}

/// AT&T syntax. A size suffix is written where the row takes one and an operand is memory.
fn att(case: &Case) -> String {
    let inst = &case.inst;
    let mut parts: Vec<String> = inst
        .operands()
        .iter()
        .map(|operand| match operand {
            Operand::Reg(reg) => format!("%{reg}"),
            Operand::Mem(mem) => att_memory(mem),
            Operand::Imm(imm) => format!("${}", imm.value),
            Operand::Target(_) => String::new(),
        })
        .collect();
    if case.row.flags & flag::BRANCH != 0
        && let Some(target) = parts.first_mut()
    {
        target.insert(0, '*');
    }
    if let Some(first) = parts.first_mut() {
        *first += &mask(inst, "%");
    }
    if inst.rounding != Rounding::None {
        // Behind the last vector register.
        let general = |operand: &&Operand| matches!(operand, Operand::Reg(r) if r.size_bytes() < 16);
        let behind = match inst.operands() {
            [_, _, last] if general(&last) => 1,
            [.., last] => usize::from(matches!(last, Operand::Imm(_))),
            [] => 0,
        };
        parts.insert(parts.len() - behind, rounding(inst).into());
    }
    if !inst.mnemonic.row().keeps_order() {
        parts.reverse();
    }
    let name = inst.mnemonic.name();
    let suffix = suffix(case);
    format!(
        "{}{name}{suffix}{} {}",
        hints(case),
        default_flags(inst),
        parts.join(", ")
    )
}

/// The size suffix of an instruction with memory, where the row takes one.
fn suffix(case: &Case) -> &'static str {
    if !case
        .inst
        .operands()
        .iter()
        .any(|operand| matches!(operand, Operand::Mem(_)))
    {
        return "";
    }
    let names = [
        (b'b', "b"),
        (b'w', "w"),
        (b'l', "l"),
        (b'q', "q"),
        (b's', "s"),
        (b't', "t"),
    ];
    let wanted = 1 << case.variant;
    let fits = |letter: u8| suffix_variants(case.row, letter) & wanted != 0;
    names
        .iter()
        .find(|(letter, _)| fits(*letter))
        .map_or("", |(_, name)| name)
}

/// What the text in this syntax says: AT&T states the size of memory by a suffix or not at all.
pub(super) fn stated(case: &Case, syntax: Syntax) -> Inst {
    let mut inst = Inst { syntax, ..case.inst };
    if syntax == Syntax::Att {
        inst.suffix = suffix(case).bytes().next().unwrap_or(0);
        for operand in &mut inst.operands {
            if let Operand::Mem(mem) = operand
                && mem.broadcast == 0
            {
                mem.size = 0;
            }
        }
    }
    inst
}

/// The instruction in a dialect.
pub(super) fn text(case: &Case, dialect: Dialect) -> String {
    match dialect {
        Dialect::Att => att(case),
        _ => intel(case, dialect),
    }
}
