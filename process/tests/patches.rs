//! What patches can be: stacked on one another, with the original at hand, quiet; and what is refused, by its code.

#![allow(missing_docs, reason = "tests have names")]

mod support;

use std::time::Duration;

use restub_loader::Input;
use restub_process::{Consistency, Error, Method, Options, Which, patch, plan, revert, status};
use support::{Folder, Program};

const PROGRAM: &str = r#"
    #include <stdio.h>
    #include <string.h>
    #include <unistd.h>
    struct state { int a, b; };
    struct state shared = {1, 2};
    int tuned = 5;
    __thread int own = 7;
    static int twice(int x) { return x * 2; }
    __attribute__((noipa)) int step(int x) { own++; return twice(x) + shared.a + tuned; }
    __attribute__((noipa)) int leaf(void) { return 1; }
    __attribute__((noipa)) int loops(int n) { int sum = 0; do { sum += n; } while (--n); return sum; }
    __asm__(".globl tight\n.type tight,@function\ntight: dec %edi\njne tight\nmov $3,%eax\nret\n.size tight,.-tight\n.balign 16\n");
    int tight(int);
    __attribute__((noipa)) int waits(void) { char c; read(0, &c, 1); return c + tuned; }
    int main(void) {
        char c, end, line[64];
        while (read(0, &c, 1) == 1 && read(0, &end, 1) == 1) {
            int n;
            if (c == 'w') {
                int waited = waits();
                if (waited >= 0) read(0, &end, 1);
                n = snprintf(line, sizeof line, "waited %d\n", waited);
            } else {
                int a = step(10), b = leaf(), c = loops(3), d = tight(2);
                n = snprintf(line, sizeof line, "%d %d %d %d %d\n", a, b, c, d, own);
            }
            if (write(1, line, n) != n) return 1;
        }
        return 0;
    }
"#;

fn started(folder: &Folder) -> Program {
    let path = folder.compile("gcc", "prog.c", PROGRAM, "prog", &["-O2", "-ftls-model=local-exec"]);
    let mut program = Program::start(&path, &[]);
    assert_eq!(program.ask("?"), "26 1 6 3 8");
    program
}

fn object(folder: &Folder, name: &str, source: &str) -> Vec<Input<'static>> {
    folder.object("gcc", name, source, &["-O2", "-fPIE"])
}

fn code_of(error: &Error) -> Vec<&'static str> {
    match error {
        Error::Refused(refusals) => refusals.iter().map(|refusal| refusal.code).collect(),
        other => panic!("{other}"),
    }
}

#[test]
fn the_original_can_be_called_and_patches_are_stacked() {
    let folder = Folder::new();
    let mut program = started(&folder);
    let pid = program.pid();
    let options = Options::default();
    let first = object(
        &folder,
        "first.c",
        r#"
            extern int old_step(int);
            __asm__(".symver old_step, step@original");
            extern __thread int own;
            int counted;
            int count(void) { return ++counted; }
            int step(int x) { own += 10; count(); return old_step(x) + 1000; }
            __attribute__((noipa)) int leaf(void) { return 2; }
        "#,
    );
    let report = patch(pid, &first, &options).expect("the first patch");
    assert_eq!(report.plan.new_symbols, ["count", "counted"]);
    let leaf = report
        .plan
        .functions
        .iter()
        .find(|function| function.name == "leaf")
        .expect("leaf");
    assert_eq!(leaf.method, Some(Method::Long), "padding behind the function counts");
    assert_eq!(program.ask("?"), "1026 2 6 3 19");
    let second = object(
        &folder,
        "second.c",
        "extern int counted; int step(int x) { return x + counted; }",
    );
    let report = patch(pid, &second, &options).expect("the second patch");
    assert_eq!((report.stop, report.plan.functions[0].method), (None, None));
    assert_eq!(program.ask("?"), "11 2 6 3 19");
    let names: Vec<String> = status(pid)
        .expect("status")
        .patches
        .into_iter()
        .map(|patch| patch.name)
        .collect();
    assert_eq!(names, ["first.c", "second.c"]);
    let error = revert(pid, &Which::Name("first.c".into()), &options).expect_err("the second patch uses it");
    assert!(error.to_string().contains("before second.c"), "{error}");
    revert(pid, &Which::Last, &options).expect("the second patch is reverted");
    assert_eq!(program.ask("?"), "1026 2 6 3 30");
    revert(pid, &Which::All, &options).expect("the first patch is reverted");
    assert_eq!(program.ask("?"), "26 1 6 3 31");
    program.end();
}

