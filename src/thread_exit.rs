//! Destructors of thread-local objects, which run when their thread ends: a module has to stay until they have.
//!
//! The C library keeps a shared object for as long as such destructors are registered for it, but knows nothing of
//! restub's modules. So modules get a registration function of restub's, which counts.

use std::ffi::{c_int, c_void};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustc_hash::FxHashMap;

use crate::fork::Operation;

type Destructor = unsafe extern "C" fn(*mut c_void);

unsafe extern "C" {
    fn __cxa_thread_atexit_impl(destructor: Destructor, object: *mut c_void, handle: *mut c_void) -> c_int;
}

/// How many destructors are registered, by the handle of their module.
static REGISTERED: Mutex<Option<FxHashMap<u64, usize>>> = Mutex::new(None);

fn registered() -> MutexGuard<'static, Option<FxHashMap<u64, usize>>> {
    REGISTERED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One registered destructor.
struct Record {
    destructor: Destructor,
    object: *mut c_void,
    handle: u64,
}

/// The names by which modules ask for [`register`] (Itanium C++ ABI, section 3.3.8; the second is the C library's).
pub(crate) const NAMES: [&str; 2] = ["__cxa_thread_atexit", "__cxa_thread_atexit_impl"];

/// The address of the function that modules get under these names.
pub(crate) fn function() -> u64 {
    register as *const () as u64
}

/// How many destructors are registered for a module and have not run.
pub(crate) fn count(dso_handle: Option<u64>) -> usize {
    let Some(handle) = dso_handle else { return 0 };
    let _operation = Operation::begin();
    registered()
        .as_ref()
        .and_then(|counts| counts.get(&handle).copied())
        .unwrap_or(0)
}

/// # Safety
/// As for `__cxa_thread_atexit`: the destructor may be called with the object when this thread ends.
unsafe extern "C" fn register(destructor: Destructor, object: *mut c_void, handle: *mut c_void) -> c_int {
    // Any address of the program's own: it is the program that stays.
    static OWN: u8 = 0;
    let handle = handle.expose_provenance() as u64;
    let record = Box::into_raw(Box::new(Record {
        destructor,
        object,
        handle,
    }));
    change(handle, |count| count + 1);
    let own = (&raw const OWN).cast_mut().cast();
    // SAFETY: `destroy` takes the record, once.
    let failed = unsafe { __cxa_thread_atexit_impl(destroy, record.cast(), own) };
    if failed != 0 {
        // SAFETY: the record was not registered, so it is still this function's.
        drop(unsafe { Box::from_raw(record) });
        change(handle, |count| count - 1);
    }
    failed
}

unsafe extern "C" fn destroy(record: *mut c_void) {
    // SAFETY: `register` leaked the record for this one call.
    let record = unsafe { Box::from_raw(record.cast::<Record>()) };
    // SAFETY: whoever registered the destructor promised this, and its module is kept until the count goes down.
    unsafe { (record.destructor)(record.object) };
    change(record.handle, |count| count - 1);
}

fn change(handle: u64, to: impl FnOnce(usize) -> usize) {
    let _operation = Operation::begin();
    let mut counts = registered();
    let counts = counts.get_or_insert_default();
    let count = to(counts.get(&handle).copied().unwrap_or(0));
    if count == 0 {
        counts.remove(&handle);
    } else {
        counts.insert(handle, count);
    }
}
