//! Links x86-64 ELF relocatable objects and archives into an image, for any address, in any memory.

mod apply;
mod archive;
mod compressed;
mod debug;
mod elf_image;
mod error;
mod fingerprint;
mod foreign;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod image;
mod input;
mod layout;
mod limits;
mod link;
mod memory;
mod object;
mod own;
mod relocation;
mod resolver;
mod scan;
mod supplied;
mod unit;

pub use archive::Archive;
pub use compressed::decompress;
pub use elf_image::elf_image;
pub use error::{Error, MemoryError, Place, RelocationError, Result, Undefined};
pub use image::{
    AppliedRelocation, DebugSection, Detail, FunctionArray, Ifunc, Image, ImageDefinition, ImageReference,
    ImageSection, ImageSymbol, ImageTls, RelocationBinding, SymbolBinding, SymbolKind,
};
pub use input::Input;
pub use limits::Limits;
pub use link::{Options, link};
pub use memory::{
    BufferMemory, Memory, PAGE_BYTES, Placement, Reach, SegmentKind, SegmentSize, TlsDescriptors, TlsPlacement,
    TlsRequest, Window,
};
pub use object::{Group, Object, ObjectSymbol, Relocation, Relocations, Section, SymbolPlace, is_loaded};
pub use own::{Exposed, Own, OwnKind, Rebind};
pub use relocation::{Fit, Formula, Need, RELAXATIONS, ROWS, Relaxation, Row, Values};
pub use resolver::{CopyRule, NoSymbols, Request, Resolver, Target, TargetKind};
