//! The `restub` command.

mod arguments;
mod crash;
mod run;

use std::process::ExitCode;

use clap::Parser as _;

use arguments::{Arguments, Command};

/// It failed; bad usage is 2, and clap's.
const FAILED: u8 = 1;

fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::Run(arguments) => run::run(arguments),
    };
    match result {
        Ok(code) => code,
        Err(error) => {
            eprintln!("restub: {error:#}");
            ExitCode::from(FAILED)
        }
    }
}
