//! What an object is to contain, as plain data: [`ObjectPlan::write`](super::ObjectPlan::write) makes the file.

use object::elf;

/// The flags of ordinary section kinds.
pub(super) const CODE: u64 = elf::SHF_ALLOC.0 | elf::SHF_EXECINSTR.0;
pub(super) const CONSTANT: u64 = elf::SHF_ALLOC.0;
pub(super) const STRINGS: u64 = CONSTANT | elf::SHF_MERGE.0 | elf::SHF_STRINGS.0;
pub(super) const VARIABLE: u64 = elf::SHF_ALLOC.0 | elf::SHF_WRITE.0;
pub(super) const THREAD_LOCAL: u64 = VARIABLE | elf::SHF_TLS.0;
/// SHF_X86_64_LARGE.
pub(super) const LARGE: u64 = 0x1000_0000;

/// A relocatable object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectPlan {
    /// What messages call it.
    pub name: String,
    /// The sections, but for those that the file format itself needs.
    pub sections: Vec<SectionPlan>,
    /// The symbols, in any order: the file has local ones first.
    pub symbols: Vec<SymbolPlan>,
    /// The section groups.
    pub groups: Vec<GroupPlan>,
    /// How relocations are stored.
    pub table: RelocationTable,
}

/// A section.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SectionPlan {
    /// The name.
    pub name: String,
    /// `sh_type`.
    pub kind: elf::SectionType,
    /// `sh_flags`.
    pub flags: elf::SectionFlags,
    /// `sh_addralign`.
    pub align: u64,
    /// `sh_size`; the length of `contents` where the file has any.
    pub size: u64,
    /// The contents; empty for SHT_NOBITS.
    pub contents: Vec<u8>,
    /// The section that this one belongs to (SHF_LINK_ORDER), by its place in [`ObjectPlan::sections`].
    pub link: Option<usize>,
    /// The relocations.
    pub relocations: Vec<RelocationPlan>,
}

/// A symbol.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SymbolPlan {
    /// The name; empty for section symbols.
    pub name: String,
    /// Where it is defined.
    pub place: SymbolPlanPlace,
    /// `st_value`.
    pub value: u64,
    /// `st_size`.
    pub size: u64,
    /// What it is.
    pub kind: elf::SymbolType,
    /// Local, global, weak or unique.
    pub binding: elf::SymbolBind,
    /// Who may bind to it.
    pub visibility: elf::SymbolVisibility,
}

/// Where a symbol is defined.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SymbolPlanPlace {
    /// In a section, by its place in [`ObjectPlan::sections`].
    Section(usize),
    /// At `st_shndx` as it is: SHN_UNDEF, SHN_ABS, SHN_COMMON, or nonsense.
    Index(u16),
}

impl SymbolPlanPlace {
    /// Elsewhere.
    pub const UNDEFINED: SymbolPlanPlace = SymbolPlanPlace::Index(0);
    /// In no section.
    pub const ABSOLUTE: SymbolPlanPlace = SymbolPlanPlace::Index(elf::SHN_ABS.0);
    /// Tentatively.
    pub const COMMON: SymbolPlanPlace = SymbolPlanPlace::Index(elf::SHN_COMMON.0);
    /// Tentatively, in the large code model.
    pub const LARGE_COMMON: SymbolPlanPlace = SymbolPlanPlace::Index(0xff02);
}

/// A relocation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RelocationPlan {
    /// Offset of the field in its section.
    pub offset: u64,
    /// The type's number.
    pub number: u32,
    /// The symbol, by its place in [`ObjectPlan::symbols`].
    pub symbol: usize,
    /// The addend.
    pub addend: i64,
}

/// A section group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupPlan {
    /// The signature, by its place in [`ObjectPlan::symbols`].
    pub signature: usize,
    /// GRP_COMDAT or 0.
    pub flags: u32,
    /// The members, by their place in [`ObjectPlan::sections`].
    pub members: Vec<usize>,
}

/// How a file stores relocations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RelocationTable {
    /// SHT_RELA, as compilers do.
    Rela,
    /// SHT_REL, with the addends in the fields.
    Rel,
    /// SHT_CREL.
    Crel,
}

impl ObjectPlan {
    /// An object that has the addresses of some names, which others define.
    #[must_use]
    pub fn wanting<'a>(names: impl IntoIterator<Item = &'a str>) -> Self {
        let symbols: Vec<SymbolPlan> = names.into_iter().map(SymbolPlan::undefined).collect();
        let address = |symbol: usize| RelocationPlan {
            offset: symbol as u64 * 8,
            number: elf::R_X86_64_64.0,
            symbol,
            addend: 0,
        };
        let size = symbols.len() * 8;
        let data = SectionPlan {
            name: ".data".to_owned(),
            kind: elf::SHT_PROGBITS,
            flags: elf::SectionFlags(VARIABLE),
            align: 8,
            size: size as u64,
            contents: vec![0; size],
            link: None,
            relocations: (0..symbols.len()).map(address).collect(),
        };
        ObjectPlan {
            name: "user.o".to_owned(),
            sections: vec![data],
            symbols,
            groups: Vec::new(),
            table: RelocationTable::Rela,
        }
    }
}

impl SectionPlan {
    /// Whether it is a part of the image in memory.
    #[must_use]
    pub fn is_allocated(&self) -> bool {
        self.flags.0 & elf::SHF_ALLOC.0 != 0
    }

    /// Whether it is a part of the thread-local template.
    #[must_use]
    pub fn is_tls(&self) -> bool {
        self.flags.0 & elf::SHF_TLS.0 != 0
    }

    /// Whether it is for debuggers only.
    #[must_use]
    pub fn is_debug(&self) -> bool {
        (self.name.starts_with(".debug_") || self.is_zdebug()) && !self.is_allocated()
    }

    /// Whether it is compressed as it was done before the gABI said how: a word, the size, and the stream.
    #[must_use]
    pub fn is_zdebug(&self) -> bool {
        self.name.starts_with(".zdebug_")
    }

    /// Whether it has no contents.
    #[must_use]
    pub fn is_nobits(&self) -> bool {
        self.kind == elf::SHT_NOBITS
    }
}

impl SymbolPlan {
    /// A reference to a name.
    #[must_use]
    pub fn undefined(name: &str) -> Self {
        SymbolPlan {
            name: name.to_owned(),
            place: SymbolPlanPlace::UNDEFINED,
            value: 0,
            size: 0,
            kind: elf::STT_NOTYPE,
            binding: elf::STB_GLOBAL,
            visibility: elf::STV_DEFAULT,
        }
    }

    /// Whether other objects see the name.
    #[must_use]
    pub fn is_global(&self) -> bool {
        self.binding != elf::STB_LOCAL
    }

    /// Whether the object only refers to it.
    #[must_use]
    pub fn is_undefined(&self) -> bool {
        self.place == SymbolPlanPlace::UNDEFINED
    }

    /// Whether it is a tentative definition.
    #[must_use]
    pub fn is_common(&self) -> bool {
        matches!(self.place, SymbolPlanPlace::COMMON | SymbolPlanPlace::LARGE_COMMON)
    }
}
