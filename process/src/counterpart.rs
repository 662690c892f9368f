//! Which definitions of a patch the target has too: functions to replace, and variables to keep.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap};

use object::elf;
use object::read::archive::ArchiveFile;
use restub_loader::{Error as LinkError, Input};

use crate::dwarf::DebugInfo;
use crate::error::{Refusal, Result};
use crate::inlined;
use crate::module::{Kind, Module, Symbol};
use crate::retarget::{Definition, PatchObject, base_name, numbered};

/// A definition of a patch with its counterpart in the target.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pair<'m> {
    /// The object, by its place in the patch.
    pub(crate) object: usize,
    /// The definition, by its place in the object.
    pub(crate) definition: usize,
    pub(crate) symbol: &'m Symbol,
}

/// What was found.
#[derive(Debug, Default)]
pub(crate) struct Matched<'m> {
    pub(crate) functions: Vec<Pair<'m>>,
    pub(crate) variables: Vec<Pair<'m>>,
}

/// The objects of a patch: files, and all members of archives.
pub(crate) fn expand<'i>(inputs: &'i [Input<'_>]) -> Result<Vec<(String, Cow<'i, [u8]>)>> {
    let mut files = Vec::new();
    for input in inputs {
        if !input.is_archive() {
            files.push((input.name().to_owned(), Cow::Borrowed(input.bytes())));
            continue;
        }
        let malformed = |reason: &dyn std::fmt::Display| LinkError::Malformed {
            object: input.name().to_owned(),
            reason: reason.to_string(),
        };
        let archive = ArchiveFile::parse(input.bytes()).map_err(|error| malformed(&error))?;
        if archive.is_thin() {
            return Err(LinkError::Unsupported {
                object: input.name().to_owned(),
                what: "is a thin archive".into(),
                remedy: "give its members",
            }
            .into());
        }
        for member in archive.members() {
            let member = member.map_err(|error| malformed(&error))?;
            let bytes = member.data(input.bytes()).map_err(|error| malformed(&error))?;
            let name = format!("{}({})", input.name(), String::from_utf8_lossy(member.name()));
            // Relocations are edited in place, and members of archives start at odd addresses.
            files.push((name, Cow::Owned(bytes.to_vec())));
        }
    }
    Ok(files)
}

