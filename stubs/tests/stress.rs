//! Threads call through stubs without pause while another replaces what they call, as fast as it can.
//!
//! What is reclaimed is *unmapped*, so that a caller which comes too late faults. Every value that a call returns is
//! checked to be of a version that was alive at some moment of the call. A profiling timer interrupts everybody with a
//! handler that calls through stubs too, guards are left behind by threads that jump, that are cancelled, and that
//! end. Each run prints what it did. `RESTUB_STRESS_SECONDS` sets how long all of them take together.
#![allow(clippy::unwrap_used, reason = "a failure is a failed test")]

mod support;

use std::ffi::c_void;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

use restub_stubs::{OnUnbound, Reclaimer, ScanOptions, Slot, Stub, StubTable};
use support::{Leave, Page, TwoViews, function, wait_until};

/// How many stubs are called and replaced.
const STUBS: usize = 8;
/// How many runs share the time.
const RUNS: f64 = 7.0;
/// How many calls a signal handler makes.
const HANDLER_CALLS: usize = 1000;

fn duration() -> Duration {
    let seconds = std::env::var("RESTUB_STRESS_SECONDS").ok();
    let seconds: f64 = seconds.map_or(10.0, |text| text.parse().expect("a number of seconds"));
    Duration::from_secs_f64(seconds / RUNS)
}

/// One stress test at a time: each has the cores to itself.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// What callers and the replacing thread share.
#[derive(Default)]
struct World {
    reclaimer: Reclaimer<Page>,
    stubs: Vec<Stub>,
    /// For each stub the versions that a call may meet: published at the latest, and being published.
    newest: Vec<(AtomicU32, AtomicU32)>,
    /// Whether callers hold guards.
    pins: bool,
    /// Whether functions may be left by a jump, which a handler must not be.
    may_jump: bool,
    stop: AtomicBool,
    calls: AtomicU64,
    from_handlers: AtomicU64,
    wrong_in_handlers: AtomicU64,
}

/// What a run has done.
#[derive(Debug)]
struct Counts {
    calls: u64,
    from_handlers: u64,
    replacements: u64,
    unmapped: u64,
}

/// Version `n` of stub `i` returns this.
fn value(i: usize, n: u32) -> u32 {
    n * STUBS as u32 + i as u32
}

impl World {
    /// Calls a stub. It is right if what it returns was published no earlier than the last version before the call, and
    /// no later than the first after it.
    fn is_right(&self, i: usize) -> bool {
        // Acquire: pairs with the release after publishing; that version or a later one must be met.
        let oldest = self.newest[i].0.load(Ordering::Acquire);
        // SAFETY: the stub always has a target, which the guard (or the scan) keeps mapped.
        let callee = unsafe { function(self.stubs[i].address()) };
        // SAFETY: as above.
        let result = unsafe { callee() } as u32;
        // Acquire: pairs with the release before publishing; nothing later can have been met.
        let youngest = self.newest[i].1.load(Ordering::Acquire);
        let version = result / STUBS as u32;
        result as usize % STUBS == i && (oldest..=youngest).contains(&version)
    }

    fn calls_without_pause(&self, seed: usize) {
        let mut calls = 0;
        // Relaxed: only ends the loop.
        while !self.stop.load(Ordering::Relaxed) {
            for turn in 0..64 {
                let _outer = self.pins.then(|| self.reclaimer.pin());
                let _inner = (self.pins && turn % 8 == 0).then(|| self.reclaimer.pin());
                let i = (seed + turn) % STUBS;
                assert!(self.is_right(i), "a wrong version of function {i} ran");
            }
            calls += 64;
        }
        self.calls.fetch_add(calls, Ordering::Relaxed);
    }

    /// What a signal handler does: all of it may be done there.
    fn calls_from_handler(&self) {
        let guard = self.reclaimer.pin_in_handler();
        if self.pins && guard.is_none() {
            return; // a thread that calls nothing
        }
        if self.may_jump {
            return;
        }
        for call in 0..HANDLER_CALLS {
            if !self.is_right(call % STUBS) {
                self.wrong_in_handlers.fetch_add(1, Ordering::Relaxed);
            }
        }
        self.from_handlers.fetch_add(HANDLER_CALLS as u64, Ordering::Relaxed);
    }
}

