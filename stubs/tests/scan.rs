//! What a scan finds, and whom it names.
#![allow(clippy::unwrap_used, reason = "a failure is a failed test")]

mod support;

use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

use restub_stubs::{Reclaimer, ScanHit, ScanOptions, ScanReport, Silence, scan};
use support::Page;

/// Threads of one test would be seen by the scan of another.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

fn look_for(range: Range<u64>) -> ScanReport {
    let ranges = vec![range];
    let options = ScanOptions {
        deadline: Duration::from_secs(10),
        ..ScanOptions::default()
    };
    scan(&ranges, &options).unwrap()
}

/// What a scan found in other threads: a test's own frames hold addresses of what it tests.
fn others(report: &ScanReport) -> Vec<&ScanHit> {
    let own = rustix::thread::gettid().as_raw_nonzero().get();
    report.hits.iter().filter(|hit| hit.thread.id != own).collect()
}

/// `inc dword ptr [rdi]; 1: cmp dword ptr [rsi], 0; je 1b; ret`: says that it is running, and runs until it is told.
const SPINS: [u8; 8] = [0xff, 0x07, 0x83, 0x3e, 0x00, 0x74, 0xfb, 0xc3];
/// `call rdx; ret`, with the stack aligned around it.
const CALLS: [u8; 11] = [0x48, 0x83, 0xec, 0x08, 0xff, 0xd2, 0x48, 0x83, 0xc4, 0x08, 0xc3];

/// Where the call of [`CALLS`] returns to. A scan keeps the first word it finds, so look for nothing else.
fn return_address(page: &Page) -> Range<u64> {
    page.address() + 6..page.address() + 7
}

type Spins = extern "C" fn(*const AtomicU32, *const AtomicU32);
type Calls = extern "C" fn(*const AtomicU32, *const AtomicU32, Spins);

/// Lets a thread go on, also when an assertion fails.
struct Stop<'a>(&'a AtomicU32);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(1, Ordering::Release);
    }
}

/// Runs `body` in a named thread with two flags, and `while_running` as soon as it has set the first; then sets the
/// second.
fn beside(body: impl FnOnce(&AtomicU32, &AtomicU32) + Send, while_running: impl FnOnce()) {
    let (started, stop) = (AtomicU32::new(0), AtomicU32::new(0));
    thread::scope(|scope| {
        let named = thread::Builder::new().name("inside".to_owned());
        named.spawn_scoped(scope, || body(&started, &stop)).unwrap();
        while started.load(Ordering::Acquire) == 0 {
            thread::yield_now();
        }
        let _stop = Stop(&stop);
        while_running();
    });
}

fn as_spins(page: &Page) -> Spins {
    // SAFETY: the page holds `SPINS`; calling it is safe while it is mapped.
    unsafe { std::mem::transmute(page.address()) }
}

fn as_calls(page: &Page) -> Calls {
    // SAFETY: the page holds `CALLS`; calling it is safe while it is mapped.
    unsafe { std::mem::transmute(page.address()) }
}

#[test]
fn every_thread_answers() {
    let _alone = alone();
    let page = Page::returning(1, 1).unwrap();
    let report = look_for(page.range());
    assert!(report.silent.is_empty() && report.threads >= 2, "{report:?}");
}

#[test]
fn a_thread_that_runs_inside_is_found_by_its_registers() {
    let _alone = alone();
    let page = Page::with_code(&SPINS).unwrap();
    let spins = as_spins(&page);
    beside(
        |started, stop| spins(started, stop),
        || {
            let report = look_for(page.range());
            let hit = others(&report)[0];
            assert_eq!(
                (hit.thread.name.as_str(), hit.stack_address),
                ("inside", None),
                "{report:?}"
            );
            assert!(page.range().contains(&hit.word));
        },
    );
}

#[test]
fn a_thread_that_will_return_there_is_found_by_its_stack() {
    let _alone = alone();
    let (outer, inner) = (Page::with_code(&CALLS).unwrap(), Page::with_code(&SPINS).unwrap());
    let spins = as_spins(&inner);
    let calls = as_calls(&outer);
    beside(
        |started, stop| calls(started, stop, spins),
        || {
            let report = look_for(return_address(&outer));
            let hit = others(&report)[0];
            assert!(hit.stack_address.is_some() && hit.thread.name == "inside", "{report:?}");
        },
    );
}

/// Flags of the thread that runs on its alternate stack.
static ON_ALTERNATE: (AtomicU32, AtomicU32) = (AtomicU32::new(0), AtomicU32::new(0));

extern "C" fn spin_on_alternate(_: libc::c_int) {
    ON_ALTERNATE.0.store(1, Ordering::Release);
    while ON_ALTERNATE.1.load(Ordering::Acquire) == 0 {
        std::hint::spin_loop();
    }
}

