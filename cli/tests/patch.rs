//! `restub plan`, `patch`, `status`, `revert` and `history` on running programs.

#![allow(missing_docs, reason = "tests have names")]

mod support;

use std::process::Command;

use serde_json::Value;
use support::{Folder, Program, texts};

/// Answers each line with the versions of three functions, and has a thread that calls them all the time.
const PROGRAM: &str = r#"
    #include <pthread.h>
    #include <stdatomic.h>
    #include <stdio.h>
    #include <string.h>
    #include <unistd.h>
    static int kept = 40;
    __attribute__((noipa)) int first(int x) { asm volatile("" : "+r"(x)); if (x) kept += x; return 1; }
    __attribute__((noipa)) static int second(const char *text) { return strlen(text) == 3 ? 1 : 9; }
    __attribute__((noipa)) int third(void) { return 1; }
    static atomic_int wrong;
    static void *caller(void *unused) {
        for (;;) {
            int a = first(0), b = second("abc"), c = third();
            if (a < 1 || a > 2 || b < 1 || b > 2 || c < 1 || c > 2) wrong++;
        }
        return unused;
    }
    int main(void) {
        pthread_t thread;
        char line[16];
        pthread_create(&thread, 0, caller, 0);
        while (fgets(line, sizeof line, stdin)) {
            int a = first(1), b = second("abc"), c = third();
            printf("%d %d %d wrong %d kept %d\n", a, b, c, wrong, kept);
            fflush(stdout);
        }
        return 0;
    }
"#;

const PATCH: &str = r#"
    #include <string.h>
    static int kept = 40;
    __attribute__((noipa)) int first(int x) { asm volatile("" : "+r"(x)); if (x) kept += x; return 2; }
    __attribute__((noipa)) static int second(const char *text) { return strlen(text) == 3 ? 2 : 9; }
    __attribute__((noipa)) int third(void) { return second("abc"); }
"#;

/// Starts the program, which answers once the dynamic linker has come to its end.
fn started(command: &mut Command) -> Program {
    let mut program = Program::start(command);
    program.ask("?");
    program
}

/// The program, running, and the patch for it.
fn prepared(folder: &Folder, flags: &[&str]) -> Program {
    folder.write("prog.c", PROGRAM);
    folder.tool("gcc", &[&["-O2", "-pthread", "prog.c", "-o", "prog"], flags].concat());
    folder.write("fix.c", PATCH);
    folder.tool("gcc", &["-O2", "-fPIE", "-c", "fix.c", "-o", "fix.o"]);
    started(&mut Command::new(folder.file("prog")))
}

/// Reads JSON of which every field is described.
fn json(text: &str) -> Value {
    let value = serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"));
    let described = include_str!("../JSON.md");
    let (_, described) = described.split_once("## `restub plan --json`").expect("that part");
    for key in keys(&value) {
        assert!(
            described.contains(&format!("`{key}`")),
            "{key} is not described in JSON.md"
        );
    }
    value
}

fn list<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    value[name].as_array().expect("a list")
}

fn keys(value: &Value) -> Vec<&str> {
    match value {
        Value::Object(fields) => fields
            .iter()
            .flat_map(|(key, value)| [vec![key.as_str()], keys(value)].concat())
            .collect(),
        Value::Array(items) => items.iter().flat_map(keys).collect(),
        _ => Vec::new(),
    }
}

