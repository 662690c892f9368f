//! Storing words that other threads read or jump through at the same time.

use std::os::fd::OwnedFd;
use std::ptr;
use std::sync::atomic::{AtomicU64, Ordering};

use restub_loader::{MemoryError, PAGE_BYTES};
use rustix::mm::{MapFlags, ProtFlags};

use super::arena::{address, system, to_usize};
use crate::fault;

/// A page through which its words can be written.
#[derive(Debug)]
pub(super) struct WordView {
    page: u64,
    writable: u64,
    /// The mapping is for this view alone, and ends with it.
    is_own: bool,
}

impl WordView {
    /// A page that is writable, at this or another address, for longer than this exists.
    pub(super) fn lasting(page: u64, writable: u64) -> Self {
        WordView {
            page,
            writable,
            is_own: false,
        }
    }

    /// A page of a file that is mapped for this view alone, somewhere.
    pub(super) fn map(page: u64, file: &OwnedFd, offset: u64) -> Result<Self, MemoryError> {
        let (size, protection) = (to_usize(PAGE_BYTES), ProtFlags::READ | ProtFlags::WRITE);
        let flags = MapFlags::SHARED | MapFlags::POPULATE;
        fault::point().map_err(system("mmap of a memfd"))?;
        // SAFETY: the kernel chooses an unused range.
        let mapped = unsafe { rustix::mm::mmap(ptr::null_mut(), size, protection, flags, file, offset) };
        Ok(WordView {
            page,
            writable: mapped.map_err(system("mmap of a memfd"))?.expose_provenance() as u64,
            is_own: true,
        })
    }

    pub(super) fn holds(&self, word: u64) -> bool {
        word & !(PAGE_BYTES - 1) == self.page
    }

    /// Stores an aligned word of the page.
    pub(super) fn store(&self, word: u64, value: u64) {
        debug_assert!(self.holds(word) && word.is_multiple_of(8));
        let place = address(self.writable + (word - self.page)).cast::<u64>();
        // SAFETY: the page is mapped writable, the word is aligned and lies in it, and nothing writes it other than
        // atomically.
        let word = unsafe { AtomicU64::from_ptr(place) };
        // Release: whoever jumps through the word finds the code that was written there before. What it pairs with is the
        // processor's fetch of the target, which is ordered as a load (SDM volume 3, section 9.2.2).
        word.store(value, Ordering::Release);
    }
}

impl Drop for WordView {
    fn drop(&mut self) {
        if self.is_own {
            // SAFETY: the page was mapped for this view alone.
            let unmapped = unsafe { rustix::mm::munmap(address(self.writable), to_usize(PAGE_BYTES)) };
            debug_assert!(unmapped.is_ok());
        }
    }
}
