//! Registration of unwind tables with libgcc, so that exceptions pass through loaded code.
//!
//! libgcc 13 and later keep registered tables in a tree, and each module gets an entry of its own. Older ones keep a
//! list that every throw of the process walks, so there modules are registered in groups: one list entry holds the
//! tables of up to [`GROUP_MODULES`] of them. These versions look into just one entry, the last one to begin at or below
//! the address in question. So a group has the modules of one range of an arena, and no other's lies inside of it.
//!
//! A group changes by registering what it is to be before what it was is deregistered, so that a throw at the same time
//! finds every table that is in both. What libgcc knew of it has to stay for a while: having found a table, a throw looks
//! there again when it has let go of the lock.

use std::collections::BTreeMap;
use std::ffi::c_void;
use std::ops::Range;
use std::ptr;
use std::time::{Duration, Instant};

use restub_loader::{Image, SegmentKind};

/// Modules in a group: a throw costs a step for each group, a load or unload a copy of one.
const GROUP_MODULES: usize = 128;

#[link(name = "gcc_s")]
unsafe extern "C" {
    fn __register_frame(begin: *const c_void);
    fn __deregister_frame(begin: *const c_void);
    /// Takes a list of tables that ends with a null pointer, and memory to keep an account of it.
    fn __register_frame_info_table(begin: *const c_void, object: *mut c_void);
    /// Gives the memory back.
    fn __deregister_frame_info(begin: *const c_void) -> *mut c_void;
}

/// The unwind tables of a session's modules.
#[derive(Debug)]
pub(crate) struct UnwindTables {
    grouped: bool,
    /// By the place from which on modules are theirs.
    groups: BTreeMap<Place, Group>,
    /// What throws may still look at, since when.
    old: Vec<(Instant, OldAccount)>,
}

/// libgcc's `struct object`, of which crtstuff.c knows that it has six words.
type Account = [u64; 6];

/// libgcc's account of a list that is not registered any more.
#[derive(Debug)]
pub(crate) struct OldAccount(Box<Account>);

impl OldAccount {
    pub(crate) fn addresses(&self) -> Range<u64> {
        let start = self.0.as_ptr().addr() as u64;
        start..start + size_of::<Account>() as u64
    }
}

/// Where a module's code is: the arena, and the first address.
type Place = (u64, u64);

/// Modules with tables, by their places.
#[derive(Debug, Default)]
struct Group {
    members: Vec<(Place, u64)>,
    /// The address of [`EMPTY`], those of the tables, and a zero. Boxed, because libgcc keeps the address.
    list: Box<[u64]>,
    /// libgcc has its address, too.
    account: Box<Account>,
}

/// A table without records. libgcc takes a list for empty if the first *four* bytes of it are zero, as they are of an
/// address that is a multiple of 4 GiB: so every list starts with this one, whose address never is.
static EMPTY: [u32; 2] = [0; 2];

impl UnwindTables {
    /// `grouped` is for a libgcc before 13.
    pub(crate) fn new(grouped: bool) -> Self {
        UnwindTables {
            grouped,
            groups: BTreeMap::new(),
            old: Vec::new(),
        }
    }

    /// Hands over what libgcc does not know any more, to be dropped once no thread that throws now is still throwing.
    pub(crate) fn take_old(&mut self) -> Vec<OldAccount> {
        self.old.drain(..).map(|(_, account)| account).collect()
    }

    /// Drops what has been left for so long that no thread is in those few instructions any more: for sessions that do not
    /// know when their threads are done.
    pub(crate) fn drop_old(&mut self) {
        const AGE: Duration = Duration::from_secs(1);
        let recent = self.old.partition_point(|(since, _)| since.elapsed() >= AGE);
        self.old.drain(..recent);
    }