/// What the profiling handler calls into. Never freed: a signal may come late.
static PROFILED: AtomicPtr<World> = AtomicPtr::new(std::ptr::null_mut());

extern "C" fn profile(_: libc::c_int) {
    // Acquire: pairs with the release in `World::watch`.
    // SAFETY: worlds are leaked.
    if let Some(world) = unsafe { PROFILED.load(Ordering::Acquire).as_ref() } {
        world.calls_from_handler();
    }
}

impl World {
    /// Has SIGPROF arrive a thousand times for each second of processor time.
    fn watch(&'static self) {
        // Release: pairs with the acquire in `profile`.
        PROFILED.store(std::ptr::from_ref(self).cast_mut(), Ordering::Release);
        // SAFETY: zero is a value of every field.
        let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
        action.sa_sigaction = profile as *const () as usize;
        action.sa_flags = libc::SA_RESTART;
        // SAFETY: the action is complete, and its handler does only what a handler may.
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
}

/// Who replaces.
struct Writer {
    world: &'static World,
    table: StubTable<TwoViews>,
    pages: Vec<Page>,
    /// What functions call before they return.
    callee: Option<u64>,
}

impl Writer {
    fn new(slot: Slot, pins: bool, callee: Option<u64>) -> Self {
        let mut table = StubTable::new(TwoViews::new().unwrap(), slot, OnUnbound::Abort);
        let stubs: Vec<Stub> = (0..STUBS).map(|i| table.add(&format!("f{i}")).unwrap()).collect();
        let world = World {
            newest: stubs.iter().map(|_| Default::default()).collect(),
            pins,
            may_jump: callee.is_some(),
            stubs,
            ..World::default()
        };
        let mut writer = Writer {
            world: Box::leak(Box::new(world)),
            table,
            pages: Vec::new(),
            callee,
        };
        for i in 0..STUBS {
            let page = writer.page(i, 0);
            writer.table.publish(writer.world.stubs[i], page.address()).unwrap();
            writer.pages.push(page);
        }
        writer.world.watch();
        writer
    }

    fn page(&self, i: usize, version: u32) -> Page {
        let page = match self.callee {
            Some(callee) => Page::calling(callee, value(i, version)),
            None => Page::returning(value(i, version), 1 + version % 50),
        };
        page.unwrap()
    }

    fn replace(&mut self, i: usize, version: u32) {
        let next = self.page(i, version);
        // Release: pairs with the acquire behind a call.
        self.world.newest[i].1.store(version, Ordering::Release);
        self.table.publish(self.world.stubs[i], next.address()).unwrap();
        // Release: pairs with the acquire before a call.
        self.world.newest[i].0.store(version, Ordering::Release);
        let old = std::mem::replace(&mut self.pages[i], next);
        self.world.reclaimer.retire(old, 4096);
    }

    /// Replaces every stub in turn, and returns how often.
    fn replaces_without_pause(&mut self) -> u64 {
        let end = Instant::now() + duration();
        let mut version = 0;
        while Instant::now() < end {
            version += 1;
            for i in 0..STUBS {
                self.replace(i, version);
            }
        }
        u64::from(version) * STUBS as u64
    }

