//! What rows are chosen by, in one word.
//!
//! Operands that no row tells apart (`[rax]` and `[rbx+rcx*4]` of 32 bits, 17 and 18) have the same *number*. The
//! numbers of the operands, the mnemonic and whatever else the line says make a [`Key`]: instructions with the same key
//! are of the same form, which is what [`crate::choices`] remembers.

use crate::address;
use crate::class::kind;
use crate::encode::Parts;
use crate::inst::{Inst, Rounding, Syntax};
use crate::operand::{Mem, Operand, memory_kind};
use crate::reg::{Reg, RegClass};
use crate::row::Mnemonic;
use crate::select::{ANY_COUNT, seen};
use crate::simple;

/// Number of an operand that is not there.
pub(crate) const ABSENT: u8 = 0;
/// Number of an operand that no row takes: registers that do not exist, addresses that cannot be.
const IMPOSSIBLE: u8 = 1;
/// Bits of a number in the key.
const NUMBER_BITS: u32 = 8;
/// The number in an operand's entry; the other bits are what is [`rare`] of it.
const NUMBER: u16 = (1 << NUMBER_BITS) - 1;

/// What operands of one number have in common.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Meaning {
    /// What they can stand for.
    pub(crate) signature: u64,
    /// Whatever else rows are chosen by, as [`seen`] has it.
    pub(crate) seen: u64,
}

/// What makes an operand harder to encode than most.
pub(crate) mod rare {
    /// `spl` and its like, which need REX; `ah` and its like, which cannot be with it.
    pub(crate) const LOW_BYTE: u16 = 1 << 8;
    pub(crate) const HIGH_BYTE: u16 = 1 << 9;
    /// A register above 15.
    pub(crate) const HIGH: u16 = 1 << 10;
    /// An address that is not of 64-bit registers in the shortest form.
    pub(crate) const ADDRESS: u16 = 1 << 11;
    /// The address is computed in 32 bits.
    pub(crate) const NARROW: u16 = 1 << 12;
    /// Something is to be filled in later.
    pub(crate) const OPEN: u16 = 1 << 13;
}
use rare::{HIGH_BYTE, LOW_BYTE};

/// The entries of all registers; of as many numbers as a byte has, so that none is out of bounds.
type Registers = [[u16; 256]; RegClass::ALL.len()];

/// Sizes of memory, as an index.
const SIZES: [u16; 11] = [0, 1, 2, 4, 6, 8, 10, 16, 32, 64, OTHER_SIZE];
const OTHER_SIZE: u16 = u16::MAX;
/// Bytes of an element that is broadcast, and how often.
const ELEMENTS: [u16; 4] = [0, 2, 4, 8];
const COUNTS: [u8; 6] = [2, 4, 8, 16, 32, ANY_COUNT];

/// `[register...]` of each size with low registers, with high ones, and `[address]`.
const MEMORY: u8 = 2;
const HIGH: u8 = 1;
const ABSOLUTE: u8 = 2;
/// With a vector index of each length: without and with a size, with the base and the index low or high.
const VECTOR_INDEX: u8 = MEMORY + 3 * SIZES.len() as u8;
/// A broadcast of each element and count, with low and with high registers.
const BROADCAST: u8 = VECTOR_INDEX + 3 * 8;
const TARGET: u8 = BROADCAST + (ELEMENTS.len() * COUNTS.len() * 2) as u8;
const IMMEDIATE: u8 = TARGET + 1;
/// Registers follow, numbered as they turn up.
const REGISTER: u8 = IMMEDIATE + IMMEDIATES.len() as u8;

/// A value that stands for whatever one does that is not known.
const SYMBOLIC: i64 = 0xff;
/// A value for each number of an immediate.
const IMMEDIATES: [i64; 10] = [
    1,
    2,
    -1,
    SYMBOLIC,
    0xffff,
    0x7fff,
    0x7fff_ffff,
    0xffff_ffff,
    0x8000_0000,
    i64::MAX,
];

