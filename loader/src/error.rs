//! What can go wrong, always with the place: object, section, offset, symbol and reason.

use std::fmt;
use std::path::PathBuf;

use crate::relocation::Fit;

/// A result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why inputs could not be read or linked. An error leaves nothing behind: no memory, no definition.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file could not be read.
    #[error("{}: cannot be read", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// The input is of a kind that restub does not load, with what to do about it.
    #[error("{object}: {what}; {remedy}")]
    Unsupported {
        /// The object.
        object: String,
        /// What it is or contains.
        what: String,
        /// What its author can do.
        remedy: &'static str,
    },
    /// The file contradicts the ELF or archive format.
    #[error("{object}: malformed: {reason}")]
    Malformed {
        /// The object.
        object: String,
        /// What does not hold.
        reason: String,
    },
    /// One relocation cannot be applied.
    #[error("{place}: {kind} against {symbol}: {reason}")]
    Relocation {
        /// Where the relocation stands.
        place: Box<Place>,
        /// The psABI's name of the type, or its number.
        kind: String,
        /// The symbol, or the section it stands for.
        symbol: String,
        /// Why it cannot be applied.
        reason: RelocationError,
    },
    /// Symbols that nothing defines: all of them, in the order in which they are first wanted.
    #[error("{}", UndefinedList(.0))]
    Undefined(Vec<Undefined>),
    /// Two objects define a symbol strongly.
    #[error("{second}: duplicate definition of {symbol}, which {first} defines already")]
    Duplicate {
        /// The symbol.
        symbol: String,
        /// The object whose definition was met first.
        first: String,
        /// The object that defines it again.
        second: String,
    },
    /// A documented limit is exceeded; see [`Limits`](crate::Limits).
    #[error("{object}: {what} of {value:#x} exceeds the limit of {limit:#x}")]
    Limit {
        /// The object, or `image` for a total.
        object: String,
        /// What is too large.
        what: String,
        /// Its value, in the unit of the limit.
        value: u64,
        /// The limit.
        limit: u64,
    },
    /// The target memory refused.
    #[error(transparent)]
    Memory(#[from] MemoryError),
}

/// Where something stands in the input: `a.o: .text+0x1f`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The object.
    pub object: String,
    /// The section's name.
    pub section: String,
    /// The offset in the section, in bytes.
    pub offset: u64,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}+{:#x}", self.object, self.section, self.offset)
    }
}

/// Why one relocation cannot be applied.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RelocationError {
    /// The type's number is none of the psABI's.
    #[error("unknown relocation type")]
    UnknownType,
    /// The psABI allows the type in executables and shared objects only.
    #[error("the type is for dynamic linking only and has no meaning in a relocatable object")]
    DynamicOnly,
    /// The field lies outside its section.
    #[error("the {width} byte field lies outside the section of {size:#x} bytes")]
    OutsideSection {
        /// The field's width in bytes.
        width: u8,
        /// The section's size in bytes.
        size: u64,
    },
    /// The section occupies no bytes in the file, so nothing can be written to it.
    #[error("the section has no contents")]
    NoContents,
    /// The symbol index lies outside the symbol table.
    #[error("symbol index {0} lies outside the symbol table")]
    NoSuchSymbol(u32),
    /// The value does not fit the field.
    #[error("{value:#x} does not fit {} bits {fit}{hint}", u32::from(*width) * 8)]
    OutOfRange {
        /// The value, as computed modulo 2^64.
        value: u64,
        /// The field's width in bytes.
        width: u8,
        /// How the field is interpreted.
        fit: Fit,
        /// What to do about it; empty, or starts with a separator.
        hint: &'static str,
    },
    /// A thread-local relocation against an ordinary symbol.
    #[error("a thread-local relocation against a symbol that is not thread-local")]
    NotThreadLocal,
    /// An ordinary relocation against a thread-local symbol.
    #[error("the symbol is thread-local, the relocation is not")]
    ThreadLocal,
    /// Local-dynamic code for a variable of another module.
    #[error(
        "the code looks for the variable in its own module's thread-local block, but another module defines it; compile with -ftls-model=global-dynamic"
    )]
    OtherModule,
    /// Static TLS was asked of a variable that has none.
    #[error(
        "the code wants a fixed offset from the thread pointer, but {0}; compile with -fPIC -ftls-model=global-dynamic"
    )]
    NoStaticTls(&'static str),
    /// The symbol's section belongs to a COMDAT group of which another object's copy was chosen.
    #[error("the symbol is local to a section that was discarded with its group")]
    Discarded,
    /// A copy of a library's variable in low memory would go stale.
    #[error(
        "non-PIC code reads the library's variable at {0:#x}, which is out of its reach, and a private copy would go stale; compile with -fPIC or -fPIE"
    )]
    StaleCopy(u64),
    /// A reference by section and offset, to where one variable ends and another starts, one of which is kept elsewhere.
    #[error(
        "the field may mean the end of {end} or the start of {start}, which are not in the same storage any more; compile with -fdata-sections"
    )]
    EndOrStart {
        /// The variable that ends there.
        end: String,
        /// The variable that starts there.
        start: String,
    },
    /// A reference by section and offset, from an instruction whose length is not clear.
    #[error(
        "the instruction can be read in two ways, so it is not clear which variable of the section it means, and not all of them keep their storage; compile with -fdata-sections"
    )]
    UnknownVariable,
}

/// A symbol that nothing defines, with who wants it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Undefined {
    /// The symbol, with `@VERSION` where one is asked for.
    pub symbol: String,
    /// The objects that refer to it.
    pub wanted_by: Vec<String>,
    /// What usually provides it; empty where that is not known.
    pub hint: &'static str,
}

struct UndefinedList<'a>(&'a [Undefined]);

impl fmt::Display for UndefinedList<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, undefined) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            write!(
                f,
                "undefined symbol {}, wanted by {}",
                undefined.symbol,
                undefined.wanted_by.join(", ")
            )?;
            if !undefined.hint.is_empty() {
                write!(f, " ({})", undefined.hint)?;
            }
        }
        Ok(())
    }
}

/// Why memory for an image is not to be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MemoryError {
    /// No free address range of that size where the code can run.
    #[error("no free range of {size_bytes:#x} bytes {placement}")]
    NoSpace {
        /// Bytes asked for.
        size_bytes: u64,
        /// Where, in words.
        placement: &'static str,
    },
    /// Not enough room in the reserve of static thread-local storage.
    #[error(
        "{wanted_bytes} bytes of static thread-local storage wanted, {free_bytes} left in the reserve; compile with -fPIC -ftls-model=global-dynamic"
    )]
    StaticTls {
        /// Bytes asked for.
        wanted_bytes: u64,
        /// Bytes left.
        free_bytes: u64,
    },
    /// The system refused.
    #[error("{operation}: {reason}")]
    System {
        /// The operation, such as `mmap`.
        operation: &'static str,
        /// The system's reason.
        reason: String,
    },
    /// This memory does not offer what the image needs.
    #[error("{0}")]
    Refused(&'static str),
}
