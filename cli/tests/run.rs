//! `restub run`: ends as the program does, and says what is wrong.

#![allow(missing_docs, reason = "tests have names")]

mod support;

use std::os::unix::process::ExitStatusExt as _;

use support::{Folder, texts};

/// What a program can end by, chosen by its argument.
const ENDINGS: &str = r#"
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void at_exit(void) { printf("atexit,"); }
static void handler(int number) { printf("handled %d\n", number); fflush(stdout); _exit(9); }
static int *volatile nowhere;
static volatile int zero;

__attribute__((noipa)) void write_null(void) { *nowhere = 1; }
__attribute__((noipa)) int recurse(volatile char *from) { volatile char frame[256]; frame[0] = *from; return recurse(frame) + frame[1]; }
__attribute__((noipa)) int divide(int a, int b) { return a / b; }
static void *thread(void *argument) { write_null(); return argument; }
__attribute__((constructor)) static void early(int argc, char **argv) {
    if (argc > 1 && !strcmp(argv[1], "early")) write_null();
    if (argc > 1 && !strcmp(argv[1], "early-handler")) signal(SIGSEGV, handler);
}

int main(int argc, char **argv) {
    const char *how = argc > 1 ? argv[1] : "";
    char byte = 0;
    if (!strcmp(how, "return")) { atexit(at_exit); printf("no line break"); return 300; }
    if (!strcmp(how, "exit")) { atexit(at_exit); printf("no line break"); exit(7); }
    if (!strcmp(how, "_exit")) { atexit(at_exit); printf("lost"); _exit(8); }
    if (!strcmp(how, "pthread_exit")) { printf("bye"); pthread_exit(0); }
    if (!strcmp(how, "arguments")) { for (int i = 1; i < argc; i++) printf("[%s]", argv[i]); return argv[argc] != 0; }
    if (!strcmp(how, "stdin")) { int c; while ((c = getchar()) != EOF) putchar(c + 1); return 0; }
    if (!strcmp(how, "null") || !strcmp(how, "early-handler")) write_null();
    if (!strcmp(how, "handler")) { signal(SIGSEGV, handler); write_null(); }
    if (!strcmp(how, "stack")) return recurse(&byte);
    if (!strcmp(how, "divide")) return divide(argc, zero);
    if (!strcmp(how, "trap")) __builtin_trap();
    if (!strcmp(how, "strlen")) return (int)strlen((char *)nowhere);
    if (!strcmp(how, "abort")) abort();
    if (!strcmp(how, "raise")) raise(SIGSEGV);
    if (!strcmp(how, "term")) raise(SIGTERM);
    if (!strcmp(how, "pipe")) { close(1); int ends[2]; pipe(ends); close(ends[0]); write(ends[1], "", 1); return 5; }
    if (!strcmp(how, "thread")) { pthread_t id; pthread_create(&id, 0, thread, 0); pthread_join(id, 0); }
    return 1;
}
"#;

fn endings(folder: &Folder) -> String {
    folder.compile("endings.c", ENDINGS, &["-O1", "-w"])
}

#[test]
fn ends_as_the_linked_program_does() {
    let folder = Folder::new();
    let object = endings(&folder);
    folder.tool("gcc", &[&object, "-o", "endings"]);
    let linked = folder.file("endings").display().to_string();
    let cases: [&[&str]; 10] = [
        &["return"],
        &["exit"],
        &["_exit"],
        &["pthread_exit"],
        &["arguments", "one", "", "--entry", "-l", "two words"],
        &["stdin"],
        &["handler"],
        &["early-handler"],
        &["term"],
        &["pipe"],
    ];
    for case in cases {
        let theirs = folder.output(&linked, case);
        let ours = folder.restub(&[&["run", &object, "--"], case].concat());
        assert_eq!(texts(&ours), texts(&theirs), "{case:?}");
        assert_eq!(ours.status, theirs.status, "{case:?}");
    }
}

