//! Calls of functions that are compiled meanwhile, from real C, C++ and assembly.

use std::ffi::c_int;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Barrier, MutexGuard};
use std::thread;

use restub_loader::Input;
use restub_stubs::{OnUnbound, Slot, Stub, StubTable};

use super::*;
use crate::Session;

mod memory {
    #![allow(unreachable_pub, reason = "the file is also included by an example")]
    include!("../../stubs/tests/support/memory.rs");
}
use memory::TwoViews;

/// The address of nothing, for a hook without a better answer.
extern "C" fn minus_one() -> c_int {
    -1
}

fn fallback() -> u64 {
    minus_one as *const () as u64
}

fn load(session: &Session, name: &str, flags: &[&str]) {
    let folder = tempfile::tempdir().unwrap();
    let source = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("src/lazy/sources")
        .join(name);
    let object = folder.path().join("o");
    let compiler = if name.ends_with(".cc") { "g++" } else { "gcc" };
    let mut command = Command::new(compiler);
    command
        .args(flags)
        .args(["-fPIC", "-c"])
        .arg(&source)
        .arg("-o")
        .arg(&object);
    assert!(command.status().unwrap().success(), "{command:?}");
    // SAFETY: the tests' own sources.
    unsafe { session.load(&[Input::open(&object).unwrap()]) }.unwrap();
}

fn address(session: &Session, name: &str) -> u64 {
    session.symbol(name).unwrap().address
}

type Nullary = unsafe extern "C-unwind" fn() -> c_int;

fn call(address: u64) -> c_int {
    // SAFETY: the tests ask for functions of this type.
    let function: Nullary = unsafe { std::mem::transmute(address as usize) };
    // SAFETY: the tests' own sources.
    unsafe { function() }
}

/// A table of lazy functions.
struct World {
    table: Arc<Mutex<StubTable<TwoViews>>>,
    functions: Arc<LazyFunctions>,
    /// Where callers, and what they call, are loaded.
    session: Arc<Session>,
}

impl World {
    fn new(hook: impl Fn(&LazyFailure<'_>) -> Option<u64> + Send + Sync + 'static) -> Self {
        Self::with_entry(entry::address().unwrap(), hook)
    }

    fn with_entry(entry: u64, hook: impl Fn(&LazyFailure<'_>) -> Option<u64> + Send + Sync + 'static) -> Self {
        let functions = Arc::new(LazyFunctions::new(Some(Box::new(hook))));
        let lazy = Arc::clone(&functions);
        let on_unbound = OnUnbound::Resolve {
            entry,
            resolver: Box::new(move |call| lazy.resolve(call).unwrap_or_else(|| panic!("{call}"))),
        };
        let table = StubTable::new(TwoViews::new().unwrap(), Slot::Inline, on_unbound);
        World {
            table: Arc::new(Mutex::new(table)),
            functions,
            session: Arc::new(Session::builder().default_libraries(true).build()),
        }
    }

    fn infallible() -> Self {
        Self::new(|failure| panic!("{failure}"))
    }

    fn table(&self) -> MutexGuard<'_, StubTable<TwoViews>> {
        self.table.lock().unwrap()
    }

    /// Defines a lazy function, and the symbol by which callers know it.
    fn define(&self, name: &str, mut compile: impl FnMut() -> Result<u64, Error> + Send + 'static) -> Stub {
        let stub = self.table().add(name).unwrap();
        self.session.define(name, stub.address());
        let table = Arc::clone(&self.table);
        self.functions.define(stub.index(), name, move || {
            let target = compile()?;
            table.lock().unwrap().publish(stub, target).unwrap();
            Ok(stub.address())
        });
        stub
    }

    /// Defines a function that is in memory already, and whose compilation uses every register.
    fn define_known(&self, name: &str, known: &str) -> Stub {
        let (target, clobber) = (address(&self.session, known), address(&self.session, "clobber"));
        self.define(name, move || {
            call(clobber);
            Ok(target)
        })
    }
}

fn failure() -> Error {
    Error::NoSuchSymbol("x".to_owned())
}

/// What the processor has, as the sources' `level`, and what compilers must be told to use it.
fn level() -> (c_int, &'static [&'static str]) {
    if is_x86_feature_detected!("avx512bw") {
        (2, &["-O1", "-mavx512f", "-mavx512bw"])
    } else if is_x86_feature_detected!("avx") {
        (1, &["-O1", "-mavx"])
    } else {
        (0, &["-O1"])
    }
}

