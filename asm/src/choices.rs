//! Choices of forms, remembered.
//!
//! Code repeats a small set of forms, and looking for a row takes longer than encoding. What a key comes to depends on
//! the key alone, so all threads share one table, and an entry is one word: it is whole or it is not there.

use core::sync::atomic::{AtomicU64, Ordering};

use crate::form::Form;
use crate::inst::Hints;
use crate::key::{KEY_BITS, Key};
use crate::row::Row;
use crate::select::{Selected, Wanted, search};
use crate::table::FORMS;

/// Sets of two entries.
const SET_BITS: u32 = 11;
/// Bits of an entry that number a form; 0 is none. The others tell the keys of a set apart.
const FORM_BITS: u32 = u64::BITS - (KEY_BITS - SET_BITS);
const FORM: u64 = (1 << FORM_BITS) - 1;

const _: () = assert!(FORMS.len() < FORM as usize, "more forms than an entry counts");

#[repr(align(64))]
struct Sets([[AtomicU64; 2]; 1 << SET_BITS]);

static SETS: Sets = Sets([const { [const { AtomicU64::new(0) }; 2] }; 1 << SET_BITS]);

/// The form in an entry, if that has this tag.
#[inline(always)]
fn form_in(entry: u64, tag: u64) -> Option<&'static Form> {
    // Zero, and whatever differs in the tag, is larger than any number then.
    let index = (entry ^ tag).wrapping_sub(1);
    FORMS.get(index as usize)
}

/// The form for a key, or why there is none.
#[inline(always)]
pub(crate) fn choose(key: Key) -> Result<&'static Form, Selected> {
    // Odd factors lose nothing, so the set and the tag are the whole key.
    let mixed = (key.0 << (u64::BITS - KEY_BITS)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let set = &SETS.0[(mixed >> (u64::BITS - SET_BITS)) as usize];
    let tag = mixed << SET_BITS;
    // An entry says everything by itself, so that nothing is to be ordered.
    match form_in(set[0].load(Ordering::Relaxed), tag) {
        Some(form) => Ok(form),
        None => choose_again(key, set, tag),
    }
}

#[inline(never)]
fn choose_again(key: Key, set: &[AtomicU64; 2], tag: u64) -> Result<&'static Form, Selected> {
    if let Some(form) = form_in(set[1].load(Ordering::Relaxed), tag) {
        return Ok(form);
    }
    let number = find(&Wanted::of(key, Hints::NONE))?;
    set[1].store(set[0].load(Ordering::Relaxed), Ordering::Relaxed);
    set[0].store(tag | (u64::from(number) + 1), Ordering::Relaxed);
    Ok(&FORMS[number as usize])
}

/// The number of the form for what is wanted, not remembered.
pub(crate) fn find(wanted: &Wanted) -> Result<u16, Selected> {
    match search(wanted) {
        Selected::Row(index, variant) => Ok(Row::at(index).form(variant)),
        selected => Err(selected),
    }
}
