//! Patches functions of a running, unmodified process, and takes the patch back.
//!
//! | question | answer |
//! |---|---|
//! | What is a patch? | relocatable objects of any compiler; their functions replace those of the same name in the process |
//! | What of the process's state? | it stays: variables that both define, static ones too, are the process's |
//! | What runs in the process? | nothing of the process's own: memory is mapped by system calls that a thread is made to do |
//! | How is a function redirected? | a jump at its entry, to a stub, through a word, to the version that runs |
//! | When are threads stopped? | to write that jump; a later patch of the function is one store |
//! | What if the patcher is killed? | nothing happens until one page is written, which the kernel does whole or not at all |
//! | What of exceptions? | libgcc's `_Unwind_Find_FDE` is redirected, too: it looks in a table of restub's first |
//! | Who knows what is patched? | the process: its records are in its own memory |
//! | What of types that have changed? | the debug information of both sides is compared; what differs is refused ([`CODES`]) |
//! | Who runs constructors? | the first call of a function of the patch, if that is asked for |
//! | Is the old code freed? | once a stop has shown no thread in it, and a search of memory no address of it |
//!
//! The steps: [`plan`] says what would be done and writes nothing; [`patch`] attaches without stopping, maps memory,
//! links the patch for its addresses and writes it where nothing reaches it, then stops all threads, makes sure that
//! none is in the bytes that change, and writes the jumps and the page. Jumps that are written before the page lead to
//! the original, so that any number of them changes nothing.
//!
//! # Example
//!
//! ```
//! use std::io::{BufRead, BufReader, Write};
//! use std::process::{Command, Stdio};
//! use restub_loader::Input;
//! use restub_process::{Options, Which};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let folder = tempfile::tempdir()?;
//! let compile = |name: &str, flags: &[&str], source: &str| {
//!     std::fs::write(folder.path().join(format!("{name}.c")), source)?;
//!     let source = format!("{name}.c");
//!     let mut gcc = Command::new("gcc");
//!     gcc.current_dir(folder.path()).args(["-O2", "-fPIE"]).args(flags).args([&source, "-o", name]).status()
//! };
//! let program = "#include <stdio.h>\nint calls;\n
//!     __attribute__((noipa)) int answer(int x) { return x + ++calls; }
//!     int main(void) { while (getchar() != EOF) { printf(\"%d\\n\", answer(40)); fflush(stdout); } }";
//! compile("program", &["-pie"], program)?;
//! compile("fix", &["-c"], "int calls; int answer(int x) { return 10 * x + ++calls; }")?;
//!
//! let running = Command::new(folder.path().join("program")).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
//! let pid = running.id() as i32;
//! let (mut input, output) = (running.stdin.unwrap(), running.stdout.unwrap());
//! let mut lines = BufReader::new(output).lines();
//! let mut ask = || -> std::io::Result<String> {
//!     input.write_all(b"?")?;
//!     lines.next().expect("an answer")
//! };
//! assert_eq!(ask()?, "41");
//!
//! let fix = [Input::open(folder.path().join("fix"))?];
//! let report = restub_process::patch(pid, &fix, &Options::default())?;
//! assert_eq!(report.plan.functions[0].name, "answer");
//! assert_eq!(ask()?, "402"); // the count goes on
//!
//! restub_process::revert(pid, &Which::Last, &Options::default())?;
//! assert_eq!(ask()?, "43");
//! # Ok(())
//! # }
//! ```

mod apply;
mod arena;
mod bind;
mod callers;
mod codes;
mod constructors;
mod counterpart;
mod debug_file;
mod debug_parts;
mod diff;
mod dwarf;
mod entry;
mod error;
mod exposure;
mod finish;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
mod image;
mod image_memory;
mod inject;
mod inlined;
mod jit;
mod kept_registers;
mod look;
mod machine_code;
mod module;
mod plan;
mod procfs;
mod ptrace;
mod redirect;
mod registry;
mod report;
mod retarget;
mod retired;
mod safety;
mod state;
mod steps;
mod stopped;
mod symbol_file;
mod threads;
mod tls;
mod types;
mod unwind;

pub use apply::{Which, patch, plan, revert};
pub use codes::{CODES, Code};
pub use diff::{Change, DiffOptions, Difference, diff};
pub use entry::Method;
pub use error::{Error, Refusal, Result};
pub use look::{history, status};
pub use plan::{Consistency, FunctionPlan, Options, PlanReport};
pub use procfs::is_alive;
pub use report::{EntryState, Event, FunctionStatus, PatchReport, PatchStatus, RevertReport, Status};
pub use retired::Exposed;
pub use symbol_file::{SymbolFile, symbol_files};
