/// A page of its own that holds a function which returns a number. Unmapped when dropped, so that a stale caller faults.
#[derive(Debug)]
pub struct Page {
    /// The address with every bit inverted: a scan of this thread must not find it in a test's local variables.
    hidden: u64,
}

pub type Function = unsafe extern "C" fn() -> u64;

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

    /// Calls a function and returns a number: whoever is in the middle of it has to return here.
    pub fn calling(callee: u64, value: u32) -> std::io::Result<Self> {
        let mut code = vec![0x50, 0x48, 0xb8]; // push rax; mov rax, callee
        code.extend(callee.to_le_bytes());
        code.extend([0xff, 0xd0, 0x59, 0xb8]); // call rax; pop rcx; mov eax, value
        code.extend(value.to_le_bytes());
        code.push(0xc3); // ret
        Self::with_code(&code)
    }

    pub fn with_code(code: &[u8]) -> std::io::Result<Self> {
        use rustix::mm::{MapFlags, MprotectFlags, ProtFlags, mmap_anonymous, mprotect};
        /// No address is used twice: a stale caller faults for ever, and a word on a stack means one page. The range
        /// is one that sanitizers leave alone.
        static NEXT: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0x7b00_0000_0000);
        let next = NEXT.fetch_add(4096, std::sync::atomic::Ordering::Relaxed) as *mut _;
        let protection = ProtFlags::READ | ProtFlags::WRITE;
        let flags = MapFlags::PRIVATE | MapFlags::FIXED_NOREPLACE;
        // SAFETY: `FIXED_NOREPLACE` takes only addresses that nothing uses.
        let start = unsafe { mmap_anonymous(next, 4096, protection, flags) }?;
        let page = Page { hidden: !(start as u64) };
        // SAFETY: the code is shorter than the page.
        unsafe { std::ptr::copy_nonoverlapping(code.as_ptr(), start.cast(), code.len()) };
        // SAFETY: the page belongs to this function.
        unsafe { mprotect(start, 4096, MprotectFlags::READ | MprotectFlags::EXEC) }?;
        Ok(page)
    }

    pub fn address(&self) -> u64 {
        !self.hidden
    }

    pub fn range(&self) -> std::ops::Range<u64> {
        self.address()..self.address() + 4096
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        // SAFETY: whoever drops the page calls its function no more: that is what is being tested.
        let unmapped = unsafe { rustix::mm::munmap(self.address() as *mut _, 4096) };
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
