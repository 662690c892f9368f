//! `restub patch` and `revert`, killed at every step: at each write to the target and each request to one of its threads.

#![allow(missing_docs, reason = "tests have names")]

mod support;

use std::os::unix::process::ExitStatusExt as _;
use std::process::Command;

use serde_json::Value;
use support::{Folder, Program, texts};

/// Answers each line with the versions of four functions, which a thread calls all the time, and with what is wrong:
/// with their answers there, and with gdb's list, which another thread adds to and takes from. The first of them looks
/// whether its caller is found by its unwind records.
const PROGRAM: &str = r#"
    #include <execinfo.h>
    #include <pthread.h>
    #include <stdatomic.h>
    #include <stdint.h>
    #include <stdio.h>
    #include <stdlib.h>
    #include <string.h>
    #include <unistd.h>
    #define NOIPA __attribute__((noipa))
    struct jit_code_entry { struct jit_code_entry *next, *prev; const char *file; uint64_t size; };
    struct { uint32_t version, action; struct jit_code_entry *relevant, *first; } __jit_debug_descriptor = {1, 0, 0, 0};
    NOIPA __attribute__((used)) void __jit_debug_register_code(void) {}
    static pthread_mutex_t list = PTHREAD_MUTEX_INITIALIZER;
    static struct jit_code_entry *add(void) {
        struct jit_code_entry *entry = calloc(1, sizeof *entry);
        entry->file = "\177ELF";
        pthread_mutex_lock(&list);
        entry->next = __jit_debug_descriptor.first;
        if (entry->next) entry->next->prev = entry;
        __jit_debug_descriptor.first = entry;
        pthread_mutex_unlock(&list);
        return entry;
    }
    static void take(struct jit_code_entry *entry) {
        pthread_mutex_lock(&list);
        if (entry->prev) entry->prev->next = entry->next; else __jit_debug_descriptor.first = entry->next;
        if (entry->next) entry->next->prev = entry->prev;
        pthread_mutex_unlock(&list);
        memset(entry, 0x55, sizeof *entry);
        free(entry);
    }
    static void *churner(void *unused) {
        struct jit_code_entry *entries[4] = {add()};
        for (unsigned n = 1;; n = (n + 1) % 4) {
            if (entries[n]) take(entries[n]);
            entries[n] = add();
            usleep(50);
        }
        return unused;
    }
    static int bad(void) {
        int found = 0, length = 0;
        pthread_mutex_lock(&list);
        for (struct jit_code_entry *entry = __jit_debug_descriptor.first; entry; entry = entry->next)
            if (++length > 200 || memcmp(entry->file, "\177ELF", 4)) { found = 1; break; }
        pthread_mutex_unlock(&list);
        return found;
    }
    static int kept = 40;
    NOIPA int unwinds(void) {
        static int depth;
        void *frames[20];
        int count = backtrace(frames, 20);
        if (!depth) depth = count;
        return count == depth;
    }
    NOIPA int first(int x) { asm volatile("" : "+r"(x)); if (x && !unwinds()) return 9; if (x) kept += x; return 1; }
    NOIPA static int second(const char *text) { return strlen(text) == 3 ? 1 : 9; }
    NOIPA int third(void) { asm volatile("nop; nop; nop; nop"); return 1; }
    NOIPA int fourth(int x) { asm volatile("nop; nop; nop; nop"); return x - 2; }
    static atomic_int wrong;
    static void *caller(void *unused) {
        for (;;) {
            int a = first(0), b = second("abc"), c = third(), d = fourth(3);
            if (a < 1 || a > 7 || b < 1 || b > 2 || c < 1 || c > 2 || d < 1 || d > 3) wrong++;
        }
        return unused;
    }
    int main(void) {
        pthread_t thread;
        char line[16];
        pthread_create(&thread, 0, caller, 0);
        pthread_create(&thread, 0, churner, 0);
        while (fgets(line, sizeof line, stdin)) {
            int a = first(1), b = second("abc"), c = third(), d = fourth(3);
            printf("%d%d%d%d wrong %d bad %d\n", a, b, c, d, wrong, bad());
            fflush(stdout);
        }
        return 0;
    }
"#;

const FIRST: &str =
    r#"__attribute__((noipa)) int first(int x) { asm volatile("" : "+r"(x)); if (x) kept += x; return VERSION; }"#;

