//! Debug information, entry by entry: what the target's files and a patch's objects say of their functions and types.

use std::collections::HashMap;

use gimli::{AttributeValue, DebugTypeSignature, Dwarf, EndianSlice, LittleEndian, UnitOffset, UnitType};

use crate::debug_parts::{DebugParts, Reader, Sections};
use crate::retarget::base_name;

pub(crate) type Entry<'a> = gimli::DebuggingInformationEntry<Reader<'a>>;

/// Steps from an instance of a function to what it is an instance of, or from a definition to its declaration.
const LONGEST_CHAIN: u32 = 8;

/// An entry, by its unit and its place in that.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Place {
    unit: usize,
    offset: UnitOffset,
}

/// A unit, with the file that it is in.
#[derive(Debug)]
struct Unit<'a> {
    file: usize,
    unit: gimli::Unit<Reader<'a>>,
}

/// The debug information of one file, or of the objects of a patch.
#[derive(Debug)]
pub(crate) struct DebugInfo<'a> {
    /// The main file and the others.
    files: Vec<Dwarf<Reader<'a>>>,
    supplementary: Option<usize>,
    units: Vec<Unit<'a>>,
    /// Where the units of `.debug_info` start in each file, in order, and which they are.
    starts: Vec<(usize, usize, usize)>,
    /// Types that have units of their own (`-fdebug-types-section`).
    signatures: HashMap<DebugTypeSignature, Place>,
}

impl<'a> DebugInfo<'a> {
    /// Reads the units. Those that make no sense are left out.
    pub(crate) fn new(parts: &'a DebugParts<'_>) -> Self {
        let mut info = DebugInfo {
            files: Vec::new(),
            supplementary: None,
            units: Vec::new(),
            starts: Vec::new(),
            signatures: HashMap::new(),
        };
        let mut main = reading(&parts.main);
        if let Some(supplementary) = &parts.supplementary {
            main.set_sup(reading(supplementary));
        }
        info.add(main, None);
        info.add_split(parts);
        if let Some(supplementary) = &parts.supplementary {
            info.supplementary = Some(info.files.len());
            info.add(reading(supplementary), None);
        }
        info.starts.sort_unstable();
        info
    }

    /// Adds what the units of the main file have been split off.
    fn add_split(&mut self, parts: &'a DebugParts<'_>) {
        let package = parts.package.as_ref();
        let package = package.and_then(|sections| sections.borrow(slice, EndianSlice::default()).ok());
        for skeleton in 0..self.units.len() {
            let Some(id) = self.units[skeleton].unit.dwo_id else {
                continue;
            };
            let main = &self.files[0];
            let packed = package.as_ref().and_then(|package| package.find_cu(id, main).ok()?);
            let file = packed.or_else(|| {
                let (_, sections) = parts.split.iter().find(|(known, _)| *known == id)?;
                let mut file = reading(sections);
                file.make_dwo(main);
                Some(file)
            });
            if let Some(file) = file {
                self.add(file, Some(skeleton));
            }
        }
        let count = package.as_ref().map_or(0, |package| package.tu_index.unit_count());
        for index in 1..=count {
            let file = package
                .as_ref()
                .map(|package| package.tu_sections(index, &self.files[0]));
            if let Some(Ok(file)) = file {
                self.add(file, None);
            }
        }
    }

    /// Adds the units of a file. Those of a split one have some of what is known of them in their skeleton.
    fn add(&mut self, dwarf: Dwarf<Reader<'a>>, skeleton: Option<usize>) {
        let mut headers = Vec::new();
        let mut units = dwarf.units();
        while let Ok(Some(header)) = units.next() {
            headers.push(header);
        }
        let mut types = dwarf.type_units();
        while let Ok(Some(header)) = types.next() {
            headers.push(header);
        }
        let file = self.files.len();
        for header in headers {
            let kind = header.type_();
            let Ok(mut unit) = dwarf.unit(header) else { continue };
            let number = self.units.len();
            if let Some(skeleton) = skeleton.and_then(|skeleton| self.units.get(skeleton)) {
                if unit.dwo_id.is_some_and(|id| skeleton.unit.dwo_id != Some(id)) {
                    // Of another build than the object.
                    continue;
                }
                unit.copy_relocated_attributes(&skeleton.unit);
            }
            if let UnitType::Type {
                type_signature,
                type_offset,
            }
            | UnitType::SplitType {
                type_signature,
                type_offset,
            } = kind
            {
                let place = Place {
                    unit: number,
                    offset: type_offset,
                };
                self.signatures.insert(type_signature, place);
            }
            if let Some(start) = unit.header.debug_info_offset() {
                self.starts.push((file, start.0, number));
            }
            self.units.push(Unit { file, unit });
        }
        self.files.push(dwarf);
    }

