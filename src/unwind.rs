//! Registration of unwind tables with the unwinder of the process.

#[link(name = "gcc_s")]
unsafe extern "C" {
    fn __register_frame(begin: *const u8);
    fn __deregister_frame(begin: *const u8);
}

/// A registered `.eh_frame`; dropped, it is deregistered.
#[derive(Debug)]
pub(crate) struct Registration(u64);

impl Registration {
    /// Registers the records at `address`, which the loader has checked and ended with a length of zero.
    ///
    /// # Safety
    /// The table stays in memory for as long as the registration lives.
    pub(crate) unsafe fn new(address: u64) -> Self {
        // SAFETY: the caller's promise, and the loader's checks.
        unsafe { __register_frame(std::ptr::with_exposed_provenance(address as usize)) };
        Registration(address)
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        // SAFETY: the table was registered with this address and is still in memory.
        unsafe { __deregister_frame(std::ptr::with_exposed_provenance(self.0 as usize)) };
    }
}
