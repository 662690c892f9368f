//! Each call that the system may refuse is refused in turn: the session is usable all the same, and nothing stays behind.

#![allow(missing_docs, reason = "tests have names")]

mod support;

use std::path::{Path, PathBuf};
use std::process::Command;

use restub::loader::Input;
use restub::{Builder, Linkage, Protection, Replace, Session, fault};
use support::{compile, mappings};

type Nullary = unsafe extern "C" fn() -> i32;

/// An operation on a session that may fail.
type Operation<'a> = &'a dyn Fn(&Session) -> restub::Result<()>;

/// Has each call of `operation` that can fail do so, in a session of its own that `prepare` has made ready. Returns how
/// many there are.
fn refuse_each(builder: &Builder, prepare: Operation<'_>, operation: Operation<'_>, check: &dyn Fn(&Session)) -> u64 {
    for calls in 0.. {
        let before = (mappings().len(), memfds());
        let session = builder.clone().build();
        prepare(&session).unwrap_or_else(|error| panic!("{error}"));
        let stats = session.stats();
        fault::fail_after(calls);
        let result = operation(&session);
        let all_succeeded = fault::stop();
        if let Err(error) = &result {
            let now = session.stats();
            assert_eq!(
                (now.modules, now.symbols, now.stubs, now.image_bytes),
                (stats.modules, stats.symbols, stats.stubs, stats.image_bytes),
                "call {calls}: {error}"
            );
            operation(&session).unwrap_or_else(|error| panic!("after call {calls} was refused: {error}"));
        }
        check(&session);
        drop(session);
        let after = (mappings().len(), memfds());
        // The heap's own mappings may come and go.
        assert!(
            after.0 <= before.0 + 2 && after.1 == before.1,
            "call {calls}: {before:?} -> {after:?}"
        );
        if all_succeeded {
            assert!(result.is_ok(), "{result:?}");
            return calls;
        }
    }
    unreachable!("operations end")
}

/// Open files and mappings that are of restub's memfds.
fn memfds() -> usize {
    let files = std::fs::read_dir("/proc/self/fd").expect("procfs");
    let open = files
        .flatten()
        .filter_map(|file| std::fs::read_link(file.path()).ok())
        .filter(|path| path.to_string_lossy().contains("memfd:restub"));
    open.count() + mappings().iter().filter(|line| line.contains("memfd:restub")).count()
}

fn load(session: &Session, input: &Input<'_>) -> restub::Result<()> {
    // SAFETY: the tests' own sources.
    unsafe { session.load(std::slice::from_ref(input)) }.map(|_| ())
}

fn call(session: &Session, name: &str) -> i32 {
    // SAFETY: the tests call functions of this type only.
    let function = unsafe { session.function::<Nullary>(name) }.unwrap_or_else(|error| panic!("{error}"));
    // SAFETY: the tests' own sources.
    unsafe { function() }
}

const SOURCE: &str = "#include <stdio.h>
    static __thread int t = 30; static int n[3000]; static int zero; const char *const s = \"12\"; int set;
    __attribute__((constructor)) static void start(void) { set = 10 + zero; }
    int answer(void) { FILE *volatile out = stdout; return t + set + n[2000] + (s[1] - '0') + (out == 0); }";

/// One test, because each part looks at the whole process.
#[test]
fn what_the_system_refuses_leaves_nothing_behind() {
    loads_in_every_protection();
    loads_after_unloading_and_after_a_fork();
    unloading_always_succeeds();
    replacements();
    shared_libraries();
}

fn loads_in_every_protection() {
    let object = compile("fault.c", SOURCE, &["-fPIC", "-O1"]);
    let low = compile("low.c", SOURCE, &["-fno-pic", "-mcmodel=small", "-O1"]);
    for protection in [Protection::Strict, Protection::Fast, Protection::Private] {
        let builder = Session::builder().protection(protection);
        for object in [&object, &low] {
            let count = refuse_each(&builder, &|_| Ok(()), &|session| load(session, object), &|session| {
                assert_eq!(call(session, "answer"), 42);
            });
            println!("{protection:?}, {}: {count} calls", object.name());
            assert!(count >= 5, "{count}");
        }
    }
}

fn loads_after_unloading_and_after_a_fork() {
    let object = compile("again.c", SOURCE, &["-fPIC", "-O1"]);
    let other = compile(
        "other.c",
        "static int n[50000]; int other(void) { return n[40000] + 1; }",
        &["-fPIC"],
    );
    for protection in [Protection::Strict, Protection::Fast, Protection::Private] {
        let builder = Session::builder().protection(protection);
        let unloaded = |session: &Session| {
            load(session, &other)?;
            let module = session.modules()[0];
            // SAFETY: nothing of the module is running.
            unsafe { session.unload(module) }
        };
        let count = refuse_each(&builder, &unloaded, &|session| load(session, &object), &|session| {
            assert_eq!(call(session, "answer"), 42);
        });
        println!("{protection:?}, over freed memory: {count} calls");
        let forked = |session: &Session| {
            load(session, &other)?;
            fork();
            Ok(())
        };
        let count = refuse_each(&builder, &forked, &|session| load(session, &object), &|session| {
            assert_eq!((call(session, "answer"), call(session, "other")), (42, 1));
        });
        println!("{protection:?}, after a fork: {count} calls");
    }
}

