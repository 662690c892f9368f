//! Debug sections: those of all objects, joined by name, decompressed and relocated for debuggers.
//!
//! They are no part of the image in memory, so nothing here happens unless [`Options::debug`](crate::Options::debug)
//! asks for it. A debug section starts at address 0, as in the files that `ld` writes: references from one to another
//! are offsets, and references to code and data are final addresses.

use std::borrow::Cow;

use object::LittleEndian as LE;
use object::elf;
use object::read::{CompressedData, CompressionFormat};
use rustc_hash::FxHashMap;

use crate::apply::Linked;
use crate::compressed::decompress;
use crate::error::{Error, RelocationError, Result};
use crate::image::DebugSection;
use crate::layout::{SectionPlace, round_up};
use crate::limits::Limits;
use crate::object::{Object, Relocation, Section, SectionState};
use crate::own;
use crate::relocation::{Need, Row, Values};
use crate::scan;
use crate::unit::{Definition, Unit};

/// Where each debug section went: from object and section to its place in the joined section.
type Places = FxHashMap<(usize, usize), (usize, u64)>;

/// Reads, joins and relocates the debug sections of every object.
pub(crate) fn sections(linked: &Linked<'_, '_>, limits: &Limits) -> Result<Vec<DebugSection>> {
    let (mut joined, places) = join(linked.unit, limits)?;
    let kept = kept_groups(linked.unit);
    let relocator = Relocator {
        linked,
        places: &places,
        kept: &kept,
    };
    for (&(object, index), &(at, offset)) in &places {
        let bytes = &mut joined[at].bytes;
        relocator.relocate(object, index, bytes, offset)?;
    }
    Ok(joined)
}

fn join(unit: &Unit<'_>, limits: &Limits) -> Result<(Vec<DebugSection>, Places)> {
    let mut joined: Vec<DebugSection> = Vec::new();
    let mut by_name = FxHashMap::default();
    let mut places = Places::default();
    let mut total = 0;
    for (number, object) in unit.objects.iter().enumerate() {
        for (index, section) in object.sections.iter().enumerate() {
            let Some(name) = debug_name(section) else { continue };
            let (contents, align) = contents(object, section, limits)?;
            total = limits.add(total, contents.len() as u64, "debug sections")?;
            let at = *by_name.entry(name).or_insert_with_key(|name| {
                joined.push(DebugSection {
                    name: String::from_utf8_lossy(name).into(),
                    bytes: Vec::new(),
                });
                joined.len() - 1
            });
            let bytes = &mut joined[at].bytes;
            let offset = round_up(bytes.len() as u64, align.min(16));
            bytes.resize(offset as usize, 0);
            bytes.extend_from_slice(&contents);
            places.insert((number, index), (at, offset));
        }
    }
    Ok((joined, places))
}

/// The name of a debug section; `.zdebug_info` is the older form of a compressed `.debug_info`.
fn debug_name<'data>(section: &Section<'data>) -> Option<Cow<'data, [u8]>> {
    if section.state != SectionState::Unloaded || section.is_nobits() {
        return None;
    }
    if let Some(rest) = section.name.strip_prefix(b".zdebug_") {
        return Some([b".debug_", rest].concat().into());
    }
    section.name.starts_with(b".debug_").then_some(section.name.into())
}

/// A section's contents as a debugger reads them, with their alignment.
fn contents<'data>(object: &Object<'_>, section: &Section<'data>, limits: &Limits) -> Result<(Cow<'data, [u8]>, u64)> {
    let malformed = |reason: String| object.malformed(format!("{}: {reason}", section.display_name()));
    let (compressed, align) = if section.flags.contains(elf::SHF_COMPRESSED) {
        // gABI, "Section Compression": a header, then the stream.
        let (header, stream) = object::pod::from_bytes::<elf::CompressionHeader64<LE>>(section.data)
            .map_err(|()| malformed("the compression header is cut off".into()))?;
        let format = match header.ch_type.get(LE) {
            elf::ELFCOMPRESS_ZLIB => CompressionFormat::Zlib,
            elf::ELFCOMPRESS_ZSTD => CompressionFormat::Zstandard,
            other => return Err(malformed(format!("compression type {} is not known", other.0))),
        };
        let compressed = CompressedData {
            format,
            data: stream,
            uncompressed_size: header.ch_size.get(LE),
        };
        (compressed, header.ch_addralign.get(LE))
    } else if section.name.starts_with(b".zdebug_")
        && let Some((size, stream)) = section.data.strip_prefix(b"ZLIB").and_then(<[u8]>::split_first_chunk)
    {
        let uncompressed_size = u64::from_be_bytes(*size);
        (
            CompressedData {
                format: CompressionFormat::Zlib,
                data: stream,
                uncompressed_size,
            },
            1,
        )
    } else {
        (CompressedData::none(section.data), section.align)
    };
    limits.add(compressed.uncompressed_size, 0, "debug section")?;
    let bytes = decompress(compressed).map_err(malformed)?;
    Ok((bytes, if align.is_power_of_two() { align } else { 1 }))
}

/// The object whose copy of each COMDAT group was chosen, by the group's signature, with the group's place in it.
fn kept_groups<'data>(unit: &Unit<'data>) -> FxHashMap<&'data [u8], (usize, usize)> {
    let mut kept = FxHashMap::default();
    for (number, object) in unit.objects.iter().enumerate() {
        for (index, group) in object.groups.iter().enumerate().filter(|(_, group)| group.comdat) {
            kept.entry(group.signature).or_insert((number, index));
        }
    }
    kept
}

