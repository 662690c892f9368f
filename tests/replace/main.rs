//! Replacing functions: what is redirected, what keeps its value, what is refused, and what becomes of the old.

mod debuggers;
mod reclamation;
#[path = "../support/mod.rs"]
mod support;

use std::time::Duration;

use restub::loader::Input;
use restub::{
    Consistency, Constructors, Data, Error, Linkage, ModuleId, Protection, Refusal, Replace, Report, Session, Slot,
    VersionState, What,
};
use support::compile;

type Nullary = unsafe extern "C" fn() -> i32;

fn session() -> Session {
    Session::builder().linkage(Linkage::Stubs).build()
}

fn load(session: &Session, inputs: &[Input<'_>]) -> ModuleId {
    // SAFETY: the tests' own sources.
    unsafe { session.load(inputs) }.unwrap_or_else(|error| panic!("{error}"))
}

fn try_replace(session: &Session, inputs: &[Input<'_>], options: &Replace) -> restub::Result<Report> {
    // SAFETY: the tests' own sources, called under a pin.
    unsafe { session.replace(inputs, options) }
}

fn replace(session: &Session, inputs: &[Input<'_>], options: &Replace) -> Report {
    try_replace(session, inputs, options).unwrap_or_else(|error| panic!("{error}"))
}

fn refused(session: &Session, inputs: &[Input<'_>], options: &Replace) -> Vec<Refusal> {
    session.collect().expect("no scan");
    let before = session.stats();
    match try_replace(session, inputs, options) {
        Err(Error::Refused(refusals)) => {
            let after = session.stats();
            let held = |stats: &restub::Stats| (stats.modules, stats.symbols, stats.image_bytes, stats.stubs);
            assert_eq!(held(&before), held(&after), "a refusal changes nothing");
            refusals
        }
        other => panic!("{other:?}"),
    }
}

fn call(session: &Session, name: &str) -> i32 {
    let pin = session.pin();
    // SAFETY: the tests call functions of this type only.
    let function = unsafe { pin.function::<Nullary>(name) }.unwrap_or_else(|error| panic!("{error}"));
    // SAFETY: the tests' own sources.
    unsafe { function() }
}

fn what(report: &Report, name: &str) -> What {
    let found = report.changes.iter().find(|change| change.name == name);
    found.unwrap_or_else(|| panic!("{name} is not in {report:?}")).what
}

fn unit(name: &str, source: &str) -> Input<'static> {
    compile(name, source, &["-O1", "-fPIC"])
}

#[test]
fn callers_and_pointers_reach_the_new_function() {
    for protection in [Protection::Strict, Protection::Fast, Protection::Private] {
        for slot in [Slot::Inline, Slot::InlineIbt, Slot::Split, Slot::SplitIbt] {
            if protection == Protection::Private && !slot.is_split() {
                continue;
            }
            let session = Session::builder()
                .linkage(Linkage::Stubs)
                .protection(protection)
                .slot(slot)
                .build();
            load(&session, &[unit("f.c", "int f(void) { return 1; }")]);
            let user = "int f(void); int (*pointer)(void) = f; int use(void) { return f() * 100 + pointer(); }
                        int same(void) { int (*volatile now)(void) = f; return now == pointer; }";
            load(&session, &[unit("use.c", user)]);
            let address = session.symbol("f").expect("f").address;
            assert_eq!(address % 2, 0);
            assert_eq!(call(&session, "use"), 101, "{protection:?} {slot:?}");
            for version in 2..10 {
                let source = format!("int f(void) {{ return {version}; }}");
                let report = replace(&session, &[unit("f.c", &source)], &Replace::new());
                assert_eq!(what(&report, "f"), What::Changed);
                assert_eq!(report.superseded.len(), 1);
                assert_eq!(call(&session, "use"), version * 101, "{protection:?} {slot:?}");
                assert_eq!(call(&session, "same"), 1);
                assert_eq!(session.symbol("f").expect("f").address, address);
            }
            session.collect().expect("no scan");
            let stats = session.stats();
            assert_eq!(stats.modules, 2);
            assert_eq!(stats.reclaim.retired.items, 8);
            assert_eq!(stats.reclaim.held.items, 0);
        }
    }
}

#[test]
fn one_function_of_an_object_is_replaced_alone() {
    let session = session();
    let source = "int g(void) { return 1; } __attribute__((noinline)) int f(void) { return g() + 10; }
                  static int quiet(void) { return 5; } int h(void) { return f() + quiet(); }";
    load(&session, &[compile("many.c", source, &["-O0"])]);
    assert_eq!(call(&session, "h"), 16);
    let report = replace(&session, &[unit("g.c", "int g(void) { return 2; }")], &Replace::new());
    assert!(report.superseded.is_empty());
    assert_eq!(call(&session, "h"), 17);
    let rest = "int g(void); int f(void) { return g() + 20; } int h(void) { return f() + 6; }";
    let report = replace(&session, &[unit("rest.c", rest)], &Replace::new());
    assert_eq!(report.superseded.len(), 1);
    assert_eq!(call(&session, "h"), 28);
}

#[test]
fn state_stays() {
    let source = |step: i32, more: &str| {
        format!(
            "int global = 5; static int local = 7; int zero; {more}
             _Thread_local int thread = 3; static _Thread_local int hidden = 4;
             int *where(void) {{ return &global; }}
             int count(void) {{ static int calls; calls += {step}; global++; local++; zero++; thread++; hidden++;
                 return calls * 1000000 + global * 100000 + local * 10000 + zero * 1000 + thread * 100 + hidden * 10; }}"
        )
    };
    for flags in [
        &["-O1", "-fPIC"][..],
        &["-O2"],
        &["-O0", "-fno-pic"],
        &["-O2", "-fdata-sections", "-ffunction-sections"],
        &["-O2", "-fcommon"],
        &["-O2", "-fPIC", "-mtls-dialect=gnu2"],
    ] {
        let session = session();
        load(&session, &[compile("state.c", &source(1, ""), flags)]);
        assert_eq!(call(&session, "count"), 1_681_450, "{flags:?}");
        let address = session.symbol("global").expect("global").address;
        let report = replace(&session, &[compile("state.c", &source(2, ""), flags)], &Replace::new());
        for name in ["global", "local", "zero", "thread", "hidden"] {
            assert_eq!(what(&report, name), What::Kept, "{name} {flags:?}");
        }
        assert_eq!(call(&session, "count"), 3_000_000 + 792_560, "{flags:?}");
        // Another variable in front of the others, and another version behind.
        let more = "int added = 9; int read_added(void) { return added; }";
        let report = replace(
            &session,
            &[compile("state.c", &source(1, more), flags)],
            &Replace::new(),
        );
        assert_eq!(what(&report, "added"), What::New);
        assert_eq!(call(&session, "count"), 4_000_000 + 903_670, "{flags:?}");
        assert_eq!(call(&session, "read_added"), 9);
        assert_eq!(session.symbol("global").expect("global").address, address);
        let fresh = replace(
            &session,
            &[compile("state.c", &source(1, more), flags)],
            &Replace::new().data(Data::Reset),
        );
        assert_eq!(what(&fresh, "global"), What::Changed);
        assert_eq!(call(&session, "count"), 1_681_450, "{flags:?}");
    }
}

#[test]
fn what_cannot_keep_its_value_is_refused() {
    let session = session();
    let source = "int table[4]; static int one; const int limit = 3; int f(void) { return table[0] + one++; }
                  int g(void) { static int n; return n++; } int h(void) { static int n; return n--; }";
    load(&session, &[unit("a.c", source)]);
    load(
        &session,
        &[unit(
            "user.c",
            "extern const int limit; int f(void); int use(void) { return limit + f(); }",
        )],
    );
    let source = "int table[5]; static long one; const int limit = 4; int f(void) { return table[0] + one++; }
                  int g(void) { static int n; return n++; }";
    let refusals = refused(&session, &[unit("a.c", source)], &Replace::new());
    let texts: Vec<_> = refusals.iter().map(ToString::to_string).collect();
    assert!(
        texts
            .iter()
            .any(|text| text.contains("table has 20 bytes, and 16 in a.c.o")),
        "{texts:?}"
    );
    assert!(
        texts
            .iter()
            .any(|text| text.contains("one has 8 bytes, and 4 in a.c.o")),
        "{texts:?}"
    );
    assert!(
        texts
            .iter()
            .any(|text| text.contains("1 local variables called n, and there were 2")),
        "{texts:?}"
    );
    let constant = "int table[4]; static int one; const int limit = 4; int f(void) { return table[0] + one++; }
                    int g(void) { static int n; return n++; } int h(void) { static int n; return n--; }";
    let refusals = refused(&session, &[unit("a.c", constant)], &Replace::new());
    assert!(matches!(&refusals[..], [Refusal::ConstantChanged { symbol, users, .. }]
        if symbol == "limit" && users == &["user.c.o"]));
    assert_eq!(call(&session, "use"), 3);
    replace(&session, &[unit("a.c", source)], &Replace::new().data(Data::Reset));
    assert_eq!(call(&session, "use"), 3, "who is bound to the old constant keeps it");
}

#[test]
fn functions_that_are_called_do_not_vanish() {
    let session = session();
    let old = load(
        &session,
        &[unit(
            "a.c",
            "int f(void) { return 1; } int g(void) { return 2; } int unused(void) { return 3; }",
        )],
    );
    load(
        &session,
        &[unit("user.c", "int g(void); int use(void) { return g(); }")],
    );
    let next = || [unit("a.c", "int f(void) { return 4; }")];
    let refusals = refused(&session, &next(), &Replace::new().whole(old));
    assert_eq!(
        refusals,
        [Refusal::StillCalled {
            symbol: "g".into(),
            callers: vec!["user.c.o".into()]
        }]
    );
    let report = replace(&session, &next(), &Replace::new().whole(old).allow_dangling(true));
    assert_eq!(
        (what(&report, "g"), what(&report, "unused")),
        (What::Dropped, What::Dropped)
    );
    assert!(session.symbol("g").is_none());
    assert_eq!(session.stats().unbound_stubs, 2);
    // A later definition takes the place.
    load(&session, &[unit("g.c", "int g(void) { return 5; }")]);
    assert_eq!(call(&session, "use"), 5);
}

#[test]
fn weak_copies_stay_valid_when_the_chosen_one_goes() {
    let session = session();
    let copy = |value: i32| format!("__attribute__((weak)) int shared(void) {{ return {value}; }}");
    let first = load(&session, &[unit("first.c", &copy(1))]);
    load(
        &session,
        &[unit(
            "second.c",
            &format!("{} int use(void) {{ return shared(); }}", copy(2)),
        )],
    );
    assert_eq!(call(&session, "use"), 1);
    // SAFETY: nothing runs.
    unsafe { session.unload(first) }.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(call(&session, "use"), 2);
    // A strong one stands before both.
    let strong = load(&session, &[unit("strong.c", "int shared(void) { return 3; }")]);
    assert_eq!(call(&session, "use"), 3);
    // SAFETY: nothing runs.
    unsafe { session.unload(strong) }.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(call(&session, "use"), 2);
}

#[test]
fn templates_and_vtables_are_replaced_with_their_module() {
    let session = Session::builder()
        .linkage(Linkage::Stubs)
        .default_libraries(true)
        .build();
    let source = |value: i32| {
        format!(
            "#include <string>
             template <class T> T value() {{ return {value}; }}
             struct Base {{ virtual ~Base() = default; virtual int get() {{ return value<int>(); }} }};
             Base *make() {{ return new Base; }}
             std::string name = \"a name that is too long for the string itself\";
             extern \"C\" int length() {{ return name.size(); }}
             extern \"C\" int grow() {{ name += 'x'; return name.size(); }}
             extern \"C\" int get() {{ Base *base = make(); int got = base->get(); delete base; return got; }}"
        )
    };
    let compile = |value| compile("shapes.cc", &source(value), &["-O1", "-fPIC"]);
    let mut module = load(&session, &[compile(1)]);
    assert_eq!((call(&session, "get"), call(&session, "length")), (1, 45));
    for value in 2..5 {
        call(&session, "grow");
        let report = replace(&session, &[compile(value)], &Replace::new().whole(module));
        assert!(
            report.constructors_skipped,
            "they would make a new string of what is kept"
        );
        module = report.module;
        assert_eq!((call(&session, "get"), call(&session, "length")), (value, 44 + value));
    }
    let added = format!(
        "{} std::string other = \"another one that has to be on the heap\";",
        source(9)
    );
    let input = || [support::compile("shapes.cc", &added, &["-O1", "-fPIC"])];
    let refusals = refused(&session, &input(), &Replace::new().whole(module));
    assert!(matches!(&refusals[..], [Refusal::Constructors { .. }]), "{refusals:?}");
    replace(
        &session,
        &input(),
        &Replace::new().whole(module).constructors(Constructors::Skip),
    );
    assert_eq!(call(&session, "get"), 9);
}

#[test]
fn a_failed_replacement_changes_nothing() {
    let session = session();
    load(&session, &[unit("f.c", "int f(void) { return 1; }")]);
    session.collect().expect("no scan");
    let before = session.stats();
    let broken = unit(
        "f.c",
        "int missing(void); int fresh(void) { return 1; } int f(void) { return missing(); }",
    );
    assert!(matches!(
        try_replace(&session, &[broken], &Replace::new()),
        Err(Error::Link(_))
    ));
    assert_eq!(session.stats(), before);
    assert_eq!(call(&session, "f"), 1);
    let direct = Session::new();
    let input = unit("f.c", "int f(void) { return 1; }");
    assert!(matches!(
        try_replace(&direct, &[input], &Replace::new()),
        Err(Error::NoStubs)
    ));
}

#[test]
fn versions_can_be_rolled_back() {
    let session = Session::builder().linkage(Linkage::Stubs).versions(2).build();
    let version = |value: i32| {
        unit(
            "f.c",
            &format!("int n; int f(void) {{ n++; return {value} * 100 + n; }}"),
        )
    };
    let mut modules = vec![load(&session, &[version(1)])];
    for value in 2..=4 {
        assert_eq!(call(&session, "f"), (value - 1) * 100 + value - 1);
        modules.push(replace(&session, &[version(value)], &Replace::new()).module);
    }
    let states = |session: &Session| {
        session
            .history("f")
            .iter()
            .map(|version| version.state)
            .collect::<Vec<_>>()
    };
    use VersionState::{Current, Gone, Kept};
    // The first one has the variable's storage.
    assert_eq!(states(&session), [Kept, Kept, Kept, Current]);
    let report = session.rollback(modules[3]).expect("a version before");
    assert_eq!(report.module, modules[2]);
    assert_eq!(call(&session, "f"), 304);
    session.rollback(modules[2]).expect("a version before");
    assert_eq!(call(&session, "f"), 205);
    assert_eq!(states(&session), [Kept, Current, Gone, Gone]);
    assert!(matches!(session.rollback(modules[3]), Err(Error::NoSuchModule)));
    session.collect().expect("no scan");
    assert_eq!(session.stats().modules, 2);
}

#[test]
fn draining_waits_for_pins_and_gives_up_in_time() {
    let session = session();
    load(
        &session,
        &[unit("f.c", "int f(void) { return 1; } int g(void) { return 1; }")],
    );
    let next = || [unit("f.c", "int f(void) { return 2; } int g(void) { return 2; }")];
    let drain = |limit| Replace::new().consistency(Consistency::Drain { limit });
    let (pinned, entered) = std::sync::mpsc::channel();
    let (leave, left) = std::sync::mpsc::channel::<()>();
    std::thread::scope(|scope| {
        let session = &session;
        scope.spawn(move || {
            let _pin = session.pin();
            pinned.send(()).expect("a receiver");
            left.recv().expect("a sender");
        });
        entered.recv().expect("a pinned thread");
        match try_replace(session, &next(), &drain(Duration::from_millis(50))) {
            Err(Error::Drain { pinned: Some(_), .. }) => {}
            other => panic!("{other:?}"),
        }
        assert_eq!((call(session, "f"), session.stats().modules), (1, 1));
        leave.send(()).expect("a receiver");
    });
    replace(&session, &next(), &drain(Duration::from_secs(60)));
    assert_eq!((call(&session, "f"), call(&session, "g")), (2, 2));
}

#[test]
fn modules_that_call_each_other_are_loaded_and_replaced_together() {
    let session = session();
    let even = |sign: &str| {
        unit(
            "even.c",
            &format!("extern int depth; int odd(int); int even(int n) {{ depth++; return n ? odd(n - 1) : {sign}1; }}"),
        )
    };
    let odd = |sign: &str| {
        unit(
            "odd.c",
            &format!("int depth; int even(int); int odd(int n) {{ depth++; return n ? even(n - 1) : {sign}2; }}"),
        )
    };
    let main = unit(
        "main.c",
        "int even(int); extern int depth; int run(void) { return even(9) * 1000 + depth; }",
    );
    let (first, second) = ([even("")], [odd("")]);
    // SAFETY: the tests' own sources.
    let modules = unsafe { session.load_each(&[&first, &second, &[main]]) }.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(session.modules().len(), 3);
    assert_eq!(call(&session, "run"), 2010);
    let (first, second) = ([even("-")], [odd("-")]);
    let options = Replace::new().whole(modules[0]).whole(modules[1]);
    // SAFETY: as above.
    let report =
        unsafe { session.replace_each(&[&first, &second], &options) }.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!((report.modules.len(), report.superseded.len()), (2, 2));
    assert_eq!(call(&session, "run"), -2000 + 20);
    // Each by itself, and both refused for one's sake.
    replace(&session, &[odd("+")], &Replace::new().whole(report.modules[1]));
    assert_eq!(call(&session, "run"), 2000 + 30);
    let before = session.stats();
    let broken = unit(
        "odd.c",
        "int depth; int nobody(int); int odd(int n) { return nobody(n); }",
    );
    let (first, second) = ([even("-")], [broken]);
    // SAFETY: as above.
    match unsafe { session.replace_each(&[&first, &second], &Replace::new()) } {
        Err(Error::Link(error)) => assert!(error.to_string().contains("nobody"), "{error}"),
        other => panic!("{other:?}"),
    }
    assert_eq!(call(&session, "run"), 2000 + 40);
    session.collect().expect("no scan");
    assert_eq!(
        (before.modules, before.stubs),
        (session.stats().modules, session.stats().stubs)
    );
}

#[test]
fn storage_that_is_not_aligned_enough_is_refused() {
    let session = session();
    let source = |align: u32| {
        format!(
            "__attribute__((aligned(4))) int before = 1; __attribute__((aligned({align}))) int many[16] = {{1}};
             int f(void) {{ return many[0] + before; }}"
        )
    };
    // Data is packed, so what comes next is not at the start of a page.
    load(&session, &[unit("first.c", "int first = 1;")]);
    load(&session, &[unit("many.c", &source(4))]);
    let refusals = refused(&session, &[unit("many.c", &source(64))], &Replace::new());
    assert!(
        matches!(&refusals[..], [Refusal::AlignmentChanged { symbol, after: 64, .. }] if symbol == "many"),
        "{refusals:?}"
    );
}

#[test]
fn functions_that_do_the_same_are_told_from_those_that_changed() {
    let source = |first: &str, more: &str, third: i32| {
        format!(
            "#include <stdio.h>
             {more}
             int first(void) {{ return puts(\"{first}\"); }}
             int second(int n) {{ return printf(\"second %d\\n\", n); }}
             int third(void) {{ return {third}; }}
             double fourth(double x) {{ return x * 2.5 + third(); }}"
        )
    };
    for flags in [
        &["-O2", "-fPIC", "-ffunction-sections", "-fdata-sections"][..],
        &["-O1", "-fPIC", "-g"],
    ] {
        let session = session();
        load(&session, &[compile("same.c", &source("one", "", 3), flags)]);
        let report = replace(
            &session,
            &[compile("same.c", &source("one", "", 3), flags)],
            &Replace::new(),
        );
        assert!(
            report.changes.iter().all(|change| change.what == What::Kept),
            "{flags:?} {report:?}"
        );
        let more = "int fifth(const char *s) { return puts(s) + puts(\"a string in front of others\"); }";
        let report = replace(
            &session,
            &[compile("same.c", &source("uno", more, 4), flags)],
            &Replace::new(),
        );
        let changed = |name| what(&report, name);
        assert_eq!(
            (changed("first"), changed("third")),
            (What::Changed, What::Changed),
            "{flags:?}"
        );
        assert_eq!(changed("second"), What::Kept, "{flags:?}");
        assert_eq!(changed("fifth"), What::New, "{flags:?}");
    }
}

#[test]
fn own_calls_are_direct_where_that_is_asked_for() {
    let session = Session::builder()
        .linkage(Linkage::Stubs)
        .own_calls_directly(true)
        .build();
    let source = "int g(void) { return 1; } __attribute__((noinline)) int f(void) { return g() + 10; }";
    load(&session, &[compile("own.c", source, &["-O0"])]);
    load(
        &session,
        &[unit("other.c", "int g(void); int other(void) { return g() + 20; }")],
    );
    replace(&session, &[unit("g.c", "int g(void) { return 2; }")], &Replace::new());
    assert_eq!(
        (call(&session, "f"), call(&session, "other"), call(&session, "g")),
        (11, 22, 2)
    );
    let again = "int g(void) { return 3; } int f(void) { return g() + 30; }";
    replace(&session, &[compile("own.c", again, &["-O0"])], &Replace::new());
    assert_eq!((call(&session, "f"), call(&session, "other")), (33, 23));
}

#[test]
fn the_hook_hears_of_calls_to_what_is_gone() {
    let session = Session::builder()
        .linkage(Linkage::Stubs)
        .on_unbound(|call| {
            let code = if call.name == Some("gone") { 7 } else { 8 };
            // SAFETY: ends the child.
            unsafe { libc::_exit(code) }
        })
        .build();
    let old = load(
        &session,
        &[unit(
            "gone.c",
            "int gone(void) { return 1; } int stays(void) { return 2; }",
        )],
    );
    load(
        &session,
        &[unit("caller.c", "int gone(void); int caller(void) { return gone(); }")],
    );
    let next = unit("gone.c", "int stays(void) { return 3; }");
    replace(&session, &[next], &Replace::new().whole(old).allow_dangling(true));
    let pin = session.pin();
    // SAFETY: the function is of this type.
    let caller = unsafe { pin.function::<Nullary>("caller") }.expect("caller");
    // SAFETY: the child does nothing but call and end.
    let child = unsafe { libc::fork() };
    if child == 0 {
        // SAFETY: the test's own source.
        unsafe { caller() };
        // SAFETY: ends the child.
        unsafe { libc::_exit(9) };
    }
    let mut status = 0;
    // SAFETY: the child is this test's, and the pointer is to a local variable.
    unsafe { libc::waitpid(child, &raw mut status, 0) };
    assert!(libc::WIFEXITED(status));
    assert_eq!(libc::WEXITSTATUS(status), 7);
}

#[test]
fn unloading_the_current_version_gives_the_kept_ones_up() {
    let session = Session::builder().linkage(Linkage::Stubs).versions(3).build();
    let version = |value: i32| unit("kept.c", &format!("int n; int f(void) {{ return n += {value}; }}"));
    load(&session, &[version(1)]);
    let mut module = None;
    for value in 2..5 {
        module = Some(replace(&session, &[version(value)], &Replace::new()).module);
    }
    assert_eq!(session.modules().len(), 4);
    // SAFETY: nothing runs.
    unsafe { session.unload(module.expect("there were replacements")) }.unwrap_or_else(|error| panic!("{error}"));
    session.collect().expect("no scan");
    let stats = session.stats();
    assert_eq!(
        (stats.modules, stats.symbols, stats.stubs, stats.reclaim.held.items),
        (0, 0, 0, 0)
    );
    load(&session, &[version(7)]);
    assert_eq!(call(&session, "f"), 7);
}
