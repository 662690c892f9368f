//! What a symbol name is bound to outside of what is being linked.

use crate::error::MemoryError;
use crate::memory::{Memory, Window};
use crate::own::{Own, Rebind};

/// Says what names are bound to beyond the inputs of one link.
///
/// A link asks for each name at most once a method. Names are the bytes of the object's string table.
pub trait Resolver {
    /// The definition in an image linked before, which wins over archives, and over weak definitions of the inputs.
    fn earlier(&mut self, name: &[u8]) -> Option<Target>;

    /// The definition that the surroundings give: absolute symbols, the host program, shared libraries.
    fn external(&mut self, request: Request<'_>) -> Option<Target>;

    /// Whether [`rebind`](Resolver::rebind) is to be asked about the inputs' own definitions; weak ones then do not give
    /// way to [earlier](Resolver::earlier) ones by themselves.
    fn rebinds(&self) -> bool {
        false
    }

    /// Where references to the inputs' own definitions go: an answer for each, in their order.
    fn rebind(&mut self, definitions: &[Own<'_>]) -> Vec<Rebind> {
        vec![Rebind::Own; definitions.len()]
    }

    /// The address that stands for an own function of which [`rebind`](Resolver::rebind) said [`Rebind::Stub`]. Best
    /// if code in `window`, where the image will be, reaches it. Stubs may take memory of their own from `memory`.
    ///
    /// # Errors
    /// [`MemoryError`] with the reason; the link fails.
    fn stub(&mut self, name: &[u8], window: Window, memory: &mut dyn Memory) -> Result<u64, MemoryError> {
        let _ = (name, window, memory);
        Err(MemoryError::Refused("there are no stubs here"))
    }
}

/// A name that something outside has to define.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Request<'a> {
    /// The name, without a version.
    pub name: &'a [u8],
    /// What stands behind the `@` of a `.symver` name.
    pub version: Option<&'a [u8]>,
    /// Whether the link succeeds without a definition.
    pub weak: bool,
    /// Whether code wants the fixed offset of a thread-local variable from the thread pointer.
    pub fixed_offset: bool,
}

/// Resolves nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoSymbols;

impl Resolver for NoSymbols {
    fn earlier(&mut self, _name: &[u8]) -> Option<Target> {
        None
    }

    fn external(&mut self, _request: Request<'_>) -> Option<Target> {
        None
    }
}

/// A definition outside of what is being linked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Target {
    /// The address; for thread-local symbols the offset in the module's block.
    pub address: u64,
    /// The size in bytes, 0 where it is not known.
    pub size: u64,
    /// What is there.
    pub kind: TargetKind,
}

/// What a [`Target`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TargetKind {
    /// A function: a call may go through a PLT entry.
    Function,
    /// A variable or constant.
    Data(CopyRule),
    /// An address of which nothing is known, such as an absolute symbol.
    Absolute,
    /// A thread-local variable.
    Tls {
        /// The module, as `__tls_get_addr` wants it.
        module: u64,
        /// The module's block as an offset from the thread pointer, if that is the same for every thread.
        block_offset: Option<i64>,
    },
}

/// Whether non-PIC code out of reach of a library's variable may work on a private copy of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CopyRule {
    /// The bytes do not change any more, or a change does not matter.
    Harmless,
    /// The copy starts as zeros, whatever the original holds.
    Zeroed,
    /// The copy would go stale.
    Stale,
}
