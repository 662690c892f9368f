//! The files that debug information is spread over.
//!
//! `dwz` takes what several files have in common out into a **supplementary file** (DWARF 5 section 7.3.6, and
//! `.gnu_debugaltlink` before that). `-gsplit-dwarf` leaves most of it in a `.dwo` file for each object (section 7.3.2),
//! which `dwp` packs into one `.dwp` file.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use gimli::{Dwarf, DwarfPackageSections, DwarfSections, DwoId, EndianSlice, LittleEndian, SectionId};
use object::read::elf::ElfFile64;
use object::{Object as _, ObjectSection as _};
use restub_loader::decompress;

use crate::debug_file;

pub(crate) type Reader<'a> = EndianSlice<'a, LittleEndian>;
pub(crate) type Sections<'a> = DwarfSections<Cow<'a, [u8]>>;
type Elf<'a> = ElfFile64<'a, object::LittleEndian>;

/// Debug information with all of its parts.
#[derive(Debug)]
pub(crate) struct DebugParts<'a> {
    pub(crate) main: Sections<'a>,
    pub(crate) supplementary: Option<Sections<'static>>,
    pub(crate) package: Option<DwarfPackageSections<Cow<'static, [u8]>>>,
    pub(crate) split: Vec<(DwoId, Sections<'static>)>,
    /// Parts that are not to be found, in words.
    pub(crate) missing: Vec<String>,
}

/// Whether a file has debug information.
pub(crate) fn is_in(bytes: &[u8]) -> bool {
    Elf::parse(bytes).is_ok_and(|elf| elf.section_by_name(SectionId::DebugInfo.name()).is_some())
}

/// The debug information of a file at a path in one of the roots. `None` if it has none.
///
/// # Errors
/// In words, if a supplementary file is missing: without it no type is known in full.
pub(crate) fn of_file<'b>(
    bytes: &'b [u8],
    path: &Path,
    roots: &[PathBuf],
) -> std::result::Result<Option<DebugParts<'b>>, String> {
    let Ok(elf) = Elf::parse(bytes) else { return Ok(None) };
    if elf.section_by_name(SectionId::DebugInfo.name()).is_none() {
        return Ok(None);
    }
    let Some(main) = sections(|id| data(&elf, id.name())) else {
        return Ok(None);
    };
    let supplementary = match supplementary_of(&elf) {
        None => None,
        Some(link) => Some(link.find(path, roots).ok_or_else(|| link.name.display().to_string())?),
    };
    Ok(Some(DebugParts::new(main, supplementary, Some(path), roots)))
}

/// The debug information of a patch that is linked. `None` if its objects have none.
pub(crate) fn of_image(image: &restub_loader::Image) -> Option<DebugParts<'_>> {
    let named = |id: SectionId| image.debug.iter().find(|section| &*section.name == id.name());
    named(SectionId::DebugInfo)?;
    let main = sections(|id| named(id).map_or_else(Cow::default, |section| Cow::Borrowed(&section.bytes[..])))?;
    Some(DebugParts::new(main, None, None, &[PathBuf::from("/")]))
}

fn sections<'s>(mut section: impl FnMut(SectionId) -> Cow<'s, [u8]>) -> Option<Sections<'s>> {
    DwarfSections::load(|id| Ok::<_, gimli::Error>(section(id))).ok()
}

/// The contents of a section, decompressed; nothing if there is no such section.
fn data<'b>(elf: &Elf<'b>, name: &str) -> Cow<'b, [u8]> {
    let section = elf.section_by_name(name);
    let data = section.and_then(|section| decompress(section.compressed_data().ok()?).ok());
    data.unwrap_or_default()
}

