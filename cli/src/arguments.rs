//! The command line, as text.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::process_arguments::{
    DiffArguments, HistoryArguments, PatchArguments, PlanArguments, RevertArguments, StatusArguments,
};

/// Load, run, inspect and link x86-64 ELF objects
#[derive(Debug, Parser)]
#[command(
    name = "restub",
    version,
    max_term_width = 100,
    after_help = "\
Examples:
  restub run hello.o                              run a program from its object file
  restub run --watch hello.c                      and replace its functions when hello.c is saved
  restub inspect --relocs hello.o                 see what each relocation becomes
  restub link --at 0x400000 -o hello.elf hello.o  link for a debugger or disassembler to read

Exit status: 0 if all went well, 1 if something failed, 2 for bad usage; `restub run` exits with the program's own
status."
)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Run(RunArguments),
    Inspect(InspectArguments),
    Link(LinkArguments),
    Asm(AsmArguments),
    FuzzObject(FuzzObjectArguments),
    Plan(PlanArguments),
    Patch(PatchArguments),
    Status(StatusArguments),
    Revert(RevertArguments),
    History(HistoryArguments),
    Diff(DiffArguments),
    Completions(CompletionsArguments),
    Man(ManArguments),
}

/// Assemble a source file to an object
///
/// The source is AT&T syntax as GNU as reads it, or Intel syntax, and may change between the two.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  restub asm memcpy.s -o memcpy.o
  restub asm --syntax intel start.s -o start.o
  restub asm --listing -D PAGE=4096 -I include entry.s -o entry.o
  restub asm - -o a.o < a.s

Exit status: 0, 1 if the source has errors, 2 for bad usage.")]
pub(crate) struct AsmArguments {
    /// The source file; - is standard input
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// Write the object to OUT
    #[arg(short = 'o', value_name = "OUT")]
    pub(crate) output: PathBuf,
    /// The syntax at the start of the source
    #[arg(long, value_enum, default_value = "att")]
    pub(crate) syntax: SyntaxArgument,
    /// Look for .include and .incbin files in DIR
    #[arg(short = 'I', value_name = "DIR")]
    pub(crate) folders: Vec<PathBuf>,
    /// Set the symbol NAME to a number
    #[arg(short = 'D', value_name = "NAME=NUMBER", value_parser = symbol_value)]
    pub(crate) definitions: Vec<SymbolValue>,
    /// Print each line of the source with the offset and the bytes that it became
    #[arg(long)]
    pub(crate) listing: bool,
}

/// Write an object for fuzzing a linker or loader
///
/// Sections, symbols, COMDAT groups and relocations of every type, as they follow from a number: the same number gives the
/// same object. All of it makes sense, but values need not fit, and names may be other objects'.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  restub fuzz-object --seed 1 -o a.o && readelf -a a.o
  restub fuzz-object --seed 0x2a -o a.o && ld -r a.o -o b.o

The library's module restub_loader::fuzzing makes whole cases, with archives and what is expected of them.

Exit status: 0, 1 if the object cannot be written, 2 for bad usage.")]
pub(crate) struct FuzzObjectArguments {
    /// The number that decides everything
    #[arg(long, value_name = "NUMBER", value_parser = number)]
    pub(crate) seed: u64,
    /// Write the object to OUT
    #[arg(short = 'o', value_name = "OUT")]
    pub(crate) output: PathBuf,
}

/// A syntax of the assembler.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
pub(crate) enum SyntaxArgument {
    Att,
    Intel,
}

/// Link objects into this process and call main
///
/// Archives give the members that are needed. Sources are compiled first, by $CC, $CXX or $RUSTC (cc, c++, rustc) with
/// $CFLAGS, $CXXFLAGS or $RUSTFLAGS behind -g -fPIC -ffunction-sections -fdata-sections; assembly (.s) by restub asm.
/// Everything behind -- goes to the program, whose exit status becomes that of restub. If loaded code crashes, the signal
/// and the function are named on standard error, and the process dies by that signal.
///
/// With --watch, a file that changes on disk is compiled, if it is a source or includes what changed, and takes the place
/// of its old version while the program runs. Variables keep their values; each call that is made from then on reaches
/// the new functions, and what runs already goes on in the old ones until it returns. If compiling fails, or the new
/// version cannot take the place of the old one, the reasons are printed and the old one runs on.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  restub run hello.o
  restub run main.o helper.o libthings.a -lm -- one two
  restub run --watch --cflags=-O1 main.c helper.cc
  restub run --watch --on-change make main.o helper.o
  restub run --entry start -D clock=0x1000 module.o

