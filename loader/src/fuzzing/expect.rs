//! The oracle of whole links: what a case should become, and what no input may do.

use object::elf;

use super::case::{Case, Elsewhere, Externals, Rebinding, Scope};
use super::choices::{Choices, entropy};
use super::memory::CheckedMemory;
use super::model::Model;
use super::ours::{Ours, far_from, link_case};
use super::plan::{ObjectPlan, RelocationPlan, RelocationTable, SectionPlan};
use super::rebound::check_rebound_references;
use super::spoil;
use super::view::Meaning;
use crate::archive::Archive;
use crate::elf_image::elf_image;
use crate::error::{Error, RelocationError};
use crate::image::Detail;
use crate::input::Input;
use crate::link::{Options, link};
use crate::memory::{BufferMemory, SegmentKind};
use crate::object::{Object, SymbolPlace};
use crate::relocation::{Fit, Row};
use crate::resolver::{NoSymbols, Resolver};

/// No link asks its memory for something as many times.
const MEMORY_CALLS: u64 = 8;

/// Gives the relocations of a case addends that put values at the edges of what fits, and now and then beyond.
pub(super) fn aim(case: &mut Case, scope: Scope, choices: &mut Choices<'_>) {
    let mut bare = case.clone();
    for index in 0..bare.objects.len() + bare.members.len() {
        for section in &mut bare.object_mut(index).sections {
            section.relocations.clear();
        }
    }
    let aimed: Vec<_> = {
        let (bare_model, model) = (Model::new(&bare), Model::new(case));
        let (memory, result) = link_case(&bare, 0, Detail::Full, false);
        let Ok(image) = result else { return };
        let ours = Ours::new(&bare_model, memory, image);
        let values = model.sites().filter_map(|site| Some((site, ours.bare_value(&site)?)));
        let aimed = values.map(|(site, value)| {
            if scope == Scope::Anything && site.symbol.kind == elf::STT_SECTION && choices.once_in(2) {
                // Beside the section's variables.
                let addend = choices.below(128) as i64 - 8;
                return (site.object, site.section, site.index, addend);
            }
            let wanted = wanted_value(site.row.fit, u32::from(site.row.width) * 8, choices);
            (
                site.object,
                site.section,
                site.index,
                wanted.wrapping_sub(value).cast_signed(),
            )
        });
        aimed.collect()
    };
    for (object, section, index, addend) in aimed {
        case.object_mut(object).sections[section].relocations[index].addend = addend;
    }
    for index in 0..case.objects.len() + case.members.len() {
        let object = case.object_mut(index);
        if object.table == RelocationTable::Rel {
            for relocation in object.sections.iter_mut().flat_map(|section| &mut section.relocations) {
                relocation.addend = in_field(relocation.number, relocation.addend);
            }
        }
    }
}

/// What is left of an addend that stands in the field itself.
fn in_field(number: u32, addend: i64) -> i64 {
    match Row::of(number).map_or(0, |row| u32::from(row.width)) {
        0 => 0,
        width => addend << (64 - width * 8) >> (64 - width * 8),
    }
}

fn wanted_value(fit: Fit, bits: u32, choices: &mut Choices<'_>) -> u64 {
    let (low, high) = match fit {
        Fit::Unsigned => (0, (1_u64 << bits) - 1),
        Fit::Signed | Fit::Wraps => ((1_u64 << (bits - 1)).wrapping_neg(), (1 << (bits - 1)) - 1),
        Fit::Either => ((1_u64 << (bits - 1)).wrapping_neg(), (1 << bits) - 1),
    };
    match choices.below(40) {
        0 | 1 => low,
        2 | 3 => high,
        4 | 5 => low.wrapping_add(choices.below(1 << (bits - 2))),
        39 if choices.once_in(2) => low.wrapping_sub(1),
        39 => high.wrapping_add(1),
        _ => choices.below(1 << (bits - 1)),
    }
}

