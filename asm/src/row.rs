//! The instruction table: its notation and how rows are found.
//!
//! A row is one instruction form in the SDM's notation and operand order:
//!
//! ```text
//! "add Ev,Is : 83 /0 lock"
//! "vaddpd Vx,Hx,Wx/8 : EVEX.66.0F.W1 58 kz er"
//! "set{o,no,b|c|nae,...} Eb : 0F 90+n"
//! ```
//!
//! `{a,b|c}` in a mnemonic makes one form for each name; `n` in the encoding is the position in that list. The operand
//! classes are those of [`crate::class`]. Rows are compiled into [`Row`]s when this crate is compiled, so a row that
//! does not parse does not build.

use crate::class::Class;
use crate::rows::FAMILIES;

/// An instruction's name: the first row that has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Mnemonic(pub(crate) u16);

/// How the opcode is introduced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Space {
    Legacy,
    Vex,
    Xop,
    Evex,
}

/// What the three variants of a row vary in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Axis {
    /// One variant only.
    None,
    /// Operand size: 16, 32, 64 bits.
    Operand,
    /// Vector length: 128, 256, 512 bits.
    Vector,
}

/// Flags of a row; the names are those that the rows use.
pub(crate) mod flag {
    macro_rules! flags {
        ($($(#[$doc:meta])* $name:ident = $text:literal;)*) => {
            flags!(@ 0; $($name)*);
            pub(super) const NAMES: &[(&[u8], u64)] = &[$(($text.as_bytes(), $name)),*];
        };
        (@ $bit:expr; $name:ident $($rest:ident)*) => {
            pub(crate) const $name: u64 = 1 << ($bit);
            flags!(@ $bit + 1; $($rest)*);
        };
        (@ $bit:expr;) => {};
    }
    flags! {
        // `lock` may stand before it when the destination is memory.
        LOCK = "lock";
        // `rep` and its kin may.
        REP = "rep";
        // Takes {%k}; takes {z} too; does not work without {%k}.
        MASK = "k"; ZEROING = "kz"; NEEDS_MASK = "km";
        // Rounding, and suppressing exceptions.
        ROUNDING = "er"; SAE = "sae";
        // Operand size is 64 without REX.W, and cannot be 32.
        DEFAULT64 = "d64";
        // 32 where nothing says the size.
        DEFAULT32 = "d32";
        // Only in one syntax.
        ATT = "att"; INTEL = "intel";
        // Register to register, the row after it is shorter where only ModRM.rm needs an extension bit.
        SWAP = "swap";
        // Takes no register above 15 and no REX2 prefix.
        NO_EGPR = "noegpr";
        // 9B stands before it.
        FWAIT = "fwait";
        // A branch that relaxation may shorten or lengthen.
        RELAX = "relax";
        // A branch or call: a bare operand is its target, 64-bit by default.
        BRANCH = "branch";
        // The memory operand needs a SIB byte.
        SIB = "sib";
        // APX: takes {nf}; has NF set always; is a form with a new data destination; takes {dfv=}; has ZU set.
        NF = "nf"; NF_SET = "nf1"; NDD = "nd"; DFV = "dfv"; ZU = "zu";
        // Takes no AT&T size suffix.
        NO_SFX = "nosfx";
        // A memory operand has to say its size.
        SIZED = "sized";
        // A memory operand does not say its size.
        BARE = "bare";
        // AT&T keeps the operands in the manual's order.
        SAME_ORDER = "same";
        // A REX2 prefix always.
        REX2 = "rex2";
        // The variants that a vector row has, where they are not all.
        L01 = "xy"; L12 = "yz"; L2 = "zz"; L0 = "xx";
        // Variants of an operand-size row.
        NO16 = "no16"; ONLY64 = "only64"; NO64 = "no64";
        // REX.W (or W) is not set for the 64-bit variant.
        IGNORE_W = "iw";
        // 66 is not emitted for the 16-bit variant.
        IGNORE_66 = "i66";
        // The operands must be different registers (gathers, FP16 complex multiplication).
        DISTINCT = "dist";
        // All the sizes that AT&T suffixes may state.
        SFX_B = "~b"; SFX_W = "~w"; SFX_L = "~l"; SFX_Q = "~q"; SFX_S = "~s"; SFX_T = "~t";
        // 66 besides the mandatory prefix.
        DATA16 = "o16";
        // The address size is that of the first or second operand, a register.
        ADDRESS_REG = "adr";
        // Address size prefix 67 always.
        ADDR32 = "a32";
        // The address is computed in 64 bits; and is not relative to rip.
        ADDR64 = "a64"; NO_RIP = "norip";
        // Never chosen unless asked for by an encoding hint.
        HINT_ONLY = "hint";
        // The VEX form counts as an extension that has to be asked for with {vex}.
        VEX_HINT = "vexhint";
    }
    /// Every suffix flag.
    pub(crate) const SFX: u64 = SFX_B | SFX_W | SFX_L | SFX_Q | SFX_S | SFX_T;
}

/// W: 0, 1, or whatever the variant says.
pub(crate) const W_BY_VARIANT: u8 = 2;
/// L from the variant.
pub(crate) const L_BY_VARIANT: u8 = 3;
/// No fixed ModRM byte, no opcode extension.
pub(crate) const ABSENT: u8 = 0xff;

/// One compiled row.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Row {
    pub(crate) ops: [Class; 5],
    pub(crate) flags: u64,
    /// The next row of the same mnemonic, or 0.
    pub(crate) next: u16,
    pub(crate) len: u8,
    pub(crate) space: Space,
    /// 0 legacy one-byte, 1 0F, 2 0F38, 3 0F3A, else as VEX, EVEX and XOP number them.
    pub(crate) map: u8,
    /// Mandatory prefix: 0 none, 1 66, 2 F3, 3 F2.
    pub(crate) pp: u8,
    pub(crate) w: u8,
    pub(crate) l: u8,
    pub(crate) opcode: u8,
    /// ModRM.reg where it is part of the opcode.
    pub(crate) digit: u8,
    /// A whole fixed ModRM byte; has 256 values, so it is kept with a flag bit above.
    pub(crate) tail: u16,
    /// A fixed last byte (3DNow!, pseudo operations), or [`NO_BYTE`].
    pub(crate) last: u16,
    pub(crate) axis: Axis,
    /// Which variants exist.
    pub(crate) variants: u8,
    /// Overrides the size of the memory operand for disp8*N; 0: none; [`N_VECTOR`].
    pub(crate) disp_n: u8,
    /// The line it came from, for messages.
    pub(crate) source: (u8, u16),
}

/// [`Row::tail`] or [`Row::last`] is absent.
pub(crate) const NO_BYTE: u16 = 0x100;

const NAME_BYTES: usize = 24;
type Name = [u8; NAME_BYTES];

const fn find(text: &[u8], byte: u8, from: usize) -> usize {
    let mut i = from;
    while i < text.len() && text[i] != byte {
        i += 1;
    }
    i
}

const fn slice(text: &[u8], from: usize, to: usize) -> &[u8] {
    text.split_at(to).0.split_at(from).1
}

const fn same(a: &[u8], b: &[u8]) -> bool {
    if a.len() != b.len() {
        return false;
    }
    let mut i = 0;
    while i < a.len() {
        if a[i] != b[i] {
            return false;
        }
        i += 1;
    }
    true
}

const fn count_names(row: &[u8]) -> usize {
    let end = find(row, b' ', 0);
    let mut names = 1;
    let mut i = 0;
    while i < end {
        if row[i] == b',' || row[i] == b'|' {
            names += 1;
        }
        i += 1;
    }
    names
}

const ROW_COUNT: usize = {
    let mut count = 0;
    let mut f = 0;
    while f < FAMILIES.len() {
        let mut r = 0;
        while r < FAMILIES[f].len() {
            count += count_names(FAMILIES[f][r].as_bytes());
            r += 1;
        }
        f += 1;
    }
    count
};

/// Reads the names of a mnemonic column one by one.
struct NameList<'a> {
    prefix: &'a [u8],
    list: &'a [u8],
    suffix: &'a [u8],
    at: usize,
    position: u8,
}

