//! What can go wrong in a session.

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
}

impl From<restub_loader::MemoryError> for Error {
    fn from(error: restub_loader::MemoryError) -> Self {
        Error::Link(error.into())
    }
}