/// Links a case as it is and compares the result with what the psABI says: which objects and sections are in the image,
/// what each symbol is bound to, what each relocated field holds, and whether there is an error.
///
/// # Panics
/// If the two differ.
pub fn check_case(case: &Case) {
    let mut case = case.clone();
    let mut silenced = Vec::new();
    loop {
        let (memory, result) = link_case(&case, 0xa5, Detail::Full, true);
        let complaints = memory.complaints(result.is_ok());
        assert!(complaints.is_empty(), "{complaints:?}\n{case:#?}");
        let site = match result {
            Ok(image) => {
                let model = Model::new(&case);
                let ours = Ours::new(&model, memory, image);
                return compare(&ours, &silenced);
            }
            Err(error) => match refused_site(&case, &error) {
                Some(site) => site,
                None => return,
            },
        };
        // Another addend makes the value 0, and all else stays as it was. Judged is what the old one gives.
        let (object, section, index, value) = site;
        let plan = case.object_mut(object);
        plan.table = RelocationTable::Rela; // which holds any addend
        let relocation = &mut plan.sections[section].relocations[index];
        silenced.push((object, section, index, relocation.addend));
        relocation.addend = relocation.addend.wrapping_sub(value.cast_signed());
        assert!(silenced.len() < 10_000, "each error is another one");
    }
}

/// The site whose value is said to be out of range, with the value; `None` for other errors, which are judged here.
fn refused_site(case: &Case, error: &Error) -> Option<(usize, usize, usize, u64)> {
    let model = Model::new(case);
    match error {
        Error::Duplicate { symbol, .. } => {
            assert!(model.duplicates.contains(symbol.as_str()), "{error}\n{case:#?}");
            return None;
        }
        Error::Undefined(undefined) => {
            let names: Vec<&str> = undefined.iter().map(|undefined| undefined.symbol.as_str()).collect();
            let mut sorted = names.clone();
            sorted.sort_unstable();
            let expected: Vec<&str> = model.undefined.iter().copied().collect();
            assert_eq!(sorted, expected, "{case:#?}");
            return None;
        }
        _ => {}
    }
    assert!(
        model.duplicates.is_empty(),
        "{:?} are defined twice, but {error}\n{case:#?}",
        model.duplicates
    );
    assert!(
        model.undefined.is_empty(),
        "{:?} are not defined, but {error}\n{case:#?}",
        model.undefined
    );
    let Error::Relocation { place, reason, .. } = error else {
        panic!("{error}\n{case:#?}");
    };
    let RelocationError::OutOfRange { value, .. } = reason else {
        let expected = Ours::refusals(&model, |address| far_from(case.base, address));
        let message = error.to_string();
        assert!(
            expected.iter().any(|expected| message.contains(expected)),
            "{error}\n{case:#?}"
        );
        return None;
    };
    let site = model
        .site_at(place)
        .unwrap_or_else(|| panic!("{error} is at no relocation\n{case:#?}"));
    Some((site.object, site.section, site.index, *value))
}

fn compare(ours: &Ours<'_>, silenced: &[(usize, usize, usize, i64)]) {
    let (model, case) = (ours.model, ours.model.case);
    assert!(
        model.duplicates.is_empty(),
        "{:?} are defined twice\n{case:#?}",
        model.duplicates
    );
    assert!(
        model.undefined.is_empty(),
        "{:?} are not defined\n{case:#?}",
        model.undefined
    );
    let refusals = Ours::refusals(model, |address| far_from(case.base, address));
    assert!(refusals.is_empty(), "links, but {refusals:?}\n{case:#?}");
    let wrong = ours.misplaced().or_else(|| ours.changed_byte());
    if let Some(wrong) = wrong.or_else(|| ours.wrong_debug_section(&Elsewhere::new())) {
        panic!("{wrong}\n{case:#?}");
    }
    for mut site in model.sites() {
        let (mut meaning, mut expected) = (ours.meaning(&site), ours.expected(&site));
        if meaning == expected {
            let key = (site.object, site.section, site.index);
            let Some(silenced) = silenced.iter().find(|(o, s, i, _)| (*o, *s, *i) == key) else {
                continue;
            };
            site.relocation.addend = silenced.3;
            (meaning, expected) = (Meaning::OutOfRange, ours.expected(&site));
        }
        assert_eq!(meaning, expected, "{}", model.words(&site));
    }
}

