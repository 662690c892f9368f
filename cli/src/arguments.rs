//! The command line, as text.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

/// Load, run and inspect x86-64 ELF objects.
#[derive(Debug, Parser)]
#[command(name = "restub", version, max_term_width = 100)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Run(RunArguments),
}

/// Links objects into this process and calls main
///
/// Archives give the members that are needed. Everything behind -- goes to the program, whose exit status becomes that
/// of restub.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  restub run hello.o
  restub run main.o helper.o libthings.a -lm -- one two
  restub run --entry start -D clock=0x1000 module.o")]
pub(crate) struct RunArguments {
    /// Objects (.o) and archives (.a)
    #[arg(required = true, value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
    /// Open the shared library libLIB.so, or take members from libLIB.a, found in -L folders or by the dynamic linker
    #[arg(short = 'l', value_name = "LIB")]
    pub(crate) libraries: Vec<String>,
    /// Look for -l libraries in DIR first
    #[arg(short = 'L', value_name = "DIR")]
    pub(crate) folders: Vec<PathBuf>,
    /// The function to call
    #[arg(long, value_name = "NAME", default_value = "main")]
    pub(crate) entry: String,
    /// Define the symbol NAME as an address
    #[arg(short = 'D', value_name = "NAME=ADDR", value_parser = definition)]
    pub(crate) definitions: Vec<Definition>,
    /// Do not look for missing symbols in libm, libgcc, libstdc++ and the like
    #[arg(long)]
    pub(crate) no_default_libs: bool,
    /// Keep a writable view of code mapped, which makes loading faster
    #[arg(long)]
    pub(crate) fast: bool,
    /// Arguments of the program
    #[arg(last = true, value_name = "ARGS")]
    pub(crate) arguments: Vec<OsString>,
}

/// A symbol with its address.
#[derive(Debug, Clone)]
pub(crate) struct Definition {
    pub(crate) name: String,
    pub(crate) address: u64,
}

pub(crate) fn definition(text: &str) -> Result<Definition, String> {
    let (name, address) = text.split_once('=').ok_or("expected NAME=ADDR")?;
    if name.is_empty() {
        return Err("expected a name before the =".into());
    }
    Ok(Definition {
        name: name.into(),
        address: parse_address(address)?,
    })
}

/// A number in decimal, or in hexadecimal with 0x.
pub(crate) fn parse_address(text: &str) -> Result<u64, String> {
    let parsed = match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(digits) => u64::from_str_radix(digits, 16),
        None => text.parse(),
    };
    parsed.map_err(|_| format!("{text} is no address: give decimal digits, or 0x and hexadecimal ones"))
}
