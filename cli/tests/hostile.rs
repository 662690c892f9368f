//! `restub patch` where everything else is in motion, or broken.

#![allow(missing_docs, reason = "tests have names")]

mod support;

use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;
use support::{Folder, Program, texts};

/// Answers lines with what two functions give, which threads, children and handlers of signals call as well, while
/// threads and processes come and go.
const BUSY: &str = r#"
    #include <pthread.h>
    #include <signal.h>
    #include <spawn.h>
    #include <stdatomic.h>
    #include <stdio.h>
    #include <stdlib.h>
    #include <sys/time.h>
    #include <sys/wait.h>
    #include <unistd.h>
    #define NOIPA __attribute__((noipa, noinline))
    NOIPA int first(int n) { asm volatile("nop; nop; nop; nop"); return n + 1; }
    NOIPA int second(int n) { asm volatile("nop; nop; nop; nop"); return n + 1; }
    static atomic_int wrong;
    static int is_wrong(void) { int a = first(0), b = second(0); return a < 1 || a > 2 || b < 1 || b > 2; }
    static void handler(int signal) { wrong += is_wrong(); }
    static void *comes(void *unused) { wrong += is_wrong(); return unused; }
    static void *threads(void *unused) {
        for (;;) { pthread_t thread; if (!pthread_create(&thread, 0, comes, 0)) pthread_join(thread, 0); }
        return unused;
    }
    static void *forks(void *unused) {
        for (;;) {
            pid_t child = fork();
            if (!child) _exit(is_wrong());
            int status = 0;
            if (child > 0) { waitpid(child, &status, 0); wrong += status != 0; }
        }
        return unused;
    }
    static void *spawns(void *unused) {
        char *arguments[] = {"true", 0};
        for (;;) {
            pid_t child;
            int status = 0;
            if (!posix_spawn(&child, "/bin/true", 0, 0, arguments, 0)) { waitpid(child, &status, 0); wrong += status != 0; }
        }
        return unused;
    }
    int main(void) {
        pthread_t thread;
        char line[16];
        struct itimerval often = {{0, 200}, {0, 200}};
        struct sigaction action = {.sa_handler = handler, .sa_flags = SA_RESTART};
        setvbuf(stdout, 0, _IONBF, 0);
        sigaction(SIGALRM, &action, 0);
        setitimer(ITIMER_REAL, &often, 0);
        pthread_create(&thread, 0, threads, 0);
        pthread_create(&thread, 0, forks, 0);
        pthread_create(&thread, 0, spawns, 0);
        while (fgets(line, sizeof line, stdin)) printf("%d %d wrong %d\n", first(0), second(0), wrong);
        return 0;
    }
"#;
const FIX: &str = "int first(int n) { return n + 2; }\nint second(int n) { return n + 2; }\n";

const OLD: &str = "1 1 wrong 0";
const NEW: &str = "2 2 wrong 0";

fn prepared(folder: &Folder, program: &str) -> PathBuf {
    folder.write("prog.c", program);
    folder.tool("gcc", &["-O2", "-pthread", "prog.c", "-o", "prog"]);
    folder.compile("fix.c", FIX, &["-O2", "-fPIE"]);
    folder.file("prog")
}

/// The exit status of a command that has not come to its end by a signal or a panic.
fn code(output: &Output) -> i32 {
    let code = output.status.code().unwrap_or_else(|| panic!("{:?}", texts(output)));
    assert!(code < 100, "{:?}", texts(output));
    code
}

#[test]
fn threads_processes_and_signals_come_and_go() {
    let folder = Folder::new();
    let mut program = Program::start(&mut Command::new(prepared(&folder, BUSY)));
    assert_eq!(program.ask("?"), OLD);
    let pid = program.pid();
    for round in 0..10 {
        let consistency = if round % 2 == 0 { "entry" } else { "quiet" };
        folder.restub_ok(&["patch", "--timeout", "60", "--consistency", consistency, &pid, "fix.o"]);
        assert_eq!(program.ask("?"), NEW);
        folder.restub_ok(&["revert", &pid]);
        assert_eq!(program.ask("?"), OLD);
    }
}

#[test]
fn patchers_get_in_each_others_way_and_nothing_else() {
    let folder = Folder::new();
    let mut program = Program::start(&mut Command::new(prepared(&folder, BUSY)));
    folder.compile("one.c", "int first(int n) { return n + 2; }", &["-O2", "-fPIE"]);
    folder.compile("two.c", "int second(int n) { return n + 2; }", &["-O2", "-fPIE"]);
    let pid = program.pid();
    assert_eq!(program.ask("?"), OLD);
    let mut done = 0;
    for _ in 0..5 {
        let commands: [&[&str]; 6] = [
            &["patch", &pid, "one.o"],
            &["patch", &pid, "two.o"],
            &["patch", &pid, "one.o"],
            &["revert", "--all", &pid],
            &["patch", "--replace", &pid, "fix.o"],
            &["status", &pid],
        ];
        let running: Vec<Child> = commands.iter().map(|command| folder.start_restub(command)).collect();
        for restub in running {
            let output = restub.wait_with_output().expect("restub ends");
            // Somebody else traces it, or its threads were not to be had in time.
            assert!(matches!(code(&output), 0 | 4 | 5), "{:?}", texts(&output));
            done += usize::from(output.status.success());
        }
        let answer = program.ask("?");
        let status: Value = serde_json::from_str(&folder.restub_ok(&["status", "--json", &pid])).expect("JSON");
        let runs = |name: &str| {
            let functions = status["functions"].as_array().expect("a list");
            functions
                .iter()
                .any(|function| function["name"] == name && !function["runs"].is_null())
        };
        let expected = ["first", "second"].map(|name| if runs(name) { "2" } else { "1" });
        assert_eq!(answer, format!("{} {} wrong 0", expected[0], expected[1]), "{status}");
    }
    assert!(done > 5, "{done}");
    folder.restub_ok(&["revert", "--all", &pid]);
    assert_eq!(program.ask("?"), OLD);
}

