//! The relocation table: each type of the x86-64 psABI (section 4.4.1, "Relocation Types") is one row.
//!
//! A row says what to compute, how wide the field is, how the result has to fit, and what the symbol needs from the
//! linker (a GOT slot, a PLT entry, a TLS descriptor). *Scan* collects the needs and decides on them; *apply* only
//! evaluates the formula, so a new type is a new row and nothing else.

use std::fmt;

/// What a relocation computes. The letters are the psABI's; `TP` is the thread pointer and `TLS` the start of the
/// defining module's thread-local block. `G` is the address of the slot that the row's [`Need`] asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Formula {
    /// Nothing is written.
    None,
    /// `S + A`
    Absolute,
    /// `S + A - P`
    Relative,
    /// `L + A - P`
    PltRelative,
    /// `L + A - GOT`
    PltFromGot,
    /// `G + A - GOT`
    SlotFromGot,
    /// `G + A - P`
    SlotRelative,
    /// `S + A - GOT`
    FromGot,
    /// `GOT + A - P`
    GotRelative,
    /// `Z + A`
    Size,
    /// `S + A - TP`
    FromThreadPointer,
    /// `S + A - TLS`
    FromTlsBlock,
    /// The identifier of the module that defines S.
    TlsModule,
}

/// How a value has to fit its field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fit {
    /// Sign extension of the field has to give the value back.
    Signed,
    /// Zero extension of the field has to give the value back.
    Unsigned,
    /// Either extension may give the value back.
    Either,
    /// The field takes the value modulo its width.
    Wraps,
}

impl fmt::Display for Fit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Fit::Signed => "signed",
            Fit::Unsigned => "unsigned",
            Fit::Either => "signed or unsigned",
            Fit::Wraps => "wrapping",
        })
    }
}

/// What a relocation needs of its symbol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// Nothing.
    Nothing,
    /// The address, in a field as wide as an address.
    Address,
    /// The address, within the reach of a narrow field.
    NearAddress,
    /// A call target: a PLT entry where the function is out of reach.
    Plt,
    /// A GOT slot with the address.
    Got,
    /// A GOT slot, or none where the instruction can be relaxed.
    RelaxableGot,
    /// A pair of GOT slots for `__tls_get_addr`: module and offset.
    TlsGd,
    /// A pair of GOT slots for `__tls_get_addr`: this module and 0.
    TlsLd,
    /// A GOT slot with the offset from the thread pointer.
    TlsIe,
    /// An offset from the thread pointer known at link time.
    TlsLe,
    /// A TLS descriptor.
    TlsDesc,
    /// The symbol's place in its module's thread-local block.
    TlsBlock,
}

impl Need {
    /// Whether the need is one of a thread-local symbol.
    #[must_use]
    pub fn is_tls(self) -> bool {
        matches!(
            self,
            Need::TlsGd | Need::TlsLd | Need::TlsIe | Need::TlsLe | Need::TlsDesc | Need::TlsBlock
        )
    }
}

/// One relocation type.
#[derive(Debug, Clone, Copy)]
pub struct Row {
    /// The number in `r_info`.
    pub number: u32,
    /// The psABI's name.
    pub name: &'static str,
    /// What to compute.
    pub formula: Formula,
    /// The field's width in bytes; 0 where nothing is written.
    pub width: u8,
    /// How the value has to fit.
    pub fit: Fit,
    /// What the symbol needs.
    pub need: Need,
    /// Whether the type stands in executables and shared objects only.
    pub dynamic_only: bool,
}

const fn row(number: u32, name: &'static str, formula: Formula, width: u8, fit: Fit, need: Need) -> Row {
    Row {
        number,
        name,
        formula,
        width,
        fit,
        need,
        dynamic_only: false,
    }
}

const fn dynamic(number: u32, name: &'static str) -> Row {
    Row {
        number,
        name,
        formula: Formula::None,
        width: 0,
        fit: Fit::Wraps,
        need: Need::Nothing,
        dynamic_only: true,
    }
}

use Fit::{Either, Signed, Unsigned, Wraps};
use Formula as F;
use Need as N;

