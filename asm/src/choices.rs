//! Choices of rows, remembered.

use alloc::boxed::Box;

use crate::form::Form;
use crate::row::Row;
use crate::select::{Selected, Wanted, search};

const COUNT: usize = 512;

/// A choice: what was wanted, and what it came to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Choice {
    wanted: Wanted,
    pub(crate) row: &'static Row,
    pub(crate) form: Form,
}

/// The last choices, by a hash of what was wanted. Code repeats a small set of forms, and choosing costs more than
/// encoding.
#[derive(Debug)]
pub(crate) struct Choices {
    entries: Box<[Choice; COUNT]>,
}

impl Choices {
    pub(crate) fn new() -> Self {
        let row = Row::at(0);
        let nothing = Choice {
            wanted: Wanted::NOTHING,
            row,
            form: Form::new(row, 0),
        };
        Self {
            entries: Box::new([nothing; COUNT]),
        }
    }

    /// The choice for what is wanted, or why there is none.
    #[inline(always)]
    pub(crate) fn choose(&mut self, wanted: &Wanted) -> Result<&Choice, Selected> {
        let entry = &mut self.entries[wanted.hash() % COUNT];
        if !entry.wanted.is(wanted) {
            renew(entry, wanted)?;
        }
        Ok(entry)
    }
}

#[inline(never)]
fn renew(entry: &mut Choice, wanted: &Wanted) -> Result<(), Selected> {
    match search(wanted) {
        Selected::Row(index, variant) => {
            let row = Row::at(index);
            *entry = Choice {
                wanted: *wanted,
                row,
                form: Form::new(row, variant.into()),
            };
            Ok(())
        }
        selected => Err(selected),
    }
}
