//! Thread-local variables: those of the target in every access model, and new ones.

#![allow(missing_docs, reason = "tests have names")]

mod support;

use restub_process::{Options, Which, patch, plan, revert};
use support::{Folder, Program};

const LIBRARY: &str =
    "__thread int in_library = 100; __attribute__((noipa, noinline)) int library(int n) { return in_library += n; }
    __attribute__((noipa, noinline)) int changed(int n) { return in_library + n * 1000 / (n + 498); }";
/// Two threads that are there all the time, each with values of its own, and any number that come and go.
const PROGRAM: &str = r#"
    #include <pthread.h>
    #include <semaphore.h>
    #include <stdio.h>
    #include <stdlib.h>
    #define NOIPA __attribute__((noipa, noinline))
    __thread int shared = 10;
    static __thread int hidden = 20, more = 30;
    static __thread char space[100];
    int library(int n);
    int changed(int n);
    NOIPA int touch(int n) { shared += n; hidden += n; more += n; space[n] = 1; return shared + hidden + more; }
    static sem_t asked[2], done[2];
    static int answers[2];
    static void *stays(void *number) {
        long own = (long)number;
        for (;;) { sem_wait(&asked[own]); answers[own] = touch(own + 1) * 10000 + library(own + 1) + changed(2); sem_post(&done[own]); }
        return 0;
    }
    static void *comes(void *unused) { int a = touch(1); return (void *)(long)(touch(1) - a); }
    int main(void) {
        char line[16];
        pthread_t threads[2];
        for (long i = 0; i < 2; i++) { sem_init(&asked[i], 0, 0); sem_init(&done[i], 0, 0); pthread_create(&threads[i], 0, stays, (void *)i); }
        while (fgets(line, sizeof line, stdin)) {
            long sum = 0;
            for (int n = atoi(line); n > 0; n--) { pthread_t thread; void *result; pthread_create(&thread, 0, comes, 0); pthread_join(thread, &result); sum += (long)result; }
            for (int i = 0; i < 2; i++) { sem_post(&asked[i]); sem_wait(&done[i]); }
            printf("%d %d %ld\n", answers[0], answers[1], sum);
            fflush(stdout);
        }
        return 0;
    }
"#;
/// As the program's, with 1000 times as much for `touch`.
const EXISTING: &str = r#"
    extern __thread int shared;
    static __thread int hidden = 20, more = 30;
    static __thread char space[100];
    int touch(int n) { shared += n; hidden += n; more += n; space[n] = 1; return (shared + hidden + more) * 2; }
"#;
/// Of its own: initialized, zero, aligned, static and not; and one of the program's.
const FRESH: &str = r#"
    extern __thread int shared;
    __thread long fresh = 7;
    static __thread int zeros[300], second = 3;
    static __thread struct { char c; } __attribute__((aligned(256))) aligned;
    static int wrong(void) { return ((unsigned long)&aligned & 255) != 0 || zeros[299] != 0; }
    int touch(int n) {
        if (wrong()) return -1000000;
        shared += n; fresh += n; second += n; zeros[n]++; aligned.c++;
        return fresh * 100 + second * 10 + zeros[n] + aligned.c - 2;
    }
"#;

/// The library's, by code of a patch of it.
const OF_LIBRARY: &str = "extern __thread int in_library; int changed(int n) { return in_library + n * 10; }";

/// The program, with what its threads have called the library with so far.
struct Target {
    folder: Folder,
    program: Program,
    calls: u64,
}

impl Target {
    fn start(flags: &[&str]) -> Self {
        let folder = Folder::new();
        let (output, kind): (_, &[&str]) = if flags.contains(&"-static") {
            ("library.o", &["-O2", "-c"])
        } else {
            ("library.so", &["-O2", "-shared", "-fPIC"])
        };
        let library = folder.compile("gcc", "library.c", LIBRARY, output, kind);
        let library = library.to_str().expect("a path").to_owned();
        let path = folder.compile(
            "gcc",
            "prog.c",
            PROGRAM,
            "prog",
            &[&["-O2", "-pthread", "-Wl,--no-as-needed", &*library], flags].concat(),
        );
        let program = Program::start(&path, &[]);
        let mut target = Target {
            folder,
            program,
            calls: 0,
        };
        assert_eq!(target.touch(2), [63, 66, 6]);
        target
    }

    /// What `touch` gives in both threads, and in others that end; the library's variable has to be each thread's own.
    fn touch(&mut self, others: usize) -> [u64; 3] {
        let answer = self.program.ask(&others.to_string());
        let numbers: Vec<u64> = answer.split(' ').map(|number| number.parse().expect(&answer)).collect();
        self.calls += 1;
        for (thread, number) in numbers[..2].iter().enumerate() {
            let own = 100 + self.calls * (thread as u64 + 1);
            assert!([own * 2 + 4, own * 2 + 20].contains(&(number % 10000)), "{answer}");
        }
        [numbers[0] / 10000, numbers[1] / 10000, numbers[2]]
    }

    fn patch(&self, compiler: &str, source: &str, flags: &[&str]) {
        std::fs::create_dir_all(self.folder.path("patch")).expect("a folder");
        let objects = self
            .folder
            .object(compiler, "patch/prog.c", source, &[&["-O2"], flags].concat());
        patch(self.program.pid(), &objects, &Options::default())
            .unwrap_or_else(|error| panic!("{compiler} {flags:?}: {error}"));
    }

    fn revert(&self) {
        revert(self.program.pid(), &Which::All, &Options::default()).expect("it is reverted");
    }
}

