//! Debug information, entry by entry: what the target's files and a patch's objects say of their functions and types.

use std::borrow::Cow;
use std::collections::HashMap;

use gimli::{
    AttributeValue, DebugTypeSignature, Dwarf, DwarfSections, EndianSlice, LittleEndian, SectionId, UnitOffset,
    UnitType,
};
use object::read::elf::ElfFile64;
use object::{Object as _, ObjectSection as _};

use crate::retarget::base_name;

pub(crate) type Reader<'a> = EndianSlice<'a, LittleEndian>;
pub(crate) type Entry<'a> = gimli::DebuggingInformationEntry<Reader<'a>>;
pub(crate) type Sections<'a> = DwarfSections<Cow<'a, [u8]>>;

/// Steps from an instance of a function to what it is an instance of, or from a definition to its declaration.
const LONGEST_CHAIN: u32 = 8;

/// An entry, by its unit and its place in that.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Place {
    unit: usize,
    offset: UnitOffset,
}

/// The debug information of one file, or of the objects of a patch.
#[derive(Debug)]
pub(crate) struct DebugInfo<'a> {
    dwarf: Dwarf<Reader<'a>>,
    units: Vec<gimli::Unit<Reader<'a>>>,
    /// Where the units of `.debug_info`, which are the first ones, start.
    starts: Vec<usize>,
    /// Types that have units of their own (`-fdebug-types-section`).
    signatures: HashMap<DebugTypeSignature, Place>,
}

/// Whether a file has debug information.
pub(crate) fn is_in(bytes: &[u8]) -> bool {
    let elf = ElfFile64::<object::LittleEndian>::parse(bytes);
    elf.is_ok_and(|elf| elf.section_by_name(SectionId::DebugInfo.name()).is_some())
}

/// The debug sections of a file, decompressed. `None` if it has no debug information.
pub(crate) fn of_file(bytes: &[u8]) -> Option<Sections<'_>> {
    let elf = ElfFile64::<object::LittleEndian>::parse(bytes).ok()?;
    elf.section_by_name(SectionId::DebugInfo.name())?;
    let load = |id: SectionId| -> Result<Cow<'_, [u8]>, gimli::Error> {
        let section = elf.section_by_name(id.name());
        Ok(section
            .and_then(|section| section.uncompressed_data().ok())
            .unwrap_or_default())
    };
    DwarfSections::load(load).ok()
}

/// The debug sections of a patch that is linked. `None` if its objects have none.
pub(crate) fn of_image(image: &restub_loader::Image) -> Option<Sections<'_>> {
    let named = |id: SectionId| image.debug.iter().find(|section| &*section.name == id.name());
    named(SectionId::DebugInfo)?;
    let load = |id: SectionId| -> Result<Cow<'_, [u8]>, gimli::Error> {
        Ok(named(id).map_or_else(Cow::default, |section| Cow::Borrowed(&section.bytes[..])))
    };
    DwarfSections::load(load).ok()
}

impl<'a> DebugInfo<'a> {
    /// Reads the units. Those that make no sense are left out.
    pub(crate) fn new(sections: &'a Sections<'_>) -> Self {
        let dwarf = sections.borrow(|section| EndianSlice::new(section, LittleEndian));
        let mut info = DebugInfo {
            dwarf,
            units: Vec::new(),
            starts: Vec::new(),
            signatures: HashMap::new(),
        };
        let mut headers = Vec::new();
        let mut units = info.dwarf.units();
        while let Ok(Some(header)) = units.next() {
            headers.push(header);
        }
        let mut types = info.dwarf.type_units();
        while let Ok(Some(header)) = types.next() {
            headers.push(header);
        }
        for header in headers {
            let kind = header.type_();
            let Ok(unit) = info.dwarf.unit(header) else { continue };
            if let UnitType::Type {
                type_signature,
                type_offset,
            } = kind
            {
                let place = Place {
                    unit: info.units.len(),
                    offset: type_offset,
                };
                info.signatures.insert(type_signature, place);
            }
            info.starts
                .extend(unit.header.debug_info_offset().map(|offset| offset.0));
            info.units.push(unit);
        }
        info
    }

    /// Calls a function with every entry, in order, until the units end. Depths start at 0 in each unit.
    pub(crate) fn each(&self, mut function: impl FnMut(Place, &Entry<'a>)) {
        for (number, unit) in self.units.iter().enumerate() {
            let mut entries = unit.entries();
            while let Ok(Some(entry)) = entries.next_dfs() {
                let place = Place {
                    unit: number,
                    offset: entry.offset(),
                };
                function(place, entry);
            }
        }
    }

    pub(crate) fn entry(&self, place: Place) -> Option<Entry<'a>> {
        self.units.get(place.unit)?.entry(place.offset).ok()
    }

    /// What is directly inside an entry.
    pub(crate) fn children(&self, place: Place) -> Vec<(Place, Entry<'a>)> {
        let mut children = Vec::new();
        let Some(mut entries) = self
            .units
            .get(place.unit)
            .and_then(|unit| unit.entries_at_offset(place.offset).ok())
        else {
            return children;
        };
        let mut first = true;
        while let Ok(Some(entry)) = entries.next_dfs() {
            match entry.depth() {
                1 => children.push((
                    Place {
                        unit: place.unit,
                        offset: entry.offset(),
                    },
                    entry.clone(),
                )),
                depth if depth <= 0 && !first => break,
                _ => {}
            }
            first = false;
        }
        children
    }

