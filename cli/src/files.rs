//! The files of the command line: objects, archives and libraries, with errors that say what to do.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use object::write::{self, Relocation, StandardSection, Symbol, SymbolSection};
use object::{Architecture, BinaryFormat, Endianness, RelocationFlags, SymbolFlags, SymbolKind, SymbolScope, elf};
use restub::loader::{Archive, Input, Object};

use crate::arguments::Surroundings;
use crate::assemble;

/// What makes an object of a source file, by the end of its name.
const COMPILERS: [(&[&str], &str); 10] = [
    (&["c", "i"], "gcc -c"),
    (&["cc", "cpp", "cxx", "C", "ii"], "g++ -c"),
    (&["S"], "gcc -c"),
    (&["asm", "nasm"], "nasm -f elf64"),
    (&["rs"], "rustc --emit obj"),
    (&["f", "f90", "f95", "f03", "f08"], "gfortran -c"),
    (&["adb", "ads"], "gnatmake -c"),
    (&["d"], "gdc -c"),
    (&["go"], "gccgo -c"),
    (&["ll", "bc"], "clang -c"),
];

/// Opens the objects and archives of the command line.
pub(crate) fn open_all(paths: &[PathBuf]) -> anyhow::Result<Vec<Input<'static>>> {
    paths.iter().map(|path| open(path)).collect()
}

/// Opens an object or archive.
pub(crate) fn open(path: &Path) -> anyhow::Result<Input<'static>> {
    if path.extension().is_some_and(|extension| extension == "s") {
        return assemble::object_of(path);
    }
    let input = Input::open(path)?;
    let readable = input.is_archive() || input.bytes().starts_with(b"\x7fELF");
    if !readable && let Some(compiler) = compiler(path) {
        bail!(
            "{0}: is source code, not an object; compile it first: {compiler} {0}",
            path.display()
        );
    }
    Ok(input)
}

fn compiler(path: &Path) -> Option<&'static str> {
    let extension = path.extension()?.to_str()?;
    let known = COMPILERS.iter().find(|(extensions, _)| extensions.contains(&extension));
    known.map(|(_, compiler)| *compiler)
}

impl Surroundings {
    /// Settings of a session that binds symbols as the command line says.
    pub(crate) fn builder(&self) -> restub::Builder {
        restub::Session::builder().default_libraries(!self.no_default_libs)
    }

    /// Defines symbols and opens shared libraries in a session, and gives the archives among the libraries.
    pub(crate) fn set_up(&self, session: &restub::Session) -> anyhow::Result<Vec<Input<'static>>> {
        for definition in &self.definitions {
            session.define(&definition.name, definition.address);
        }
        let mut archives = Vec::new();
        for library in &self.libraries {
            archives.extend(open_library(session, library, &self.folders)?);
        }
        Ok(archives)
    }
}

/// Opens a shared library, or gives the archive of that name.
fn open_library(session: &restub::Session, name: &str, folders: &[PathBuf]) -> anyhow::Result<Option<Input<'static>>> {
    let file_names = match name.strip_prefix(':') {
        Some(exact) => vec![exact.to_owned()],
        None => vec![format!("lib{name}.so"), format!("lib{name}.a")],
    };
    let found = folders
        .iter()
        .flat_map(|folder| file_names.iter().map(|file| folder.join(file)))
        .find(|path| path.is_file());
    if let Some(path) = found {
        if path.extension().is_some_and(|extension| extension == "a") {
            return Ok(Some(Input::open(path)?));
        }
        return open_shared(session, &path.canonicalize()?).map(|()| None);
    }
    // The file of a plain name is a development symlink or a linker script, so the versioned one is looked for too.
    let soname = soname_in_system(name);
    open_shared(session, Path::new(soname.as_deref().unwrap_or(&file_names[0]))).map(|()| None)
}

fn open_shared(session: &restub::Session, path: &Path) -> anyhow::Result<()> {
    let name = path.to_str().context("the library's path is not UTF-8")?;
    // SAFETY: the user asked for the library.
    unsafe { session.open_library(name) }.with_context(|| format!("cannot open {name}"))
}

/// `libNAME.so.N` with the highest N in the system's folders.
fn soname_in_system(name: &str) -> Option<String> {
    const FOLDERS: [&str; 4] = [
        "/lib/x86_64-linux-gnu",
        "/usr/lib/x86_64-linux-gnu",
        "/lib64",
        "/usr/lib64",
    ];
    let prefix = format!("lib{name}.so.");
    let entries = FOLDERS
        .iter()
        .filter_map(|folder| std::fs::read_dir(folder).ok())
        .flatten();
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let versioned = names.filter_map(|file| Some((file.strip_prefix(&prefix)?.parse::<u32>().ok()?, file.clone())));
    versioned.max().map(|(_, file)| file)
}

/// An object that refers to symbols and defines nothing, as the C start files refer to `main`.
///
/// It takes the symbols from archives, and a program without its entry is refused before any of its constructors run.
pub(crate) fn references_to<'a>(name: &str, symbols: impl IntoIterator<Item = &'a [u8]>) -> Input<'static> {
    let mut object = write::Object::new(BinaryFormat::Elf, Architecture::X86_64, Endianness::Little);
    let section = object.section_id(StandardSection::ReadOnlyDataWithRel);
    let flags = RelocationFlags::Elf {
        r_type: elf::R_X86_64_64,
    };
    for name in symbols {
        let symbol = object.add_symbol(Symbol {
            name: name.to_vec(),
            value: 0,
            size: 0,
            kind: SymbolKind::Unknown,
            scope: SymbolScope::Dynamic,
            weak: false,
            section: SymbolSection::Undefined,
            flags: SymbolFlags::None,
        });
        let relocation = Relocation {
            offset: object.append_section_data(section, &[0; 8], 8),
            symbol,
            addend: 0,
            flags,
        };
        object
            .add_relocation(section, relocation)
            .expect("the section exists and the type is ELF's");
    }
    let bytes = object.write().expect("the object has one section and few symbols");
    Input::from_bytes(name, bytes)
}

/// Reads every object of the inputs, archive members included.
pub(crate) fn objects<'data>(inputs: &'data [Input<'data>]) -> restub::loader::Result<Vec<Object<'data>>> {
    let mut objects = Vec::new();
    for input in inputs {
        objects.extend(objects_of(input)?);
    }
    Ok(objects)
}

/// Reads the objects of one input.
pub(crate) fn objects_of<'data>(input: &'data Input<'data>) -> restub::loader::Result<Vec<Object<'data>>> {
    if input.is_archive() {
        Archive::parse(input)?.objects()
    } else {
        Ok(vec![Object::parse(input.name(), input.bytes())?])
    }
}