/// Links files, whatever is in them, and checks what holds for every input: no panic, no byte of the image that depends on
/// what memory held before, no call to the memory out of turn, and after an error nothing that is left behind; the same
/// outcome each time, whatever is asked to be told of it.
///
/// Returns whether they link.
///
/// # Panics
/// If something of that does not hold.
pub fn check_link(case: &Case, inputs: &[Input<'_>]) -> bool {
    check_link_with(case, inputs, &mut || Externals(&case.externals), None)
}

/// The same with a resolver, and perhaps with one call to the memory that fails.
fn check_link_with<R: Resolver>(
    case: &Case,
    inputs: &[Input<'_>],
    resolver: &mut dyn FnMut() -> R,
    failing: Option<u64>,
) -> bool {
    let mut run = |garbage: u8, detail: Detail, trace: bool| {
        let mut memory = CheckedMemory::new(case.base, garbage, case.static_tls).failing(failing);
        let options = Options {
            detail,
            trace,
            debug: true,
            limits: super::ours::LIMITS,
        };
        let result = link(inputs, || &[], &mut resolver(), &mut memory, &options);
        let complaints = memory.complaints(result.is_ok());
        assert!(complaints.is_empty(), "{complaints:?}: {result:?}");
        (memory, result)
    };
    let (first, result) = run(0, Detail::Full, true);
    let (second, again) = run(0xa5, Detail::Minimal, false);
    match (result, again) {
        (Ok(image), Ok(again)) => {
            for segment in SegmentKind::ALL {
                assert!(
                    first.bytes(segment) == second.bytes(segment),
                    "{segment:?} differs from link to link"
                );
            }
            assert_eq!(image.placement, again.placement);
            assert_eq!(
                (&image.init, &image.fini, &image.ifuncs, &image.debug),
                (&again.init, &again.fini, &again.ifuncs, &again.debug)
            );
            let _ = elf_image(&image, SegmentKind::ALL.map(|segment| first.bytes(segment)));
            true
        }
        (Err(one), Err(other)) => {
            assert_eq!(one.to_string(), other.to_string());
            false
        }
        (one, other) => panic!("at first {:?}, then {:?}", one.map(|_| ()), other.map(|_| ())),
    }
}

/// Links what bytes stand for: a file, the case that they generate, or that case with something broken in it.
///
/// # Panics
/// As [`check_case`] and [`check_link`].
pub fn check_link_bytes(bytes: &[u8]) {
    let Some((kind, rest)) = bytes.split_first() else {
        return;
    };
    let mut choices = Choices::new(rest);
    let base = super::case::base(&mut choices);
    match kind % 3 {
        0 => {
            let mut case = Case::generate(&mut Choices::new(&[]), Scope::Anything, "", base);
            case.base = 0x1000_0000;
            let input = [Input::from_bytes("input", rest)];
            check_link(&case, &input);
            check_in_buffer(&input, &mut NoSymbols);
        }
        1 => {
            let case = Case::generate(&mut choices, Scope::Anything, "", base);
            let inputs = case.inputs();
            check_case(&case);
            check_link(&case, &inputs);
            check_otherwise(&case, &inputs, &mut choices);
            check_rebound_references(&case);
            check_in_buffer(&inputs, &mut Externals(&case.externals));
        }
        _ => {
            let mut case = Case::generate(&mut choices, Scope::Anything, "", base);
            spoil::spoil(&mut case, &mut choices);
            let inputs = case.inputs();
            check_otherwise(&case, &inputs, &mut choices);
            if check_link(&case, &inputs) {
                let outside = case.objects.iter().find_map(field_outside);
                assert!(outside.is_none(), "linked in spite of {outside:?}\n{case:#?}");
            }
        }
    }
}

/// Links into plain buffers: what is in the image is in them.
fn check_in_buffer(inputs: &[Input<'_>], resolver: &mut dyn Resolver) {
    let mut memory = BufferMemory::at(0x1000_0000);
    let options = Options {
        detail: Detail::Full,
        limits: super::ours::LIMITS,
        ..Options::default()
    };
    let Ok(image) = link(inputs, || &[], resolver, &mut memory, &options) else {
        return;
    };
    for section in image
        .sections
        .iter()
        .filter(|section| section.filled && section.size > 0)
    {
        let segment = section.segment as usize;
        let start = section.address - image.placement.addresses[segment];
        let there = memory.bytes(section.segment).len() as u64;
        assert!(start + section.size <= there, "{section:?} is not in {there} bytes");
    }
}

/// What holds for every input also holds where references to own definitions go elsewhere, and where one of the calls to
/// the memory fails.
fn check_otherwise(case: &Case, inputs: &[Input<'_>], choices: &mut Choices<'_>) {
    let rebinding = &mut || Rebinding::new(Externals(&case.externals), case.base);
    check_link_with(case, inputs, rebinding, None);
    let call = choices.below(MEMORY_CALLS);
    check_link_with(case, inputs, &mut || Externals(&case.externals), Some(call));
}

/// A relocation of a section that surely is in the image, whose field is not in the section.
fn field_outside(object: &ObjectPlan) -> Option<&RelocationPlan> {
    const UNSURE: u64 = elf::SHF_GROUP.0 | elf::SHF_LINK_ORDER.0 | elf::SHF_EXCLUDE.0;
    let grouped = |at: usize| object.groups.iter().any(|group| group.members.contains(&at));
    let sections = object.sections.iter().enumerate().filter(|(at, section)| {
        let by_name = section.name.starts_with(".gnu.linkonce") || section.name == ".note.gnu.property";
        section.is_allocated() && section.flags.0 & UNSURE == 0 && section.kind.0 != 0 && !by_name && !grouped(*at)
    });
    let outside = |section: &SectionPlan, relocation: &RelocationPlan| {
        let row = Row::of(relocation.number).filter(|row| row.number != 0);
        let end = relocation.offset.checked_add(row.map_or(0, |row| u64::from(row.width)));
        end.is_none_or(|end| end > section.size)
    };
    sections
        .flat_map(|(_, section)| {
            section
                .relocations
                .iter()
                .filter(|relocation| outside(section, relocation))
        })
        .find(|relocation| relocation.number != 0)
}

/// [`check_link_bytes`] of random bytes that follow from a seed.
///
/// # Panics
/// As [`check_case`] and [`check_link`].
pub fn check_link_seed(seed: u64) {
    let mut bytes = entropy(seed);
    bytes[0] = if seed % 4 == 3 { 2 } else { 1 };
    check_link_bytes(&bytes);
}

/// Reads bytes as an object, and all that is in it.
pub fn check_object(bytes: &[u8]) {
    let Ok(object) = Object::parse("input", bytes) else {
        return;
    };
    // Sections may share bytes up to twice the file, and an entry of SHT_CREL may be a single byte.
    let most = 2 * bytes.len();
    let relocations: usize = object
        .sections()
        .iter()
        .map(|section| section.relocations.iter().count())
        .sum();
    assert!(
        relocations <= most,
        "{relocations} relocations in {} bytes",
        bytes.len()
    );
    let contents: usize = object.sections().iter().map(|section| section.data.len()).sum();
    assert!(
        contents <= most,
        "{contents} bytes of sections in {} bytes",
        bytes.len()
    );
    for group in object.groups() {
        assert!(group.members.iter().all(|member| *member < object.sections().len()));
    }
    for symbol in object.symbols() {
        if symbol.is_err() {
            break;
        }
    }
}

/// Reads bytes as an archive, with all of its members, and links some of them: those that define what an object wants.
///
/// # Panics
/// As [`check_link`].
pub fn check_archive(bytes: &[u8]) {
    const MOST_NAMES: usize = 6;
    let archive = Input::from_bytes("archive", bytes);
    let Ok(objects) = Archive::parse(&archive).and_then(|archive| archive.objects()) else {
        return;
    };
    assert!(objects.iter().all(|object| object.file_size() <= bytes.len() as u64));
    let symbols = objects.iter().flat_map(Object::symbols).map_while(Result::ok);
    let names = symbols.filter(|symbol| symbol.binding != elf::STB_LOCAL && symbol.place != SymbolPlace::Undefined);
    let names = names
        .filter_map(|symbol| std::str::from_utf8(symbol.name).ok())
        .take(MOST_NAMES);
    let user = ObjectPlan::wanting(names);
    let case = Case::generate(&mut Choices::new(&[]), Scope::Anything, "", 0x1000_0000);
    check_link(&case, &[Input::from_bytes("user.o", user.write()), archive]);
}