    /// The entry that an attribute refers to.
    pub(crate) fn target(&self, from: Place, value: AttributeValue<Reader<'a>>) -> Option<Place> {
        match value {
            AttributeValue::UnitRef(offset) => Some(Place {
                unit: from.unit,
                offset,
            }),
            AttributeValue::DebugInfoRef(offset) => {
                let unit = self.starts.partition_point(|start| *start <= offset.0).checked_sub(1)?;
                let offset = offset.to_unit_offset(&self.units.get(unit)?.header)?;
                Some(Place { unit, offset })
            }
            AttributeValue::DebugTypesRef(signature) => self.signatures.get(&signature).copied(),
            _ => None,
        }
    }

    pub(crate) fn reference(&self, place: Place, entry: &Entry<'a>, name: gimli::DwAt) -> Option<Place> {
        self.target(place, entry.attr_value(name)?)
    }

    pub(crate) fn text(&self, place: Place, entry: &Entry<'a>, name: gimli::DwAt) -> Option<String> {
        let unit = self.units.get(place.unit)?;
        let value = self.dwarf.attr_string(unit, entry.attr_value(name)?).ok()?;
        Some(value.to_string_lossy().into_owned())
    }

    /// An address: of a symbol, or of where code starts.
    pub(crate) fn address(&self, place: Place, value: AttributeValue<Reader<'a>>) -> Option<u64> {
        self.dwarf.attr_address(self.units.get(place.unit)?, value).ok()?
    }

    /// Where the code of a function starts: the first address, and those of its parts.
    pub(crate) fn starts(&self, place: Place, entry: &Entry<'a>) -> Vec<u64> {
        let mut starts = Vec::new();
        if entry.has_attr(gimli::DW_AT_ranges)
            && let Some(unit) = self.units.get(place.unit)
            && let Ok(mut ranges) = self.dwarf.die_ranges(unit, entry)
        {
            while let Ok(Some(range)) = ranges.next() {
                starts.push(range.begin);
            }
        }
        let low = entry
            .attr_value(gimli::DW_AT_low_pc)
            .and_then(|value| self.address(place, value));
        starts.extend(low);
        starts
    }

    /// Where a variable is that has a place of its own for the whole run.
    pub(crate) fn location(&self, place: Place, entry: &Entry<'a>) -> Option<Location> {
        let unit = self.units.get(place.unit)?;
        let expression = entry.attr_value(gimli::DW_AT_location)?.exprloc_value()?;
        let mut operations = expression.operations(unit.encoding());
        let address = match operations.next().ok()?? {
            gimli::Operation::Address { address } => address,
            gimli::Operation::AddressIndex { index } => self.dwarf.address(unit, index).ok()?,
            // The offset in the thread-local block.
            gimli::Operation::UnsignedConstant { value } => value,
            gimli::Operation::ConstantIndex { index } => self.dwarf.address(unit, index).ok()?,
            _ => return None,
        };
        match operations.next().ok()? {
            None => Some(Location::Address(address)),
            Some(gimli::Operation::TLS) => Some(Location::ThreadLocal(address)),
            Some(_) => None,
        }
    }

    /// An attribute of an entry, or of what that is an instance or a definition of, with the entry that has it.
    pub(crate) fn inherited(
        &self,
        place: Place,
        name: gimli::DwAt,
    ) -> Option<(Place, Entry<'a>, AttributeValue<Reader<'a>>)> {
        let mut place = place;
        for _ in 0..LONGEST_CHAIN {
            let entry = self.entry(place)?;
            if let Some(value) = entry.attr_value(name) {
                return Some((place, entry, value));
            }
            place = [gimli::DW_AT_abstract_origin, gimli::DW_AT_specification]
                .into_iter()
                .find_map(|name| self.reference(place, &entry, name))?;
        }
        None
    }

    /// Whether some unit is clang's of a C++ source, which has classes in full only where they are constructed.
    pub(crate) fn leaves_out_classes(&self) -> bool {
        (0..self.units.len()).any(|unit| {
            let offset = self.units[unit].header.root_offset();
            let place = Place { unit, offset };
            let Some(entry) = self.entry(place) else { return false };
            let producer = self.text(place, &entry, gimli::DW_AT_producer).unwrap_or_default();
            let language = match entry.attr_value(gimli::DW_AT_language) {
                Some(AttributeValue::Language(language)) => language.to_string(),
                _ => String::new(),
            };
            producer.contains("clang") && language.contains("C_plus_plus")
        })
    }

    /// The source file that an entry's unit was made of, without its folder.
    pub(crate) fn source(&self, place: Place) -> Option<String> {
        let name = self.units.get(place.unit)?.name?;
        Some(base_name(&name.to_string_lossy()).to_owned())
    }

    /// The name that symbol tables have for a function or variable.
    pub(crate) fn symbol_name(&self, place: Place) -> Option<String> {
        let names = [gimli::DW_AT_linkage_name, gimli::DW_AT_name];
        names.into_iter().find_map(|name| {
            let (place, entry, _) = self.inherited(place, name)?;
            self.text(place, &entry, name)
        })
    }
}

/// Where a variable is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Location {
    Address(u64),
    /// The offset in its module's thread-local block.
    ThreadLocal(u64),
}

pub(crate) fn is_flag_set(entry: &Entry<'_>, name: gimli::DwAt) -> bool {
    matches!(entry.attr_value(name), Some(AttributeValue::Flag(true)))
}

/// A number that an attribute has as a constant.
pub(crate) fn number(entry: &Entry<'_>, name: gimli::DwAt) -> Option<u64> {
    let value = entry.attr_value(name)?;
    value
        .udata_value()
        .or_else(|| value.sdata_value().map(i64::cast_unsigned))
}
