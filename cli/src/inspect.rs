//! `restub inspect`: what is in objects and archives, and whether they load.

mod features;
mod text;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::process::ExitCode;

use object::elf;
use restub::Session;
use restub::loader::{self, Image, Input, Object, ObjectSymbol, Row, Section, SymbolPlace};
use serde::Serialize;

use crate::arguments::InspectArguments;
use crate::output::{self, Hex};
use crate::report::{self, Outcome};
use crate::{FAILED, files};

/// What `inspect` prints.
#[derive(Debug, Serialize)]
struct Report {
    files: Vec<FileReport>,
    load: Load,
}

#[derive(Debug, Serialize)]
struct FileReport {
    file: String,
    /// `object` or `archive`; nothing where the file cannot be read.
    kind: Option<&'static str>,
    error: Option<String>,
    objects: Vec<ObjectReport>,
}

#[derive(Debug, Serialize)]
struct ObjectReport {
    name: String,
    size_bytes: u64,
    /// Whether the object is part of what was linked.
    linked: bool,
    sections: Vec<SectionReport>,
    relocation_types: Vec<Count<String>>,
    /// Relocations of sections that are not loaded, such as debug information.
    unloaded_relocations: usize,
    symbol_counts: SymbolCounts,
    undefined: Vec<String>,
    tls_models: Vec<&'static str>,
    comdat_groups: Vec<ComdatGroup>,
    needs: Vec<String>,
    outcomes: Vec<Count<Outcome>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    symbols: Option<Vec<SymbolReport>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    relocations: Option<Vec<report::Relocation>>,
}

#[derive(Debug, Serialize)]
struct Count<T> {
    what: T,
    count: usize,
}

#[derive(Debug, Serialize)]
struct SectionReport {
    index: usize,
    name: String,
    kind: &'static str,
    flags: String,
    size_bytes: u64,
    align: u64,
    relocations: usize,
}

#[derive(Debug, Default, Serialize)]
struct SymbolCounts {
    local: usize,
    global: usize,
    weak: usize,
    unique: usize,
    common: usize,
    undefined: usize,
}

#[derive(Debug, Serialize)]
struct ComdatGroup {
    signature: String,
    sections: Vec<String>,
    /// Whether this object's copy was chosen; nothing where nothing was linked.
    kept: Option<bool>,
}

#[derive(Debug, Serialize)]
struct SymbolReport {
    name: String,
    kind: &'static str,
    binding: &'static str,
    visibility: &'static str,
    /// The section's name, or `undefined`, `absolute` or `common` in angle brackets.
    section: String,
    value: Hex,
    size: u64,
}

/// Whether the files load together.
#[derive(Debug, Serialize)]
struct Load {
    loads: bool,
    error: Option<String>,
    undefined: Vec<Undefined>,
    segments: Vec<report::Segment>,
}

#[derive(Debug, Serialize)]
struct Undefined {
    symbol: String,
    wanted_by: Vec<String>,
    #[serde(skip_serializing_if = "str::is_empty")]
    hint: &'static str,
}