    fn unit(&self, place: Place) -> Option<(&Dwarf<Reader<'a>>, &gimli::Unit<Reader<'a>>)> {
        let Unit { file, unit } = self.units.get(place.unit)?;
        Some((&self.files[*file], unit))
    }

    /// What lies at an offset in the `.debug_info` of a file.
    fn at(&self, file: usize, offset: gimli::DebugInfoOffset) -> Option<Place> {
        let behind = self
            .starts
            .partition_point(|(of, start, _)| (*of, *start) <= (file, offset.0));
        let (of, _, unit) = *self.starts.get(behind.checked_sub(1)?)?;
        let offset = offset.to_unit_offset(&self.units.get(unit).filter(|_| of == file)?.unit.header)?;
        Some(Place { unit, offset })
    }

    /// Calls a function with every entry, in order, until the units end. Depths start at 0 in each unit.
    pub(crate) fn each(&self, mut function: impl FnMut(Place, &Entry<'a>)) {
        for (number, unit) in self.units.iter().enumerate() {
            let mut entries = unit.unit.entries();
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
        self.unit(place)?.1.entry(place.offset).ok()
    }

    /// What is directly inside an entry.
    pub(crate) fn children(&self, place: Place) -> Vec<(Place, Entry<'a>)> {
        let mut children = Vec::new();
        let Some(mut entries) = self
            .unit(place)
            .and_then(|(_, unit)| unit.entries_at_offset(place.offset).ok())
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
            AttributeValue::DebugInfoRef(offset) => self.at(self.units.get(from.unit)?.file, offset),
            AttributeValue::DebugInfoRefSup(offset) => self.at(self.supplementary?, offset),
            AttributeValue::DebugTypesRef(signature) => self.signatures.get(&signature).copied(),
            _ => None,
        }
    }

    pub(crate) fn reference(&self, place: Place, entry: &Entry<'a>, name: gimli::DwAt) -> Option<Place> {
        self.target(place, entry.attr_value(name)?)
    }

    pub(crate) fn text(&self, place: Place, entry: &Entry<'a>, name: gimli::DwAt) -> Option<String> {
        let (dwarf, unit) = self.unit(place)?;
        let value = dwarf.attr_string(unit, entry.attr_value(name)?).ok()?;
        Some(value.to_string_lossy().into_owned())
    }

    /// An address: of a symbol, or of where code starts.
    pub(crate) fn address(&self, place: Place, value: AttributeValue<Reader<'a>>) -> Option<u64> {
        let (dwarf, unit) = self.unit(place)?;
        dwarf.attr_address(unit, value).ok()?
    }

    /// Where the code of a function starts: the first address, and those of its parts.
    pub(crate) fn starts(&self, place: Place, entry: &Entry<'a>) -> Vec<u64> {
        let mut starts = Vec::new();
        if entry.has_attr(gimli::DW_AT_ranges)
            && let Some((dwarf, unit)) = self.unit(place)
            && let Ok(mut ranges) = dwarf.die_ranges(unit, entry)
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
        let (dwarf, unit) = self.unit(place)?;
        let expression = entry.attr_value(gimli::DW_AT_location)?.exprloc_value()?;
        let mut operations = expression.operations(unit.encoding());
        let address = match operations.next().ok()?? {
            gimli::Operation::Address { address } => address,
            gimli::Operation::AddressIndex { index } => dwarf.address(unit, index).ok()?,
            // The offset in the thread-local block.
            gimli::Operation::UnsignedConstant { value } => value,
            gimli::Operation::ConstantIndex { index } => dwarf.address(unit, index).ok()?,
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
            let offset = self.units[unit].unit.header.root_offset();
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
        let name = self.unit(place)?.1.name?;
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

fn reading<'a>(sections: &'a Sections<'_>) -> Dwarf<Reader<'a>> {
    sections.borrow(slice)
}

fn slice<'a, S: std::ops::Deref<Target = [u8]>>(section: &'a S) -> Reader<'a> {
    EndianSlice::new(section, LittleEndian)
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
