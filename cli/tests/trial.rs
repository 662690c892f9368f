//! `restub patch` on trial, and for several processes at once.

#![allow(missing_docs, reason = "tests have names")]

mod support;

use std::fs::File;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use support::{Folder, Program, texts};

/// Answers lines; the patch writes to the log, or ends the program, when it is told to.
const PROGRAM: &str = r#"
    #include <stdio.h>
    #include <stdlib.h>
    #include <string.h>
    __attribute__((noipa)) int version(const char *line) { return line[0] == 0 ? 0 : 1; }
    int main(void) {
        char line[64];
        while (fgets(line, sizeof line, stdin)) {
            printf("%d\n", version(line));
            fflush(stdout);
        }
        return 0;
    }
"#;
const PATCH: &str = r#"
    #include <stdio.h>
    #include <stdlib.h>
    int version(const char *line) {
        if (line[0] == 'c') fputs("worker 7: Segmentation fault, restarting it\n", stderr);
        if (line[0] == 'x') exit(3);
        return 2;
    }
"#;

fn started(path: &Path, log: Option<File>) -> Program {
    let mut command = Command::new(path);
    if let Some(log) = log {
        command.stderr(log);
    }
    let mut program = Program::start(&mut command);
    assert_eq!(program.ask("?"), "1");
    program
}

/// The program's file under a name that no other process has, and the patch.
fn prepared(name: &str) -> (Folder, String) {
    let folder = Folder::new();
    let name = format!("{name}{}", std::process::id());
    folder.write("prog.c", PROGRAM);
    folder.tool("gcc", &["-O2", "prog.c", "-o", &name]);
    folder.compile("fix.c", PATCH, &["-O2", "-fPIE"]);
    (folder, name)
}

fn json(output: &Output) -> Value {
    let (text, errors) = texts(output);
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}{errors}"))
}

#[test]
fn a_command_decides_whether_a_patch_stays() {
    let (folder, name) = prepared("verify");
    let mut program = started(&folder.file(&name), None);
    let pid = program.pid();
    let verify = |command: &str, more: &[&str]| {
        folder.restub(&[&["patch", "--json", "--verify", command], more, &[&pid, "fix.o"]].concat())
    };
    let output = verify("exit 9", &[]);
    let (_, text) = texts(&output);
    assert_eq!(output.status.code(), Some(6), "{text}");
    assert!(
        text.contains("restub: the patch is taken back: exit 9: exit status: 9"),
        "{text}"
    );
    assert_eq!(json(&output)["undone"], "exit 9: exit status: 9");
    assert_eq!(program.ask("?"), "1");
    let output = verify("sleep 100 & wait", &["--verify-timeout", "0.1"]);
    assert_eq!(output.status.code(), Some(6));
    let undone = &json(&output)["undone"];
    assert!(
        undone
            .as_str()
            .is_some_and(|text| text.ends_with("not done within 100ms")),
        "{undone}"
    );
    assert_eq!(program.ask("?"), "1");
    let wanted = format!("$RESTUB_PID $RESTUB_PATCH $RESTUB_FUNCTIONS\" = \"{pid} fix version");
    let output = verify(&format!("test \"{wanted}\""), &[]);
    assert_eq!(
        (output.status.code(), &json(&output)["undone"]),
        (Some(0), &Value::Null)
    );
    assert_eq!(program.ask("?"), "2");
    // It is there already: nothing is done, and nothing undone.
    let output = verify("exit 9", &[]);
    assert_eq!(
        (output.status.code(), &json(&output)["already_applied"]),
        (Some(0), &true.into())
    );
    assert_eq!(program.ask("?"), "2");
}

#[test]
fn a_process_that_logs_a_crash_or_ends_has_not_borne_the_patch() {
    let (folder, name) = prepared("probation");
    let log = File::create(folder.file("log")).expect("a log");
    let mut program = started(&folder.file(&name), Some(log));
    let pid = program.pid();
    // The command that verifies waits for a line that this test writes, when the patch runs.
    let on_trial = |program: &mut Program, line: &str| {
        let ready = folder.file("ready");
        let command = format!("touch {}; exit 0", ready.display());
        let arguments = ["patch", "--probation", "30", "--verify", &command, &pid, "fix.o"];
        let restub = folder.start_restub(&arguments);
        while !ready.exists() {
            std::thread::yield_now();
        }
        program.send(line);
        let output = restub.wait_with_output().expect("restub ends");
        std::fs::remove_file(&ready).expect("the file");
        assert_eq!(output.status.code(), Some(6));
        texts(&output).1
    };
    let text = on_trial(&mut program, "c");
    assert!(
        text.contains("the patch is taken back: ") && text.contains("worker 7: Segmentation fault"),
        "{text}"
    );
    assert_eq!((program.answer().as_str(), program.ask("?").as_str()), ("2", "1"));
    let text = on_trial(&mut program, "x");
    assert_eq!(
        text,
        format!("restub: the patch was applied: process {pid} has ended\n")
    );
}

