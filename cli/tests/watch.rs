//! `restub run --watch`: what changes on disk takes the place of its old version, and the program keeps its state.

#![allow(missing_docs, reason = "tests have names")]

mod support;

use std::io::{BufRead as _, BufReader, Read};
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use support::Folder;

/// How long something may take that happens at once on a machine that has nothing else to do.
const DEADLINE: Duration = Duration::from_secs(120);

/// A program that is being watched.
#[derive(Debug)]
struct Program {
    child: Child,
    input: Option<ChildStdin>,
    output: Lines,
    errors: Lines,
}

/// Lines as they come, and those that have come.
#[derive(Debug)]
struct Lines {
    coming: Receiver<String>,
    seen: Vec<String>,
}

impl Lines {
    fn of(from: impl Read + Send + 'static) -> Self {
        let (sender, coming) = mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(from).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Lines {
            coming,
            seen: Vec::new(),
        }
    }

    fn next(&mut self, deadline: Instant) -> Option<String> {
        let line = self
            .coming
            .recv_timeout(deadline.saturating_duration_since(Instant::now()))
            .ok()?;
        self.seen.push(line.clone());
        Some(line)
    }

    /// The next line that has all of these parts.
    fn wait_for(&mut self, parts: &[&str]) -> String {
        let deadline = Instant::now() + DEADLINE;
        while let Some(line) = self.next(deadline) {
            if parts.iter().all(|part| line.contains(part)) {
                return line;
            }
        }
        panic!("no line with {parts:?} in {:#?}", self.seen)
    }

    /// What is left when the writer has closed its end.
    fn rest(mut self) -> Vec<String> {
        let deadline = Instant::now() + DEADLINE;
        while self.next(deadline).is_some() {}
        assert!(Instant::now() < deadline, "the end does not come: {:#?}", self.seen);
        self.seen
    }
}

impl Program {
    /// Runs `restub run --watch` with these arguments.
    fn start(folder: &Folder, arguments: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_restub"));
        command.args(["run", "--watch"]).args(arguments);
        command.current_dir(folder.path()).env("LC_ALL", "C");
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().expect("restub runs");
        Program {
            input: child.stdin.take(),
            output: Lines::of(child.stdout.take().expect("a pipe")),
            errors: Lines::of(child.stderr.take().expect("a pipe")),
            child,
        }
    }

    /// Has the program end by the end of its input, and gives its status and all of its lines.
    fn end(mut self) -> (ExitStatus, Vec<String>, Vec<String>) {
        drop(self.input.take());
        let (output, errors) = (self.output.rest(), self.errors.rest());
        (self.child.wait().expect("a status"), output, errors)
    }
}

/// Writes a file as editors do: another one takes its name.
fn save(folder: &Folder, name: &str, contents: &str) {
    let next = format!("{name}.next");
    folder.write(&next, contents);
    std::fs::rename(folder.file(&next), folder.file(name)).expect("the file can be renamed");
}

/// Prints `value()` and what it counts all the time, from two threads, until its input ends; then returns 7.
const MAIN: &str = r#"
    #include <poll.h>
    #include <pthread.h>
    #include <stdio.h>
    int value(void);
    int counter;
    static _Atomic int done;
    static void *other(void *argument) {
        long calls = 0;
        while (!done) { int now = value(); if (now <= 0) { printf("wrong %d\n", now); fflush(stdout); } calls++; }
        return (void *)calls;
    }
    void step(void) {
        static int calls;
        printf("value %d counter %d calls %d\n", value(), ++counter, ++calls);
        fflush(stdout);
    }
    int main(void) {
        struct pollfd input = { 0, POLLIN, 0 };
        pthread_t thread;
        void *calls;
        pthread_create(&thread, 0, other, 0);
        while (poll(&input, 1, 5) == 0) step();
        done = 1;
        pthread_join(thread, &calls);
        printf("the thread has called: %d\n", (long)calls > 0);
        return 7;
    }
"#;

/// The three numbers of a line that `step` prints.
fn numbers(line: &str) -> [i64; 3] {
    let words: Vec<&str> = line.split(' ').collect();
    [1, 3, 5].map(|index| words[index].parse().unwrap_or_else(|_| panic!("{line}")))
}

