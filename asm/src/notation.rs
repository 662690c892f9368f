//! Reading the notation of the rows, when this crate is compiled.

use crate::class::Class;
use crate::row::{Axis, Row, Space, W_BY_VARIANT, flag};

pub(crate) const NAME_BYTES: usize = 24;
pub(crate) type Name = [u8; NAME_BYTES];

pub(crate) const fn find(text: &[u8], byte: u8, from: usize) -> usize {
    let mut i = from;
    while i < text.len() && text[i] != byte {
        i += 1;
    }
    i
}

pub(crate) const fn slice(text: &[u8], from: usize, to: usize) -> &[u8] {
    text.split_at(to).0.split_at(from).1
}

pub(crate) const fn same(a: &[u8], b: &[u8]) -> bool {
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

pub(crate) const fn count_names(row: &[u8]) -> usize {
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

/// Reads the names of a mnemonic column one by one.
pub(crate) struct NameList<'a> {
    prefix: &'a [u8],
    list: &'a [u8],
    suffix: &'a [u8],
    at: usize,
    position: u8,
}

impl<'a> NameList<'a> {
    pub(crate) const fn new(spec: &'a [u8]) -> Self {
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
    pub(crate) const fn next(&mut self) -> (Name, usize, u8) {
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

pub(crate) const fn compile(text: &[u8], n: u8) -> Row {
    let mut row = Row::BLANK;
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
