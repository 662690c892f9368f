//! Which row an instruction is: the first whose operand classes, size and decorations fit.

use alloc::string::String;
use alloc::vec::Vec;

use crate::EncodeError;
use crate::choices::find;
use crate::class::{Class, Slot, kind};
use crate::encode::Parts;
use crate::form::Form;
use crate::inst::{Hints, Inst, Prefixes, Rounding};
use crate::key::Key;
use crate::operand::Operand;
use crate::row::{Axis, Mnemonic, Row, Space, flag};
use crate::table::FORMS;

/// A broadcast whose count the source left to the instruction (`DWORD BCST`).
pub(crate) const ANY_COUNT: u8 = 0xff;

/// What rows are chosen by: everything about an instruction that is not just a number.
///
/// [`Key`] is the same in one word. The types of operands make one where code is compiled.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted {
    /// What each operand can stand for.
    pub(crate) signatures: [u64; 5],
    /// Mnemonic, number of operands and everything else.
    rest: u64,
}

/// Bits of [`Wanted`] that operands set.
pub(crate) mod seen {
    /// Vector register above 15; general register above 15.
    pub(crate) const HIGH_VECTOR: u64 = 1 << 7;
    pub(crate) const HIGH_GENERAL: u64 = 1 << 8;
    /// There is a memory operand; it does not say its size.
    pub(crate) const MEMORY: u64 = 1 << 9;
    pub(crate) const UNSIZED: u64 = 1 << 10;
    /// Where `{1toN}` is.
    pub(crate) const BROADCAST_SHIFT: u32 = 24;
}
use seen::{BROADCAST_SHIFT, HIGH_GENERAL, HIGH_VECTOR, MEMORY, UNSIZED};

const LEN: u64 = 7;
const ROUNDING_SHIFT: u32 = 3;
const ATT: u64 = 1 << 6;
const MASKED: u64 = 1 << 11;
const ZEROED: u64 = 1 << 12;
const MEMORY_FIRST: u64 = 1 << 13;
const SUFFIX_SHIFT: u32 = 16;
const HINTS_SHIFT: u32 = 32;
const MNEMONIC_SHIFT: u32 = 48;
/// Anything that not every row takes.
const DECORATED: u64 = 7 << ROUNDING_SHIFT | MASKED | ZEROED | 0xffff << HINTS_SHIFT | HIGH_VECTOR | HIGH_GENERAL;

impl Wanted {
    /// An instruction in Intel syntax without decorations.
    #[inline(always)]
    pub(crate) const fn plain(mnemonic: Mnemonic, signatures: [u64; 5], len: usize, seen: u64) -> Self {
        let rest = (mnemonic.0 as u64) << MNEMONIC_SHIFT | len as u64 | seen;
        Self { signatures, rest }
    }

    /// What a key and hints stand for.
    pub(crate) fn of(key: Key, hints: Hints) -> Self {
        let mut wanted = Self::plain(key.mnemonic(), [0; 5], key.operands().count(), 0);
        for (operand, signature) in key.operands().zip(&mut wanted.signatures) {
            *signature = operand.signature;
            wanted.rest |= operand.seen;
        }
        if key.operands().next().is_some_and(|first| first.seen & MEMORY != 0) {
            wanted.rest |= MEMORY_FIRST;
        }
        wanted.rest |= (hints.0 as u64) << HINTS_SHIFT
            | (key.suffix() as u64) << SUFFIX_SHIFT
            | (key.rounding() as u64) << ROUNDING_SHIFT;
        for (set, bit) in [
            (key.is_masked(), MASKED),
            (key.is_zeroed(), ZEROED),
            (key.is_att(), ATT),
        ] {
            wanted.rest |= if set { bit } else { 0 };
        }
        wanted
    }

    const fn has(&self, bits: u64) -> bool {
        self.rest & bits != 0
    }

    const fn len(&self) -> u8 {
        (self.rest & LEN) as u8
    }

    const fn suffix(&self) -> u8 {
        (self.rest >> SUFFIX_SHIFT) as u8
    }

