//! Which row an instruction is: the first whose operand classes, size and decorations fit.

use alloc::string::String;
use alloc::vec::Vec;

use crate::EncodeError;
use crate::class::kind;
use crate::inst::{Hints, Inst, Prefixes, Rounding, Syntax};
use crate::operand::Operand;
use crate::reg::RegClass;
use crate::row::{Axis, Row, Space, flag};

/// A broadcast whose count the source left to the instruction (`DWORD BCST`).
pub(crate) const ANY_COUNT: u8 = 0xff;

/// A row and the variant of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Choice {
    pub(crate) row: &'static Row,
    pub(crate) variant: usize,
}

/// What every row is checked against, worked out once an instruction.
struct Wanted {
    signatures: [u64; 5],
    /// A vector register above 15.
    high_vector: bool,
    /// A general register above 15.
    high_general: bool,
    /// {k}, {z}, rounding, hints: anything that not every row takes.
    decorated: bool,
}

impl Wanted {
    #[inline]
    fn of(inst: &Inst) -> Self {
        let mut wanted = Self {
            signatures: [0; 5],
            high_vector: false,
            high_general: false,
            decorated: false,
        };
        for (operand, signature) in inst.operands().iter().zip(&mut wanted.signatures) {
            *signature = operand.signature();
            let registers = match operand {
                Operand::Reg(reg) => [Some(*reg), None],
                Operand::Mem(mem) => [mem.base, mem.index],
                _ => continue,
            };
            for reg in registers.into_iter().flatten().filter(|r| r.num > 15) {
                let vector = matches!(reg.class, RegClass::Xmm | RegClass::Ymm | RegClass::Zmm);
                wanted.high_vector |= vector;
                wanted.high_general |= !vector;
            }
        }
        wanted.decorated = inst.mask != 0
            || inst.zeroing
            || inst.rounding != Rounding::None
            || inst.hints != Hints::NONE
            || wanted.high_vector
            || wanted.high_general;
        wanted
    }
}

/// The first row that takes this instruction.
#[inline]
pub(crate) fn select(inst: &Inst) -> Result<Choice, EncodeError> {
    let wanted = Wanted::of(inst);
    let mut next = Some(inst.mnemonic.row());
    while let Some(row) = next {
        next = row.following();
        let variants = fitting(row, inst, &wanted);
        if variants == 0 {
            continue;
        }
        if variants & (variants - 1) == 0 {
            let guess = row.flags & flag::SIZED != 0 && has_unsized_memory(inst)
                || row.axis == Axis::None && row.flags & flag::SFX_B != 0 && byte_is_a_guess(row, inst, &wanted);
            if guess {
                return Err(EncodeError::AmbiguousSize {
                    mnemonic: inst.mnemonic.name(),
                });
            }
            return Ok(prefer_short(
                Choice {
                    row,
                    variant: variants.trailing_zeros() as usize,
                },
                inst,
                &wanted,
            ));
        }
        if row.flags & flag::SIZED != 0 && has_unsized_memory(inst) {
            return Err(EncodeError::AmbiguousSize {
                mnemonic: inst.mnemonic.name(),
            });
        }
        let variant = default_variant(row, inst, variants).ok_or(EncodeError::AmbiguousSize {
            mnemonic: inst.mnemonic.name(),
        })?;
        return Ok(prefer_short(Choice { row, variant }, inst, &wanted));
    }
    Err(mismatch(inst, &wanted))
}

/// The variants of a row that fit, as bits; 0 where the row does not.
#[inline]
fn fitting(row: &'static Row, inst: &Inst, wanted: &Wanted) -> u8 {
    if row.len != inst.len {
        return 0;
    }
    let mut variants = row.variants;
    for index in 0..row.len as usize {
        let (kinds, broadcast) = row.ops[index].accepts();
        let signature = wanted.signatures[index];
        let mut fit = 0;
        for (bit, kinds) in kinds.iter().enumerate() {
            fit |= u8::from(signature & (kinds | broadcast) != 0) << bit;
        }
        variants &= fit;
        if variants == 0 {
            return 0;
        }
        if signature & kind::BROADCAST != 0 {
            variants &= broadcast_variants(row, index, inst);
        }
    }
    if inst.suffix != 0 {
        variants &= suffix_variants(row, inst.suffix);
    } else if row.flags & flag::DEFAULT64 != 0 && inst.len == 1 && matches!(inst.operands[0], Operand::Imm(_)) {
        variants &= 4;
    }
    let foreign = match inst.syntax {
        Syntax::Att => flag::INTEL,
        Syntax::Intel => flag::ATT,
    };
    if row.flags & (foreign | flag::NEEDS_MASK | flag::HINT_ONLY | flag::VEX_HINT) != 0 && !allowed(row, inst, foreign)
    {
        return 0;
    }
    if wanted.decorated {
        variants &= decorated_variants(row, inst, wanted);
    }
    variants
}