#[test]
fn every_register_reaches_the_function_as_the_call_had_it() {
    let (level, _) = level();
    for (_session, entry) in entry::every_form() {
        let world = World::with_entry(entry, |failure| panic!("{failure}"));
        world
            .session
            .define("level", Box::leak(Box::new(level)) as *const c_int as u64);
        load(&world.session, "registers.s", &[]);
        world.define_known("lazy", "store");
        load(&world.session, "registers.c", &["-O1"]);
        assert_eq!(call(address(&world.session, "difference")), -1, "this register differs");
    }
}

#[test]
fn arguments_of_every_kind_arrive() {
    let world = World::infallible();
    let (level, flags) = level();
    world
        .session
        .define("level", Box::leak(Box::new(level)) as *const c_int as u64);
    load(&world.session, "registers.s", &[]);
    load(&world.session, "arguments.c", &[flags, &["-DCALLEE"]].concat());
    let functions = [
        "integers",
        "doubles",
        "vectors",
        "mixed",
        "variable",
        "big",
        "read_errno",
    ];
    for name in functions {
        world.define_known(name, &format!("real_{name}"));
    }
    load(&world.session, "arguments.c", &[flags, &["-DCALLER"]].concat());
    for name in functions {
        for _ in 0..2 {
            assert_eq!(call(address(&world.session, &format!("call_{name}"))), 42, "{name}");
        }
    }
}

#[test]
fn however_many_threads_call_it_is_compiled_once() {
    const THREADS: usize = 32;
    let world = World::infallible();
    for round in 0..50 {
        let compiled = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&compiled);
        let stub = world.define(&format!("f{round}"), move || {
            count.fetch_add(1, Ordering::Relaxed);
            thread::yield_now();
            Ok(fallback())
        });
        let start = Barrier::new(THREADS);
        thread::scope(|scope| {
            for _ in 0..THREADS {
                scope.spawn(|| {
                    start.wait();
                    assert_eq!(call(stub.address()), -1);
                });
            }
        });
        assert_eq!(compiled.load(Ordering::Relaxed), 1);
        assert_eq!(world.table().target(stub).unwrap(), Some(fallback()));
    }
}

#[test]
fn a_failure_is_told_to_every_caller_and_the_next_call_tries_again() {
    extern "C" fn found() -> c_int {
        42
    }
    const THREADS: usize = 16;
    let told = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&told);
    let world = World::new(move |failure| {
        assert_eq!(failure.error.to_string(), "no module defines x");
        assert!(failure.to_string().starts_with("call of `f` from 0x"), "{failure}");
        count.fetch_add(1, Ordering::Relaxed);
        Some(fallback())
    });
    let is_ready = Arc::new(AtomicUsize::new(0));
    let ready = Arc::clone(&is_ready);
    let stub = world.define("f", move || match ready.load(Ordering::Relaxed) {
        0 => Err(failure()),
        _ => Ok(found as *const () as u64),
    });
    let start = Barrier::new(THREADS);
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                start.wait();
                for _ in 0..100 {
                    assert_eq!(call(stub.address()), -1);
                }
            });
        }
    });
    assert_eq!(told.load(Ordering::Relaxed), 100 * THREADS);
    is_ready.store(1, Ordering::Relaxed);
    assert_eq!(call(stub.address()), 42);
    assert_eq!(told.load(Ordering::Relaxed), 100 * THREADS);
}