    const fn hints(&self) -> Hints {
        Hints((self.rest >> HINTS_SHIFT) as u16)
    }

    /// [`Rounding`] as a number.
    const fn rounding(&self) -> u8 {
        (self.rest >> ROUNDING_SHIFT & 7) as u8
    }

    /// `{1toN}`
    const fn broadcast(&self) -> u8 {
        (self.rest >> BROADCAST_SHIFT) as u8
    }

    const fn first_row(&self) -> u16 {
        (self.rest >> MNEMONIC_SHIFT) as u16
    }

    /// The same without anything that not every row takes.
    const fn bare(&self) -> Self {
        Self {
            rest: self.rest & !(DECORATED | 0xff << SUFFIX_SHIFT),
            ..*self
        }
    }

    const fn is_immediate(&self, index: usize) -> bool {
        self.signatures[index] & kind::I64 != 0
    }
}

/// What comes of a search for a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Selected {
    /// The row of this index, in this variant.
    Row(u16, u8),
    /// A row would do, in more than one size.
    Ambiguous,
    /// There is none.
    Nothing,
}

/// The first row that fits.
pub(crate) const fn search(wanted: &Wanted) -> Selected {
    let mut index = wanted.first_row();
    // `qword bcst` does not say how often: GNU as takes the longest vector, with a warning.
    let mut longest = Selected::Nothing;
    loop {
        let row = Row::at(index);
        let variants = fitting(row, wanted);
        if variants != 0 && wanted.broadcast() == ANY_COUNT && row.flags & flag::SIZED != 0 {
            longest = Selected::Row(index, variants.ilog2() as u8);
        } else if variants != 0 {
            if wanted.has(UNSIZED) && row.flags & flag::SIZED != 0 {
                return Selected::Ambiguous;
            }
            if variants & (variants - 1) != 0 {
                return match default_variant(row, wanted, variants) {
                    Some(variant) => Selected::Row(index, variant),
                    None => Selected::Ambiguous,
                };
            }
            if matches!(row.axis, Axis::None) && row.flags & flag::SFX_B != 0 && byte_is_a_guess(row, wanted) {
                return Selected::Ambiguous;
            }
            return Selected::Row(index, variants.trailing_zeros() as u8);
        }
        if row.next == 0 {
            return longest;
        }
        index = row.next;
    }
}

/// The form of an instruction with encoding hints.
#[cold]
pub(crate) fn select_hinted(inst: &Inst, numbers: u64) -> Result<&'static Form, Selected> {
    let wanted = Wanted::of(Key::of(inst, numbers), inst.hints);
    let form = &FORMS[find(&wanted)? as usize];
    if inst.hints.has(Hints::LOAD) || inst.hints.has(Hints::STORE) {
        return Ok(hinted(form, inst, &wanted));
    }
    Ok(form)
}

/// Why there is no row.
#[cold]
pub(crate) fn refusal(selected: Selected, inst: &Inst, numbers: u64) -> EncodeError {
    match selected {
        Selected::Ambiguous => EncodeError::AmbiguousSize {
            mnemonic: inst.mnemonic.name(),
        },
        _ => mismatch(inst, &Wanted::of(Key::of(inst, numbers), inst.hints)),
    }
}

