//! `restub run`: links objects into this process and calls `main`.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use restub::Protection;
use restub::loader::{Detail, Input};

use crate::arguments::RunArguments;
use crate::crash;

pub(crate) fn run(arguments: RunArguments) -> anyhow::Result<ExitCode> {
    let program = arguments
        .files
        .first()
        .map(|file| file.clone().into_os_string())
        .unwrap_or_default();
    let argv: Vec<OsString> = std::iter::once(program).chain(arguments.arguments).collect();
    let protection = if arguments.fast {
        Protection::Fast
    } else {
        Protection::Strict
    };
    let session = restub::Session::builder()
        .protection(protection)
        .detail(Detail::Full)
        .default_libraries(!arguments.no_default_libs)
        .finalize_at_exit(true)
        .arguments(argv)
        .build();
    for definition in &arguments.definitions {
        session.define(&definition.name, definition.address);
    }
    let mut inputs = arguments.files.iter().map(Input::open).collect::<Result<Vec<_>, _>>()?;
    for library in &arguments.libraries {
        inputs.extend(open_library(&session, library, &arguments.folders)?);
    }
    // The program may end by `exit` or a signal at any time, so the session is never dropped.
    let session: &'static restub::Session = Box::leak(Box::new(session));
    restore_signals();
    // SAFETY: running the program is what the user asked for.
    let module = unsafe { session.load(&inputs) }?;
    drop(inputs);
    if let Some(image) = session.image(module) {
        crash::report_in(&image);
    }
    // SAFETY: the entry is C's `main`, or as the user says.
    let status = unsafe { session.run_main(&arguments.entry) }?;
    exit(status)
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

/// Rust programs ignore SIGPIPE; the loaded program expects the default.
fn restore_signals() {
    // SAFETY: sets a signal to its default action, before any other thread exists.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
}

/// Ends the process as a return from `main` does: `atexit` functions run, and C's buffers are written.
fn exit(status: i32) -> ! {
    // SAFETY: the C library's own way to end; nothing of Rust's is left to do.
    unsafe { libc::exit(status) }
}
