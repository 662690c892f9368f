//! The layout guard: what both sides mean by their types, by the debug information of both.

#![allow(missing_docs, reason = "tests have names")]

mod support;

use restub_loader::Input;
use restub_process::{Error, Options, patch, plan};
use support::{Folder, Program};

/// Two files with a structure of the same name each, that are not the same.
const OTHER: &str = r#"
    struct local { char letters[3]; };
    static struct local mine = {"ab"};
    struct hidden { int secret; };
    struct hidden hidden_one = {5};
    __attribute__((noipa)) int other(int n) { return mine.letters[n & 1] + hidden_one.secret; }
"#;
const PROGRAM: &str = r#"
    #include <stdio.h>
    #include <string.h>
    enum color { RED, GREEN, BLUE };
    struct node { struct node *next; int value; enum color color; };
    union word { int number; char letters[4]; };
    typedef struct { unsigned low : 3; unsigned high : 5; union word word; struct { int x, y; }; } flags;
    struct local { long number; };
    struct hidden;
    struct conn { int fd; long len; struct node *nodes; flags flags; int (*handler)(struct node *); struct hidden *hidden; };
    struct conn conns[2];
    struct local mine_too = {1};
    typedef struct conn connection;
    int level = 3;
    __thread short per_thread = 4;
    static struct node first = {0, 7, GREEN};
    int other(int n);
    __attribute__((noipa)) int send_it(connection *c, int n) { return c->fd + n + first.value; }
    static __attribute__((noipa, noinline)) int inner(int n) { return n + level; }
    __attribute__((noipa)) int handle(struct conn *c, unsigned char n) { return inner(send_it(c, n)) + mine_too.number + per_thread; }
    int (*by_pointer)(struct conn *, unsigned char) = handle;
    int main(void) {
        char line[8];
        while (fgets(line, sizeof line, stdin)) { printf("%d %d\n", by_pointer(conns, 1), other(0)); fflush(stdout); }
        return 0;
    }
"#;
/// Everything as in the program, to be changed by the cases.
const SAME: &str = r#"
    enum color { RED, GREEN, BLUE };
    struct node { struct node *next; int value; enum color color; };
    union word { int number; char letters[4]; };
    typedef struct { unsigned low : 3; unsigned high : 5; union word word; struct { int x, y; }; } flags;
    struct local { long number; };
    struct hidden;
    struct conn { int fd; long len; struct node *nodes; flags flags; int (*handler)(struct node *); struct hidden *hidden; };
    extern struct conn conns[2];
    extern struct local mine_too;
    typedef struct conn connection;
    int level = 3;
    extern __thread short per_thread;
    static struct node first = {0, 7, GREEN};
    int send_it(connection *c, int n);
    static __attribute__((noipa, noinline)) int inner(int n) { return n + level; }
    int handle(struct conn *c, unsigned char n) { return inner(send_it(c, n)) + conns[0].fd + mine_too.number + per_thread + first.value * 100; }
"#;

fn program(folder: &Folder, compiler: &str, flags: &[&str]) -> Program {
    changed_program(folder, compiler, flags, |_| {})
}

/// The program, whose file something is done to before it runs.
fn changed_program(folder: &Folder, compiler: &str, flags: &[&str], change: impl Fn(&Folder)) -> Program {
    folder.compile(compiler, "other.c", OTHER, "other.o", &[&["-O2", "-c"], flags].concat());
    let path = folder.compile(
        compiler,
        "prog.c",
        PROGRAM,
        "prog",
        &[&["-O2", "other.o"], flags].concat(),
    );
    change(folder);
    let mut program = Program::start(&path, &[]);
    assert_eq!(program.ask(""), "16 102");
    program
}

fn object(folder: &Folder, compiler: &str, flags: &[&str], source: &str) -> Vec<Input<'static>> {
    std::fs::create_dir_all(folder.path("patch")).expect("a folder");
    folder.object(
        compiler,
        "patch/prog.c",
        source,
        &[&["-O2", "-fPIE", "-ftls-model=initial-exec"], flags].concat(),
    )
}

fn changed(from: &str, to: &str) -> String {
    assert!(SAME.contains(from), "{from}");
    SAME.replace(from, to)
}

/// What is changed, the refusal's code, and what it says.
type Case = (&'static str, &'static str, &'static str, &'static str);