impl<'a> NameList<'a> {
    const fn new(spec: &'a [u8]) -> Self {
        let open = find(spec, b'{', 0);
        if open == spec.len() {
            return Self {
                prefix: b"",
                list: spec,
                suffix: b"",
                at: 0,
                position: 0,
            };
        }
        let close = find(spec, b'}', open);
        Self {
            prefix: slice(spec, 0, open),
            list: slice(spec, open + 1, close),
            suffix: slice(spec, close + 1, spec.len()),
            at: 0,
            position: 0,
        }
    }

    /// The next name, its length, and its position among the comma-separated ones.
    const fn next(&mut self) -> (Name, usize, u8) {
        let mut name = [0; NAME_BYTES];
        let mut len = 0;
        while len < self.prefix.len() {
            name[len] = self.prefix[len];
            len += 1;
        }
        while self.at < self.list.len() && self.list[self.at] != b',' && self.list[self.at] != b'|' {
            name[len] = self.list[self.at];
            len += 1;
            self.at += 1;
        }
        let mut i = 0;
        while i < self.suffix.len() {
            name[len] = self.suffix[i];
            len += 1;
            i += 1;
        }
        let position = self.position;
        if self.at < self.list.len() && self.list[self.at] == b',' {
            self.position += 1;
        }
        self.at += 1;
        (name, len, position)
    }
}

