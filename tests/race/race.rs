//! Threads call functions without pause while another thread replaces them as fast as it can.
//!
//! The functions are compiled, loaded and replaced as any host would do it. Every value that a call returns is checked to
//! be of a version that was alive at some moment of the call. Freed code is filled with `int3`, and with
//! [`Protection::Private`] its pages are inaccessible, so that a caller which comes too late faults. A profiling timer
//! interrupts everybody.
//!
//! `RESTUB_RACE_SECONDS` says how long all races of this file take together: 10 by default, 60 and more to look closely.
#![allow(missing_docs, reason = "tests have names")]

mod fork;
mod profile;
#[path = "../support/mod.rs"]
mod support;
mod unwind;
mod world;

use std::thread;
use std::time::Duration;

use profile::profiled;
use restub::{Consistency, Exposed, Linkage, Protection, Reclaim, Replace, ScanOptions, Session, Slot};
use world::{Counts, FUNCTIONS, World, alone, collect_all, share, templates};

fn session(protection: Protection, slot: Slot, reclaim: Reclaim) -> Session {
    Session::builder()
        .linkage(Linkage::Stubs)
        .protection(protection)
        .slot(slot)
        .reclaim(reclaim)
        .exposed(Exposed::Free)
        .build()
}

/// A module that is never replaced and calls those that are, by name and by pointer.
fn load_caller(session: &Session) {
    let declarations: String = (0..FUNCTIONS)
        .map(|i| format!("unsigned long f{i}(unsigned long); "))
        .collect();
    let names: Vec<_> = (0..FUNCTIONS).map(|i| format!("f{i}")).collect();
    let named: String = (0..FUNCTIONS)
        .map(|i| format!("unsigned long named{i}(unsigned long depth) {{ return f{i}(depth); }} "))
        .collect();
    let pointed: String = (0..FUNCTIONS)
        .map(|i| format!("unsigned long pointed{i}(unsigned long depth) {{ return pointers[{i}](depth); }} "))
        .collect();
    let source = format!(
        "{declarations} {named} unsigned long (*pointers[])(unsigned long) = {{ {} }}; {pointed}",
        names.join(", ")
    );
    let flags = ["-O1", "-fPIC", "-fno-optimize-sibling-calls"];
    // SAFETY: the test's own source.
    unsafe { session.load(&[support::compile("caller.c", &source, &flags)]) }.unwrap_or_else(|error| panic!("{error}"));
}

/// Calls every function in every way, with pins short and long, alone and one inside the other.
fn call_without_pause(world: &World<'_>, seed: usize, pins: bool) {
    let functions: Vec<Vec<_>> = ["f", "named", "pointed"]
        .iter()
        .map(|prefix| {
            (0..FUNCTIONS)
                .map(|i| world.function(&format!("{prefix}{i}")))
                .collect()
        })
        .collect();
    let mut turn = seed;
    while world.goes_on() {
        turn += 1;
        let mut long = pins.then(|| world.session.pin());
        for call in 0..64 {
            let _inner = (pins && call % 8 == 0).then(|| world.session.pin());
            let (i, way, depth) = ((seed + call) % FUNCTIONS, call % functions.len(), (turn + call) % 5);
            // SAFETY: the function is of this type in all of its versions, and the pin or the scan keeps them.
            world.check(i, || unsafe { functions[way][i](depth as u64) });
            if call % 16 == 15
                && turn.is_multiple_of(2)
                && let Some(pin) = &mut long
            {
                pin.repin();
            }
        }
        world.count(64);
    }
}

/// Who calls, and for how long.
struct Callers {
    threads: usize,
    pins: bool,
    /// Whether memory is expected to be freed meanwhile.
    reclaims: bool,
    time: Duration,
}

fn race(title: &str, session: &Session, callers: &Callers, between: impl FnMut()) -> Counts {
    let mut templates = templates();
    let world = &World::load(session, &mut templates[0]);
    load_caller(session);
    profiled(session, || {
        thread::scope(|scope| {
            for seed in 0..callers.threads {
                scope.spawn(move || call_without_pause(world, seed, callers.pins));
            }
            let enough = || !callers.reclaims || world.reclaims();
            let options = Replace::new();
            let replacements = world.replace_without_pause(&mut templates, callers.time, &options, between, enough);
            world.counts(title, replacements)
        })
    })
}

