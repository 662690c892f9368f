//! The parts of an ELF file that every writer needs: header, section headers, string tables (gABI, chapter 4).

use alloc::vec::Vec;

pub(crate) const SHN_LORESERVE: usize = 0xff00;
pub(crate) const SHN_XINDEX: u16 = 0xffff;
pub(crate) const HEADER_BYTES: usize = 64;

/// One section header.
#[derive(Default)]
pub(crate) struct Header {
    pub(crate) name: u32,
    pub(crate) kind: u32,
    pub(crate) flags: u64,
    pub(crate) offset: u64,
    pub(crate) size: u64,
    pub(crate) link: u32,
    pub(crate) info: u32,
    pub(crate) align: u64,
    pub(crate) entry_size: u64,
}

/// Where strings are.
#[cfg(feature = "std")]
type Known = rustc_hash::FxHashMap<Vec<u8>, u32>;
#[cfg(not(feature = "std"))]
type Known = alloc::collections::BTreeMap<Vec<u8>, u32>;

/// A string table that shares equal strings.
#[derive(Default)]
pub(crate) struct Strings {
    pub(crate) bytes: Vec<u8>,
    known: Known,
}

impl Strings {
    pub(crate) fn add(&mut self, text: &[u8]) -> u32 {
        if self.bytes.is_empty() {
            self.bytes.push(0);
        }
        if text.is_empty() {
            return 0;
        }
        if let Some(&at) = self.known.get(text) {
            return at;
        }
        let at = self.bytes.len() as u32;
        self.bytes.extend_from_slice(text);
        self.bytes.push(0);
        self.known.insert(text.to_vec(), at);
        at
    }

    /// For strings that are known to be different from each other.
    pub(crate) fn push(&mut self, text: &[u8]) -> u32 {
        if self.bytes.is_empty() {
            self.bytes.push(0);
        }
        if text.is_empty() {
            return 0;
        }
        let at = self.bytes.len() as u32;
        self.bytes.extend_from_slice(text);
        self.bytes.push(0);
        at
    }
}

pub(crate) fn align_to(out: &mut Vec<u8>, align: usize) {
    let align = align.clamp(1, 1 << 20);
    out.resize(out.len().next_multiple_of(align), 0);
}

pub(crate) fn write_headers(out: &mut Vec<u8>, headers: &[Header]) {
    let at = out.len() as u64;
    let names = headers.len() - 1;
    for (number, header) in headers.iter().enumerate() {
        // Section numbers beyond 16 bits are in the first header (gABI, e_shnum).
        let large = headers.len() >= SHN_LORESERVE;
        let size = if number == 0 && large {
            headers.len() as u64
        } else {
            header.size
        };
        let link = if number == 0 && large {
            names as u32
        } else {
            header.link
        };
        out.extend(header.name.to_le_bytes());
        out.extend(header.kind.to_le_bytes());
        out.extend(header.flags.to_le_bytes());
        out.extend(0u64.to_le_bytes());
        out.extend(header.offset.to_le_bytes());
        out.extend(size.to_le_bytes());
        out.extend(link.to_le_bytes());
        out.extend(header.info.to_le_bytes());
        out.extend(header.align.to_le_bytes());
        out.extend(header.entry_size.to_le_bytes());
    }
    let count = if headers.len() >= SHN_LORESERVE {
        0
    } else {
        headers.len() as u16
    };
    let names = if headers.len() >= SHN_LORESERVE {
        SHN_XINDEX
    } else {
        names as u16
    };
    let mut head = Vec::with_capacity(HEADER_BYTES);
    head.extend(b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0");
    head.extend(1u16.to_le_bytes());
    head.extend(62u16.to_le_bytes());
    head.extend(1u32.to_le_bytes());
    head.extend([0; 16]);
    head.extend(at.to_le_bytes());
    head.extend(0u32.to_le_bytes());
    head.extend(64u16.to_le_bytes());
    head.extend([0; 4]);
    head.extend(64u16.to_le_bytes());
    head.extend(count.to_le_bytes());
    head.extend(names.to_le_bytes());
    out[..HEADER_BYTES].copy_from_slice(&head);
}
