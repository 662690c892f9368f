//! Patches functions of a running, unmodified process, and takes the patch back.
mod apply;
mod arena;
mod bind;
mod counterpart;
mod debug_file;
mod entry;
mod error;
mod inject;
mod module;
mod plan;
mod procfs;
mod ptrace;
mod registry;
mod report;
mod retarget;
mod safety;
mod state;
mod threads;
mod unwind;

pub use apply::{Which, history, patch, plan, revert, status};
pub use entry::Method;
pub use error::{Error, Refusal, Result};
pub use plan::{Consistency, FunctionPlan, Options, PlanReport};
pub use report::{EntryState, Event, FunctionStatus, PatchReport, PatchStatus, RevertReport, Status};