#[test]
fn a_compilation_that_calls_its_function_is_told_so() {
    let told = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&told);
    let world = World::new(move |failure| {
        assert!(matches!(failure.error, LazyError::Recursive));
        count.fetch_add(1, Ordering::Relaxed);
        Some(fallback())
    });
    let own = Arc::new(Mutex::new(0));
    let address = Arc::clone(&own);
    let stub = world.define("f", move || {
        let address = *address.lock().unwrap();
        assert_eq!(call(address), -1);
        Ok(fallback())
    });
    *own.lock().unwrap() = stub.address();
    assert_eq!(call(stub.address()), -1);
    assert_eq!(told.load(Ordering::Relaxed), 1);
}

#[test]
fn panics_of_the_compilation_and_of_the_hook_reach_the_caller() {
    let world = World::new(|_| resume_unwind(Box::new("hook")));
    let mut attempt = 0;
    let stub = world.define("f", move || {
        attempt += 1;
        match attempt {
            1 => resume_unwind(Box::new("compilation")),
            2 => Err(failure()),
            _ => Ok(fallback()),
        }
    });
    for expected in ["compilation", "hook"] {
        let panic = catch_unwind(AssertUnwindSafe(|| call(stub.address()))).unwrap_err();
        assert_eq!(*panic.downcast::<&str>().unwrap(), expected);
    }
    assert_eq!(call(stub.address()), -1);
}

#[test]
fn exceptions_and_cancellation_pass_and_a_backtrace_shows_the_caller() {
    let action = Arc::new(AtomicUsize::new(0));
    let act = Arc::clone(&action);
    let world = World::new(move |_| {
        call(act.load(Ordering::Relaxed) as u64);
        Some(fallback())
    });
    world.define("lazy", || Err(failure()));
    load(&world.session, "unwind.cc", &["-O1"]);
    for (act, caller, expected) in [
        ("throws", "catches", 42),
        ("tests_cancel", "cancels", 42),
        ("traces", "is_traced", 42),
    ] {
        action.store(address(&world.session, act) as usize, Ordering::Relaxed);
        assert_eq!(call(address(&world.session, caller)), expected, "{caller}");
    }
}

#[test]
fn a_function_that_is_removed_is_not_compiled() {
    let world = World::infallible();
    let stub = world.define("f", || Ok(fallback()));
    world.functions.remove(stub.index());
    let panic = catch_unwind(AssertUnwindSafe(|| call(stub.address()))).unwrap_err();
    let message = panic.downcast::<String>().unwrap();
    assert!(
        message.starts_with("call of `f`, which has no definition, from 0x"),
        "{message}"
    );
}

#[test]
fn a_child_does_not_wait_for_a_compilation_of_its_parent() {
    let world = World::new(|failure| {
        assert!(matches!(failure.error, LazyError::Unfinished));
        Some(fallback())
    });
    let (inside, leave) = (Arc::new(Barrier::new(2)), Arc::new(Barrier::new(2)));
    let (at, end) = (Arc::clone(&inside), Arc::clone(&leave));
    let stub = world.define("f", move || {
        at.wait();
        end.wait();
        Ok(fallback())
    });
    let compiling = thread::spawn(move || call(stub.address()));
    inside.wait();
    // SAFETY: the child calls the stub and ends.
    let child = unsafe { libc::fork() };
    if child == 0 {
        let result = call(stub.address());
        // SAFETY: ends the child without running what is the parent's.
        unsafe { libc::_exit(if result == -1 { 42 } else { 1 }) };
    }
    let mut status = 0;
    // SAFETY: the child is this process's, and the pointer is to a local variable.
    assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
    assert_eq!(libc::WEXITSTATUS(status), 42, "{status:#x}");
    leave.wait();
    assert_eq!(compiling.join().unwrap(), -1);
}