struct Relocator<'a, 'unit, 'data> {
    linked: &'a Linked<'unit, 'data>,
    places: &'a Places,
    kept: &'a FxHashMap<&'data [u8], (usize, usize)>,
}

impl Relocator<'_, '_, '_> {
    fn relocate(&self, object: usize, index: usize, bytes: &mut [u8], start: u64) -> Result<()> {
        let unit = &self.linked.unit;
        let section = &unit.objects[object].sections[index];
        for relocation in section.relocations.iter() {
            let refuse = |reason| scan::error(unit, object, index, relocation, reason);
            let row = Row::of(relocation.number).ok_or_else(|| refuse(RelocationError::UnknownType))?;
            if row.dynamic_only {
                return Err(refuse(RelocationError::DynamicOnly));
            }
            let outside = RelocationError::OutsideSection {
                width: row.width,
                size: section.size,
            };
            let end = bytes.len();
            let field = start
                .checked_add(relocation.offset)
                .and_then(|at| usize::try_from(at).ok())
                .filter(|at| *at <= end && end - at >= usize::from(row.width))
                .map(|at| &mut bytes[at..]);
            let field = field.ok_or_else(|| refuse(outside))?;
            let value = match self.symbol_value(object, relocation).map_err(|error| match error {
                Failure::Relocation(reason) => refuse(reason),
                Failure::Object(error) => error,
            })? {
                Some(s) if is_plain(row) => {
                    let p = start.wrapping_add(relocation.offset);
                    let z = unit.symbols[unit.symbol_ids[object][relocation.symbol as usize].0 as usize].size;
                    let a = relocation.addend.cast_unsigned();
                    row.value(&Values {
                        s,
                        a,
                        p,
                        z,
                        l: s,
                        block: s,
                        ..Values::default()
                    })
                }
                _ => tombstone(section.name),
            };
            if !row.fits(value) {
                return Err(refuse(RelocationError::OutOfRange {
                    value,
                    width: row.width,
                    fit: row.fit,
                    hint: "",
                }));
            }
            row.write(field, value);
        }
        Ok(())
    }

    /// The address that a debug section's reference means, or `None` where it means nothing that was linked.
    fn symbol_value(&self, object: usize, relocation: Relocation) -> Result<Option<u64>, Failure> {
        let unit = &self.linked.unit;
        let id = unit.symbol_ids[object]
            .get(relocation.symbol as usize)
            .ok_or(Failure::Relocation(RelocationError::NoSuchSymbol(relocation.symbol)))?;
        let symbol = &unit.symbols[id.0 as usize];
        Ok(match symbol.definition {
            Definition::Section { section, value } => {
                let (object, section) = (symbol.object as usize, section as usize);
                match self.places.get(&(object, section)) {
                    Some((_, offset)) => Some(offset.wrapping_add(value)),
                    None if self.linked.layout.places[object][section] == SectionPlace::Nowhere => None,
                    None if matches!(symbol.kind, elf::STT_FUNC | elf::STT_GNU_IFUNC) => {
                        Some(self.linked.definition_address(symbol))
                    }
                    None if symbol.kind == elf::STT_SECTION => {
                        let shift = own::shift_of(unit, symbol, relocation.addend);
                        Some(symbol.address.wrapping_add(shift))
                    }
                    None => Some(symbol.address),
                }
            }
            Definition::Discarded => self.counterpart(object, relocation.symbol).map_err(Failure::Object)?,
            Definition::Undefined => None,
            _ => Some(symbol.address),
        })
    }

    /// For a symbol in a debug section that was discarded with its group: the same place in the chosen copy.
    ///
    /// `-g3` makes such groups of macro definitions, which other sections refer to by offset. A function's discarded
    /// copy has no counterpart here, because the chosen one has debug information of its own.
    fn counterpart(&self, number: usize, index: u32) -> Result<Option<u64>> {
        let object = &self.linked.unit.objects[number];
        let symbol = object.symbol(index)?;
        let Some(section) = object.symbol_section(index, symbol)? else {
            return Ok(None);
        };
        let own = object.groups.iter().find(|group| group.members.contains(&section));
        let Some((kept, group)) = own.and_then(|group| self.kept.get(group.signature)) else {
            return Ok(None);
        };
        let other = &self.linked.unit.objects[*kept];
        let name = object.sections[section].name;
        let member = other.groups[*group]
            .members
            .iter()
            .find(|member| other.sections[**member].name == name);
        let place = member.and_then(|member| self.places.get(&(*kept, *member)));
        Ok(place.map(|(_, offset)| offset.wrapping_add(symbol.st_value.get(LE))))
    }
}

enum Failure {
    Relocation(RelocationError),
    Object(Error),
}

/// Whether a row means something outside of loaded sections, where nothing has a GOT slot or PLT entry.
fn is_plain(row: &Row) -> bool {
    matches!(
        row.need,
        Need::Nothing | Need::Address | Need::NearAddress | Need::TlsBlock
    )
}

/// What stands for an address that does not exist: 0, which debuggers pass over, or 1 in the tables where a pair of
/// zeros ends the list (as GNU ld does).
fn tombstone(section: &[u8]) -> u64 {
    u64::from(matches!(
        section,
        b".debug_ranges" | b".debug_loc" | b".zdebug_ranges" | b".zdebug_loc"
    ))
}