#[test]
fn functions_change_and_state_stays() {
    let folder = Folder::new();
    folder.write("main.c", MAIN);
    folder.write("value.h", "#define BASE 100\n");
    let value = |number: i32, more: &str| {
        format!(
            "#include \"value.h\"\n{more}\nstatic int kept = 1;\nint value(void) {{ return BASE * kept + {number}; }}\n"
        )
    };
    folder.write("value.c", &value(1, ""));
    let mut program = Program::start(&folder, &["main.c", "value.c"]);
    program.output.wait_for(&["value 101 "]);
    for number in 2..6 {
        save(&folder, "value.c", &value(number, ""));
        let line = program.errors.wait_for(&["swapped in"]);
        assert!(line.starts_with("restub: value.c: compiled in "), "{line}");
        assert!(line.ends_with(": changed value; kept kept (1 variable)"), "{line}");
        program.output.wait_for(&[&format!("value {} ", 100 + number)]);
    }
    // A compile error leaves the old version running.
    save(
        &folder,
        "value.c",
        "#include \"value.h\"\nint value(void) { return nothing; }\n",
    );
    program.errors.wait_for(&["value.c:2:", "error"]);
    program
        .errors
        .wait_for(&["restub: value.c: cc failed (exit status: 1); the old version runs on"]);
    program.output.wait_for(&["value 105 "]);
    // A header is compiled with the sources that include it.
    save(
        &folder,
        "value.c",
        &value(5, "int added = 3; int helper(void) { return added; }"),
    );
    program.errors.wait_for(&["new added, helper; kept kept"]);
    save(&folder, "value.h", "#define BASE 200\n");
    let line = program.errors.wait_for(&["swapped in"]);
    assert!(
        line.ends_with(": changed value; kept added, kept (2 variables)"),
        "{line}"
    );
    program.output.wait_for(&["value 205 "]);
    // What nobody calls may go.
    save(&folder, "value.c", &value(6, ""));
    program
        .errors
        .wait_for(&["changed value; kept kept (1 variable); dropped added, helper"]);
    program.output.wait_for(&["value 206 "]);
    // And what runs is called anew from where it runs.
    save(&folder, "main.c", &MAIN.replace("\"value %d", "\"number %d"));
    let line = program.errors.wait_for(&["restub: main.c: compiled in"]);
    assert!(
        line.contains("changed step; kept calls, counter, done (3 variables)"),
        "{line}"
    );
    program.output.wait_for(&["number 206 counter "]);
    let (status, output, errors) = program.end();
    assert_eq!(status.code(), Some(7), "{errors:#?}");
    let steps: Vec<_> = output.iter().filter(|line| line.contains(" counter ")).collect();
    for (index, line) in steps.iter().enumerate() {
        let count = index as i64 + 1;
        assert_eq!(numbers(line)[1..], [count, count], "{line}");
    }
    assert_eq!(output.len(), steps.len() + 1, "{output:#?}");
    assert_eq!(output.last().map(String::as_str), Some("the thread has called: 1"));
}

#[test]
fn what_cannot_take_the_place_is_refused_with_the_remedy() {
    let folder = Folder::new();
    folder.write("main.c", MAIN);
    let value =
        |number: i32, size: i32| format!("int table[{size}]; int value(void) {{ return {number} + table[0]; }}\n");
    folder.write("value.c", &value(1, 4));
    let mut program = Program::start(&folder, &["main.c", "value.c"]);
    program.output.wait_for(&["value 1 "]);
    save(&folder, "value.c", &value(2, 5));
    program
        .errors
        .wait_for(&["restub: value.c: ", "not swapped, the old version runs on:"]);
    program
        .errors
        .wait_for(&["  value.c: table has 20 bytes, and 16 in value.c"]);
    program
        .errors
        .wait_for(&["  remedy: give the variable another name, or start the program again with --data-reset"]);
    program.output.wait_for(&["value 1 "]);
    save(&folder, "value.c", "int table[4]; int other(void) { return 3; }\n");
    program.errors.wait_for(&["not swapped"]);
    program
        .errors
        .wait_for(&["  value would be gone, and is called by main.c"]);
    program.errors.wait_for(&["--allow-dangling"]);
    program.output.wait_for(&["value 1 "]);
    save(&folder, "value.c", &value(1, 4));
    program.errors.wait_for(&["restub: value.c: ", "as it is loaded"]);
    save(&folder, "value.c", &value(3, 4));
    program.errors.wait_for(&["changed value; kept table (1 variable)"]);
    program.output.wait_for(&["value 3 "]);
    assert_eq!(program.end().0.code(), Some(7));
}

