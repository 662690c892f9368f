//! `ar` archives, whose members are linked by need: GNU, BSD and Darwin symbol tables, thin archives, or no index.

use object::LittleEndian as LE;
use object::elf;
use object::read::archive::{ArchiveFile, ArchiveMember};
use rustc_hash::{FxHashMap, FxHashSet};

use crate::error::{Error, Result};
use crate::input::Input;
use crate::object::Object;

/// An archive, with the index from symbol name to member.
#[derive(Debug)]
pub struct Archive<'data> {
    input: &'data Input<'data>,
    file: ArchiveFile<'data>,
    /// From symbol name to the member that defines it: the first one, as for `ld`.
    index: FxHashMap<&'data [u8], u64>,
    /// For thin archives: from a member's offset to its place among the members.
    ordinals: FxHashMap<u64, usize>,
    taken: FxHashSet<u64>,
}

impl<'data> Archive<'data> {
    /// Reads the archive's headers and its index; without an index, the symbols of every object in it.
    ///
    /// # Errors
    /// [`Error::Malformed`] where the file contradicts the archive format.
    pub fn parse(input: &'data Input<'data>) -> Result<Self> {
        let file = ArchiveFile::parse(input.bytes()).map_err(|e| malformed(input.name(), &e))?;
        let mut archive = Archive {
            input,
            file,
            index: FxHashMap::default(),
            ordinals: FxHashMap::default(),
            taken: FxHashSet::default(),
        };
        if file.is_thin() {
            for (ordinal, member) in file.members().enumerate() {
                let member = member.map_err(|e| malformed(input.name(), &e))?;
                archive.ordinals.insert(header_offset(input.bytes(), &member), ordinal);
            }
        }
        match file.symbols().map_err(|e| malformed(input.name(), &e))? {
            Some(symbols) => {
                for symbol in symbols {
                    let symbol = symbol.map_err(|e| malformed(input.name(), &e))?;
                    archive.index.entry(symbol.name()).or_insert(symbol.offset().0);
                }
            }
            None => archive.index_members()?,
        }
        Ok(archive)
    }

    /// What messages call the archive.
    #[must_use]
    pub fn name(&self) -> &str {
        self.input.name()
    }

    /// The member that defines `symbol`, unless it has been taken already. Where a tentative definition is there already,
    /// only a member with a real one counts.
    ///
    /// # Errors
    /// What reading the member reports.
    pub(crate) fn take(&mut self, symbol: &[u8], tentative: bool) -> Result<Option<Object<'data>>> {
        let Some(&offset) = self.index.get(symbol) else {
            return Ok(None);
        };
        if self.taken.contains(&offset) {
            return Ok(None);
        }
        let member = self
            .file
            .member(object::read::archive::ArchiveOffset(offset))
            .map_err(|e| malformed(self.name(), &e))?;
        let name = self.member_name(&member);
        let object = Object::parse(name, self.member_bytes(&member, offset)?)?;
        if tentative && !object.really_defines(symbol)? {
            return Ok(None);
        }
        self.taken.insert(offset);
        Ok(Some(object))
    }

    /// The archive's objects, all of them; members that are no objects are passed over.
    ///
    /// # Errors
    /// What reading the archive or a member reports.
    pub fn objects(&self) -> Result<Vec<Object<'data>>> {
        let mut objects = Vec::new();
        for member in self.file.members() {
            let member = member.map_err(|e| malformed(self.name(), &e))?;
            let bytes = self.member_bytes(&member, header_offset(self.input.bytes(), &member))?;
            if bytes.starts_with(b"\x7fELF") {
                objects.push(Object::parse(self.member_name(&member), bytes)?);
            }
        }
        Ok(objects)
    }

    fn member_name(&self, member: &ArchiveMember<'_>) -> String {
        format!("{}({})", self.name(), String::from_utf8_lossy(member.name()))
    }

    fn member_bytes(&self, member: &ArchiveMember<'data>, offset: u64) -> Result<&'data [u8]> {
        if !self.file.is_thin() {
            return member.data(self.input.bytes()).map_err(|e| malformed(self.name(), &e));
        }
        let ordinal = self.ordinals.get(&offset);
        let file = ordinal.and_then(|ordinal| self.input.thin_member(*ordinal));
        let missing = || Error::Malformed {
            object: self.name().to_owned(),
            reason: format!(
                "the file of member {} was not opened: a thin archive has to be given as a path",
                String::from_utf8_lossy(member.name())
            ),
        };
        Ok(file.ok_or_else(missing)?.bytes())
    }

    fn index_members(&mut self) -> Result<()> {
        for member in self.file.members() {
            let member = member.map_err(|e| malformed(self.name(), &e))?;
            let offset = header_offset(self.input.bytes(), &member);
            let bytes = self.member_bytes(&member, offset)?;
            if !bytes.starts_with(b"\x7fELF") {
                continue;
            }
            let object = Object::parse(self.member_name(&member), bytes)?;
            for symbol in object.symbols.iter() {
                let defined = symbol.st_shndx.get(LE) != elf::SHN_UNDEF;
                if defined && symbol.st_bind() != elf::STB_LOCAL {
                    self.index.entry(object.symbol_name(symbol)?).or_insert(offset);
                }
            }
        }
        Ok(())
    }
}

/// The paths that a thin archive names, relative to its own folder, in the order of its members.
pub(crate) fn thin_member_paths(name: &str, bytes: &[u8]) -> Result<Vec<String>> {
    let file = ArchiveFile::parse(bytes).map_err(|e| malformed(name, &e))?;
    file.members()
        .map(|member| {
            member
                .map(|m| String::from_utf8_lossy(m.name()).into_owned())
                .map_err(|e| malformed(name, &e))
        })
        .collect()
}

/// The offset by which the index names a member: that of its header.
fn header_offset(archive: &[u8], member: &ArchiveMember<'_>) -> u64 {
    // The header is borrowed from the archive's own bytes, so the distance between the two is its offset.
    member.header().map_or(0, |header| {
        (std::ptr::from_ref(header).addr() - archive.as_ptr().addr()) as u64
    })
}

fn malformed(object: &str, reason: &object::read::Error) -> Error {
    Error::Malformed {
        object: object.to_owned(),
        reason: reason.to_string(),
    }
}