const MEANINGS_AND_REGISTERS: ([Meaning; 256], Registers) = {
    let nothing = Meaning { signature: 0, seen: 0 };
    let mut all = [nothing; 256];
    let mut size = 0;
    while size < SIZES.len() {
        number_memory(&mut all, size);
        size += 1;
    }
    number_vector_indices(&mut all);
    number_broadcasts(&mut all);
    all[TARGET as usize].signature = kind::REL;
    let mut i = 0;
    while i < IMMEDIATES.len() {
        all[IMMEDIATE as usize + i].signature = value_signature(IMMEDIATES[i]);
        i += 1;
    }
    let registers = number_registers(&mut all);
    (all, registers)
};

static MEANINGS: [Meaning; 256] = MEANINGS_AND_REGISTERS.0;
static REGISTERS: Registers = MEANINGS_AND_REGISTERS.1;
/// Where each size is in [`SIZES`].
static SIZE_INDEX: [u8; 65] = {
    let mut all = [SIZES.len() as u8 - 1; 65];
    let mut i = 0;
    while i + 1 < SIZES.len() {
        all[SIZES[i] as usize] = i as u8;
        i += 1;
    }
    all
};

const fn number_memory(all: &mut [Meaning; 256], size: usize) {
    let unsized_bit = if SIZES[size] == 0 { seen::UNSIZED } else { 0 };
    let plain = Meaning {
        signature: kind::MEM | memory_kind(SIZES[size]),
        seen: seen::MEMORY | unsized_bit,
    };
    let number = (MEMORY + 3 * size as u8) as usize;
    all[number] = plain;
    all[number + HIGH as usize] = plain;
    all[number + HIGH as usize].seen |= seen::HIGH_GENERAL;
    all[number + ABSOLUTE as usize] = plain;
    all[number + ABSOLUTE as usize].signature |= kind::MOFFS;
}

const fn number_vector_indices(all: &mut [Meaning; 256]) {
    let mut i = 0;
    while i < 3 * 8 {
        let unsized_bit = if i & 4 == 0 { seen::UNSIZED } else { 0 };
        let base = if i & 1 == 0 { 0 } else { seen::HIGH_GENERAL };
        let index = if i & 2 == 0 { 0 } else { seen::HIGH_VECTOR };
        all[VECTOR_INDEX as usize + i] = Meaning {
            signature: [kind::VSIBX, kind::VSIBY, kind::VSIBZ][i / 8],
            seen: seen::MEMORY | unsized_bit | base | index,
        };
        i += 1;
    }
}

const fn number_broadcasts(all: &mut [Meaning; 256]) {
    let mut i = 0;
    while i < ELEMENTS.len() * COUNTS.len() {
        let (element, count) = (i / COUNTS.len(), i % COUNTS.len());
        let number = BROADCAST as usize + i * 2;
        all[number] = Meaning {
            signature: [kind::BROADCAST, kind::BC2, kind::BC4, kind::BC8][element],
            seen: seen::MEMORY | (COUNTS[count] as u64) << seen::BROADCAST_SHIFT,
        };
        all[number + HIGH as usize] = all[number];
        all[number + HIGH as usize].seen |= seen::HIGH_GENERAL;
        i += 1;
    }
}

const fn number_registers(all: &mut [Meaning; 256]) -> Registers {
    let mut registers = [[IMPOSSIBLE as u16; 256]; RegClass::ALL.len()];
    let mut end = REGISTER as usize;
    let mut c = 0;
    while c < RegClass::ALL.len() {
        let class = RegClass::ALL[c];
        let mut num = 0;
        while num < class.count() {
            let signature = register_signature(class, num);
            let seen = match class {
                _ if num < 16 => 0,
                RegClass::Xmm | RegClass::Ymm | RegClass::Zmm => seen::HIGH_VECTOR,
                _ => seen::HIGH_GENERAL,
            };
            let mut number = REGISTER as usize;
            while number < end && (all[number].signature != signature || all[number].seen != seen) {
                number += 1;
            }
            if number == end {
                all[number] = Meaning { signature, seen };
                end += 1;
            }
            let flags = match class {
                RegClass::R8 if num >= 4 && num < 8 => LOW_BYTE,
                RegClass::High8 => HIGH_BYTE,
                _ if num > 15 => rare::HIGH,
                _ => 0,
            };
            registers[c][num as usize] = number as u16 | flags;
            num += 1;
        }
        c += 1;
    }
    registers
}