/// The module that a patch is for: the one that has most of its functions.
pub(crate) fn home(modules: &[Module], objects: &[PatchObject<'_>]) -> usize {
    let count = |module: &Module| {
        let definitions = objects.iter().flat_map(|object| &object.definitions);
        let functions = definitions.filter(|definition| is_function(definition) && !definition.weak);
        functions
            .filter(|definition| {
                module
                    .named(&definition.name)
                    .any(|symbol| symbol.kind == Kind::Function)
            })
            .count()
    };
    // The first of equals: the executable, then the order of the dynamic linker.
    let mut best = (0, 0);
    for (index, module) in modules.iter().enumerate() {
        let found = count(module);
        if found > best.1 {
            best = (index, found);
        }
    }
    best.0
}

fn is_function(definition: &Definition) -> bool {
    definition.kind == elf::STT_FUNC
}

/// Pieces of functions that have no calling convention of their own: only their own function's version uses them.
fn is_fragment(name: &str) -> bool {
    name.contains(".cold")
}

/// Functions that compilers make to initialize the variables of a file, which run once.
pub(crate) fn is_generated(name: &str) -> bool {
    const PREFIXES: [&str; 4] = [
        "_GLOBAL__sub_I_",
        "_GLOBAL__I_",
        "__cxx_global_var_init",
        "_Z41__static_initialization_and_destruction_0",
    ];
    PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

/// Matches all definitions of a patch with those of the module that is patched.
pub(crate) fn match_all<'m>(
    module: &'m Module,
    debug: Option<&DebugInfo<'_>>,
    objects: &[PatchObject<'_>],
    refusals: &mut Vec<Refusal>,
    notes: &mut Vec<String>,
) -> Matched<'m> {
    let mut matched = Matched::default();
    let mut inline = Vec::new();
    for (number, object) in objects.iter().enumerate() {
        let constructors = object.constructors();
        for (index, definition) in object.definitions.iter().enumerate() {
            let constructs = constructors.contains(&definition.index) || is_generated(&definition.name);
            let wanted = is_function(definition) && !is_fragment(&definition.name) && !constructs;
            let variable = matches!(definition.kind, elf::STT_OBJECT | elf::STT_TLS) && definition.size > 0;
            if !(wanted || variable && is_state(definition)) {
                continue;
            }
            let found = match counterpart(module, object, definition) {
                Ok(Some(symbol)) => symbol,
                Ok(None) => continue,
                Err(reason) => {
                    refusals.push(Refusal::new("ambiguous", definition.name.clone(), reason));
                    continue;
                }
            };
            let pair = Pair {
                object: number,
                definition: index,
                symbol: found,
            };
            if wanted {
                if definition.weak {
                    inline.push(definition.name.as_str());
                } else if !object.has_code_of(definition) {
                    refusals.push(Refusal::new(
                        "object",
                        definition.name.clone(),
                        format!("{} says that it is where no code is", object.name),
                    ));
                } else if let Some(refusal) = check_function(module, objects, definition, found) {
                    refusals.push(refusal);
                } else {
                    matched.functions.push(pair);
                }
            } else {
                // Also where it is refused: if that is overridden, the process's variable is the one that counts.
                refusals.extend(check_variable(module, object, definition, found));
                matched.variables.push(pair);
            }
        }
    }
    if !inline.is_empty() {
        notes.push(format!(
            "inline and template functions, of which patch and process each use their own copy: {}",
            inline.join(", ")
        ));
    }
    check_clones(module, objects, &matched, refusals);
    check_inlined(debug, objects, &matched, refusals);
    matched
}

/// Whether a definition is state, which stays, and no constant, of which each version has its own.
fn is_state(definition: &Definition) -> bool {
    definition.writable && (definition.weak || !definition.relocated_constant)
}

/// The target's definition of the same name: for a static one the one of the same source file, or the only one there is.
pub(crate) fn counterpart<'m>(
    module: &'m Module,
    object: &PatchObject<'_>,
    definition: &Definition,
) -> std::result::Result<Option<&'m Symbol>, String> {
    let code = is_function(definition);
    let same_kind = |symbol: &&Symbol| match symbol.kind {
        Kind::Function | Kind::Ifunc => code,
        Kind::Data => definition.kind == elf::STT_OBJECT,
        Kind::Tls => definition.kind == elf::STT_TLS,
    };
    if !definition.local {
        return Ok(module.shared(&definition.name).filter(same_kind));
    }
    if definition.kind == elf::STT_OBJECT
        && let Some((base, _)) = numbered(&definition.name)
    {
        return same_numbered(module, object, definition, base);
    }
    let locals: Vec<&Symbol> = module
        .named(&definition.name)
        .filter(|symbol| symbol.local)
        .filter(same_kind)
        .collect();
    let source = object.source.as_deref();
    let of_file: Vec<&Symbol> = locals
        .iter()
        .copied()
        .filter(|symbol| source.is_some() && module.file_of(symbol).map(base_name) == source)
        .collect();
    // If the target was made of that file too, it has no such definition of that file, or none that is not inlined.
    let known = source.is_some() && module.files.iter().any(|file| Some(base_name(file)) == source);
    match (of_file.as_slice(), locals.as_slice()) {
        ([only], _) => Ok(Some(only)),
        ([], [only]) if !known => Ok(Some(only)),
        ([], []) => Ok(None),
        ([], _) if known => Ok(None),
        (several, all) => {
            let count = if several.is_empty() { all.len() } else { several.len() };
            let files: Vec<&str> = all.iter().filter_map(|symbol| module.file_of(symbol)).collect();
            Err(format!(
                "the process has {count} static definitions of that name, in {}, and the object is of {}",
                files.join(", "),
                source.unwrap_or("no named source file")
            ))
        }
    }
}

