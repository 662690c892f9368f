//! Links a case without the values that do not fit.

use std::collections::HashSet;

use super::case::Case;
use super::model::Model;
use crate::error::{Error, RelocationError, Result};

/// What something makes of a case.
pub(super) struct Attempt<T> {
    /// The case without what does not fit.
    pub(super) case: Case,
    /// The sites that do not fit: object, section, place among the relocations.
    pub(super) out_of_range: HashSet<(usize, usize, usize)>,
    pub(super) result: Result<T>,
}

impl<T> Attempt<T> {
    pub(super) fn new(case: &Case, link: impl Fn(&Case) -> Result<T>) -> Self {
        let mut case = case.clone();
        let mut out_of_range = HashSet::new();
        loop {
            let result = link(&case);
            let site = result.as_ref().err().and_then(|error| misfit(&case, error));
            let Some(site) = site.filter(|site| out_of_range.insert(*site)) else {
                return Attempt {
                    case,
                    out_of_range,
                    result,
                };
            };
            case.object_mut(site.0).sections[site.1].relocations[site.2].number = 0;
        }
    }
}

fn misfit(case: &Case, error: &Error) -> Option<(usize, usize, usize)> {
    let Error::Relocation {
        place,
        reason: RelocationError::OutOfRange { .. },
        ..
    } = error
    else {
        return None;
    };
    let found = Model::new(case).site_at(place)?;
    Some((found.object, found.section, found.index))
}
