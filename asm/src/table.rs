//! The compiled rows and their forms, and how mnemonics find them.

use crate::form::Form;
use crate::notation::{NAME_BYTES, Name, NameList, compile, count_names, find, same, slice};
use crate::row::{Mnemonic, Row, flag};
use crate::rows::FAMILIES;

/// Rows, one for each name.
pub(crate) const ROW_COUNT: usize = {
    let mut count = 0;
    let mut f = 0;
    while f < FAMILIES.len() {
        let mut r = 0;
        while r < FAMILIES[f].len() {
            count += count_names(FAMILIES[f][r].as_bytes());
            r += 1;
        }
        f += 1;
    }
    count
};

const fn hash(name: &[u8]) -> usize {
    let mut value: u32 = 0x811c_9dc5;
    let mut i = 0;
    while i < name.len() {
        value = (value ^ name[i] as u32).wrapping_mul(0x0100_0193);
        i += 1;
    }
    (value ^ value >> 15) as usize & (SLOT_COUNT - 1)
}

const SLOT_COUNT: usize = 16384;

pub(crate) struct Table {
    pub(crate) rows: [Row; ROW_COUNT],
    names: [Name; ROW_COUNT],
    name_lens: [u8; ROW_COUNT],
    /// First row of each mnemonic by hash, row plus one; 0 is free.
    slots: [u16; SLOT_COUNT],
    /// First row of the mnemonic that a row belongs to.
    first: [u16; ROW_COUNT],
}

const fn trimmed(name: &Name) -> &[u8] {
    slice(name, 0, find(name, 0, 0))
}

const fn slot_for(slots: &[u16; SLOT_COUNT], names: &[Name; ROW_COUNT], name: &[u8]) -> usize {
    let mut slot = hash(name);
    while slots[slot] != 0 && !same(trimmed(&names[slots[slot] as usize - 1]), name) {
        slot = (slot + 1) & (SLOT_COUNT - 1);
    }
    slot
}

/// The rows and names as they are written. A constant of its own, since the compiler takes note of long ones.
const COMPILED: ([Row; ROW_COUNT], [Name; ROW_COUNT], [u8; ROW_COUNT]) = {
    let (mut rows, mut names, mut name_lens) = ([Row::BLANK; ROW_COUNT], [[0; NAME_BYTES]; ROW_COUNT], [0; ROW_COUNT]);
    let mut index = 0;
    let mut family = 0;
    while family < FAMILIES.len() {
        let mut r = 0;
        while r < FAMILIES[family].len() {
            let text = FAMILIES[family][r].as_bytes();
            let spec = slice(text, 0, find(text, b' ', 0));
            let count = count_names(text);
            // Whatever depends on a name's position does so linearly.
            let (zeroth, first) = (compile(text, 0), if count > 1 { compile(text, 1) } else { Row::BLANK });
            let mut list = NameList::new(spec);
            let mut nth = 0;
            while nth < count {
                let (name, name_len, n) = list.next();
                names[index] = name;
                name_lens[index] = name_len as u8;
                rows[index] = if n == 0 { zeroth } else { zeroth.stepped(&first, n) };
                rows[index].source = (family as u8, r as u16);
                index += 1;
                nth += 1;
            }
            r += 1;
        }
        family += 1;
    }
    (rows, names, name_lens)
};

pub(crate) static TABLE: Table = {
    let mut table = Table {
        rows: COMPILED.0,
        names: COMPILED.1,
        name_lens: COMPILED.2,
        slots: [0; SLOT_COUNT],
        first: [0; ROW_COUNT],
    };
    // The last row so far of the mnemonic whose first row is the index.
    let mut last = [0u16; ROW_COUNT];
    let mut forms = 0;
    let mut index = 0;
    while index < ROW_COUNT {
        table.rows[index].forms = forms;
        forms += table.rows[index].variants.count_ones() as u16;
        let slot = slot_for(&table.slots, &table.names, trimmed(&table.names[index]));
        if table.slots[slot] == 0 {
            table.slots[slot] = index as u16 + 1;
            table.first[index] = index as u16;
        } else {
            let first = table.slots[slot] - 1;
            table.first[index] = first;
            table.rows[last[first as usize] as usize].next = index as u16;
        }
        last[table.first[index] as usize] = index as u16;
        index += 1;
    }
    table
};

const FORM_COUNT: usize = {
    let last = &TABLE.rows[ROW_COUNT - 1];
    last.forms as usize + last.variants.count_ones() as usize
};

/// The forms of the rows, one for each variant, in the order of the rows.
pub(crate) static FORMS: [Form; FORM_COUNT] = {
    let mut forms = [Form::new(0, 0); FORM_COUNT];
    let mut row = 0;
    while row < ROW_COUNT {
        let mut variant = 0;
        while variant < 3 {
            if TABLE.rows[row].variants >> variant & 1 != 0 {
                forms[TABLE.rows[row].form(variant) as usize] = Form::new(row as u16, variant);
            }
            variant += 1;
        }
        row += 1;
    }
    forms
};

impl Mnemonic {
    /// The mnemonic of this name, in lower case and without an AT&T size suffix.
    #[must_use]
    #[inline]
    pub fn named(name: &[u8]) -> Option<Self> {
        let mut slot = hash(name);
        loop {
            let entry = TABLE.slots[slot];
            if entry == 0 {
                return None;
            }
            let index = entry as usize - 1;
            if &TABLE.names[index][..TABLE.name_lens[index] as usize] == name {
                return Some(Self(entry - 1));
            }
            slot = (slot + 1) & (SLOT_COUNT - 1);
        }
    }

    /// The mnemonic of this name, looked up when the caller is compiled.
    ///
    /// # Panics
    /// When there is none, which in a constant is a compile error.
    #[must_use]
    pub const fn constant(name: &str) -> Self {
        let slot = slot_for(&TABLE.slots, &TABLE.names, name.as_bytes());
        assert!(TABLE.slots[slot] != 0, "no such mnemonic");
        Self(TABLE.slots[slot] - 1)
    }

    /// The name.
    #[must_use]
    pub fn name(self) -> &'static str {
        let index = self.0 as usize;
        core::str::from_utf8(&TABLE.names[index][..TABLE.name_lens[index] as usize]).unwrap_or("?")
    }

    /// All mnemonics, in the order of the table.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..ROW_COUNT as u16)
            .filter(|&i| TABLE.first[i as usize] == i)
            .map(Self)
    }

    #[inline]
    pub(crate) const fn row(self) -> &'static Row {
        Row::at(self.0)
    }

    /// The forms of this mnemonic, in the order in which they are tried.
    pub(crate) fn rows(self) -> impl Iterator<Item = &'static Row> {
        let mut next = Some(self.row());
        core::iter::from_fn(move || {
            let row = next?;
            next = row.following();
            Some(row)
        })
    }

    /// Whether this is a direct branch or a call.
    #[must_use]
    pub fn is_branch(self) -> bool {
        self.row().flags & flag::BRANCH != 0
    }
}
