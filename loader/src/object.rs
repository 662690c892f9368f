//! One ET_REL file, read without copying: sections, symbols, relocations and groups.

use object::LittleEndian as LE;
use object::elf;
use object::read::elf::{CrelIterator, FileHeader as _, SectionHeader as _, SectionTable, SymbolTable};

use crate::error::{Error, Result};
use crate::foreign;
use crate::relocation::Row;

type FileHeader = elf::FileHeader64<LE>;
type SectionHeader = elf::SectionHeader64<LE>;
pub(crate) type ElfSymbol = elf::Sym64<LE>;

/// psABI section 4.2, "Large Models": the section may lie out of reach of 32-bit displacements.
const SHF_X86_64_LARGE: elf::SectionFlags = elf::SectionFlags(0x1000_0000);
/// psABI section 4.3: a common symbol of the large model.
pub(crate) const SHN_X86_64_LCOMMON: elf::SymbolSection = elf::SymbolSection(0xff02);

/// An ELF relocatable object for x86-64. Names and contents borrow the file's bytes.
#[derive(Debug)]
pub struct Object<'data> {
    pub(crate) name: String,
    pub(crate) sections: Vec<Section<'data>>,
    pub(crate) symbols: SymbolTable<'data, FileHeader>,
    pub(crate) groups: Vec<Group<'data>>,
    pub(crate) file_size: u64,
}

/// One section.
#[derive(Debug)]
pub struct Section<'data> {
    /// The section's name, without the terminator.
    pub name: &'data [u8],
    /// `sh_type`.
    pub kind: elf::SectionType,
    /// `sh_flags`.
    pub flags: elf::SectionFlags,
    /// Size in memory, in bytes.
    pub size: u64,
    /// Alignment in memory, in bytes: a power of two.
    pub align: u64,
    /// Contents in the file; empty for SHT_NOBITS.
    pub data: &'data [u8],
    /// The relocations that apply to the section.
    pub relocations: Relocations<'data>,
    /// `sh_link`, the section this one belongs to if SHF_LINK_ORDER is set.
    pub(crate) link: usize,
    /// What becomes of the section.
    pub(crate) state: SectionState,
}

/// Whether a section of an object is to be in memory (gABI, "Sections"): SHF_ALLOC says so, an inactive header (SHT_NULL)
/// has no section, and SHF_EXCLUDE leaves it out.
#[must_use]
pub fn is_loaded(header: &elf::SectionHeader64<LE>) -> bool {
    let flags = header.sh_flags(LE);
    flags.contains(elf::SHF_ALLOC) && !flags.contains(elf::SHF_EXCLUDE) && header.sh_type(LE) != elf::SHT_NULL
}

/// What becomes of a section.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SectionState {
    /// It is part of the image in memory.
    Loaded,
    /// It is for tools: debug information, notes, tables of the object file itself.
    Unloaded,
    /// It is excluded, or of a COMDAT group of which another object's copy was chosen.
    Discarded,
}

/// A section group.
#[derive(Debug)]
pub struct Group<'data> {
    /// The signature's name, which keys a COMDAT group whatever the symbol's binding.
    pub signature: &'data [u8],
    /// Whether GRP_COMDAT is set; a group without it is always kept.
    pub comdat: bool,
    /// The sections, by their index in the file.
    pub members: Vec<usize>,
}

/// A symbol as it stands in an object's symbol table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ObjectSymbol<'data> {
    /// The name, with `@VERSION` where `.symver` gave one; empty for most section symbols.
    pub name: &'data [u8],
    /// `st_value`: the offset in the section, the alignment of a common symbol, or an absolute value.
    pub value: u64,
    /// The size in bytes.
    pub size: u64,
    /// What it is.
    pub kind: elf::SymbolType,
    /// Local, global, weak or unique.
    pub binding: elf::SymbolBind,
    /// Who may bind to it.
    pub visibility: elf::SymbolVisibility,
    /// Where it is defined.
    pub place: SymbolPlace,
}

/// Where a symbol is defined.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SymbolPlace {
    /// Elsewhere.
    Undefined,
    /// In no section: the value is all.
    Absolute,
    /// Wherever the linker puts it: a tentative definition.
    Common,
    /// In the section with this index.
    Section(usize),
}