    /// Runs callers against the replacing thread, and another that collects.
    fn run(mut self, name: &str, callers: &[&(dyn Fn(usize) + Sync)], collect: &(dyn Fn() -> u64 + Sync)) -> Counts {
        let world = self.world;
        let (replacements, mut unmapped) = thread::scope(|scope| {
            for (seed, caller) in callers.iter().enumerate() {
                scope.spawn(move || caller(seed));
            }
            let collector = scope.spawn(move || {
                let mut unmapped = 0;
                while !world.stop.load(Ordering::Relaxed) {
                    unmapped += collect();
                }
                unmapped
            });
            let replacements = self.replaces_without_pause();
            world.stop.store(true, Ordering::Relaxed);
            (replacements, collector.join().unwrap())
        });
        wait_until(|| {
            world.reclaimer.release_abandoned();
            world.reclaimer.stats().pinned_threads == 0
        });
        unmapped += world.reclaimer.collect().len() as u64;
        let counts = Counts {
            calls: world.calls.load(Ordering::Relaxed),
            from_handlers: world.from_handlers.load(Ordering::Relaxed),
            replacements,
            unmapped,
        };
        println!("{name}: {counts:?}");
        assert_eq!(world.wrong_in_handlers.load(Ordering::Relaxed), 0, "of {counts:?}");
        assert!(
            counts.calls + counts.from_handlers > 0 && counts.replacements > 0,
            "{counts:?}"
        );
        assert_eq!(counts.unmapped, counts.replacements, "{:?}", world.reclaimer.stats());
        // The last versions stay mapped: a signal may come late.
        std::mem::forget(self);
        counts
    }
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
    let _alone = alone();
    for (threads, slot) in [(2, Slot::Inline), (8, Slot::Split), (32, Slot::InlineIbt)] {
        let writer = Writer::new(slot, true, None);
        let world = writer.world;
        let caller = |seed| world.calls_without_pause(seed);
        let name = format!("{threads} threads with guards, {slot:?}");
        writer.run(&name, &vec![&caller as &(dyn Fn(usize) + Sync); threads], &|| {
            unmap(world)
        });
    }
}

#[test]
fn handlers_with_guards_never_meet_freed_code() {
    let _alone = alone();
    let writer = Writer::new(Slot::SplitIbt, true, None);
    let world = writer.world;
    let is_interrupted = |_| {
        drop(world.reclaimer.pin());
        while !world.stop.load(Ordering::Relaxed) {
            std::hint::spin_loop();
        }
    };
    let counts = writer.run(
        "handlers with guards, SplitIbt",
        &[&is_interrupted, &is_interrupted],
        &|| unmap(world),
    );
    assert!(counts.from_handlers > 0, "no SIGPROF arrived");
}

#[test]
fn callers_without_guards_never_meet_code_that_a_scan_let_go() {
    let _alone = alone();
    let writer = Writer::new(Slot::Inline, false, None);
    let world = writer.world;
    let options = ScanOptions {
        deadline: Duration::from_millis(500),
        ..ScanOptions::default()
    };
    let caller = |seed| world.calls_without_pause(seed);
    writer.run(
        "8 threads without guards, Inline",
        &[&caller as &(dyn Fn(usize) + Sync); 8],
        &|| {
            let collected = world.reclaimer.collect_with_scan(Page::range, &options);
            collected.unwrap().0.len() as u64
        },
    );
}

/// Threads that leave functions by other ways than returning, and their guards behind.
struct Leavers {
    world: &'static World,
    ways: Leave,
    jumped: AtomicU64,
    cancelled: AtomicU64,
    ended: AtomicU64,
    released: AtomicU64,
}

impl Leavers {
    /// Leaks a guard, and calls a function that does not return: no frame here has anything to drop.
    extern "C-unwind" fn call_and_jump(this: *mut c_void) {
        // SAFETY: `jump` passes a reference.
        let this = unsafe { &*this.cast::<Self>() };
        std::mem::forget(this.world.reclaimer.pin());
        this.world.is_right(0);
        std::process::abort(); // it has returned
    }

    extern "C-unwind" fn call_and_be_cancelled(this: *mut c_void) -> *mut c_void {
        // SAFETY: `cancel` passes a reference.
        let this = unsafe { &*this.cast::<Self>() };
        std::mem::forget(this.world.reclaimer.pin());
        // SAFETY: the function that is called next is one to be cancelled in.
        unsafe { (this.ways.cancel_me)() };
        this.world.is_right(1);
        std::ptr::null_mut()
    }

    fn until_stopped(&self, body: impl Fn()) {
        while !self.world.stop.load(Ordering::Relaxed) {
            body();
        }
    }

    fn pointer(&self) -> *mut c_void {
        std::ptr::from_ref(self).cast_mut().cast()
    }