const CASES: &[Case] = &[
    (
        "int fd; long len;",
        "int fd; long before; long len;",
        "layout",
        "struct conn: size 56 in the target, 64 in the patch; member 'len' at 8, then 16",
    ),
    (
        "int value; enum",
        "long value; enum",
        "layout",
        "struct node: size 16 in the target, 24 in the patch; member 'value' is int, then long",
    ),
    (
        "int fd; long len;",
        "float fd; long len;",
        "layout",
        "struct conn: member 'fd' is int, then float",
    ),
    (
        "low : 3; unsigned high : 5",
        "low : 4; unsigned high : 4",
        "layout",
        "flags: member 'low' has 3 bits, then 4; member 'high' at bit 3, then bit 4",
    ),
    (
        "int number; char",
        "float number; char",
        "layout",
        "union word: member 'number' is int, then float",
    ),
    (
        "struct { int x, y; }",
        "struct { int y, x; }",
        "layout",
        "member 'x' at 0, then 4",
    ),
    (
        "int (*handler)(struct node *)",
        "int (*handler)(struct node *, int)",
        "layout",
        "member 'handler' is int (struct node *) *, then int (struct node *, int) *",
    ),
    (
        "RED, GREEN, BLUE",
        "RED, NEW, GREEN, BLUE",
        "enum",
        "enum color: GREEN is 1, then 2",
    ),
    (
        "struct hidden;",
        "struct hidden { long secret; };",
        "layout",
        "struct hidden: size 4 in the target, 8 in the patch; member 'secret' is int, then long",
    ),
    (
        "struct local { long number; }",
        "struct local { unsigned number, more; }",
        "layout",
        "struct local: member",
    ),
    (
        "int level = 3;",
        "unsigned level = 3;",
        "variable-type",
        "level: it is int in the target and unsigned int in the patch",
    ),
    (
        "__thread short per_thread",
        "__thread unsigned short per_thread",
        "variable-type",
        "unsigned short",
    ),
    (
        "conn *c, unsigned char n) {",
        "conn *c, unsigned char n, int more) { n += more;",
        "signature",
        "handle: it has 2 parameters in the target and 3 in the patch; used by by_pointer [signature]",
    ),
    (
        "int handle(",
        "long handle(",
        "signature",
        "handle: it returns int in the target and long",
    ),
    (
        "int send_it(connection *c, int n)",
        "int send_it(connection *c, double n)",
        "signature",
        "send_it: the patch calls it, and parameter 'n' is int in the target and double in the patch",
    ),
];

fn guard(compiler: &str, flags: &[&str], patch_compiler: &str, patch_flags: &[&str]) {
    guard_changed(compiler, flags, patch_compiler, patch_flags, |_| {});
}

fn guard_changed(compiler: &str, flags: &[&str], patch_compiler: &str, patch_flags: &[&str], change: impl Fn(&Folder)) {
    let folder = Folder::new();
    let mut program = changed_program(&folder, compiler, flags, change);
    let options = Options::default();
    // clang says nothing of variables that are defined elsewhere, so the plan says that they are not compared.
    let silent = patch_compiler.starts_with("clang");
    for (from, to, code, text) in CASES {
        let declares = ["struct local: member", "unsigned short"].contains(text);
        if declares && silent {
            continue;
        }
        // Compilers call it differently: `long` and `long int`.
        let objects = object(&folder, patch_compiler, patch_flags, &changed(from, to));
        let error = plan(program.pid(), &objects, &options).expect_err(text).to_string();
        let plain = error
            .replace("long int", "long")
            .replace("short unsigned int", "unsigned short");
        assert!(
            plain.contains(text) && plain.contains(&format!("[{code}]")),
            "{text}\n{error}"
        );
        assert_eq!(plain.lines().count(), 1, "{text}\n{error}");
    }
    all_at_once(&folder, &program, patch_compiler, patch_flags);
    what_may_differ(&folder, &mut program, patch_compiler, patch_flags);
}

fn all_at_once(folder: &Folder, program: &Program, patch_compiler: &str, patch_flags: &[&str]) {
    let options = Options::default();
    // All at once, in the order in which they are met.
    let everything = changed("RED, GREEN", "RED, NEW, GREEN").replace("int level", "unsigned level");
    let objects = object(
        folder,
        patch_compiler,
        patch_flags,
        &everything.replace("int fd;", "long fd;"),
    );
    let error = plan(program.pid(), &objects, &options).expect_err("three reasons");
    let Error::Refused(refusals) = &error else {
        panic!("{error}")
    };
    let mut codes: Vec<&str> = refusals.iter().map(|refusal| refusal.code).collect();
    codes.sort_unstable();
    assert_eq!(codes, ["enum", "layout", "variable-type"], "{error}");
    let allow = ["layout", "enum", "variable-type"].map(str::to_owned).to_vec();
    let report = plan(
        program.pid(),
        &objects,
        &Options {
            allow,
            ..Options::default()
        },
    )
    .expect("all are allowed");
    assert_eq!(
        report.notes.iter().filter(|note| note.starts_with("allowed: ")).count(),
        3,
        "{:?}",
        report.notes
    );
}