/// What a register can stand for.
const fn register_signature(class: RegClass, num: u8) -> u64 {
    use kind::*;
    let (kinds, specials) = match class {
        RegClass::R8 => (R8, [AL, CL, 0]),
        RegClass::High8 => (R8, [0; 3]),
        RegClass::R16 => (R16, [AX, 0, DX]),
        RegClass::R32 => (R32, [EAX, ECX, 0]),
        RegClass::R64 => (R64, [RAX, RCX, 0]),
        RegClass::Seg if num == 4 => (SEG | FS, [0; 3]),
        RegClass::Seg if num == 5 => (SEG | GS, [0; 3]),
        RegClass::Seg => (SEG, [0; 3]),
        RegClass::Cr => (CR, [0; 3]),
        RegClass::Dr => (DR, [0; 3]),
        RegClass::St => (STI, [ST0, 0, 0]),
        RegClass::Mm => (MM, [0; 3]),
        RegClass::Xmm => (XMM, [XMM0, 0, 0]),
        RegClass::Ymm => (YMM, [0; 3]),
        RegClass::Zmm => (ZMM, [0; 3]),
        RegClass::K => (K, [0; 3]),
        RegClass::Tmm => (TMM, [0; 3]),
        RegClass::Bnd => (BND, [0; 3]),
        RegClass::Rip | RegClass::NoIndex => (0, [0; 3]),
    };
    kinds | if num < 3 { specials[num as usize] } else { 0 }
}

/// What a constant can stand for.
const fn value_signature(v: i64) -> u64 {
    use kind::*;
    const fn when(condition: bool, kind: u64) -> u64 {
        if condition { kind } else { 0 }
    }
    let is8 = v == v as i8 as i64;
    let is16 = -0x8000 <= v && v <= 0xffff;
    let is32 = -0x8000_0000 <= v && v <= 0xffff_ffff;
    when(v == 1, ONE)
        | when(0 <= v && v < 16, I4)
        | when(is16 && v as i16 == v as i8 as i16, I8S16)
        | when(is32 && v as i32 == v as i8 as i32, I8S32)
        | when(is8, I8S64)
        | when(is8 || (0 <= v && v <= 0xff), I8)
        | when(is16, I16)
        | when(v == v as i32 as i64, I32S)
        | when(is32, I32)
        | I64
}

/// The number of a constant.
#[inline(always)]
fn value_number(v: i64) -> u8 {
    if v == i64::from(v as i8) {
        IMMEDIATE
            + match v {
                1 => 0,
                0..16 => 1,
                _ => 2,
            }
    } else {
        wide_number(v)
    }
}

/// Of a value that is not one of 8 bits signed.
#[inline]
fn wide_number(v: i64) -> u8 {
    IMMEDIATE
        + match v {
            0..=0xff => 3,
            0xff80..=0xffff => 4,
            -0x8000..=0xffff => 5,
            -0x8000_0000..=0x7fff_ffff => 6,
            0xffff_ff80..=0xffff_ffff => 7,
            0x8000_0000..=0xffff_ffff => 8,
            _ => 9,
        }
}

/// The entry of an operand that is not in the processor, and its value.
#[inline(never)]
fn value_entry(operand: &Operand) -> (u16, u64) {
    match operand {
        Operand::Imm(imm) if !imm.symbolic.is_some() => (value_number(imm.value).into(), imm.value as u64),
        Operand::Imm(_) => (u16::from(value_number(SYMBOLIC)) | rare::OPEN, 0),
        _ => (u16::from(TARGET) | rare::OPEN, 0),
    }
}

impl Mem {
    // Not inlined, so that asking whether an operand is a register is one branch.
    #[inline(never)]
    fn entry(&self) -> u16 {
        if simple::is_simple(self) {
            (MEMORY + 3 * self.size_index()).into()
        } else {
            self.harder_entry()
        }
    }

