//! The result of a link: where everything is.

use crate::memory::{Placement, SegmentKind, TlsPlacement};
use crate::own::{Exposed, OwnKind};
use crate::resolver::Target;

/// A linked image. Its bytes are in the [`Memory`](crate::Memory) that it was linked into.
#[derive(Debug, Default)]
pub struct Image {
    /// The memory of its segments.
    pub placement: Placement,
    /// The global symbols that other images may bind to; with [`Detail::Full`] also local and synthetic ones.
    pub symbols: Vec<ImageSymbol>,
    /// The objects that were linked, archive members included, in link order.
    pub objects: Vec<String>,
    /// Functions to run before those of `init`.
    pub preinit: Vec<FunctionArray>,
    /// Functions to run at the start, in this order.
    pub init: Vec<FunctionArray>,
    /// Functions to run at the end, in the *reverse* of this order.
    pub fini: Vec<FunctionArray>,
    /// IFUNCs, whose resolvers have to be called before anything else in the image.
    pub ifuncs: Vec<Ifunc>,
    /// Address and size of the unwind table, without the 4 zero bytes that end it.
    pub eh_frame: Option<(u64, u64)>,
    /// The thread-local block.
    pub tls: Option<ImageTls>,
    /// The address of `__dso_handle`, if something refers to it.
    pub dso_handle: Option<u64>,
    /// With [`Detail::Full`]: the sections of the image.
    pub sections: Vec<ImageSection>,
    /// With [`Options::trace`](crate::Options::trace): each relocation, as it was applied.
    pub relocations: Vec<AppliedRelocation>,
    /// With [`Options::debug`](crate::Options::debug): the debug sections of all objects, joined by name.
    pub debug: Vec<DebugSection>,
    /// If the resolver [rebinds](crate::Resolver::rebinds): what it was asked about, in that order.
    pub definitions: Vec<ImageDefinition>,
    /// If the resolver rebinds: where code and data refer to these definitions.
    pub references: Vec<ImageReference>,
    /// If the resolver rebinds: what may have gone elsewhere by its address.
    pub exposed: Exposed,
}

/// An own definition of an image, and what references to it got.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageDefinition {
    /// The name.
    pub name: Box<str>,
    /// The source file of a local definition, where the object tells.
    pub file: Option<Box<str>>,
    /// What it is.
    pub kind: OwnKind,
    /// Whether and how other images may bind to it.
    pub binding: SymbolBinding,
    /// The address of the definition itself; for thread-local variables the offset in the image's thread-local block.
    pub address: u64,
    /// The size in bytes.
    pub size: u64,
    /// For functions, a number for what they do: two versions with the same number are the same, wherever they are. Of
    /// two with different numbers one may only lie differently among its neighbours. 0 for everything else.
    pub fingerprint: u64,
    /// What references get instead.
    pub rebound: Option<Target>,
}

/// A reference to an own definition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ImageReference {
    /// The address of the field.
    pub place: u64,
    /// The definition, by its place in [`Image::definitions`].
    pub definition: u32,
}

/// How much an [`Image`] tells of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Detail {
    /// What binding and running need.
    #[default]
    Minimal,
    /// Also sections, local symbols, and synthetic ones for the entries that were made: `NAME@GOT`, `NAME@PLT` with the
    /// `NAME@GOTPLT` that it jumps through, and `NAME@TLSGD`, `NAME@GOTTPOFF` and `NAME@TLSDESC`.
    Full,
}

/// A symbol of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageSymbol {
    /// The name.
    pub name: Box<str>,
    /// The address; for thread-local symbols the offset in the image's thread-local block.
    pub address: u64,
    /// The size in bytes.
    pub size: u64,
    /// What it is.
    pub kind: SymbolKind,
    /// Whether and how others may bind to it.
    pub binding: SymbolBinding,
    /// The object that defines it, by its place in [`Image::objects`].
    pub object: u32,
}

/// What a symbol is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SymbolKind {
    /// A function, an IFUNC's PLT entry included.
    Function,
    /// A variable or constant.
    Data,
    /// A thread-local variable.
    Tls,
    /// An address of no section.
    Absolute,
    /// A GOT slot or PLT entry that the linker made.
    Synthetic,
}

/// Whether and how other images may bind to a symbol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SymbolBinding {
    /// They may not: it is local or hidden.
    Local,
    /// They may, and no other image may define it strongly.
    Strong,
    /// They may, and another image's definition may stand beside it.
    Weak,
}

/// One section of `.init_array` or its kin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FunctionArray {
    /// The address of the first pointer.
    pub address: u64,
    /// How many pointers.
    pub count: u64,
    /// Whether the array is read from its end (`.ctors`, `.dtors`).
    pub backwards: bool,
}

/// An IFUNC of the image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ifunc {
    /// The resolver, which returns the implementation's address.
    pub resolver: u64,
    /// The GOT word to put that into.
    pub slot: u64,
}

/// The thread-local block of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ImageTls {
    /// Where the block is.
    pub placement: TlsPlacement,
    /// The address of the initial contents.
    pub template: u64,
    /// Bytes of initial contents; the rest of the block starts as zeros.
    pub filled_bytes: u64,
    /// Size of the block in bytes.
    pub size_bytes: u64,
    /// Alignment in bytes.
    pub align: u64,
}

/// A section of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageSection {
    /// The name.
    pub name: Box<str>,
    /// The object it comes from, by its place in [`Image::objects`]; `None` for what the linker made.
    pub object: Option<u32>,
    /// Its index in that object.
    pub index: Option<u32>,
    /// The segment it is in.
    pub segment: SegmentKind,
    /// The address.
    pub address: u64,
    /// The size in bytes.
    pub size: u64,
    /// Whether it has contents.
    pub filled: bool,
    /// Whether it is a part of the thread-local block's initial contents; without contents, what follows in memory has
    /// the same addresses.
    pub thread_local: bool,
}

/// A debug section, relocated: references to code and data are addresses, those to debug sections are offsets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DebugSection {
    /// The name, such as `.debug_info`.
    pub name: Box<str>,
    /// The contents, decompressed.
    pub bytes: Vec<u8>,
}

/// One relocation, as it was applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppliedRelocation {
    /// The object, by its place in [`Image::objects`].
    pub object: u32,
    /// The section's index in the object.
    pub section: u32,
    /// The offset in the section.
    pub offset: u64,
    /// The psABI's name of the type.
    pub name: &'static str,
    /// The symbol.
    pub symbol: String,
    /// The addend.
    pub addend: i64,
    /// The value in the field, or in the shorter field of a relaxed instruction.
    pub value: u64,
    /// What the symbol was bound to.
    pub binding: RelocationBinding,
}

/// What a relocation was bound to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RelocationBinding {
    /// The symbol itself.
    Direct,
    /// A PLT entry.
    Plt,
    /// A GOT word or pair.
    Got,
    /// The symbol itself, by a rewritten instruction.
    Relaxed,
    /// A private copy of a library's variable.
    Copy,
    /// Nothing: a weak symbol that nothing defines.
    Null,
}
