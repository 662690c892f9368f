//! Threads call through stubs without pause while another replaces what they call, as fast as it can.
//!
//! What is reclaimed is *unmapped*, so that a caller which comes too late faults. Every value that a call returns is
//! checked to be of a version that was alive at some moment of the call. A profiling timer interrupts everybody, and
//! some guards are leaked on purpose. `RESTUB_STRESS_SECONDS` sets how long each of the tests runs.
#![allow(clippy::unwrap_used, reason = "a failure is a failed test")]

mod support;

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use restub_stubs::{OnUnbound, Reclaimer, ScanOptions, Slot, Stub, StubTable};
use support::{Page, TwoViews, function};

/// How many stubs are called and replaced.
const STUBS: usize = 8;

fn duration() -> Duration {
    let seconds = std::env::var("RESTUB_STRESS_SECONDS").ok();
    let seconds = seconds.and_then(|text| text.parse().ok()).unwrap_or(0.6);
    Duration::from_secs_f64(seconds)
}

/// One stress test at a time: each has the cores to itself.
static ALONE: Mutex<()> = Mutex::new(());

static PROFILED: AtomicU64 = AtomicU64::new(0);

extern "C" fn count(_: libc::c_int) {
    PROFILED.fetch_add(1, Ordering::Relaxed);
}

/// Has SIGPROF arrive a thousand times for each second of processor time.
fn profile() {
    // SAFETY: zero is a value of every field.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = count as *const () as usize;
    action.sa_flags = libc::SA_RESTART | libc::SA_ONSTACK;
    // SAFETY: the action is complete, and its handler increments an atomic.
    unsafe { libc::sigaction(libc::SIGPROF, &raw const action, std::ptr::null_mut()) };
    let every = libc::timeval {
        tv_sec: 0,
        tv_usec: 1000,
    };
    let timer = libc::itimerval {
        it_interval: every,
        it_value: every,
    };
    // SAFETY: the timer is a local variable.
    unsafe { libc::setitimer(libc::ITIMER_PROF, &raw const timer, std::ptr::null_mut()) };
}

/// What callers and the replacing thread share.
struct World {
    reclaimer: Reclaimer<Page>,
    stubs: Vec<Stub>,
    /// For each stub the versions that a call may meet: published at the latest, and being published.
    newest: Vec<(AtomicU32, AtomicU32)>,
    stop: AtomicBool,
    calls: AtomicU64,
}

/// What a run has done.
#[derive(Debug)]
struct Counts {
    calls: u64,
    replacements: u64,
    unmapped: u64,
}

/// Version `n` of stub `i` returns this.
fn value(i: usize, n: u32) -> u32 {
    n * STUBS as u32 + i as u32
}

impl World {
    /// A call is right if what it returns was published no earlier than the last version before it, and no later than
    /// the first after it.
    fn call(&self, i: usize) {
        // Acquire: pairs with the release after publishing; that version or a later one must be met.
        let oldest = self.newest[i].0.load(Ordering::Acquire);
        // SAFETY: the stub always has a target, which the guard (or the scan) keeps mapped.
        let callee = unsafe { function(self.stubs[i].address()) };
        // SAFETY: as above.
        let result = unsafe { callee() } as u32;
        // Acquire: pairs with the release before publishing; nothing later can have been met.
        let youngest = self.newest[i].1.load(Ordering::Acquire);
        let version = result / STUBS as u32;
        assert_eq!(result as usize % STUBS, i, "another stub's function ran");
        assert!(
            (oldest..=youngest).contains(&version),
            "{version} ran, of {oldest}..={youngest}"
        );
    }

    fn calls_without_pause(&self, seed: usize, pins: bool) {
        let mut calls = 0;
        // Relaxed: only ends the loop.
        while !self.stop.load(Ordering::Relaxed) {
            for turn in 0..64 {
                let _outer = pins.then(|| self.reclaimer.pin());
                let _inner = (pins && turn % 8 == 0).then(|| self.reclaimer.pin());
                self.call((seed + turn) % STUBS);
            }
            calls += 64;
        }
        self.calls.fetch_add(calls, Ordering::Relaxed);
    }

    /// Replaces every stub in turn, and returns how often.
    fn replace_without_pause(&self, table: &mut StubTable<TwoViews>, pages: &mut [Option<Page>], end: Instant) -> u32 {
        let mut version = 0;
        while Instant::now() < end {
            version += 1;
            for (i, page) in pages.iter_mut().enumerate() {
                self.replace(table, page, i, version);
            }
        }
        version * pages.len() as u32
    }

    fn replace(&self, table: &mut StubTable<TwoViews>, page: &mut Option<Page>, i: usize, version: u32) {
        let next = Page::returning(value(i, version), 1 + version % 50).unwrap();
        // Release: pairs with the acquire behind a call.
        self.newest[i].1.store(version, Ordering::Release);
        table.publish(self.stubs[i], next.address()).unwrap();
        // Release: pairs with the acquire before a call.
        self.newest[i].0.store(version, Ordering::Release);
        let old = page.replace(next);
        self.reclaimer.retire(old.unwrap(), 4096);
    }
}

fn world(slot: Slot) -> (Arc<World>, StubTable<TwoViews>, Vec<Option<Page>>) {
    let mut table = StubTable::new(TwoViews::new().unwrap(), slot, OnUnbound::Abort);
    let stubs: Vec<Stub> = (0..STUBS).map(|i| table.add(&format!("f{i}")).unwrap()).collect();
    let mut pages = Vec::new();
    for (i, &stub) in stubs.iter().enumerate() {
        let page = Page::returning(value(i, 0), 1).unwrap();
        table.publish(stub, page.address()).unwrap();
        pages.push(Some(page));
    }
    let world = World {
        reclaimer: Reclaimer::new(),
        newest: stubs.iter().map(|_| Default::default()).collect(),
        stubs,
        stop: AtomicBool::new(false),
        calls: AtomicU64::new(0),
    };
    (Arc::new(world), table, pages)
}

