//! Loads compiled x86-64 objects into a running process.

mod builtins;
mod error;
mod function;
mod host;
mod libraries;
mod library_tls;
mod memory;
mod run;
mod session;
mod tls;
mod unwind;

pub use error::{Error, Result};
pub use function::{Function, FunctionPointer};
pub use memory::Protection;
pub use restub_loader as loader;
pub use session::{Builder, ModuleId, Session, Stats, Symbol, host_symbol};
pub use tls::STATIC_RESERVE_BYTES;
