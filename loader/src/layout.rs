//! Layout: which section goes where in which segment, and the bytes that the linker adds itself.

use object::elf;

use crate::error::{Error, Result};
use crate::limits::Limits;
use crate::memory::{SegmentKind, SegmentSize};
use crate::object::{Section, SectionState};
use crate::resolver::Target;
use crate::scan::Tables;
use crate::supplied::LinkerSymbol;
use crate::unit::{Definition, Symbol, Unit};

/// Size of a PLT entry in bytes.
pub(crate) const PLT_ENTRY_BYTES: u64 = 16;
pub(crate) const WORD_BYTES: u64 = 8;

/// Where a section is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SectionPlace {
    /// Not part of the image.
    Nowhere,
    /// At an offset of a segment.
    In(SegmentKind, u64),
    /// In the thread-local block only, at that offset (`.tbss`).
    Tls(u64),
}

/// The arrays of functions that run at the start and the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum ArrayKind {
    Preinit,
    Init,
    Fini,
}

/// One section of such an array.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ArrayPart {
    pub(crate) kind: ArrayKind,
    pub(crate) offset: u64,
    pub(crate) size: u64,
    /// `.ctors` and `.dtors` are read from their end.
    pub(crate) backwards: bool,
}

/// The layout of one image. Offsets are into segments.
#[derive(Debug)]
pub(crate) struct Layout {
    pub(crate) sizes: [SegmentSize; 4],
    /// For each object, for each section.
    pub(crate) places: Vec<Vec<SectionPlace>>,
    /// In the read-only segment, without the terminator.
    pub(crate) eh_frame: Option<(u64, u64)>,
    /// In the read-only segment: the template of the thread-local block.
    pub(crate) tls_template: u64,
    pub(crate) tls_filled: u64,
    pub(crate) tls_size: u64,
    pub(crate) tls_align: u64,
    pub(crate) arrays: Vec<ArrayPart>,
    /// For each of [`Unit::bounded`].
    pub(crate) bounds: Vec<(SegmentKind, u64, u64)>,
    /// In the read-only segment.
    pub(crate) got: u64,
    /// In the code segment.
    pub(crate) plt: u64,
    /// In the data segment, if something refers to it.
    pub(crate) dso_handle: Option<u64>,
}

/// A section's place in the order of its segment.
struct Item {
    rank: Rank,
    /// Orders within the rank: a priority, or the place of a name whose bounds are asked for.
    key: u32,
    object: u32,
    section: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    Code,
    Constant,
    Array(ArrayKind),
    TlsFilled,
    TlsZero,
    /// Last of its segment, because its end mark has to follow directly.
    EhFrame,
    Data,
    Zero,
    LargeData,
    LargeZero,
}

impl Rank {
    fn segment(self) -> SegmentKind {
        match self {
            Rank::Code => SegmentKind::Code,
            Rank::Constant | Rank::EhFrame | Rank::Array(_) | Rank::TlsFilled | Rank::TlsZero => SegmentKind::ReadOnly,
            Rank::Data | Rank::Zero => SegmentKind::Data,
            Rank::LargeData | Rank::LargeZero => SegmentKind::LargeData,
        }
    }
}

/// Places every section of the unit. [`Layout::add_tables`] completes it with what the linker adds.
pub(crate) fn place_sections(unit: &Unit<'_>, limits: &Limits) -> Result<Layout> {
    let mut items = Vec::new();
    let mut contents = 0;
    let mut places = Vec::with_capacity(unit.objects.len());
    for (number, object) in unit.objects.iter().enumerate() {
        places.push(vec![SectionPlace::Nowhere; object.sections.len()]);
        for (index, section) in object.sections.iter().enumerate() {
            if section.state != SectionState::Loaded || section.name == b".note.gnu.property" {
                continue;
            }
            limits.check_section(&object.name, section)?;
            contents += section.data.len() as u64;
            let (rank, key) = rank(unit, &object.name, section)?;
            items.push(Item {
                rank,
                key,
                object: number as u32,
                section: index as u32,
            });
        }
    }
    for symbol in &unit.symbols {
        if let Definition::Common { align, .. } = symbol.definition {
            limits.check_common(&unit.objects[symbol.object as usize].name, symbol.name, align)?;
        }
    }
    join_bounded(&mut items, unit.bounded.len());
    items.sort_by_key(|item| (item.rank, item.key));
    let mut layout = Layout {
        sizes: [SegmentSize {
            align: 1,
            ..SegmentSize::default()
        }; 4],
        places,
        eh_frame: None,
        tls_template: 0,
        tls_filled: 0,
        tls_size: 0,
        tls_align: 1,
        arrays: Vec::new(),
        bounds: vec![(SegmentKind::Data, u64::MAX, 0); unit.bounded.len()],
        got: 0,
        plt: 0,
        dso_handle: None,
    };
    layout.place_tls(unit, &items, limits)?;
    for item in &items {
        layout.place(unit, item, limits)?;
    }
    let filled: u64 = layout.sizes.iter().map(|size| size.filled_bytes).sum();
    limits.check_padding(filled.saturating_sub(contents))?;
    if let Some((start, size)) = layout.eh_frame {
        // The unwinder reads records until it finds a length of zero.
        layout.append(SegmentKind::ReadOnly, 4, 1, true, limits)?;
        debug_assert_eq!(layout.sizes[1].total_bytes, start + size + 4);
    }
    Ok(layout)
}