/// Every way of compilers to get at a variable; the last one is for static programs.
const MODELS: [(&str, &[&str]); 7] = [
    ("gcc", &["-fPIC"]),
    ("gcc", &["-fPIC", "-fno-plt"]),
    ("gcc", &["-fPIC", "-mtls-dialect=gnu2"]),
    ("gcc", &["-fPIC", "-mcmodel=large"]),
    ("clang-19", &["-fPIC"]),
    ("clang-19", &["-fPIC", "-mtls-dialect=gnu2"]),
    ("gcc", &["-fPIE"]),
];

fn existing(flags: &[&str]) {
    let mut target = Target::start(flags);
    for (number, (compiler, model)) in MODELS.iter().enumerate() {
        let before = 3 * (target.calls + 1);
        target.patch(compiler, EXISTING, model);
        assert_eq!(
            target.touch(2),
            [2 * (60 + before), 2 * (60 + 2 * before), 12],
            "{compiler} {model:?}"
        );
        target.revert();
        assert_eq!(target.touch(2)[2], 6, "{number}");
        if model == &["-fPIE"] && !flags.contains(&"-static") {
            // At a fixed distance, which only the dynamic linker knows.
            let objects = target
                .folder
                .object(compiler, "library.c", OF_LIBRARY, &["-O2", "-fPIE"]);
            let error = plan(target.program.pid(), &objects, &Options::default()).expect_err("it is not known");
            assert!(error.to_string().contains("the library's block has none"), "{error}");
            continue;
        }
        target.patch(compiler, OF_LIBRARY, model);
        assert_eq!(target.touch(2)[2], 6, "{compiler} {model:?}");
        target.revert();
    }
    target.program.end();
}

#[test]
fn variables_of_the_program_and_of_a_library() {
    existing(&["-fPIE", "-pie"]);
}

#[test]
fn variables_of_a_program_at_a_fixed_address() {
    existing(&["-fno-pie", "-no-pie"]);
}

#[test]
fn variables_of_a_static_program() {
    existing(&["-static"]);
}

fn fresh(flags: &[&str]) {
    let mut target = Target::start(flags);
    for (compiler, model) in &MODELS[..6] {
        target.patch(compiler, FRESH, model);
        // Of each thread its own, and those that come find the initial values.
        assert_eq!(target.touch(3), [840, 950, 336], "{compiler} {model:?}");
        assert_eq!(target.touch(3), [952, 1172, 336], "{compiler} {model:?}");
        target.revert();
        assert_eq!(target.touch(2)[2], 6);
    }
    // What threads had goes with them.
    target.patch("gcc", FRESH, &["-fPIC"]);
    target.touch(300);
    let before = target.program.memory_kib("VmRSS");
    target.touch(3000);
    let after = target.program.memory_kib("VmRSS");
    assert!(after < before + 500, "{before} KiB, then {after} KiB");
    target.program.end();
}

#[test]
fn new_variables() {
    fresh(&["-fPIE", "-pie"]);
}

#[test]
fn new_variables_of_a_static_program() {
    fresh(&["-static"]);
}

#[test]
fn new_variables_at_a_fixed_distance_are_refused() {
    let target = Target::start(&[]);
    for (compiler, flags) in [
        ("gcc", "-fPIE"),
        ("gcc", "-ftls-model=initial-exec"),
        ("clang-19", "-fPIE"),
    ] {
        let objects = target.folder.object(compiler, "fresh.c", FRESH, &["-O2", flags]);
        let error = plan(target.program.pid(), &objects, &Options::default())
            .expect_err("no room")
            .to_string();
        assert!(
            error.contains("at a fixed distance from the thread pointer") && error.contains("-fPIC"),
            "{error}"
        );
    }
}

/// Takes all memory that `malloc` has, when it is told to.
const EXHAUSTED: &str = r#"
    #include <stdio.h>
    #include <stdlib.h>
    #include <sys/resource.h>
    __attribute__((noipa, noinline)) int touch(int n) { __asm__ volatile("nop; nop; nop; nop"); return n; }
    int main(void) {
        char line[16];
        while (fgets(line, sizeof line, stdin)) {
            if (line[0] == 'x') {
                struct rlimit none = {1, 1};
                setrlimit(RLIMIT_AS, &none);
                for (size_t size = 1 << 16; size; size /= 2) while (malloc(size)) {}
            }
            int first = touch(1), second = touch(1);
            void *memory = malloc(1);
            printf("%d %d %d\n", first, second, memory == 0);
            free(memory);
            fflush(stdout);
        }
        return 0;
    }
"#;

#[test]
fn new_variables_where_malloc_has_no_memory() {
    for (bytes, enough) in [(1000, true), (1 << 20, false)] {
        let folder = Folder::new();
        let path = folder.compile("gcc", "prog.c", EXHAUSTED, "prog", &["-O2"]);
        let log = std::fs::File::create(folder.path("log")).expect("a log");
        let mut program = Program::start_with(std::process::Command::new(path).stderr(log));
        assert_eq!(program.ask("?"), "1 1 0");
        let source = format!(
            "static __thread long count = 5; static __thread volatile char space[{bytes}];
             int touch(int n) {{ space[n]++; return count += n + space[n + 1]; }}"
        );
        let objects = folder.object("gcc", "fix.c", &source, &["-O2", "-fPIC"]);
        patch(program.pid(), &objects, &Options::default()).expect("the patch");
        if enough {
            assert_eq!(program.ask("x"), "6 7 1");
            assert_eq!(program.ask("?"), "8 9 1");
            program.end();
            continue;
        }
        program.send("x");
        assert_eq!(program.wait().code(), Some(127));
        assert_eq!(
            std::fs::read_to_string(folder.path("log")).expect("the log"),
            "cannot allocate memory for thread-local data of a patch\n"
        );
    }
}
