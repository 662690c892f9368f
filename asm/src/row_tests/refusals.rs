//! What GNU as refuses, we refuse: instructions that are wrong in one respect.

use std::collections::{BTreeMap, BTreeSet};

use super::cases::{self, Case};
use super::oracle::{self, Theirs};
use super::print::{self, Dialect};
use crate::class::Slot;
use crate::reg::{Reg, RegClass};
use crate::row::{Space, flag};
use crate::{EncodeError, Imm, Inst, Mem, Operand, Rounding, Symbolic, encode};

/// Operands of every class, to stand where they do not belong.
fn strangers() -> Vec<Operand> {
    let reg = |class, num| Operand::Reg(Reg::new(class, num));
    let imm = |value| {
        Operand::Imm(Imm {
            value,
            symbolic: Symbolic::NONE,
        })
    };
    let mem = |size| Operand::Mem(Mem::base(crate::reg::RCX, 16).size(size));
    let mut all = vec![
        reg(RegClass::R8, 3),
        reg(RegClass::R8, 9),
        reg(RegClass::High8, 6),
        reg(RegClass::R16, 1),
        reg(RegClass::R32, 2),
        reg(RegClass::R64, 3),
        reg(RegClass::Seg, 3),
        reg(RegClass::Cr, 2),
        reg(RegClass::Dr, 3),
        reg(RegClass::St, 2),
        reg(RegClass::Mm, 3),
        reg(RegClass::Xmm, 4),
        reg(RegClass::Xmm, 20),
        reg(RegClass::Ymm, 5),
        reg(RegClass::Zmm, 6),
        reg(RegClass::K, 2),
        reg(RegClass::Tmm, 1),
        reg(RegClass::Bnd, 1),
        imm(1),
        imm(-129),
        imm(0x1_0000),
        imm(0x1_0000_0000),
    ];
    all.extend([1, 2, 4, 6, 8, 10, 16, 32, 64].map(mem));
    all
}

/// Instructions made of a right one.
fn wrong(case: &Case, out: &mut Vec<Case>) {
    let mut push = |inst: Inst| out.push(Case { inst, ..*case });
    // Another operand in each place.
    for index in 0..case.inst.len as usize {
        for stranger in strangers() {
            let mut inst = case.inst;
            inst.operands[index] = stranger;
            push(inst);
        }
    }
    // One operand less, one more.
    if case.inst.len > 1 {
        push(Inst {
            len: case.inst.len - 1,
            ..case.inst
        });
    }
    let mut more = case.inst;
    if more.len > 0 && more.push(case.inst.operands[0]) {
        push(more);
    }
    // Decorations that not every row takes.
    let first_is_register = matches!(case.inst.operands().first(), Some(Operand::Reg(_)));
    if first_is_register {
        push(Inst { mask: 2, ..case.inst });
        push(Inst {
            mask: 2,
            zeroing: true,
            ..case.inst
        });
        for rounding in [Rounding::Up, Rounding::Sae] {
            push(Inst { rounding, ..case.inst });
        }
    }
    for index in 0..case.inst.len as usize {
        if let Operand::Mem(mem) = case.inst.operands[index] {
            for (size, count) in [(4, 4), (8, 4), (8, 2), (2, 8)] {
                let mut inst = case.inst;
                inst.operands[index] = Operand::Mem(mem.size(size).broadcast(count));
                push(inst);
            }
            // rsp cannot be an index.
            let mut inst = case.inst;
            inst.operands[index] = Operand::Mem(Mem {
                index: Some(Reg::new(RegClass::R64, 4)),
                scale: 2,
                base: Some(Reg::new(RegClass::R64, 0)),
                ..mem
            });
            push(inst);
        }
    }
}

/// Why we take something that GNU as refuses, by the start of the row and what GNU as says.
const TAKEN: &[(&str, &str, &str)] = &[
    ("vmovd ", "mismatch", "AVX10.2 moves between vector registers"),
    ("vmovw ", "mismatch", "AVX10.2 moves between vector registers"),
    (
        "call ",
        "mismatch",
        "far pointers of 80 bits, which Intel processors take",
    ),
    (
        "jmp ",
        "mismatch",
        "far pointers of 80 bits, which Intel processors take",
    ),
    (
        "lfs ",
        "mismatch",
        "far pointers of 80 bits, which Intel processors take",
    ),
    (
        "lgs ",
        "mismatch",
        "far pointers of 80 bits, which Intel processors take",
    ),
    (
        "lss ",
        "mismatch",
        "far pointers of 80 bits, which Intel processors take",
    ),
];