fn what_may_differ(folder: &Folder, program: &mut Program, patch_compiler: &str, patch_flags: &[&str]) {
    let options = Options::default();
    let silent = patch_compiler.starts_with("clang");
    // A callee whose every caller is replaced with it may change.
    let callee = changed("inner(int n) { return n", "inner(int n, int more) { return n + more")
        .replace("inner(send_it(c, n))", "inner(send_it(c, n), 1000)");
    let report = plan(
        program.pid(),
        &object(folder, patch_compiler, patch_flags, &callee),
        &options,
    )
    .expect("nobody else calls it");
    assert!(
        report
            .notes
            .iter()
            .any(|note| note.starts_with("inner: it has 1 parameters in the target and 2")),
        "{:?}",
        report.notes
    );
    // The same on both sides; types of the patch alone, and renamed members, are nobody's business.
    let same = changed(
        "struct hidden;",
        "struct hidden; struct own { int a, b; }; static struct own own = {1, 2};",
    )
    .replace("+ first", "+ own.b + first")
    .replace("int fd; long len", "int handle; long len")
    .replace("conns[0].fd", "conns[0].handle");
    let objects = object(folder, patch_compiler, patch_flags, &same);
    let report = patch(program.pid(), &objects, &options).expect("it is the same");
    let said = report.plan.notes.iter().filter(|note| note.contains("types:"));
    let expected = ["types: not compared: no debug information about conns, mine_too, per_thread"];
    assert_eq!(
        said.collect::<Vec<_>>(),
        expected[..usize::from(silent)],
        "{:?}",
        report.plan.notes
    );
    assert_eq!(program.ask(""), "718 102");
}

#[test]
fn gcc_with_gcc() {
    guard("gcc", &["-g"], "gcc", &["-g"]);
}

#[test]
fn clang_with_clang() {
    guard("clang-19", &["-g", "-fPIE", "-pie"], "clang-19", &["-g"]);
}

#[test]
fn gcc_dwarf_4_with_clang_dwarf_5() {
    guard(
        "gcc",
        &["-gdwarf-4", "-fdebug-types-section"],
        "clang-19",
        &["-gdwarf-5"],
    );
}

#[test]
fn clang_dwarf_5_with_gcc_dwarf_4_in_type_units() {
    guard(
        "clang-19",
        &["-gdwarf-5", "-fdebug-types-section", "-fPIE", "-pie"],
        "gcc",
        &["-gdwarf-4", "-fdebug-types-section", "-gz"],
    );
}

/// Has dwz take out what the program and another one have in common.
fn deduplicated(folder: &Folder, flags: &[&str]) {
    let copy = PROGRAM.replace("\"%d %d\\n\"", "\"%d %d.\\n\"");
    let debug = if flags.is_empty() { "-gdwarf-4" } else { "-gdwarf-5" };
    folder.compile("gcc", "copy.c", &copy, "copy", &["-O2", debug, "other.o"]);
    folder.tool("dwz", &[flags, &["-m", "common.debug", "prog", "copy"]].concat());
    assert!(folder.path("common.debug").exists());
}

#[test]
fn gcc_with_a_supplementary_file_of_dwz() {
    guard_changed("gcc", &["-gdwarf-4"], "gcc", &["-g"], |folder| {
        deduplicated(folder, &[])
    });
}

#[test]
fn gcc_with_a_supplementary_file_of_dwarf_5() {
    guard_changed("gcc", &["-gdwarf-5"], "gcc", &["-g"], |folder| {
        deduplicated(folder, &["-5"])
    });
}

#[test]
fn gcc_with_split_debug_information_on_both_sides() {
    guard("gcc", &["-g", "-gsplit-dwarf"], "gcc", &["-g", "-gsplit-dwarf"]);
}

