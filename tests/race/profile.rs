//! A profiling timer, whose handler looks up the function that it interrupted.

use std::sync::atomic::{AtomicPtr, AtomicU64, Ordering};

use restub::Session;

static PROFILED: AtomicU64 = AtomicU64::new(0);
static LOCATED: AtomicU64 = AtomicU64::new(0);
/// The session in which the signal handler looks up where it interrupted the thread.
static SESSION: AtomicPtr<Session> = AtomicPtr::new(std::ptr::null_mut());

extern "C" fn profile(_: libc::c_int, _: *mut libc::siginfo_t, context: *mut libc::c_void) {
    PROFILED.fetch_add(1, Ordering::Relaxed);
    // SAFETY: the kernel passes a context to handlers with `SA_SIGINFO`.
    let context = unsafe { &*context.cast::<libc::ucontext_t>() };
    let address = context.uc_mcontext.gregs[libc::REG_RIP as usize];
    // Acquire: pairs with the release when the session is made.
    let session = SESSION.load(Ordering::Acquire);
    // SAFETY: the pointer is null, or to a session that lives until the timer has been stopped and nobody runs any more.
    if let Some(session) = unsafe { session.as_ref() } {
        session.function_at(address.cast_unsigned(), |_, _, _| {
            LOCATED.fetch_add(1, Ordering::Relaxed);
        });
    }
}

/// Has SIGPROF arrive so many times for each second of processor time.
fn set_timer(hertz: i64) {
    let every = libc::timeval {
        tv_sec: 0,
        tv_usec: 1_000_000i64.checked_div(hertz).unwrap_or(0),
    };
    let timer = libc::itimerval {
        it_interval: every,
        it_value: every,
    };
    // SAFETY: the timer is a local variable.
    let set = unsafe { libc::setitimer(libc::ITIMER_PROF, &raw const timer, std::ptr::null_mut()) };
    assert_eq!(set, 0);
}

/// Runs something while the timer does.
pub(crate) fn profiled<R>(session: &Session, run: impl FnOnce() -> R) -> R {
    // SAFETY: zero is a value of every field.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    let handler: extern "C" fn(_, _, _) = profile;
    action.sa_sigaction = handler as usize;
    action.sa_flags = libc::SA_RESTART | libc::SA_ONSTACK | libc::SA_SIGINFO;
    // SAFETY: the action is complete, and its handler does what handlers may do.
    unsafe { libc::sigaction(libc::SIGPROF, &raw const action, std::ptr::null_mut()) };
    // Release: pairs with the acquire in the handler.
    SESSION.store(std::ptr::from_ref(session).cast_mut(), Ordering::Release);
    set_timer(1000);
    let result = run();
    set_timer(0);
    // A signal that is on its way to a thread that lives on finds no session.
    SESSION.store(std::ptr::null_mut(), Ordering::Release);
    result
}

/// How many signals arrived, and how many of them found a loaded function.
pub(crate) fn counts() -> (u64, u64) {
    (PROFILED.load(Ordering::Relaxed), LOCATED.load(Ordering::Relaxed))
}
