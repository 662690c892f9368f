//! Settings of a session.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::sync::Arc;

use restub_loader::{Detail, Limits};
use restub_stubs::{Slot, UnboundCall};
use rustc_hash::FxHashMap;

use crate::fork::Operation;
use crate::host::Host;
use crate::lazy::{LazyFailure, LazyHook};
use crate::memory::{ProcessMemory, Protection};
use crate::retire::{Exposed, Reclaim};
use crate::run::Arguments;
use crate::session::Session;
use crate::state::State;
use crate::stubs::{Stubs, UnboundHook};
use crate::unwind::UnwindTables;

/// How a session behaves; [`Session::builder`] makes one.
#[derive(Debug, Clone, Default)]
pub struct Builder {
    pub(crate) protection: Protection,
    pub(crate) detail: Detail,
    pub(crate) limits: Limits,
    pub(crate) gdb: bool,
    pub(crate) perf: bool,
    pub(crate) default_libraries: bool,
    pub(crate) finalize_at_exit: bool,
    pub(crate) arguments: Option<Vec<OsString>>,
    pub(crate) linkage: Linkage,
    pub(crate) slot: Option<Slot>,
    pub(crate) own_directly: bool,
    pub(crate) versions: usize,
    pub(crate) reclaim: Reclaim,
    pub(crate) exposed: Exposed,
    pub(crate) on_unbound: Option<Hook>,
    pub(crate) on_lazy_failure: Option<FailureHook>,
}

/// How modules call each other's functions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Linkage {
    /// Directly, as a linker binds them: nothing is between a caller and a function. Modules can be unloaded.
    #[default]
    Direct,
    /// Through stubs: functions can be [replaced](Session::replace) while they are called.
    Stubs,
}

/// See [`Builder::on_lazy_failure`].
#[derive(Clone)]
pub(crate) struct FailureHook(Arc<LazyHook>);

impl std::fmt::Debug for FailureHook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("FailureHook(..)")
    }
}

/// See [`Builder::on_unbound`].
#[derive(Clone)]
pub(crate) struct Hook(UnboundHook);

impl std::fmt::Debug for Hook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Hook(..)")
    }
}

impl Builder {
    /// How code is written; [`Protection::Strict`] by default.
    #[must_use]
    pub fn protection(mut self, protection: Protection) -> Self {
        self.protection = protection;
        self
    }

    /// How much [`Session::image`] tells; [`Detail::Minimal`] by default.
    #[must_use]
    pub fn detail(mut self, detail: Detail) -> Self {
        self.detail = detail;
        self
    }

    /// Whether gdb is told of modules, with the debug information of their objects; not by default.
    ///
    /// Code is in [private](Protection::Private) memory then, since the kernel lets no debugger write breakpoints into
    /// shared memory. gdb has to find the symbol `__jit_debug_descriptor` in the host program, so that must not be
    /// stripped.
    #[must_use]
    pub fn gdb(mut self, gdb: bool) -> Self {
        self.gdb = gdb;
        self
    }

    /// Whether perf is told of functions, by `/tmp/perf-PID.map`; not by default.
    #[must_use]
    pub fn perf(mut self, perf: bool) -> Self {
        self.perf = perf;
        self
    }

    /// Limits on what objects may ask for.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Whether libraries that compilers' drivers link by default (libm, libgcc, libstdc++ and the like) are opened when
    /// a symbol is found nowhere else; not by default.
    #[must_use]
    pub fn default_libraries(mut self, by_need: bool) -> Self {
        self.default_libraries = by_need;
        self
    }

    /// Whether destructors of modules that are still loaded run when the process exits; not by default.
    #[must_use]
    pub fn finalize_at_exit(mut self, at_exit: bool) -> Self {
        self.finalize_at_exit = at_exit;
        self
    }

    /// What constructors and [`Session::run_main`] get as `argv`; by default the host's own arguments.
    #[must_use]
    pub fn arguments(mut self, arguments: impl IntoIterator<Item = OsString>) -> Self {
        self.arguments = Some(arguments.into_iter().collect());
        self
    }

