//! What line tables say, for tables whose bytes differ.
//!
//! GNU as states the address again before a row whose view starts over if it cannot rule out that the row before has
//! the same address, and it cannot where its buffer was full in between. The rows are the same then.

use std::collections::BTreeMap;

/// Reads numbers from the front of some bytes.
struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn byte(&mut self) -> u8 {
        self.at += 1;
        self.bytes[self.at - 1]
    }

    fn uleb(&mut self) -> u64 {
        let (mut value, mut shift) = (0, 0);
        loop {
            let byte = self.byte();
            value |= u64::from(byte & 0x7f) << shift;
            shift += 7;
            if byte & 0x80 == 0 {
                return value;
            }
        }
    }

    fn sleb(&mut self) -> i64 {
        let from = self.at;
        let value = self.uleb().cast_signed();
        let bits = 7 * (self.at - from) as u32;
        if bits < 64 {
            value << (64 - bits) >> (64 - bits)
        } else {
            value
        }
    }
}

/// A row: where, and file, line, column and flags.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Row {
    section: String,
    address: i64,
    file: u64,
    line: i64,
    column: u64,
    statement: bool,
    /// Discriminator, prologue end and the like, until the row is written.
    marks: Vec<(u8, u64)>,
    end: bool,
}

/// The tables' headers less their lengths, and their rows. `relocs` has target and addend by offset.
pub(crate) fn of(bytes: &[u8], relocs: &BTreeMap<u64, (String, i64)>) -> (Vec<u8>, Vec<Row>) {
    let word = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes")) as usize;
    let (mut headers, mut rows) = (Vec::new(), Vec::new());
    let mut start = 0;
    while start + 4 <= bytes.len() {
        let end = start + 4 + word(start);
        let version = bytes[start + 4];
        let length_at = if version >= 5 { start + 8 } else { start + 6 };
        let program = length_at + 4 + word(length_at);
        headers.extend_from_slice(&bytes[start + 4..program]);
        // Minimum length, operations, is_stmt, line base, line range, opcode base.
        let fields = length_at + 4 + usize::from(version >= 4);
        let (base, range, first) = (bytes[fields + 2] as i8, bytes[fields + 3], bytes[fields + 4]);
        let mut reader = Reader { bytes, at: program };
        let fresh = Row {
            file: 1,
            line: 1,
            statement: true,
            ..Row::default()
        };
        let mut row = fresh.clone();
        while reader.at < end {
            let opcode = reader.byte();
            let mut write = false;
            match opcode {
                _ if opcode >= first => {
                    let opcode = opcode - first;
                    row.address += i64::from(opcode / range);
                    row.line += i64::from(base) + i64::from(opcode % range);
                    write = true;
                }
                0 => {
                    let behind = reader.uleb() as usize + reader.at;
                    match reader.byte() {
                        1 => (row.end, write) = (true, true),
                        2 => (row.section, row.address) = relocs[&(reader.at as u64)].clone(),
                        mark => row.marks.push((mark, reader.uleb())),
                    }
                    reader.at = behind;
                }
                1 => write = true,
                2 => row.address += reader.uleb().cast_signed(),
                3 => row.line += reader.sleb(),
                4 => row.file = reader.uleb(),
                5 => row.column = reader.uleb(),
                6 => row.statement = !row.statement,
                8 => row.address += i64::from((255 - first) / range),
                12 => row.marks.push((12, reader.uleb())),
                mark => row.marks.push((mark, 0)),
            }
            if write {
                rows.push(row.clone());
                row.marks.clear();
                if row.end {
                    row = fresh.clone();
                }
            }
        }
        start = end;
    }
    (headers, rows)
}
