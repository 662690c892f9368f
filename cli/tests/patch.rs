//! `restub plan`, `patch`, `status`, `revert` and `history` on running programs.

#![allow(missing_docs, reason = "tests have names")]

mod support;

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::Value;
use support::{Folder, texts};

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

struct Program {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Program {
    fn start(command: &mut Command) -> Self {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let input = child.stdin.take().expect("a pipe");
        let output = BufReader::new(child.stdout.take().expect("a pipe"));
        let mut program = Program { child, input, output };
        // It answers once the dynamic linker has come to its end.
        program.ask();
        program
    }

    fn pid(&self) -> String {
        self.child.id().to_string()
    }

    fn ask(&mut self) -> String {
        writeln!(self.input, "?").expect("the program lives");
        let mut answer = String::new();
        self.output.read_line(&mut answer).expect("the program answers");
        assert!(!answer.is_empty(), "the program has ended: {:?}", self.child.wait());
        answer.trim_end().to_owned()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The program, running, and the patch for it.
fn prepared(folder: &Folder, flags: &[&str]) -> Program {
    folder.write("prog.c", PROGRAM);
    folder.tool("gcc", &[&["-O2", "-pthread", "prog.c", "-o", "prog"], flags].concat());
    folder.write("fix.c", PATCH);
    folder.tool("gcc", &["-O2", "-fPIE", "-c", "fix.c", "-o", "fix.o"]);
    Program::start(&mut Command::new(folder.file("prog")))
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

#[test]
fn a_patch_is_planned_applied_shown_and_reverted() {
    let folder = Folder::new();
    let mut program = prepared(&folder, &[]);
    let pid = program.pid();
    assert_eq!(program.ask(), "1 1 1 wrong 0 kept 42");
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
    assert_eq!(program.ask(), "1 1 1 wrong 0 kept 43");
    let status = json(&folder.restub_ok(&["status", "--json", &pid]));
    assert_eq!(status["patched_before"], false);

    let text = folder.restub_ok(&["patch", &pid, "fix.o"]);
    assert!(
        text.starts_with("patched fix: 3 functions, 2 threads stopped for "),
        "{text}"
    );
    assert_eq!(program.ask(), "2 2 2 wrong 0 kept 44");
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

    let text = folder.restub_ok(&["revert", &pid, "fix"]);
    assert!(text.starts_with("reverted fix, threads stopped for "), "{text}");
    assert_eq!(program.ask(), "1 1 1 wrong 0 kept 45");
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
    assert_eq!(actions, ["patch", "revert"]);
    assert_eq!(program.ask(), "1 1 1 wrong 0 kept 46");
}

/// Whether the patch is applied; the program and the status have to agree, and all functions with one another.
fn is_applied(folder: &Folder, program: &mut Program, step: u64) -> bool {
    let answer = program.ask();
    let status = json(&folder.restub_ok(&["status", "--json", &program.pid()]));
    let applied = !status["patches"].as_array().unwrap().is_empty();
    let versions = if applied { "2 2 2 wrong 0" } else { "1 1 1 wrong 0" };
    assert!(answer.starts_with(versions), "step {step}: applied {applied}, {answer}");
    for function in status["functions"].as_array().unwrap() {
        assert_eq!(function["runs"] == "fix", applied, "step {step}: {function}");
        assert_ne!(function["entry"], "foreign", "step {step}: {function}");
    }
    applied
}

/// Runs a command that is killed at a step. Gives whether it was, or came to its end before.
fn is_killed(folder: &Folder, step: u64, command: &[&str]) -> bool {
    let output = folder.restub(&[command, &["--kill-at-step", &step.to_string()]].concat());
    let killed = output.status.signal() == Some(9);
    assert!(killed || output.status.success(), "step {step}: {:?}", texts(&output));
    killed
}

#[test]
fn a_patcher_that_is_killed_leaves_the_process_patched_or_not() {
    for flags in [&["-fPIE", "-pie"][..], &["-static", "-no-pie"]] {
        let folder = Folder::new();
        drop(prepared(&folder, flags));
        let (mut before, mut after) = (0, 0);
        for step in 1.. {
            let mut program = Program::start(&mut Command::new(folder.file("prog")));
            let pid = program.pid();
            let killed = is_killed(&folder, step, &["patch", &pid, "fix.o"]);
            match is_applied(&folder, &mut program, step) {
                true => after += 1,
                false => before += 1,
            }
            // Whatever is left behind is in nobody's way.
            folder.restub_ok(&["patch", &pid, "fix.o"]);
            assert!(is_applied(&folder, &mut program, step));
            folder.restub_ok(&["revert", &pid]);
            assert!(!is_applied(&folder, &mut program, step));
            if !killed {
                break;
            }
        }
        assert!(before > 20 && after > 1, "{before} {after}");
    }
}

#[test]
fn one_process_outlives_many_patchers_that_are_killed() {
    let folder = Folder::new();
    let mut program = prepared(&folder, &[]);
    let pid = program.pid();
    let (mut patch_step, mut revert_step) = (1, 1);
    let mut rounds = 0;
    // Each round goes one step further, with what the rounds before have left behind.
    while patch_step < 60 {
        if !is_killed(&folder, patch_step, &["patch", &pid, "fix.o"]) {
            patch_step = 60;
        }
        patch_step += 1;
        if !is_applied(&folder, &mut program, patch_step) {
            folder.restub_ok(&["patch", &pid, "fix.o"]);
        }
        if is_killed(&folder, revert_step, &["revert", &pid]) {
            revert_step += 1;
        } else {
            revert_step = 1;
        }
        if is_applied(&folder, &mut program, revert_step) {
            folder.restub_ok(&["revert", &pid]);
        }
        assert!(!is_applied(&folder, &mut program, revert_step));
        rounds += 1;
    }
    assert!(rounds > 10, "{rounds}");
}