/// Runs callers against a replacing thread, and a third that collects.
fn run(slot: Slot, threads: usize, pins: bool, mut collect: impl FnMut(&World) -> u64 + Send) -> Counts {
    let _alone = ALONE.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    profile();
    let (world, mut table, mut pages) = world(slot);
    let world = &*world;
    let (replacements, unmapped) = thread::scope(|scope| {
        for seed in 0..threads {
            scope.spawn(move || world.calls_without_pause(seed, pins));
        }
        let collector = scope.spawn(move || {
            let mut unmapped = 0;
            while !world.stop.load(Ordering::Relaxed) {
                unmapped += collect(world);
            }
            unmapped
        });
        let end = Instant::now() + duration();
        let replacements = world.replace_without_pause(&mut table, &mut pages, end);
        world.stop.store(true, Ordering::Relaxed);
        (replacements, collector.join().unwrap())
    });
    let counts = Counts {
        calls: world.calls.load(Ordering::Relaxed),
        replacements: u64::from(replacements),
        unmapped,
    };
    println!(
        "{slot:?}, {threads} threads, guards {pins}: {counts:?}, {:?}",
        world.reclaimer.stats()
    );
    assert!(counts.calls > 0 && counts.replacements > 0);
    counts
}

fn unmap(world: &World) -> u64 {
    let pages = world.reclaimer.collect();
    if pages.is_empty() {
        thread::yield_now();
    }
    pages.len() as u64
}

#[test]
fn callers_with_guards_never_meet_freed_code() {
    for (threads, slot) in [(2, Slot::Inline), (8, Slot::Split), (32, Slot::InlineIbt)] {
        let counts = run(slot, threads, true, unmap);
        assert!(counts.unmapped > 0, "nothing was reclaimed");
    }
    assert!(PROFILED.load(Ordering::Relaxed) > 0, "no SIGPROF arrived");
}

#[test]
fn leaked_guards_keep_everything_and_break_nothing() {
    let mut leaked = false;
    let counts = run(Slot::Inline, 8, true, |world| {
        if !leaked {
            std::mem::forget(world.reclaimer.pin());
            leaked = true;
        }
        unmap(world)
    });
    // What was retired before the guard existed may still come.
    assert!(counts.unmapped < counts.replacements, "{counts:?}");
}

#[test]
fn callers_without_guards_never_meet_code_that_a_scan_let_go() {
    let options = ScanOptions {
        deadline: Duration::from_millis(500),
        ..ScanOptions::default()
    };
    let counts = run(Slot::Inline, 8, false, |world| {
        let (pages, _) = world.reclaimer.collect_with_scan(Page::range, &options).unwrap();
        pages.len() as u64
    });
    assert!(counts.unmapped > 0, "nothing was reclaimed");
}

/// Slots are freed and used again for other symbols, while callers take stubs' addresses from a list of what exists.
#[test]
fn a_reused_slot_never_runs_another_symbols_function() {
    let _alone = ALONE.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let pages: Vec<Page> = (0..4).map(|i| Page::returning(i, 1).unwrap()).collect();
    let mut table = StubTable::new(TwoViews::new().unwrap(), Slot::Split, OnUnbound::Abort);
    let reclaimer = Reclaimer::new();
    // For each symbol the address of its stub.
    let symbols: Vec<AtomicU64> = pages.iter().map(|_| AtomicU64::new(0)).collect();
    let mut stubs = Vec::new();
    for (page, symbol) in pages.iter().zip(&symbols) {
        let stub = table.add("f").unwrap();
        table.publish(stub, page.address()).unwrap();
        symbol.store(stub.address(), Ordering::Release); // pairs with the callers' acquire
        stubs.push(stub);
    }
    let (stop, reused) = (AtomicBool::new(false), AtomicU64::new(0));
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    for (i, symbol) in symbols.iter().enumerate() {
                        let _guard = reclaimer.pin();
                        // Acquire: pairs with the release of the address below.
                        let address = symbol.load(Ordering::Acquire);
                        // SAFETY: the guard keeps the slot this symbol's, or what replaced it, until the call is over.
                        let callee = unsafe { function(address) };
                        // SAFETY: as above.
                        assert_eq!(unsafe { callee() }, i as u64);
                    }
                }
            });
        }
        let end = Instant::now() + duration();
        let mut turn = 0;
        while Instant::now() < end {
            let i = turn % stubs.len();
            turn += 1;
            let next = table.add("f").unwrap();
            table.publish(next, pages[i].address()).unwrap();
            // Release: pairs with the callers' acquire.
            symbols[i].store(next.address(), Ordering::Release);
            let old = std::mem::replace(&mut stubs[i], next);
            // The slot is freed when no caller holds its address any more: an unbound stub must not be called.
            reclaimer.retire(old, 0);
            for old in reclaimer.collect() {
                let slot = table.free(old).unwrap();
                table.reuse(slot);
                reused.fetch_add(1, Ordering::Relaxed);
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
    println!(
        "{} slots used again, {:?}",
        reused.load(Ordering::Relaxed),
        table.stats()
    );
    assert!(reused.load(Ordering::Relaxed) > 0);
}