#[test]
fn data_can_be_reset_and_functions_dangle() {
    let folder = Folder::new();
    folder.write(
        "main.c",
        &MAIN.replace("return 7", "extern int last(void); return last()"),
    );
    let value = |size: i32| format!("int table[{size}] = {{{size}}}; int value(void) {{ return table[0]; }}\n");
    folder.write("value.c", &format!("{} int last(void) {{ return 9; }}\n", value(4)));
    let mut program = Program::start(&folder, &["--data-reset", "--allow-dangling", "main.c", "value.c"]);
    program.output.wait_for(&["value 4 "]);
    save(&folder, "value.c", &value(5));
    program.errors.wait_for(&["reset table; dropped last"]);
    program.output.wait_for(&["value 5 "]);
    let (status, _, errors) = program.end();
    assert_eq!(status.signal(), Some(libc::SIGABRT), "{errors:#?}");
    assert!(errors.iter().any(|line| line.contains("last")), "{errors:#?}");
}

#[test]
fn files_that_change_together_are_swapped_together() {
    let folder = Folder::new();
    folder.write("main.c", MAIN);
    folder.write("types.h", "typedef int number;\n");
    let value = |kind: &str, factor: i32| {
        format!("#include \"types.h\"\nnumber part({kind}); int value(void) {{ return part({factor}) * {factor}; }}\n")
    };
    let part =
        |kind: &str, factor: i32| format!("#include \"types.h\"\nnumber part({kind} n) {{ return n * {factor}; }}\n");
    folder.write("value.c", &value("int", 2));
    folder.write("part.c", &part("int", 2));
    let mut program = Program::start(&folder, &["main.c", "value.c", "part.c"]);
    program.output.wait_for(&["value 8 "]);
    // One of the two does not compile, so the other one waits for it.
    folder.write("next", "typedef double number;\n");
    save(&folder, "part.c", "wrong\n");
    program.errors.wait_for(&["part.c: cc failed"]);
    save(&folder, "value.c", &value("double", 3));
    program
        .errors
        .wait_for(&["restub: value.c: compiled in", "waits for part.c"]);
    program.output.wait_for(&["value 8 "]);
    save(&folder, "part.c", &part("double", 3));
    let line = program.errors.wait_for(&["swapped in"]);
    assert!(line.starts_with("restub: value.c, part.c: compiled in"), "{line}");
    assert!(line.ends_with(": changed part, value"), "{line}");
    program.output.wait_for(&["value 27 "]);
    std::fs::rename(folder.file("next"), folder.file("types.h")).expect("the file can be renamed");
    let line = program.errors.wait_for(&["swapped in"]);
    assert!(line.starts_with("restub: value.c, part.c: compiled in"), "{line}");
    program.output.wait_for(&["value 27 "]);
    let (status, output, _) = program.end();
    assert_eq!(status.code(), Some(7));
    let values = output
        .iter()
        .filter(|line| line.contains(" counter "))
        .map(|line| numbers(line)[0]);
    assert!(values.clone().all(|value| [8, 27].contains(&value)), "{output:#?}");
}

#[test]
fn objects_are_taken_when_they_are_whole() {
    let folder = Folder::new();
    folder.write("main.c", MAIN);
    folder.tool("gcc", &["-c", "main.c"]);
    let compile = |number: i32| {
        folder.compile(
            "value.c",
            &format!("int value(void) {{ return {number}; }}"),
            &["-fPIC", "-o", "ignored.o"],
        );
    };
    compile(1);
    let mut program = Program::start(&folder, &["-v", "main.o", "value.o"]);
    program.output.wait_for(&["value 1 "]);
    // Rewritten in place by the compiler, and by rename.
    compile(2);
    program
        .errors
        .wait_for(&["restub: value.o: swapped in", "changed value"]);
    program.errors.wait_for(&["  changed function value"]);
    program.output.wait_for(&["value 2 "]);
    folder.compile("other.c", "int value(void) { return 3; }", &[]);
    std::fs::rename(folder.file("other.o"), folder.file("value.o")).expect("the file can be renamed");
    program.errors.wait_for(&["restub: value.o: swapped in"]);
    program.output.wait_for(&["value 3 "]);
    // A part of it is not loaded.
    folder.compile("other.c", "int value(void) { return 4; }", &[]);
    let whole = std::fs::read(folder.file("other.o")).expect("the object");
    std::fs::write(folder.file("value.o"), &whole[..whole.len() / 2]).expect("the file can be written");
    program
        .errors
        .wait_for(&["restub: value.o: ", "the old version runs on"]);
    program.output.wait_for(&["value 3 "]);
    std::fs::write(folder.file("value.o"), &whole).expect("the file can be written");
    program.errors.wait_for(&["restub: value.o: swapped in"]);
    program.output.wait_for(&["value 4 "]);
    assert_eq!(program.end().0.code(), Some(7));
}

