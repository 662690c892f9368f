//! The command line of what is done to running processes, as text.

use std::path::PathBuf;

use clap::builder::{PossibleValue, PossibleValuesParser};
use clap::{Args, ValueEnum};

use crate::process::targets::TargetArguments;
use crate::process::trial::TrialArguments;

/// Codes that the process commands exit with, for their help.
macro_rules! exit_codes {
    ($examples:literal) => {
        concat!(
            $examples,
            "

JSON: cli/JSON.md describes every field.

Exit status: 0 if it is done or was done before, 1 if it failed, 2 for bad usage, 3 if the patch is refused because it
cannot be applied safely, 4 if threads were in the way for too long, 5 if the process may not be traced, 6 if the patch
did not stand its trial and was taken back. With several processes, what those that failed have in common, or 1."
        )
    };
}

/// Say what patching a process would do, and do nothing
///
/// Neither stops the process nor writes to it. Prints each function that would be replaced, with its address, its size,
/// how its entry would be changed and which threads are in it; or every reason why the patch is refused.
#[derive(Debug, Args)]
#[command(after_help = exit_codes!("\
Examples:
  restub plan 4242 fix.o
  restub plan --json 4242 fix.o | jq '.functions[].name'"))]
pub(crate) struct PlanArguments {
    #[command(flatten)]
    pub(crate) patch: PatchFiles,
}

/// Patch a running process: replace functions by those of objects
///
/// The process needs no preparation. Functions of the objects that have the name of one in the process replace it.
/// Whatever else the objects refer to is the process's own: its variables keep their values, also static ones, and also
/// those that the objects define again. A function that is replaced can be called as it was under the name
/// FUNCTION@original (in C: __asm__(\".symver old_f, f@original\")).
///
/// With --process, --unit, --cgroup or --pid several processes are patched, one after the other and each by itself, also
/// those that are started meanwhile; what is printed at the end sums up what became of each. Children that a patched
/// process forks have the patch; programs that it executes have not.
#[derive(Debug, Args)]
#[command(after_help = exit_codes!("\
Examples:
  gcc -O2 -fPIC -c fix.c && restub patch 4242 fix.o
  restub patch 4242 --consistency quiet --timeout 10 --name cve-2026-1 fix.o
  restub patch --json 4242 fix.o
  restub patch --verify ./healthy --probation 10 4242 fix.o
  restub patch --process nginx fix.o
  restub patch --unit redis.service --all-or-none fix.o"))]
pub(crate) struct PatchArguments {
    #[command(flatten)]
    pub(crate) patch: PatchFiles,
    #[command(flatten)]
    pub(crate) trial: TrialArguments,
    /// With several processes: if one cannot be patched, take the patch back in all others
    #[arg(long, help_heading = "Several processes")]
    pub(crate) all_or_none: bool,
    /// For tests: be killed at this step
    #[arg(long, hide = true, value_name = "N")]
    pub(crate) kill_at_step: Option<u64>,
}

/// What to patch, and how.
#[derive(Debug, Args)]
pub(crate) struct PatchFiles {
    /// The process's number, unless processes are chosen by options; then objects (.o) and archives (.a)
    #[arg(required = true, value_name = "[PID] FILE", allow_negative_numbers = true)]
    pub(crate) operands: Vec<String>,
    #[command(flatten)]
    pub(crate) targets: TargetArguments,
    /// The patch's name, for status and revert; else that of the first file
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<String>,
    /// What has to hold of the threads when functions are switched
    #[arg(long, value_enum, default_value = "entry")]
    pub(crate) consistency: ConsistencyArgument,
    /// How many seconds to wait for threads that are in the way
    #[arg(long, value_name = "SECONDS", default_value = "5")]
    pub(crate) timeout: f64,
    /// Apply the patch in spite of refusals with this code (repeatable)
    #[arg(long, value_name = "CODE", value_delimiter = ',', value_parser = allowable())]
    pub(crate) allow: Vec<String>,
    /// Let the first call of a function of the patch run the patch's constructors
    #[arg(long)]
    pub(crate) constructors: bool,
    /// Take the place of all patches that are applied; functions that this one has not become what they were
    #[arg(long)]
    pub(crate) replace: bool,
    /// Also free reverted patches whose addresses the program could have stored: promise that it has not
    #[arg(long)]
    pub(crate) free_exposed: bool,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// The codes that can be allowed, each with what it means.
fn allowable() -> PossibleValuesParser {
    let codes = restub_process::CODES.iter().filter(|code| code.can_be_allowed);
    PossibleValuesParser::new(codes.map(|code| PossibleValue::new(code.name).help(code.meaning)))
}

/// What has to hold of the threads.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum ConsistencyArgument {
    /// No thread is in the bytes that change; calls that have begun end in the old version
    Entry,
    /// No thread is in a function that is replaced
    Quiet,
}

