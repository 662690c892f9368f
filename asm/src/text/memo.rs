//! Lines of instructions and numbers that have been seen: the same text is the same bytes.
//!
//! Compilers write a few lines very often. A line is kept when its bytes depend on nothing but its text: no symbol is
//! in it, and no macro has the name of its mnemonic or directive.

use alloc::boxed::Box;
use alloc::vec::Vec;

/// Words of a line that is kept; longer ones are rare.
const WORDS: usize = 5;
const LONGEST: usize = WORDS * 8;
/// A power of two; together the entries fit a second-level cache. A line is in one of two entries.
const ENTRIES: usize = 1 << 14;
/// Bytes of an entry. An instruction has 15 at most; longer data is not kept.
pub(super) const BYTES: usize = 16;

/// A line and its bytes.
#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
struct Entry {
    line: [u64; WORDS],
    bytes: [u8; BYTES],
    /// The tag of the line's key; 0 where there is none.
    tag: u8,
    len: u8,
}

const FREE: Entry = Entry {
    line: [0; WORDS],
    bytes: [0; BYTES],
    tag: 0,
    len: 0,
};

/// A line as the table looks for it: its text up to the end of the line.
#[derive(Clone, Copy, Debug)]
pub(super) struct Key {
    line: [u64; WORDS],
    hash: usize,
    pub(super) len: usize,
    /// Length and dialect.
    tag: u8,
}

/// The lines that have been seen lately.
#[derive(Debug)]
pub(super) struct Memo {
    /// Made when the first line is kept, since patches and tests have few.
    entries: Box<[Entry]>,
}

const ONES: u64 = 0x0101_0101_0101_0101;
const HIGH: u64 = 0x8080_8080_8080_8080;

/// Whether this looks like a directive of the kinds that compilers write most numbers with, and a number behind it.
/// What it takes for one is only looked for.
#[inline]
pub(super) fn is_constant_data(text: &[u8]) -> bool {
    let number = match text {
        [b'.', b'u' | b's', b'l', ..] => ".uleb128 ".len(),
        [b'.', b'v', b'a', ..] => ".value ".len(),
        [b'.', b'b', b'y', ..] | [b'.', b'l', b'o', ..] | [b'.', b'q', b'u', ..] => ".byte ".len(),
        _ => return false,
    };
    text.get(number).is_some_and(u8::is_ascii_digit)
}

impl Key {
    /// The line that starts at the front of `text`; `None` if it is too long or the last one.
    #[inline]
    pub(super) fn of(text: &[u8], intel: bool) -> Option<Self> {
        let window = text.get(..LONGEST)?;
        let mut key = Self {
            line: [0; WORDS],
            hash: 0,
            len: 0,
            tag: 0,
        };
        let mut hash = 0u64;
        for (word, chunk) in key.line.iter_mut().zip(window.chunks_exact(8)) {
            let bytes: &[u8; 8] = chunk.try_into().ok()?;
            let value = u64::from_le_bytes(*bytes);
            // The lowest byte that is a newline has its high bit set here; bits above may be wrong.
            let difference = value ^ (ONES * b'\n' as u64);
            let found = difference.wrapping_sub(ONES) & !difference & HIGH;
            let end = found.trailing_zeros() / 8;
            *word = if found == 0 {
                value
            } else {
                value & ((1u64 << (end * 8)) - 1)
            };
            hash = (hash.rotate_left(5) ^ *word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            if found != 0 {
                key.len += end as usize;
                key.hash = (hash >> 40) as usize % ENTRIES;
                key.tag = key.len as u8 | u8::from(intel) << 7;
                return Some(key);
            }
            key.len += 8;
        }
        None
    }
}

impl Memo {
    pub(super) fn new() -> Self {
        Self {
            entries: Box::default(),
        }
    }

    /// The bytes of a line, and how many of them count.
    #[inline]
    pub(super) fn find(&self, key: &Key) -> Option<(&[u8; BYTES], usize)> {
        let two = [self.entries.get(key.hash)?, self.entries.get(key.hash ^ 1)?];
        let is_it = |entry: &&Entry| entry.line == key.line && entry.tag == key.tag;
        let entry = two.into_iter().find(is_it)?;
        Some((&entry.bytes, entry.len as usize))
    }

    pub(super) fn keep(&mut self, key: &Key, bytes: &[u8]) {
        if self.entries.is_empty() {
            self.entries = alloc::vec![FREE; ENTRIES].into_boxed_slice();
        }
        // The line that was here goes to the other entry, and the one that was there is forgotten.
        self.entries.swap(key.hash, key.hash ^ 1);
        let entry = &mut self.entries[key.hash];
        entry.line = key.line;
        entry.tag = key.tag;
        entry.len = bytes.len() as u8;
        entry.bytes = [0; BYTES];
        entry.bytes[..bytes.len()].copy_from_slice(bytes);
    }

    /// Forgets everything: lines mean something else from here on.
    pub(super) fn clear(&mut self) {
        self.entries = Vec::new().into_boxed_slice();
    }
}