#[test]
fn a_patch_is_planned_applied_shown_and_reverted() {
    let folder = Folder::new();
    let mut program = prepared(&folder, &[]);
    let pid = program.pid();
    assert_eq!(program.ask("?"), "1 1 1 wrong 0 kept 42");
    let plan = json(&folder.restub_ok(&["plan", "--json", &pid, "fix.o"]));
    let names: Vec<&str> = plan["functions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|f| f["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["second", "first", "third"]);
    assert_eq!(
        (&plan["name"], &plan["already_applied"]),
        (&"fix".into(), &false.into())
    );
    assert_eq!(plan["kept_variables"], Value::from(vec!["kept"]));
    assert_eq!(program.ask("?"), "1 1 1 wrong 0 kept 43");
    let status = json(&folder.restub_ok(&["status", "--json", &pid]));
    assert_eq!(status["patched_before"], false);

    let text = folder.restub_ok(&["patch", &pid, "fix.o"]);
    assert!(
        text.starts_with("patched fix: 3 functions, 2 threads stopped for "),
        "{text}"
    );
    assert_eq!(program.ask("?"), "2 2 2 wrong 0 kept 44");
    assert_eq!(folder.restub_ok(&["patch", &pid, "fix.o"]), "already applied, as fix\n");
    let status = json(&folder.restub_ok(&["status", "--json", &pid]));
    assert_eq!(status["patches"][0]["name"], "fix");
    assert!(
        status["functions"]
            .as_array()
            .unwrap()
            .iter()
            .all(|f| f["entry"] == "redirected" && f["runs"] == "fix")
    );

    folder.restub_ok(&["revert", &pid, "fix"]);
    json(&folder.restub_ok(&["patch", "--json", &pid, "fix.o"]));
    json(&folder.restub_ok(&["revert", "--json", &pid, "fix"]));
    folder.restub_ok(&["patch", &pid, "fix.o"]);
    let text = folder.restub_ok(&["revert", &pid, "fix"]);
    assert!(text.starts_with("reverted fix, threads stopped for "), "{text}");
    assert_eq!(program.ask("?"), "1 1 1 wrong 0 kept 45");
    assert_eq!(folder.restub_ok(&["revert", &pid, "fix"]), "nothing to revert\n");
    assert_eq!(folder.restub_ok(&["revert", &pid]), "nothing to revert\n");
    let error = folder.restub_error(1, &["revert", &pid, "other"]);
    assert_eq!(error, format!("restub: process {pid}: no patch named other\n"));
    let history = json(&folder.restub_ok(&["history", "--json", &pid]));
    let actions: Vec<&str> = history
        .as_array()
        .unwrap()
        .iter()
        .map(|e| e["action"].as_str().unwrap())
        .collect();
    assert_eq!(actions, ["patch", "revert"].repeat(3));
    for event in history.as_array().expect("a list") {
        assert!(event["stop_us"].as_f64().is_some_and(|time| time > 0.0), "{event}");
    }
    assert_eq!(program.ask("?"), "1 1 1 wrong 0 kept 46");
}

#[test]
fn gdb_names_patched_functions() {
    let folder = Folder::new();
    folder.write(
        "prog.c",
        r#"
            #include <stdio.h>
            #include <unistd.h>
            __attribute__((noipa)) int outer(int (*inner)(void)) { return inner() + 1; }
            __attribute__((noipa)) int inner(void) { return 1; }
            int main(void) {
                char line[16];
                while (fgets(line, sizeof line, stdin)) { printf("%d\n", outer(inner)); fflush(stdout); }
            }
        "#,
    );
    folder.tool("gcc", &["-O2", "prog.c", "-o", "prog"]);
    folder.write(
        "fix.c",
        r#"
            #include <unistd.h>
            __attribute__((noipa)) int outer(int (*inner)(void)) { return inner() + 2; }
            __attribute__((noipa)) int inner(void) { for (;;) pause(); }
        "#,
    );
    folder.tool("gcc", &["-O2", "-fPIE", "-c", "fix.c"]);
    let mut program = started(&mut Command::new(folder.file("prog")));
    let pid = program.pid();
    folder.restub_ok(&["patch", &pid, "fix.o"]);
    folder.restub_ok(&["status", &pid, "--symbols", "files"]);
    program.send("?");
    let state = format!("/proc/{pid}/syscall");
    while !std::fs::read_to_string(&state).expect("procfs").starts_with("34 ") {
        std::thread::yield_now();
    }
    let output = folder.output(
        "gdb",
        &[
            "-nx",
            "-q",
            "-batch",
            "-iex",
            "set debuginfod enabled off",
            "-p",
            &pid,
            "-ex",
            "add-symbol-file files/fix.elf",
            "-ex",
            "bt",
        ],
    );
    let (text, errors) = texts(&output);
    let frame = |name: &str| {
        text.lines()
            .position(|line| line.starts_with('#') && line.contains(&format!(" in {name} ")))
    };
    let frames = ["inner", "outer", "main"].map(frame);
    assert!(
        frames.iter().all(Option::is_some) && frames.is_sorted(),
        "{text}{errors}"
    );
}