fn allowed(row: &Row, inst: &Inst, foreign: u64) -> bool {
    row.flags & foreign == 0
        && (row.flags & flag::NEEDS_MASK == 0 || inst.mask != 0)
        && (row.flags & flag::VEX_HINT == 0 || inst.hints.has(Hints::VEX) || inst.hints.has(Hints::VEX3))
        && (row.flags & flag::HINT_ONLY == 0 || inst.hints.has(Hints::LOAD) || inst.hints.has(Hints::STORE))
}

/// `{1to8}` has to be the vector's length over the element's.
fn broadcast_variants(row: &Row, index: usize, inst: &Inst) -> u8 {
    let Operand::Mem(mem) = inst.operands[index] else {
        return 0;
    };
    let class = row.ops[index];
    let element = class.broadcast_bytes();
    if element == 0 {
        return 0;
    }
    (0..3).fold(0, |bits, v| {
        bits | u8::from(mem.broadcast == ANY_COUNT || class.memory_bytes(v) / element == mem.broadcast) << v
    })
}

/// The variants that an AT&T size suffix leaves.
pub(crate) fn suffix_variants(row: &Row, suffix: u8) -> u8 {
    let stated = match suffix {
        b'b' => flag::SFX_B,
        b'w' => flag::SFX_W,
        b'l' => flag::SFX_L,
        b'q' => flag::SFX_Q,
        b's' => flag::SFX_S,
        _ => flag::SFX_T,
    };
    if row.flags & flag::NO_SFX != 0 {
        return 0;
    }
    if row.flags & flag::SFX != 0 {
        return if row.flags & stated != 0 { 7 } else { 0 };
    }
    match (row.axis, suffix) {
        (Axis::Operand, b'w') => 1,
        (Axis::Operand, b'l') => 2,
        (Axis::Operand, b'q') => 4,
        _ => 0,
    }
}

/// Masks, rounding, hints and registers above 15.
fn decorated_variants(row: &Row, inst: &Inst, wanted: &Wanted) -> u8 {
    let hints = inst.hints;
    let evex = row.space == Space::Evex;
    let refused = (inst.mask != 0 && row.flags & flag::MASK == 0)
        || (inst.zeroing && (row.flags & flag::ZEROING == 0 || matches!(inst.operands[0], Operand::Mem(_))))
        || (wanted.high_vector && !evex)
        || (wanted.high_general && !takes_high_general(row))
        || ((hints.has(Hints::VEX) || hints.has(Hints::VEX3)) && row.space != Space::Vex)
        || (hints.has(Hints::EVEX) && !evex)
        || (hints.has(Hints::NF) && row.flags & flag::NF == 0)
        || (hints.has(Hints::DFV) && row.flags & flag::DFV == 0);
    if refused {
        return 0;
    }
    let rounded = match inst.rounding {
        Rounding::None => return 7,
        Rounding::Sae => row.flags & flag::SAE != 0,
        _ => row.flags & flag::ROUNDING != 0,
    };
    let registers = inst.operands().iter().all(|op| !matches!(op, Operand::Mem(_)));
    match (rounded && registers, row.axis) {
        (false, _) => 0,
        (true, Axis::Vector) => 4,
        (true, _) => 7,
    }
}

/// Registers 16 to 31 are reached by EVEX, or by REX2, which knows two opcode maps.
pub(crate) fn takes_high_general(row: &Row) -> bool {
    match row.space {
        Space::Evex => true,
        _ => takes_rex2(row),
    }
}

fn takes_rex2(row: &Row) -> bool {
    row.space == Space::Legacy && row.map <= 1 && row.flags & flag::NO_EGPR == 0
}

fn has_unsized_memory(inst: &Inst) -> bool {
    inst.operands()
        .iter()
        .any(|op| matches!(op, Operand::Mem(m) if m.size == 0 && m.broadcast == 0))
}

/// Whether "8 bits" is only one of the sizes that a memory operand without a size could have here.
fn byte_is_a_guess(row: &'static Row, inst: &Inst, wanted: &Wanted) -> bool {
    let decided = row.ops[..row.len as usize]
        .iter()
        .any(|class| matches!(class.letter(), b'G' | b'B' | b'Z' | b'V' | b'K') || class.is_accumulator());
    if inst.suffix != 0 || !has_unsized_memory(inst) || decided {
        return false;
    }
    let mut next = row.following();
    while let Some(other) = next {
        if other.axis == Axis::Operand && fitting(other, inst, wanted) != 0 {
            return true;
        }
        next = other.following();
    }
    false
}

/// The size of an instruction whose operands leave several.
fn default_variant(row: &Row, inst: &Inst, variants: u8) -> Option<usize> {
    if row.flags & flag::DEFAULT64 != 0 {
        return Some(2);
    }
    if row.flags & flag::DEFAULT32 != 0 {
        return Some(if variants & 2 != 0 { 1 } else { 2 });
    }
    // Where no operand is memory, the size is in an immediate alone, or the row works on 32 bits at least.
    let memory = inst.operands().iter().any(|op| matches!(op, Operand::Mem(_)));
    (!memory && row.axis == Axis::Operand).then(|| {
        if variants & 2 != 0 {
            1
        } else {
            variants.trailing_zeros() as usize
        }
    })
}

