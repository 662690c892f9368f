//! Loads compiled x86-64 objects into a running process: a linker that works in memory.
//!
//! A [`Session`] holds modules. [`Session::load`] takes objects and archives as compilers and `ar` write them
//! ([`loader::Input`]), links them for this process, and runs their constructors; [`Session::function`] gives a typed
//! function, and [`Session::unload`] takes a module back.
//!
//! ```
//! use restub::{Session, loader::Input};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let folder = std::env::temp_dir().join("restub-doc");
//! std::fs::create_dir_all(&folder)?;
//! std::fs::write(folder.join("add.c"), "int add(int a, int b) { return a + b; }")?;
//! std::process::Command::new("cc").current_dir(&folder).args(["-c", "add.c"]).status()?;
//!
//! let session = Session::new();
//! // SAFETY: the object is our own, and no thread is in it when it is unloaded.
//! let module = unsafe { session.load(&[Input::open(folder.join("add.o"))?]) }?;
//! // SAFETY: the function has this type.
//! let add = unsafe { session.function::<extern "C" fn(i32, i32) -> i32>("add") }?;
//! assert_eq!(add(40, 2), 42);
//! // SAFETY: as above.
//! unsafe { session.unload(module) }?;
//! # Ok(())
//! # }
//! ```
//!
//! Loading is `unsafe`, because constructors run with all the powers of the process. Everything that is refused leaves
//! the session as it was, and says which object, section, offset and symbol are to blame.

mod binder;
mod builtins;
mod debugger;
mod dynamic;
mod error;
#[cfg(feature = "fault")]
pub mod fault;
#[cfg(not(feature = "fault"))]
mod fault;
mod fork;
mod function;
mod host;
#[cfg_attr(
    not(test),
    allow(dead_code, reason = "sessions without stubs have no lazy functions")
)]
mod lazy;
mod libraries;
mod library_tls;
mod made;
mod memory;
mod perf;
mod pin;
mod rebind;
mod replace;
mod retire;
mod run;
mod session;
mod state;
mod stubs;
mod tls;
mod unwind;

pub use error::{Error, Result};
pub use function::{Function, FunctionPointer};
pub use lazy::{LazyError, LazyFailure, LazyHook};
pub use memory::Protection;
pub use pin::Pin;
pub use replace::{Change, Consistency, Constructors, Data, Refusal, Replace, Report, What};
pub use restub_loader as loader;
pub use restub_stubs::{OldestGuard, ReclaimStats, ScanOptions, ScanReport, Slot, UnboundCall};
pub use retire::{Collected, Reclaim};
pub use session::{Builder, Linkage, Session, Stats, Symbol, host_symbol};
pub use state::ModuleId;
pub use stubs::{Version, VersionState};
pub use tls::STATIC_RESERVE_BYTES;

/// Has the example of the README compiled.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
pub struct Readme;
