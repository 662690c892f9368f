//! What `inspect` and `link` say of linked images, as it stands in their JSON. `cli/JSON.md` describes the fields.

use std::collections::HashMap;

use restub::loader::{
    AppliedRelocation, Formula, Image, ImageSymbol, Need, Object, ROWS, Relaxation, RelocationBinding, Row,
    SegmentKind, SymbolBinding, SymbolKind,
};
use serde::Serialize;

use crate::output::Hex;

/// A segment of an image.
#[derive(Debug, Serialize)]
pub(crate) struct Segment {
    pub(crate) kind: &'static str,
    pub(crate) permissions: &'static str,
    pub(crate) address: Hex,
    pub(crate) filled_bytes: u64,
    pub(crate) total_bytes: u64,
}

/// A relocation of a loaded section, with what it becomes.
#[derive(Debug, Serialize)]
pub(crate) struct Relocation {
    pub(crate) object: String,
    pub(crate) section: String,
    pub(crate) offset: Hex,
    pub(crate) r#type: &'static str,
    pub(crate) symbol: String,
    pub(crate) addend: i64,
    pub(crate) outcome: Outcome,
    /// The rewrite, if the instruction was relaxed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) relaxation: Option<&'static str>,
    /// What is in the field.
    pub(crate) value: Hex,
}

/// What becomes of a relocation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Outcome {
    Direct,
    Plt,
    Got,
    Relaxed,
    Copy,
    TlsGd,
    TlsLd,
    TlsIe,
    TlsLe,
    TlsDesc,
    TlsBlock,
    /// It only marks an instruction.
    Mark,
    /// A weak symbol that nothing defines.
    Null,
    /// Nothing defines the symbol, so that the image does not load.
    Undefined,
}

impl Outcome {
    pub(crate) fn words(self) -> &'static str {
        match self {
            Outcome::Direct => "direct",
            Outcome::Plt => "PLT entry",
            Outcome::Got => "GOT slot",
            Outcome::Relaxed => "relaxed",
            Outcome::Copy => "private copy",
            Outcome::TlsGd => "TLS pair (general dynamic)",
            Outcome::TlsLd => "TLS pair (local dynamic)",
            Outcome::TlsIe => "TLS slot (initial exec)",
            Outcome::TlsLe => "TLS offset (local exec)",
            Outcome::TlsDesc => "TLS descriptor",
            Outcome::TlsBlock => "offset in the TLS block",
            Outcome::Mark => "mark of an instruction",
            Outcome::Null => "null, a weak symbol that nothing defines",
            Outcome::Undefined => "undefined",
        }
    }

    fn of(row: &Row, binding: RelocationBinding) -> Self {
        match (binding, row.need) {
            (RelocationBinding::Null, _) => Outcome::Null,
            (_, Need::TlsGd) => Outcome::TlsGd,
            (_, Need::TlsLd) => Outcome::TlsLd,
            (_, Need::TlsIe) => Outcome::TlsIe,
            (_, Need::TlsLe) => Outcome::TlsLe,
            (_, Need::TlsDesc) => Outcome::TlsDesc,
            (_, Need::TlsBlock) => Outcome::TlsBlock,
            _ if row.formula == Formula::None => Outcome::Mark,
            (RelocationBinding::Direct, _) => Outcome::Direct,
            (RelocationBinding::Plt, _) => Outcome::Plt,
            (RelocationBinding::Got, _) => Outcome::Got,
            (RelocationBinding::Relaxed, _) => Outcome::Relaxed,
            (RelocationBinding::Copy, _) => Outcome::Copy,
        }
    }
}

/// A symbol of an image.
#[derive(Debug, Serialize)]
pub(crate) struct Symbol {
    pub(crate) name: String,
    pub(crate) address: Hex,
    pub(crate) size: u64,
    pub(crate) kind: &'static str,
    pub(crate) binding: &'static str,
    pub(crate) object: Option<String>,
}

pub(crate) fn segments(image: &Image) -> Vec<Segment> {
    let placement = &image.placement;
    let used = SegmentKind::ALL
        .into_iter()
        .filter(|segment| placement.sizes[*segment as usize].total_bytes > 0);
    used.map(|segment| Segment {
        kind: segment_name(segment),
        permissions: segment.permissions(),
        address: Hex(placement.addresses[segment as usize]),
        filled_bytes: placement.sizes[segment as usize].filled_bytes,
        total_bytes: placement.sizes[segment as usize].total_bytes,
    })
    .collect()
}

pub(crate) fn segment_name(segment: SegmentKind) -> &'static str {
    match segment {
        SegmentKind::Code => "code",
        SegmentKind::ReadOnly => "read-only",
        SegmentKind::Data => "data",
        SegmentKind::LargeData => "large-data",
    }
}

pub(crate) fn symbol(image: &Image, symbol: &ImageSymbol) -> Symbol {
    Symbol {
        name: symbol.name.to_string(),
        address: Hex(symbol.address),
        size: symbol.size,
        kind: match symbol.kind {
            SymbolKind::Function => "function",
            SymbolKind::Data => "data",
            SymbolKind::Tls => "tls",
            SymbolKind::Absolute => "absolute",
            SymbolKind::Synthetic => "synthetic",
        },
        binding: match symbol.binding {
            SymbolBinding::Local => "local",
            SymbolBinding::Strong => "global",
            SymbolBinding::Weak => "weak",
        },
        object: image.objects.get(symbol.object as usize).cloned(),
    }
}

/// Describes the traced relocations of an image that these objects, and perhaps others, were linked to.
pub(crate) fn relocations(image: &Image, objects: &[Object<'_>]) -> Vec<Relocation> {
    let by_name: HashMap<&str, &Object<'_>> = objects.iter().rev().map(|object| (object.name(), object)).collect();
    let rows: HashMap<&str, &'static Row> = ROWS.iter().map(|row| (row.name, row)).collect();
    let sections = image
        .sections
        .iter()
        .filter_map(|s| Some(((s.object?, s.index?), &*s.name)));
    let sections: HashMap<(u32, u32), &str> = sections.collect();
    let describe = |applied: &AppliedRelocation| {
        let row = rows[applied.name];
        let outcome = Outcome::of(row, applied.binding);
        let object = &image.objects[applied.object as usize];
        let relaxation = by_name
            .get(object.as_str())
            .filter(|_| outcome == Outcome::Relaxed)
            .and_then(|object| {
                let section = object.sections().get(applied.section as usize)?;
                Relaxation::of(row, section.data, usize::try_from(applied.offset).ok()?, applied.addend)
            });
        let section = sections.get(&(applied.object, applied.section));
        Relocation {
            object: object.clone(),
            section: section.map_or_else(|| format!("section {}", applied.section), |name| (*name).to_owned()),
            offset: Hex(applied.offset),
            r#type: row.name,
            symbol: applied.symbol.clone(),
            addend: applied.addend,
            outcome,
            relaxation: relaxation.map(|relaxation| relaxation.words),
            value: Hex(applied.value),
        }
    };
    image.relocations.iter().map(describe).collect()
}

/// `symbol+0x10`, as messages and disassemblers write it.
pub(crate) fn with_addend(symbol: &str, addend: i64) -> String {
    match addend {
        0 => symbol.to_owned(),
        _ if addend < 0 => format!("{symbol}-{:#x}", addend.unsigned_abs()),
        _ => format!("{symbol}+{addend:#x}"),
    }
}