#[test]
fn a_patch_on_trial_is_taken_back_if_restub_is_told_to_end() {
    let (folder, name) = prepared("interrupt");
    let mut program = started(&folder.file(&name), None);
    let pid = program.pid();
    for (signal, trial) in [
        ("INT", ["--probation", "100"]),
        ("TERM", ["--verify", "sleep 100"]),
        ("HUP", ["--probation", "100"]),
    ] {
        let [option, value] = trial;
        let restub = folder.start_restub(&["patch", option, value, &pid, "fix.o"]);
        while program.ask("?") == "1" {
            std::thread::yield_now();
        }
        folder.tool("kill", &["-s", signal, &restub.id().to_string()]);
        let output = restub.wait_with_output().expect("restub ends");
        let text = format!("restub: the patch is taken back: restub was ended by SIG{signal}\n");
        assert_eq!((output.status.code(), texts(&output).1), (Some(6), text));
        assert_eq!(program.ask("?"), "1");
    }
}

#[test]
fn a_window_without_a_crash_is_borne() {
    let (folder, name) = prepared("window");
    let mut program = started(&folder.file(&name), None);
    folder.write("other.log", "SIGSEGV long ago\n");
    folder.restub_ok(&[
        "patch",
        "--probation",
        "0.2",
        "--log",
        "other.log",
        &program.pid(),
        "fix.o",
    ]);
    assert_eq!(program.ask("?"), "2");
}

#[test]
fn several_processes_are_patched_by_their_name() {
    let (folder, name) = prepared("fleet");
    let mut programs: Vec<Program> = (0..3).map(|_| started(&folder.file(&name), None)).collect();
    let pids: Vec<String> = programs.iter().map(Program::pid).collect();
    folder.restub_ok(&["patch", &pids[1], "fix.o"]);
    let output = folder.restub(&["patch", "--json", "--process", &name, "fix.o"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let report = json(&output);
    let processes = report["processes"].as_array().expect("a list");
    let outcomes: Vec<&str> = processes
        .iter()
        .map(|process| process["outcome"].as_str().expect("text"))
        .collect();
    assert_eq!(outcomes, ["patched", "already applied", "patched"]);
    assert_eq!(processes[0]["report"]["functions"][0]["name"], "version");
    assert!(programs.iter_mut().all(|program| program.ask("?") == "2"));
    let text = folder.restub_ok(&["plan", "--pid", &pids[0], "--pid", &pids[2], "fix.o"]);
    assert_eq!(text.matches("already applied, as fix").count(), 2, "{text}");
    folder.restub_ok(&["revert", &pids[0]]);
    let text = folder.restub_ok(&["revert", "--process", &name, "fix"]);
    assert!(text.contains("3 processes: 1 nothing to revert, 2 reverted"), "{text}");
    assert!(programs.iter_mut().all(|program| program.ask("?") == "1"));
    let text = folder.restub_error(1, &["patch", "--process", "no such process", "fix.o"]);
    assert_eq!(text, "restub: no process is called no such process\n");
}

#[test]
fn all_are_patched_or_none() {
    let (folder, name) = prepared("all");
    let mut programs: Vec<Program> = (0..2).map(|_| started(&folder.file(&name), None)).collect();
    // Another program, which has no such function.
    folder.write(
        "other.c",
        "#include <unistd.h>\nint main(void) { char c; return read(0, &c, 1); }",
    );
    folder.tool("gcc", &["-O2", "other.c", "-o", "other"]);
    let mut other = Command::new(folder.file("other"))
        .stdin(Stdio::piped())
        .spawn()
        .expect("a program");
    let pids: Vec<String> = programs
        .iter()
        .map(Program::pid)
        .chain([other.id().to_string()])
        .collect();
    let list = pids.join(",");
    let output = folder.restub(&["patch", "--all-or-none", "--pid", &list, "fix.o"]);
    let (text, errors) = texts(&output);
    assert_ne!(output.status.code(), Some(0), "{text}{errors}");
    assert!(
        text.contains("3 processes: 2 undone, 1 failed") || text.contains("1 failed"),
        "{text}"
    );
    assert!(programs.iter_mut().all(|program| program.ask("?") == "1"), "{text}");
    // Without that each is by itself.
    let output = folder.restub(&["patch", "--pid", &list, "fix.o"]);
    let (text, errors) = texts(&output);
    assert!(
        text.contains("2 patched") && text.contains("1 failed"),
        "{text}{errors}"
    );
    assert!(
        errors.contains(&format!("restub: process {}: ", other.id())),
        "{errors}"
    );
    assert!(programs.iter_mut().all(|program| program.ask("?") == "2"));
    other.kill().expect("a child");
    other.wait().expect("a child");
}