/// Every relocation type of the psABI, in the order of its number. `PC32_BND` and `PLT32_BND` were withdrawn with MPX;
/// linkers still read them as the plain types.
#[rustfmt::skip]
pub static ROWS: [Row; 52] = [
    row( 0, "R_X86_64_NONE",            F::None,              0, Wraps,    N::Nothing),
    row( 1, "R_X86_64_64",              F::Absolute,          8, Wraps,    N::Address),
    row( 2, "R_X86_64_PC32",            F::Relative,          4, Signed,   N::NearAddress),
    row( 3, "R_X86_64_GOT32",           F::SlotFromGot,       4, Signed,   N::Got),
    row( 4, "R_X86_64_PLT32",           F::PltRelative,       4, Signed,   N::Plt),
    dynamic( 5, "R_X86_64_COPY"),
    dynamic( 6, "R_X86_64_GLOB_DAT"),
    dynamic( 7, "R_X86_64_JUMP_SLOT"),
    dynamic( 8, "R_X86_64_RELATIVE"),
    row( 9, "R_X86_64_GOTPCREL",        F::SlotRelative,      4, Signed,   N::Got),
    row(10, "R_X86_64_32",              F::Absolute,          4, Unsigned, N::NearAddress),
    row(11, "R_X86_64_32S",             F::Absolute,          4, Signed,   N::NearAddress),
    row(12, "R_X86_64_16",              F::Absolute,          2, Either,   N::NearAddress),
    row(13, "R_X86_64_PC16",            F::Relative,          2, Signed,   N::NearAddress),
    row(14, "R_X86_64_8",               F::Absolute,          1, Either,   N::NearAddress),
    row(15, "R_X86_64_PC8",             F::Relative,          1, Signed,   N::NearAddress),
    row(16, "R_X86_64_DTPMOD64",        F::TlsModule,         8, Wraps,    N::TlsBlock),
    row(17, "R_X86_64_DTPOFF64",        F::FromTlsBlock,      8, Wraps,    N::TlsBlock),
    row(18, "R_X86_64_TPOFF64",         F::FromThreadPointer, 8, Wraps,    N::TlsLe),
    row(19, "R_X86_64_TLSGD",           F::SlotRelative,      4, Signed,   N::TlsGd),
    row(20, "R_X86_64_TLSLD",           F::SlotRelative,      4, Signed,   N::TlsLd),
    row(21, "R_X86_64_DTPOFF32",        F::FromTlsBlock,      4, Signed,   N::TlsBlock),
    row(22, "R_X86_64_GOTTPOFF",        F::SlotRelative,      4, Signed,   N::TlsIe),
    row(23, "R_X86_64_TPOFF32",         F::FromThreadPointer, 4, Signed,   N::TlsLe),
    row(24, "R_X86_64_PC64",            F::Relative,          8, Wraps,    N::Address),
    row(25, "R_X86_64_GOTOFF64",        F::FromGot,           8, Wraps,    N::Address),
    row(26, "R_X86_64_GOTPC32",         F::GotRelative,       4, Signed,   N::Nothing),
    row(27, "R_X86_64_GOT64",           F::SlotFromGot,       8, Wraps,    N::Got),
    row(28, "R_X86_64_GOTPCREL64",      F::SlotRelative,      8, Wraps,    N::Got),
    row(29, "R_X86_64_GOTPC64",         F::GotRelative,       8, Wraps,    N::Nothing),
    row(30, "R_X86_64_GOTPLT64",        F::SlotFromGot,       8, Wraps,    N::Got),
    row(31, "R_X86_64_PLTOFF64",        F::PltFromGot,        8, Wraps,    N::Plt),
    row(32, "R_X86_64_SIZE32",          F::Size,              4, Unsigned, N::Nothing),
    row(33, "R_X86_64_SIZE64",          F::Size,              8, Wraps,    N::Nothing),
    row(34, "R_X86_64_GOTPC32_TLSDESC", F::SlotRelative,      4, Signed,   N::TlsDesc),
    row(35, "R_X86_64_TLSDESC_CALL",    F::None,              0, Wraps,    N::Nothing),
    dynamic(36, "R_X86_64_TLSDESC"),
    dynamic(37, "R_X86_64_IRELATIVE"),
    dynamic(38, "R_X86_64_RELATIVE64"),
    row(39, "R_X86_64_PC32_BND",        F::Relative,          4, Signed,   N::NearAddress),
    row(40, "R_X86_64_PLT32_BND",       F::PltRelative,       4, Signed,   N::Plt),
    row(41, "R_X86_64_GOTPCRELX",       F::SlotRelative,      4, Signed,   N::RelaxableGot),
    row(42, "R_X86_64_REX_GOTPCRELX",   F::SlotRelative,      4, Signed,   N::RelaxableGot),
    row(43, "R_X86_64_CODE_4_GOTPCRELX",       F::SlotRelative, 4, Signed, N::Got),
    row(44, "R_X86_64_CODE_4_GOTTPOFF",        F::SlotRelative, 4, Signed, N::TlsIe),
    row(45, "R_X86_64_CODE_4_GOTPC32_TLSDESC", F::SlotRelative, 4, Signed, N::TlsDesc),
    row(46, "R_X86_64_CODE_5_GOTPCRELX",       F::SlotRelative, 4, Signed, N::Got),
    row(47, "R_X86_64_CODE_5_GOTTPOFF",        F::SlotRelative, 4, Signed, N::TlsIe),
    row(48, "R_X86_64_CODE_5_GOTPC32_TLSDESC", F::SlotRelative, 4, Signed, N::TlsDesc),
    row(49, "R_X86_64_CODE_6_GOTPCRELX",       F::SlotRelative, 4, Signed, N::Got),
    row(50, "R_X86_64_CODE_6_GOTTPOFF",        F::SlotRelative, 4, Signed, N::TlsIe),
    row(51, "R_X86_64_CODE_6_GOTPC32_TLSDESC", F::SlotRelative, 4, Signed, N::TlsDesc),
];