const fn hex_digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    }
}

/// `8B`, `90+n`, `98+10n`.
const fn opcode_byte(token: &[u8], n: u8) -> Option<u8> {
    if token.len() < 2 {
        return None;
    }
    let (Some(high), Some(low)) = (hex_digit(token[0]), hex_digit(token[1])) else {
        return None;
    };
    let base = high * 16 + low;
    match slice(token, 2, token.len()) {
        [] => Some(base),
        b"+n" => Some(base + n),
        b"+2n" => Some(base + 2 * n),
        b"+8n" => Some(base + 8 * n),
        b"+10n" => Some(base + 16 * n),
        b"+18n" => Some(base + 24 * n),
        _ => None,
    }
}

const BLANK: Row = Row {
    ops: [Class::NONE; 5],
    flags: 0,
    next: 0,
    len: 0,
    space: Space::Legacy,
    map: 0,
    pp: 0,
    w: W_BY_VARIANT,
    l: L_BY_VARIANT,
    opcode: 0,
    digit: ABSENT,
    tail: NO_BYTE,
    last: NO_BYTE,
    axis: Axis::None,
    variants: 1,
    disp_n: 0,
    source: (0, 0),
};

/// `VEX.128.66.0F38.W0`: everything between the dots.
const fn set_vector_prefix(row: &mut Row, token: &[u8]) {
    row.w = 0;
    let mut from = 0;
    while from < token.len() {
        let to = find(token, b'.', from);
        match slice(token, from, to) {
            b"VEX" => row.space = Space::Vex,
            b"EVEX" => row.space = Space::Evex,
            b"XOP" => row.space = Space::Xop,
            b"128" | b"L0" | b"LIG" => row.l = 0,
            b"256" | b"L1" => row.l = 1,
            b"512" | b"L2" => row.l = 2,
            b"NP" => {}
            b"66" => row.pp = 1,
            b"F3" => row.pp = 2,
            b"F2" => row.pp = 3,
            b"0F" => row.map = 1,
            b"0F38" => row.map = 2,
            b"0F3A" => row.map = 3,
            b"M4" => row.map = 4,
            b"M5" => row.map = 5,
            b"M6" => row.map = 6,
            b"M7" => row.map = 7,
            b"M8" => row.map = 8,
            b"M9" => row.map = 9,
            b"MA" => row.map = 10,
            b"W0" | b"WIG" => row.w = 0,
            b"W1" => row.w = 1,
            b"Wv" => row.w = W_BY_VARIANT,
            _ => panic!("an unknown part of a VEX, EVEX or XOP prefix"),
        }
        from = to + 1;
    }
}

/// A word after the opcode bytes.
const fn set_word(row: &mut Row, token: &[u8], n: u8) {
    match token {
        b"/r" => return,
        [b'/', digit @ b'0'..=b'7'] => row.digit = *digit - b'0',
        b"/n" => row.digit = n,
        [b'/', digit @ b'0'..=b'7', b'+', b'n'] => row.digit = *digit - b'0' + n,
        b"REX.W" => row.w = 1,
        b"=n" => row.last = n as u16,
        [b'=', hex @ ..] => match opcode_byte(hex, n) {
            Some(byte) => row.last = byte as u16,
            None => panic!("a bad fixed byte"),
        },
        b"n1" => row.disp_n = 1,
        b"n2" => row.disp_n = 2,
        b"n4" => row.disp_n = 4,
        b"n8" => row.disp_n = 8,
        b"n16" => row.disp_n = 16,
        _ => {
            let mut i = 0;
            while i < flag::NAMES.len() && !same(flag::NAMES[i].0, token) {
                i += 1;
            }
            if i == flag::NAMES.len() {
                panic!("an unknown word in a row");
            }
            row.flags |= flag::NAMES[i].1;
        }
    }
    if row.flags & flag::ZEROING != 0 {
        row.flags |= flag::MASK;
    }
    if row.flags & flag::NEEDS_MASK != 0 {
        row.flags |= flag::MASK;
    }
}

