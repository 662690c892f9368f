//! `restub run`: links objects into this process and calls `main`.

use std::ffi::OsString;
use std::process::ExitCode;

use restub::Protection;
use restub::loader::Detail;

use crate::arguments::RunArguments;
use crate::{crash, files};

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
    let mut inputs = files::open_all(&arguments.files)?;
    inputs.push(files::references_to(
        "the command line (--entry)",
        [arguments.entry.as_bytes()],
    ));
    let session = arguments
        .surroundings
        .builder()
        .protection(protection)
        .detail(Detail::Full)
        .finalize_at_exit(true)
        .gdb(arguments.gdb)
        .perf(arguments.perf)
        .arguments(argv)
        .build();
    inputs.extend(arguments.surroundings.set_up(&session)?);
    // The program may end by `exit` or a signal at any time, so the session is never dropped.
    let session: &'static restub::Session = Box::leak(Box::new(session));
    // Before the constructors run, because they may crash, and may handle signals themselves.
    crash::report_in(session);
    // SAFETY: running the program is what the user asked for.
    unsafe { session.load(&inputs) }?;
    drop(inputs);
    // SAFETY: the entry is C's `main`, or as the user says.
    let status = unsafe { session.run_main(&arguments.entry) }?;
    exit(status)
}

/// Ends the process as a return from `main` does: `atexit` functions run, and C's buffers are written.
fn exit(status: i32) -> ! {
    // SAFETY: the C library's own way to end; nothing of Rust's is left to do.
    unsafe { libc::exit(status) }
}