impl Row {
    /// The row of a type's number, or `None` where the psABI has no such type.
    #[must_use]
    pub fn of(number: u32) -> Option<&'static Row> {
        ROWS.get(number as usize)
    }

    /// Whether the value is a distance from the place that is relocated.
    #[must_use]
    pub fn is_relative(&self) -> bool {
        matches!(
            self.formula,
            Formula::Relative | Formula::PltRelative | Formula::SlotRelative | Formula::GotRelative
        )
    }

    /// The name of a type, or its number where it has none.
    #[must_use]
    pub fn name_of(number: u32) -> String {
        Row::of(number).map_or_else(|| format!("relocation type {number}"), |row| row.name.to_owned())
    }

    /// Whether the field holds an address in fewer bits than an address has, so that the image has to be low.
    #[must_use]
    pub fn is_narrow_absolute(&self) -> bool {
        self.formula == Formula::Absolute && self.width < 8
    }

    /// Evaluates the formula. All arithmetic is modulo 2^64: the fit interprets the result.
    #[must_use]
    #[inline]
    pub fn value(&self, v: &Values) -> u64 {
        let Values {
            s,
            a,
            p,
            g,
            got,
            l,
            z,
            tp,
            block,
            module,
        } = *v;
        match self.formula {
            Formula::None => 0,
            Formula::Absolute => s.wrapping_add(a),
            Formula::Relative => s.wrapping_add(a).wrapping_sub(p),
            Formula::PltRelative => l.wrapping_add(a).wrapping_sub(p),
            Formula::PltFromGot => l.wrapping_add(a).wrapping_sub(got),
            Formula::SlotFromGot => g.wrapping_add(a).wrapping_sub(got),
            Formula::SlotRelative => g.wrapping_add(a).wrapping_sub(p),
            Formula::FromGot => s.wrapping_add(a).wrapping_sub(got),
            Formula::GotRelative => got.wrapping_add(a).wrapping_sub(p),
            Formula::Size => z.wrapping_add(a),
            Formula::FromThreadPointer => tp.wrapping_add(a),
            Formula::FromTlsBlock => block.wrapping_add(a),
            Formula::TlsModule => module,
        }
    }

    /// Whether `value` fits the field.
    #[must_use]
    #[inline]
    pub fn fits(&self, value: u64) -> bool {
        let bits = u32::from(self.width) * 8;
        if bits == 0 || bits >= 64 || self.fit == Fit::Wraps {
            return true;
        }
        let signed = ((value << (64 - bits)).cast_signed() >> (64 - bits)).cast_unsigned() == value;
        let unsigned = value >> bits == 0;
        match self.fit {
            Fit::Signed => signed,
            Fit::Unsigned => unsigned,
            Fit::Either => signed || unsigned,
            Fit::Wraps => true,
        }
    }

    /// Writes `value`, which [fits](Row::fits), little-endian to the start of `field`.
    ///
    /// # Panics
    /// If `field` is shorter than the row is wide; the caller has checked that against the section.
    #[inline]
    pub fn write(&self, field: &mut [u8], value: u64) {
        let bytes = value.to_le_bytes();
        match self.width {
            4 => field[..4].copy_from_slice(&bytes[..4]),
            8 => field[..8].copy_from_slice(&bytes),
            width => field[..usize::from(width)].copy_from_slice(&bytes[..usize::from(width)]),
        }
    }

    /// Reads the addend that an SHT_REL relocation keeps in its field.
    ///
    /// It is signed in every field, since code that counts back from a symbol is more likely than an addend beyond 2 GiB.
    ///
    /// # Panics
    /// If `field` is shorter than the row is wide; the caller has checked that against the section.
    #[must_use]
    pub fn implicit_addend(&self, field: &[u8]) -> i64 {
        let width = usize::from(self.width);
        let mut bytes = [0; 8];
        bytes[8 - width..].copy_from_slice(&field[..width]);
        match width {
            0 => 0,
            _ => i64::from_le_bytes(bytes) >> (64 - width * 8),
        }
    }
}