/// Show what is patched in a process
///
/// Prints the patches that are applied, and for each function which version runs, by a look at the process's code.
#[derive(Debug, Args)]
#[command(after_help = exit_codes!("\
Examples:
  restub status 4242
  restub status --json 4242 | jq '.patches[].name'
  restub status 4242 --symbols /tmp/patches && gdb -p 4242 -ex 'add-symbol-file /tmp/patches/fix.elf'"))]
pub(crate) struct StatusArguments {
    /// The process's number
    #[arg(value_name = "PID")]
    pub(crate) pid: i32,
    /// Also write an ELF file for each patch into DIR, by which gdb knows its functions (add-symbol-file)
    #[arg(long, value_name = "DIR")]
    pub(crate) symbols: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Take a patch back
///
/// Functions run the version that they ran before. Without a name the patch that was applied last is reverted. A patch
/// that a later one uses cannot be reverted before that.
#[derive(Debug, Args)]
#[command(after_help = exit_codes!("\
Examples:
  restub revert 4242
  restub revert 4242 cve-2026-1
  restub revert 4242 --all
  restub revert --process nginx cve-2026-1"))]
pub(crate) struct RevertArguments {
    /// The process's number, unless processes are chosen by options; then the patch's name
    #[arg(value_name = "[PID] [NAME]", allow_negative_numbers = true)]
    pub(crate) operands: Vec<String>,
    #[command(flatten)]
    pub(crate) targets: TargetArguments,
    /// Revert all patches
    #[arg(long)]
    pub(crate) all: bool,
    /// Also free reverted patches whose addresses the program could have stored: promise that it has not
    #[arg(long)]
    pub(crate) free_exposed: bool,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
    /// For tests: be killed at this step
    #[arg(long, hide = true, value_name = "N")]
    pub(crate) kill_at_step: Option<u64>,
}

/// Show what was done to a process, the oldest first
#[derive(Debug, Args)]
#[command(after_help = exit_codes!("\
Examples:
  restub history 4242
  restub history --json 4242"))]
pub(crate) struct HistoryArguments {
    /// The process's number
    #[arg(value_name = "PID")]
    pub(crate) pid: i32,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Make a patch of what differs between two versions of an object
///
/// Compares functions instruction by instruction, and what they refer to by its meaning, so that it does not matter where
/// things lie, nor on which lines of the source (as debug information tells). The patch has the changed and added
/// functions and what is new with them; all other functions, and all variables, are the process's own. Both objects
/// should be built with the process's flags.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  restub diff old.o new.o -o fix.o && restub patch 4242 fix.o
  restub diff --json old.o new.o | jq '.functions'

JSON: cli/JSON.md describes every field.

Exit status: 0 if there is a patch or no difference, 1 if it failed, 2 for bad usage, 3 if there is something that no
patch can bring about, such as another size or initial value of a variable (the patch is written even so).")]
pub(crate) struct DiffArguments {
    /// The object that the process was made of
    #[arg(value_name = "OLD")]
    pub(crate) old: PathBuf,
    /// The object that it should be made of
    #[arg(value_name = "NEW")]
    pub(crate) new: PathBuf,
    /// Write the patch to PATCH
    #[arg(short = 'o', value_name = "PATCH")]
    pub(crate) output: Option<PathBuf>,
    /// Leave out functions of which only constants differ, all by the same, as line numbers do in asserts and logs. Not
    /// needed where both objects have debug information (-g)
    #[arg(long)]
    pub(crate) ignore_line_numbers: bool,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}