#[test]
fn gcc_with_split_debug_information_of_dwarf_4() {
    let split = ["-gdwarf-4", "-gsplit-dwarf", "-fdebug-types-section"];
    guard("gcc", &split, "clang-19", &["-g", "-gsplit-dwarf"]);
}

#[test]
fn clang_with_a_package_of_split_debug_information() {
    let split = ["-gdwarf-5", "-gsplit-dwarf", "-fPIE", "-pie"];
    guard_changed(
        "clang-19",
        &split,
        "clang-19",
        &["-gsplit-dwarf=single", "-g"],
        |folder| {
            folder.tool("llvm-dwp-19", &["-e", "prog", "-o", "prog.dwp"]);
            folder.tool("sh", &["-c", "rm *.dwo"]);
        },
    );
}

#[test]
fn parts_that_are_not_to_be_found_are_named() {
    let options = Options::default();
    let split = ["-g", "-gsplit-dwarf"];
    let cases: [(&[&str], &str, &[&str]); 3] = [
        (&["-gdwarf-4"], "common.debug", &["-g"]),
        (&split, "prog-prog.dwo", &["-g"]),
        (&["-g"], "fd.dwo", &split),
    ];
    for (flags, part, patch_flags) in cases {
        let folder = Folder::new();
        let target = changed_program(&folder, "gcc", flags, |folder| {
            if part == "common.debug" {
                deduplicated(folder, &[]);
            }
        });
        std::fs::create_dir(folder.path("patch")).expect("a folder");
        let wrong = changed("int fd;", "long fd;");
        let flags = [&["-O2", "-c"], patch_flags].concat();
        folder.compile("gcc", "patch/prog.c", &wrong, "patch/fd.o", &flags);
        let patch = [Input::open(folder.path("patch/fd.o")).expect("an object")];
        plan(target.pid(), &patch, &options).expect_err("it is known");
        let place = if part == "fd.dwo" { "patch/fd.dwo" } else { part };
        std::fs::remove_file(folder.path(place)).expect("the part");
        let report = plan(target.pid(), &patch, &options).expect("nobody knows better");
        let named = |note: &String| note.contains("files that are not to be found: ") && note.ends_with(part);
        assert!(report.notes.iter().any(named), "{:?}", report.notes);
    }
}

const CLASSES: &str = r#"
    #include <cstdio>
    #include <string>
    #include <vector>
    namespace net {
        struct Base { int id; virtual ~Base() {} virtual int first() { return 1; } virtual int second() { return 2; } };
        struct Tag { short mark; };
        template <class T> struct Box { T value; static int made; };
        template <class T> int Box<T>::made = 0;
        class Session : public Base, public Tag {
        public:
            Session(const char *name) : name(name) {}
            int second() override { return 20; }
            int handle(int n);
            std::string name;
            std::vector<Box<int>> boxes;
            enum class State : unsigned char { Idle, Busy } state = State::Idle;
            int Base::*pointer = &Base::id;
        };
    }
    namespace { struct Own { int number; } own = {1}; }
    __attribute__((noinline)) int net::Session::handle(int n) { own.number |= 1; return n + int(name.size()) + int(boxes.size()) + own.number; }
    net::Session session("abc");
    __attribute__((noinline)) int ask(net::Session &s, int n) { Own o = {n}; return s.handle(o.number); }
    int main() {
        char line[8];
        while (fgets(line, sizeof line, stdin)) { printf("%d %d\n", ask(session, 1), static_cast<net::Base &>(session).second()); fflush(stdout); }
    }
"#;

const CLASS_CASES: &[Case] = &[
    (
        "int id; virtual",
        "int id, more; virtual",
        "layout",
        "struct Base: member 'more' at 12 is added",
    ),
    ("short mark;", "short mark[4];", "layout", "member 'mark' is short"),
    (
        "public Base, public Tag",
        "public Base",
        "layout",
        "base struct Tag at 12 is gone",
    ),
    (
        "virtual int first() { return 1; } virtual int second() { return 2; }",
        "virtual int second() { return 2; } virtual int first() { return 1; }",
        "vtable",
        "its table of virtual functions: _ZN3net4Base5firstEv at 2, then 3; _ZN3net4Base6secondEv at 3, then 2",
    ),
    (
        "T value;",
        "T value, next;",
        "layout",
        "struct Box<int>: size 4 in the target, 8 in the patch",
    ),
    (
        "Idle, Busy",
        "Busy, Idle",
        "enum",
        "enum State: Idle is 0, then 1; Busy is 1, then 0",
    ),
    (
        "struct Own { int number; }",
        "struct Own { long number; }",
        "variable-size",
        "it has 4 bytes in the process and 8 in the patch",
    ),
];