/// The variants of a row that fit, as bits; 0 where the row does not.
#[inline]
pub(crate) const fn fitting(row: &Row, wanted: &Wanted) -> u8 {
    if row.len != wanted.len() {
        return 0;
    }
    let mut variants = row.variants;
    let mut index = 0;
    while index < row.len as usize {
        let (kinds, broadcast) = row.ops[index].accepts();
        let signature = wanted.signatures[index];
        let mut fit = if signature & (kinds[0] | broadcast) != 0 { 1 } else { 0 };
        fit |= if signature & (kinds[1] | broadcast) != 0 { 2 } else { 0 };
        fit |= if signature & (kinds[2] | broadcast) != 0 { 4 } else { 0 };
        variants &= fit;
        if variants == 0 {
            return 0;
        }
        if signature & kind::BROADCAST != 0 {
            variants &= broadcast_variants(row.ops[index], wanted.broadcast());
        }
        index += 1;
    }
    if wanted.suffix() != 0 {
        variants &= suffix_variants(row, wanted.suffix());
    } else if row.flags & flag::DEFAULT64 != 0 && row.len == 1 && wanted.is_immediate(0) {
        variants &= 4;
    }
    if row.flags & (flag::INTEL | flag::ATT | flag::NEEDS_MASK | flag::HINT_ONLY | flag::VEX_HINT) != 0
        && !allowed(row, wanted)
    {
        return 0;
    }
    if row.flags & flag::BARE != 0 && wanted.has(MEMORY) && !wanted.has(UNSIZED) {
        return 0;
    }
    if wanted.has(DECORATED) {
        variants &= decorated_variants(row, wanted);
    }
    variants
}

const fn allowed(row: &Row, wanted: &Wanted) -> bool {
    let hints = wanted.hints();
    let foreign = if wanted.has(ATT) { flag::INTEL } else { flag::ATT };
    row.flags & foreign == 0
        && (row.flags & flag::NEEDS_MASK == 0 || wanted.has(MASKED))
        && (row.flags & flag::VEX_HINT == 0 || hints.has(Hints::VEX) || hints.has(Hints::VEX3))
        && (row.flags & flag::HINT_ONLY == 0 || hints.has(Hints::LOAD) || hints.has(Hints::STORE))
}

/// `{1to8}` has to be the vector's length over the element's.
const fn broadcast_variants(class: Class, count: u8) -> u8 {
    let element = class.broadcast_bytes();
    if element == 0 {
        return 0;
    }
    let mut bits = 0;
    let mut variant = 0;
    while variant < 3 {
        if count == ANY_COUNT || class.memory_bytes(variant) / element == count {
            bits |= 1 << variant;
        }
        variant += 1;
    }
    bits
}

/// The variants that an AT&T size suffix leaves.
pub(crate) const fn suffix_variants(row: &Row, suffix: u8) -> u8 {
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
const fn decorated_variants(row: &Row, wanted: &Wanted) -> u8 {
    let hints = wanted.hints();
    let evex = matches!(row.space, Space::Evex);
    let refused = (wanted.has(MASKED) && row.flags & flag::MASK == 0)
        || (wanted.has(ZEROED) && (row.flags & flag::ZEROING == 0 || wanted.has(MEMORY_FIRST)))
        || (wanted.has(HIGH_VECTOR) && !evex)
        || (wanted.has(HIGH_GENERAL) && !takes_high_general(row))
        || ((hints.has(Hints::VEX) || hints.has(Hints::VEX3)) && !matches!(row.space, Space::Vex))
        || (hints.has(Hints::EVEX) && !evex)
        || (hints.has(Hints::NF) && row.flags & flag::NF == 0)
        || (hints.has(Hints::DFV) && row.flags & flag::DFV == 0);
    if refused {
        return 0;
    }
    const NONE: u8 = Rounding::None as u8;
    const SAE: u8 = Rounding::Sae as u8;
    let rounded = match wanted.rounding() {
        NONE => return 7,
        SAE => row.flags & flag::SAE != 0,
        _ => row.flags & flag::ROUNDING != 0,
    };
    match (rounded && !wanted.has(MEMORY), row.axis) {
        (false, _) => 0,
        (true, Axis::Vector) => 4,
        (true, _) => 7,
    }
}

/// Registers 16 to 31 are reached by EVEX, or by REX2, which knows two opcode maps.
pub(crate) const fn takes_high_general(row: &Row) -> bool {
    matches!(row.space, Space::Evex) || takes_rex2(row)
}

const fn takes_rex2(row: &Row) -> bool {
    matches!(row.space, Space::Legacy) && row.map <= 1 && row.flags & flag::NO_EGPR == 0
}

/// Whether "8 bits" is only one of the sizes that a memory operand without a size could have here.
const fn byte_is_a_guess(row: &Row, wanted: &Wanted) -> bool {
    if wanted.suffix() != 0 || !wanted.has(UNSIZED) {
        return false;
    }
    let mut index = 0;
    while index < row.len as usize {
        let class = row.ops[index];
        if matches!(class.letter(), b'G' | b'B' | b'Z' | b'V' | b'K') || class.is_accumulator() {
            return false;
        }
        index += 1;
    }
    let mut next = row.next;
    while next != 0 {
        let other = Row::at(next);
        if matches!(other.axis, Axis::Operand) && fitting(other, wanted) != 0 {
            return true;
        }
        next = other.next;
    }
    false
}

/// The size of an instruction whose operands leave several.
const fn default_variant(row: &Row, wanted: &Wanted, variants: u8) -> Option<u8> {
    if row.flags & flag::DEFAULT64 != 0 {
        return Some(2);
    }
    if row.flags & flag::DEFAULT32 != 0 {
        return Some(if variants & 2 != 0 { 1 } else { 2 });
    }
    // Where no operand is memory, the size is in an immediate alone, or the row works on 32 bits at least.
    if wanted.has(MEMORY) || !matches!(row.axis, Axis::Operand) {
        return None;
    }
    Some(if variants & 2 != 0 {
        1
    } else {
        variants.trailing_zeros() as u8
    })
}

/// A vector move between registers has a load and a store form; the one that needs no third VEX byte is taken.
#[inline(never)]
pub(crate) fn prefer_short(form: &'static Form, hints: Hints, parts: &Parts<'_>) -> &'static Form {
    let asked = [Hints::LOAD, Hints::STORE, Hints::VEX3]
        .iter()
        .any(|&hint| hints.has(hint));
    let shorter = parts.mem.is_none() && parts.at(form.reg) < 8 && (8..16).contains(&parts.at(form.rm));
    match Row::at(form.row).following() {
        Some(store) if shorter && !asked => &FORMS[store.form(form.variant) as usize],
        _ => form,
    }
}