/// The target's static variable of a function. The compiler numbers them in the order in which it meets them, so that a
/// number means the same only where both sides have the same ones.
fn same_numbered<'m>(
    module: &'m Module,
    object: &PatchObject<'_>,
    definition: &Definition,
    base: &str,
) -> std::result::Result<Option<&'m Symbol>, String> {
    let of_base = |name: &str| numbered(name).is_some_and(|(other, _)| other == base);
    let source = object.source.as_deref();
    let theirs: Vec<&Symbol> = module
        .symbols
        .iter()
        .filter(|symbol| symbol.local && symbol.kind == Kind::Data && of_base(&symbol.name))
        .filter(|symbol| module.file_of(symbol).map(base_name) == source)
        .collect();
    let ours = || {
        object
            .definitions
            .iter()
            .filter(|other| other.local && of_base(&other.name))
    };
    match theirs.as_slice() {
        [] => Ok(None),
        [only] if ours().count() == 1 => Ok(Some(only)),
        several => {
            let same = several.iter().find(|symbol| *symbol.name == *definition.name);
            let all = ours().all(|own| several.iter().any(|symbol| *symbol.name == *own.name));
            same.filter(|_| all && several.len() == ours().count()).map(|symbol| Some(*symbol)).ok_or_else(|| {
                format!(
                    "functions of {} have {} static variables of that name in the process and {} in the patch, and their \
                     numbers do not say which is which",
                    source.unwrap_or("its file"),
                    several.len(),
                    ours().count()
                )
            })
        }
    }
}

