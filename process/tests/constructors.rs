//! Constructors of patches: run once, by the program itself, and only if asked for.

#![allow(missing_docs, reason = "tests have names")]

mod support;

use restub_process::{Error, Options, Which, patch, plan, revert};
use support::{Folder, Program};

const PROGRAM: &str = r#"
    #include <atomic>
    #include <cstdio>
    #include <cstdlib>
    #include <string>
    #include <thread>
    #include <vector>
    #ifdef __clang__
    #define NEVER_INLINE __attribute__((noinline, used))
    #else
    #define NEVER_INLINE __attribute__((noipa, used))
    #endif
    std::string kept = std::string("kept by the program, in memory of its own");
    std::atomic<int> constructed;
    NEVER_INLINE double scale(double a, float b, int c, int d, int e, int f, int g, int h, int on_the_stack) {
        return a + b + c + d + e + f + g + h + on_the_stack;
    }
    NEVER_INLINE int count(int n) { return n + int(kept.size()); }
    int main() {
        char line[16];
        while (fgets(line, sizeof line, stdin)) {
            int threads = atoi(line);
            std::atomic<int> wrong{0};
            volatile double half = 0.5;
            double first = scale(half, 0.25f, 1, 2, 3, 4, 5, 6, 7);
            std::vector<std::thread> all;
            for (int i = 0; i < threads; i++)
                all.emplace_back([&] { for (int n = 0; n < 100; n++) if (scale(half, 0.25f, 1, 2, 3, 4, 5, 6, 7) != first) wrong++; });
            for (auto &thread : all) thread.join();
            printf("%.2f %d %d %d\n", first, count(1), constructed.load(), wrong.load());
            fflush(stdout);
        }
        return 0;
    }
"#;
/// The constructors allocate, throw, and call what the patch replaces.
const PATCH: &str = r#"
    #include <atomic>
    #include <stdexcept>
    #include <string>
    #include <vector>
    #ifdef __clang__
    #define NEVER_INLINE __attribute__((noinline, used))
    #else
    #define NEVER_INLINE __attribute__((noipa, used))
    #endif
    std::string kept = std::string("kept by the program, in memory of its own");
    extern std::atomic<int> constructed;
    double scale(double a, float b, int c, int d, int e, int f, int g, int h, int on_the_stack);
    int count(int n);
    #ifdef OWN
    struct Table {
        std::vector<std::string> names;
        Table() {
            for (int n = 0; n < 100; n++) names.push_back("a long name of number " + std::to_string(n));
            try { throw std::runtime_error("thrown"); } catch (const std::exception &) { constructed++; }
            if (scale(0, 0, 0, 0, 0, 0, 0, 0, 0) != 1000) constructed = -100;
            // Others are to come meanwhile.
            for (volatile int n = 0; n < 3000000; n++) {}
        }
    };
    #endif
"#;
const FUNCTIONS: &str = r#"
    NEVER_INLINE double scale(double a, float b, int c, int d, int e, int f, int g, int h, int on_the_stack) {
        return a + b + c + d + e + f + g + h + on_the_stack + 1000;
    }
    #ifdef OWN
    static Table table;
    NEVER_INLINE int count(int n) { return n + int(kept.size()) + int(table.names[42].size()) * 1000; }
    #else
    NEVER_INLINE int count(int n) { return n + int(kept.size()) + 1; }
    #endif
"#;