#[test]
fn quiet_waits_for_threads_to_leave_and_names_who_does_not() {
    let folder = Folder::new();
    let mut program = started(&folder);
    let pid = program.pid();
    let fix = object(&folder, "quiet.c", "int waits(void) { return -1; }");
    let mut options = Options {
        consistency: Consistency::Quiet,
        timeout: Duration::from_secs(1),
        ..Options::default()
    };
    program.send("w");
    support::wait_until("the call", || {
        plan(pid, &fix, &options)
            .expect("a plan")
            .blockers
            .iter()
            .any(|text| text.contains("waits"))
    });
    let error = patch(pid, &fix, &options).expect_err("a thread is in it");
    assert!(
        matches!(error, Error::Busy { .. }) && error.to_string().contains("may return into waits"),
        "{error}"
    );
    assert!(status(pid).expect("status").patches.is_empty());
    // The call that has begun ends in the version that it began in.
    options.consistency = Consistency::Entry;
    patch(pid, &fix, &options).expect("the patch");
    assert_eq!(program.ask("x"), "waited 125");
    program.send("w");
    assert_eq!(program.answer(), "waited -1");
}

#[test]
fn what_cannot_be_applied_safely_is_refused_by_its_code() {
    let folder = Folder::new();
    let mut program = started(&folder);
    let pid = program.pid();
    let options = Options::default();
    let cases = [
        (
            "variable-size",
            "struct { int a, b, c; } shared = {1, 2, 3}; int step(int x) { return shared.c + x; }",
        ),
        ("initial-value", "int tuned = 6; int step(int x) { return tuned + x; }"),
        ("tls", "__thread int fresh = 1; int step(int x) { return x + fresh++; }"),
        (
            "constructor",
            "int step(int x) { return x; } extern int tuned; __attribute__((constructor)) void begin(void) { tuned++; }",
        ),
        ("entry", "int tight(int x) { return x; }"),
        ("no-function", "int unknown(int x) { return x; }"),
        (
            "ifunc",
            "static int one(void) { return 1; } static int (*pick(void))(void) { return one; } \
             int choose(void) __attribute__((ifunc(\"pick\"))); int step(int x) { return x + choose(); }",
        ),
    ];
    for (code, source) in cases {
        let objects = object(&folder, "case.c", source);
        let error = plan(pid, &objects, &options).expect_err(code);
        assert!(code_of(&error).contains(&code), "{code}: {error}");
        let error = patch(pid, &objects, &options).expect_err(code);
        assert!(code_of(&error).contains(&code), "{code}: {error}");
        assert_eq!(program.ask("?").split(' ').next(), Some("26"));
    }
    for place in [".text\nbegin: ret\n.set step, begin + 64", ".data\nstep: .quad 0"] {
        let text = format!(".globl step\n.type step, @function\n.size step, 4\n{place}\n");
        let bytes = restub_asm::assemble(&text, &restub_asm::Options::default()).expect("it is an object");
        let error = patch(pid, &[Input::from_bytes("nowhere.o", bytes)], &options).expect_err(place);
        assert_eq!(code_of(&error), ["object"], "{error}");
        assert_eq!(program.ask("?").split(' ').next(), Some("26"));
    }
    let undefined = object(
        &folder,
        "undefined.c",
        "int gone(int); int step(int x) { return gone(x); }",
    );
    let error = patch(pid, &undefined, &options)
        .expect_err("nothing defines it")
        .to_string();
    assert_eq!(
        error,
        "undefined symbol gone, wanted by undefined.c.o".replace("undefined.c.o", undefined[0].name())
    );
    // Who knows the program may know better.
    let allowed = Options {
        allow: vec!["initial-value".into()],
        ..Options::default()
    };
    let objects = object(
        &folder,
        "tuned.c",
        "int tuned = 6; int step(int x) { return tuned + x; }",
    );
    let report = patch(pid, &objects, &allowed).expect("it is allowed");
    assert!(
        report
            .plan
            .notes
            .iter()
            .any(|note| note.starts_with("allowed: tuned: ")),
        "{:?}",
        report.plan.notes
    );
    assert_eq!(
        program.ask("?").split(' ').next(),
        Some("15"),
        "the variable keeps its value"
    );
    assert!(status(pid).expect("status").patched_before);
}