Exit status: that of the program, 1 if it could not be compiled or loaded, 2 for bad usage.")]
pub(crate) struct RunArguments {
    /// Objects (.o), archives (.a), and sources (.c, .cc, .cpp, .cxx, .rs, .s, .S)
    #[arg(required = true, value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) surroundings: Surroundings,
    /// The function to call
    #[arg(long, value_name = "NAME", default_value = "main")]
    pub(crate) entry: String,
    /// Flags for the C and C++ compilers, behind those of $CFLAGS and $CXXFLAGS
    #[arg(
        long,
        value_name = "FLAGS",
        default_value = "",
        allow_hyphen_values = true,
        hide_default_value = true
    )]
    pub(crate) cflags: String,
    /// Keep a writable view of code mapped, which makes loading faster
    #[arg(long)]
    pub(crate) fast: bool,
    /// Tell gdb of the program's code and debug information (for use under gdb)
    #[arg(long)]
    pub(crate) gdb: bool,
    /// Tell perf of the program's functions, by /tmp/perf-PID.map
    #[arg(long)]
    pub(crate) perf: bool,
    #[command(flatten)]
    pub(crate) watching: WatchArguments,
    /// Arguments of the program
    #[arg(last = true, value_name = "ARGS")]
    pub(crate) arguments: Vec<OsString>,
}

/// Replacing what changes.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Watching")]
pub(crate) struct WatchArguments {
    /// Replace functions when their object or source changes on disk
    #[arg(long)]
    pub(crate) watch: bool,
    /// Run CMD when a source changes that is no FILE, and take the objects that it writes
    #[arg(long, value_name = "CMD", requires = "watch")]
    pub(crate) on_change: Option<String>,
    /// Where --on-change looks for sources: every folder below DIR, but for hidden ones and `target`
    #[arg(long, value_name = "DIR", requires = "on_change", default_value = ".")]
    pub(crate) sources: Vec<PathBuf>,
    /// Start all variables of a changed file with their initial values
    #[arg(long, requires = "watch")]
    pub(crate) data_reset: bool,
    /// Let functions go that others still call: a call ends the program, with the name
    #[arg(long, requires = "watch")]
    pub(crate) allow_dangling: bool,
    /// When constructors of a changed file run
    #[arg(long, value_name = "WHEN", value_enum, default_value = "auto", requires = "watch")]
    pub(crate) constructors: ConstructorsArgument,
    /// When old versions are freed. To learn which are in use, every thread is interrupted by a signal, so that system
    /// calls that wait may fail with EINTR; the stacks of coroutines that do not run are not looked at
    #[arg(long, value_name = "WHEN", value_enum, default_value = "full", requires = "watch")]
    pub(crate) reclaim: ReclaimArgument,
    /// Print a line for each function and variable, and what is freed
    #[arg(short, long, requires = "watch")]
    pub(crate) verbose: bool,
}

/// When old versions are freed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum ReclaimArgument {
    /// When they take more than 64 MiB
    Full,
    /// After each change, and again until nothing is left
    Always,
    /// Never
    Never,
}

/// When constructors run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum ConstructorsArgument {
    /// If they would not initialize anew what keeps its value
    Auto,
    /// Always
    Run,
    /// Never
    Skip,
}

/// What symbols are bound to beyond the files.
#[derive(Debug, Args)]
pub(crate) struct Surroundings {
    /// Open the shared library libLIB.so, or take members from libLIB.a, found in -L folders or by the dynamic linker
    #[arg(short = 'l', value_name = "LIB")]
    pub(crate) libraries: Vec<String>,
    /// Look for -l libraries in DIR first
    #[arg(short = 'L', value_name = "DIR")]
    pub(crate) folders: Vec<PathBuf>,
    /// Define the symbol NAME as an address
    #[arg(short = 'D', value_name = "NAME=ADDR", value_parser = definition)]
    pub(crate) definitions: Vec<Definition>,
    /// Do not look for missing symbols in libm, libgcc, libstdc++ and the like
    #[arg(long)]
    pub(crate) no_default_libs: bool,
}

/// Show what is in objects and archives, and whether they load
///
/// Prints sections, symbols, relocation types, TLS models, COMDAT groups and needed features of every file, links all
/// of them together as `restub run` would, and says what each relocation becomes: bound directly, through the PLT or
/// the GOT, relaxed, or a copy. Nothing is run. If the files do not load, the reason is the last thing printed.
///
/// Members of archives are linked where an object needs them; if there are only archives, all of their members are.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  restub inspect main.o
  restub inspect --relocs --symbols main.o libthings.a
  restub inspect --json main.o | jq '.load.undefined'

JSON: cli/JSON.md describes every field.