#[test]
fn the_users_own_build_is_run() {
    let folder = Folder::new();
    folder.write("main.c", MAIN);
    std::fs::create_dir(folder.file("parts")).expect("a folder");
    folder.write(
        "parts/value.c",
        "#include \"value.h\"\nint value(void) { return VALUE; }\n",
    );
    folder.write("parts/value.h", "#define VALUE 1\n");
    folder.write("build", "set -e; gcc -c main.c; gcc -c parts/value.c\n");
    folder.tool("sh", &["build"]);
    let mut program = Program::start(&folder, &["--on-change", "sh build", "main.o", "value.o"]);
    program.output.wait_for(&["value 1 "]);
    save(&folder, "parts/value.h", "#define VALUE 2\n");
    program.errors.wait_for(&["restub: sh build: built in "]);
    program
        .errors
        .wait_for(&["restub: value.o: swapped in", "changed value"]);
    program.output.wait_for(&["value 2 "]);
    save(&folder, "parts/value.h", "#define VALUE no\n");
    program
        .errors
        .wait_for(&["restub: sh build: failed (exit status: 1); the old version runs on"]);
    save(&folder, "parts/value.h", "#define VALUE 3\n");
    program.output.wait_for(&["value 3 "]);
    assert_eq!(program.end().0.code(), Some(7));
}