fn constructs(compiler: &str, link: &[&str]) {
    let folder = Folder::new();
    let flags = [&["-O2", "-pthread"], link].concat();
    let program = folder.compile(compiler, "prog.cc", PROGRAM, "program", &flags);
    let mut program = Program::start(&program, &[]);
    let pid = program.pid();
    std::fs::create_dir(folder.path("patch")).expect("a folder");
    let object = |name: &str, source: &str, flags: &[&str]| {
        folder.object(compiler, name, source, &[&["-O2", "-fPIE"], flags].concat())
    };
    let options = Options::default();
    let asked = Options {
        constructors: true,
        ..Options::default()
    };
    assert_eq!(program.ask("2"), "28.75 42 0 0");

    // What the process has is not initialized anew, so nothing has to run.
    let none = object("patch/prog.cc", &format!("{PATCH}{FUNCTIONS}"), &[]);
    let report = patch(pid, &none, &options).expect("nothing has to run");
    let note = "not initialized anew, since the process has it: _Z4kept";
    assert!(
        report.plan.notes.iter().any(|said| said.starts_with(note)),
        "{:?}",
        report.plan.notes
    );
    assert_eq!(program.ask("2"), "1028.75 43 0 0");
    revert(pid, &Which::All, &options).expect("it is reverted");

    // Both in one file, whose constructor would do both.
    let both = object("patch/prog.cc", &format!("{PATCH}{FUNCTIONS}"), &["-DOWN"]);
    let error = plan(pid, &both, &asked)
        .expect_err("one constructor for both")
        .to_string();
    assert!(
        error.contains("it would initialize both _Z4kept") && error.contains("[constructor]"),
        "{error}"
    );

    let elsewhere = PATCH.replace(
        "std::string kept = std::string(\"kept by the program, in memory of its own\");",
        "extern std::string kept;",
    );
    let own = object("patch/prog.cc", &format!("{elsewhere}{FUNCTIONS}"), &["-DOWN"]);
    let error = patch(pid, &own, &options).expect_err("nobody asked for it").to_string();
    assert!(
        error.contains("with --constructors") && error.contains("[constructor]"),
        "{error}"
    );
    assert_eq!(program.ask("2"), "28.75 42 0 0");
    // Twice: it is constructed anew, and what the first one has handed out stays.
    for time in 1..=2 {
        let report = patch(pid, &own, &asked).expect("it is asked for");
        assert!(
            report
                .plan
                .notes
                .iter()
                .any(|said| said.contains("runs constructors: _GLOBAL__sub_I_"))
        );
        assert_eq!(program.ask("8"), format!("1028.75 24042 {time} 0"));
        assert_eq!(program.ask("8"), format!("1028.75 24042 {time} 0"));
        revert(pid, &Which::All, &options).expect("it is reverted");
        assert_eq!(program.ask("2"), format!("28.75 42 {time} 0"));
    }
    // What they registered to be destroyed is destroyed when the program ends.
    program.end();
}

#[test]
fn gcc() {
    constructs("g++", &[]);
}

#[test]
fn gcc_static() {
    constructs("g++", &["-static"]);
}

#[test]
fn clang() {
    constructs("clang++-19", &["-fPIE", "-pie"]);
}

#[test]
fn what_is_not_constructed_cannot_be_used_by_another_patch() {
    let folder = Folder::new();
    let source = r#"
        #include <stdio.h>
        __attribute__((noipa)) int rare(int n) { return n * 1000 / (n + 498); }
        __attribute__((noipa)) int often(int n) { return n * 1000 / (n + 498); }
        int main(void) {
            char line[8];
            while (fgets(line, sizeof line, stdin)) { printf("%d\n", line[0] == 'r' ? rare(1) : often(2)); fflush(stdout); }
        }
    "#;
    let mut program = Program::start(&folder.compile("gcc", "prog.c", source, "prog", &["-O2"]), &[]);
    let pid = program.pid();
    let asked = Options {
        constructors: true,
        ..Options::default()
    };
    let first = r#"
        int set;
        __attribute__((constructor(200))) static void second(void) { set = set * 10 + 2; }
        __attribute__((constructor(101))) static void first(void) { set = set * 10 + 1; }
        int rare(int n) { return set; }
    "#;
    patch(pid, &folder.object("gcc", "first.c", first, &["-O2", "-fPIE"]), &asked).expect("the first patch");
    let second = folder.object(
        "gcc",
        "second.c",
        "extern int set; int often(int n) { return set + 1; }",
        &["-O2", "-fPIE"],
    );
    let error = patch(pid, &second, &asked).expect_err("it is not set");
    assert!(
        matches!(&error, Error::Refused(_)) && error.to_string().contains("have not run"),
        "{error}"
    );
    assert_eq!(program.ask("o"), "4");
    assert_eq!(program.ask("r"), "12");
    patch(pid, &second, &asked).expect("it is set");
    assert_eq!(program.ask("o"), "13");
}