/// A vector move between registers has a load and a store form; the one that needs no third VEX byte is taken, and
/// `{load}` and `{store}` choose.
fn prefer_short(choice: Choice, inst: &Inst, wanted: &Wanted) -> Choice {
    let Choice { row, variant } = choice;
    if inst.hints.has(Hints::LOAD) || inst.hints.has(Hints::STORE) {
        return hinted(choice, inst, wanted);
    }
    if row.flags & flag::SWAP == 0 || inst.hints.has(Hints::VEX3) {
        return choice;
    }
    let (Operand::Reg(reg), Operand::Reg(rm)) = (inst.operands[0], inst.operands[inst.len as usize - 1]) else {
        return choice;
    };
    match row.following() {
        Some(store) if reg.num < 8 && (8..16).contains(&rm.num) => Choice { row: store, variant },
        _ => choice,
    }
}

/// `{load}` wants the form whose first operand is ModRM.reg, `{store}` the one where it is ModRM.rm.
fn hinted(choice: Choice, inst: &Inst, wanted: &Wanted) -> Choice {
    use crate::class::Slot;
    let slot = if inst.hints.has(Hints::LOAD) {
        Slot::Reg
    } else {
        Slot::Rm
    };
    let right = |row: &Row| row.len == 0 || row.ops[0].slot() == slot;
    if right(choice.row) || !inst.operands().iter().all(|op| matches!(op, Operand::Reg(_))) {
        return choice;
    }
    let bit = 1 << choice.variant;
    inst.mnemonic
        .rows()
        .find(|row| right(row) && row.space == choice.row.space && fitting(row, inst, wanted) & bit != 0)
        .map_or(choice, |row| Choice {
            row,
            variant: choice.variant,
        })
}

/// Why no row matched, with the forms that exist.
#[cold]
fn mismatch(inst: &Inst, wanted: &Wanted) -> EncodeError {
    let mnemonic = inst.mnemonic.name();
    let count = inst.len;
    if !inst.mnemonic.rows().any(|row| row.len == count) {
        let mut counts: Vec<u8> = inst.mnemonic.rows().map(|row| row.len).collect();
        counts.sort_unstable();
        counts.dedup();
        return EncodeError::OperandCount {
            mnemonic,
            given: count.into(),
            accepted: counts,
        };
    }
    let bare = Inst {
        mask: 0,
        zeroing: false,
        rounding: Rounding::None,
        hints: Hints::NONE,
        suffix: 0,
        ..*inst
    };
    let plain = Wanted {
        decorated: false,
        ..*wanted
    };
    if inst.mnemonic.rows().any(|row| fitting(row, &bare, &plain) != 0) {
        let what = if inst.mask != 0 || inst.zeroing {
            "a mask"
        } else if inst.rounding != Rounding::None {
            "this rounding"
        } else if inst.suffix != 0 {
            "this size suffix"
        } else if wanted.high_vector || wanted.high_general {
            "registers above 15"
        } else {
            "this encoding hint"
        };
        return EncodeError::NotAllowed { mnemonic, what };
    }
    EncodeError::NoForm {
        mnemonic,
        candidates: candidates(inst),
    }
}

/// The forms with as many operands, as the SDM writes them.
fn candidates(inst: &Inst) -> String {
    let mut forms: Vec<String> = inst
        .mnemonic
        .rows()
        .filter(|row| row.len == inst.len)
        .map(|row| {
            let operands: Vec<String> = row.ops[..row.len as usize].iter().map(|class| class.text()).collect();
            alloc::format!("{} {}", inst.mnemonic.name(), operands.join(", "))
        })
        .collect();
    forms.dedup();
    forms.truncate(4);
    forms.join("; ")
}

/// Whether the prefixes fit the row.
pub(crate) fn check_prefixes(row: &Row, inst: &Inst) -> Result<(), EncodeError> {
    let mnemonic = inst.mnemonic.name();
    let memory_first = matches!(inst.operands[0], Operand::Mem(_)) || matches!(inst.operands[1], Operand::Mem(_));
    if inst.prefixes.has(Prefixes::LOCK) && (row.flags & flag::LOCK == 0 || !memory_first) {
        return Err(EncodeError::NotAllowed {
            mnemonic,
            what: "a lock prefix",
        });
    }
    if inst.prefixes.has(Prefixes::REX2) && !takes_rex2(row) {
        return Err(EncodeError::NotAllowed {
            mnemonic,
            what: "a REX2 prefix",
        });
    }
    let repeated = inst.prefixes.has(Prefixes::REP) || inst.prefixes.has(Prefixes::REPNE);
    if repeated && row.flags & (flag::REP | flag::BRANCH) == 0 {
        return Err(EncodeError::NotAllowed {
            mnemonic,
            what: "a repeat prefix",
        });
    }
    Ok(())
}
