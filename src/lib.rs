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
//! With [`Linkage::Stubs`], functions can be replaced while other threads call them; variables keep their values:
//!
//! ```
//! use restub::{Linkage, Replace, Session, loader::Input};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = std::env::temp_dir().join("restub-doc-replace");
//! # std::fs::create_dir_all(&folder)?;
//! let compile = |source: &str| -> Result<Input<'static>, Box<dyn std::error::Error>> {
//!     std::fs::write(folder.join("next.c"), source)?;
//!     std::process::Command::new("cc").current_dir(&folder).args(["-c", "next.c"]).status()?;
//!     Ok(Input::open(folder.join("next.o"))?)
//! };
//! let session = Session::builder().linkage(Linkage::Stubs).build();
//! let first = compile("static int n; int next(void) { n += 1; return n; }")?;
//! // SAFETY: the objects are our own, and the function keeps its type.
//! unsafe { session.load(&[first]) }?;
//! let pin = session.pin();
//! // SAFETY: as above.
//! let next = unsafe { pin.function::<extern "C" fn() -> i32>("next") }?;
//! assert_eq!((next(), next()), (1, 2));
//! let second = compile("static int n; int next(void) { n += 10; return n; }")?;
//! // SAFETY: as above.
//! unsafe { session.replace(&[second], &Replace::new()) }?;
//! assert_eq!(next(), 12);
//! # Ok(())
//! # }
//! ```
//!
//! Loading is `unsafe`, because constructors run with all the powers of the process. Everything that is refused leaves
//! the session as it was, and says which object, section, offset and symbol are to blame.

mod batch;
mod binder;
mod builder;
mod builtins;
mod debugger;
mod define_lazy;
mod dynamic;
mod error;
#[cfg(feature = "fault")]
pub mod fault;
#[cfg(not(feature = "fault"))]
mod fault;
mod fork;
mod function;
mod host;
mod lazy;
mod libraries;
mod library_tls;
mod made;
mod memory;
mod perf;
mod pin;
mod rebind;
mod replace;
mod replacement;
mod retire;
mod rollback;
mod run;
mod session;
mod state;
mod stubs;
mod thread_exit;
mod tls;
mod unload;
mod unwind;

pub use builder::{Builder, Linkage};
pub use error::{Error, Result};
pub use function::{Function, FunctionPointer};
pub use lazy::{LazyError, LazyFailure, LazyHook};
pub use memory::Protection;
pub use pin::Pin;
pub use replacement::{Change, Consistency, Constructors, Data, Refusal, Replace, Report, What};
pub use restub_loader as loader;
pub use restub_stubs::{OldestGuard, ReclaimStats, ScanOptions, ScanReport, Slot, UnboundCall};
pub use retire::{Collected, Exposed, Reclaim};
pub use session::{Session, Stats, Symbol, host_symbol};
pub use state::ModuleId;
pub use stubs::{Version, VersionState};
pub use tls::STATIC_RESERVE_BYTES;

/// Has the example of the README compiled.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
pub struct Readme;
