//! Memory of patches: free again once nothing can have an address of it; and cumulative patches.

#![allow(missing_docs, reason = "tests have names")]

mod support;

use restub_loader::Input;
use restub_process::{EntryState, Exposed, Options, Which, history, patch, revert, status};
use support::{Folder, Program};

/// With threads that are in the function, and with a stack that no thread uses.
const PROGRAM: &str = r#"
    #include <pthread.h>
    #include <stdio.h>
    #include <stdlib.h>
    #include <ucontext.h>
    #include <unistd.h>
    #define NOIPA __attribute__((noipa, noinline))
    int counter;
    NOIPA int one(int n) { counter++; return n + 1; }
    NOIPA int two(int n) { counter++; return n * 1000 / (n + 498); }
    NOIPA int waits(int n) { char c; return read(n, &c, 1) + counter; }
    static ucontext_t outside, inside;
    NOIPA void suspend(void) { swapcontext(&inside, &outside); }
    NOIPA int suspends(int n) { suspend(); return n + counter; }
    static void coroutine(void) { for (;;) { suspends(1); swapcontext(&inside, &outside); } }
    static void *loop(void *unused) {
        for (;;) { if (one(1) < 0 || two(2) < 0) abort(); usleep(10); }
        return unused;
    }
    int main(void) {
        char line[16];
        pthread_t threads[3];
        for (int i = 0; i < 3; i++) pthread_create(&threads[i], 0, loop, 0);
        getcontext(&inside);
        inside.uc_stack.ss_sp = malloc(65536);
        inside.uc_stack.ss_size = 65536;
        makecontext(&inside, coroutine, 0);
        while (fgets(line, sizeof line, stdin)) {
            if (line[0] == 's') swapcontext(&outside, &inside);
            printf("%d %d\n", one(10), two(2));
            fflush(stdout);
        }
        _exit(0);
    }
"#;

fn started(folder: &Folder) -> Program {
    let mut program = Program::start(
        &folder.compile("gcc", "prog.c", PROGRAM, "prog", &["-O2", "-pthread"]),
        &[],
    );
    assert_eq!(program.ask(""), "11 4");
    program
}

fn object(folder: &Folder, name: &str, source: &str) -> Vec<Input<'static>> {
    let source = source.replace("NOIPA", "__attribute__((noipa, noinline))");
    folder.object("gcc", name, &source, &["-O2", "-fPIE"])
}

/// A patch of its own each time: other bytes, other sizes, variables and constants of its own.
fn version(folder: &Folder, number: usize, extra: &str) -> Vec<Input<'static>> {
    let grow = format!("n = n * {number} / {number}; counter += 0; spare += n; ").repeat(number % 7);
    let source = format!(
        "extern int counter; int getpid(void); static int spare;
         NOIPA int mine_{number}(int n) {{ {grow} counter++; return getpid() > 1 ? n : 0; }}
         {extra}
         int one(int n) {{ return mine_{number}(n) + {number}; }}
         double unused_{number}(double x) {{ return x * {number}.5; }}"
    );
    object(folder, &format!("v{number}.c"), &source)
}

/// Applies and reverts so many patches. Gives the most bytes of reverted ones that the process had at a time.
fn many(count: usize, extra: &str, options: &Options) -> u64 {
    let folder = Folder::new();
    let mut program = started(&folder);
    let pid = program.pid();
    let mut memory = Vec::new();
    let mut most = 0;
    for number in 1..=count {
        patch(pid, &version(&folder, number, extra), options).expect("the patch");
        assert_eq!(program.ask(""), format!("{} 4", 10 + number));
        revert(pid, &Which::Last, options).expect("it is reverted");
        assert_eq!(program.ask(""), "11 4");
        let now = status(pid).expect("the status");
        most = now.retained_bytes.max(most);
        memory.push((program.memory_kib("VmSize"), now.mapped_bytes));
    }
    let resident = program.memory_kib("VmRSS");
    println!(
        "{count} patches, {:?}: VmRSS {resident} KiB; at most {most} bytes of reverted patches",
        options.exposed
    );
    assert_eq!(history(pid).expect("the history").len(), 2 * count);
    assert!(memory.iter().all(|now| *now == memory[0]), "{memory:?}");
    program.end();
    most
}

/// Reverted patches wait until there are 16; some may have to wait for the next time.
const FEW_BYTES: u64 = 32 << 10;

#[test]
fn two_hundred_patches_take_no_more_memory_than_a_few() {
    let most = many(200, "", &Options::default());
    assert!(most < FEW_BYTES, "{most}");
}

const STRING: &str =
    "int puts(const char *); void say(void) { puts(\"a string, whose address may be anywhere afterwards\"); }
    static const char filler[2048] = {1, 2, 3}; const char *get(int n) { return filler + n; }";