const BEFORE: &str = r#"
    #include <stdio.h>
    #include <string.h>
    static int calls;
    static const int weights[4] = {1, 2, 3, 4};
    __attribute__((noipa)) static int helper(int x) { return x + ++calls; }
    __attribute__((noipa)) int scaled(int x) { return x * weights[x & 3]; }
    __attribute__((noipa)) int kind(int x) {
        switch (x) { case 0: return 10; case 1: return 25; case 2: return 31; case 3: return 44; case 4: return 52; default: return 7; }
    }
    __attribute__((noipa)) const char *title(int x) { return x > 2 ? "many" : "few"; }
    __attribute__((noipa)) int entry(int x) { return helper(x) + scaled(x) + kind(x) + strlen(title(x)); }
    int main(void) {
        char line[16];
        while (fgets(line, sizeof line, stdin)) { printf("%d %s\n", entry(3), title(3)); fflush(stdout); }
        return 0;
    }
"#;

/// A change of [`BEFORE`], and what it changes in the functions.
struct Edit {
    what: &'static str,
    replacements: &'static [(&'static str, &'static str)],
    expected: &'static [(&'static str, &'static str)],
}

const EDITS: [Edit; 5] = [
    Edit {
        what: "nothing",
        replacements: &[("static int calls;", "\n\n/* moved */ static int calls;")],
        expected: &[],
    },
    Edit {
        what: "a string",
        replacements: &[("\"many\"", "\"a great many\"")],
        expected: &[("title", "changed")],
    },
    Edit {
        what: "a constant table",
        replacements: &[("{1, 2, 3, 4}", "{1, 2, 3, 5}")],
        expected: &[("scaled", "changed")],
    },
    Edit {
        what: "a static function, and another one",
        replacements: &[
            ("return x + ++calls", "return x - ++calls"),
            ("return x * weights", "return 1 + x * weights"),
        ],
        expected: &[("helper", "changed"), ("scaled", "changed")],
    },
    Edit {
        what: "an added function",
        replacements: &[
            (
                "__attribute__((noipa)) int entry",
                "__attribute__((noipa)) int extra(int x) { return calls + x; }\n__attribute__((noipa)) int entry",
            ),
            ("helper(x) + scaled", "helper(x) + extra(x) + scaled"),
        ],
        expected: &[("entry", "changed"), ("extra", "added")],
    },
];

#[test]
fn a_difference_has_what_changed_and_patches_to_what_is_rebuilt() {
    for flags in [
        &["-O2", "-fPIE"][..],
        &["-O2", "-fPIE", "-ffunction-sections", "-fdata-sections"],
    ] {
        let folder = Folder::new();
        for name in ["old", "new"] {
            std::fs::create_dir(folder.file(name)).expect("a folder");
        }
        folder.write("old/prog.c", BEFORE);
        folder.tool("gcc", &[flags, &["-c", "old/prog.c", "-o", "old.o"]].concat());
        folder.tool("gcc", &["old.o", "-o", "old/prog"]);
        for Edit {
            what,
            replacements,
            expected,
        } in &EDITS
        {
            let after = replacements
                .iter()
                .fold(BEFORE.to_owned(), |text, (from, to)| text.replace(from, to));
            folder.write("new/prog.c", &after);
            folder.tool("gcc", &[flags, &["-c", "new/prog.c", "-o", "new.o"]].concat());
            folder.tool("gcc", &["new.o", "-o", "new/prog"]);
            let report = json(&folder.restub_ok(&["diff", "--json", "old.o", "new.o", "-o", "patch.o"]));
            let found: Vec<(&str, &str)> = list(&report, "functions")
                .iter()
                .filter(|function| function["change"] != "same")
                .map(|function| {
                    (
                        function["name"].as_str().expect("a name"),
                        function["change"].as_str().expect("a change"),
                    )
                })
                .collect();
            assert_eq!(found, *expected, "{what} {flags:?}: {report}");
            if expected.is_empty() {
                assert!(!folder.file("patch.o").exists());
                continue;
            }
            let mut program = started(&mut Command::new(folder.file("old/prog")));
            let mut rebuilt = started(&mut Command::new(folder.file("new/prog")));
            folder.restub_ok(&["patch", &program.pid(), "patch.o"]);
            // The first answers were by the old code; both programs have counted one call.
            assert_eq!(program.ask("?"), rebuilt.ask("?"), "{what} {flags:?}");
            let status = json(&folder.restub_ok(&["status", "--json", &program.pid()]));
            let patched = list(&status, "functions").len();
            let changed = expected.iter().filter(|(_, change)| *change == "changed").count();
            assert_eq!(patched, changed, "{what} {flags:?}: {status}");
        }
    }
}

