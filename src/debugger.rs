//! Telling gdb of loaded modules (GDB manual, "JIT Compilation Interface").
//!
//! gdb sets a breakpoint in a function of a fixed name and reads a list of a fixed name whenever it is hit. Each module
//! has its own entry, an ELF file in memory, and takes just that back.

use std::pin::Pin;
use std::ptr;
use std::sync::{Mutex, PoisonError};

const NO_ACTION: u32 = 0;
const REGISTER: u32 = 1;
const UNREGISTER: u32 = 2;

/// `struct jit_code_entry`.
#[repr(C)]
#[derive(Debug)]
struct Entry {
    next: *mut Entry,
    previous: *mut Entry,
    file: *const u8,
    file_bytes: u64,
}

/// `struct jit_descriptor`.
#[repr(C)]
#[derive(Debug)]
struct Descriptor {
    version: u32,
    action: u32,
    relevant: *mut Entry,
    first: *mut Entry,
}

/// The list that gdb reads. It is written under [`LIST`] only.
#[unsafe(no_mangle)]
#[used]
static mut __jit_debug_descriptor: Descriptor = Descriptor {
    version: 1,
    action: NO_ACTION,
    relevant: ptr::null_mut(),
    first: ptr::null_mut(),
};

/// The function in which gdb stops to read the list.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn __jit_debug_register_code() {
    // Keeps calls, and the place for the breakpoint, from being optimized away.
    // SAFETY: no instruction is executed.
    unsafe { std::arch::asm!("", options(nostack, preserves_flags)) };
}

static LIST: Mutex<()> = Mutex::new(());

/// A module that gdb knows; dropped, gdb forgets it.
#[derive(Debug)]
pub(crate) struct Registration {
    entry: Pin<Box<Entry>>,
    /// What the entry points to.
    _file: Vec<u8>,
}

// SAFETY: the entry's links are read and written under `LIST` only.
unsafe impl Send for Registration {}
// SAFETY: a shared reference gives no access to the entry.
unsafe impl Sync for Registration {}

impl Registration {
    /// Tells gdb of an ELF file that describes code where it is in memory.
    pub(crate) fn new(file: Vec<u8>) -> Self {
        let entry = Entry {
            next: ptr::null_mut(),
            previous: ptr::null_mut(),
            file: file.as_ptr(),
            file_bytes: file.len() as u64,
        };
        let mut registration = Registration {
            entry: Box::pin(entry),
            _file: file,
        };
        let entry: *mut Entry = &raw mut *registration.entry;
        change(REGISTER, entry, |descriptor| {
            registration.entry.next = descriptor.first;
            if let Some(next) = registration.next() {
                next.previous = entry;
            }
            descriptor.first = entry;
        });
        registration
    }

    fn next(&mut self) -> Option<&mut Entry> {
        // SAFETY: entries in the list live until they are taken out of it, and the list is locked.
        unsafe { self.entry.next.as_mut() }
    }

    fn previous(&mut self) -> Option<&mut Entry> {
        // SAFETY: entries in the list live until they are taken out of it, and the list is locked.
        unsafe { self.entry.previous.as_mut() }
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        let entry: *mut Entry = &raw mut *self.entry;
        change(UNREGISTER, entry, |descriptor| {
            let (next, previous) = (self.entry.next, self.entry.previous);
            if let Some(entry) = self.next() {
                entry.previous = previous;
            }
            match self.previous() {
                Some(entry) => entry.next = next,
                None => descriptor.first = next,
            }
        });
    }
}

/// Changes the list, and has gdb look at one entry.
fn change(action: u32, relevant: *mut Entry, edit: impl FnOnce(&mut Descriptor)) {
    let _list = LIST.lock().unwrap_or_else(PoisonError::into_inner);
    let descriptor = &raw mut __jit_debug_descriptor;
    // SAFETY: the list is locked, and gdb reads it only while the process is stopped.
    let descriptor = unsafe { &mut *descriptor };
    edit(descriptor);
    descriptor.action = action;
    descriptor.relevant = relevant;
    __jit_debug_register_code();
    descriptor.action = NO_ACTION;
    descriptor.relevant = ptr::null_mut();
}
