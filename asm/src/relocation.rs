//! Relocation types: numbers and names.

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