#[test]
fn copies_that_debug_information_knows_of_are_not_forgotten() {
    let folder = Folder::new();
    let source = r#"
        #include <stdio.h>
        volatile int one = 1;
        int shown(int x) { return x * 3 + 1; }
        __attribute__((noipa)) int user(int x) { return shown(x) + 10; }
        int main(void) { char line[9]; while (fgets(line, sizeof line, stdin)) { printf("%d %d\n", user(one), shown(one)); fflush(stdout); } }
    "#;
    let path = folder.compile("gcc", "prog.c", source, "prog", &["-O2", "-g"]);
    let mut program = Program::start(&path, &[]);
    assert_eq!(program.ask(""), "14 4");
    let options = Options::default();
    let one = object(&folder, "one.c", "int shown(int x) { return x; }");
    let error = patch(program.pid(), &one, &options).expect_err("main and user have copies");
    assert_eq!(code_of(&error), ["inlined"]);
    assert!(
        error
            .to_string()
            .contains("shown: its code is also inlined in main, user, "),
        "{error}"
    );
    let allowed = Options {
        allow: vec!["inlined".into()],
        ..Options::default()
    };
    patch(program.pid(), &one, &allowed).expect("it is allowed");
    assert_eq!(program.ask(""), "14 4", "the copies are as they were");
    let both = object(
        &folder,
        "both.c",
        "int shown(int x) { return x; } int user(int x) { return shown(x) + 20; } ",
    );
    let error = patch(program.pid(), &both, &options).expect_err("main has a copy");
    assert!(error.to_string().contains("inlined in main, which"), "{error}");
    patch(program.pid(), &both, &allowed).expect("it is allowed");
    assert_eq!(program.ask(""), "21 4");
}

#[test]
fn callers_that_keep_values_in_registers_are_not_forgotten() {
    let folder = Folder::new();
    let source = r#"
        #include <stdio.h>
        __attribute__((noinline)) int leaf(int x) { return x * 3 + 1; }
        __attribute__((noipa)) int user(int a, int b, int c) { int got = leaf(a); return got + b * 100 + c * 10000; }
        __attribute__((noipa)) int plain(int x) { return x * 5 + 1; }
        __attribute__((noipa)) int keeps_nothing(int a, int b) { int got = plain(a); return got + b * 100; }
        int main(void) { char line[9]; while (fgets(line, sizeof line, stdin)) { printf("%d %d\n", user(1, 2, 3), keeps_nothing(1, 2)); fflush(stdout); } }
    "#;
    let path = folder.compile("gcc", "prog.c", source, "prog", &["-O2"]);
    let mut program = Program::start(&path, &[]);
    let before = program.ask("");
    assert_eq!(before, "30204 206");
    let options = Options::default();
    let calls = "int getpid(void); int leaf(int x) { return getpid() > 1 ? x : 0; }";
    let refused = |objects: &[Input<'_>]| plan(program.pid(), objects, &options).err();
    let error = refused(&object(&folder, "one.c", calls)).expect("user knows its registers");
    assert_eq!(code_of(&error), ["registers"]);
    assert!(error.to_string().contains("user keeps "), "{error}");
    // One that changes no more than the original does, or comes with its caller, is as good.
    let small = object(&folder, "small.c", "int leaf(int x) { return x + 5; }");
    assert!(refused(&small).is_none(), "it changes nothing else");
    let both =
        format!("{calls} int user(int a, int b, int c) {{ int got = leaf(a); return got + b * 1000 + c * 10000; }}");
    let both = object(&folder, "both.c", &both);
    assert!(refused(&both).is_none(), "both are replaced");
    patch(program.pid(), &both, &options).expect("the patch");
    assert_eq!(program.ask("").split(' ').next(), Some("32001"));
}

#[test]
fn operations_may_follow_one_another_at_once() {
    let folder = Folder::new();
    let program = started(&folder);
    let patch_of = object(&folder, "leaf.c", "int leaf(void) { return 2; }");
    let options = Options::default();
    patch(program.pid(), &patch_of, &options).expect("the patch");
    for _ in 0..300 {
        // Takes hold of the process, and lets it go without having stopped it.
        let report = patch(program.pid(), &patch_of, &options).expect("nothing traces the process any more");
        assert_eq!(report.plan.already_applied.as_deref(), Some("leaf.c"));
    }
}
