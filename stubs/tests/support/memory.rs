/// Memory of this process with two views: code is executable at the addresses that callers see, and writable elsewhere.
/// `CODE_BYTES` of it, followed by as much private data.
#[derive(Debug)]
pub struct TwoViews {
    base: *mut u8,
    view: *mut u8,
    /// Bytes of code and of data that have been given away.
    used: (usize, usize),
}

const CODE_BYTES: usize = 16 << 20;

// SAFETY: the pointers are to mappings that nobody else writes.
unsafe impl Send for TwoViews {}

impl TwoViews {
    pub fn new() -> std::io::Result<Self> {
        use rustix::mm::{MapFlags, ProtFlags, mmap, mmap_anonymous};
        let file = rustix::fs::memfd_create(c"stubs", rustix::fs::MemfdFlags::CLOEXEC)?;
        rustix::fs::ftruncate(&file, CODE_BYTES as u64)?;
        let (read, write, null) = (ProtFlags::READ, ProtFlags::WRITE, std::ptr::null_mut());
        // SAFETY: the kernel chooses an unused range.
        let base = unsafe { mmap_anonymous(null, 2 * CODE_BYTES, read | write, MapFlags::PRIVATE) }?;
        // SAFETY: replaces the first half of the mapping just made.
        unsafe { mmap(base, CODE_BYTES, read | ProtFlags::EXEC, MapFlags::SHARED | MapFlags::FIXED, &file, 0) }?;
        // SAFETY: the kernel chooses an unused range.
        let view = unsafe { mmap(null, CODE_BYTES, read | write, MapFlags::SHARED, &file, 0) }?;
        Ok(TwoViews {
            base: base.cast(),
            view: view.cast(),
            used: (0, 0),
        })
    }

    /// Where an address can be written.
    fn writable(&self, address: u64) -> *mut u8 {
        let offset = (address - self.base as u64) as usize;
        assert!(offset < 2 * CODE_BYTES);
        let view = if offset < CODE_BYTES { self.view } else { self.base };
        // SAFETY: both mappings are as long as was just checked.
        unsafe { view.add(offset) }
    }
}

impl restub_stubs::StubMemory for TwoViews {
    fn allocate(&mut self, word_bytes: u64) -> Result<restub_stubs::Block, restub_stubs::MemoryError> {
        let (code, words) = self.used;
        if code + 4096 > CODE_BYTES {
            return Err("no code is left".into());
        }
        self.used = (code + 4096, (words + word_bytes as usize).next_multiple_of(64));
        let base = self.base as u64;
        Ok(restub_stubs::Block {
            code: base + code as u64,
            words: base + (CODE_BYTES + words) as u64,
        })
    }

    fn write(&mut self, address: u64, bytes: &[u8]) -> Result<(), restub_stubs::MemoryError> {
        // SAFETY: the block is not visible yet, so nobody reads it.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), self.writable(address), bytes.len()) };
        Ok(())
    }

    fn expose(&mut self, _: restub_stubs::Block) -> Result<(), restub_stubs::MemoryError> {
        Ok(()) // the executable view has the same bytes
    }

    fn store(&mut self, words: &[restub_stubs::WordStore]) -> Result<(), restub_stubs::MemoryError> {
        for word in words {
            let to: *mut std::sync::atomic::AtomicU64 = self.writable(word.address).cast();
            // SAFETY: an aligned word, which others only read, whole.
            let to = unsafe { &*to };
            // Release: pairs with the jump, whose fetch of the target's code follows its load of the word.
            to.store(word.value, std::sync::atomic::Ordering::Release);
        }
        Ok(())
    }

    fn free(&mut self, _: restub_stubs::Block, _: u64) {}
}

impl Drop for TwoViews {
    fn drop(&mut self) {
        // SAFETY: whoever drops the memory calls its stubs no more.
        let base = unsafe { rustix::mm::munmap(self.base.cast(), 2 * CODE_BYTES) };
        // SAFETY: nobody else knows the view.
        let view = unsafe { rustix::mm::munmap(self.view.cast(), CODE_BYTES) };
        assert!(base.is_ok() && view.is_ok());
    }
}
