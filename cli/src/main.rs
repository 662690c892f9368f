//! The `restub` command.

mod arguments;
mod assemble;
mod compile;
mod crash;
mod diff;
mod files;
mod fuzz;
mod inspect;
mod link;
mod manual;
mod output;
mod process;
mod process_arguments;
mod program;
mod report;
mod run;
mod stamp;
mod watch;

use std::process::ExitCode;

use clap::Parser as _;

use arguments::{Arguments, Command};

/// It failed.
const FAILED: u8 = 1;
/// The command line makes no sense.
const USAGE: u8 = 2;

fn main() -> ExitCode {
    output::end_by_sigpipe();
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return usage(&error),
    };
    let result = match arguments.command {
        Command::Run(arguments) => run::run(arguments),
        Command::Inspect(arguments) => inspect::inspect(&arguments),
        Command::Link(arguments) => link::link(&arguments),
        Command::Asm(arguments) => assemble::assemble(&arguments),
        Command::FuzzObject(arguments) => fuzz::fuzz_object(&arguments),
        Command::Plan(arguments) => process::plan(&arguments),
        Command::Patch(arguments) => process::patch(&arguments),
        Command::Status(arguments) => process::status(&arguments),
        Command::Revert(arguments) => process::revert(&arguments),
        Command::History(arguments) => process::history(&arguments),
        Command::Diff(arguments) => diff::diff(&arguments),
        Command::Completions(arguments) => manual::completions(&arguments),
        Command::Man(arguments) => manual::man(&arguments),
    };
    match result {
        Ok(code) => code,
        Err(error) => {
            eprintln!("restub: {error:#}");
            ExitCode::from(FAILED)
        }
    }
}

/// Prints what clap has to say: help and version as they are, errors with the program's name.
fn usage(error: &clap::Error) -> ExitCode {
    if !error.use_stderr() {
        // Standard output that is closed leaves nobody to tell.
        let _ = error.print();
        return ExitCode::SUCCESS;
    }
    let text = error.render().to_string();
    eprint!("restub: {}", text.strip_prefix("error: ").unwrap_or(&text));
    ExitCode::from(USAGE)
}