/// Legacy opcode bytes: `66 0F 38 8B`, `9B D9`, `0F 01 C1`.
const fn set_opcode(row: &mut Row, bytes: &[u8], len: usize) {
    let mut i = 0;
    if row.space as u8 == Space::Legacy as u8 {
        if len > i + 1 && bytes[i] == 0x9b {
            row.flags |= flag::FWAIT;
            i += 1;
        }
        if len > i + 1 && (bytes[i] == 0x66 || bytes[i] == 0xf3 || bytes[i] == 0xf2) {
            row.pp = match bytes[i] {
                0x66 => 1,
                0xf3 => 2,
                _ => 3,
            };
            i += 1;
        }
        if row.pp == 1 && bytes[i] == 0xf2 {
            row.flags |= flag::DATA16;
            row.pp = 3;
            i += 1;
        }
        if len > i + 1 && bytes[i] == 0x0f {
            row.map = 1;
            i += 1;
            if len > i + 1 && (bytes[i] == 0x38 || bytes[i] == 0x3a) {
                row.map = if bytes[i] == 0x38 { 2 } else { 3 };
                i += 1;
            }
        }
    }
    assert!(i < len, "a row without an opcode");
    row.opcode = bytes[i];
    if i + 1 < len {
        row.tail = bytes[i + 1] as u16;
        assert!(i + 2 == len, "a row with too many opcode bytes");
    }
}

/// What the sizes of the operands say about the variants.
const fn set_variants(row: &mut Row) {
    let mut i = 0;
    let mut byte_operand = false;
    while i < row.len as usize {
        let class = row.ops[i];
        let letter = class.letter();
        let general = matches!(
            letter,
            b'E' | b'G' | b'R' | b'M' | b'B' | b'Z' | b'g' | b's' | b'd' | b'O'
        );
        match class.size() {
            b"v" | b"p" | b"m" => {
                row.axis = Axis::Operand;
                row.variants = 7;
            }
            b"y" | b"jb" | b"jw" if general => {
                row.axis = Axis::Operand;
                row.variants = 6;
            }
            b"z" | b"s" if letter == b'I' && matches!(row.axis, Axis::None) => {
                row.axis = Axis::Operand;
                row.variants = 7;
            }
            b"x" | b"h" | b"f" | b"e" | b"xd" | b"xq" | b"hq" => {
                row.axis = Axis::Vector;
                row.variants = if row.space as u8 == Space::Evex as u8 { 7 } else { 3 };
            }
            b"b" if general => byte_operand = true,
            _ => {}
        }
        byte_operand |= class.is_al();
        if class.is_sized_accumulator() && matches!(row.axis, Axis::None) {
            row.axis = Axis::Operand;
            row.variants = 7;
        }
        i += 1;
    }
    let limits = [
        (flag::L01, 3),
        (flag::L12, 6),
        (flag::L2, 4),
        (flag::L0, 1),
        (flag::NO16, 6),
        (flag::ONLY64, 4),
        (flag::NO64, 3),
        (flag::DEFAULT64, 5),
    ];
    i = 0;
    while i < limits.len() {
        if row.flags & limits[i].0 != 0 && !matches!(row.axis, Axis::None) {
            row.variants &= limits[i].1;
        }
        i += 1;
    }
    if byte_operand && row.flags & (flag::SFX | flag::NO_SFX) == 0 && matches!(row.axis, Axis::None) {
        row.flags |= flag::SFX_B;
    }
}

