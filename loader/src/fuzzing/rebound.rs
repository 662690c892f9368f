//! Where references to own definitions go that the resolver has bound to something else: to stubs, and to storage that
//! exists.

use object::elf;

use super::attempt::Attempt;
use super::case::{Case, Elsewhere, Externals, Rebinding};
use super::kinds::array_priority;
use super::memory::CheckedMemory;
use super::model::{Bound, Model, Site};
use super::ours::{Ours, is_tolerant};
use super::plan::{SymbolPlan, SymbolPlanPlace, VARIABLE};
use super::view::{Meaning, View};
use crate::error::{Error, RelocationError};
use crate::image::Detail;
use crate::link::{Options, link};
use crate::relocation::{Fit, Formula};

/// Links a case without the values that do not fit, and follows each reference to a name that is bound elsewhere.
///
/// # Panics
/// If one leads to something else.
pub(super) fn check_rebound_references(case: &Case) {
    let attempt = Attempt::new(case, |case| {
        let mut memory = CheckedMemory::new(case.base, 0, case.static_tls);
        let mut resolver = Rebinding::new(Externals(&case.externals), case.base);
        let options = Options {
            detail: Detail::Full,
            debug: true,
            limits: super::ours::LIMITS,
            ..Options::default()
        };
        let image = link(&case.inputs(), || &[], &mut resolver, &mut memory, &options)?;
        Ok((image, memory, resolver.bound))
    });
    let (image, memory, elsewhere) = match attempt.result {
        Ok(linked) => linked,
        Err(error) => {
            let misfit = matches!(
                error,
                Error::Relocation {
                    reason: RelocationError::OutOfRange { .. },
                    ..
                }
            );
            assert!(!misfit, "{error} is at no relocation\n{case:#?}");
            return;
        }
    };
    let model = Model::new(&attempt.case);
    let ours = Ours::new(&model, memory, image);
    for site in model.sites() {
        let bound = model.bound(site.object, site.symbol);
        let function = matches!(bound, Bound::Section(_, definition) if definition.kind == elf::STT_FUNC);
        let direct = matches!(site.row.formula, Formula::Absolute | Formula::Relative);
        let target = match elsewhere.get(&site.symbol.name) {
            // Unwind tables and arrays of constructors stay with the code that they belong to.
            Some(_) if is_inward(&model, &site) && function => {
                direct.then(|| ours.definition(&bound, &site.symbol.name))
            }
            Some(target) => Some(*target),
            None if is_inward(&model, &site) => None,
            None => ours.variable_meant(&site, &elsewhere),
        };
        if let (Some(target), Some(meaning)) = (target, ours.reference(&site)) {
            assert_eq!(meaning, Meaning::Address(target), "{}", model.words(&site));
        }
    }
    if let Some(wrong) = ours.wrong_debug_section(&elsewhere) {
        panic!("{wrong}\n{:#?}", model.case);
    }
}

/// Whether a section means the image's own functions, whatever stands for them elsewhere.
fn is_inward(model: &Model<'_>, site: &Site<'_>) -> bool {
    is_tolerant(model, site) || array_priority(&model.case.object(site.object).sections[site.section].name).is_some()
}

impl<'a> Ours<'a> {
    /// Where a section's symbol should lead if its addend surely means a variable, which may be elsewhere.
    fn variable_meant(&self, site: &Site<'a>, elsewhere: &Elsewhere) -> Option<u64> {
        let case = self.model.case;
        let SymbolPlanPlace::Section(home) = site.symbol.place else {
            return None;
        };
        let (to, from) = (
            &case.object(site.object).sections[home],
            &case.object(site.object).sections[site.section],
        );
        let variables = to.flags.0 == VARIABLE && !to.name.contains(".rel.ro") && array_priority(&to.name).is_none();
        // The addend of others counts from a slot.
        let direct = matches!(site.row.formula, Formula::Absolute | Formula::Relative);
        if site.symbol.kind != elf::STT_SECTION || !variables || !direct {
            return None;
        }
        let in_code = site.row.formula == Formula::Relative && from.flags.0 & elf::SHF_EXECINSTR.0 != 0;
        // The processor counts from the end of the instruction, behind immediates of several sizes.
        let behind: &[u64] = if in_code { &[4, 5, 6, 8] } else { &[0] };
        let addend = site.relocation.addend.cast_unsigned();
        let definitions = || self.model.definitions_in(site.object, home);
        let variable =
            definitions().find(|symbol| addend.wrapping_add(behind[0]).wrapping_sub(symbol.value) < symbol.size)?;
        let surely = behind.iter().all(|behind| {
            let offset = addend.wrapping_add(*behind);
            let meant = |symbol: &&SymbolPlan| offset.wrapping_sub(symbol.value) <= symbol.size;
            offset.wrapping_sub(variable.value) < variable.size && definitions().filter(meant).count() == 1
        });
        let start = elsewhere.get(&variable.name).copied();
        let start = start.unwrap_or_else(|| self.definition(&self.model.bound(site.object, variable), &variable.name));
        surely.then(|| start.wrapping_sub(variable.value))
    }

    /// Where a reference leads, by a slot or by a PLT entry or at once; `None` for those that mean the definition
    /// itself or no address.
    fn reference(&self, site: &Site<'a>) -> Option<Meaning> {
        let bound = self.model.bound(site.object, site.symbol);
        let own = match bound {
            // What an IFUNC's stub leads to is found out when it runs.
            Bound::Section(_, symbol) => !matches!(symbol.kind, elf::STT_TLS | elf::STT_GNU_IFUNC),
            Bound::Common { tls, .. } => !tls,
            _ => false,
        };
        if !own || self.model.is_discarded(&bound) {
            return None;
        }
        let address = match site.row.formula {
            Formula::Absolute => 0,
            Formula::Relative => self.place(site),
            _ => match self.meaning(site).unrelaxed() {
                Meaning::Slot(address) => return Some(self.through(address)),
                Meaning::Address(address) if site.row.formula != Formula::GotRelative => {
                    return Some(self.through(address));
                }
                _ => return None,
            },
        };
        if site.row.width < 4 {
            return None;
        }
        let field = self.number(self.place(site), usize::from(site.row.width))?;
        let field = match site.row.fit {
            Fit::Signed => i64::from((field as u32).cast_signed()).cast_unsigned(),
            _ => field,
        };
        let addend = site.relocation.addend.cast_unsigned();
        Some(self.through(field.wrapping_sub(addend).wrapping_add(address)))
    }
}
