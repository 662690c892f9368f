//! What can go wrong in a session.

use std::time::Duration;

use crate::replacement::Refusal;

/// A result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a session refused. The session is as it was before.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The objects could not be read or linked.
    #[error(transparent)]
    Link(#[from] restub_loader::Error),
    /// A shared library could not be opened.
    #[error("{0}")]
    Library(String),
    /// No module defines the symbol.
    #[error("no module defines {0}")]
    NoSuchSymbol(String),
    /// The symbol is not a function.
    #[error("{0} is not a function")]
    NotAFunction(String),
    /// There is no such module, or not any more.
    #[error("there is no such module")]
    NoSuchModule,
    /// Other modules are bound to the module.
    #[error("{module} is in use by {}", users.join(", "))]
    InUse {
        /// The module.
        module: String,
        /// The modules that are bound to it.
        users: Vec<String>,
    },
    /// The session was built without stubs.
    #[error("functions can be replaced only in a session with stubs")]
    NoStubs,
    /// A replacement is refused, for every one of these reasons.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Refused(Vec<Refusal>),
    /// Pinned threads did not finish in time.
    #[error("{} did not finish within {limit:?}", pinned.as_deref().unwrap_or("a pinned thread"))]
    Drain {
        /// How long they had.
        limit: Duration,
        /// The thread that has been pinned for longest.
        pinned: Option<String>,
    },
    /// The calling thread is replacing or unloading a module already: its constructors or destructors may not do that.
    #[error("a constructor or destructor may not replace or unload modules")]
    Nested,
    /// Nothing is there that could come back.
    #[error("{0}")]
    NoRollback(String),
    /// A function that was to be compiled on its first call is there already.
    #[error("{0} is defined already")]
    Defined(String),
    /// The objects of a function that is compiled on its first call could not be had.
    #[error("{0}")]
    Compile(Box<dyn std::error::Error + Send + Sync>),
    /// The session of a function that is compiled on its first call has been dropped.
    #[error("the session is gone")]
    Gone,
    /// Threads could not be scanned.
    #[error("memory cannot be reclaimed: {0}")]
    Scan(#[from] restub_stubs::ScanError),
}

impl From<restub_loader::MemoryError> for Error {
    fn from(error: restub_loader::MemoryError) -> Self {
        Error::Link(error.into())
    }
}
