//! `fork` and restub's own locks: no thread is inside restub while the process is copied.
//!
//! A child has only the thread that forked. A lock that another thread held stays locked in the child for ever, and so
//! does the dynamic linker's own lock around `dl_iterate_phdr`, which glibc 2.36 does not reset. So everything that takes
//! locks is an *operation*, and `fork` waits for those of other threads to end.

use std::cell::{Cell, UnsafeCell};
use std::marker::PhantomData;
use std::sync::Once;
use std::sync::atomic::{AtomicU64, Ordering};

/// Operations hold it for reading, `fork` for writing.
static LOCK: Lock = Lock(UnsafeCell::new(libc::PTHREAD_RWLOCK_INITIALIZER));

/// A lock of the C library's, because a lock of Rust's cannot be made anew in a child.
struct Lock(UnsafeCell<libc::pthread_rwlock_t>);

// SAFETY: the C library's functions may be called with it from any thread.
unsafe impl Sync for Lock {}

/// Incremented before each `fork`: shared memory that was made before has since been shared with a child.
static COUNT: AtomicU64 = AtomicU64::new(0);

thread_local! {
    /// How many operations this thread is in, one inside the other.
    static DEPTH: Cell<usize> = const { Cell::new(0) };
}

/// How often this process or its ancestors have forked since restub came into it.
pub(crate) fn count() -> u64 {
    // Relaxed: whoever asks is in an operation, whose lock orders it against every fork.
    COUNT.load(Ordering::Relaxed)
}

/// An operation of this thread, until it is dropped.
#[derive(Debug)]
pub(crate) struct Operation {
    /// It has to end in the thread in which it began.
    not_send: PhantomData<*const ()>,
}

impl Operation {
    pub(crate) fn begin() -> Self {
        static WATCH: Once = Once::new();
        WATCH.call_once(|| {
            initialize_lock();
            // SAFETY: the handlers only take and release the lock, and count.
            unsafe { libc::pthread_atfork(Some(before), Some(after_in_parent), Some(after_in_child)) };
        });
        if DEPTH.replace(DEPTH.get() + 1) == 0 {
            // SAFETY: the lock is initialized, and this thread does not hold it.
            unsafe { libc::pthread_rwlock_rdlock(LOCK.0.get()) };
        }
        Operation { not_send: PhantomData }
    }

    /// As [`begin`](Operation::begin), for signal handlers: does not wait for a `fork`, but gives up.
    pub(crate) fn try_begin() -> Option<Self> {
        // SAFETY: the lock is initialized statically at the latest, and this thread does not hold it.
        if DEPTH.get() == 0 && unsafe { libc::pthread_rwlock_tryrdlock(LOCK.0.get()) } != 0 {
            return None;
        }
        DEPTH.set(DEPTH.get() + 1);
        Some(Operation { not_send: PhantomData })
    }
}

impl Drop for Operation {
    fn drop(&mut self) {
        if DEPTH.replace(DEPTH.get() - 1) == 1 {
            // SAFETY: this thread took the lock when it began the outermost operation.
            unsafe { libc::pthread_rwlock_unlock(LOCK.0.get()) };
        }
    }
}

/// Makes the lock one that lets a waiting `fork` go before new operations: many threads at work would hold it up else.
fn initialize_lock() {
    const PREFER_WRITER_NONRECURSIVE: libc::c_int = 2;
    let mut attributes = std::mem::MaybeUninit::uninit();
    // SAFETY: initializes the attributes.
    unsafe { libc::pthread_rwlockattr_init(attributes.as_mut_ptr()) };
    // SAFETY: the attributes are initialized.
    unsafe { libc::pthread_rwlockattr_setkind_np(attributes.as_mut_ptr(), PREFER_WRITER_NONRECURSIVE) };
    // SAFETY: nobody holds the lock: it is the first use of all, or a new process with one thread.
    unsafe { libc::pthread_rwlock_init(LOCK.0.get(), attributes.as_ptr()) };
}

/// A thread that forks inside an operation of its own, such as in a library's constructor, cannot wait for itself.
fn forks_inside_an_operation() -> bool {
    DEPTH.get() > 0
}

extern "C" fn before() {
    if !forks_inside_an_operation() {
        // SAFETY: the lock is initialized, and this thread does not hold it.
        unsafe { libc::pthread_rwlock_wrlock(LOCK.0.get()) };
    }
    COUNT.fetch_add(1, Ordering::Relaxed);
}

extern "C" fn after_in_parent() {
    if !forks_inside_an_operation() {
        // SAFETY: `before` took the lock in this thread.
        unsafe { libc::pthread_rwlock_unlock(LOCK.0.get()) };
    }
}

extern "C" fn after_in_child() {
    if !forks_inside_an_operation() {
        // Not unlocked but made anew: the lock knows its writer by a thread number that is another one in the child.
        initialize_lock();
    }
}