#[test]
fn classes_bases_and_virtual_tables() {
    for (compiler, patch_compiler) in [("g++", "g++"), ("clang++-19", "clang++-19"), ("g++", "clang++-19")] {
        let folder = Folder::new();
        let flags = ["-O2", "-g", "-fPIE", "-pie"];
        let path = folder.compile(compiler, "prog.cc", CLASSES, "prog", &flags);
        let mut program = Program::start(&path, &[]);
        assert_eq!(program.ask(""), "5 20");
        std::fs::create_dir_all(folder.path("patch")).expect("a folder");
        let patch_of = |changes: &[(&str, &str)], standalone: &[&str]| {
            let source = changes.iter().fold(CLASSES.to_owned(), |source, (from, to)| {
                assert!(source.contains(from), "{from}");
                source.replace(from, to)
            });
            let source = source
                .split("    int main()")
                .next()
                .expect("the program has one")
                .to_owned();
            // The program's own object, not constructed anew.
            let source = source.replace("net::Session session(\"abc\");", "extern net::Session session;");
            let source = source.replace("return s.handle(o.number)", "return s.handle(o.number) + 100");
            folder.object(
                patch_compiler,
                "patch/prog.cc",
                &source,
                &[&["-O2", "-g", "-fPIE"], standalone].concat(),
            )
        };
        let allow = Options {
            allow: vec!["inlined".into()],
            ..Options::default()
        };
        let is_clang = patch_compiler.starts_with("clang");
        let clang: &[&str] = if is_clang { &["-fstandalone-debug"] } else { &[] };
        if is_clang {
            // It says of classes only where they are constructed.
            let objects = patch_of(&[("int id; virtual", "int id, more; virtual")], &[]);
            let report = plan(program.pid(), &objects, &allow).expect("nobody knows better");
            let note = "types: not compared: the patch's debug information only names class Session; compile with \
                        -fstandalone-debug";
            assert!(report.notes.iter().any(|said| said == note), "{:?}", report.notes);
        }
        // clang takes variables to pieces, which have other names then.
        let same = compiler == patch_compiler;
        let cases = CLASS_CASES.iter().filter(|case| same || case.2 != "variable-size");
        for (from, to, code, text) in cases {
            let objects = patch_of(&[(from, to)], clang);
            let Err(error) = plan(program.pid(), &objects, &allow) else {
                panic!("{compiler} {patch_compiler}: {text}")
            };
            let Error::Refused(refusals) = &error else {
                panic!("{error}")
            };
            let plain = error.to_string().replace("short int", "short");
            let codes: Vec<&str> = refusals.iter().map(|refusal| refusal.code).collect();
            assert!(
                codes.contains(code) && plain.contains(text),
                "{compiler} {patch_compiler}: {text}\n{error}"
            );
        }
        patch(program.pid(), &patch_of(&[], clang), &allow).expect("it is the same");
        assert_eq!(program.ask(""), "105 20");
    }
}

#[test]
fn what_has_no_debug_information_is_said_not_to_be_compared() {
    let folder = Folder::new();
    let mut target = program(&folder, "gcc", &["-g"]);
    let options = Options::default();
    let wrong = changed("int fd;", "long fd;");
    let report = plan(target.pid(), &object(&folder, "gcc", &[], &wrong), &options).expect("nobody knows better");
    let said = |notes: &[String], text: &str| assert!(notes.iter().any(|note| note.contains(text)), "{notes:?}");
    said(&report.notes, "types: not compared: no debug information in ");
    drop(target);
    // The program's is in a separate file, and its symbols are not.
    folder.tool("objcopy", &["--only-keep-debug", "prog", "prog.debug"]);
    folder.tool("objcopy", &["--strip-debug", "--add-gnu-debuglink=prog.debug", "prog"]);
    target = Program::start(&folder.path("prog"), &[]);
    let objects = object(&folder, "gcc", &["-g"], &wrong);
    let error = plan(target.pid(), &objects, &options)
        .expect_err("the file is found")
        .to_string();
    assert!(error.contains("member 'fd' is int, then long"), "{error}");
    std::fs::remove_file(folder.path("prog.debug")).expect("the file can go");
    let report = plan(target.pid(), &objects, &options).expect("nobody knows better");
    said(&report.notes, "types: not compared: no debug information for prog");
}
