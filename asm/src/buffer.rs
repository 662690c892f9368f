//! Instructions into memory of the caller's.

use crate::EncodeError;
use crate::builder::Label;
use crate::encode::{CAPACITY, Fault, encode};
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
}

impl<'a> Buffer<'a> {
    /// Nothing yet.
    #[must_use]
    pub fn new(memory: &'a mut [u8]) -> Self {
        Self { memory, len: 0 }
    }

    /// What is written so far.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.memory[..self.len]
    }

    /// Appends an instruction.
    ///
    /// # Errors
    /// As [`encode`], if it is open, and if there is no room.
    pub fn emit(&mut self, inst: &Inst) -> Result<(), EncodeError> {
        let encoded = encode(inst)?;
        let mnemonic = inst.mnemonic.name();
        if !encoded.fixups().is_empty() {
            return Err(EncodeError::Open { mnemonic });
        }
        let bytes = encoded.bytes();
        let room = self.memory.get_mut(self.len..self.len + bytes.len());
        room.ok_or(EncodeError::NoRoom { mnemonic })?.copy_from_slice(bytes);
        self.len += bytes.len();
        Ok(())
    }
}

impl Sealed for Buffer<'_> {}
impl Emit for Buffer<'_> {
    fn op(&mut self, mnemonic: Mnemonic, operands: &[Operand]) -> Result<(), EncodeError> {
        self.emit(&Inst::with(mnemonic, operands))
    }

    #[inline(always)]
    fn append(
        &mut self,
        mnemonic: Mnemonic,
        write: impl FnOnce(&mut [u8; CAPACITY]) -> Result<usize, Fault>,
    ) -> Result<(), EncodeError> {
        let rest = &mut self.memory[self.len..];
        if let Some(room) = rest.first_chunk_mut() {
            self.len += write(room).map_err(|fault| fault.explain(mnemonic))?;
            return Ok(());
        }
        // The instruction may fit where its room does not.
        let mut room = [0; CAPACITY];
        let len = write(&mut room).map_err(|fault| fault.explain(mnemonic))?;
        let mnemonic = mnemonic.name();
        let rest = rest.get_mut(..len).ok_or(EncodeError::NoRoom { mnemonic })?;
        rest.copy_from_slice(&room[..len]);
        self.len += len;
        Ok(())
    }

    fn jump(&mut self, _short_opcode: u8, _target: Label) -> Result<(), EncodeError> {
        Err(EncodeError::Open { mnemonic: "jmp" })
    }
}
