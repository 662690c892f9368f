//! What linked bytes mean, said so that it does not matter where a linker put its tables.

use crate::relocation::{Formula, Need, Row};

/// What a linked field means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Meaning {
    /// The value does not fit, so that there is none.
    OutOfRange,
    /// The field holds this, modulo its width.
    Field(u64),
    /// It leads to a GOT word with this address.
    Slot(u64),
    /// The instruction has been rewritten to use this address without a GOT word.
    Relaxed(u64),
    /// It leads to this address, perhaps by a PLT entry.
    Address(u64),
    /// It leads to a PLT entry for the function that the resolver at this address chooses.
    Chosen(u64),
    /// It leads to a pair for `__tls_get_addr`.
    Pair {
        /// The module.
        module: u64,
        /// The offset in the module's block.
        offset: u64,
    },
    /// It leads to an offset from the thread pointer: this, in the linked module's own block.
    Offset(u64),
    /// Something else, in words.
    Odd(String),
}

impl Meaning {
    /// The same, but that it does not matter whether an instruction has been rewritten.
    pub(super) fn unrelaxed(self) -> Self {
        match self {
            Meaning::Relaxed(address) => Meaning::Slot(address),
            other => other,
        }
    }
}

/// A linked file or image.
pub(super) trait View {
    /// Bytes at an address.
    fn bytes(&self, address: u64, count: usize) -> Option<&[u8]>;

    /// The address of the global offset table.
    fn got(&self) -> u64;

    /// What a GOT word, or the pair or descriptor that starts there, means.
    fn slot(&self, address: u64, need: Need) -> Meaning;

    /// Where a call to an address goes: there, or where the PLT entry at the address leads.
    fn through(&self, address: u64) -> Meaning;

    /// A little-endian number.
    fn number(&self, address: u64, width: usize) -> Option<u64> {
        let mut bytes = [0; 8];
        bytes[..width].copy_from_slice(self.bytes(address, width)?);
        Some(u64::from_le_bytes(bytes))
    }

    /// The word that an indirect jump at the start of a PLT entry goes through.
    fn jump_slot(&self, address: u64) -> Option<u64> {
        // `jmp *slot(%rip)`, behind `endbr64` where there is one, and with a prefix in some linkers.
        let at = (0..6).find(|at| self.number(address + at, 2) == Some(0x25ff))?;
        let displacement = self.number(address + at + 2, 4)? as u32;
        Some((address + at + 6).wrapping_add_signed(i64::from(displacement.cast_signed())))
    }
}

/// A relocated place of a linked file.
#[derive(Debug, Clone, Copy)]
pub(super) struct LinkedSite<'a> {
    pub(super) row: &'static Row,
    /// The address of the field.
    pub(super) place: u64,
    pub(super) addend: i64,
    /// The object's own bytes before the field: three, or fewer at the start of a section.
    pub(super) before: &'a [u8],
}

/// What the field at a site means.
pub(super) fn meaning(view: &dyn View, site: &LinkedSite<'_>) -> Meaning {
    let LinkedSite { row, place, addend, .. } = *site;
    if row.width == 0 {
        return Meaning::Field(0);
    }
    if let Some(relaxed) = relaxed(view, site) {
        return relaxed;
    }
    let Some(field) = view.number(place, usize::from(row.width)) else {
        return Meaning::Odd(format!("no field at {place:#x}"));
    };
    let bits = 64 - u32::from(row.width) * 8;
    let value = ((field << bits).cast_signed() >> bits)
        .wrapping_sub(addend)
        .cast_unsigned();
    match (row.formula, row.need) {
        (Formula::SlotFromGot, need) => view.slot(value.wrapping_add(view.got()), need),
        (Formula::SlotRelative, need) => view.slot(value.wrapping_add(place), need),
        (Formula::FromGot, _) => Meaning::Address(value.wrapping_add(view.got())),
        (Formula::GotRelative, _) => Meaning::Address(value.wrapping_add(place).wrapping_sub(view.got())),
        (Formula::PltFromGot, _) => view.through(value.wrapping_add(view.got())),
        (Formula::PltRelative, _) => view.through(value.wrapping_add(place)),
        _ => Meaning::Field(field),
    }
}

/// What a rewritten instruction means; `None` where the instruction is as the object has it.
fn relaxed(view: &dyn View, site: &LinkedSite<'_>) -> Option<Meaning> {
    if !matches!(site.row.need, Need::Got | Need::RelaxableGot) || site.before.len() < 2 {
        return None;
    }
    let old = &site.before[site.before.len() - 2..];
    let new = view.bytes(site.place - 2, 2)?;
    if old == new {
        return None;
    }
    let field = |at: u64| Some(i64::from((view.number(at, 4)? as u32).cast_signed()));
    let relative = |at: u64| Some(at.wrapping_add(4).wrapping_add_signed(field(at)?));
    let register = old[1] >> 3 & 7;
    let direct = || field(site.place).map(i64::cast_unsigned);
    let address = match (old, new) {
        ([0xff, 0x25], [0xe9, _]) if view.bytes(site.place + 3, 1) == Some(&[0x90]) => relative(site.place - 1),
        ([0xff, 0x15], [0x67, 0xe8]) => relative(site.place),
        ([0x8b, modrm], [0x8d, other]) if modrm == other => relative(site.place),
        // The absolute forms, which other linkers make in programs at fixed addresses.
        ([0x8b, _], [0xc7, modrm]) if *modrm == 0xc0 | register => direct(),
        ([0x85, _], [0xf7, modrm]) if *modrm == 0xc0 | register => direct(),
        ([operation, _], [0x81, modrm]) if *modrm == 0xc0 | (operation & 0x38) | register => direct(),
        _ => None,
    };
    Some(address.map_or_else(
        || Meaning::Odd(format!("{old:02x?} at {:#x} became {new:02x?}", site.place)),
        Meaning::Relaxed,
    ))
}