const fn compile(text: &[u8], n: u8) -> Row {
    let mut row = BLANK;
    let mut from = find(text, b' ', 0);
    let colon = find(text, b':', 0);
    // Operands, separated by commas, between the mnemonic and the colon.
    while from < colon {
        while from < colon && (text[from] == b' ' || text[from] == b',') {
            from += 1;
        }
        let mut to = from;
        while to < colon && text[to] != b' ' && text[to] != b',' {
            to += 1;
        }
        if to > from {
            row.ops[row.len as usize] = Class::parse(slice(text, from, to));
            row.len += 1;
        }
        from = to;
    }
    let mut bytes = [0; 6];
    let mut count = 0;
    from = colon + 1;
    while from < text.len() {
        let to = find(text, b' ', from);
        let token = slice(text, from, to);
        if token.len() > 4 && token[0] != b'=' && find(token, b'.', 0) < token.len() && !same(token, b"REX.W") {
            set_vector_prefix(&mut row, token);
        } else if let Some(byte) = opcode_byte(token, n) {
            bytes[count] = byte;
            count += 1;
        } else if !token.is_empty() {
            set_word(&mut row, token, n);
        }
        from = to + 1;
    }
    set_opcode(&mut row, &bytes, count);
    set_variants(&mut row);
    row
}

const fn hash(name: &[u8]) -> usize {
    let mut value: u32 = 0x811c_9dc5;
    let mut i = 0;
    while i < name.len() {
        value = (value ^ name[i] as u32).wrapping_mul(0x0100_0193);
        i += 1;
    }
    (value ^ value >> 15) as usize & (SLOT_COUNT - 1)
}

const SLOT_COUNT: usize = 16384;

struct Table {
    rows: [Row; ROW_COUNT],
    names: [Name; ROW_COUNT],
    name_lens: [u8; ROW_COUNT],
    /// First row of each mnemonic by hash, row plus one; 0 is free.
    slots: [u16; SLOT_COUNT],
    /// First row of the mnemonic that a row belongs to.
    first: [u16; ROW_COUNT],
}

const fn trimmed(name: &Name) -> &[u8] {
    slice(name, 0, find(name, 0, 0))
}

const fn slot_for(slots: &[u16; SLOT_COUNT], names: &[Name; ROW_COUNT], name: &[u8]) -> usize {
    let mut slot = hash(name);
    while slots[slot] != 0 && !same(trimmed(&names[slots[slot] as usize - 1]), name) {
        slot = (slot + 1) & (SLOT_COUNT - 1);
    }
    slot
}

static TABLE: Table = {
    let mut table = Table {
        rows: [BLANK; ROW_COUNT],
        names: [[0; NAME_BYTES]; ROW_COUNT],
        name_lens: [0; ROW_COUNT],
        slots: [0; SLOT_COUNT],
        first: [0; ROW_COUNT],
    };
    // The last row so far of the mnemonic whose first row is the index.
    let mut last = [0u16; ROW_COUNT];
    let mut index = 0;
    let mut family = 0;
    while family < FAMILIES.len() {
        let mut r = 0;
        while r < FAMILIES[family].len() {
            let text = FAMILIES[family][r].as_bytes();
            let spec = slice(text, 0, find(text, b' ', 0));
            let names = count_names(text);
            // Whatever depends on a name's position does so linearly.
            let (zeroth, first) = (compile(text, 0), if names > 1 { compile(text, 1) } else { BLANK });
            let mut list = NameList::new(spec);
            let mut nth = 0;
            while nth < names {
                let (name, name_len, n) = list.next();
                table.names[index] = name;
                table.name_lens[index] = name_len as u8;
                table.rows[index] = if n == 0 { zeroth } else { zeroth.stepped(&first, n) };
                table.rows[index].source = (family as u8, r as u16);
                let slot = slot_for(&table.slots, &table.names, slice(&name, 0, name_len));
                if table.slots[slot] == 0 {
                    table.slots[slot] = index as u16 + 1;
                    table.first[index] = index as u16;
                } else {
                    let first = table.slots[slot] - 1;
                    table.first[index] = first;
                    table.rows[last[first as usize] as usize].next = index as u16;
                }
                last[table.first[index] as usize] = index as u16;
                index += 1;
                nth += 1;
            }
            r += 1;
        }
        family += 1;
    }
    table
};

impl Mnemonic {
    /// The mnemonic of this name, in lower case and without an AT&T size suffix.
    #[must_use]
    #[inline]
    pub fn named(name: &[u8]) -> Option<Self> {
        let mut slot = hash(name);
        loop {
            let entry = TABLE.slots[slot];
            if entry == 0 {
                return None;
            }
            let index = entry as usize - 1;
            if &TABLE.names[index][..TABLE.name_lens[index] as usize] == name {
                return Some(Self(entry - 1));
            }
            slot = (slot + 1) & (SLOT_COUNT - 1);
        }
    }