    #[inline(never)]
    fn harder_entry(&self) -> u16 {
        let open = if self.symbolic.is_some() { rare::OPEN } else { 0 };
        let narrow = if address::is_narrow(self) { rare::NARROW } else { 0 };
        u16::from(self.number()) | rare::ADDRESS | open | narrow
    }

    /// The number of a memory operand.
    fn number(&self) -> u8 {
        if self.broadcast != 0 || !address::is_general(self) {
            return self.rare_number();
        }
        let low = MEMORY + 3 * self.size_index();
        if self.base.is_none() && self.index.is_none() {
            return low + ABSOLUTE;
        }
        low + ((address::number(self.base) | address::number(self.index)) >> 4)
    }

    #[inline(always)]
    fn size_index(&self) -> u8 {
        let index = SIZE_INDEX.get(self.size as usize).copied();
        index.unwrap_or(SIZES.len() as u8 - 1)
    }

    /// Of memory with a vector index or a broadcast, or at an address that cannot be.
    #[cold]
    fn rare_number(&self) -> u8 {
        let high = |reg: Option<Reg>| address::number(reg) >> 4;
        if self.broadcast == 0 {
            let length = match self.index.map(|index| index.class) {
                Some(RegClass::Xmm) => 0,
                Some(RegClass::Ymm) => 1,
                Some(RegClass::Zmm) => 2,
                _ => return IMPOSSIBLE,
            };
            if !address::is_vector(self) {
                return IMPOSSIBLE;
            }
            let sized = u8::from(self.size != 0);
            return VECTOR_INDEX + length * 8 + sized * 4 + high(self.index) * 2 + high(self.base);
        }
        let element = ELEMENTS.iter().position(|&size| size == self.size);
        let count = COUNTS.iter().position(|&count| count == self.broadcast);
        match (element, count) {
            (Some(element), Some(count)) if address::is_general(self) => {
                BROADCAST + ((element * COUNTS.len() + count) * 2) as u8 + (high(self.base) | high(self.index))
            }
            _ => IMPOSSIBLE,
        }
    }
}

/// What an instruction's form depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Key(pub(crate) u64);

const MNEMONIC_SHIFT: u32 = 5 * NUMBER_BITS;
const MNEMONIC_BITS: u32 = 13;
const SUFFIX_SHIFT: u32 = MNEMONIC_SHIFT + MNEMONIC_BITS;
const ROUNDING_SHIFT: u32 = SUFFIX_SHIFT + 3;
const ATT: u64 = 1 << (ROUNDING_SHIFT + 2);
const MASKED: u64 = ATT << 1;
const ZEROED: u64 = MASKED << 1;
/// How many bits a key has.
pub(crate) const KEY_BITS: u32 = ROUNDING_SHIFT + 5;

const SUFFIXES: [u8; 7] = [0, b'b', b'w', b'l', b'q', b's', b't'];

/// Where each suffix is in [`SUFFIXES`]; what is no suffix is like the last.
static SUFFIX_INDEX: [u8; 256] = {
    let mut all = [SUFFIXES.len() as u8 - 1; 256];
    let mut i = 0;
    while i < SUFFIXES.len() {
        all[SUFFIXES[i] as usize] = i as u8;
        i += 1;
    }
    all
};

const _: () = assert!(
    crate::table::ROW_COUNT <= 1 << MNEMONIC_BITS,
    "a mnemonic has more bits"
);

impl Key {
    /// The mnemonic in Intel syntax with operands of these numbers.
    #[inline(always)]
    pub(crate) fn plain(mnemonic: Mnemonic, numbers: u64) -> Self {
        Self(numbers | u64::from(mnemonic.0) << MNEMONIC_SHIFT)
    }