/// One relocation, from SHT_RELA, SHT_REL or SHT_CREL alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Relocation {
    /// Offset of the field in its section, in bytes.
    pub offset: u64,
    /// The type's number.
    pub number: u32,
    /// Index in the symbol table.
    pub symbol: u32,
    /// The addend.
    pub addend: i64,
}

/// The relocations of one section.
#[derive(Debug)]
pub enum Relocations<'data> {
    /// An SHT_RELA table, as it stands in the file.
    Rela(&'data [elf::Rela64<LE>]),
    /// What was decoded from SHT_REL, SHT_CREL or several tables.
    Decoded(Vec<Relocation>),
}

impl Relocations<'_> {
    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Relocations::Rela(table) => table.len(),
            Relocations::Decoded(table) => table.len(),
        }
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The relocations in the order of the file.
    pub fn iter(&self) -> impl Iterator<Item = Relocation> + '_ {
        let (rela, decoded): (&[elf::Rela64<LE>], &[Relocation]) = match self {
            Relocations::Rela(table) => (table, &[]),
            Relocations::Decoded(table) => (&[], table),
        };
        rela.iter().map(from_rela).chain(decoded.iter().copied())
    }
}

/// Whether a table has the addends itself, as the psABI wants it ("Relocation Types"), or leaves them in the fields.
fn has_addends(kind: elf::SectionType, contents: &[u8]) -> bool {
    match kind {
        elf::SHT_REL => false,
        elf::SHT_CREL => CrelIterator::new(contents).is_ok_and(|entries| entries.is_rela()),
        _ => true,
    }
}

#[inline]
fn from_rela(rela: &elf::Rela64<LE>) -> Relocation {
    let info = rela.r_info.get(LE);
    Relocation {
        offset: rela.r_offset.get(LE),
        number: (info & 0xffff_ffff) as u32,
        symbol: (info >> 32) as u32,
        addend: rela.r_addend.get(LE),
    }
}

impl Section<'_> {
    /// Whether the section occupies memory at run time.
    #[must_use]
    pub fn is_allocated(&self) -> bool {
        self.flags.contains(elf::SHF_ALLOC)
    }

    /// Whether the section has a size but no contents (`.bss`, `.tbss`, `.lbss`).
    #[must_use]
    pub fn is_nobits(&self) -> bool {
        self.kind == elf::SHT_NOBITS
    }

    /// Whether the section is part of the thread-local template.
    #[must_use]
    pub fn is_tls(&self) -> bool {
        self.flags.contains(elf::SHF_TLS)
    }

    /// Whether the section is one of the large code model, which may be out of reach of the code.
    #[must_use]
    pub fn is_large(&self) -> bool {
        self.flags.contains(SHF_X86_64_LARGE)
    }

    /// Whether the section is a table of unwind records: SHT_PROGBITS from GNU as, SHT_X86_64_UNWIND from LLVM.
    #[must_use]
    pub fn is_unwind_table(&self) -> bool {
        self.name == b".eh_frame" || self.kind == elf::SHT_X86_64_UNWIND
    }

    /// The name for messages.
    #[must_use]
    pub fn display_name(&self) -> String {
        String::from_utf8_lossy(self.name).into_owned()
    }
}

impl<'data> Object<'data> {
    /// Reads an object. `name` is what messages call it.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for files of another kind, with what they are; [`Error::Malformed`] where the file
    /// contradicts the ELF format.
    pub fn parse(name: impl Into<String>, data: &'data [u8]) -> Result<Self> {
        let name = name.into();
        if let Some(what) = foreign::kind(data) {
            return Err(Error::Unsupported {
                object: name,
                what: what.0.to_owned(),
                remedy: what.1,
            });
        }
        let malformed = |reason: &dyn std::fmt::Display| Error::Malformed {
            object: name.clone(),
            reason: reason.to_string(),
        };
        let header = FileHeader::parse(data).map_err(|e| malformed(&e))?;
        let table = header.sections(LE, data).map_err(|e| malformed(&e))?;
        if table.is_empty() {
            return Err(malformed(&"the section header table is empty or missing"));
        }
        let symbols = table.symbols(LE, data, elf::SHT_SYMTAB).map_err(|e| malformed(&e))?;
        let mut object = Object {
            sections: Vec::with_capacity(table.len()),
            symbols,
            groups: Vec::new(),
            file_size: data.len() as u64,
            name,
        };
        object.read_sections(&table, data)?;
        object.read_relocations(&table, data)?;
        object.read_groups(&table, data)?;
        object.refuse_slim_lto()?;
        object.refuse_executable_stack()?;
        Ok(object)
    }