#[test]
fn a_crash_is_named_and_ends_by_its_signal() {
    let folder = Folder::new();
    let object = endings(&folder);
    let cases = [
        ("null", libc::SIGSEGV, "SIGSEGV", " in write_null+0x", ", address 0x0\n"),
        (
            "stack",
            libc::SIGSEGV,
            "SIGSEGV",
            " in recurse+0x",
            " (stack overflow)\n",
        ),
        ("divide", libc::SIGFPE, "SIGFPE", " in divide+0x", " (endings.o)\n"),
        ("trap", libc::SIGILL, "SIGILL", " in main+0x", " (endings.o)\n"),
        (
            "strlen",
            libc::SIGSEGV,
            "SIGSEGV",
            " outside of the loaded code, called from main+0x",
            ", address 0x0\n",
        ),
        (
            "abort",
            libc::SIGABRT,
            "SIGABRT",
            " outside of the loaded code, called from main+0x",
            " (endings.o)\n",
        ),
        (
            "raise",
            libc::SIGSEGV,
            "SIGSEGV",
            " outside of the loaded code, called from main+0x",
            " (endings.o)\n",
        ),
        (
            "early",
            libc::SIGSEGV,
            "SIGSEGV",
            " in write_null+0x",
            ", address 0x0\n",
        ),
        (
            "thread",
            libc::SIGSEGV,
            "SIGSEGV",
            " in write_null+0x",
            ", address 0x0\n",
        ),
    ];
    for (how, signal, name, place, end) in cases {
        let output = folder.restub(&["run", &object, "--", how]);
        let (stdout, stderr) = texts(&output);
        assert_eq!(stdout, "", "{how}");
        assert_eq!(output.status.signal(), Some(signal), "{how}: {stderr}");
        assert_eq!(stderr.lines().count(), 1, "{how}: {stderr}");
        assert!(stderr.starts_with(&format!("restub: {name} at 0x")), "{how}: {stderr}");
        assert!(
            stderr.contains(place) && stderr.contains(" (endings.o)") && stderr.ends_with(end),
            "{how}: {stderr}"
        );
    }
}

