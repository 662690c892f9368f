//! Where objects and archives come from: files, mapped or read, and bytes in memory.

use std::borrow::Cow;
use std::fs::File;
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};

use memmap2::Mmap;

use crate::error::{Error, Result};

/// Files below this size are read: that costs less than mapping and unmapping them.
const MAP_FROM_BYTES: u64 = 64 * 1024;

/// One file to link: an object or an archive.
#[derive(Debug)]
pub struct Input<'data> {
    name: String,
    contents: Contents<'data>,
    /// The files that a thin archive names, in the order of its members.
    thin_members: Vec<Input<'data>>,
}

#[derive(Debug)]
enum Contents<'data> {
    Bytes(Cow<'data, [u8]>),
    Mapped(Mmap),
}

impl<'data> Input<'data> {
    /// Takes the bytes of an object or archive. `name` is what messages call it.
    #[must_use]
    pub fn from_bytes(name: impl Into<String>, bytes: impl Into<Cow<'data, [u8]>>) -> Self {
        Input {
            name: name.into(),
            contents: Contents::Bytes(bytes.into()),
            thin_members: Vec::new(),
        }
    }

    /// Reads a file, or maps it where it is large; for a thin archive its members as well.
    ///
    /// A mapped file has to keep its contents until the load has finished. Compilers and `ar` write a new file in
    /// place of the old one, or write whole files at once, and so keep that promise; [`Input::from_bytes`] is for
    /// files that something truncates at any time.
    ///
    /// # Errors
    /// [`Error::Io`] with the path and the system's reason.
    pub fn open(path: impl AsRef<Path>) -> Result<Input<'static>> {
        let path = path.as_ref();
        refuse_device(path)?;
        let contents = read_or_map(path).map_err(|source| Error::Io {
            path: path.to_owned(),
            source,
        })?;
        let mut input = Input {
            name: path.display().to_string(),
            contents,
            thin_members: Vec::new(),
        };
        if input.bytes().starts_with(&object::archive::THIN_MAGIC) {
            let members = crate::archive::thin_member_paths(&input.name, input.bytes())?;
            let directory = path.parent().map_or_else(PathBuf::new, Path::to_owned);
            input.thin_members = members
                .iter()
                .map(|member| Input::open(directory.join(member)))
                .collect::<Result<_>>()?;
        }
        Ok(input)
    }

    /// The same input once more, for as long as this one is there: for several loads of one file.
    #[must_use]
    pub fn share(&self) -> Input<'_> {
        Input {
            name: self.name.clone(),
            contents: Contents::Bytes(Cow::Borrowed(self.bytes())),
            thin_members: self.thin_members.iter().map(Input::share).collect(),
        }
    }

    /// What messages call the input.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The input's bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        match &self.contents {
            Contents::Bytes(bytes) => bytes,
            Contents::Mapped(map) => map,
        }
    }

    /// Whether the input is an archive, thin or not.
    #[must_use]
    pub fn is_archive(&self) -> bool {
        self.bytes().starts_with(&object::archive::MAGIC) || self.bytes().starts_with(&object::archive::THIN_MAGIC)
    }

    /// The file behind the member at `index` of a thin archive.
    pub(crate) fn thin_member(&self, index: usize) -> Option<&Input<'data>> {
        self.thin_members.get(index)
    }
}

/// A device may have no end.
fn refuse_device(path: &Path) -> Result<()> {
    let kind = path.metadata().map(|metadata| metadata.file_type());
    if kind.is_ok_and(|kind| kind.is_char_device() || kind.is_block_device()) {
        return Err(Error::Unsupported {
            object: path.display().to_string(),
            what: "is a device".into(),
            remedy: "give a relocatable object (.o) or an archive (.a)",
        });
    }
    Ok(())
}

fn read_or_map(path: &Path) -> std::io::Result<Contents<'static>> {
    let file = File::open(path)?;
    let metadata = file.metadata()?;
    if metadata.is_dir() {
        return Err(std::io::Error::from(std::io::ErrorKind::IsADirectory));
    }
    if metadata.is_file() && metadata.len() >= MAP_FROM_BYTES {
        // SAFETY: the mapping is private and read-only; `Input::open` passes on to the caller that the file must not
        // be truncated or written while it is mapped.
        return Ok(Contents::Mapped(unsafe { Mmap::map(&file) }?));
    }
    let mut bytes = Vec::with_capacity(usize::try_from(metadata.len()).unwrap_or(0) + 1);
    std::io::Read::read_to_end(&mut { file }, &mut bytes)?;
    Ok(Contents::Bytes(Cow::Owned(bytes)))
}
