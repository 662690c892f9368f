//! What is told of a process and of what was done to it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::plan::PlanReport;

/// What was done by [`patch`](crate::patch).
#[derive(Debug, Clone)]
pub struct PatchReport {
    /// The plan that was carried out.
    pub plan: PlanReport,
    /// How long threads stood to switch, from the first one stopped to the last one resumed; `None` if none was.
    pub stop: Option<Duration>,
    /// How often that was tried.
    pub attempts: u32,
    /// Threads that were stopped.
    pub threads: usize,
}

/// What was done by [`revert`](crate::revert).
#[derive(Debug, Clone)]
pub struct RevertReport {
    /// The process.
    pub pid: i32,
    /// The patches that were reverted.
    pub patches: Vec<String>,
    /// Functions whose entry is again as it was.
    pub restored: Vec<String>,
    /// How long threads stood.
    pub stop: Option<Duration>,
    /// The patches that threads are still in; they leave them, and enter them no more.
    pub lingering: Vec<String>,
}

/// What is patched in a process.
#[derive(Debug, Clone)]
pub struct Status {
    /// The process.
    pub pid: i32,
    /// Its executable.
    pub executable: String,
    /// Whether restub was ever here.
    pub patched_before: bool,
    /// The patches that are applied, in order.
    pub patches: Vec<PatchStatus>,
    /// The functions that are redirected, or were.
    pub functions: Vec<FunctionStatus>,
    /// Bytes of address space that restub has mapped in the process.
    pub mapped_bytes: u64,
    /// Bytes of patches that were reverted and are kept.
    pub retained_bytes: u64,
}

/// A patch that is applied.
#[derive(Debug, Clone)]
pub struct PatchStatus {
    /// The name.
    pub name: String,
    /// SHA-256 of its files.
    pub hash: String,
    /// Its files.
    pub files: Vec<String>,
    /// When it was applied, in seconds since 1970.
    pub time: u64,
    /// The functions that it replaces.
    pub functions: Vec<String>,
    /// Bytes that it takes.
    pub bytes: u64,
    /// The patches that it uses.
    pub depends: Vec<String>,
}

/// A function that is redirected, or was.
#[derive(Debug, Clone)]
pub struct FunctionStatus {
    /// The name.
    pub name: String,
    /// Its executable or library.
    pub module: String,
    /// That one's build-id.
    pub build_id: String,
    /// The function's address.
    pub address: u64,
    /// What its entry holds, by a look at it.
    pub entry: EntryState,
    /// The patch whose version runs; `None` if it is the original.
    pub runs: Option<String>,
    /// Address of the version that runs.
    pub runs_at: u64,
    /// The patches of it, the newest last.
    pub stack: Vec<String>,
    /// The bytes that stood at the entry.
    pub original: Vec<u8>,
}

/// What a function's entry holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryState {
    /// The jump.
    Redirected,
    /// What the compiler made.
    Original,
    /// Something that restub did not write.
    Foreign,
}

impl EntryState {
    /// How reports call it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            EntryState::Redirected => "redirected",
            EntryState::Original => "original",
            EntryState::Foreign => "foreign",
        }
    }
}

/// Something that was done to a process.
#[derive(Debug, Clone)]
pub struct Event {
    /// Seconds since 1970.
    pub time: u64,
    /// `patch` or `revert`.
    pub action: String,
    /// The patch.
    pub patch: String,
    /// SHA-256 of its files.
    pub hash: String,
    /// How many functions it replaces.
    pub functions: usize,
    /// How long threads stood for it; `None` if none did, or if the patcher was killed before it said so.
    pub stop: Option<Duration>,
    /// The user who did it.
    pub user: u32,
}

/// Seconds since 1970.
pub(crate) fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}