impl Layout {
    /// The template and the rest of the thread-local block, whose offsets have to agree with each other.
    fn place_tls(&mut self, unit: &Unit<'_>, items: &[Item], limits: &Limits) -> Result<()> {
        let tls = items
            .iter()
            .filter(|item| matches!(item.rank, Rank::TlsFilled | Rank::TlsZero));
        let mut offsets = Vec::new();
        for item in tls {
            let section = &unit.objects[item.object as usize].sections[item.section as usize];
            let offset = limits.add(round_up(self.tls_size, section.align), 0, "thread-local block")?;
            self.tls_size = limits.add(offset, section.size, "thread-local block")?;
            self.tls_align = self.tls_align.max(section.align);
            if item.rank == Rank::TlsFilled {
                self.tls_filled = self.tls_size;
            }
            offsets.push((item, offset));
        }
        if self.tls_filled > 0 {
            self.tls_template = self.append(SegmentKind::ReadOnly, self.tls_filled, self.tls_align, true, limits)?;
        }
        for (item, offset) in offsets {
            self.places[item.object as usize][item.section as usize] = match item.rank {
                Rank::TlsFilled => SectionPlace::In(SegmentKind::ReadOnly, self.tls_template + offset),
                _ => SectionPlace::Tls(offset),
            };
        }
        Ok(())
    }

    fn place(&mut self, unit: &Unit<'_>, item: &Item, limits: &Limits) -> Result<()> {
        if matches!(item.rank, Rank::TlsFilled | Rank::TlsZero) {
            return Ok(());
        }
        let object = &unit.objects[item.object as usize];
        let section = &object.sections[item.section as usize];
        let segment = item.rank.segment();
        let filled = !matches!(item.rank, Rank::Zero | Rank::LargeZero);
        let (size, align) = match item.rank {
            // Padding would end the table, so the records follow one another directly.
            Rank::EhFrame => (eh_frame_records(&object.name, section)?, 1),
            // Nor may there be any between pointers, whatever the alignment that an assembler writes.
            Rank::Array(_) => (section.size, WORD_BYTES),
            _ => (section.size, section.align),
        };
        let align = if item.rank == Rank::EhFrame && self.eh_frame.is_none() {
            8
        } else {
            align
        };
        let offset = self.append(segment, size, align, filled, limits)?;
        match item.rank {
            Rank::EhFrame => {
                let (start, _) = *self.eh_frame.get_or_insert((offset, 0));
                self.eh_frame = Some((start, offset + size - start));
            }
            Rank::Array(kind) => {
                let backwards = array_kind(section.name).is_some_and(|(_, _, backwards)| backwards);
                self.arrays.push(ArrayPart {
                    kind,
                    offset,
                    size,
                    backwards,
                });
            }
            _ => {}
        }
        if let Some(at) = unit.bounded.get(section.name) {
            let at = usize::from(*at);
            let (_, start, _) = self.bounds[at];
            self.bounds[at] = (segment, start.min(offset), offset + size);
        }
        self.places[item.object as usize][item.section as usize] = SectionPlace::In(segment, offset);
        Ok(())
    }