#[test]
fn a_difference_says_what_no_patch_can_bring_about() {
    let folder = Folder::new();
    folder.compile("old.c", "int kept = 1; int f(void) { return kept; }", &["-O2"]);
    folder.compile("new.c", "int kept = 2; int f(void) { return kept + 1; }", &["-O2"]);
    let output = folder.restub(&["diff", "old.o", "new.o", "-o", "patch.o"]);
    assert_eq!(output.status.code(), Some(3));
    let (text, _) = texts(&output);
    assert!(
        text.contains("changed  f  at +") && text.contains("no patch can bring about: kept: "),
        "{text}"
    );
}

#[test]
fn a_difference_of_objects_that_contradict_themselves_says_where() {
    let folder = Folder::new();
    let huge = "static char all[1L << 33]; int f(long at) { return all[at] + NUMBER; }";
    for number in ["1", "2"] {
        folder.write("huge.c", &huge.replace("NUMBER", number));
        let object = format!("huge{number}.o");
        folder.tool("gcc", &["-O2", "-mcmodel=large", "-c", "huge.c", "-o", &object]);
    }
    let (text, _) = texts(&folder.restub(&["diff", "huge1.o", "huge2.o", "-o", "patch.o"]));
    assert!(text.contains("changed  f"), "{text}");

    folder.write("wrong.s", "f: call g\n.type f, @function\n.size f, 9\n");
    folder.tool("as", &["wrong.s", "-o", "wrong.o"]);
    let output = folder.restub(&["diff", "huge1.o", "wrong.o", "-o", "patch.o"]);
    assert_eq!(output.status.code(), Some(1));
    let (_, text) = texts(&output);
    let expected = "wrong.o: malformed: symbol f at .text+0x0 has 9 bytes, which the section does not have";
    assert!(text.contains(expected), "{text}");
}

#[test]
fn a_user_may_patch_their_own_processes_only() {
    let folder = Folder::new();
    folder.write("prog.c", PROGRAM);
    folder.tool("gcc", &["-O2", "-pthread", "prog.c", "-o", "prog"]);
    folder.write("fix.c", PATCH);
    folder.tool("gcc", &["-O2", "-fPIE", "-c", "fix.c", "-o", "fix.o"]);
    std::fs::copy(env!("CARGO_BIN_EXE_restub"), folder.file("restub")).expect("the command can be copied");
    folder.tool("chmod", &["-R", "a+rX", "."]);
    let nobody = ["--reuid=65534", "--clear-groups"];
    let as_nobody = |arguments: &[&str]| folder.output("setpriv", &[&nobody[..], &["./restub"], arguments].concat());
    let mut command = Command::new("setpriv");
    let mut own = started(command.args(nobody).arg("./prog").current_dir(folder.path()));
    let output = as_nobody(&["patch", &own.pid(), "fix.o"]);
    assert!(output.status.success(), "{:?}", texts(&output));
    assert!(own.ask("?").starts_with("2 2 2 wrong 0"));
    let other = started(&mut Command::new(folder.file("prog")));
    let output = as_nobody(&["patch", &other.pid(), "fix.o"]);
    assert_eq!(output.status.code(), Some(5));
    let (_, text) = texts(&output);
    assert!(
        text.contains("it belongs to user 0; run restub as that user, as root, or with CAP_SYS_PTRACE"),
        "{text}"
    );
}