#[test]
fn an_exception_that_main_lets_out_terminates() {
    let folder = Folder::new();
    let source = r#"
        #include <stdexcept>
        #include <cstdio>
        struct Guard { ~Guard() { puts("unwound"); fflush(stdout); } };
        int main() { Guard guard; throw std::runtime_error("nobody catches"); }
    "#;
    let object = folder.compile("throws.cc", source, &[]);
    let output = folder.restub(&["run", &object]);
    let (stdout, stderr) = texts(&output);
    assert_eq!(output.status.signal(), Some(libc::SIGABRT));
    assert_eq!(stdout, "", "terminate does not unwind");
    assert!(
        stderr.starts_with("terminate called after throwing an instance of 'std::runtime_error'"),
        "{stderr}"
    );
    assert!(stderr.contains("restub: SIGABRT at 0x"), "{stderr}");
    let source = "
        #include <stdexcept>
        struct Early { Early() { throw std::runtime_error(\"too early\"); } } early;
        int main() { return 0; }
    ";
    let object = folder.compile("early.cc", source, &[]);
    let output = folder.restub(&["run", &object]);
    let (_, stderr) = texts(&output);
    assert_eq!(output.status.signal(), Some(libc::SIGABRT));
    assert!(
        stderr.starts_with("terminate called after throwing an instance of 'std::runtime_error'"),
        "{stderr}"
    );
    assert!(stderr.contains(", called from _ZN5EarlyC"), "{stderr}");
}

#[test]
fn the_entry_comes_from_an_archive_too() {
    let folder = Folder::new();
    folder.compile("main.c", "int answer(void); int main(void) { return answer(); }", &[]);
    folder.compile("answer.c", "int answer(void) { return 42; }", &[]);
    folder.compile(
        "unused.c",
        "extern int nowhere(void); int unused(void) { return nowhere(); }",
        &[],
    );
    folder.tool("ar", &["rcs", "liball.a", "main.o", "answer.o", "unused.o"]);
    assert_eq!(folder.restub(&["run", "liball.a"]).status.code(), Some(42));
    assert_eq!(
        folder.restub(&["run", "--entry", "answer", "liball.a"]).status.code(),
        Some(42)
    );
    assert_eq!(
        folder.restub(&["run", "main.o", "-L", ".", "-l", "all"]).status.code(),
        Some(42)
    );
}

#[test]
fn definitions_bind_symbols() {
    let folder = Folder::new();
    let object = folder.compile(
        "defined.c",
        "extern char here[]; int main(void) { return (int)(long)here; }",
        &["-mcmodel=large"],
    );
    assert_eq!(
        folder.restub(&["run", &object, "-D", "here=0x17"]).status.code(),
        Some(0x17)
    );
    assert_eq!(folder.restub(&["run", "-Dhere=23", &object]).status.code(), Some(23));
}

#[test]
fn a_missing_entry_stops_the_program_before_it_starts() {
    let folder = Folder::new();
    let source = "#include <stdio.h>\n__attribute__((constructor)) void early(void) { puts(\"constructed\"); }";
    let object = folder.compile("library.c", source, &[]);
    let error = folder.restub_error(1, &["run", &object]);
    assert_eq!(
        error,
        "restub: undefined symbol main, wanted by the command line (--entry)\n"
    );
    let error = folder.restub_error(1, &["run", "--entry", "begin", &object]);
    assert_eq!(
        error,
        "restub: undefined symbol begin, wanted by the command line (--entry)\n"
    );
    let object = folder.compile("data.c", "int main = 5;", &["-w"]);
    assert_eq!(
        folder.restub_error(1, &["run", &object]),
        "restub: main is not a function\n"
    );
}

#[test]
fn undefined_symbols_are_all_listed() {
    let folder = Folder::new();
    folder.compile(
        "one.c",
        "int first(void), second(void); int main(void) { return first() + second(); }",
        &[],
    );
    folder.compile(
        "two.c",
        "int second(void); int third; int both(void) { return second() + third; }",
        &[],
    );
    let error = folder.restub_error(1, &["run", "one.o", "two.o"]);
    assert_eq!(
        error,
        "restub: undefined symbol first, wanted by one.o\nundefined symbol second, wanted by one.o, two.o\n"
    );
}

#[test]
fn assembly_is_run_as_it_is() {
    let folder = Folder::new();
    folder.write("triple.s", ".globl triple\ntriple: leal (%rdi,%rdi,2), %eax\n ret\n");
    folder.compile("uses.c", "int triple(int); int main(void) { return triple(14); }", &[]);
    let run = folder.restub(&["run", "uses.o", "triple.s"]);
    assert_eq!(run.status.code(), Some(42), "{run:?}");
    folder.write("wrong.s", "nop\n mvo %eax, %ebx\n");
    let run = folder.restub(&["run", "wrong.s"]);
    assert_eq!(run.status.code(), Some(1));
    let error = String::from_utf8_lossy(&run.stderr).into_owned();
    assert!(
        error.starts_with("restub: wrong.s:2:2: ") && error.contains("mvo %eax, %ebx"),
        "{error}"
    );
}

#[test]
fn sources_are_compiled_with_the_users_compilers() {
    let folder = Folder::new();
    folder.write(
        "main.c",
        "#include <stdio.h>
         int cxx(int), rust(int), assembly(int), preprocessed(int);
         int main(void) { printf(\"%d %d %d %d %d\\n\", cxx(1), rust(2), assembly(3), preprocessed(4), NUMBER); return 5; }",
    );
    folder.write(
        "cxx.cpp",
        "#include <string>
         extern \"C\" int cxx(int n) { try { throw std::string(n, 'x'); } catch (std::string &s) { return s.size() * 10; } }",
    );
    folder.write(
        "rust.rs",
        "#[unsafe(no_mangle)] pub extern \"C\" fn rust(n: i32) -> i32 { format!(\"{n}0\").parse().unwrap_or(0) }",
    );
    folder.write("assembly.s", ".globl assembly\nassembly: imull $10, %edi, %eax\n ret\n");
    folder.write(
        "preprocessed.S",
        "#define TEN 10\n.globl preprocessed\npreprocessed: imull $TEN, %edi, %eax\n ret\n",
    );
    let sources = ["main.c", "cxx.cpp", "rust.rs", "assembly.s", "preprocessed.S"];
    let run = folder.restub(&[&["run", "--cflags", "-O1 '-DNUMBER=4 + 2'"], &sources[..]].concat());
    assert_eq!(texts(&run), ("10 20 30 40 6\n".into(), String::new()));
    assert_eq!(run.status.code(), Some(5));
    folder.write(
        "main.rs",
        "fn main() { println!(\"{:?}\", (0..3).collect::<Vec<_>>()); }",
    );
    let run = folder.restub(&["run", "main.rs"]);
    assert_eq!(texts(&run), ("[0, 1, 2]\n".into(), String::new()));
}

#[test]
fn a_source_that_does_not_compile_is_an_error() {
    let folder = Folder::new();
    folder.write("one.c", "int main(void) { return missing; }");
    folder.write("two.c", "int f(void) { return 1 }");
    let run = folder.restub(&["run", "one.c", "two.c"]);
    let (_, stderr) = texts(&run);
    assert_eq!(run.status.code(), Some(1));
    for part in [
        "one.c:1:",
        "two.c:1:",
        "restub: one.c: cc failed (exit status: 1)\ntwo.c: cc failed (exit status: 1)\n",
    ] {
        assert!(stderr.contains(part), "{part}: {stderr}");
    }
    assert!(
        folder
            .restub_error(1, &["run", "--cflags", "'", "one.c"])
            .starts_with("restub: --cflags: a quote is not closed")
    );
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_restub"));
    command
        .args(["run", "one.c"])
        .current_dir(folder.path())
        .env("CC", "no-such-compiler -m64");
    let (_, stderr) = texts(&command.output().expect("restub runs"));
    assert!(
        stderr.starts_with("restub: one.c: cannot run no-such-compiler: No such file"),
        "{stderr}"
    );
}

#[test]
fn asm_writes_what_gnu_as_writes() {
    let folder = Folder::new();
    folder.compile(
        "source.c",
        "#include <stdio.h>\nint n; int main(void) { return printf(\"%d\\n\", n); }",
        &[],
    );
    folder.tool("gcc", &["-O2", "-S", "source.c", "-o", "source.s"]);
    folder.tool("as", &["source.s", "-o", "theirs.o"]);
    let ours = folder.restub(&["asm", "source.s", "-o", "ours.o"]);
    assert_eq!(ours.status.code(), Some(0), "{ours:?}");
    let dump = |object: &str| {
        let output = std::process::Command::new("objdump")
            .arg("-dr")
            .arg(folder.file(object))
            .output()
            .expect("objdump");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        text.split_once("Disassembly").expect("code").1.to_owned()
    };
    assert_eq!(dump("ours.o"), dump("theirs.o"));
}

#[test]
fn fuzz_object_writes_objects_that_binary_tools_read() {
    let folder = Folder::new();
    for seed in 0..20 {
        let seed = seed.to_string();
        folder.restub_ok(&["fuzz-object", "--seed", &seed, "-o", "a.o"]);
        folder.restub_ok(&["fuzz-object", "--seed", &seed, "-o", "b.o"]);
        let (a, b) = (std::fs::read(folder.file("a.o")), std::fs::read(folder.file("b.o")));
        assert_eq!(a.expect("a.o"), b.expect("b.o"));
        let output = std::process::Command::new("readelf")
            .arg("-aW")
            .arg(folder.file("a.o"))
            .output()
            .expect("readelf");
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        // binutils 2.40 knows neither SHT_CREL nor the types for APX.
        let known = |line: &str| line.contains("unrecognized") || line.contains("0x40000014");
        assert!(errors.lines().all(known), "seed {seed}: {errors}");
        assert!(String::from_utf8_lossy(&output.stdout).contains("R_X86_64_") || seed != "0");
    }
}

#[test]
fn a_failed_assertion_names_the_program() {
    let folder = Folder::new();
    folder.compile("asserts.c", "#include <assert.h>\nint main(void) { assert(0); }", &[]);
    let run = folder.restub(&["run", "asserts.o"]);
    let error = String::from_utf8_lossy(&run.stderr).into_owned();
    assert!(error.starts_with("asserts.o: asserts.c:2: main: Assertion"), "{error}");
}

#[test]
fn files_that_are_no_objects_are_refused_with_the_remedy() {
    let folder = Folder::new();
    folder.compile("hello.c", "int main(void) { return 0; }", &[]);
    folder.write("hello.S", "#define hello main");
    folder.write("notes.txt", "nothing to run");
    folder.write("empty.o", "");
    folder.tool("gcc", &["hello.o", "-o", "program"]);
    folder.tool("gcc", &["-shared", "-fPIC", "hello.c", "-o", "libhello.so"]);
    folder.tool("gcc", &["-flto", "-c", "hello.c", "-o", "lto.o"]);
    std::fs::create_dir(folder.file("folder.o")).expect("a folder");
    let cases = [
        (
            "hello.c",
            "hello.c: is source code, not an object; compile it first: gcc -c hello.c",
        ),
        (
            "hello.S",
            "hello.S: is source code, not an object; compile it first: gcc -c hello.S",
        ),
        (
            "notes.txt",
            "notes.txt: is no ELF object; give a relocatable object (.o) or an archive (.a)",
        ),
        ("empty.o", "empty.o: is empty; compile it again"),
        (
            "program",
            "program: is a shared object or position-independent executable (ET_DYN); load a shared library",
        ),
        (
            "libhello.so",
            "libhello.so: is a shared object or position-independent executable (ET_DYN); load a shared library",
        ),
        (
            "lto.o",
            "lto.o: holds only gcc's LTO bytecode (slim LTO); compile with -fno-lto or -ffat-lto-objects",
        ),
        ("missing.o", "missing.o: cannot be read: No such file or directory"),
        ("folder.o", "folder.o: cannot be read: is a directory"),
        (
            "/dev/zero",
            "/dev/zero: is a device; give a relocatable object (.o) or an archive (.a)",
        ),
        ("/proc/self/mem", "/proc/self/mem: cannot be read: Input/output error"),
    ];
    for (file, expected) in cases {
        // Sources are compiled by `restub run`.
        let all = [&["link", "--at", "0x400000"][..], &["run"]];
        let refusing = if expected.contains("is source code") {
            &all[..1]
        } else {
            &all
        };
        for command in refusing {
            let error = folder.restub_error(1, &[*command, &[file]].concat());
            assert!(error.starts_with(&format!("restub: {expected}")), "{error}");
        }
    }
}

#[test]
fn bad_usage_is_told_from_failure() {
    let folder = Folder::new();
    let cases: [(&[&str], &str); 11] = [
        (&[], "Usage: restub <COMMAND>"),
        (&["fly"], "unrecognized subcommand 'fly'"),
        (&["run"], "<FILE>..."),
        (&["run", "--frob", "a.o"], "unexpected argument '--frob'"),
        (&["run", "-D", "name", "a.o"], "expected NAME=ADDR"),
        (&["run", "-D", "name=here", "a.o"], "here is no address"),
        (&["run", "-D", "=1", "a.o"], "expected a name before the ="),
        (&["run", "-l"], "a value is required for '-l <LIB>'"),
        (&["link", "a.o"], "--at <ADDR>"),
        (&["link", "a.o", "--at", "0xg"], "0xg is no address"),
        (&["completions", "tcsh"], "invalid value 'tcsh'"),
    ];
    for (arguments, expected) in cases {
        let error = folder.restub_error(2, arguments);
        assert!(error.contains(expected), "{arguments:?}: {error}");
        assert!(!error.contains("error:"), "{arguments:?}: {error}");
    }
}

#[test]
fn missing_libraries_are_named() {
    let folder = Folder::new();
    let object = folder.compile("hello.c", "int main(void) { return 0; }", &[]);
    let error = folder.restub_error(1, &["run", &object, "-l", "nosuchthing"]);
    assert!(error.starts_with("restub: cannot open libnosuchthing.so: "), "{error}");
}

/// What programs do with the process that they are in.
const PROCESS: &str = r#"
#include <errno.h>
#include <getopt.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static jmp_buf jump;
static sigjmp_buf recovery;
static int *volatile nowhere;
static void recover(int number) { siglongjmp(recovery, number); }
static void *thread(void *argument) { pthread_exit((void *)5); }
extern char **environ;

int main(int argc, char **argv) {
    int option, status;
    void *result;
    pthread_t id;
    while ((option = getopt(argc, argv, "ab:")) != -1) printf("option %c %s\n", option, optarg ? optarg : "");
    for (int i = optind; i < argc; i++) printf("argument %s\n", argv[i]);
    fflush(stdout);
    if (fork() == 0) { printf("child\n"); exit(3); }
    wait(&status);
    printf("child ended with %d\n", WEXITSTATUS(status));
    fflush(stdout);
    system("echo system");
    setenv("VARIABLE", "value", 1);
    printf("%s %d\n", getenv("VARIABLE"), environ != 0);
    if (!setjmp(jump)) longjmp(jump, 1); else puts("jumped");
    signal(SIGSEGV, recover);
    if (!sigsetjmp(recovery, 1)) *nowhere = 1; else puts("recovered");
    pthread_create(&id, 0, thread, 0);
    pthread_join(id, &result);
    printf("thread ended with %ld\n", (long)result);
    FILE *pipe = popen("cat", "w");
    fprintf(pipe, "piped\n");
    pclose(pipe);
    close(-1);
    fflush(stdout);
    perror("close");
    char *command[] = { "echo", "executed", 0 };
    execvp("echo", command);
    return 1;
}
"#;

#[test]
fn the_process_is_the_programs_own() {
    let folder = Folder::new();
    let object = folder.compile("process.c", PROCESS, &["-w"]);
    folder.tool("gcc", &[&object, "-o", "process"]);
    let linked = folder.file("process").display().to_string();
    let arguments = ["x", "-a", "y", "-b", "value", "--", "-z"];
    let theirs = folder.output(&linked, &arguments);
    let ours = folder.restub(&[&["run", &object, "--"], &arguments[..]].concat());
    assert_eq!(texts(&ours), texts(&theirs));
    assert_eq!(ours.status, theirs.status);
    assert!(texts(&ours).0.ends_with("executed\n"), "{ours:?}");
}
