//! Properties of the relocation table's rows, against arithmetic in 128 bits.

use proptest::prelude::*;
use restub_loader::{Fit, Formula, ROWS, Row, Values};

fn row() -> impl Strategy<Value = &'static Row> {
    (0..ROWS.len()).prop_map(|index| &ROWS[index])
}

/// Any word, and words at the edges of narrower ones.
fn word() -> impl Strategy<Value = u64> {
    prop_oneof![
        any::<u64>(),
        (0_u32..64, -2_i64..=2).prop_map(|(shift, more)| (1_u64 << shift).wrapping_add_signed(more)),
        (0_u32..64, -2_i64..=2).prop_map(|(shift, more)| (1_u64 << shift).wrapping_neg().wrapping_add_signed(more)),
    ]
}

fn values() -> impl Strategy<Value = Values> {
    prop::array::uniform10(word()).prop_map(|[s, a, p, g, got, l, z, tp, block, module]| Values {
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
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_value_fits_if_its_field_gives_it_back(row in row(), value in word()) {
        let bits = u32::from(row.width) * 8;
        let number = i128::from(value.cast_signed());
        let (signed, unsigned) = match bits {
            0 | 64 => (true, true),
            _ => (
                (-(1_i128 << (bits - 1))..1 << (bits - 1)).contains(&number),
                (0..1_i128 << bits).contains(&i128::from(value)),
            ),
        };
        let expected = match row.fit {
            Fit::Signed => signed,
            Fit::Unsigned => unsigned,
            Fit::Either => signed || unsigned,
            Fit::Wraps => true,
        };
        prop_assert_eq!(row.fits(value), expected, "{} {:#x}", row.name, value);
    }

    #[test]
    fn writing_changes_the_field_only(row in row(), value in word(), old in any::<[u8; 16]>()) {
        let mut bytes = old;
        row.write(&mut bytes, value);
        let width = usize::from(row.width);
        prop_assert_eq!(&bytes[..width], &value.to_le_bytes()[..width]);
        prop_assert_eq!(&bytes[width..], &old[width..]);
    }

    #[test]
    fn what_fits_a_signed_field_is_read_back_as_an_addend(row in row(), value in word()) {
        let mut bytes = [0; 8];
        row.write(&mut bytes, value);
        if row.width > 0 && (row.fit == Fit::Signed || row.width == 8) && row.fits(value) {
            prop_assert_eq!(row.implicit_addend(&bytes), value.cast_signed());
        }
    }

    #[test]
    fn formulas_are_sums_modulo_two_to_the_64(row in row(), v in values()) {
        let wide = i128::from;
        let sum = match row.formula {
            Formula::None => 0,
            Formula::Absolute => wide(v.s) + wide(v.a),
            Formula::Relative => wide(v.s) + wide(v.a) - wide(v.p),
            Formula::PltRelative => wide(v.l) + wide(v.a) - wide(v.p),
            Formula::PltFromGot => wide(v.l) + wide(v.a) - wide(v.got),
            Formula::SlotFromGot => wide(v.g) + wide(v.a) - wide(v.got),
            Formula::SlotRelative => wide(v.g) + wide(v.a) - wide(v.p),
            Formula::FromGot => wide(v.s) + wide(v.a) - wide(v.got),
            Formula::GotRelative => wide(v.got) + wide(v.a) - wide(v.p),
            Formula::Size => wide(v.z) + wide(v.a),
            Formula::FromThreadPointer => wide(v.tp) + wide(v.a),
            Formula::FromTlsBlock => wide(v.block) + wide(v.a),
            Formula::TlsModule => wide(v.module),
        };
        prop_assert_eq!(i128::from(row.value(&v)), sum.rem_euclid(1 << 64), "{}", row.name);
    }
}