#[test]
fn what_the_program_may_point_to_stays() {
    let most = many(40, STRING, &Options::default());
    assert!(most > 40 * 2048, "{most}");
}

#[test]
fn the_caller_may_promise_that_it_points_to_nothing() {
    let options = Options {
        exposed: Exposed::Free,
        ..Options::default()
    };
    let most = many(40, STRING, &options);
    assert!(most < 24 * 4096, "{most}");
}

#[test]
fn a_stack_that_no_thread_uses_holds_a_patch() {
    let folder = Folder::new();
    let mut program = started(&folder);
    let pid = program.pid();
    let options = Options::default();
    let first = object(
        &folder,
        "suspended.c",
        "extern int counter; void suspend(void); int suspends(int n) { suspend(); counter += 1000; return n; }",
    );
    patch(pid, &first, &options).expect("the patch");
    assert_eq!(program.ask("s"), "11 4");
    revert(pid, &Which::Last, &options).expect("it is reverted");
    // Enough of others for what is free to be found out.
    for number in 1..=40 {
        patch(pid, &version(&folder, number, ""), &options).expect("the patch");
        revert(pid, &Which::Last, &options).expect("it is reverted");
    }
    // Back into the first patch, which has to be there.
    assert_eq!(program.ask("s"), "11 4");
    assert_eq!(program.ask("s"), "11 4");
    program.end();
}

#[test]
fn a_cumulative_patch_takes_the_place_of_all() {
    let folder = Folder::new();
    let mut program = started(&folder);
    let pid = program.pid();
    let options = Options::default();
    let first = object(
        &folder,
        "first.c",
        "int helper(int n) { return n + 100; } int one(int n) { return helper(n); }",
    );
    let second = object(
        &folder,
        "second.c",
        "int two(int n) { return n + 200; } int helper(int n); int waits(int n) { return helper(n) * 100 / n; }",
    );
    patch(pid, &first, &options).expect("the first patch");
    patch(pid, &second, &options).expect("the second patch");
    assert_eq!(program.ask(""), "110 202");
    let all = Options {
        replace: true,
        ..Options::default()
    };
    let third = object(&folder, "third.c", "int two(int n) { return n + 300; }");
    let report = patch(pid, &third, &all).expect("the third patch");
    assert_eq!(report.plan.replaces, ["first.c", "second.c"]);
    assert_eq!(
        (report.stop, report.plan.needs_stop),
        (None, false),
        "all entries are redirected already"
    );
    assert_eq!(program.ask(""), "11 302");
    let now = status(pid).expect("the status");
    let names: Vec<&str> = now.patches.iter().map(|patch| patch.name.as_str()).collect();
    assert_eq!(names, ["third.c"]);
    let function = |name: &str| {
        now.functions
            .iter()
            .find(|function| function.name == name)
            .expect("it was redirected")
    };
    assert_eq!(
        (function("one").runs.clone(), function("two").runs.as_deref()),
        (None, Some("third.c"))
    );
    // What the others defined is no more to be had.
    let fourth = object(
        &folder,
        "fourth.c",
        "int helper(int n); int one(int n) { return helper(n); }",
    );
    let error = patch(pid, &fourth, &all).expect_err("nothing defines it").to_string();
    assert!(error.contains("undefined symbol helper"), "{error}");
    others_become_what_they_were(&folder, &mut program);
    program.end();
}

fn others_become_what_they_were(folder: &Folder, program: &mut Program) {
    let pid = program.pid();
    let options = Options::default();
    let all = Options {
        replace: true,
        ..Options::default()
    };
    // With an entry that is not redirected yet, all others become what they were in the same stop.
    let suspends = object(
        folder,
        "suspends.c",
        "extern int counter; int suspends(int n) { return n * counter / 5; }",
    );
    let report = patch(pid, &suspends, &all).expect("the fifth patch");
    assert!(
        report.stop.is_some() && report.plan.replaces == ["third.c"],
        "{report:?}"
    );
    assert_eq!(program.ask(""), "11 4");
    let now = status(pid).expect("the status");
    for function in &now.functions {
        let expected = if function.name == "suspends" {
            EntryState::Redirected
        } else {
            EntryState::Original
        };
        assert_eq!(function.entry, expected, "{}", function.name);
    }
    // Applied already, and the only one.
    assert!(
        patch(pid, &suspends, &all)
            .expect("it is applied")
            .plan
            .already_applied
            .is_some()
    );
    let actions: Vec<String> = history(pid)
        .expect("the history")
        .into_iter()
        .map(|event| format!("{} {}", event.action, event.patch))
        .collect();
    let expected = [
        "patch first.c",
        "patch second.c",
        "revert first.c",
        "revert second.c",
        "patch third.c",
        "revert third.c",
        "patch suspends.c",
    ];
    assert_eq!(actions, expected);
    revert(pid, &Which::All, &options).expect("it is reverted");
    assert_eq!(program.ask(""), "11 4");
}
