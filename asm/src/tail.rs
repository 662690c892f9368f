//! The end of a byte vector, with room for one instruction always ready.

use alloc::vec::Vec;

use crate::encode::CAPACITY;

/// Bytes that grow by instructions. The vector is longer than what counts of it, so that an instruction is written in
/// place, however long it gets.
#[derive(Debug, Default)]
pub(crate) struct Tail {
    bytes: Vec<u8>,
    len: usize,
}

impl Tail {
    pub(crate) fn new(bytes: Vec<u8>) -> Self {
        Self {
            len: bytes.len(),
            bytes,
        }
    }

    /// What counts.
    pub(crate) fn into_bytes(mut self) -> Vec<u8> {
        self.bytes.truncate(self.len);
        self.bytes
    }

    #[inline(always)]
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Room for the next instruction.
    #[inline(always)]
    pub(crate) fn room(&mut self) -> &mut [u8; CAPACITY] {
        match self.bytes.len().checked_sub(self.len) {
            Some(CAPACITY..) => {}
            _ => self.grow(),
        }
        let room = self.bytes.get_mut(self.len..).and_then(|rest| rest.first_chunk_mut());
        room.expect("it has just been made")
    }

    /// So many bytes of the room count.
    #[inline(always)]
    pub(crate) fn advance(&mut self, len: usize) {
        self.len += len;
    }

    pub(crate) fn extend(&mut self, bytes: &[u8]) {
        self.bytes.truncate(self.len);
        self.bytes.extend_from_slice(bytes);
        self.len = self.bytes.len();
    }

    #[cold]
    fn grow(&mut self) {
        let longer = (self.len + CAPACITY)
            .max(self.bytes.capacity())
            .max(self.len * 2)
            .max(256);
        self.bytes.resize(longer, 0);
    }
}