/// The values of the psABI's letters at one place.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Values {
    /// The symbol's address.
    pub s: u64,
    /// The addend.
    pub a: u64,
    /// The place's address.
    pub p: u64,
    /// The address of the slot that the row's need asks for.
    pub g: u64,
    /// The address of the global offset table.
    pub got: u64,
    /// The address of the PLT entry, or `s` where there is none.
    pub l: u64,
    /// The symbol's size in bytes.
    pub z: u64,
    /// The symbol's offset from the thread pointer.
    pub tp: u64,
    /// The symbol's offset in its module's thread-local block.
    pub block: u64,
    /// The identifier of the module whose thread-local block it is in.
    pub module: u64,
}

/// A rewrite of an instruction that loads from the GOT into one that needs no slot (psABI, appendix B.2).
///
/// `before` ends right before the 4-byte displacement. Its last byte is matched under `mask`.
#[derive(Debug)]
pub struct Relaxation {
    /// The opcode and ModRM bytes before the displacement.
    pub before: [u8; 2],
    /// Which bits of `before` count.
    pub mask: [u8; 2],
    /// What replaces them, under the same mask.
    pub after: [u8; 2],
    /// How far the displacement moves, in bytes: `jmp` is one byte shorter than `jmp *`.
    pub shift: i8,
    /// The rewrite in assembly.
    pub words: &'static str,
}

/// The relaxations, each `bytes before -> bytes after`. `mov` and its `lea` keep the register bits of ModRM.
#[rustfmt::skip]
pub static RELAXATIONS: [Relaxation; 3] = [
    Relaxation { before: [0x8b, 0x05], mask: [0xff, 0xc7], after: [0x8d, 0x05], shift: 0,
        words: "mov foo@GOTPCREL(%rip), %reg -> lea foo(%rip), %reg" },
    Relaxation { before: [0xff, 0x15], mask: [0xff, 0xff], after: [0x67, 0xe8], shift: 0,
        words: "call *foo@GOTPCREL(%rip) -> addr32 call foo" },
    Relaxation { before: [0xff, 0x25], mask: [0xff, 0xff], after: [0xe9, 0x00], shift: -1,
        words: "jmp *foo@GOTPCREL(%rip) -> jmp foo; nop" },
];