    /// The instruction, whose operands have these numbers; hints are left out.
    #[inline(always)]
    pub(crate) fn of(inst: &Inst, numbers: u64) -> Self {
        let rounding = match inst.rounding {
            Rounding::None => 0,
            Rounding::Sae => 1,
            _ => 2,
        };
        let bit = |set: bool, bit: u64| if set { bit } else { 0 };
        let Self(plain) = Self::plain(inst.mnemonic, numbers);
        Self(
            plain
                | u64::from(SUFFIX_INDEX[inst.suffix as usize]) << SUFFIX_SHIFT
                | rounding << ROUNDING_SHIFT
                | bit(matches!(inst.syntax, Syntax::Att), ATT)
                | bit(inst.mask != 0, MASKED)
                | bit(inst.zeroing, ZEROED),
        )
    }

    pub(crate) fn mnemonic(self) -> Mnemonic {
        Mnemonic((self.0 >> MNEMONIC_SHIFT) as u16 & ((1 << MNEMONIC_BITS) - 1))
    }

    /// What the operands have in common with others.
    pub(crate) fn operands(self) -> impl Iterator<Item = &'static Meaning> {
        let numbers = self.0.to_le_bytes().into_iter().take(5);
        numbers
            .take_while(|&number| number != ABSENT)
            .map(|number| &MEANINGS[number as usize])
    }

    pub(crate) fn suffix(self) -> u8 {
        SUFFIXES[(self.0 >> SUFFIX_SHIFT & 7) as usize]
    }

    /// `{sae}` stands for itself, [`Rounding::Nearest`] for all modes.
    pub(crate) fn rounding(self) -> Rounding {
        match self.0 >> ROUNDING_SHIFT & 3 {
            0 => Rounding::None,
            1 => Rounding::Sae,
            _ => Rounding::Nearest,
        }
    }

    pub(crate) fn is_att(self) -> bool {
        self.0 & ATT != 0
    }

    pub(crate) fn is_masked(self) -> bool {
        self.0 & MASKED != 0
    }

    pub(crate) fn is_zeroed(self) -> bool {
        self.0 & ZEROED != 0
    }
}

/// The numbers of up to five operands, and what the encoder wants of them.
#[inline(always)]
pub(crate) fn look(operands: &[Operand]) -> (u64, Parts<'_>) {
    let mut parts = Parts::new();
    let mut numbers = 0;
    // One after the other, so that the compiler knows where each one goes.
    macro_rules! look_at {
        ($($index:literal)*) => {$(
            if let Some(operand) = operands.get($index) {
                let entry = if let Operand::Reg(reg) = operand {
                    parts.number($index, reg.num);
                    REGISTERS[reg.class as usize][reg.num as usize]
                } else if let Operand::Mem(mem) = operand {
                    parts.mem = Some(mem);
                    mem.entry()
                } else {
                    let (entry, value) = value_entry(operand);
                    parts.value = value;
                    entry
                };
                parts.rare |= entry;
                numbers |= u64::from(entry & NUMBER) << (NUMBER_BITS * $index);
            }
        )*};
    }
    look_at!(0 1 2 3 4);
    parts.rare &= !NUMBER;
    (numbers, parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_one_number_stand_for_the_same() {
        let edges = [
            0, 1, 2, 0x10, 0x7f, 0x80, 0xff, 0x100, 0x7fff, 0x8000, 0xff7f, 0xff80, 0xffff, 0x1_0000,
        ];
        let wide = [
            0x7fff_ffff,
            0x8000_0000,
            0xffff_ff7f,
            0xffff_ff80,
            0xffff_ffff,
            0x1_0000_0000,
            i64::MAX,
        ];
        for edge in edges.into_iter().chain(wide) {
            for value in [edge - 1, edge, edge.wrapping_add(1), -edge, -edge - 1, -edge + 1] {
                let meaning = MEANINGS[value_number(value) as usize];
                assert_eq!(meaning.signature, value_signature(value), "{value:#x}");
            }
        }
    }

    #[test]
    fn every_number_is_of_one_kind() {
        let mut seen = std::collections::BTreeSet::new();
        for meaning in &MEANINGS[MEMORY as usize..] {
            assert!(
                meaning.signature == 0 || seen.insert((meaning.signature, meaning.seen)),
                "{meaning:x?}"
            );
        }
    }
}