/// Becomes itself anew, sooner and later, and ends after some seconds.
const RESTARTS: &str = r#"
    #include <stdio.h>
    #include <stdlib.h>
    #include <time.h>
    #include <unistd.h>
    __attribute__((noipa, noinline)) int first(int n) { asm volatile("nop; nop; nop; nop"); return n + 1; }
    __attribute__((noipa, noinline)) int second(int n) { asm volatile("nop; nop; nop; nop"); return n + 1; }
    int main(int count, char **arguments) {
        long end = count > 1 ? atol(arguments[1]) : time(0) + 3, life = count > 1 ? atol(arguments[2]) : 0;
        char text[32], next[32];
        for (int n = 0; n < 1000 << life % 18; n++) {
            int a = first(0), b = second(0);
            if (a < 1 || a > 2 || b < 1 || b > 2) return 1;
        }
        if (time(0) > end) return 0;
        snprintf(text, sizeof text, "%ld", end);
        snprintf(next, sizeof next, "%ld", life + 1);
        execl("/proc/self/exe", arguments[0], text, next, (char *)0);
        return 2;
    }
"#;

#[test]
fn a_process_that_becomes_others_and_ends_is_not_harmed() {
    let folder = Folder::new();
    let path = prepared(&folder, RESTARTS);
    let mut child = Command::new(path).spawn().expect("a program");
    let pid = child.id().to_string();
    let stat = format!("/proc/{pid}/stat");
    let mut codes = Vec::new();
    // Also once it has ended, as long as nobody has waited for it.
    let mut ended = false;
    while !ended {
        ended = std::fs::read_to_string(&stat).expect("procfs").contains(") Z ");
        for command in [
            &["patch", &pid, "fix.o"][..],
            &["revert", "--all", &pid],
            &["status", &pid],
        ] {
            codes.push(code(&folder.restub(command)));
        }
    }
    assert_eq!(codes.last(), Some(&1), "of a zombie nothing is known: {codes:?}");
    let status = child.wait().expect("a child");
    assert_eq!((status.code(), status.signal()), (Some(0), None), "{codes:?}");
}

#[test]
fn files_that_are_none_change_nothing() {
    let folder = Folder::new();
    let mut program = Program::start(&mut Command::new(prepared(&folder, BUSY)));
    let pid = program.pid();
    assert_eq!(program.ask("?"), OLD);
    let whole = std::fs::read(folder.file("fix.o")).expect("the object");
    let mut cases: Vec<(String, Vec<u8>)> = (0..whole.len())
        .step_by(whole.len() / 20)
        .map(|length| (format!("the first {length} bytes"), whole[..length].to_vec()))
        .collect();
    let changed = |at: usize, to: u8| {
        let mut bytes = whole.clone();
        bytes[at] = to;
        bytes
    };
    cases.push(("of another architecture".into(), changed(18, 183)));
    cases.push(("of 32 bits".into(), changed(4, 1)));
    cases.push((
        "an executable".into(),
        std::fs::read(folder.file("prog")).expect("the program"),
    ));
    cases.push(("text".into(), FIX.into()));
    cases.push((
        "garbage".into(),
        whole
            .iter()
            .map(|byte| byte.wrapping_mul(167).wrapping_add(13))
            .collect(),
    ));
    for (what, bytes) in cases {
        std::fs::write(folder.file("broken.o"), bytes).expect("a file");
        let output = folder.restub(&["patch", &pid, "broken.o"]);
        let (_, text) = texts(&output);
        assert!(matches!(code(&output), 1 | 3), "{what}: {text}");
        assert!(text.starts_with("restub: "), "{what}: {text}");
    }
    assert_eq!(program.ask("?"), OLD);
    let status = folder.restub_ok(&["status", &pid]);
    assert!(status.contains("no patch is applied"), "{status}");
    // More than an arena has, by variables that nobody initializes, and by contents.
    let huge = "int first(int n) { return n + 2; }\nstatic volatile char space[3 << 28]; int second(int n) { return space[n] + n + 2; }";
    folder.compile("huge.c", huge, &["-O2", "-fPIE"]);
    let code = code(&folder.restub(&["patch", &pid, "huge.o"]));
    assert_eq!(program.ask("?"), if code == 0 { NEW } else { OLD });
}

#[test]
fn a_process_that_a_debugger_has_is_left_to_it() {
    let folder = Folder::new();
    let mut program = Program::start(&mut Command::new(prepared(&folder, BUSY)));
    let pid = program.pid();
    assert_eq!(program.ask("?"), OLD);
    let mut gdb = Command::new("gdb");
    gdb.args([
        "-nx",
        "-q",
        "-p",
        &pid,
        "-ex",
        "handle SIGALRM nostop noprint",
        "-ex",
        "set confirm off",
    ]);
    let gdb = gdb.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut gdb = gdb.spawn().expect("gdb is needed for this test");
    let tracer = || {
        std::fs::read_to_string(format!("/proc/{pid}/status"))
            .expect("procfs")
            .contains(&format!("TracerPid:\t{}", gdb.id()))
    };
    while !tracer() {
        std::thread::yield_now();
    }
    let text = folder.restub_error(5, &["patch", &pid, "fix.o"]);
    assert!(text.contains("gdb"), "{text}");
    drop(gdb.stdin.take());
    gdb.wait().expect("gdb ends at the end of its input");
    folder.restub_ok(&["patch", &pid, "fix.o"]);
    assert_eq!(program.ask("?"), NEW);
}
