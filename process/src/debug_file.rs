//! Where the symbols of a stripped module are: in a compressed section of its own, or in a separate file.

use std::fs;
use std::path::{Path, PathBuf};

use object::LittleEndian as LE;
use object::elf;
use object::read::elf::{FileHeader as _, SectionHeader as _};

use crate::module::{self, Module};
use crate::procfs::Procfs;

type FileHeader = elf::FileHeader64<LE>;

/// Folders of separate debug files.
const FOLDERS: [&str; 2] = ["/usr/lib/debug", "/usr/local/lib/debug"];

/// A file with debug information.
#[derive(Debug)]
pub(crate) struct DebugFile {
    /// As the process sees it.
    pub(crate) path: PathBuf,
    pub(crate) bytes: Vec<u8>,
}

/// Where paths of a process lead to: in its root folder, and in restub's own.
pub(crate) fn roots(procfs: &Procfs) -> [PathBuf; 2] {
    [procfs.path("root"), PathBuf::from("/")]
}

/// The files of this path, in all roots that have one. A name that stands in a file may be that of anything; what is no
/// file may have no end.
pub(crate) fn read<'r>(roots: &'r [PathBuf], path: &Path) -> impl Iterator<Item = Vec<u8>> + use<'r> {
    let relative = path.strip_prefix("/").unwrap_or(path).to_owned();
    let paths = roots.iter().map(move |root| root.join(&relative));
    let files = paths.filter(|path| fs::metadata(path).is_ok_and(|metadata| metadata.is_file()));
    files.filter_map(|path| fs::read(path).ok())
}

/// Where a file with this build-id is, in each folder of debug files.
pub(crate) fn by_build_id(build_id: &[u8]) -> Vec<PathBuf> {
    let [first, rest @ ..] = build_id else {
        return Vec::new();
    };
    let hex: String = rest.iter().map(|byte| format!("{byte:02x}")).collect();
    let name = format!(".build-id/{first:02x}/{hex}.debug");
    FOLDERS.iter().map(|folder| Path::new(folder).join(&name)).collect()
}

/// A file with the symbol table of a stripped module.
///
/// Looked for as gdb does: by build-id, then by the name and checksum of `.gnu_debuglink`, in the root folder of the
/// process and in restub's own; last comes the module's own `.gnu_debugdata`, which has functions only.
pub(crate) fn find(procfs: &Procfs, module: &Module) -> Option<DebugFile> {
    let roots = roots(procfs);
    for path in by_build_id(&module.build_id) {
        let mut files = read(&roots, &path);
        if let Some(bytes) = files.find(|bytes| module::build_id_of(bytes).as_ref() == Some(&module.build_id)) {
            return Some(DebugFile { path, bytes });
        }
    }
    let header = FileHeader::parse(&*module.bytes).ok()?;
    let sections = header.sections(LE, &*module.bytes).ok()?;
    let link = sections.section_by_name(LE, b".gnu_debuglink");
    let link = link.and_then(|(_, section)| section.data(LE, &*module.bytes).ok());
    if let Some((name, checksum)) = link.and_then(debug_link) {
        let folder = module.path.parent().unwrap_or(Path::new("/"));
        let mut places = vec![folder.join(&name), folder.join(".debug").join(&name)];
        places.extend(FOLDERS.map(|debug| {
            Path::new(debug)
                .join(folder.strip_prefix("/").unwrap_or(folder))
                .join(&name)
        }));
        for path in places {
            if let Some(bytes) = read(&roots, &path).find(|bytes| crc32(bytes) == checksum) {
                return Some(DebugFile { path, bytes });
            }
        }
    }
    let (_, section) = sections.section_by_name(LE, b".gnu_debugdata")?;
    let packed = section.data(LE, &*module.bytes).ok()?;
    let bytes = unpack(packed)?;
    let path = module.path.clone();
    Some(DebugFile { path, bytes })
}

/// What is in an `.xz` file, which may be short and stand for more than there is memory.
fn unpack(packed: &[u8]) -> Option<Vec<u8>> {
    const MOST_BYTES: usize = 1 << 30;
    struct Limited(Vec<u8>);
    impl std::io::Write for Limited {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            if self.0.len() + bytes.len() > MOST_BYTES {
                return Err(std::io::ErrorKind::FileTooLarge.into());
            }
            self.0.write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let mut unpacked = Limited(Vec::new());
    lzma_rs::xz_decompress(&mut &*packed, &mut unpacked).ok()?;
    Some(unpacked.0)
}

/// The name and the checksum in `.gnu_debuglink`: the checksum follows the name's zero byte at a multiple of 4.
fn debug_link(bytes: &[u8]) -> Option<(String, u32)> {
    let length = bytes.iter().position(|byte| *byte == 0)?;
    let at = (length + 1).next_multiple_of(4);
    let checksum = bytes.get(at..at + 4)?.try_into().ok()?;
    Some((
        String::from_utf8_lossy(&bytes[..length]).into_owned(),
        u32::from_le_bytes(checksum),
    ))
}

/// The checksum of `.gnu_debuglink`: CRC-32 as in zlib.
fn crc32(bytes: &[u8]) -> u32 {
    const POLYNOMIAL: u32 = 0xedb8_8320;
    let table: Vec<u32> = (0..256_u32)
        .map(|byte| {
            (0..8).fold(byte, |value, _| {
                (value >> 1) ^ (POLYNOMIAL & (value & 1).wrapping_neg())
            })
        })
        .collect();
    !bytes.iter().fold(!0, |sum, byte| {
        (sum >> 8) ^ table[((sum ^ u32::from(*byte)) & 0xff) as usize]
    })
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_checksum_is_that_of_zlib() {
        assert_eq!(super::crc32(b"123456789"), 0xcbf4_3926);
        assert_eq!(super::crc32(b""), 0);
    }
}
