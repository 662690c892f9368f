//! How to replace, what it did, and why it is refused.

use std::collections::BTreeSet;
use std::time::Duration;

use restub_loader::OwnKind;

use crate::state::ModuleId;

/// How to replace.
#[derive(Debug, Clone, Default)]
pub struct Replace {
    pub(crate) whole: BTreeSet<ModuleId>,
    pub(crate) data: Data,
    pub(crate) dangling: bool,
    pub(crate) constructors: Constructors,
    pub(crate) consistency: Consistency,
}

impl Replace {
    /// Functions and variables of the same names are replaced, and those that the new objects do not define stay.
    #[must_use]
    pub fn new() -> Self {
        Replace::default()
    }

    /// The new objects stand for the whole of a module: what they do not define is gone.
    #[must_use]
    pub fn whole(mut self, module: ModuleId) -> Self {
        self.whole.insert(module);
        self
    }

    /// What becomes of the values of variables; [`Data::Keep`] by default.
    #[must_use]
    pub fn data(mut self, data: Data) -> Self {
        self.data = data;
        self
    }

    /// Whether functions may go that others still call. Their stubs lead to the unbound handler then. Refused by default.
    #[must_use]
    pub fn allow_dangling(mut self, allow: bool) -> Self {
        self.dangling = allow;
        self
    }

    /// Whether constructors of the new objects run; [`Constructors::IfNeeded`] by default.
    #[must_use]
    pub fn constructors(mut self, constructors: Constructors) -> Self {
        self.constructors = constructors;
        self
    }

    /// What threads may see while several functions are replaced; [`Consistency::Each`] by default.
    #[must_use]
    pub fn consistency(mut self, consistency: Consistency) -> Self {
        self.consistency = consistency;
        self
    }
}

/// What becomes of the values of variables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Data {
    /// A variable of the same name and size keeps its storage and value, a local one if its source file has the same name
    /// too. A changed size is refused.
    #[default]
    Keep,
    /// Every variable of the new objects starts with its initial value. Code that has the address of an old one goes on
    /// using that.
    Reset,
}

/// Whether constructors run when objects are replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Constructors {
    /// They run if no variable that they refer to is kept, and do not run if no new one needs them. If both are there,
    /// the replacement is refused.
    #[default]
    IfNeeded,
    /// They run, also on the values that are kept.
    Run,
    /// They do not run.
    Skip,
}

/// What threads may see while several functions are replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Consistency {
    /// One function after the other, callees before their callers: a new function finds the new ones that it calls.
    #[default]
    Each,
    /// All at once, for threads that call under a [`Pin`](crate::Pin): new pins wait, those that there are finish, and
    /// then all functions are replaced. If that takes longer than the limit, nothing has changed.
    Drain {
        /// How long to wait.
        limit: Duration,
    },
}

/// What a replacement did.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// The module that the new objects have become; the first, if there are several.
    pub module: ModuleId,
    /// All of them, in the order of [`replace_each`](crate::Session::replace_each).
    pub modules: Vec<ModuleId>,
    /// Each visible function, and each variable, with what became of it.
    pub changes: Vec<Change>,
    /// Modules of which nothing is current any more: they are reclaimed when no thread can be in them.
    pub superseded: Vec<ModuleId>,
    /// Whether the new objects have constructors that were left out, because what they initialize is kept.
    pub constructors_skipped: bool,
}

/// What became of a function or a variable.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Change {
    /// The name.
    pub name: String,
    /// Whether it is a function, a variable, a constant.
    pub kind: OwnKind,
    /// What became of it.
    pub what: What,
}

/// What became of a function or a variable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// A variable kept its storage and value; a function does what it did before; or the definition of another module stands for the name, as before.
    Kept,
    /// There was none of the name.
    New,
    /// Calls reach another definition; or a variable has new storage with its initial value.
    Changed,
    /// The new objects do not define it any more.
    Dropped,
}

/// Why a replacement is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// A variable that is to keep its value has another size.
    #[error(
        "{object}: {symbol} has {after} bytes, and {before} in {module}; a variable of another size cannot keep its value (rename it, or reset all data)"
    )]
    SizeChanged {
        /// The variable.
        symbol: String,
        /// The object that defines it anew.
        object: String,
        /// Its size in bytes as it is.
        before: u64,
        /// The module that it is in.
        module: String,
        /// Its size in bytes in the new object.
        after: u64,
    },
    /// A variable that is to keep its value is in storage that is not aligned as code may rely on.
    #[error(
        "{object}: {symbol} is aligned to {after} bytes, and its storage in {module} to {before} (rename it, or reset all data)"
    )]
    AlignmentChanged {
        /// The variable.
        symbol: String,
        /// The object that defines it anew.
        object: String,
        /// The alignment of its storage in bytes.
        before: u64,
        /// The module that it is in.
        module: String,
        /// The alignment that the new object may rely on.
        after: u64,
    },
    /// A name stands for a function in one and for a variable in the other, or for a thread-local variable.
    #[error("{object}: {symbol} is of another kind than before (function, variable, thread-local variable)")]
    KindChanged {
        /// The name.
        symbol: String,
        /// The object that defines it anew.
        object: String,
    },
    /// Local variables of one name that cannot be told apart.
    #[error(
        "{object}: there are {after} local variables called {symbol}, and there were {before}, so it is not clear which keeps which value (give them names of their own, or reset all data)"
    )]
    StaticsUnclear {
        /// Their name.
        symbol: String,
        /// The new object.
        object: String,
        /// How many there were.
        before: usize,
        /// How many there are.
        after: usize,
    },
    /// A constant that others read directly has another value.
    #[error(
        "{object}: the constant {symbol} has changed, and {} read the old one directly (load them again first, or reset all data)",
        users.join(", ")
    )]
    ConstantChanged {
        /// The constant.
        symbol: String,
        /// The new object.
        object: String,
        /// The modules that are bound to it.
        users: Vec<String>,
    },
    /// A function would be gone that others call.
    #[error("{symbol} would be gone, and is called by {}", callers.join(", "))]
    StillCalled {
        /// The function.
        symbol: String,
        /// The modules that call it.
        callers: Vec<String>,
    },
    /// Constructors would initialize values that are kept along with new variables.
    #[error(
        "{object}: its constructors initialize {new}, which is new, and {kept}, whose value is kept; say whether they are to run"
    )]
    Constructors {
        /// The new module.
        object: String,
        /// A kept variable.
        kept: String,
        /// A new one.
        new: String,
    },
}