    /// What messages call the object: a path, or `archive.a(member.o)`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The sections, by their index in the file.
    #[must_use]
    pub fn sections(&self) -> &[Section<'data>] {
        &self.sections
    }

    /// The section groups.
    #[must_use]
    pub fn groups(&self) -> &[Group<'data>] {
        &self.groups
    }

    /// The symbols, without the empty one that every table starts with.
    ///
    /// # Errors
    /// [`Error::Malformed`] for a symbol whose name or section does not exist.
    pub fn symbols(&self) -> impl Iterator<Item = Result<ObjectSymbol<'data>>> + '_ {
        let table = self.symbols.symbols().iter().enumerate().skip(1);
        table.map(|(index, symbol)| {
            let place = match symbol.st_shndx.get(LE) {
                elf::SHN_UNDEF => SymbolPlace::Undefined,
                elf::SHN_COMMON | SHN_X86_64_LCOMMON => SymbolPlace::Common,
                _ => self
                    .symbol_section(u32::try_from(index).unwrap_or(u32::MAX), symbol)?
                    .map_or(SymbolPlace::Absolute, SymbolPlace::Section),
            };
            Ok(ObjectSymbol {
                name: self.symbol_name(symbol)?,
                value: symbol.st_value.get(LE),
                size: symbol.st_size.get(LE),
                kind: symbol.st_type(),
                binding: symbol.st_bind(),
                visibility: symbol.st_visibility(),
                place,
            })
        })
    }

    /// The file's size in bytes.
    #[must_use]
    pub fn file_size(&self) -> u64 {
        self.file_size
    }

    pub(crate) fn malformed(&self, reason: impl Into<String>) -> Error {
        Error::Malformed {
            object: self.name.clone(),
            reason: reason.into(),
        }
    }

    fn read_sections(&mut self, table: &SectionTable<'data, FileHeader>, data: &'data [u8]) -> Result<()> {
        let mut contents = 0_u64;
        for (index, header) in table.iter().enumerate() {
            let section = self.read_section(index, header, table, data)?;
            contents = contents.saturating_add(section.data.len() as u64);
            self.sections.push(section);
        }
        // Sections may share some bytes, such as a table of strings; a small file must not stand for a huge image.
        if contents > self.file_size.saturating_mul(2) {
            return Err(self.malformed(format!(
                "its sections overlap: {contents:#x} bytes in a file of {:#x}",
                self.file_size
            )));
        }
        Ok(())
    }