#[test]
fn a_thread_on_its_alternate_stack_is_found_by_its_other_stack() {
    let _alone = alone();
    /// Its handler runs on an alternate stack that has room for a second signal frame.
    extern "C" fn raises(_: *const AtomicU32, _: *const AtomicU32) {
        let mut memory = vec![0u8; 64 << 10];
        let stack = libc::stack_t {
            ss_sp: memory.as_mut_ptr().cast(),
            ss_flags: 0,
            ss_size: memory.len(),
        };
        let mut before = stack;
        // SAFETY: the memory lives until the stack is changed back.
        unsafe { libc::sigaltstack(&raw const stack, &raw mut before) };
        // SAFETY: takes no pointers.
        unsafe { libc::raise(libc::SIGUSR2) };
        // SAFETY: what the thread had before.
        unsafe { libc::sigaltstack(&raw const before, std::ptr::null_mut()) };
    }
    let outer = Page::with_code(&CALLS).unwrap();
    // SAFETY: zero is a value of every field.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = spin_on_alternate as *const () as usize;
    action.sa_flags = libc::SA_ONSTACK;
    // SAFETY: the action is complete.
    unsafe { libc::sigaction(libc::SIGUSR2, &raw const action, std::ptr::null_mut()) };
    let calls = as_calls(&outer);
    let null = &AtomicU32::new(0);
    thread::scope(|scope| {
        scope.spawn(move || calls(null, null, raises));
        while ON_ALTERNATE.0.load(Ordering::Acquire) == 0 {
            thread::yield_now();
        }
        let _stop = Stop(&ON_ALTERNATE.1);
        let report = look_for(return_address(&outer));
        assert_eq!(others(&report).len(), 1, "{report:?}");
    });
}

#[test]
fn the_caller_is_scanned_too() {
    let _alone = alone();
    let page = Page::with_code(&CALLS).unwrap();
    static RANGE: Mutex<Option<Range<u64>>> = Mutex::new(None);
    static REPORT: Mutex<Option<ScanReport>> = Mutex::new(None);
    extern "C" fn scans(_: *const AtomicU32, _: *const AtomicU32) {
        let range = RANGE.lock().unwrap().take().unwrap();
        *REPORT.lock().unwrap() = Some(look_for(range));
    }
    *RANGE.lock().unwrap() = Some(return_address(&page));
    let calls = as_calls(&page);
    let null = AtomicU32::new(0);
    calls(&null, &null, scans);
    let report = REPORT.lock().unwrap().take().unwrap();
    assert_eq!(report.hits.len(), 1, "{report:?}");
}

#[test]
fn a_thread_that_blocks_the_signal_is_named() {
    let _alone = alone();
    let page = Page::returning(1, 1).unwrap();
    let block = |started: &AtomicU32, stop: &AtomicU32| {
        // SAFETY: zero is a value of a set, which is filled next.
        let mut every: libc::sigset_t = unsafe { std::mem::zeroed() };
        // SAFETY: a local variable.
        unsafe { libc::sigfillset(&raw mut every) };
        // SAFETY: the set is complete.
        unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &raw const every, std::ptr::null_mut()) };
        started.store(1, Ordering::Release);
        while stop.load(Ordering::Acquire) == 0 {
            thread::yield_now();
        }
    };
    beside(block, || {
        let options = ScanOptions {
            deadline: Duration::from_millis(200),
            ..ScanOptions::default()
        };
        let report = scan(&[page.range()], &options).unwrap();
        assert!(!report.is_clear(0));
        // A thread that starts behind the deadline is silent too.
        let mut silent = report.silent.iter();
        let inside = silent.find(|silent| silent.thread.name == "inside").unwrap();
        assert_eq!(inside.reason, Silence::Blocked, "{report:?}");
    });
}

#[test]
fn threads_that_come_and_go_are_no_trouble() {
    let _alone = alone();
    let page = Page::returning(1, 1).unwrap();
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    thread::spawn(|| std::hint::black_box(1)).join().unwrap();
                }
            });
        }
        let options = ScanOptions {
            deadline: Duration::from_millis(50),
            ..ScanOptions::default()
        };
        for _ in 0..10 {
            // What it finds is left open: a fresh thread's stack has words of the thread that had the memory before.
            let report = scan(&[page.range()], &options);
            stop.fetch_or(report.is_err(), Ordering::Relaxed);
        }
        stop.store(true, Ordering::Relaxed);
    });
    assert!(look_for(page.range()).silent.is_empty());
}

#[test]
fn what_a_scan_finds_is_kept_for_the_next_collection() {
    let _alone = alone();
    let reclaimer = Arc::new(Reclaimer::new());
    let busy = Page::with_code(&SPINS).unwrap();
    let spins = as_spins(&busy);
    let options = ScanOptions {
        deadline: Duration::from_secs(10),
        ..ScanOptions::default()
    };
    beside(
        |started, stop| spins(started, stop),
        || {
            reclaimer.retire(busy, 4096);
            let (free, report) = reclaimer.collect_with_scan(Page::range, &options).unwrap();
            assert!(free.is_empty());
            assert!(
                others(&report).iter().any(|hit| hit.thread.name == "inside"),
                "{report:?}"
            );
            assert_eq!(reclaimer.stats().held.items, 1);
        },
    );
    // This thread still has the address of the function in a variable; another one has not.
    let collect = || reclaimer.collect_with_scan(Page::range, &options).unwrap().1;
    let report = thread::scope(|scope| scope.spawn(collect).join().unwrap());
    assert!(report.hits.iter().all(|hit| hit.stack_address.is_some()), "{report:?}");
}

/// Retires a page without leaving its address on the stack.
#[inline(never)]
fn retire_page(reclaimer: &Reclaimer<Box<Page>>) {
    reclaimer.retire(Box::new(Page::returning(1, 1).unwrap()), 4096);
}

#[test]
fn a_scan_does_not_find_itself() {
    let _alone = alone();
    let reclaimer = Reclaimer::new();
    for _ in 0..200 {
        retire_page(&reclaimer);
        let options = ScanOptions::default();
        let (free, report) = reclaimer.collect_with_scan(|page| page.range(), &options).unwrap();
        assert_eq!(free.len(), 1, "{report:?}");
    }
}