    /// Registers an image's table, which the loader has checked and ended with a length of zero.
    ///
    /// # Safety
    /// The table stays in memory until it is [removed](UnwindTables::remove).
    pub(crate) unsafe fn add(&mut self, image: &Image) {
        let Some((table, _)) = image.eh_frame else { return };
        if !self.grouped {
            // SAFETY: the caller's promise, and the loader's checks.
            unsafe { __register_frame(pointer(table)) };
            return;
        }
        let place = place(image);
        let Some(start) = self.group_of(place) else {
            self.insert(place, vec![(place, table)]);
            return;
        };
        // A group starts with the first of its members.
        let Some(mut group) = self.groups.remove(&start) else {
            return;
        };
        let start = start.min(place);
        let mut members = group.members.clone();
        let at = members.partition_point(|(other, _)| *other <= place);
        members.insert(at, (place, table));
        if members.len() <= GROUP_MODULES {
            let old = group.replace(members);
            self.keep(old);
            self.groups.insert(start, group);
            return;
        }
        // What comes behind all others starts a group: modules are mostly loaded one behind the other.
        let split = if at == GROUP_MODULES { at } else { members.len() / 2 };
        // The upper half first: with the lower half alone, libgcc would look there for what is in the upper one.
        let upper = members.split_off(split);
        self.insert(upper[0].0, upper);
        let old = group.replace(members);
        self.keep(old);
        self.groups.insert(start, group);
    }

    /// Deregisters the table of an image that was [added](UnwindTables::add).
    pub(crate) fn remove(&mut self, image: &Image) {
        let Some((table, _)) = image.eh_frame else { return };
        if !self.grouped {
            // SAFETY: the table was registered with this address and is still in memory.
            unsafe { __deregister_frame(pointer(table)) };
            return;
        }
        let Some(start) = self.group_of(place(image)) else {
            return;
        };
        let Some(group) = self.groups.get_mut(&start) else {
            return;
        };
        let mut members = group.members.clone();
        members.retain(|(_, other)| *other != table);
        let empty = members.is_empty();
        let old = group.replace(members);
        self.keep(old);
        if empty {
            self.groups.remove(&start);
        }
    }

    fn keep(&mut self, old: Option<OldAccount>) {
        self.old.extend(old.map(|old| (Instant::now(), old)));
    }

    /// The group in whose range a place is: the last one that starts there or before, in the same arena.
    fn group_of(&self, place: Place) -> Option<Place> {
        let before = self.groups.range((place.0, 0)..=place).next_back();
        let group = before.or_else(|| self.groups.range(place..=(place.0, u64::MAX)).next());
        group.map(|(start, _)| *start)
    }

    fn insert(&mut self, start: Place, members: Vec<(Place, u64)>) {
        let mut group = Group::default();
        group.replace(members);
        self.groups.insert(start, group);
    }
}

impl Group {
    /// Registers other members instead. Returns what libgcc may still look at.
    fn replace(&mut self, members: Vec<(Place, u64)>) -> Option<OldAccount> {
        // The second word of the pair, whose address cannot be such a multiple.
        let empty = (&raw const EMPTY[1]).expose_provenance() as u64;
        let tables = members.iter().map(|(_, table)| *table);
        let list: Box<[u64]> = match members.is_empty() {
            true => Box::default(),
            false => [empty].into_iter().chain(tables).chain([0]).collect(),
        };
        let mut account = Box::new(Account::default());
        if !list.is_empty() {
            // SAFETY: the list ends with zero, its tables are in memory, and the boxes keep their addresses while it is
            // registered.
            unsafe { __register_frame_info_table(list.as_ptr().cast(), account.as_mut_ptr().cast()) };
        }
        let old = std::mem::replace(&mut self.list, list);
        let old_account = std::mem::replace(&mut self.account, account);
        self.members = members;
        if old.is_empty() {
            return None;
        }
        // SAFETY: the list was registered with this address, and it and its tables are still in memory.
        unsafe { __deregister_frame_info(old.as_ptr().cast()) };
        Some(OldAccount(old_account))
    }
}

impl Drop for UnwindTables {
    fn drop(&mut self) {
        for group in self.groups.values_mut() {
            // Nobody throws through the modules of a session that is being dropped.
            drop(group.replace(Vec::new()));
        }
    }
}

fn place(image: &Image) -> Place {
    let placement = &image.placement;
    match (placement.addresses[SegmentKind::Code as usize], image.eh_frame) {
        // A table without code is never looked at.
        (0, Some((table, _))) => (u64::MAX, table),
        (code, _) => (placement.id, code),
    }
}

fn pointer(address: u64) -> *const c_void {
    ptr::with_exposed_provenance(address as usize)
}