#[test]
fn callers_under_pins_never_meet_freed_code() {
    let _alone = alone();
    let protections = [
        (Protection::Strict, Slot::Inline),
        (Protection::Fast, Slot::InlineIbt),
        (Protection::Private, Slot::Split),
    ];
    for threads in [2, 8, 32] {
        for (protection, slot) in protections {
            let title = format!("{protection:?} {slot:?}, {threads} threads");
            let session = session(protection, slot, Reclaim::Epochs);
            let callers = Callers {
                threads,
                pins: true,
                reclaims: true,
                time: share(5.0),
            };
            race(&title, &session, &callers, || ());
            collect_all(&session);
            // The caller, and what is current: at most a module for each function.
            assert!(session.stats().modules <= 1 + FUNCTIONS);
        }
    }
    let (signals, located) = profile::counts();
    println!("{signals} signals, {located} of them in loaded functions");
    assert!(signals > 0, "no SIGPROF arrived");
}

#[test]
fn forgotten_pins_keep_memory_and_break_nothing() {
    let _alone = alone();
    let session = session(Protection::Fast, Slot::Inline, Reclaim::Epochs);
    let mut replaced = 0;
    let callers = Callers {
        threads: 8,
        pins: true,
        reclaims: false,
        time: share(5.0),
    };
    let counts = race("forgotten pins", &session, &callers, || {
        replaced += 1;
        if replaced % 20 == 0 {
            let session = &session;
            thread::scope(|scope| scope.spawn(move || std::mem::forget(session.pin())).join())
                .expect("a thread that forgets a pin");
        }
    });
    // What was superseded before the first of them may still come.
    assert!(counts.reclaimed < counts.replacements, "{counts:?}");
    session.collect().expect("no scan");
    let stats = session.stats().reclaim;
    assert!(stats.held.items > 0, "{stats:?}");
    assert!(stats.oldest_guard.expect("a forgotten pin").is_abandoned);
}

#[test]
fn callers_without_pins_never_meet_code_that_a_scan_let_go() {
    let _alone = alone();
    for (protection, slot, threads) in [
        (Protection::Strict, Slot::Inline, 2),
        (Protection::Private, Slot::Split, 8),
    ] {
        let session = session(protection, slot, Reclaim::Scan(ScanOptions::default()));
        let mut replaced = 0;
        let title = format!("scans, {protection:?} {slot:?}, {threads} threads");
        let callers = Callers {
            threads,
            pins: false,
            reclaims: true,
            time: share(5.0),
        };
        race(&title, &session, &callers, || {
            replaced += 1;
            if replaced % 8 == 0 {
                session.collect().unwrap_or_else(|error| panic!("{error}"));
            }
        });
        collect_all(&session);
    }
}

/// Within one pin, functions that are replaced together are of one version.
#[test]
fn functions_that_are_drained_change_together() {
    let _alone = alone();
    let session = session(Protection::Fast, Slot::Inline, Reclaim::Epochs);
    let mut templates = templates();
    templates.truncate(1);
    let world = &World::load(&session, &mut templates[0]);
    let drain = Replace::new().consistency(Consistency::Drain {
        limit: Duration::from_secs(60),
    });
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let functions: Vec<_> = (0..FUNCTIONS).map(|i| world.function(&format!("f{i}"))).collect();
                while world.goes_on() {
                    let pin = world.session.pin();
                    let versions = functions.iter().map(|function| {
                        // SAFETY: the function is of this type in all of its versions, and the pin keeps them.
                        let value = unsafe { function(0) };
                        value / FUNCTIONS as u64
                    });
                    let versions: Vec<_> = versions.collect();
                    drop(pin);
                    assert!(versions.iter().all(|version| *version == versions[0]), "{versions:?}");
                    world.count(FUNCTIONS as u64);
                }
            });
        }
        let replacements = world.replace_without_pause(&mut templates, share(5.0), &drain, || (), || true);
        world.counts("drained", replacements)
    });
    collect_all(&session);
    assert_eq!(session.stats().modules, 1);
}
