//! Sessions on real compiler output: load, call, unload, and what may go wrong.

mod support;

use restub::loader::{Error as LinkError, Input};
use restub::{Error, ModuleId, Protection, Session};
use support::{compile, mappings, resident_kib};

type Nullary = unsafe extern "C" fn() -> i32;
type Unary = unsafe extern "C" fn(i32) -> i32;

fn load(session: &Session, inputs: &[Input<'_>]) -> ModuleId {
    // SAFETY: the tests' own sources.
    unsafe { session.load(inputs) }.unwrap_or_else(|error| panic!("{error}"))
}

fn refuse(session: &Session, inputs: &[Input<'_>]) -> Error {
    // SAFETY: the tests' own sources.
    unsafe { session.load(inputs) }.expect_err("the load has to fail")
}

fn unload(session: &Session, module: ModuleId) {
    // SAFETY: nothing of the module is running.
    unsafe { session.unload(module) }.unwrap_or_else(|error| panic!("{error}"));
}

fn call(session: &Session, name: &str) -> i32 {
    // SAFETY: the tests call functions of this type only.
    let function = unsafe { session.function::<Nullary>(name) }.unwrap_or_else(|error| panic!("{error}"));
    // SAFETY: the tests' own sources.
    unsafe { function() }
}

fn call_with(session: &Session, name: &str, argument: i32) -> i32 {
    // SAFETY: the tests call functions of this type only.
    let function = unsafe { session.function::<Unary>(name) }.unwrap_or_else(|error| panic!("{error}"));
    // SAFETY: the tests' own sources.
    unsafe { function(argument) }
}

#[test]
fn a_function_is_loaded_called_and_unloaded() {
    for protection in [Protection::Strict, Protection::Fast, Protection::Private] {
        let session = Session::builder().protection(protection).build();
        let source = "static int n = 3; const char *s = \"abc\"; int triple(int x) { return n * x + (s[0] - 'a'); }";
        let module = load(&session, &[compile("triple.c", source, &["-O1"])]);
        assert_eq!(call_with(&session, "triple", 14), 42, "{protection:?}");
        unload(&session, module);
        assert!(session.symbol("triple").is_none());
        assert_eq!(session.stats().image_bytes, 0);
        assert!(matches!(
            // SAFETY: the module is gone, which is what is tested.
            unsafe { session.unload(module) },
            Err(Error::NoSuchModule)
        ));
    }
}

#[test]
fn modules_bind_to_modules_and_stay_as_long_as_they_are_used() {
    let session = Session::new();
    let base = load(
        &session,
        &[compile(
            "base.c",
            "int value = 40; int base(void) { return value; }",
            &[],
        )],
    );
    let user = compile(
        "user.c",
        "int base(void); extern int value; int use(void) { return base() + value / 20; }",
        &["-fPIC"],
    );
    let user = load(&session, &[user]);
    assert_eq!(call(&session, "use"), 42);
    // SAFETY: nothing is running.
    match unsafe { session.unload(base) } {
        Err(Error::InUse { module, users }) => {
            assert_eq!((module.as_str(), users), ("base.c.o", vec!["user.c.o".to_owned()]))
        }
        other => panic!("{other:?}"),
    }
    unload(&session, user);
    unload(&session, base);
}

#[test]
fn objects_of_one_load_refer_to_each_other() {
    let session = Session::new();
    let even = compile(
        "even.c",
        "int odd(int n); int even(int n) { return n ? odd(n - 1) : 1; }",
        &[],
    );
    let odd = compile(
        "odd.c",
        "int even(int n); int odd(int n) { return n ? even(n - 1) : 0; }",
        &[],
    );
    load(&session, &[even, odd]);
    assert_eq!(call_with(&session, "even", 10), 1);
}

#[test]
fn every_undefined_symbol_is_listed_with_who_wants_it() {
    let session = Session::new();
    let a = compile(
        "wants_a.c",
        "int first(void); int second(void); int a(void) { return first() + second(); }",
        &[],
    );
    let b = compile("wants_b.c", "int second(void); int b(void) { return second(); }", &[]);
    let Error::Link(LinkError::Undefined(undefined)) = refuse(&session, &[a, b]) else {
        panic!("another error")
    };
    let names: Vec<_> = undefined
        .iter()
        .map(|u| (u.symbol.as_str(), u.wanted_by.len()))
        .collect();
    assert_eq!(names, [("first", 1), ("second", 2)]);
    assert_eq!(session.stats().modules, 0);
}

#[test]
fn a_second_strong_definition_is_refused_and_changes_nothing() {
    let session = Session::new();
    load(&session, &[compile("one_f.c", "int f(void) { return 1; }", &[])]);
    let before = session.stats();
    match refuse(
        &session,
        &[compile(
            "two_f.c",
            "int f(void) { return 2; } int g(void) { return 3; }",
            &[],
        )],
    ) {
        Error::Link(LinkError::Duplicate { symbol, first, second }) => {
            assert_eq!(
                (symbol.as_str(), first.as_str(), second.as_str()),
                ("f", "one_f.c.o", "two_f.c.o")
            );
        }
        other => panic!("{other}"),
    }
    assert_eq!(session.stats(), before);
    assert!(session.symbol("g").is_none());
    assert_eq!(call(&session, "f"), 1);
}

#[test]
fn a_weak_definition_gives_way_to_an_earlier_one_and_is_shadowed_by_a_strong_one() {
    let session = Session::new();
    let weak = "__attribute__((weak)) int w(void) { return 1; }";
    load(&session, &[compile("weak_one.c", weak, &[])]);
    let two = "__attribute__((weak)) int w(void) { return 2; } int through_two(void) { return w(); }";
    load(&session, &[compile("weak_two.c", two, &["-O0"])]);
    assert_eq!(call(&session, "through_two"), 1, "one copy serves both modules");
    let strong = load(&session, &[compile("strong.c", "int w(void) { return 3; }", &[])]);
    assert_eq!(call(&session, "w"), 3);
    unload(&session, strong);
    assert_eq!(call(&session, "w"), 1);
}

#[test]
fn constructors_and_destructors_run_in_their_order() {
    let source = r#"
        #include <stdlib.h>
        #include <string.h>
        extern char *record;
        static void note(const char *s) { strcat(record, s); }
        static void late(void) { note("x"); }
        __attribute__((constructor(300))) static void c300(void) { note("3"); }
        __attribute__((constructor(200))) static void c200(void) { note("2"); }
        __attribute__((constructor)) static void c(int argc, char **argv, char **envp) {
            note(argc == 2 && !strcmp(argv[1], "arg") && envp ? "c" : "!");
            atexit(late);
        }
        __attribute__((destructor(200))) static void d200(void) { note("B"); }
        __attribute__((destructor(300))) static void d300(void) { note("A"); }
        __attribute__((destructor)) static void d(void) { note("D"); }
    "#;
    let session = Session::builder().arguments(["program".into(), "arg".into()]).build();
    let record: &'static mut [u8; 64] = Box::leak(Box::new([0; 64]));
    let pointer: &'static u64 = Box::leak(Box::new(record.as_ptr() as u64));
    session.define("record", std::ptr::from_ref(pointer) as u64);
    let module = load(&session, &[compile("order.c", source, &["-fPIC"])]);
    let text = |record: &[u8]| String::from_utf8_lossy(record).trim_end_matches('\0').to_owned();
    assert_eq!(text(record), "23c");
    unload(&session, module);
    // As for a shared library: the arrays backwards, then what was registered with the module's own handle.
    assert_eq!(text(record), "23cDABx");
}

#[test]
fn an_ifunc_has_one_address_and_is_resolved_before_constructors() {
    let source = r#"
        static int forty_two(void) { return 42; }
        static int (*resolve(void))(void) { return forty_two; }
        int chosen(void) __attribute__((ifunc("resolve")));
        int (*in_data)(void) = chosen;
        static int early;
        __attribute__((constructor)) static void c(void) { early = chosen(); }
        int check(void) { int (*in_code)(void) = chosen; return early + (in_code == in_data) + in_data() - 42; }
    "#;
    for (name, flags) in [
        ("ifunc.c", ["-O0"]),
        ("ifunc_pic.c", ["-fPIC"]),
        ("ifunc_low.c", ["-fno-pic"]),
    ] {
        let session = Session::new();
        load(&session, &[compile(name, source, &flags)]);
        assert_eq!(call(&session, "check"), 43, "{name}");
        let other = compile(
            &format!("other_{name}"),
            "int chosen(void); int twice(void) { return 2 * chosen(); }",
            &[],
        );
        load(&session, &[other]);
        assert_eq!(call(&session, "twice"), 84);
    }
}

#[test]
fn no_page_is_ever_writable_and_executable() {
    for (protection, views) in [(Protection::Strict, 0), (Protection::Fast, 1)] {
        let session = Session::builder().protection(protection).build();
        load(
            &session,
            &[compile(
                &format!("wx_{views}.c"),
                "int n = 1; int f(void) { return n; }",
                &[],
            )],
        );
        let address = session.symbol("f").expect("f").address;
        assert!(mappings().iter().all(|line| !line.contains("rwx")), "{:?}", mappings());
        let range = |line: &str| {
            let (start, end) = line
                .split(' ')
                .next()
                .and_then(|range| range.split_once('-'))
                .expect("a range");
            let number = |text| u64::from_str_radix(text, 16).expect("hexadecimal");
            number(start)..number(end)
        };
        let code = mappings()
            .into_iter()
            .find(|line| range(line).contains(&address))
            .expect("the code's mapping");
        assert!(code.contains("r-xs"), "{code}");
        // The same file is mapped writable only where a fast session keeps its view.
        let inode = code.split_whitespace().nth(4).expect("inode").to_owned();
        let writable = mappings()
            .iter()
            .filter(|line| line.contains(" rw-s ") && line.contains(&format!(" {inode} ")))
            .count();
        assert_eq!(writable, views, "{protection:?}");
    }
}

#[test]
fn non_pic_code_goes_below_2_gib_and_pic_code_beside_it() {
    let session = Session::new();
    let low = compile(
        "low.c",
        "int table[4] = {1, 2, 3, 4}; int at(int i) { return table[i]; }",
        &["-fno-pic", "-O1"],
    );
    load(&session, &[low]);
    assert!(session.symbol("at").expect("at").address < 1 << 31);
    let pic = compile(
        "high.c",
        "int at(int i); extern int table[]; int sum(void) { return at(0) + at(3) + table[1]; }",
        &["-fPIC"],
    );
    load(&session, &[pic]);
    assert!(session.symbol("sum").expect("sum").address > 1 << 32);
    assert_eq!(call(&session, "sum"), 7);
}

#[test]
fn code_models_are_placed_where_they_can_run() {
    let source = "extern int printf(const char *, ...); static int big[3000000]; int n = 2; \
        int f(void) { big[2999999] = n; return big[2999999] + 40; }";
    for (name, flags) in [
        ("medium.c", &["-mcmodel=medium", "-fno-pic"][..]),
        ("medium_pic.c", &["-mcmodel=medium", "-fPIC"]),
        ("large.c", &["-mcmodel=large", "-fno-pic"]),
        ("large_pic.c", &["-mcmodel=large", "-fPIC"]),
        ("kernel.c", &["-mcmodel=kernel", "-fno-pic"]),
    ] {
        let session = Session::new();
        load(&session, &[compile(name, source, flags)]);
        assert_eq!(call(&session, "f"), 42, "{name}");
    }
}

#[test]
fn large_zeros_and_large_alignments_cost_address_space_only() {
    let session = Session::new();
    let source = "static char zeros[1 << 30]; __attribute__((aligned(1 << 21))) static int aligned = 7; \
        int f(void) { zeros[(1 << 30) - 1] = 1; return zeros[5] + zeros[(1 << 30) - 1] + aligned + (((long)&aligned & 0x1fffff) != 0); }";
    let before = resident_kib();
    let module = load(&session, &[compile("zeros.c", source, &["-O0"])]);
    assert_eq!(call(&session, "f"), 8);
    assert!(resident_kib() < before + 64 * 1024);
    unload(&session, module);
    load(&session, &[compile("zeros_again.c", source, &["-O0"])]);
    assert_eq!(call(&session, "f"), 8, "what was written is zero again");
}

#[test]
fn archives_give_what_is_needed_and_an_object_loaded_before_wins() {
    let folder = std::path::PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    let [needed, unneeded] = [
        ("needed.c", "int needed(void) { return 5; }"),
        (
            "unneeded.c",
            "int nowhere(void); int unneeded(void) { return nowhere(); }",
        ),
    ]
    .map(|(name, source)| {
        let input = compile(name, source, &[]);
        let path = folder.join(format!("{name}.o"));
        std::fs::write(&path, input.bytes()).expect("the member");
        path
    });
    let archive = folder.join("libneeded.a");
    let _ = std::fs::remove_file(&archive);
    let status = std::process::Command::new("ar")
        .arg("rcs")
        .arg(&archive)
        .args([&needed, &unneeded])
        .status();
    assert!(status.expect("ar").success());
    let main = compile(
        "wants_needed.c",
        "int needed(void); int f(void) { return needed() + 1; }",
        &[],
    );
    let session = Session::new();
    let module = load(&session, &[main, Input::open(&archive).expect("the archive")]);
    assert_eq!(call(&session, "f"), 6);
    let image = session.image(module).expect("the module");
    assert_eq!(image.objects.len(), 2, "{:?}", image.objects);
    assert!(session.symbol("unneeded").is_none());
    // The archive's member is there already, so it is not taken a second time.
    let again = compile(
        "wants_needed_too.c",
        "int needed(void); int g(void) { return needed() + 2; }",
        &[],
    );
    let module = load(&session, &[again, Input::open(&archive).expect("the archive")]);
    assert_eq!(session.image(module).expect("the module").objects.len(), 1);
    assert_eq!(call(&session, "g"), 7);
}

#[test]
fn fork_gives_parent_and_child_their_own_sessions() {
    for protection in [Protection::Strict, Protection::Fast] {
        let session = Session::builder().protection(protection).build();
        let tag = format!("{protection:?}").to_lowercase();
        let make = |name: &str, value: i32| {
            compile(
                &format!("fork_{name}_{tag}.c"),
                &format!("static int n = {value}; int {name}(void) {{ return n; }}"),
                &[],
            )
        };
        let common = load(&session, &[make("common", 1)]);
        let (child_object, parent_object) = (make("child", 2), make("parent", 3));
        // SAFETY: the child only uses the session and leaves by `_exit`.
        let child = unsafe { libc::fork() };
        if child == 0 {
            load(&session, &[child_object]);
            unload(&session, common);
            let right = call(&session, "child") == 2 && session.symbol("common").is_none();
            // SAFETY: ends the child without the parent's `atexit` functions.
            unsafe { libc::_exit(if right { 0 } else { 1 }) };
        }
        load(&session, &[parent_object]);
        let mut status = 0;
        // SAFETY: waits for the child made above.
        unsafe { libc::waitpid(child, &raw mut status, 0) };
        assert_eq!(status, 0, "the child's result");
        assert_eq!(call(&session, "common") + call(&session, "parent"), 4);
    }
}

#[test]
fn scarce_address_space_and_small_files_are_no_obstacle() {
    let object = [compile("scarce.c", "int n = 41; int f(void) { return n + 1; }", &[])];
    for (limit, value) in [(libc::RLIMIT_AS, 192 << 20), (libc::RLIMIT_FSIZE, 1 << 20)] {
        // SAFETY: the child only uses a session of its own and leaves by `_exit`.
        let child = unsafe { libc::fork() };
        if child == 0 {
            let used = mappings_bytes();
            let most = libc::rlimit {
                rlim_cur: if limit == libc::RLIMIT_AS { used + value } else { value },
                rlim_max: libc::RLIM_INFINITY,
            };
            // SAFETY: the limits are valid.
            let limited = unsafe { libc::setrlimit(limit, &raw const most) } == 0;
            let session = Session::new();
            load(&session, &object);
            let right = limited && call(&session, "f") == 42;
            // SAFETY: ends the child without the parent's `atexit` functions.
            unsafe { libc::_exit(if right { 0 } else { 1 }) };
        }
        let mut status = 0;
        // SAFETY: waits for the child made above.
        unsafe { libc::waitpid(child, &raw mut status, 0) };
        assert_eq!(status, 0, "limit {limit}");
    }
}

fn mappings_bytes() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("procfs");
    statm
        .split(' ')
        .next()
        .and_then(|pages| pages.parse::<u64>().ok())
        .expect("statm")
        * 4096
}

#[test]
fn a_fork_waits_for_loads_in_other_threads() {
    use std::sync::atomic::{AtomicBool, Ordering};

    let object = [compile("busy.c", "int busy(void) { return 42; }", &[])];
    let shared = Session::new();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                let module = load(&shared, &object);
                unload(&shared, module);
            }
        });
        for _ in 0..20 {
            // SAFETY: the child only uses sessions and leaves by `_exit`, or by the signal.
            let child = unsafe { libc::fork() };
            if child == 0 {
                // A lock that nobody will ever release ends the child instead of the test.
                // SAFETY: sets a timer.
                unsafe { libc::alarm(60) };
                let modules = shared.stats().modules;
                let session = Session::new();
                load(&session, &object);
                let right = modules <= 1 && call(&session, "busy") == 42;
                // SAFETY: ends the child without the parent's `atexit` functions.
                unsafe { libc::_exit(if right { 0 } else { 1 }) };
            }
            let mut status = 0;
            // SAFETY: waits for the child made above.
            unsafe { libc::waitpid(child, &raw mut status, 0) };
            if status != 0 {
                done.store(true, Ordering::Relaxed);
            }
            assert_eq!(status, 0, "the child's result");
        }
        done.store(true, Ordering::Relaxed);
    });
}