pub(crate) fn inspect(arguments: &InspectArguments) -> anyhow::Result<ExitCode> {
    let session = arguments.surroundings.builder().build();
    let libraries = arguments.surroundings.set_up(&session)?;
    let opened: Vec<anyhow::Result<Input<'static>>> = arguments.files.iter().map(|path| files::open(path)).collect();
    let mut reports = Vec::new();
    let mut objects = Vec::new();
    for (path, input) in arguments.files.iter().zip(&opened) {
        let read = match input {
            Ok(input) => files::objects_of(input).map_err(words),
            Err(error) => Err(format!("{error:#}")),
        };
        let kind = input.as_ref().ok().filter(|_| read.is_ok());
        let (described, error) = match read {
            Ok(read) => {
                let described = read
                    .iter()
                    .map(|object| describe(object, arguments))
                    .collect::<Result<Vec<_>, _>>();
                objects.extend(read);
                match described {
                    Ok(described) => (described, None),
                    Err(error) => (Vec::new(), Some(words(error))),
                }
            }
            Err(error) => (Vec::new(), Some(error)),
        };
        reports.push(FileReport {
            file: path.display().to_string(),
            kind: kind.map(|input| if input.is_archive() { "archive" } else { "object" }),
            error,
            objects: described,
        });
    }
    let unreadable = reports.iter().find_map(|file| file.error.clone());
    let only_archives = opened.iter().all(|input| input.as_ref().is_ok_and(Input::is_archive));
    let roots = if only_archives {
        Some(references_to_all(&objects)?)
    } else {
        None
    };
    drop(objects);
    let load = match unreadable {
        Some(error) => Load::failed(error),
        None => {
            let inputs = opened.into_iter().flatten().chain(libraries).chain(roots).collect();
            try_load(&session, inputs, &mut reports, arguments)?
        }
    };
    let report = Report { files: reports, load };
    if arguments.json {
        output::print_json(&report)?;
    } else {
        output::print(&text::text(&report))?;
    }
    Ok(if report.load.loads {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(FAILED)
    })
}

