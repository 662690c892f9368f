//! Registration of unwind tables with libgcc, so that exceptions pass through loaded code.
//!
//! libgcc 13 and later keep registered tables in a tree, and each module gets an entry of its own. Older ones keep a
//! list that every throw of the process walks, so there modules are registered in groups: one list entry holds the
//! tables of up to [`GROUP_MODULES`] of them. A group changes by registering what it is to be before what it was is
//! deregistered, so that a throw at the same time finds every table that is in both.

use std::ffi::c_void;
use std::ptr;

use rustc_hash::FxHashMap;

/// Modules in a group: a throw costs a step for each group, a load or unload a copy of one.
const GROUP_MODULES: usize = 128;

#[link(name = "gcc_s")]
unsafe extern "C" {
    fn __register_frame(begin: *const c_void);
    fn __deregister_frame(begin: *const c_void);
    /// Takes a list of tables that ends with a null pointer.
    fn __register_frame_table(begin: *const c_void);
}

/// The unwind tables of a session's modules.
#[derive(Debug)]
pub(crate) struct UnwindTables {
    grouped: bool,
    groups: Vec<Group>,
    /// For each table its group.
    group_of: FxHashMap<u64, usize>,
    /// Groups with room for another table. The last one is taken first: its list is where libgcc looks first, too.
    with_room: Vec<usize>,
}

/// The address of [`EMPTY`], those of tables, and a zero. Boxed, because libgcc keeps the address.
#[derive(Debug, Default)]
struct Group(Box<[u64]>);

/// A table without records. libgcc takes a list for empty if the first *four* bytes of it are zero, as they are of an
/// address that is a multiple of 4 GiB: so every list starts with this one, whose address never is.
static EMPTY: [u32; 2] = [0; 2];

impl UnwindTables {
    /// `grouped` is for a libgcc before 13.
    pub(crate) fn new(grouped: bool) -> Self {
        UnwindTables {
            grouped,
            groups: Vec::new(),
            group_of: FxHashMap::default(),
            with_room: Vec::new(),
        }
    }

    /// Registers the table at `address`, which the loader has checked and ended with a length of zero.
    ///
    /// # Safety
    /// The table stays in memory until it is [removed](UnwindTables::remove).
    pub(crate) unsafe fn add(&mut self, address: u64) {
        if !self.grouped {
            // SAFETY: the caller's promise, and the loader's checks.
            unsafe { __register_frame(pointer(address)) };
            return;
        }
        let at = self.with_room.last().copied().unwrap_or_else(|| {
            self.groups.push(Group::default());
            self.with_room.push(self.groups.len() - 1);
            self.groups.len() - 1
        });
        let group = &mut self.groups[at];
        group.replace([group.tables(), &[address]].concat());
        if group.is_full() {
            self.with_room.pop();
        }
        self.group_of.insert(address, at);
    }

    /// Deregisters a table that was [added](UnwindTables::add).
    pub(crate) fn remove(&mut self, address: u64) {
        if !self.grouped {
            // SAFETY: the table was registered with this address and is still in memory.
            unsafe { __deregister_frame(pointer(address)) };
            return;
        }
        let Some(at) = self.group_of.remove(&address) else {
            return;
        };
        let group = &mut self.groups[at];
        if group.is_full() {
            self.with_room.push(at);
        }
        let rest = group.tables().iter().copied().filter(|table| *table != address);
        group.replace(rest.collect());
    }
}

impl Group {
    fn tables(&self) -> &[u64] {
        match &*self.0 {
            [_, tables @ .., _] => tables,
            _ => &[],
        }
    }

    fn is_full(&self) -> bool {
        self.tables().len() == GROUP_MODULES
    }

    fn replace(&mut self, tables: Vec<u64>) {
        // The second word of the pair, whose address cannot be such a multiple.
        let empty = (&raw const EMPTY[1]).expose_provenance() as u64;
        let new: Box<[u64]> = match tables.as_slice() {
            [] => Box::default(),
            tables => [&[empty], tables, &[0]].concat().into(),
        };
        if !new.is_empty() {
            // SAFETY: the list ends with zero, its tables are in memory, and the box keeps its address while it is
            // registered.
            unsafe { __register_frame_table(new.as_ptr().cast()) };
        }
        let old = std::mem::replace(&mut self.0, new);
        if !old.is_empty() {
            // SAFETY: the list was registered with this address, and it and its tables are still in memory.
            unsafe { __deregister_frame(old.as_ptr().cast()) };
        }
    }
}

impl Drop for UnwindTables {
    fn drop(&mut self) {
        for group in &mut self.groups {
            group.replace(Vec::new());
        }
    }
}

fn pointer(address: u64) -> *const c_void {
    ptr::with_exposed_provenance(address as usize)
}