/// Makes a child that ends at once.
fn fork() {
    // SAFETY: the child only exits.
    let child = unsafe { libc::fork() };
    assert!(child >= 0);
    if child == 0 {
        // SAFETY: ends the child without running what belongs to the parent.
        unsafe { libc::_exit(0) };
    }
    // SAFETY: waits for the child made above.
    let waited = unsafe { libc::waitpid(child, std::ptr::null_mut(), 0) };
    assert_eq!(waited, child);
}

fn unloading_always_succeeds() {
    let object = compile("unload.c", SOURCE, &["-fPIC", "-O1"]);
    let large = compile(
        "large.c",
        "int large[1 << 20]; int f(void) { return large[9]; }",
        &["-fPIC", "-mcmodel=large"],
    );
    for protection in [Protection::Strict, Protection::Fast, Protection::Private] {
        let builder = Session::builder().protection(protection);
        let prepare = |session: &Session| load(session, &object).and_then(|()| load(session, &large));
        let unload = |session: &Session| {
            for module in session.modules() {
                // SAFETY: nothing of the module is running.
                unsafe { session.unload(module) }?;
            }
            Ok(())
        };
        let count = refuse_each(&builder, &prepare, &unload, &|session| {
            assert_eq!((session.stats().modules, session.stats().symbols), (0, 0));
            load(session, &object).unwrap_or_else(|error| panic!("{error}"));
            assert_eq!(call(session, "answer"), 42);
            unload(session).unwrap_or_else(|error| panic!("{error}"));
            assert_eq!(
                session.stats().image_bytes,
                0,
                "what was refused at first is free by now"
            );
        });
        println!("{protection:?}, unloading: {count} calls");
    }
}

fn replacements() {
    let one = compile(
        "one.c",
        "int f(void) { return 1; } int g(void) { return f() + 10; }",
        &["-O0"],
    );
    let two = "int f(void) { return 2; } int h(void) { return f() + 20; }";
    // New functions have their definitions before the constructor runs, and all others after it.
    let constructor = "static int set = 18; __attribute__((constructor)) static void start(void) { set += 2; }
                       int f(void) { return 2; } int h(void) { return f() + set; }";
    let replacements = [
        compile("two.c", two, &["-O0"]),
        compile("three.c", constructor, &["-O0"]),
    ];
    for protection in [Protection::Strict, Protection::Fast] {
        for replacement in &replacements {
            let builder = Session::builder().protection(protection).linkage(Linkage::Stubs);
            let replace = |session: &Session| {
                // SAFETY: the new functions have the types of the old ones, and nobody else calls them.
                unsafe { session.replace(std::slice::from_ref(replacement), &Replace::new()) }.map(|_| ())
            };
            let count = refuse_each(&builder, &|session| load(session, &one), &replace, &|session| {
                assert_eq!(
                    (call(session, "f"), call(session, "g"), call(session, "h")),
                    (2, 12, 22)
                );
            });
            println!("{protection:?}, {}: {count} calls", replacement.name());
            assert!(count > 0);
        }
    }
}

/// A shared library with a thread-local variable, which nothing has opened yet.
fn library(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("fault");
    std::fs::create_dir_all(&folder).expect("a folder");
    let (source, library) = (folder.join(format!("{name}.c")), folder.join(format!("lib{name}.so")));
    std::fs::write(
        &source,
        format!("__thread int {name}_local = 40; int {name}(void) {{ return {name}_local; }}"),
    )
    .expect("the source can be written");
    let status = Command::new("gcc")
        .args(["-shared", "-fPIC"])
        .arg(&source)
        .arg("-o")
        .arg(&library)
        .status();
    assert!(status.expect("gcc is needed for this test").success());
    library
}

fn shared_libraries() {
    let path = library("faulty");
    let source =
        "extern __thread int faulty_local; int faulty(void); int use(void) { return faulty() + faulty_local - 38; }";
    let object = compile("use.c", source, &["-fPIC", "-ftls-model=initial-exec"]);
    let open = |session: &Session| {
        let name = path.to_str().expect("a name in ASCII");
        // SAFETY: the library has no constructors.
        unsafe { session.open_library(name) }
    };
    let operation = |session: &Session| open(session).and_then(|()| load(session, &object));
    let count = refuse_each(&Session::builder(), &|_| Ok(()), &operation, &|session| {
        assert_eq!(call(session, "use"), 42);
    });
    println!("a shared library: {count} calls");
    assert!(count > 8, "{count}");
}
