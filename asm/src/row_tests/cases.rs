//! Instructions made of the rows.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use super::instances::instances;
use crate::class::Slot;
use crate::row::{Axis, Row, Space, flag};
use crate::{Hints, Inst, Mem, Mnemonic, Operand, Rounding};

/// An instruction that a row can make.
pub(super) struct Case {
    pub(super) inst: Inst,
    pub(super) row: &'static Row,
    pub(super) variant: usize,
}

impl Case {
    /// Whether only an assembler with APX knows it.
    pub(super) fn is_apx(&self) -> bool {
        self.row.is_apx() || self.inst.hints.has(Hints::NF) || self.inst.operands().iter().any(uses_high_general)
    }

    /// Whether GNU as 2.40 and iced-x86 1.21 do not know it.
    pub(super) fn is_recent(&self) -> bool {
        self.is_apx() || self.row.is_avx10() || RECENT.iter().any(|start| self.row.text().starts_with(start))
    }
}

/// Rows of other families, by the start of their text, that are younger than GNU as 2.40 and iced-x86 1.21.
const RECENT: &[&str] = &[
    "movrs ",
    "prefetchrst2 ",
    "rdmsr Rq",
    "wrmsrns Id",
    "tileloaddrs",
    "tilemovrow ",
    "tcvtrow",
    "tdphf8ps ",
    "tdphbf8ps ",
    "tdpbf8ps ",
    "tdpbhf8ps ",
    "tmmultf32ps ",
];

fn uses_high_general(operand: &Operand) -> bool {
    let high = |reg: crate::reg::Reg| reg.num > 15 && reg.size_bytes() < 16;
    match operand {
        Operand::Reg(reg) => high(*reg),
        Operand::Mem(Mem { base, index, .. }) => [base, index].into_iter().flatten().any(|r| high(*r)),
        _ => false,
    }
}

/// Every row's cases. Of rows that are one under several names, all names have the first case.
pub(super) fn all() -> &'static [Case] {
    static ALL: LazyLock<Vec<Case>> = LazyLock::new(|| {
        let mut all = Vec::new();
        let mut seen = BTreeSet::new();
        for mnemonic in Mnemonic::all() {
            for row in mnemonic.rows() {
                let before = all.len();
                cases(mnemonic, row, &mut all);
                if !seen.insert((row.source, row.opcode, row.digit, row.tail, row.last)) {
                    all.truncate(before + 1);
                }
            }
        }
        all
    });
    &ALL
}

/// The instances of a row: each operand runs through its instances while the others stay, and all run together once.
fn cases(mnemonic: Mnemonic, row: &'static Row, out: &mut Vec<Case>) {
    if row.flags & flag::HINT_ONLY != 0 || row.ops[..row.len as usize].iter().any(|c| c.slot() == Slot::Rel) {
        return;
    }
    for variant in 0..3 {
        if row.variants >> variant & 1 == 0 {
            continue;
        }
        let lists: Vec<Vec<Operand>> = row.ops[..row.len as usize]
            .iter()
            .map(|&c| instances(row, c, variant))
            .collect();
        let mut picks = BTreeSet::from([vec![0; lists.len()]]);
        for (which, list) in lists.iter().enumerate() {
            for item in 0..list.len() {
                let mut one: Vec<usize> = vec![0; lists.len()];
                one[which] = item;
                picks.insert(one);
                picks.insert(lists.iter().enumerate().map(|(i, l)| (item + i) % l.len()).collect());
            }
        }
        for pick in &picks {
            let operands: Vec<Operand> = pick.iter().zip(&lists).map(|(&p, list)| list[p]).collect();
            let mut inst = Inst::with(mnemonic, &operands);
            if row.flags & flag::VEX_HINT != 0 {
                inst.hints = crate::Hints::VEX;
            }
            if row.is_apx() && row.space == Space::Evex {
                inst.hints = crate::Hints::EVEX;
            }
            if row.flags & flag::DFV != 0 {
                inst.hints = inst.hints.with(Hints::DFV);
                inst.default_flags = (inst.operands().len() + pick[0]) as u8 & 15;
            }
            if row.flags & flag::ATT != 0 {
                inst.syntax = crate::Syntax::Att;
            }
            if row.flags & flag::NEEDS_MASK != 0 {
                inst.mask = 3;
            }
            push(out, inst, row, variant);
        }
        decorated(mnemonic, row, variant, &lists, out);
    }
}

/// Masks, zeroing, rounding.
fn decorated(mnemonic: Mnemonic, row: &'static Row, variant: usize, lists: &[Vec<Operand>], out: &mut Vec<Case>) {
    let first: Vec<Operand> = lists.iter().map(|list| list[0]).collect();
    let last: Vec<Operand> = lists.iter().map(|list| list[list.len() - 1]).collect();
    if row.flags & flag::MASK != 0 {
        for operands in [&first, &last] {
            for mask in [1, 7] {
                push(
                    out,
                    Inst {
                        mask,
                        ..Inst::with(mnemonic, operands)
                    },
                    row,
                    variant,
                );
            }
        }
    }
    if row.flags & flag::ZEROING != 0 && !matches!(first[0], Operand::Mem(_)) {
        push(
            out,
            Inst {
                mask: 2,
                zeroing: true,
                ..Inst::with(mnemonic, &first)
            },
            row,
            variant,
        );
    }
    if row.flags & flag::NF != 0 {
        for operands in [&first, &last] {
            push(
                out,
                Inst {
                    hints: Hints::NF,
                    ..Inst::with(mnemonic, operands)
                },
                row,
                variant,
            );
        }
    }
    let full = row.axis != Axis::Vector || variant == 2;
    if row.flags & flag::ROUNDING != 0 && full {
        for rounding in [Rounding::Nearest, Rounding::Down, Rounding::Up, Rounding::Zero] {
            push(
                out,
                Inst {
                    rounding,
                    ..Inst::with(mnemonic, &first)
                },
                row,
                variant,
            );
        }
    }
    if row.flags & flag::SAE != 0 && full {
        push(
            out,
            Inst {
                rounding: Rounding::Sae,
                ..Inst::with(mnemonic, &first)
            },
            row,
            variant,
        );
    }
}

fn push(out: &mut Vec<Case>, inst: Inst, row: &'static Row, variant: usize) {
    out.push(Case { inst, row, variant });
}