    fn read_section(
        &self,
        index: usize,
        header: &'data SectionHeader,
        table: &SectionTable<'data, FileHeader>,
        data: &'data [u8],
    ) -> Result<Section<'data>> {
        let kind = header.sh_type(LE);
        let name = table
            .section_name(LE, header)
            .map_err(|e| self.malformed(format!("section {index}: {e}")))?;
        let contents = match kind {
            elf::SHT_NOBITS | elf::SHT_NULL => &[],
            _ => header.data(LE, data).map_err(|_| {
                self.malformed(format!(
                    "section {index} ({}): its {:#x} bytes at {:#x} lie outside the file",
                    String::from_utf8_lossy(name),
                    header.sh_size(LE),
                    header.sh_offset(LE)
                ))
            })?,
        };
        let flags = header.sh_flags(LE);
        if flags.contains(elf::SHF_ALLOC) && flags.contains(elf::SHF_COMPRESSED) {
            return Err(self.malformed(format!(
                "section {index}: SHF_COMPRESSED is not for sections that are loaded"
            )));
        }
        let align = header.sh_addralign.get(LE).max(1);
        if !align.is_power_of_two() && flags.contains(elf::SHF_ALLOC) {
            return Err(self.malformed(format!("section {index}: alignment {align:#x} is not a power of two")));
        }
        Ok(Section {
            name,
            kind,
            flags,
            size: if kind == elf::SHT_NULL {
                0
            } else {
                header.sh_size.get(LE)
            },
            align,
            data: contents,
            relocations: Relocations::Rela(&[]),
            link: header.sh_link.get(LE) as usize,
            state: match flags {
                flags if flags.contains(elf::SHF_EXCLUDE) => SectionState::Discarded,
                _ if is_loaded(header) => SectionState::Loaded,
                _ => SectionState::Unloaded,
            },
        })
    }

    fn read_relocations(&mut self, table: &SectionTable<'data, FileHeader>, data: &'data [u8]) -> Result<()> {
        for (index, header) in table.iter().enumerate() {
            let kind = header.sh_type(LE);
            if kind == elf::SHT_RELR {
                return Err(self.malformed(format!(
                    "section {index}: SHT_RELR has no meaning in a relocatable object"
                )));
            }
            if !matches!(kind, elf::SHT_RELA | elf::SHT_REL | elf::SHT_CREL) {
                continue;
            }
            // Some assemblers leave SHF_INFO_LINK out, so sh_info counts without it.
            let target = header.sh_info.get(LE) as usize;
            if target == 0 || target >= self.sections.len() {
                return Err(self.malformed(format!(
                    "section {index}: relocations for section {target}, which does not exist"
                )));
            }
            if header.link(LE) != self.symbols.section() {
                return Err(self.malformed(format!(
                    "section {index}: relocations against section {} as symbol table",
                    header.sh_link.get(LE)
                )));
            }
            let contents = self.sections[index].data;
            let contents_of = &self.sections[target];
            let is_compressed =
                contents_of.flags.contains(elf::SHF_COMPRESSED) || contents_of.name.starts_with(b".zdebug_");
            if is_compressed && !has_addends(kind, contents) {
                return Err(self.malformed(format!(
                    "section {index}: its addends are in the contents of section {target}, which is compressed"
                )));
            }
            let new = match kind {
                elf::SHT_RELA => Relocations::Rela(
                    header
                        .data_as_array(LE, data)
                        .map_err(|e| self.malformed(format!("section {index}: {e}")))?,
                ),
                elf::SHT_REL => self.decode_rel(index, target, header, data)?,
                _ => self.decode_crel(index, target, contents)?,
            };
            let old = std::mem::replace(&mut self.sections[target].relocations, Relocations::Rela(&[]));
            self.sections[target].relocations = if old.is_empty() {
                new
            } else {
                Relocations::Decoded(old.iter().chain(new.iter()).collect())
            };
        }
        Ok(())
    }

    fn decode_rel(
        &self,
        index: usize,
        target: usize,
        header: &SectionHeader,
        data: &'data [u8],
    ) -> Result<Relocations<'data>> {
        let table: &[elf::Rel64<LE>] = header
            .data_as_array(LE, data)
            .map_err(|e| self.malformed(format!("section {index}: {e}")))?;
        let decoded = table.iter().map(|rel| {
            let info = rel.r_info.get(LE);
            let (offset, number) = (rel.r_offset.get(LE), (info & 0xffff_ffff) as u32);
            Relocation {
                offset,
                number,
                symbol: (info >> 32) as u32,
                addend: self.implicit_addend(target, offset, number),
            }
        });
        Ok(Relocations::Decoded(decoded.collect()))
    }

    fn decode_crel(&self, index: usize, target: usize, contents: &'data [u8]) -> Result<Relocations<'data>> {
        let entries = CrelIterator::new(contents).map_err(|e| self.malformed(format!("section {index}: {e}")))?;
        let explicit = entries.is_rela();
        let mut decoded = Vec::with_capacity(entries.len().min(contents.len()));
        for entry in entries {
            let entry = entry.map_err(|e| self.malformed(format!("section {index}: {e}")))?;
            let (offset, number) = (entry.r_offset, entry.r_type.0);
            let addend = if explicit {
                entry.r_addend
            } else {
                self.implicit_addend(target, offset, number)
            };
            decoded.push(Relocation {
                offset,
                number,
                symbol: entry.r_sym,
                addend,
            });
        }
        Ok(Relocations::Decoded(decoded))
    }

    /// The addend in the field itself. A field outside its section is reported by scan, which names its place.
    fn implicit_addend(&self, target: usize, offset: u64, number: u32) -> i64 {
        let Some(row) = Row::of(number) else { return 0 };
        let field = usize::try_from(offset)
            .ok()
            .and_then(|at| self.sections[target].data.get(at..)?.get(..usize::from(row.width)));
        field.map_or(0, |field| row.implicit_addend(field))
    }

    fn read_groups(&mut self, table: &SectionTable<'data, FileHeader>, data: &'data [u8]) -> Result<()> {
        for (index, header) in table.iter().enumerate() {
            let group = header
                .group(LE, data)
                .map_err(|e| self.malformed(format!("section {index}: {e}")))?;
            let Some((flags, members)) = group else { continue };
            let signature = self.symbol(header.sh_info.get(LE))?;
            let mut signature_name = self.symbol_name(signature)?;
            if signature_name.is_empty() && signature.st_type() == elf::STT_SECTION {
                let section = self.symbol_section(header.sh_info.get(LE), signature)?;
                signature_name = section.map_or(&[][..], |section| self.sections[section].name);
            }
            let members: Vec<usize> = members.iter().map(|member| member.get(LE) as usize).collect();
            if let Some(member) = members
                .iter()
                .find(|member| **member == 0 || **member >= self.sections.len())
            {
                return Err(self.malformed(format!("group section {index}: member {member} does not exist")));
            }
            self.groups.push(Group {
                signature: signature_name,
                comdat: flags.contains(elf::GRP_COMDAT),
                members,
            });
        }
        // The older form of COMDAT: the section's own name is the key.
        for (index, section) in self.sections.iter().enumerate() {
            if section.name.starts_with(b".gnu.linkonce.") && section.is_allocated() {
                self.groups.push(Group {
                    signature: section.name,
                    comdat: true,
                    members: vec![index],
                });
            }
        }
        Ok(())
    }

    /// gcc's `-flto` without `-ffat-lto-objects` leaves only bytecode behind, and marks it with a common symbol.
    fn refuse_slim_lto(&self) -> Result<()> {
        if !self
            .sections
            .iter()
            .any(|section| section.name.starts_with(b".gnu.lto_"))
        {
            return Ok(());
        }
        for symbol in self.symbols.iter() {
            if self.symbol_name(symbol)? == b"__gnu_lto_slim" {
                return Err(Error::Unsupported {
                    object: self.name.clone(),
                    what: "holds only gcc's LTO bytecode (slim LTO)".into(),
                    remedy: "compile with -fno-lto or -ffat-lto-objects",
                });
            }
        }
        Ok(())
    }

    /// Nested functions whose address is taken run on the stack, which is not executable here.
    fn refuse_executable_stack(&self) -> Result<()> {
        let wanted =
            |section: &Section<'_>| section.name == b".note.GNU-stack" && section.flags.contains(elf::SHF_EXECINSTR);
        if !self.sections.iter().any(wanted) {
            return Ok(());
        }
        Err(Error::Unsupported {
            object: self.name.clone(),
            what: "asks for an executable stack (.note.GNU-stack)".into(),
            remedy: "take no address of a nested function, or assemble with --noexecstack",
        })
    }

    /// The symbol at `index` of the symbol table.
    pub(crate) fn symbol(&self, index: u32) -> Result<&'data ElfSymbol> {
        self.symbols
            .symbols()
            .get(index as usize)
            .ok_or_else(|| self.malformed(format!("symbol index {index} lies outside the symbol table")))
    }

    /// Whether a global symbol of that name is defined in a section, not tentatively.
    pub(crate) fn really_defines(&self, name: &[u8]) -> Result<bool> {
        for symbol in self.symbols.iter() {
            let tentative = matches!(symbol.st_shndx.get(LE), elf::SHN_COMMON | SHN_X86_64_LCOMMON);
            let defined = symbol.st_shndx.get(LE) != elf::SHN_UNDEF && symbol.st_bind() != elf::STB_LOCAL;
            if defined && !tentative && self.symbol_name(symbol)? == name {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// A symbol's own name; empty for most section symbols.
    pub(crate) fn symbol_name(&self, symbol: &'data ElfSymbol) -> Result<&'data [u8]> {
        self.symbols
            .symbol_name(LE, symbol)
            .map_err(|e| self.malformed(e.to_string()))
    }

    /// The section that defines a symbol, or `None` for undefined, absolute and common ones.
    pub(crate) fn symbol_section(&self, index: u32, symbol: &ElfSymbol) -> Result<Option<usize>> {
        let section = self
            .symbols
            .symbol_section(LE, symbol, object::SymbolIndex(index as usize))
            .map_err(|e| self.malformed(format!("symbol {index}: {e}")))?;
        match section {
            Some(section) if section.0 >= self.sections.len() => Err(self.malformed(format!(
                "symbol {index} is defined in section {}, which does not exist",
                section.0
            ))),
            section => Ok(section.map(|section| section.0)),
        }
    }
}
