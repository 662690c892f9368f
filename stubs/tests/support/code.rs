/// A page of its own that holds a function which returns a number. Unmapped when dropped, so that a stale caller faults.
#[derive(Debug)]
pub struct Page {
    start: *mut u8,
}

pub type Function = unsafe extern "C" fn() -> u64;

// SAFETY: the page belongs to whoever holds this.
unsafe impl Send for Page {}

impl Page {
    /// `mov eax, value; ret`, a loop of `turns` before it.
    pub fn returning(value: u32, turns: u32) -> std::io::Result<Self> {
        let mut code = vec![0xb9]; // mov ecx, turns
        code.extend(turns.max(1).to_le_bytes());
        code.extend([0xff, 0xc9, 0x75, 0xfc]); // 1: dec ecx; jnz 1b
        code.push(0xb8); // mov eax, value
        code.extend(value.to_le_bytes());
        code.push(0xc3); // ret
        Self::with_code(&code)
    }

    pub fn with_code(code: &[u8]) -> std::io::Result<Self> {
        use rustix::mm::{MapFlags, MprotectFlags, ProtFlags, mmap_anonymous, mprotect};
        let (protection, null) = (ProtFlags::READ | ProtFlags::WRITE, std::ptr::null_mut());
        // SAFETY: the kernel chooses an unused range.
        let start = unsafe { mmap_anonymous(null, 4096, protection, MapFlags::PRIVATE) }?;
        let page = Page { start: start.cast() };
        // SAFETY: the code is shorter than the page.
        unsafe { std::ptr::copy_nonoverlapping(code.as_ptr(), page.start, code.len()) };
        // SAFETY: the page belongs to this function.
        unsafe { mprotect(start, 4096, MprotectFlags::READ | MprotectFlags::EXEC) }?;
        Ok(page)
    }

    pub fn address(&self) -> u64 {
        self.start as u64
    }

    pub fn range(&self) -> std::ops::Range<u64> {
        self.address()..self.address() + 4096
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        // SAFETY: whoever drops the page calls its function no more: that is what is being tested.
        let unmapped = unsafe { rustix::mm::munmap(self.start.cast(), 4096) };
        assert!(unmapped.is_ok());
    }
}

/// The function at an address.
///
/// # Safety
///
/// There must be one for as long as the result is called.
pub unsafe fn function(address: u64) -> Function {
    // SAFETY: the caller's promise; functions and addresses have the same representation.
    unsafe { std::mem::transmute::<usize, Function>(address as usize) }
}
