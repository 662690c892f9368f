//! Instructions into memory of the caller's.

use crate::EncodeError;
use crate::builder::Label;
use crate::encode::{CAPACITY, Fault, encode, encode_closed};
use crate::inst::Inst;
use crate::operand::Operand;
use crate::row::Mnemonic;
use crate::typed::{Emit, Sealed};

/// Writes instructions into a slice. Nothing is allocated; there are no labels.
///
/// ```
/// use restub_asm::reg::{EAX, EDI};
/// use restub_asm::{Buffer, Instructions};
///
/// let mut bytes = [0; 16];
/// let mut code = Buffer::new(&mut bytes);
/// code.mov(EAX, EDI)?;
/// code.add(EAX, 1)?;
/// code.ret()?;
/// assert_eq!(code.bytes(), [0x89, 0xf8, 0x83, 0xc0, 0x01, 0xc3]);
/// # Ok::<(), restub_asm::EncodeError>(())
/// ```
#[derive(Debug)]
pub struct Buffer<'a> {
    memory: &'a mut [u8],
    len: usize,
    /// Room for an instruction that may fit where its room does not.
    spill: [u8; CAPACITY],
    spilled: bool,
}

impl<'a> Buffer<'a> {
    /// Nothing yet.
    #[must_use]
    pub fn new(memory: &'a mut [u8]) -> Self {
        Self {
            memory,
            len: 0,
            spill: [0; CAPACITY],
            spilled: false,
        }
    }

    /// What is written so far.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.memory[..self.len]
    }

    /// Takes an instruction of this length from the room that is not in the memory.
    #[cold]
    fn unspill(&mut self, mnemonic: Mnemonic, len: usize) -> Result<(), EncodeError> {
        let mnemonic = mnemonic.name();
        let room = self.memory.get_mut(self.len..self.len + len);
        room.ok_or(EncodeError::NoRoom { mnemonic })?
            .copy_from_slice(&self.spill[..len]);
        self.len += len;
        Ok(())
    }

    /// Appends an instruction.
    ///
    /// # Errors
    /// As [`encode`], if it is open, and if there is no room.
    pub fn emit(&mut self, inst: &Inst) -> Result<(), EncodeError> {
        let encoded = encode(inst)?;
        let mnemonic = inst.mnemonic.name();
        if !encoded.fixups().is_empty() {
            return Err(open(inst.mnemonic));
        }
        let bytes = encoded.bytes();
        let room = self.memory.get_mut(self.len..self.len + bytes.len());
        room.ok_or(EncodeError::NoRoom { mnemonic })?.copy_from_slice(bytes);
        self.len += bytes.len();
        Ok(())
    }
}

/// There is nowhere to fill it in later.
#[cold]
fn open(mnemonic: Mnemonic) -> EncodeError {
    EncodeError::Open {
        mnemonic: mnemonic.name(),
    }
}

impl Sealed for Buffer<'_> {}
impl Emit for Buffer<'_> {
    #[inline]
    fn op(&mut self, mnemonic: Mnemonic, operands: &[Operand]) -> Result<(), EncodeError> {
        let rest = self.memory.get_mut(self.len..).unwrap_or_default();
        let Some(room) = rest.first_chunk_mut() else {
            return self.emit(&Inst::with(mnemonic, operands));
        };
        let len = encode_closed(room, mnemonic, operands)?;
        self.len += len.ok_or_else(|| open(mnemonic))?;
        Ok(())
    }

    #[inline(always)]
    fn append(
        &mut self,
        mnemonic: Mnemonic,
        write: impl FnOnce(&mut [u8; CAPACITY]) -> Result<usize, Fault>,
    ) -> Result<(), EncodeError> {
        let rest = self.memory.get_mut(self.len..).unwrap_or_default();
        let room = match rest.first_chunk_mut() {
            Some(room) => room,
            None => {
                self.spilled = true;
                &mut self.spill
            }
        };
        match write(room) {
            Ok(len) if !self.spilled => {
                self.len += len;
                Ok(())
            }
            Ok(len) => self.unspill(mnemonic, len),
            Err(fault) => Err(fault.explain(mnemonic)),
        }
    }

    fn jump(&mut self, _short_opcode: u8, _target: Label) -> Result<(), EncodeError> {
        Err(EncodeError::Open { mnemonic: "jmp" })
    }
}