    /// Adds what the linker itself needs: PLT, GOT, commons, copies, and the module's handle.
    pub(crate) fn add_tables(&mut self, unit: &mut Unit<'_>, tables: &Tables, limits: &Limits) -> Result<()> {
        let plt_bytes = u64::from(tables.plt_entries) * PLT_ENTRY_BYTES;
        if plt_bytes > 0 {
            self.plt = self.append(SegmentKind::Code, plt_bytes, PLT_ENTRY_BYTES, true, limits)?;
        }
        let got_bytes = u64::from(tables.got_words) * WORD_BYTES;
        self.got = self.sizes[1].total_bytes;
        if got_bytes > 0 {
            self.got = self.append(SegmentKind::ReadOnly, got_bytes, WORD_BYTES, true, limits)?;
        }
        let handle = |symbol: &Symbol<'_>| symbol.definition == Definition::Linker(LinkerSymbol::DsoHandle);
        if unit.symbols.iter().any(handle) {
            self.dso_handle = Some(self.take(&DSO_HANDLE, limits)?);
        }
        for symbol in &mut unit.symbols {
            let taken = taken(symbol);
            match (&mut symbol.definition, taken) {
                (Definition::Common { offset, .. } | Definition::Copy { offset, .. }, Some(taken)) => {
                    *offset = self.take(&taken, limits)?;
                }
                (Definition::Common { align, offset, .. }, None) => {
                    *offset = round_up(self.tls_size, *align);
                    self.tls_size = limits.add(*offset, symbol.size, "thread-local block")?;
                    self.tls_align = self.tls_align.max(*align);
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn take(&mut self, taken: &Taken, limits: &Limits) -> Result<u64> {
        self.append(taken.segment, taken.size, taken.align, false, limits)
    }

    fn append(&mut self, segment: SegmentKind, size: u64, align: u64, filled: bool, limits: &Limits) -> Result<u64> {
        let total = &mut self.sizes[segment as usize];
        let offset = limits.add(round_up(total.total_bytes, align), 0, "segment")?;
        total.total_bytes = limits.add(offset, size, "segment")?;
        total.align = total.align.max(align);
        if filled {
            total.filled_bytes = total.total_bytes;
        }
        Ok(offset)
    }
}

/// Zeros that a symbol takes of a segment.
pub(crate) struct Taken {
    pub(crate) segment: SegmentKind,
    pub(crate) size: u64,
    pub(crate) align: u64,
}

/// Only the address of the module's handle counts, so it is a word.
pub(crate) const DSO_HANDLE: Taken = Taken {
    segment: SegmentKind::Data,
    size: WORD_BYTES,
    align: WORD_BYTES,
};

/// What a common symbol or a copy takes; thread-local ones are in the block.
pub(crate) fn taken(symbol: &Symbol<'_>) -> Option<Taken> {
    match symbol.definition {
        Definition::Common { align, large, .. } if symbol.kind != elf::STT_TLS => Some(Taken {
            segment: if large {
                SegmentKind::LargeData
            } else {
                SegmentKind::Data
            },
            size: symbol.size,
            align,
        }),
        Definition::Copy { original, .. } => Some(taken_by_copy(original)),
        _ => None,
    }
}

/// What a copy of a library's variable takes.
pub(crate) fn taken_by_copy(original: Target) -> Taken {
    const MOST_ALIGN_BYTES: u64 = 64;
    // The original's alignment is not known; its address has it.
    let multiple_of = original.address & original.address.wrapping_neg();
    Taken {
        segment: SegmentKind::Data,
        size: original.size,
        align: multiple_of.clamp(WORD_BYTES, MOST_ALIGN_BYTES),
    }
}

/// Rounds up to a power of two; an overflow gives `u64::MAX`, which every limit refuses.
pub(crate) fn round_up(value: u64, align: u64) -> u64 {
    value.checked_next_multiple_of(align).unwrap_or(u64::MAX)
}

/// Puts sections between one pair of bounds together: what is constant or empty in one object goes with the variables of
/// another.
fn join_bounded(items: &mut [Item], names: usize) {
    if names == 0 {
        return;
    }
    let movable = |item: &Item| matches!(item.rank, Rank::Constant | Rank::Data | Rank::Zero) && item.key > 0;
    let mut ranks: Vec<Option<Rank>> = vec![None; names];
    for item in items.iter().filter(|item| movable(item)) {
        let rank = &mut ranks[item.key as usize - 1];
        *rank = Some(rank.map_or(item.rank, |rank| if rank == item.rank { rank } else { Rank::Data }));
    }
    for item in items.iter_mut().filter(|item| movable(item)) {
        item.rank = ranks[item.key as usize - 1].unwrap_or(item.rank);
    }
}

fn rank(unit: &Unit<'_>, object: &str, section: &Section<'_>) -> Result<(Rank, u32)> {
    let writable = section.flags.contains(elf::SHF_WRITE);
    let large = section.is_large();
    let bounded = unit.bounded.get(section.name).map_or(0, |at| u32::from(*at) + 1);
    if section.flags.contains(elf::SHF_EXECINSTR) {
        if writable {
            return Err(Error::Unsupported {
                object: object.to_owned(),
                what: format!("section {} is both writable and executable", section.display_name()),
                remedy: "split it into code and data",
            });
        }
        return Ok((Rank::Code, bounded));
    }
    if section.is_tls() {
        return Ok((
            if section.is_nobits() {
                Rank::TlsZero
            } else {
                Rank::TlsFilled
            },
            0,
        ));
    }
    if let Some((kind, priority, _)) = array_kind(section.name) {
        return Ok((Rank::Array(kind), priority));
    }
    if section.is_unwind_table() {
        return Ok((Rank::EhFrame, 0));
    }
    let rank = match (writable, large, section.is_nobits()) {
        (false, _, _) => Rank::Constant,
        (true, _, false) if section.name.starts_with(b".data.rel.ro") => Rank::Constant,
        (true, false, false) => Rank::Data,
        (true, false, true) => Rank::Zero,
        (true, true, false) => Rank::LargeData,
        (true, true, true) => Rank::LargeZero,
    };
    Ok((rank, bounded))
}

/// Whether a section is a part of `.init_array` or its kin.
pub(crate) fn is_function_array(name: &[u8]) -> bool {
    array_kind(name).is_some()
}

/// The array that a section is a part of, by its name as in `ld`'s default script: lower priorities come first, and a
/// section without a number last. `.ctors.N` counts down from 65535.
fn array_kind(name: &[u8]) -> Option<(ArrayKind, u32, bool)> {
    const ARRAYS: [(&[u8], ArrayKind, bool); 5] = [
        (b".preinit_array", ArrayKind::Preinit, false),
        (b".init_array", ArrayKind::Init, false),
        (b".ctors", ArrayKind::Init, true),
        (b".fini_array", ArrayKind::Fini, false),
        (b".dtors", ArrayKind::Fini, true),
    ];
    let (prefix, kind, backwards) = ARRAYS.iter().find(|(prefix, _, _)| name.starts_with(prefix))?;
    let number = match &name[prefix.len()..] {
        [] => return Some((*kind, u32::MAX, *backwards)),
        [b'.', digits @ ..] => std::str::from_utf8(digits)
            .ok()
            .and_then(|digits| digits.parse::<u32>().ok()),
        _ => return None,
    };
    let priority = number.map(|number| {
        if *backwards {
            65535_u32.saturating_sub(number)
        } else {
            number
        }
    });
    Some((*kind, priority.unwrap_or(u32::MAX), *backwards))
}

/// The bytes of an `.eh_frame` section up to its terminator, if it has one of its own.
///
/// The unwinder trusts the records' lengths, so they are checked here (LSB 5.0, "Exception Frames").
///
/// [`eh_frame_bytes`] gives the same bytes once this has checked them.
fn eh_frame_records(object: &str, section: &Section<'_>) -> Result<u64> {
    let mut rest = section.data;
    loop {
        let at = section.data.len() - rest.len();
        let malformed = || Error::Malformed {
            object: object.to_owned(),
            reason: format!(
                "{}+{at:#x}: the record reaches beyond the section",
                section.display_name()
            ),
        };
        let Some((length, tail)) = rest.split_first_chunk() else {
            return if rest.is_empty() {
                Ok(at as u64)
            } else {
                Err(malformed())
            };
        };
        let length = match u32::from_le_bytes(*length) {
            0 => return Ok(at as u64),
            u32::MAX => return Err(malformed()), // the 64-bit form, which no unwinder reads
            length => length as usize,
        };
        rest = tail.get(length..).ok_or_else(malformed)?;
    }
}

/// The records of an `.eh_frame` section that layout has checked, without a terminator of its own.
pub(crate) fn eh_frame_bytes<'data>(section: &Section<'data>) -> &'data [u8] {
    let size = eh_frame_records("", section).unwrap_or(0);
    &section.data[..size as usize]
}
