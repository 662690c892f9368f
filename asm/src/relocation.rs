//! Relocation types: numbers, names, and which one a place takes.

use alloc::string::String;

use crate::encode::FixupKind;
use crate::section::Fix;
use crate::symbol::Operator;

/// x86-64 psABI relocation numbers (table 4.9).
pub(crate) mod r {
    pub(crate) const NONE: u32 = 0;
    pub(crate) const R64: u32 = 1;
    pub(crate) const PC32: u32 = 2;
    pub(crate) const GOT32: u32 = 3;
    pub(crate) const PLT32: u32 = 4;
    pub(crate) const GOTPCREL: u32 = 9;
    pub(crate) const R32: u32 = 10;
    pub(crate) const R32S: u32 = 11;
    pub(crate) const R16: u32 = 12;
    pub(crate) const PC16: u32 = 13;
    pub(crate) const R8: u32 = 14;
    pub(crate) const PC8: u32 = 15;
    pub(crate) const DTPOFF64: u32 = 17;
    pub(crate) const TPOFF64: u32 = 18;
    pub(crate) const TLSGD: u32 = 19;
    pub(crate) const TLSLD: u32 = 20;
    pub(crate) const DTPOFF32: u32 = 21;
    pub(crate) const GOTTPOFF: u32 = 22;
    pub(crate) const TPOFF32: u32 = 23;
    pub(crate) const PC64: u32 = 24;
    pub(crate) const GOTOFF64: u32 = 25;
    pub(crate) const GOTPC32: u32 = 26;
    pub(crate) const GOT64: u32 = 27;
    pub(crate) const GOTPCREL64: u32 = 28;
    pub(crate) const GOTPC64: u32 = 29;
    pub(crate) const GOTPLT64: u32 = 30;
    pub(crate) const PLTOFF64: u32 = 31;
    pub(crate) const SIZE32: u32 = 32;
    pub(crate) const SIZE64: u32 = 33;
    pub(crate) const GOTPC32_TLSDESC: u32 = 34;
    pub(crate) const TLSDESC_CALL: u32 = 35;
    pub(crate) const GOTPCRELX: u32 = 41;
    pub(crate) const REX_GOTPCRELX: u32 = 42;
}

/// The number of a relocation type by its psABI name.
pub(crate) fn named(name: &[u8]) -> Option<u32> {
    Some(match core::str::from_utf8(name.strip_prefix(b"R_X86_64_")?).ok()? {
        "NONE" => r::NONE,
        "64" => r::R64,
        "PC32" => r::PC32,
        "GOT32" => r::GOT32,
        "PLT32" => r::PLT32,
        "COPY" => 5,
        "GLOB_DAT" => 6,
        "JUMP_SLOT" => 7,
        "RELATIVE" => 8,
        "GOTPCREL" => r::GOTPCREL,
        "32" => r::R32,
        "32S" => r::R32S,
        "16" => r::R16,
        "PC16" => r::PC16,
        "8" => r::R8,
        "PC8" => r::PC8,
        "DTPMOD64" => 16,
        "DTPOFF64" => r::DTPOFF64,
        "TPOFF64" => r::TPOFF64,
        "TLSGD" => r::TLSGD,
        "TLSLD" => r::TLSLD,
        "DTPOFF32" => r::DTPOFF32,
        "GOTTPOFF" => r::GOTTPOFF,
        "TPOFF32" => r::TPOFF32,
        "PC64" => r::PC64,
        "GOTOFF64" => r::GOTOFF64,
        "GOTPC32" => r::GOTPC32,
        "GOT64" => r::GOT64,
        "GOTPCREL64" => r::GOTPCREL64,
        "GOTPC64" => r::GOTPC64,
        "GOTPLT64" => r::GOTPLT64,
        "PLTOFF64" => r::PLTOFF64,
        "SIZE32" => r::SIZE32,
        "SIZE64" => r::SIZE64,
        "GOTPC32_TLSDESC" => r::GOTPC32_TLSDESC,
        "TLSDESC_CALL" => r::TLSDESC_CALL,
        "TLSDESC" => 36,
        "IRELATIVE" => 37,
        "GOTPCRELX" => r::GOTPCRELX,
        "REX_GOTPCRELX" => r::REX_GOTPCRELX,
        _ => return None,
    })
}

/// The type for a value.
pub(crate) fn absolute_kind(fix: &Fix) -> Result<u32, String> {
    match fix.size {
        8 => Ok(r::R64),
        4 if fix.kind == FixupKind::AbsoluteSigned => Ok(r::R32S),
        4 => Ok(r::R32),
        2 => Ok(r::R16),
        1 => Ok(r::R8),
        size => Err(alloc::format!("there is no relocation of {size} bytes")),
    }
}

/// The type for a value less the place.
pub(crate) fn relative_kind(size: u8) -> Result<u32, String> {
    match size {
        8 => Ok(r::PC64),
        4 => Ok(r::PC32),
        2 => Ok(r::PC16),
        1 => Ok(r::PC8),
        size => Err(alloc::format!("there is no relative relocation of {size} bytes")),
    }
}

/// The type for what an operator makes of a symbol.
pub(crate) fn operator_kind(operator: Operator, fix: &Fix, relative: bool) -> Result<u32, String> {
    use Operator as O;
    Ok(match (operator, fix.size) {
        (O::Plt, 4) => r::PLT32,
        (O::Gotpcrel, 4) => match fix.relaxable {
            _ if !relative => r::GOTPCREL,
            0 => r::GOTPCREL,
            1 => r::GOTPCRELX,
            _ => r::REX_GOTPCRELX,
        },
        (O::GotpcrelNorelax, 4) => r::GOTPCREL,
        (O::Gotpcrel, 8) => r::GOTPCREL64,
        (O::Got, 4) => r::GOT32,
        (O::Got, 8) => r::GOT64,
        (O::Gotoff, 8) => r::GOTOFF64,
        (O::Pltoff, 8) => r::PLTOFF64,
        (O::Gotplt, 8) => r::GOTPLT64,
        (O::Tlsgd, 4) => r::TLSGD,
        (O::Tlsld, 4) => r::TLSLD,
        (O::Gottpoff, 4) => r::GOTTPOFF,
        (O::Tpoff, 4) => r::TPOFF32,
        (O::Tpoff, 8) => r::TPOFF64,
        (O::Dtpoff, 4) => r::DTPOFF32,
        (O::Dtpoff, 8) => r::DTPOFF64,
        (O::Tlsdesc, 4) => r::GOTPC32_TLSDESC,
        (O::Tlscall, _) => r::TLSDESC_CALL,
        (O::Size, 4) => r::SIZE32,
        (O::Size, 8) => r::SIZE64,
        (O::Foreign, _) => return Err(String::from("this relocation operator is for 32-bit code")),
        (_, size) => return Err(alloc::format!("this relocation operator does not fit {size} bytes")),
    })
}