/// References that take every one of the objects from its archive.
fn references_to_all(objects: &[Object<'_>]) -> loader::Result<Input<'static>> {
    let mut names = HashSet::new();
    for object in objects {
        for symbol in object.symbols() {
            let symbol = symbol?;
            if symbol.binding == elf::STB_GLOBAL && symbol.place != SymbolPlace::Undefined {
                names.insert(symbol.name);
                break;
            }
        }
    }
    Ok(files::references_to("the command line (only archives)", names))
}

/// Links everything as `run` would, and adds what became of it to the reports.
fn try_load(
    session: &Session,
    inputs: Vec<Input<'static>>,
    files: &mut [FileReport],
    arguments: &InspectArguments,
) -> anyhow::Result<Load> {
    let mut load = Load::failed(String::new());
    let image = match session.plan(&inputs) {
        Ok(image) => {
            load.loads = true;
            load.error = None;
            load.segments = report::segments(&image);
            Some(image)
        }
        Err(error) => {
            let image = match &error {
                restub::Error::Link(loader::Error::Undefined(undefined)) => {
                    load.undefined = undefined.iter().cloned().map(Undefined::from).collect();
                    pretend(session, &inputs, undefined)
                }
                _ => None,
            };
            load.error = Some(words(error));
            image
        }
    };
    if let Some(image) = image {
        let missing: HashSet<&str> = load
            .undefined
            .iter()
            .map(|undefined| undefined.symbol.as_str())
            .collect();
        let objects = files::objects(&inputs)?;
        add_outcomes(files, &image, &objects, &missing, arguments.relocs);
    }
    Ok(load)
}

/// The words that `run` has for an error.
fn words(error: impl std::error::Error + Send + Sync + 'static) -> String {
    format!("{:#}", anyhow::Error::new(error))
}

/// Links with addresses made up for what is missing, to see what becomes of all the rest.
fn pretend(session: &Session, inputs: &[Input<'_>], missing: &[loader::Undefined]) -> Option<Image> {
    // Near the shared libraries, or low for objects that are not position-independent.
    let places = [restub::host_symbol("dlsym"), Some(0x1_0000)];
    places.into_iter().flatten().find_map(|address| {
        for undefined in missing {
            let name = undefined.symbol.split('@').next().unwrap_or_default();
            session.define(name, address);
        }
        session.plan(inputs).ok()
    })
}

fn add_outcomes(files: &mut [FileReport], image: &Image, objects: &[Object<'_>], missing: &HashSet<&str>, list: bool) {
    let mut by_object: HashMap<String, Vec<report::Relocation>> = HashMap::new();
    for mut relocation in report::relocations(image, objects) {
        if missing.contains(relocation.symbol.as_str()) {
            relocation.outcome = Outcome::Undefined;
            relocation.relaxation = None;
        }
        by_object.entry(relocation.object.clone()).or_default().push(relocation);
    }
    let numbers: HashMap<&str, u32> = image.objects.iter().map(String::as_str).zip(0..).collect();
    let kept: HashSet<(u32, &str)> = image
        .sections
        .iter()
        .filter_map(|s| Some((s.object?, &*s.name)))
        .collect();
    for object in files.iter_mut().flat_map(|file| &mut file.objects) {
        let Some(&number) = numbers.get(object.name.as_str()) else {
            continue;
        };
        object.linked = true;
        for group in &mut object.comdat_groups {
            group.kept = Some(
                group
                    .sections
                    .iter()
                    .any(|name| kept.contains(&(number, name.as_str()))),
            );
        }
        let relocations = by_object.remove(&object.name).unwrap_or_default();
        object.outcomes = counts(relocations.iter().map(|relocation| relocation.outcome));
        if list {
            object.relocations = Some(relocations);
        }
    }
}

impl Load {
    fn failed(error: String) -> Self {
        Load {
            loads: false,
            error: Some(error),
            undefined: Vec::new(),
            segments: Vec::new(),
        }
    }
}

impl From<loader::Undefined> for Undefined {
    fn from(undefined: loader::Undefined) -> Self {
        Undefined {
            symbol: undefined.symbol,
            wanted_by: undefined.wanted_by,
            hint: undefined.hint,
        }
    }
}

/// What an object says of itself.
fn describe(object: &Object<'_>, arguments: &InspectArguments) -> loader::Result<ObjectReport> {
    let symbols: Vec<ObjectSymbol<'_>> = object.symbols().collect::<Result<_, _>>()?;
    let loaded = || object.sections().iter().filter(|section| section.is_allocated());
    let types = loaded()
        .flat_map(|section| section.relocations.iter())
        .map(|relocation| relocation.number);
    let unloaded = object.sections().iter().filter(|section| !section.is_allocated());
    let groups = object.groups().iter().filter(|group| group.comdat);
    let undefined = symbols
        .iter()
        .filter(|symbol| symbol.place == SymbolPlace::Undefined && !symbol.name.is_empty());
    Ok(ObjectReport {
        name: object.name().to_owned(),
        size_bytes: object.file_size(),
        linked: false,
        sections: sections(object),
        relocation_types: counts(types)
            .into_iter()
            .map(|count| Count {
                what: Row::name_of(count.what),
                count: count.count,
            })
            .collect(),
        unloaded_relocations: unloaded.map(|section| section.relocations.len()).sum(),
        symbol_counts: count_symbols(&symbols),
        undefined: undefined.map(|symbol| lossy(symbol.name)).collect(),
        tls_models: features::tls_models(object),
        comdat_groups: groups
            .map(|group| ComdatGroup {
                signature: lossy(group.signature),
                sections: group
                    .members
                    .iter()
                    .map(|member| object.sections()[*member].display_name())
                    .collect(),
                kept: None,
            })
            .collect(),
        needs: features::needs(object, &symbols),
        outcomes: Vec::new(),
        symbols: arguments
            .symbols
            .then(|| symbols.iter().map(|symbol| describe_symbol(object, symbol)).collect()),
        relocations: None,
    })
}

/// The sections that mean something: not those that only describe the file.
fn sections(object: &Object<'_>) -> Vec<SectionReport> {
    let all = object.sections().iter().enumerate();
    let described = all.filter_map(|(index, section)| {
        Some(SectionReport {
            index,
            name: section.display_name(),
            kind: section_kind(section)?,
            flags: section_flags(section),
            size_bytes: section.size,
            align: section.align,
            relocations: section.relocations.len(),
        })
    });
    described.collect()
}

fn section_kind(section: &Section<'_>) -> Option<&'static str> {
    let executable = section.flags.contains(elf::SHF_EXECINSTR);
    let writable = section.flags.contains(elf::SHF_WRITE);
    Some(match section.kind {
        elf::SHT_NULL
        | elf::SHT_SYMTAB
        | elf::SHT_STRTAB
        | elf::SHT_RELA
        | elf::SHT_REL
        | elf::SHT_CREL
        | elf::SHT_GROUP
        | elf::SHT_SYMTAB_SHNDX => return None,
        elf::SHT_NOTE => "note",
        elf::SHT_INIT_ARRAY | elf::SHT_PREINIT_ARRAY => "constructors",
        elf::SHT_FINI_ARRAY => "destructors",
        _ if !section.is_allocated() && section.display_name().contains("debug") => "debug",
        _ if !section.is_allocated() => "other",
        _ if section.is_tls() => "thread-local",
        _ if executable => "code",
        elf::SHT_NOBITS => "zeros",
        _ if writable => "data",
        _ => "constants",
    })
}

/// The flags' letters, as `readelf -S` writes them.
fn section_flags(section: &Section<'_>) -> String {
    const LETTERS: [(elf::SectionFlags, char); 11] = [
        (elf::SHF_WRITE, 'W'),
        (elf::SHF_ALLOC, 'A'),
        (elf::SHF_EXECINSTR, 'X'),
        (elf::SHF_MERGE, 'M'),
        (elf::SHF_STRINGS, 'S'),
        (elf::SHF_LINK_ORDER, 'L'),
        (elf::SHF_GROUP, 'G'),
        (elf::SHF_TLS, 'T'),
        (elf::SHF_COMPRESSED, 'C'),
        (elf::SHF_EXCLUDE, 'E'),
        (elf::SHF_GNU_RETAIN, 'R'),
    ];
    let letters = LETTERS.iter().filter(|(flag, _)| section.flags.contains(*flag));
    let large = section.is_large().then_some('l');
    letters.map(|(_, letter)| *letter).chain(large).collect()
}

fn count_symbols(symbols: &[ObjectSymbol<'_>]) -> SymbolCounts {
    let mut counts = SymbolCounts::default();
    for symbol in symbols {
        let count = match (symbol.place, symbol.binding) {
            (SymbolPlace::Undefined, _) => &mut counts.undefined,
            (SymbolPlace::Common, _) => &mut counts.common,
            (_, elf::STB_LOCAL) => &mut counts.local,
            (_, elf::STB_WEAK) => &mut counts.weak,
            (_, elf::STB_GNU_UNIQUE) => &mut counts.unique,
            _ => &mut counts.global,
        };
        *count += 1;
    }
    counts
}

fn describe_symbol(object: &Object<'_>, symbol: &ObjectSymbol<'_>) -> SymbolReport {
    SymbolReport {
        name: lossy(symbol.name),
        kind: match symbol.kind {
            elf::STT_OBJECT => "data",
            elf::STT_FUNC => "function",
            elf::STT_SECTION => "section",
            elf::STT_FILE => "file",
            elf::STT_COMMON => "common",
            elf::STT_TLS => "tls",
            elf::STT_GNU_IFUNC => "ifunc",
            _ => "untyped",
        },
        binding: match symbol.binding {
            elf::STB_LOCAL => "local",
            elf::STB_WEAK => "weak",
            elf::STB_GNU_UNIQUE => "unique",
            _ => "global",
        },
        visibility: match symbol.visibility {
            elf::STV_INTERNAL => "internal",
            elf::STV_HIDDEN => "hidden",
            elf::STV_PROTECTED => "protected",
            _ => "default",
        },
        section: match symbol.place {
            SymbolPlace::Undefined => "<undefined>".into(),
            SymbolPlace::Absolute => "<absolute>".into(),
            SymbolPlace::Common => "<common>".into(),
            SymbolPlace::Section(section) => object.sections()[section].display_name(),
        },
        value: Hex(symbol.value),
        size: symbol.size,
    }
}

fn counts<T: Ord>(items: impl Iterator<Item = T>) -> Vec<Count<T>> {
    let mut counts = BTreeMap::new();
    for item in items {
        *counts.entry(item).or_insert(0) += 1;
    }
    counts.into_iter().map(|(what, count)| Count { what, count }).collect()
}

fn lossy(name: &[u8]) -> String {
    String::from_utf8_lossy(name).into_owned()
}