#[test]
fn exceptions_pass_through_what_was_replaced() {
    let folder = Folder::new();
    let main = r#"
        #include <poll.h>
        #include <iostream>
        #include <stdexcept>
        int thrown(int);
        struct Guard { ~Guard() { std::cout << "unwound "; } };
        int main() {
            pollfd input = { 0, POLLIN, 0 };
            while (poll(&input, 1, 5) == 0) {
                try { Guard guard; thrown(1); } catch (const std::exception &error) { std::cout << error.what() << std::endl; }
            }
        }
    "#;
    let thrown = |text: &str| {
        format!(
            "#include <stdexcept>
             #include <string>
             static std::string kept = \"a string that is too long to be in place\";
             inline int count() {{ static int calls; return ++calls; }}
             int thrown(int n) {{
                 throw std::runtime_error(\"{text} \" + std::to_string(kept.size()) + (count() > 0 ? \"\" : \"!\"));
             }}"
        )
    };
    folder.write("main.cc", main);
    folder.write("thrown.cc", &thrown("first"));
    let mut program = Program::start(&folder, &["--cflags=-O1", "main.cc", "thrown.cc"]);
    program.output.wait_for(&["unwound first 40"]);
    for text in ["second", "third"] {
        save(&folder, "thrown.cc", &thrown(text));
        program
            .errors
            .wait_for(&["restub: thrown.cc: ", "swapped in", "constructors not run"]);
        program.output.wait_for(&[&format!("unwound {text} 40")]);
    }
    let (status, _, errors) = program.end();
    assert_eq!(status.code(), Some(0), "{errors:#?}");
}

#[test]
fn rust_and_assembly_are_replaced() {
    let folder = Folder::new();
    folder.write(
        "main.c",
        &MAIN.replace(
            "int value(void);",
            "int rust(int), assembly(int); int value(void) { return rust(1) + assembly(1); }",
        ),
    );
    let rust = |factor: i32| {
        format!(
            "#[unsafe(no_mangle)] pub extern \"C\" fn rust(n: i32) -> i32 {{ format!(\"{{}}\", n * {factor}).parse().unwrap_or(0) }}\n"
        )
    };
    let assembly = |factor: i32| format!(".globl assembly\nassembly: imull ${factor}, %edi, %eax\n ret\n");
    folder.write("rust.rs", &rust(10));
    folder.write("assembly.s", &assembly(100));
    let mut program = Program::start(&folder, &["main.c", "rust.rs", "assembly.s"]);
    program.output.wait_for(&["value 110 "]);
    save(&folder, "rust.rs", &rust(20));
    program
        .errors
        .wait_for(&["restub: rust.rs: compiled in ", "changed rust"]);
    program.output.wait_for(&["value 120 "]);
    save(&folder, "assembly.s", &assembly(200));
    program
        .errors
        .wait_for(&["restub: assembly.s: compiled in ", "changed assembly"]);
    program.output.wait_for(&["value 220 "]);
    save(&folder, "assembly.s", "assembly: imul\n");
    program.errors.wait_for(&["assembly.s:1:"]);
    save(&folder, "assembly.s", &assembly(300));
    program.output.wait_for(&["value 320 "]);
    assert_eq!(program.end().0.code(), Some(7));
}

#[test]
fn files_may_use_each_others_variables_and_what_is_hidden() {
    let folder = Folder::new();
    folder.write(
        "main.c",
        &MAIN.replace("int value(void);", "int of_main = 1; int value(void);"),
    );
    let value = |number: i32| {
        format!(
            "extern int of_main; int of_value = 4; int hidden(void);
             int value(void) {{ return of_main * 1000 + {number} * 10 + hidden(); }}"
        )
    };
    folder.write("value.c", &value(1));
    let hidden = |number: i32| {
        format!("extern int of_value, counter; int hidden(void) {{ return {number} + of_value + (counter < 0); }}")
    };
    folder.write("hidden.c", &hidden(1));
    let flags = "--cflags=-O2 -fvisibility=hidden";
    let mut program = Program::start(&folder, &[flags, "main.c", "value.c", "hidden.c"]);
    program.output.wait_for(&["value 1015 "]);
    save(&folder, "hidden.c", &hidden(2));
    program.errors.wait_for(&["restub: hidden.c: ", "changed hidden"]);
    program.output.wait_for(&["value 1016 "]);
    save(&folder, "value.c", &value(2));
    program
        .errors
        .wait_for(&["restub: value.c: ", "changed value", "kept of_value (1 variable)"]);
    program.output.wait_for(&["value 1026 "]);
    assert_eq!(program.end().0.code(), Some(7));
}

#[test]
fn archives_give_what_is_needed_then_and_later() {
    let folder = Folder::new();
    folder.write("main.c", MAIN);
    folder.compile(
        "first.c",
        "int calls; int first(void) { return 10 + 0 * calls++; }",
        &[],
    );
    folder.compile(
        "second.c",
        "int first(void); int second(void) { return first() * 2; }",
        &[],
    );
    folder.tool("ar", &["rcs", "libparts.a", "first.o", "second.o"]);
    folder.tool("ar", &["rcsT", "libthin.a", "first.o", "second.o"]);
    for archive in ["libparts.a", "libthin.a"] {
        let value = |function: &str, number: i32| {
            format!(
                "#include <math.h>
                 int {function}(void); int value(void) {{ return {function}() + {number} + (int)cbrt({number}); }}"
            )
        };
        folder.write("value.c", &value("first", 1));
        let mut program = Program::start(&folder, &["main.c", "value.c", archive]);
        program.output.wait_for(&["value 12 "]);
        save(&folder, "value.c", &value("first", 8));
        program.output.wait_for(&["value 20 "]);
        save(&folder, "value.c", &value("second", 27));
        program.output.wait_for(&["value 50 "]);
        let (status, _, errors) = program.end();
        assert_eq!(status.code(), Some(7), "{errors:#?}");
    }
}

#[test]
fn only_what_has_changed_is_told() {
    let folder = Folder::new();
    folder.write("main.c", MAIN);
    let value = |text: &str, constant: i32, more: &str| {
        format!(
            "#include <stdio.h>
             {more}
             const int table[3] = {{1, 2, {constant}}};
             static const char *name(int n) {{ return n ? \"some\" : \"none\"; }}
             int pick(int n) {{ switch (n) {{ case 1: return 7; case 2: puts(\"two\"); return 9; case 3: return -1;
                 case 4: return 5; case 5: puts(\"five\"); return 3; case 6: return 11; default: return 0; }} }}
             int greet(int n) {{ return printf(\"{text} %s\\n\", name(n)); }}
             int value(void) {{ static int calls; return ++calls > 0 ? table[0] : 0; }}"
        )
    };
    for flags in ["-O0", "-O2", "-O2 -fno-function-sections -fno-data-sections -fno-pic"] {
        folder.write("value.c", &value("hello", 3, ""));
        let mut program = Program::start(&folder, &[&format!("--cflags={flags}"), "main.c", "value.c"]);
        program.output.wait_for(&["value 1 "]);
        save(&folder, "value.c", &value("good morning", 3, "// A line more."));
        let line = program.errors.wait_for(&["swapped in"]);
        assert!(
            line.ends_with(": changed greet; kept calls (1 variable)"),
            "{flags}: {line}"
        );
        save(&folder, "value.c", &value("good morning", 4, ""));
        let line = program.errors.wait_for(&["swapped in"]);
        assert!(
            line.ends_with(": changed table; kept calls (1 variable)"),
            "{flags}: {line}"
        );
        save(&folder, "value.c", &value("good morning", 4, "// Two.\n"));
        let line = program.errors.wait_for(&["swapped in"]);
        assert!(line.ends_with(": kept calls (1 variable)"), "{flags}: {line}");
        assert_eq!(program.end().0.code(), Some(7));
    }
}

#[test]
fn old_versions_are_freed() {
    let folder = Folder::new();
    // Looking for threads in old versions interrupts them.
    folder.write(
        "main.c",
        &MAIN.replace("poll(&input, 1, 5) == 0", "poll(&input, 1, 5) <= 0"),
    );
    let value = |number: i32| format!("int value(void) {{ return {number}; }}\n");
    folder.write("value.c", &value(1));
    let mut program = Program::start(&folder, &["--reclaim", "always", "-v", "main.c", "value.c"]);
    for number in 1..5 {
        save(&folder, "value.c", &value(number));
        program.output.wait_for(&[&format!("value {number} ")]);
        if number > 1 {
            program.errors.wait_for(&["restub: freed 1 old version, "]);
        }
    }
    assert_eq!(program.end().0.code(), Some(7));
}

/// What a program may do with its process, in which there must be nothing that it does not know of.
const PROCESS: &str = r#"
    #include <errno.h>
    #include <pthread.h>
    #include <signal.h>
    #include <stdio.h>
    #include <stdlib.h>
    #include <string.h>
    #include <sys/wait.h>
    #include <unistd.h>
    static void *thread(void *argument) { usleep(1000); printf("thread\n"); fflush(stdout); return argument; }
    static void handler(int number) { _exit(number == SIGUSR1 ? 5 : 6); }
    int main(int argc, char **argv) {
        const char *how = argv[1];
        pthread_t id;
        int status;
        if (!strcmp(how, "wait")) { printf("%d %d\n", wait(&status), errno == ECHILD); return 3; }
        if (!strcmp(how, "thread")) { pthread_create(&id, 0, thread, 0); pthread_exit(0); }
        if (!strcmp(how, "exit")) exit(4);
        if (!strcmp(how, "signal")) { signal(SIGUSR1, handler); kill(getpid(), SIGUSR1); for (;;) pause(); }
        if (!strcmp(how, "term")) { kill(getpid(), SIGTERM); for (;;) pause(); }
        if (!strcmp(how, "fork")) { if (fork() == 0) exit(2); wait(&status); return WEXITSTATUS(status) + 40; }
        if (!strcmp(how, "exec")) { execlp("sh", "sh", "-c", "exit 8", (char *)0); }
        if (!strcmp(how, "abort")) abort();
        return 1;
    }
"#;

#[test]
fn the_process_is_the_programs_own() {
    let folder = Folder::new();
    folder.write("process.c", PROCESS);
    folder.tool("gcc", &["process.c", "-o", "process"]);
    let linked = folder.file("process").display().to_string();
    for how in ["wait", "thread", "exit", "signal", "term", "fork", "exec"] {
        let theirs = folder.output(&linked, &[how]);
        let (status, output, errors) = Program::start(&folder, &["process.c", "--", how]).end();
        let text = String::from_utf8_lossy(&theirs.stdout).into_owned();
        assert_eq!(output, text.lines().collect::<Vec<_>>(), "{how}");
        assert_eq!(errors, Vec::<String>::new(), "{how}");
        assert_eq!(status, theirs.status, "{how}");
    }
    let (status, _, errors) = Program::start(&folder, &["process.c", "--", "abort"]).end();
    assert_eq!(status.signal(), Some(libc::SIGABRT));
    assert!(errors[0].contains("called from main+0x"), "{errors:#?}");
}

#[test]
fn nothing_is_left_behind() {
    let folder = Folder::new();
    let temporary = folder.file("temporary");
    std::fs::create_dir(&temporary).expect("a folder");
    folder.write("main.c", "int main(void) { return 0; }");
    let count = |folder: &Path| std::fs::read_dir(folder).expect("the folder").count();
    for arguments in [&["run", "main.c"][..], &["run", "--watch", "main.c"]] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_restub"));
        command
            .args(arguments)
            .current_dir(folder.path())
            .env("TMPDIR", &temporary);
        // The watcher has the other end of the pipe, so that this is the end of both.
        let output = command.output().expect("restub runs");
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        assert_eq!(count(&temporary), 0, "{arguments:?}");
    }
}
