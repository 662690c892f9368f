//! `restub run`: links objects into this process and calls `main`.

use std::ffi::{CString, OsStr, OsString, c_char};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::process::ExitCode;

use restub::loader::{Detail, Input};
use restub::{Linkage, Protection, Reclaim, ScanOptions, Session};

use crate::arguments::RunArguments;
use crate::program::Program;
use crate::watch::Watcher;
use crate::{crash, files};

pub(crate) fn run(arguments: RunArguments) -> anyhow::Result<ExitCode> {
    let mut program = Program::open(&arguments)?;
    let name = arguments
        .files
        .first()
        .map(|file| file.clone().into_os_string())
        .unwrap_or_default();
    let argv: Vec<OsString> = std::iter::once(name).chain(arguments.arguments).collect();
    // Before anything else happens in this process: it is forked.
    let watcher = match arguments.watching.watch {
        true => Some(Watcher::start(&mut program, &arguments.watching)?),
        false => None,
    };
    name_process(&argv[0]);
    let protection = if arguments.fast {
        Protection::Fast
    } else {
        Protection::Strict
    };
    let builder = arguments
        .surroundings
        .builder()
        .protection(protection)
        .detail(Detail::Full)
        .finalize_at_exit(true)
        .gdb(arguments.gdb)
        .perf(arguments.perf)
        .arguments(argv);
    let builder = match watcher {
        Some(_) => builder
            .linkage(Linkage::Stubs)
            .reclaim(Reclaim::Scan(ScanOptions::default())),
        None => builder,
    };
    let session = builder.build();
    program.archives.extend(arguments.surroundings.set_up(&session)?);
    // The program may end by `exit` or a signal at any time, so the session is never dropped.
    let session: &'static Session = Box::leak(Box::new(session));
    // Before the constructors run, because they may crash, and may handle signals themselves.
    crash::report_in(session);
    match watcher {
        Some(watcher) => watcher.load(session, program, &arguments.entry, arguments.watching)?,
        None => load(session, program, &arguments.entry)?,
    }
    // SAFETY: the entry is C's `main`, or as the user says.
    let status = unsafe { session.run_main(&arguments.entry) }?;
    exit(status)
}

fn load(session: &Session, program: Program, entry: &str) -> anyhow::Result<()> {
    let objects = program.parts.into_iter().map(|part| part.object);
    let mut inputs: Vec<_> = objects.chain(program.archives).collect();
    inputs.push(reference_to_entry(entry));
    // SAFETY: running the program is what the user asked for.
    unsafe { session.load(&inputs) }?;
    Ok(())
}

/// What takes the entry from an archive, and makes its absence an error.
pub(crate) fn reference_to_entry(entry: &str) -> Input<'static> {
    files::references_to("the command line (--entry)", [entry.as_bytes()])
}

/// Gives the C library and the kernel the program's name, which `assert` and the like print.
fn name_process(name: &OsStr) {
    unsafe extern "C" {
        static mut program_invocation_name: *mut c_char;
        static mut program_invocation_short_name: *mut c_char;
    }
    let base = Path::new(name).file_name().unwrap_or(name);
    let [full, short] = [name, base].map(|name| CString::new(name.as_bytes()).unwrap_or_default().into_raw());
    // SAFETY: the string is never freed, and no other thread exists.
    unsafe { program_invocation_name = full };
    // SAFETY: as above.
    unsafe { program_invocation_short_name = short };
    // SAFETY: a C string; the kernel takes its first 15 bytes.
    unsafe { libc::prctl(libc::PR_SET_NAME, short) };
}

/// Ends the process as a return from `main` does: `atexit` functions run, and C's buffers are written.
fn exit(status: i32) -> ! {
    // SAFETY: the C library's own way to end; nothing of Rust's is left to do.
    unsafe { libc::exit(status) }
}
