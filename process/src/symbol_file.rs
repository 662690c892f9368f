//! Files by which debuggers and profilers know the functions of patches.
//!
//! A debugger finds symbols by the dynamic linker's list of files, in which patches are not. It can be told of further
//! files, whose addresses have to be those of the process: these are such files, made of what is in the process.

use restub_loader::{
    Image, ImageSection, ImageSymbol, Placement, SegmentKind, SegmentSize, SymbolBinding, SymbolKind, elf_image,
};

use crate::error::{Error, Result};
use crate::procfs::Procfs;
use crate::registry::PatchRecord;
use crate::state;

/// An ELF file with the functions of one patch: code, symbols, and unwind records, at their addresses.
#[derive(Debug, Clone)]
pub struct SymbolFile {
    /// The patch.
    pub patch: String,
    /// The file's contents, for `add-symbol-file` of gdb and for binary tools.
    pub bytes: Vec<u8>,
}

/// A file for each patch that is applied to a process.
///
/// # Errors
/// If the process cannot be read, or if its records make no sense.
pub fn symbol_files(pid: i32) -> Result<Vec<SymbolFile>> {
    let procfs = state::open(pid)?;
    let (_, records) = state::records(&procfs, &procfs.maps()?)?;
    let files = records.registry.live().map(|patch| {
        Ok(SymbolFile {
            patch: patch.name.clone(),
            bytes: file(&procfs, patch)?,
        })
    });
    files.collect()
}

fn file(procfs: &Procfs, patch: &PatchRecord) -> Result<Vec<u8>> {
    let contents = patch.segments.map(|(address, bytes)| {
        let length = usize::try_from(bytes).ok().filter(|length| *length > 0)?;
        procfs.read_vec(address, length)
    });
    if contents[0].is_none() {
        return Err(Error::Registry {
            pid: procfs.pid,
            reason: format!("the code of patch {} cannot be read", patch.name),
        });
    }
    let sizes = patch.segments.map(|(_, bytes)| SegmentSize {
        filled_bytes: bytes,
        total_bytes: bytes,
        align: 1,
    });
    let image = Image {
        placement: Placement {
            addresses: patch.segments.map(|(address, _)| address),
            sizes,
            id: 0,
        },
        symbols: symbols(patch),
        objects: vec![patch.name.clone()],
        sections: sections(patch),
        ..Image::default()
    };
    let empty = Vec::new();
    Ok(elf_image(
        &image,
        contents
            .each_ref()
            .map(|bytes| bytes.as_ref().unwrap_or(&empty).as_slice()),
    )?)
}

fn symbols(patch: &PatchRecord) -> Vec<ImageSymbol> {
    let symbol = |name: &str, address, size, function| ImageSymbol {
        name: name.into(),
        address,
        size,
        kind: if function {
            SymbolKind::Function
        } else {
            SymbolKind::Data
        },
        binding: SymbolBinding::Strong,
        object: 0,
    };
    let functions = patch.functions.iter().map(|f| symbol(&f.name, f.address, f.size, true));
    let others = patch
        .symbols
        .iter()
        .map(|s| symbol(&s.name, s.address, s.size, s.function));
    functions.chain(others).collect()
}

fn sections(patch: &PatchRecord) -> Vec<ImageSection> {
    let section = |name: &str, segment, (address, size): (u64, u64)| ImageSection {
        name: name.into(),
        object: None,
        index: None,
        segment,
        address,
        size,
        filled: true,
        thread_local: false,
    };
    let all = [
        section(".text", SegmentKind::Code, patch.segments[0]),
        section(".eh_frame", SegmentKind::ReadOnly, patch.eh_frame),
        section(".data", SegmentKind::Data, patch.segments[2]),
    ];
    all.into_iter().filter(|section| section.size > 0).collect()
}
