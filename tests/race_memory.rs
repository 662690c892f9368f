//! Replacing functions over and over takes no more memory than doing it a few times.
//!
//! `RESTUB_RACE_CYCLES` says how often modules are loaded, replaced and reclaimed: 15,000 times by default. What is in use
//! then is compared with what was after the first tenth, or after 10,000 times if that is less.
#![allow(missing_docs, reason = "tests have names")]

mod support;

use restub::loader::Input;
use restub::{Exposed, Linkage, Protection, Replace, Session};
use support::{compile, mappings, resident_kib};

type Called = unsafe extern "C-unwind" fn() -> i32;

/// Functions, variables that are kept, thread-local ones, exceptions, and constructors.
fn versions() -> Vec<[Input<'static>; 2]> {
    let function = |n: i32| {
        compile(
            &format!("function{n}.c"),
            &format!("int f(void) {{ return {n}; }}"),
            &["-O2"],
        )
    };
    let state = |n: i32| {
        let source = format!(
            "int global = 5; static char buffer[300]; static _Thread_local int mine = {n};
             const char *text(void) {{ return \"version {n}\"; }}
             int state(void) {{ buffer[global % 300]++; mine++; return global++; }}"
        );
        compile(&format!("state{n}.c"), &source, &["-O1", "-fPIC"])
    };
    let throws = |n: i32| {
        let source = format!(
            "struct Wide {{ explicit Wide(int n) : many(), n(n) {{}} virtual ~Wide() {{}} long many[20]; int n; }};
             extern \"C\" int thrower() {{ throw Wide({n}); }}
             extern \"C\" int caught() {{ try {{ return thrower(); }} catch (const Wide &wide) {{ return wide.n; }} }}"
        );
        compile(&format!("throws{n}.cc"), &source, &["-O1", "-fPIC"])
    };
    let constructed = |n: i32| {
        let source = format!(
            "static int made; __attribute__((constructor)) static void make(void) {{ made = {n}; }}
             int constructed(void) {{ return made ? {n} : 0; }}"
        );
        compile(&format!("constructed{n}.c"), &source, &["-O1", "-fPIC"])
    };
    vec![
        [function(1), function(2)],
        [state(1), state(2)],
        [throws(1), throws(2)],
        [constructed(1), constructed(2)],
    ]
}

fn call(session: &Session, name: &str) -> i32 {
    let pin = session.pin();
    // SAFETY: the tests call functions of this type only.
    let function = unsafe { pin.function::<Called>(name) }.unwrap_or_else(|error| panic!("{error}"));
    // SAFETY: the test's own sources, which let no exception out.
    unsafe { function() }
}

fn cycles() -> usize {
    let cycles = std::env::var("RESTUB_RACE_CYCLES").ok();
    cycles.and_then(|text| text.parse().ok()).unwrap_or(15_000)
}

#[test]
fn replacing_without_end_takes_no_more_memory() {
    for protection in [Protection::Fast, Protection::Strict, Protection::Private] {
        let versions = versions();
        let session = Session::builder()
            .linkage(Linkage::Stubs)
            .protection(protection)
            .default_libraries(true)
            // Constants of these sources have their addresses taken, and nobody holds them for long.
            .exposed(Exposed::Free)
            .build();
        for version in &versions {
            // SAFETY: the test's own sources.
            unsafe { session.load(&version[..1]) }.unwrap_or_else(|error| panic!("{error}"));
        }
        let mut cycle = 0;
        let mut run = |until: usize| {
            while cycle < until {
                let turn = cycle / versions.len();
                let (version, kind) = (1 - turn % 2, cycle % versions.len());
                let input = &versions[kind][version..=version];
                // SAFETY: the test's own sources, and nobody is in them.
                unsafe { session.replace(input, &Replace::new()) }.unwrap_or_else(|error| panic!("{error}"));
                cycle += 1;
                if turn.is_multiple_of(64) && kind == versions.len() - 1 {
                    assert_eq!(call(&session, "f"), version as i32 + 1);
                    assert_eq!(call(&session, "caught"), version as i32 + 1);
                    assert_eq!(call(&session, "constructed"), version as i32 + 1);
                    assert!(call(&session, "state") >= 5);
                }
            }
            session.collect().unwrap_or_else(|error| panic!("{error}"));
            assert_eq!(session.stats().reclaim.held.items, 0);
            (session.stats(), resident_kib(), mappings().len())
        };
        let all = cycles() / 3;
        let (stats, resident, maps) = run((all / 10).min(10_000));
        let (stats_after, resident_after, maps_after) = run(all);
        println!("{protection:?}: {resident} KiB, after {all} cycles {resident_after} KiB");
        assert_eq!(stats_after.image_bytes, stats.image_bytes);
        assert_eq!((stats_after.modules, stats_after.stubs), (stats.modules, stats.stubs));
        assert!(maps_after <= maps + 2, "{maps} -> {maps_after} mappings");
        assert!(
            resident_after <= resident + resident / 20,
            "{resident} -> {resident_after} KiB"
        );
    }
}