/// What GNU as takes and we refuse, by the start of the row.
const LOOSE: &[(&str, &str)] = &[
    ("lar ", "a 16-bit register as the source of a 32-bit one"),
    ("lsl ", "a 16-bit register as the source of a 32-bit one"),
    ("in ", "edx for dx"),
    ("ins", "edx for dx"),
    ("out", "edx for dx"),
    ("movs", "edx for dx, or extension to the same size"),
    ("movz", "extension to the same size"),
    ("movd ", "movd and movq for mov"),
    ("movq ", "movd and movq for mov"),
    ("mov R", "movd and movq for mov"),
    ("stos ", "stos without its register"),
    ("bndc", "any size of memory"),
    ("vcvttps2dq", "a destination of another size"),
    ("vfm", "128 bits of memory for a scalar"),
    ("vfnm", "128 bits of memory for a scalar"),
    ("{vfm", "128 bits of memory for a scalar"),
];

/// Why we refuse what GNU as takes.
fn why_stricter(case: &Case, error: &EncodeError) -> Option<&'static str> {
    let text = error.to_string();
    if text.contains("string operand") {
        return Some("GNU as ignores the address of a string operand, with a warning");
    }
    if text.contains("same register twice") {
        return Some("GNU as warns where the processor raises #UD");
    }
    let wide = |operand: &Operand| matches!(operand, Operand::Imm(imm) if imm.value != i64::from(imm.value as i8));
    if case.inst.operands().iter().any(wide) {
        return Some("GNU as cuts immediates that are too large, with a warning");
    }
    let row = case.row.text();
    LOOSE
        .iter()
        .find(|(start, _)| row.starts_with(start))
        .map(|(_, why)| *why)
}

/// Instructions whose first row decides: the others of the mnemonic would make the same mistakes.
fn wrong_cases() -> Vec<Case> {
    let mut seen = BTreeSet::new();
    let mut all = Vec::new();
    let rows = cases::all()
        .iter()
        .filter(|c| !c.is_recent() && c.row.flags & flag::ATT == 0);
    for case in rows {
        let branch = case.row.ops[..case.row.len as usize]
            .iter()
            .any(|c| c.slot() == Slot::Rel);
        if !branch && seen.insert((case.row.source, case.variant)) {
            wrong(case, &mut all);
        }
    }
    all
}

#[test]
fn what_gnu_as_refuses_is_refused() {
    let cases = wrong_cases();
    let lines: Vec<String> = cases.iter().map(|c| print::text(c, Dialect::GnuIntel)).collect();
    let theirs = oracle::gnu_as(&lines, Dialect::GnuIntel.syntax());
    let mut taken: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut refused = 0;
    let mut stricter: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for ((case, line), theirs) in cases.iter().zip(&lines).zip(&theirs) {
        let ours = encode(&case.inst);
        match (&ours, theirs) {
            (Err(_), Theirs::Refused(_)) => refused += 1,
            (Ok(encoded), Theirs::Refused(reason)) => {
                // An instruction of APX, which this GNU as does not know.
                let apx = encoded.bytes()[0] == 0xd5 || encoded.bytes()[0] == 0x62 && case.row.space != Space::Evex;
                let unknown = reason.starts_with("no such instruction");
                let row = case.row.text();
                let listed = TAKEN
                    .iter()
                    .any(|(start, said, _)| row.starts_with(start) && reason.contains(said));
                if !apx && !unknown && !listed {
                    taken
                        .entry(row.to_string())
                        .or_default()
                        .push(format!("{line}: {reason}"));
                }
            }
            // In Intel syntax, a bare number is the target of a branch.
            (Err(_), Theirs::Bytes(_)) if case.inst.mnemonic.is_branch() => {}
            (Err(error), Theirs::Bytes(_)) if why_stricter(case, error).is_none() => {
                stricter
                    .entry(case.row.text().to_string())
                    .or_default()
                    .push(format!("{line}: {error}"));
            }
            _ => {}
        }
    }
    println!("{} wrong instructions, {refused} refused by both", cases.len());
    if let Ok(path) = std::env::var("ROWS_REPORT") {
        let write = |name: &str, map: &BTreeMap<String, Vec<String>>| {
            let lines: Vec<String> = map
                .iter()
                .map(|(row, l)| format!("{row}: {} e.g. {}", l.len(), l[0]))
                .collect();
            std::fs::write(format!("{path}.{name}"), lines.join("\n")).unwrap();
        };
        write("taken", &taken);
        write("stricter", &stricter);
    }
    assert!(
        taken.is_empty(),
        "{} rows, e.g. {:#?}",
        taken.len(),
        taken.iter().take(20).collect::<Vec<_>>()
    );
    assert!(
        stricter.is_empty(),
        "{} rows, e.g. {:#?}",
        stricter.len(),
        stricter.iter().take(20).collect::<Vec<_>>()
    );
}