    fn jump(&self) {
        // SAFETY: the frames that are jumped over have nothing to drop.
        let has_jumped = unsafe { (self.ways.jump_out_of)(Self::call_and_jump, self.pointer()) };
        assert_eq!(has_jumped, 1);
        // SAFETY: the jump has left this thread's guards behind.
        assert_eq!(unsafe { self.world.reclaimer.release_own() }, 1);
        self.jumped.fetch_add(1, Ordering::Relaxed);
    }

    fn cancel(&self) {
        // SAFETY: the body takes such a pointer, and its frames have nothing to drop.
        let was_cancelled = unsafe { (self.ways.cancel_in)(Self::call_and_be_cancelled, self.pointer()) };
        assert_eq!(was_cancelled, 1);
        self.cancelled.fetch_add(1, Ordering::Relaxed);
    }

    fn end(&self) {
        thread::scope(|scope| {
            scope.spawn(|| {
                std::mem::forget(self.world.reclaimer.pin());
                assert!(self.world.is_right(2));
            });
        });
        self.ended.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn guards_that_are_left_behind_hold_nothing_for_ever() {
    let _alone = alone();
    let ways = Leave::new();
    let writer = Writer::new(Slot::Inline, true, Some(ways.leave));
    let world = writer.world;
    let leavers = Leavers {
        world,
        ways,
        jumped: AtomicU64::new(0),
        cancelled: AtomicU64::new(0),
        ended: AtomicU64::new(0),
        released: AtomicU64::new(0),
    };
    let caller = |seed| world.calls_without_pause(seed);
    let jumps = |_| leavers.until_stopped(|| leavers.jump());
    let is_cancelled = |_| leavers.until_stopped(|| leavers.cancel());
    let ends = |_| leavers.until_stopped(|| leavers.end());
    writer.run(
        "threads that leave guards behind",
        &[&caller, &caller, &jumps, &is_cancelled, &ends],
        &|| {
            let released = world.reclaimer.release_abandoned() as u64;
            leavers.released.fetch_add(released, Ordering::Relaxed);
            unmap(world)
        },
    );
    let counts = [&leavers.jumped, &leavers.cancelled, &leavers.ended, &leavers.released];
    let [jumped, cancelled, ended, released] = counts.map(|counter| counter.load(Ordering::Relaxed));
    println!("{jumped} jumped, {cancelled} were cancelled, {ended} ended; {released} released meanwhile");
    assert!(jumped > 0 && cancelled > 0 && ended > 0 && released > 0);
}

/// Slots are freed and used again for other symbols, while callers take stubs' addresses from a list of what exists.
#[test]
fn a_reused_slot_never_runs_another_symbols_function() {
    let _alone = alone();
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

fn resident_pages() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse().unwrap()
}

/// What is retired and reclaimed a million times costs no memory: stubs, slots, items, and threads that come and go.
#[test]
fn memory_stays_flat() {
    const FIRST: u64 = 10_000;
    const ALL: u64 = 1_000_000;
    let _alone = alone();
    let mut table = StubTable::new(TwoViews::new().unwrap(), Slot::Inline, OnUnbound::Abort);
    let reclaimer = Reclaimer::<Box<(u64, Stub)>>::new();
    let pages = [Page::returning(0, 1).unwrap(), Page::returning(1, 1).unwrap()];
    let stub = table.add("f").unwrap();
    let mut resident = 0;
    for cycle in 1..=ALL {
        let page = &pages[cycle as usize % 2];
        table.publish(stub, page.address()).unwrap();
        let other = table.add("g").unwrap();
        reclaimer.retire(Box::new((cycle, other)), 4096);
        if cycle % 1000 == 0 {
            thread::scope(|scope| _ = scope.spawn(|| drop(reclaimer.pin())));
        }
        for item in reclaimer.collect() {
            let slot = table.free(item.1).unwrap();
            table.reuse(slot);
        }
        if cycle == FIRST {
            resident = resident_pages();
        }
    }
    let now = resident_pages();
    println!("{resident} pages resident after {FIRST} cycles, {now} after {ALL}");
    assert!(now <= resident + resident / 20, "{resident} pages have become {now}");
    assert_eq!(reclaimer.stats().reclaimed.items, ALL);
}