fn check_function(
    module: &Module,
    objects: &[PatchObject<'_>],
    definition: &Definition,
    found: &Symbol,
) -> Option<Refusal> {
    if found.kind == Kind::Ifunc {
        return Some(Refusal::new(
            "ifunc",
            definition.name.clone(),
            "the process chose its implementation when it started; replace the implementation by its name",
        ));
    }
    let twice = objects
        .iter()
        .flat_map(|object| &object.definitions)
        .filter(|other| other.name == definition.name && is_function(other) && !other.weak && !other.local);
    if !definition.local && twice.count() > 1 {
        return Some(Refusal::new(
            "duplicate",
            definition.name.clone(),
            "the patch defines it more than once",
        ));
    }
    // Several names of one function: replacing one replaces all.
    let aliases: Vec<&str> = module
        .symbols
        .iter()
        .filter(|other| other.address == found.address && other.name != found.name && other.kind == Kind::Function)
        .map(|other| &*other.name)
        .collect();
    let foreign = aliases.iter().find(|alias| {
        let defined = objects
            .iter()
            .flat_map(|object| &object.definitions)
            .find(|other| other.name == **alias);
        !defined.is_some_and(|other| other.section == definition.section && other.value == definition.value)
    });
    let same = foreign.filter(|alias| !is_same_function(&definition.name, alias));
    same.map(|alias| {
        Refusal::new(
            "folded",
            definition.name.clone(),
            format!("it shares its code with {alias}, which would be replaced too"),
        )
    })
}

/// Names that one definition usually has: `__libc_write` and `write`, and the two of a C++ constructor.
fn is_same_function(name: &str, alias: &str) -> bool {
    let bare = |name: &str| name.trim_start_matches('_').to_owned();
    let variants = ["C1E", "C2E", "D1E", "D2E"];
    let variant = |name: &str| {
        variants
            .iter()
            .fold(name.to_owned(), |name, variant| name.replace(variant, "~E"))
    };
    bare(name).ends_with(&bare(alias)) || bare(alias).ends_with(&bare(name)) || variant(name) == variant(alias)
}

fn check_variable(
    module: &Module,
    object: &PatchObject<'_>,
    definition: &Definition,
    found: &Symbol,
) -> Option<Refusal> {
    if found.size != 0 && found.size != definition.size {
        return Some(Refusal::new(
            "variable-size",
            definition.name.clone(),
            format!(
                "it has {} bytes in the process and {} in the patch; state cannot be converted",
                found.size, definition.size
            ),
        ));
    }
    if found.kind == Kind::Tls {
        return None;
    }
    let (new, filled) = object.contents(definition)?;
    let old = module.initial(found.address, definition.size).unwrap_or_default();
    // What no file holds is zeros, however many: only bytes that a file holds are looked at.
    let byte = |bytes: &[u8], at: usize| bytes.get(at).copied().unwrap_or(0);
    let mut constant = vec![true; new.len().max(old.len())];
    // Weak data is virtual tables and type information, which are all relocations.
    for field in filled {
        let end = constant.len().min(field.end);
        if let Some(field) = constant.get_mut(field.start..end) {
            field.fill(false);
        }
    }
    let changed = (0..constant.len()).find(|&at| constant[at] && byte(new, at) != byte(old, at));
    changed.map(|at| {
        Refusal::new(
            "initial-value",
            definition.name.clone(),
            format!(
                "its initial value differs at offset {at}: {:#04x} in the process's file, {:#04x} in the patch; the variable \
                 keeps the value that it has in the process",
                byte(old, at),
                byte(new, at)
            ),
        )
    })
}

/// Copies of a function that the compiler made for some callers, who would keep the old code.
fn check_clones(module: &Module, objects: &[PatchObject<'_>], matched: &Matched<'_>, refusals: &mut Vec<Refusal>) {
    const SUFFIXES: [&str; 4] = [".constprop.", ".isra.", ".part.", ".llvm."];
    for pair in &matched.functions {
        let name = &pair.symbol.name;
        let clones = module.symbols.iter().filter(|symbol| {
            let suffix = symbol.name.strip_prefix(&**name);
            symbol.kind == Kind::Function
                && symbol.file == pair.symbol.file
                && suffix.is_some_and(|suffix| SUFFIXES.iter().any(|known| suffix.starts_with(known)))
        });
        for clone in clones {
            let mut all = objects.iter().flat_map(|object| &object.definitions);
            if !all.any(|definition| definition.name == *clone.name) {
                refusals.push(Refusal::new(
                    "clone",
                    name.to_string(),
                    format!(
                        "the process also has {}, a copy for some callers, which the patch does not replace",
                        clone.name
                    ),
                ));
            }
        }
    }
}

/// Functions that have a copy of a replaced one inside of them, and are not replaced themselves.
fn check_inlined(
    debug: Option<&DebugInfo<'_>>,
    objects: &[PatchObject<'_>],
    matched: &Matched<'_>,
    refusals: &mut Vec<Refusal>,
) {
    let replaced: BTreeSet<&str> = matched.functions.iter().map(|pair| &*pair.symbol.name).collect();
    let names = matched.functions.iter().map(|pair| {
        let object = &objects[pair.object];
        let file = object.source.as_deref();
        let local = object.definitions[pair.definition].local;
        (&*pair.symbol.name, file.filter(|_| local))
    });
    let names = names.collect();
    let mut callers: Vec<_> = debug
        .map_or_else(HashMap::new, |debug| inlined::callers(debug, &names))
        .into_iter()
        .collect();
    callers.sort();
    for (name, callers) in callers {
        let left: Vec<String> = callers
            .into_iter()
            .filter(|caller| !replaced.contains(&**caller))
            .collect();
        if !left.is_empty() {
            refusals.push(Refusal::new(
                "inlined",
                name,
                format!(
                    "its code is also inlined in {}, which the patch does not replace",
                    left.join(", ")
                ),
            ));
        }
    }
}
