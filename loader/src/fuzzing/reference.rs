//! A second implementation of the relocation types, written from the text of the psABI (version 1.0, table 4.9 and the
//! paragraphs around it) and not from the table of this crate, which it judges.

use super::choices::Choices;
use crate::relocation::{ROWS, Row, Values};

/// The field of a relocation type (psABI, figure 4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field {
    /// Nothing is stored.
    None,
    /// One byte.
    Word8,
    /// Two bytes.
    Word16,
    /// Four bytes.
    Word32,
    /// Eight bytes.
    Word64,
}

/// What the psABI says of a relocation type: its field and the value of its calculation, without a limit on its size.
///
/// `None` where the type has no meaning in a relocatable object, or there is no such type.
#[must_use]
pub fn calculation(number: u32, values: &Values) -> Option<(Field, i128)> {
    use Field::{None as Nothing, Word8, Word16, Word32, Word64};
    let letter = |value: u64| i128::from(value);
    let (s, p, z, l) = (letter(values.s), letter(values.p), letter(values.z), letter(values.l));
    let (got, g) = (letter(values.got), letter(values.g) - letter(values.got));
    // Addends are signed (gABI, Elf64_Rela).
    let a = i128::from(values.a.cast_signed());
    Some(match number {
        0 => (Nothing, 0),
        1 => (Word64, s + a),
        2 | 39 => (Word32, s + a - p),
        3 => (Word32, g + a),
        4 | 40 => (Word32, l + a - p),
        9 | 41 | 42 | 43 | 46 | 49 => (Word32, g + got + a - p),
        10 | 11 => (Word32, s + a),
        12 => (Word16, s + a),
        13 => (Word16, s + a - p),
        14 => (Word8, s + a),
        15 => (Word8, s + a - p),
        16 => (Word64, letter(values.module)),
        17 => (Word64, letter(values.block) + a),
        18 => (Word64, letter(values.tp) + a),
        // The pair, the word or the descriptor is an entry of the GOT, and the field its distance from the place.
        19 | 20 | 22 | 34 | 44 | 45 | 47 | 48 | 50 | 51 => (Word32, g + got + a - p),
        21 => (Word32, letter(values.block) + a),
        23 => (Word32, letter(values.tp) + a),
        24 => (Word64, s + a - p),
        25 => (Word64, s + a - got),
        26 => (Word32, got + a - p),
        27 => (Word64, g + a),
        28 => (Word64, g + got - p + a),
        29 => (Word64, got - p + a),
        30 => (Word64, g + a),
        31 => (Word64, l - got + a),
        32 => (Word32, z + a),
        33 => (Word64, z + a),
        35 => (Nothing, 0),
        _ => return None,
    })
}

/// Whether a linker may store the value: "The R_X86_64_32 and R_X86_64_32S relocations truncate the computed value to
/// 32-bits. The linker must verify that the generated value for the R_X86_64_32 (R_X86_64_32S) relocation zero-extends
/// (sign-extends) to the original 64-bit value." Displacements and offsets are signed, sizes are not, and 8 and 16 bits
/// are either, as the psABI leaves open and other linkers do it.
#[must_use]
pub fn may_store(number: u32, field: Field, value: i128) -> bool {
    // The original value is one of 64 bits.
    let original = value as u64;
    let sign_extends = |bits: u32| (((original << (64 - bits)) as i64) >> (64 - bits)) as u64 == original;
    let zero_extends = |bits: u32| original < 1 << bits;
    match (field, number) {
        (Field::None | Field::Word64, _) => true,
        (Field::Word32, 10 | 32) => zero_extends(32),
        (Field::Word32, _) => sign_extends(32),
        (Field::Word16, 13) => sign_extends(16),
        (Field::Word8, 15) => sign_extends(8),
        (Field::Word16, _) => sign_extends(16) || zero_extends(16),
        (Field::Word8, _) => sign_extends(8) || zero_extends(8),
    }
}

impl Field {
    /// Its size in bytes.
    #[must_use]
    pub fn bytes(self) -> usize {
        match self {
            Field::None => 0,
            Field::Word8 => 1,
            Field::Word16 => 2,
            Field::Word32 => 4,
            Field::Word64 => 8,
        }
    }
}

/// What another implementation of the relocation types makes of one: the bytes it wrote, or its refusal.
pub type Outcome = Result<Vec<u8>, &'static str>;

/// Compares an implementation with the psABI on one relocation. To fuzz an implementation of your own, call it from
/// `theirs`.
///
/// # Panics
/// If the two differ.
pub fn check_relocation(number: u32, values: &Values, theirs: impl FnOnce() -> Outcome) {
    let expected: Outcome = match calculation(number, values) {
        None => Err("no such type"),
        Some((field, value)) if may_store(number, field, value) => Ok(value.to_le_bytes()[..field.bytes()].to_vec()),
        Some(_) => Err("out of range"),
    };
    assert_eq!(theirs(), expected, "type {number} of {values:x?}");
}

/// Compares this crate's row of a relocation type with the psABI.
///
/// # Panics
/// If the two differ.
pub fn check_row(number: u32, values: &Values) {
    check_relocation(number, values, || {
        let row = Row::of(number).filter(|row| !row.dynamic_only).ok_or("no such type")?;
        let value = row.value(values);
        if !row.fits(value) {
            return Err("out of range");
        }
        let mut field = [0x5a; 16];
        row.write(&mut field, value);
        let width = usize::from(row.width);
        assert!(
            field[width..].iter().all(|byte| *byte == 0x5a),
            "{} writes beyond its field",
            row.name
        );
        if width > 0 && !matches!(row.number, 10 | 12 | 14 | 32) {
            assert_eq!(
                row.implicit_addend(&field).cast_unsigned(),
                value,
                "{}: addend in the field",
                row.name
            );
        }
        Ok(field[..width].to_vec())
    });
}

/// [`check_row`] of the type and the values that bytes stand for.
///
/// # Panics
/// As [`check_row`].
pub fn check_row_bytes(bytes: &[u8]) {
    let mut choices = Choices::new(bytes);
    let number = choices.below(ROWS.len() as u64 + 2) as u32;
    let [s, a, g, got, l, z, tp, block, module] = std::array::from_fn(|_| choices.edge());
    // Most displacements are small, and interesting at the edges of 32 bits.
    let from = *choices.pick(&[s, s, l, g, got]);
    let p = if choices.once_in(4) {
        choices.word()
    } else {
        from.wrapping_add(a).wrapping_sub(choices.edge())
    };
    let values = Values {
        s,
        a,
        p,
        g,
        got,
        l,
        z,
        tp,
        block,
        module,
    };
    check_row(number, &values);
}