Exit status: 0 if the files load, 1 if they do not, 2 for bad usage.")]
pub(crate) struct InspectArguments {
    /// Objects (.o) and archives (.a)
    #[arg(required = true, value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
    /// List every relocation with what it becomes
    #[arg(long)]
    pub(crate) relocs: bool,
    /// List every symbol
    #[arg(long)]
    pub(crate) symbols: bool,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) surroundings: Surroundings,
}

/// Link objects at a pretend address, without running them
///
/// Prints a map of segments, sections and symbols, or writes an ELF file with -o: sections at their addresses, a full
/// symbol table with NAME@GOT and NAME@PLT for the entries that were made, and the objects' debug sections, so that
/// objdump, readelf, nm, addr2line and gdb read it. Symbols that the files do not define have to be given with -D.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  restub link --at 0x400000 module.o
  restub link --at 0x7f0000000000 -D puts=0x7e0000000000 -o hello.elf hello.o && objdump -d hello.elf
  restub link --at 0x400000 --json a.o b.o | jq '.symbols[] | select(.kind == \"synthetic\")'

JSON: cli/JSON.md describes every field.

Exit status: 0 if the files were linked, 1 if they were not, 2 for bad usage.")]
pub(crate) struct LinkArguments {
    /// Objects (.o) and archives (.a)
    #[arg(required = true, value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
    /// The address of the image, in decimal or in hexadecimal with 0x
    #[arg(long, value_name = "ADDR", value_parser = parse_address)]
    pub(crate) at: u64,
    /// Define the symbol NAME as an address
    #[arg(short = 'D', value_name = "NAME=ADDR", value_parser = definition)]
    pub(crate) definitions: Vec<Definition>,
    /// Write an ELF file instead of printing a map
    #[arg(short = 'o', value_name = "IMAGE")]
    pub(crate) output: Option<PathBuf>,
    /// Print JSON, also beside -o
    #[arg(long)]
    pub(crate) json: bool,
}

/// Print a script that completes restub's arguments in a shell
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  restub completions bash > ~/.local/share/bash-completion/completions/restub
  restub completions zsh > ~/.zfunc/_restub
  restub completions fish > ~/.config/fish/completions/restub.fish")]
pub(crate) struct CompletionsArguments {
    /// The shell
    pub(crate) shell: clap_complete::Shell,
}

/// Print restub's manual page, or write the pages of all commands
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  restub man | man -l -
  restub man --dir ~/.local/share/man/man1")]
pub(crate) struct ManArguments {
    /// Write restub.1 and a page for each command into DIR, which is made if it does not exist
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
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

/// A symbol with its value, which may be negative.
#[derive(Debug, Clone)]
pub(crate) struct SymbolValue {
    pub(crate) name: String,
    pub(crate) value: i64,
}

fn symbol_value(text: &str) -> Result<SymbolValue, String> {
    let (name, number) = text.split_once('=').ok_or("expected NAME=NUMBER")?;
    if name.is_empty() {
        return Err("expected a name before the =".into());
    }
    let digits = number.strip_prefix('-').unwrap_or(number);
    let magnitude = parse_address(digits)
        .map_err(|_| format!("{number} is no number: give decimal digits, or 0x and hexadecimal ones"))?
        .cast_signed();
    let value = if digits == number {
        magnitude
    } else {
        magnitude.wrapping_neg()
    };
    let name = name.into();
    Ok(SymbolValue { name, value })
}

pub(crate) fn parse_address(text: &str) -> Result<u64, String> {
    parse(text, "address")
}

fn number(text: &str) -> Result<u64, String> {
    parse(text, "number")
}

/// A number in decimal, or in hexadecimal with 0x.
fn parse(text: &str, what: &str) -> Result<u64, String> {
    let parsed = match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(digits) => u64::from_str_radix(digits, 16),
        None => text.parse(),
    };
    parsed.map_err(|_| format!("{text} is no {what}: give decimal digits, or 0x and hexadecimal ones"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory as _;
        Arguments::command().debug_assert();
    }

    #[test]
    fn addresses_are_decimal_or_hexadecimal() {
        assert_eq!(parse_address("0x7fFF"), Ok(0x7fff));
        assert_eq!(parse_address("10"), Ok(10));
        assert!(parse_address("").is_err() && parse_address("0x").is_err() && parse_address("7f").is_err());
        assert!(parse_address("0x10000000000000000").is_err());
    }

    #[test]
    fn definitions_have_a_name_and_an_address() {
        let puts = definition("puts=0x10").expect("definition");
        assert_eq!((puts.name.as_str(), puts.address), ("puts", 0x10));
        assert!(definition("puts").is_err() && definition("=1").is_err() && definition("a=b").is_err());
    }
}