    /// The mnemonic of this name, looked up when the caller is compiled.
    ///
    /// # Panics
    /// When there is none, which in a constant is a compile error.
    #[must_use]
    pub const fn constant(name: &str) -> Self {
        let slot = slot_for(&TABLE.slots, &TABLE.names, name.as_bytes());
        assert!(TABLE.slots[slot] != 0, "no such mnemonic");
        Self(TABLE.slots[slot] - 1)
    }

    /// The name.
    #[must_use]
    pub fn name(self) -> &'static str {
        let index = self.0 as usize;
        core::str::from_utf8(&TABLE.names[index][..TABLE.name_lens[index] as usize]).unwrap_or("?")
    }

    /// All mnemonics, in the order of the table.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..ROW_COUNT as u16)
            .filter(|&i| TABLE.first[i as usize] == i)
            .map(Self)
    }

    #[inline]
    pub(crate) const fn row(self) -> &'static Row {
        Row::at(self.0)
    }

    /// The forms of this mnemonic, in the order in which they are tried.
    pub(crate) fn rows(self) -> impl Iterator<Item = &'static Row> {
        let mut next = Some(self.row());
        core::iter::from_fn(move || {
            let row = next?;
            next = row.following();
            Some(row)
        })
    }

    /// Whether this is a direct branch or a call.
    #[must_use]
    pub fn is_branch(self) -> bool {
        self.row().flags & flag::BRANCH != 0
    }
}

impl Row {
    /// The row at position `n` of a list, from those at 0 and 1.
    const fn stepped(&self, first: &Self, n: u8) -> Self {
        let n16 = n as u16;
        Self {
            opcode: self
                .opcode
                .wrapping_add(first.opcode.wrapping_sub(self.opcode).wrapping_mul(n)),
            digit: self
                .digit
                .wrapping_add(first.digit.wrapping_sub(self.digit).wrapping_mul(n)),
            tail: self
                .tail
                .wrapping_add(first.tail.wrapping_sub(self.tail).wrapping_mul(n16)),
            last: self
                .last
                .wrapping_add(first.last.wrapping_sub(self.last).wrapping_mul(n16)),
            ..*self
        }
    }

    /// The row of this index.
    #[inline]
    pub(crate) const fn at(index: u16) -> &'static Self {
        &TABLE.rows[index as usize]
    }

    #[inline]
    pub(crate) fn following(&self) -> Option<&'static Self> {
        if self.next == 0 {
            None
        } else {
            Some(&TABLE.rows[self.next as usize])
        }
    }

    /// Whether AT&T syntax has the operands in the same order as Intel's.
    pub(crate) fn keeps_order(&self) -> bool {
        self.flags & flag::SAME_ORDER != 0
    }

    /// Whether the syntax has this row.
    #[cfg(test)]
    pub(crate) fn is_of(&self, syntax: crate::Syntax) -> bool {
        let foreign = match syntax {
            crate::Syntax::Att => flag::INTEL,
            crate::Syntax::Intel => flag::ATT,
        };
        self.flags & foreign == 0
    }

    /// Whether the row is one of the APX family.
    #[cfg(test)]
    pub(crate) fn is_apx(&self) -> bool {
        self.source.0 as usize == FAMILIES.len() - 1
    }

    /// Whether the row is one of the AVX10.2 family.
    #[cfg(test)]
    pub(crate) fn is_avx10(&self) -> bool {
        self.source.0 as usize == FAMILIES.len() - 2
    }

    /// All names of the line that this row came from.
    #[cfg(test)]
    pub(crate) fn names(&self) -> impl Iterator<Item = alloc::string::String> {
        let text = self.text().as_bytes();
        let mut list = NameList::new(slice(text, 0, find(text, b' ', 0)));
        (0..count_names(text)).map(move |_| {
            let (name, len, _) = list.next();
            alloc::string::String::from_utf8_lossy(&name[..len]).into_owned()
        })
    }

    /// The line of the table that this row came from.
    #[cfg(test)]
    pub(crate) fn text(&self) -> &'static str {
        FAMILIES[self.source.0 as usize][self.source.1 as usize]
    }
}
