//! Functions that are compiled when they are called for the first time.

mod support;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};

use restub::loader::Input;
use restub::{Error, LazyError, Linkage, Replace, Session};
use support::compile;

type Unary = unsafe extern "C" fn(i32) -> i32;

/// Where calls go that cannot be answered.
unsafe extern "C" fn failed(_argument: i32) -> i32 {
    -1
}

fn define(
    session: &Session,
    name: &str,
    objects: impl FnMut() -> Result<Vec<Input<'static>>, Box<dyn std::error::Error + Send + Sync>> + Send + 'static,
) -> Result<(), Error> {
    // SAFETY: the tests' own sources, and the type is the one by which they are called.
    unsafe { session.define_lazy(name, objects) }
}

fn call(session: &Session, name: &str, argument: i32) -> i32 {
    let pin = session.pin();
    // SAFETY: the tests call functions of this type only.
    let function = unsafe { pin.function::<Unary>(name) }.unwrap_or_else(|error| panic!("{error}"));
    // SAFETY: the tests' own sources.
    unsafe { function(argument) }
}

fn bytes(input: &Input<'_>) -> Vec<u8> {
    input.bytes().to_vec()
}

#[test]
fn the_first_call_compiles_once_however_many_threads_make_it() {
    const THREADS: usize = 16;
    let session = Session::builder().linkage(Linkage::Stubs).build();
    let compiled = Arc::new(AtomicUsize::new(0));
    let object = bytes(&compile("twice.c", "int twice(int x) { return 2 * x; }", &["-O1"]));
    let count = Arc::clone(&compiled);
    define(&session, "twice", move || {
        count.fetch_add(1, Ordering::Relaxed);
        Ok(vec![Input::from_bytes("twice.o", object.clone())])
    })
    .expect("nothing is called twice yet");
    let user = compile(
        "user.c",
        "int twice(int); int use(int x) { return twice(x) + 1; }",
        &["-O1", "-fPIC"],
    );
    // SAFETY: the tests' own sources.
    unsafe { session.load(&[user]) }.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(compiled.load(Ordering::Relaxed), 0);
    let start = Barrier::new(THREADS);
    std::thread::scope(|scope| {
        for thread in 0..THREADS as i32 {
            let (session, start) = (&session, &start);
            scope.spawn(move || {
                start.wait();
                for x in 0..100 {
                    assert_eq!(call(session, "use", thread + x), 2 * (thread + x) + 1);
                }
            });
        }
    });
    assert_eq!(compiled.load(Ordering::Relaxed), 1);
    let next = compile("twice.c", "int twice(int x) { return 3 * x; }", &["-O1"]);
    // SAFETY: the tests' own sources.
    unsafe { session.replace(&[next], &Replace::new()) }.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(call(&session, "use", 5), 16);
    session.collect().expect("no scan");
    assert_eq!(session.stats().reclaim.held.items, 0);
}

#[test]
fn a_failed_compilation_is_reported_and_tried_again() {
    let failures = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&failures);
    let session = Session::builder()
        .linkage(Linkage::Stubs)
        .on_lazy_failure(move |failure| {
            assert_eq!(failure.name, "f");
            assert!(matches!(failure.error, LazyError::Compile(_)), "{failure}");
            count.fetch_add(1, Ordering::Relaxed);
            Some(failed as *const () as u64)
        })
        .build();
    let right = bytes(&compile("right.c", "int f(int x) { return x + 1; }", &[]));
    let wrong = bytes(&compile("wrong.c", "int other(int x) { return x; }", &[]));
    let open = bytes(&compile(
        "open.c",
        "int nobody(int); int f(int x) { return nobody(x); }",
        &[],
    ));
    let mut attempt = 0;
    define(&session, "f", move || {
        attempt += 1;
        match attempt {
            1 => Err("the compiler has found an error".into()),
            2 => Ok(vec![Input::from_bytes("wrong.o", wrong.clone())]),
            3 => Ok(vec![Input::from_bytes("open.o", open.clone())]),
            _ => Ok(vec![Input::from_bytes("right.o", right.clone())]),
        }
    })
    .expect("f is not there yet");
    for expected in [-1, -1, -1, 42, 42] {
        assert_eq!(call(&session, "f", 41), expected);
    }
    assert_eq!(failures.load(Ordering::Relaxed), 3);
    assert_eq!(session.modules().len(), 1);
    assert!(matches!(
        define(&session, "f", || Ok(Vec::new())),
        Err(Error::Defined(_))
    ));
    let direct = Session::new();
    assert!(matches!(define(&direct, "f", || Ok(Vec::new())), Err(Error::NoStubs)));
}

#[test]
fn a_module_may_bring_the_definition_first() {
    let session = Session::builder().linkage(Linkage::Stubs).build();
    let lazy = bytes(&compile("lazy.c", "int f(int x) { return x + 1; }", &[]));
    define(&session, "f", move || {
        Ok(vec![Input::from_bytes("lazy.o", lazy.clone())])
    })
    .expect("f is not there yet");
    let address = session.symbol("f").expect("its stub").address;
    let eager = compile("eager.c", "int f(int x) { return x + 2; }", &[]);
    // SAFETY: the tests' own sources.
    let eager = unsafe { session.load(&[eager]) }.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(call(&session, "f", 1), 3);
    // SAFETY: nothing runs.
    unsafe { session.unload(eager) }.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(call(&session, "f", 1), 2);
    assert_eq!(session.symbol("f").expect("its stub").address, address);
}