/// The contents of all sections of a name: an object has one for each type unit.
fn owned(elf: &Elf<'_>, name: Option<&str>) -> Cow<'static, [u8]> {
    let named = elf
        .sections()
        .filter(|section| name.is_some() && section.name().ok() == name);
    let contents = named.filter_map(|section| decompress(section.compressed_data().ok()?).ok());
    Cow::Owned(contents.collect::<Vec<_>>().concat())
}

/// What a file says of its supplementary one.
struct Link {
    name: PathBuf,
    /// The build-id, or in DWARF 5 a checksum in its place.
    id: Vec<u8>,
    standard: bool,
}

fn supplementary_of(elf: &Elf<'_>) -> Option<Link> {
    if let Ok(Some((name, id))) = elf.gnu_debugaltlink() {
        return Some(Link {
            name: PathBuf::from(&*String::from_utf8_lossy(name)),
            id: id.to_vec(),
            standard: false,
        });
    }
    let (is_supplementary, name, id) = debug_sup(elf)?;
    (!is_supplementary).then_some(Link {
        name,
        id,
        standard: true,
    })
}

/// `.debug_sup` (DWARF 5 section 7.3.6): a version, whether this is the supplementary file, the other one's name, and a
/// checksum behind its length.
fn debug_sup(elf: &Elf<'_>) -> Option<(bool, PathBuf, Vec<u8>)> {
    let data = data(elf, ".debug_sup");
    let is_supplementary = *data.get(2)? != 0;
    let rest = data.get(3..)?;
    let end = rest.iter().position(|byte| *byte == 0)?;
    let name = PathBuf::from(&*String::from_utf8_lossy(&rest[..end]));
    // A length below 128 is one byte; no checksum is longer.
    let (length, checksum) = rest[end + 1..].split_first()?;
    let checksum = checksum.get(..usize::from(*length))?;
    Some((is_supplementary, name, checksum.to_vec()))
}

impl Link {
    /// Looks where the file says, which may be relative to it, and by the build-id.
    fn find(&self, from: &Path, roots: &[PathBuf]) -> Option<Sections<'static>> {
        let mut paths = vec![from.parent().unwrap_or(Path::new("/")).join(&self.name)];
        if !self.standard {
            paths.extend(debug_file::by_build_id(&self.id));
        }
        let mut files = paths.iter().flat_map(|path| debug_file::read(roots, path));
        files.find_map(|bytes| {
            let elf = Elf::parse(&*bytes).ok()?;
            let is_it = if self.standard {
                debug_sup(&elf).is_some_and(|(supplementary, _, checksum)| supplementary && checksum == self.id)
            } else {
                elf.build_id().ok()? == Some(&*self.id)
            };
            is_it.then(|| sections(|id| owned(&elf, Some(id.name()))))?
        })
    }
}

impl<'a> DebugParts<'a> {
    /// Adds what was split off from the main sections.
    fn new(
        main: Sections<'a>,
        supplementary: Option<Sections<'static>>,
        path: Option<&Path>,
        roots: &[PathBuf],
    ) -> Self {
        let mut parts = DebugParts {
            main,
            supplementary,
            package: None,
            split: Vec::new(),
            missing: Vec::new(),
        };
        parts.find_split(path, roots);
        parts
    }

    /// Finds what was split off: in the package of the file, or by the names that its units have.
    fn find_split(&mut self, path: Option<&Path>, roots: &[PathBuf]) {
        let dwarf: Dwarf<Reader<'_>> = self.main.borrow(|section| EndianSlice::new(section, LittleEndian));
        let mut wanted = Vec::new();
        let mut headers = dwarf.units();
        while let Ok(Some(header)) = headers.next() {
            let Ok(unit) = dwarf.unit(header) else { continue };
            let (Some(id), Ok(Some(name))) = (unit.dwo_id, unit.dwo_name()) else {
                continue;
            };
            let Ok(name) = dwarf.attr_string(&unit, name) else {
                continue;
            };
            let folder = unit.comp_dir.map(|folder| folder.to_string_lossy().into_owned());
            wanted.push((
                id,
                Path::new(&folder.unwrap_or_default()).join(&*name.to_string_lossy()),
            ));
        }
        if wanted.is_empty() {
            return;
        }
        let package = path.map(|path| {
            let mut name = path.as_os_str().to_owned();
            name.push(".dwp");
            PathBuf::from(name)
        });
        if let Some(bytes) = package.and_then(|path| debug_file::read(roots, &path).next())
            && let Ok(elf) = Elf::parse(&*bytes)
        {
            let package = |id: SectionId| Ok::<_, gimli::Error>(owned(&elf, id.dwo_name()));
            self.package = DwarfPackageSections::load(package).ok();
            return;
        }
        for (id, path) in wanted {
            let file = debug_file::read(roots, &path).find_map(|bytes| {
                let elf = Elf::parse(&*bytes).ok()?;
                sections(|id| owned(&elf, id.dwo_name()))
            });
            match file {
                Some(file) => self.split.push((id, file)),
                None => self.missing.push(path.display().to_string()),
            }
        }
    }
}