/// Patches by their names: what each makes of the four functions (0: nothing), and its source.
const PATCHES: [(&str, [u32; 4], &str); 5] = [
    (
        "three",
        [2, 2, 2, 0],
        r#"
            #include <string.h>
            static int kept = 40;
            FIRST
            __attribute__((noipa)) static int second(const char *text) { return strlen(text) == 3 ? 2 : 9; }
            __attribute__((noipa)) int third(void) { return second("abc"); }
        "#,
    ),
    (
        "two",
        [3, 0, 0, 3],
        "static int kept = 40;\nFIRST\n__attribute__((noipa)) int fourth(int x) { return x; }",
    ),
    ("one", [4, 0, 0, 0], "static int kept = 40;\nFIRST"),
    // More than what memory is searched for at once, and no address of its own is taken: freed when it is reverted.
    (
        "large",
        [5, 0, 0, 0],
        "static int kept = 40;\nstatic volatile int large[40000];\nint more(int x) { return large[30000] + x; }\nFIRST",
    ),
    (
        "constructed",
        [6, 0, 0, 0],
        r#"
            static int kept = 40;
            static volatile int ready;
            static __thread volatile int calls = 5, zeros[100];
            __attribute__((constructor)) static void construct(void) { ready = 6; }
            int unwinds(void);
            __attribute__((noipa)) int first(int x) {
                if (x && !unwinds()) return 9;
                if (x) kept += x;
                return calls == 5 && zeros[x] == 0 ? ready : 9;
            }
        "#,
    ),
];

/// What is done before, and what is killed.
struct Scene {
    before: &'static [&'static [&'static str]],
    killed: &'static [&'static str],
}

const SCENES: [(&str, Scene); 8] = [
    (
        "the first patch",
        Scene {
            before: &[],
            killed: &["patch", "three.o"],
        },
    ),
    (
        "a patch without a stop",
        Scene {
            before: &[&["patch", "three.o"]],
            killed: &["patch", "one.o"],
        },
    ),
    (
        "a patch that takes the place of others",
        Scene {
            before: &[&["patch", "three.o"], &["patch", "one.o"]],
            killed: &["patch", "--replace", "two.o"],
        },
    ),
    (
        "a patch with constructors and thread-local variables",
        Scene {
            before: &[&["patch", "one.o"], &["revert"]],
            killed: &["patch", "--constructors", "constructed.o"],
        },
    ),
    (
        "a revert",
        Scene {
            before: &[&["patch", "three.o"]],
            killed: &["revert"],
        },
    ),
    (
        "a revert of all",
        Scene {
            before: &[
                &["patch", "--constructors", "constructed.o"],
                &["patch", "two.o"],
                &["patch", "three.o"],
            ],
            killed: &["revert", "--all"],
        },
    ),
    (
        "a revert that frees memory",
        Scene {
            before: &[&["patch", "three.o"], &["patch", "large.o"]],
            killed: &["revert", "large"],
        },
    ),
    (
        "a patch that is taken back because it does not stand its trial",
        Scene {
            before: &[&["patch", "two.o"], &["revert"]],
            killed: &["patch", "--verify", "false", "two.o"],
        },
    ),
];

fn prepared(folder: &Folder, flags: &[&str]) {
    folder.write("prog.c", PROGRAM);
    folder.tool("gcc", &[&["-O2", "-pthread", "prog.c", "-o", "prog"], flags].concat());
    for (name, [version, ..], source) in PATCHES {
        let first = FIRST.replace("VERSION", &version.to_string());
        folder.write(&format!("{name}.c"), &source.replace("FIRST", &first));
        // Static definitions are matched by their source file.
        folder.tool("sh", &["-c", &format!("mkdir -p {name} && mv {name}.c {name}/prog.c")]);
        let object = format!("{name}.o");
        folder.tool("gcc", &["-O2", "-fPIC", "-c", &format!("{name}/prog.c"), "-o", &object]);
    }
}

/// Starts the program, which answers once the dynamic linker has come to its end.
fn started(folder: &Folder) -> Program {
    let mut program = Program::start(&mut Command::new(folder.file("prog")));
    assert_eq!(program.ask("?"), "1111 wrong 0 bad 0");
    program
}

fn list<'a>(value: &'a Value, name: &str) -> Vec<&'a Value> {
    value[name].as_array().expect("a list").iter().collect()
}

/// The patches that are applied; the program and the status have to agree, and all functions with one another.
fn applied(folder: &Folder, program: &mut Program, what: &str) -> Vec<String> {
    let answer = program.ask("?");
    let status = folder.restub_ok(&["status", "--json", &program.pid()]);
    let status: Value = serde_json::from_str(&status).expect("JSON");
    let name = |value: &Value| value.as_str().map(str::to_owned);
    let names: Vec<String> = list(&status, "patches")
        .iter()
        .filter_map(|patch| name(&patch["name"]))
        .collect();
    let mut versions = [(1, None); 4];
    for applied in &names {
        let (known, made, _) = PATCHES.iter().find(|(known, ..)| known == applied).expect("a patch");
        for (version, made) in versions.iter_mut().zip(made).filter(|(_, made)| **made != 0) {
            *version = (*made, Some(*known));
        }
    }
    let expected: String = versions.iter().map(|(version, _)| version.to_string()).collect();
    assert_eq!(answer, format!("{expected} wrong 0 bad 0"), "{what}: {status}");
    for function in list(&status, "functions") {
        let at = ["first", "second", "third", "fourth"]
            .iter()
            .position(|known| function["name"] == *known);
        let (_, runs) = versions[at.expect("a function")];
        assert_eq!(function["runs"].as_str(), runs, "{what}: {function}");
        assert_ne!(function["entry"], "foreign", "{what}: {function}");
    }
    names
}