    /// How modules call each other's functions; [`Linkage::Direct`] by default.
    #[must_use]
    pub fn linkage(mut self, linkage: Linkage) -> Self {
        self.linkage = linkage;
        self
    }

    /// The layout of stubs. By default [`Slot::Inline`] with [`Protection::Strict`], so that what a stub leads to is
    /// writable at no address, and [`Slot::Split`] else: a call costs the same, and storing a target does not clear the
    /// pipelines of processors that are executing the jump beside it. [`Protection::Private`] allows no other.
    #[must_use]
    pub fn slot(mut self, slot: Slot) -> Self {
        self.slot = Some(slot);
        self
    }

    /// Whether objects call their own functions directly: faster by the stub's jump, but then a function can be
    /// replaced for its own object's calls only together with that object. Not by default.
    #[must_use]
    pub fn own_calls_directly(mut self, directly: bool) -> Self {
        self.own_directly = directly;
        self
    }

    /// How many superseded versions of a module are kept for a [rollback](Session::rollback); none by default.
    #[must_use]
    pub fn versions(mut self, versions: usize) -> Self {
        self.versions = versions;
        self
    }

    /// How the session knows that no thread can be in a superseded module; [`Reclaim::Epochs`] by default.
    #[must_use]
    pub fn reclaim(mut self, reclaim: Reclaim) -> Self {
        self.reclaim = reclaim;
        self
    }

    /// What becomes of the parts of superseded modules whose addresses may be in memory; [`Exposed::Keep`] by default.
    #[must_use]
    pub fn exposed(mut self, exposed: Exposed) -> Self {
        self.exposed = exposed;
        self
    }

    /// Called when a function is called that has no definition any more; the process is aborted if it returns. By default
    /// the function's name goes to standard error first.
    #[must_use]
    pub fn on_unbound(mut self, hook: impl Fn(&UnboundCall<'_>) + Send + Sync + 'static) -> Self {
        self.on_unbound = Some(Hook(Arc::new(hook)));
        self
    }

    /// Called when a [lazy](Session::define_lazy) function could not be compiled, on the thread that called it: it says
    /// where that call goes instead, or the process is aborted with a message. It may also unwind into the caller. By
    /// default the process is aborted.
    #[must_use]
    pub fn on_lazy_failure(mut self, hook: impl Fn(&LazyFailure<'_>) -> Option<u64> + Send + Sync + 'static) -> Self {
        self.on_lazy_failure = Some(FailureHook(Arc::new(hook)));
        self
    }

    /// Makes the session. Address space is reserved by the first load.
    #[must_use]
    pub fn build(self) -> Session {
        let _operation = Operation::begin();
        let mut host = Host::default();
        let protection = if self.gdb { Protection::Private } else { self.protection };
        let memory = ProcessMemory::new(protection, host.library_range());
        let arguments = Arguments::new(self.arguments.clone().unwrap_or_else(|| std::env::args_os().collect()));
        let state = State {
            memory,
            unwind: UnwindTables::new(!host.has_version("libgcc_s.so", "GCC_13.0.0")),
            host,
            modules: BTreeMap::new(),
            symbols: FxHashMap::default(),
            spares: FxHashMap::default(),
            lingering: Vec::new(),
            kept: Vec::new(),
            kept_bytes: 0,
            turn: None,
            stubs: (self.linkage == Linkage::Stubs).then(|| self.stubs(protection)),
            absolutes: FxHashMap::default(),
            next_module: 0,
            tried: Vec::new(),
        };
        Session::assemble(state, self, arguments)
    }

    fn stubs(&self, protection: Protection) -> Stubs {
        let default = match protection {
            Protection::Strict => Slot::Inline,
            Protection::Fast | Protection::Private => Slot::Split,
        };
        let hook = self.on_unbound.as_ref().map(|hook| Arc::clone(&hook.0));
        let on_failure = self.on_lazy_failure.as_ref().map(|hook| Arc::clone(&hook.0));
        Stubs::new(self.slot.unwrap_or(default), hook, on_failure)
    }
}
