//! What loading costs the process for good: nothing. These tests look at the whole process, one at a time.

#![allow(missing_docs, reason = "tests have names")]

mod support;

use std::sync::{Mutex, PoisonError};

use restub::loader::Input;
use restub::{ModuleId, Session};
use support::{compile, mappings, resident_kib};

/// Held by the test that is looking.
static PROCESS: Mutex<()> = Mutex::new(());

fn load(session: &Session, inputs: &[Input<'_>]) -> ModuleId {
    // SAFETY: the tests' own sources.
    unsafe { session.load(inputs) }.unwrap_or_else(|error| panic!("{error}"))
}

fn unload(session: &Session, module: ModuleId) {
    // SAFETY: nothing of the module is running.
    unsafe { session.unload(module) }.unwrap_or_else(|error| panic!("{error}"));
}

fn call(session: &Session, name: &str) -> i32 {
    // SAFETY: the tests call functions of this type only.
    let function = unsafe { session.function::<unsafe extern "C" fn() -> i32>(name) };
    let function = function.unwrap_or_else(|error| panic!("{error}"));
    // SAFETY: the tests' own sources.
    unsafe { function() }
}

#[test]
fn loading_and_unloading_does_not_grow_memory_or_mappings() {
    let _alone = PROCESS.lock().unwrap_or_else(PoisonError::into_inner);
    let session = Session::new();
    let source =
        "static __thread int t = 5; int data[100] = {1}; int bss[5000]; int f(void) { return t + data[0] + bss[9]; }";
    let input = [compile("cycle.c", source, &["-fPIC"])];
    let cycle = |count: usize| {
        for _ in 0..count {
            let module = load(&session, &input);
            assert_eq!(call(&session, "f"), 6);
            unload(&session, module);
        }
    };
    cycle(100);
    let (before, resident) = (mappings().len(), resident_kib());
    cycle(5000);
    // The heap's own mappings may still come and go by one.
    assert!(mappings().len() <= before + 2, "{before} -> {}", mappings().len());
    assert!(
        resident_kib() <= resident + 1024,
        "{resident} KiB -> {} KiB",
        resident_kib()
    );
}

#[test]
fn hostile_objects_leave_the_session_as_it_was() {
    let _alone = PROCESS.lock().unwrap_or_else(PoisonError::into_inner);
    let source = "#include <stdio.h>\n __thread int t = 3; static int n[50]; int (*f)(const char *, ...) = printf; \
         int sound(void) { n[3] = t; return n[3] + 39; }";
    // Without default libraries, which a changed name would bring in.
    let session = Session::new();
    let sound = compile("sound.c", source, &["-O1", "-fPIC"]);
    let module = load(&session, std::slice::from_ref(&sound));
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = |bound: usize| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        usize::try_from(random % bound as u64).expect("smaller than the bound")
    };
    let mut attempt = |count: usize| {
        for _ in 0..count {
            let mut bytes = sound.bytes().to_vec();
            for _ in 0..=next(8) {
                let at = next(bytes.len());
                bytes[at] = u8::try_from(next(256)).expect("a byte");
            }
            if next(4) == 0 {
                bytes.truncate(next(bytes.len()));
            }
            // Linked into the session's own memory, but not run: what it does then is its author's promise.
            let _ = session.plan(&[Input::from_bytes("hostile.o", bytes)]);
        }
    };
    attempt(200);
    let (stats, before) = (session.stats(), mappings().len());
    attempt(5000);
    assert_eq!(
        (session.stats().modules, session.stats().image_bytes),
        (stats.modules, stats.image_bytes)
    );
    // An arena that one of them wanted stays until the next one wants another.
    assert!(mappings().len() <= before + 5, "{before} -> {}", mappings().len());
    assert!(session.stats().arenas <= stats.arenas + 1, "{:?}", session.stats());
    assert_eq!(call(&session, "sound"), 42);
    unload(&session, module);
    assert_eq!(session.stats().image_bytes, 0);
}