/// Runs a command that is killed at a step. Gives whether it was, or came to its end before.
fn is_killed(folder: &Folder, pid: &str, step: u64, command: &[&str]) -> bool {
    let output = folder.restub(&with_pid(command, pid, &["--kill-at-step", &step.to_string()]));
    let killed = output.status.signal() == Some(9);
    // A patch that is undone is no success.
    let ended = matches!(output.status.code(), Some(0 | 6));
    assert!(killed || ended, "step {step} of {command:?}: {:?}", texts(&output));
    killed
}

/// A command's arguments, with the process in front of what it is about.
fn with_pid<'a>(command: &[&'a str], pid: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let operands = command.iter().position(|word| word.ends_with(".o") || *word == "large");
    let (options, operands) = command.split_at(operands.unwrap_or(command.len()));
    [options, more, &[pid], operands].concat()
}

fn run(folder: &Folder, pid: &str, command: &[&str]) {
    folder.restub_ok(&with_pid(command, pid, &[]));
}

/// After whatever was killed, everything can be done as if nothing had been.
fn goes_on(folder: &Folder, program: &mut Program, what: &str, applied_before: bool) {
    let pid = program.pid();
    if !applied_before {
        // Entries that lead to the originals are left behind, and nothing else that shows.
        run(folder, &pid, &["revert", "--all"]);
        is_original(folder, &pid, what);
    }
    run(folder, &pid, &["patch", "--replace", "large.o"]);
    assert_eq!(applied(folder, program, what), ["large"]);
    run(folder, &pid, &["revert", "--all"]);
    assert_eq!(applied(folder, program, what), [""; 0]);
    is_original(folder, &pid, what);
}

fn is_original(folder: &Folder, pid: &str, what: &str) {
    let status: Value = serde_json::from_str(&folder.restub_ok(&["status", "--json", pid])).expect("JSON");
    for function in list(&status, "functions") {
        assert_eq!(function["entry"], "original", "{what}: {function}");
    }
}

fn every_step(scenes: &[&str], flags: &[&str]) {
    let folder = Folder::new();
    prepared(&folder, flags);
    for (name, Scene { before, killed }) in SCENES.iter().filter(|(name, _)| scenes.contains(name)) {
        let mut outcomes: Vec<Vec<String>> = Vec::new();
        for step in 1.. {
            let mut program = started(&folder);
            let pid = program.pid();
            for command in *before {
                run(&folder, &pid, command);
            }
            let ended = !is_killed(&folder, &pid, step, killed);
            let what = format!("{name}, killed at step {step}");
            let now = applied(&folder, &mut program, &what);
            goes_on(&folder, &mut program, &what, !now.is_empty());
            if !outcomes.contains(&now) {
                outcomes.push(now);
            }
            if ended {
                assert!(step > 10, "{name}: {step} steps");
                break;
            }
        }
        // As it was, or as it is to be. A busy machine takes more attempts, so that a step is not the same each time.
        assert_eq!(outcomes.len(), 2, "{name}: {outcomes:?}");
    }
}

#[test]
fn the_first_patch() {
    every_step(&["the first patch"], &["-fPIE", "-pie"]);
}

#[test]
fn the_first_patch_of_a_static_program() {
    every_step(&["the first patch"], &["-static", "-no-pie"]);
}

#[test]
fn patches_of_what_is_patched() {
    every_step(
        &["a patch without a stop", "a patch that takes the place of others"],
        &["-fPIE", "-pie"],
    );
}

#[test]
fn constructors_and_thread_local_variables() {
    every_step(
        &["a patch with constructors and thread-local variables"],
        &["-fPIE", "-pie"],
    );
}

#[test]
fn reverts() {
    every_step(&["a revert", "a revert of all"], &["-fno-pie", "-no-pie"]);
}

#[test]
fn freeing_memory() {
    every_step(&["a revert that frees memory"], &["-fPIE", "-pie"]);
}

#[test]
fn undoing_a_patch_on_trial() {
    every_step(
        &["a patch that is taken back because it does not stand its trial"],
        &["-fPIE", "-pie"],
    );
}