/// `{load}` wants the form whose first operand is ModRM.reg, `{store}` the one where it is ModRM.rm.
fn hinted(form: &'static Form, inst: &Inst, wanted: &Wanted) -> &'static Form {
    let slot = if inst.hints.has(Hints::LOAD) {
        Slot::Reg
    } else {
        Slot::Rm
    };
    let row = Row::at(form.row);
    let right = |row: &Row| row.len == 0 || row.ops[0].slot() == slot;
    if right(row) || !inst.operands().iter().all(|op| matches!(op, Operand::Reg(_))) {
        return form;
    }
    inst.mnemonic
        .rows()
        .find(|other| right(other) && other.space == row.space && fitting(other, wanted) >> form.variant & 1 != 0)
        .map_or(form, |other| &FORMS[other.form(form.variant) as usize])
}

/// Why no row matched, with the forms that exist.
#[cold]
fn mismatch(inst: &Inst, wanted: &Wanted) -> EncodeError {
    let mnemonic = inst.mnemonic.name();
    let count = inst.len;
    if !inst.mnemonic.rows().any(|row| row.len == count) {
        return wrong_count(inst.mnemonic, count.into());
    }
    let bare = wanted.bare();
    if inst.mnemonic.rows().any(|row| fitting(row, &bare) != 0) {
        let what = if inst.mask != 0 || inst.zeroing {
            "a mask"
        } else if inst.rounding != Rounding::None {
            "this rounding"
        } else if inst.suffix != 0 {
            "this size suffix"
        } else if wanted.has(HIGH_VECTOR | HIGH_GENERAL) {
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

/// The mnemonic never takes so many operands.
#[cold]
pub(crate) fn wrong_count(mnemonic: Mnemonic, given: usize) -> EncodeError {
    let mut accepted: Vec<u8> = mnemonic.rows().map(|row| row.len).collect();
    accepted.sort_unstable();
    accepted.dedup();
    EncodeError::OperandCount {
        mnemonic: mnemonic.name(),
        given,
        accepted,
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