impl Relaxation {
    /// The relaxation for the instruction whose displacement is at `offset` of `section`, if there is one.
    ///
    /// A displacement of other than -4 addresses something beside the slot, and a REX form whose third byte back is no
    /// REX prefix belongs to an APX instruction: both stay as they are.
    #[must_use]
    #[inline]
    pub fn of(row: &Row, section: &[u8], offset: usize, addend: i64) -> Option<&'static Relaxation> {
        if addend != -4 || offset < 2 {
            return None;
        }
        let opcode = section.get(offset - 2..offset)?;
        let rex = offset.checked_sub(3).and_then(|at| section.get(at)).copied();
        if row.number == 42 && rex.is_none_or(|byte| byte & 0xf0 != 0x40) {
            return None;
        }
        // The padding of calls to `__tls_get_addr` under -fno-plt. In front of the 67 of `addr32 call` the REX prefix is
        // ignored, and then AMD's processors take the 66 for a displacement of 16 bits.
        let padded = offset.checked_sub(4).and_then(|at| section.get(at..at + 2)) == Some(&[0x66, 0x48]);
        if padded && opcode == [0xff, 0x15] {
            return None;
        }
        RELAXATIONS
            .iter()
            .find(|r| (0..2).all(|i| opcode[i] & r.mask[i] == r.before[i] & r.mask[i]))
    }

    /// Rewrites the instruction whose displacement is at `offset`, and returns where the displacement of the new one is.
    ///
    /// # Panics
    /// If the field lies outside `section`; [`Relaxation::of`] matched there before.
    #[inline]
    pub fn rewrite(&self, section: &mut [u8], offset: usize) -> usize {
        let displacement = offset.wrapping_add_signed(isize::from(self.shift));
        for i in 0..2 {
            let byte = &mut section[offset - 2 + i];
            *byte = (*byte & !self.mask[i]) | (self.after[i] & self.mask[i]);
        }
        if self.shift != 0 {
            section[displacement + 4] = 0x90;
        }
        displacement
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_stand_at_their_number() {
        for (index, row) in ROWS.iter().enumerate() {
            assert_eq!(row.number as usize, index, "{}", row.name);
        }
    }

    #[test]
    fn relative_rows_are_those_that_depend_on_the_place() {
        for row in &ROWS {
            let at = |p: u64| row.value(&Values { p, ..Values::default() });
            assert_eq!(row.is_relative(), at(0) != at(1), "{}", row.name);
        }
    }

    #[test]
    fn names_are_those_of_the_elf_crate() {
        for row in &ROWS {
            if row.name.ends_with("_BND") {
                continue; // withdrawn, and so without a name
            }
            let theirs = object::elf::NAMES_R_X86_64.name(object::elf::RelocationType(row.number));
            if let Some(theirs) = theirs {
                assert_eq!(row.name, theirs);
            }
        }
    }

    #[test]
    fn fits_at_the_edges() {
        let signed = Row::of(2).expect("PC32");
        assert!(signed.fits(0x7fff_ffff) && signed.fits(0xffff_ffff_8000_0000));
        assert!(!signed.fits(0x8000_0000) && !signed.fits(0xffff_ffff_7fff_ffff));
        let unsigned = Row::of(10).expect("32");
        assert!(unsigned.fits(0xffff_ffff) && !unsigned.fits(0x1_0000_0000) && !unsigned.fits(u64::MAX));
        let either = Row::of(14).expect("8");
        assert!(either.fits(0xff) && either.fits(0xffff_ffff_ffff_ff80) && !either.fits(0x100));
    }

    #[test]
    fn implicit_addends_are_signed() {
        for row in &ROWS {
            assert_eq!(row.implicit_addend(&[0xfe; 8]) < 0, row.width > 0, "{}", row.name);
        }
        assert_eq!(Row::of(10).expect("32").implicit_addend(&[0xfc, 0xff, 0xff, 0xff]), -4);
        assert_eq!(Row::of(12).expect("16").implicit_addend(&[0x34, 0x12]), 0x1234);
    }

    #[test]
    fn jmp_relaxes_to_a_shorter_form() {
        let mut code = [0xff, 0x25, 0, 0, 0, 0];
        let row = Row::of(41).expect("GOTPCRELX");
        let relaxation = Relaxation::of(row, &code, 2, -4).expect("jmp *");
        assert_eq!(relaxation.rewrite(&mut code, 2), 1);
        assert_eq!(code, [0xe9, 0, 0, 0, 0, 0x90]);
    }
}
