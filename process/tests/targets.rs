//! Processes of every kind: stripped ones with their symbols elsewhere, libraries, other namespaces, those that may not be
//! traced. Each is patched, or refused with the reason.

#![allow(missing_docs, reason = "tests have names")]

mod support;

use std::process::Command;

use restub_loader::Input;
use restub_process::{Error, Options, Which, patch, plan, revert, status};
use support::{Folder, Program, wait_until};

const PROGRAM: &str = r#"
    #include <stdio.h>
    #include <string.h>
    static int calls;
    __attribute__((noipa, used)) static int answer(const char *text) { calls++; return strlen(text) * 10 + calls; }
    int main(void) {
        char line[64];
        while (fgets(line, sizeof line, stdin)) { printf("%d\n", answer(line)); fflush(stdout); }
        return 0;
    }
"#;
const PATCH: &str = r#"
    #include <string.h>
    static int calls;
    __attribute__((noipa, used)) static int answer(const char *text) { calls++; return strlen(text) * 100 + calls; }
"#;

fn object(folder: &Folder) -> Vec<Input<'static>> {
    folder.object("gcc", "patch.c", PATCH, &["-O2", "-fPIC"])
}

fn is_patched_and_reverted(program: &mut Program, objects: &[Input<'_>]) {
    let options = Options::default();
    assert_eq!(program.ask("ab"), "31");
    let report = patch(program.pid(), objects, &options).expect("the patch");
    assert_eq!(report.plan.functions.len(), 1);
    assert_eq!(program.ask("ab"), "302");
    revert(program.pid(), &Which::Last, &options).expect("it is reverted");
    assert_eq!(program.ask("ab"), "33");
}

fn prepared(folder: &Folder, flags: &[&str]) -> Vec<Input<'static>> {
    folder.compile("gcc", "prog.c", PROGRAM, "prog", &[&["-O2"], flags].concat());
    object(folder)
}

#[test]
fn static_programs() {
    for flags in [&["-static"][..], &["-static-pie", "-fPIE"]] {
        let folder = Folder::new();
        let objects = prepared(&folder, flags);
        is_patched_and_reverted(&mut Program::start(&folder.path("prog"), &[]), &objects);
    }
}

#[test]
fn symbols_in_a_separate_file_by_its_name_and_checksum() {
    let folder = Folder::new();
    let objects = prepared(&folder, &["-Wl,--build-id=none"]);
    folder.tool("objcopy", &["--only-keep-debug", "prog", "prog.debug"]);
    folder.tool("strip", &["prog"]);
    folder.tool("objcopy", &["--add-gnu-debuglink=prog.debug", "prog"]);
    is_patched_and_reverted(&mut Program::start(&folder.path("prog"), &[]), &objects);
    // Without the file there is nothing to find the function by.
    std::fs::remove_file(folder.path("prog.debug")).expect("the file can go");
    let program = Program::start(&folder.path("prog"), &[]);
    let error = patch(program.pid(), &objects, &Options::default())
        .expect_err("there are no symbols")
        .to_string();
    assert!(error.contains("[no-function]"), "{error}");
}

#[test]
fn symbols_in_the_compressed_section() {
    let folder = Folder::new();
    // The section has functions only, so the patch cannot use the variable.
    let stateless = "#include <string.h>\n__attribute__((noipa, used)) static int answer(const char *text) { return strlen(text) * 100 + 2; }";
    let objects = folder.object("gcc", "stateless.c", stateless, &["-O2", "-fPIC"]);
    prepared(&folder, &[]);
    // What distributions' find-debuginfo does: a symbol table of functions, compressed.
    folder.tool("cp", &["prog", "mini"]);
    folder.tool("strip", &["prog"]);
    folder.tool("objcopy", &["-S", "--keep-symbol=answer", "mini", "mini.stripped"]);
    folder.tool("xz", &["-k", "mini.stripped"]);
    folder.tool("objcopy", &["--add-section", ".gnu_debugdata=mini.stripped.xz", "prog"]);
    let mut program = Program::start(&folder.path("prog"), &[]);
    assert_eq!(program.ask("ab"), "31");
    patch(program.pid(), &objects, &Options::default()).expect("the patch");
    assert_eq!(program.ask("ab"), "302");
    revert(program.pid(), &Which::Last, &Options::default()).expect("it is reverted");
    assert_eq!(program.ask("ab"), "32");
}

#[test]
fn symbols_by_build_id_in_the_root_of_the_process() {
    let folder = Folder::new();
    let objects = prepared(
        &folder,
        &["-static", "-Wl,--build-id=0x0123456789abcdef0123456789abcdef01234567"],
    );
    std::fs::create_dir_all(folder.path("usr/lib/debug/.build-id/01")).expect("folders");
    let debug = "usr/lib/debug/.build-id/01/23456789abcdef0123456789abcdef01234567.debug";
    folder.tool("objcopy", &["--only-keep-debug", "prog", debug]);
    folder.tool("strip", &["prog"]);
    // In a root folder of its own, and where this user may: with mounts and process numbers of its own.
    let mut command = Command::new("unshare");
    command
        .args(["--mount", "--pid", "--fork", "chroot"])
        .arg(folder.path(""))
        .arg("/prog");
    let mut outer = Program::start_with(&mut command);
    assert_eq!(outer.ask("a"), "21");
    let children = format!("/proc/{0}/task/{0}/children", outer.pid());
    let inner: i32 = std::fs::read_to_string(children)
        .expect("procfs")
        .trim()
        .parse()
        .expect("one child");
    patch(inner, &objects, &Options::default()).expect("the patch");
    assert_eq!(outer.ask("a"), "202");
    assert_eq!(status(inner).expect("the status").patches.len(), 1);
    revert(inner, &Which::Last, &Options::default()).expect("it is reverted");
    assert_eq!(outer.ask("a"), "23");
}

#[test]
fn functions_of_a_shared_library_whose_file_was_deleted() {
    let folder = Folder::new();
    let library = r#"
        static int hidden = 5;
        __attribute__((noipa)) static int inner(int x) { return x + hidden++; }
        int api(int x) { return inner(x) + 1; }
    "#;
    let main = r#"
        #include <stdio.h>
        int api(int);
        int main(void) { char line[64]; while (fgets(line, sizeof line, stdin)) { printf("%d\n", api(10)); fflush(stdout); } }
    "#;
    folder.compile("gcc", "lib.c", library, "libapi.so", &["-O2", "-fPIC", "-shared"]);
    let search = format!("-Wl,-rpath,{}", folder.path("").display());
    std::fs::write(folder.path("main.c"), main).expect("the source can be written");
    folder.tool("gcc", &["-O2", "main.c", "-o", "main", "-L.", "-lapi", &search]);
    let fixed = library.replace("return x + hidden++", "hidden++; return 100 * x + hidden");
    let objects = folder.object("gcc", "fix.c", &fixed, &["-O2", "-fPIC"]);
    let mut program = Program::start(&folder.path("main"), &[]);
    assert_eq!(program.ask(""), "16");
    std::fs::remove_file(folder.path("libapi.so")).expect("the file can go");
    let report = patch(program.pid(), &objects, &Options::default()).expect("the patch");
    assert!(report.plan.module.contains("libapi.so"), "{}", report.plan.module);
    assert_eq!(report.plan.kept_variables, ["hidden"]);
    assert_eq!(program.ask(""), "1008");
    revert(program.pid(), &Which::Last, &Options::default()).expect("it is reverted");
    assert_eq!(program.ask(""), "18");
}

#[test]
fn a_filter_for_system_calls_does_not_stand_in_the_way() {
    let folder = Folder::new();
    // Kills the process when it maps memory.
    let filter = r#"
        #include <linux/filter.h>
        #include <linux/seccomp.h>
        #include <stddef.h>
        #include <stdio.h>
        #include <sys/prctl.h>
        #include <sys/syscall.h>
        __attribute__((constructor)) static void restrict_calls(void) {
            static char buffers[2][4096];
            setvbuf(stdin, buffers[0], _IOFBF, 4096);
            setvbuf(stdout, buffers[1], _IOFBF, 4096);
            struct sock_filter code[] = {
                BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
                BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_mmap, 0, 1),
                BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
                BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
            };
            struct sock_fprog program = {4, code};
            prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
            prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program);
        }
    "#;
    folder.compile("gcc", "prog.c", &format!("{filter}{PROGRAM}"), "prog", &["-O2"]);
    let objects = object(&folder);
    is_patched_and_reverted(&mut Program::start(&folder.path("prog"), &[]), &objects);
}

#[test]
fn a_main_thread_that_has_ended() {
    let folder = Folder::new();
    let source = PROGRAM.replace("int main(void)", "int loop(void)")
        + r#"
            #include <pthread.h>
            static void *run(void *unused) { loop(); return unused; }
            int main(void) { pthread_t thread; pthread_create(&thread, 0, run, 0); pthread_exit(0); }
        "#;
    folder.compile("gcc", "prog.c", &source, "prog", &["-O2", "-pthread"]);
    let objects = object(&folder);
    let mut program = Program::start(&folder.path("prog"), &[]);
    let stat = format!("/proc/{}/stat", program.pid());
    wait_until("the main thread's end", || {
        std::fs::read_to_string(&stat).expect("procfs").contains(") Z")
    });
    is_patched_and_reverted(&mut program, &objects);
}

#[test]
fn a_process_that_is_stopped_stays_stopped() {
    let folder = Folder::new();
    let objects = prepared(&folder, &[]);
    let mut program = Program::start(&folder.path("prog"), &[]);
    assert_eq!(program.ask("ab"), "31");
    let pid = program.pid().to_string();
    let state = || std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("procfs");
    folder.tool("kill", &["-STOP", &pid]);
    wait_until("the stop", || state().contains(") T"));
    patch(program.pid(), &objects, &Options::default()).expect("the patch");
    wait_until("the stop", || state().contains(") T"));
    folder.tool("kill", &["-CONT", &pid]);
    assert_eq!(program.ask("ab"), "302");
}

#[test]
fn a_process_that_waits_in_vfork_is_refused_by_name() {
    let folder = Folder::new();
    let objects = prepared(&folder, &[]);
    let source = r#"
        #include <stdio.h>
        #include <unistd.h>
        __attribute__((noipa, used)) static int answer(const char *text) { return text[0] * 1000 + text[1] * 100; }
        int main(void) {
            if (vfork() == 0) { write(1, "in\n", 3); alarm(20); for (;;) pause(); }
            return answer("");
        }
    "#;
    let path = folder.compile("gcc", "vfork.c", source, "vfork", &["-O2"]);
    let mut command = Command::new(path);
    let mut program = Program::start_with(&mut command);
    assert_eq!(program.ask(""), "in");
    let options = Options {
        timeout: std::time::Duration::from_millis(300),
        ..Options::default()
    };
    let error = patch(program.pid(), &objects, &options).expect_err("it cannot stop");
    let children = std::fs::read_to_string(format!("/proc/{0}/task/{0}/children", program.pid())).expect("procfs");
    folder.tool("kill", &["-KILL", children.trim()]);
    assert!(error.to_string().contains("waits in vfork"), "{error}");
}

#[test]
fn who_may_not_be_traced_is_refused_with_the_reason() {
    let folder = Folder::new();
    let objects = prepared(&folder, &[]);
    let options = Options::default();
    let error = plan(i32::MAX, &objects, &options).expect_err("no such process");
    assert!(matches!(error, Error::NoProcess(_)), "{error}");
    let own = i32::try_from(std::process::id()).expect("a number");
    let error = patch(own, &objects, &options).expect_err("this process");
    assert!(error.to_string().contains("does not patch itself"), "{error}");
    let error = patch(2, &objects, &options).expect_err("a kernel thread");
    assert!(
        matches!(
            error,
            Error::Unsupported { .. } | Error::Permission { .. } | Error::NoProcess(_)
        ),
        "{error}"
    );

    // Held by another tracer: gdb, which says when it has the process.
    let mut program = Program::start(&folder.path("prog"), &[]);
    assert_eq!(program.ask("ab"), "31");
    let mut gdb = Command::new("gdb");
    let pid = program.pid().to_string();
    gdb.args([
        "-nx",
        "-q",
        "-p",
        &pid,
        "-iex",
        "set debuginfod enabled off",
        "-ex",
        "echo attached\\n",
    ]);
    let gdb = Program::start_with(gdb.stderr(std::process::Stdio::null()));
    let traced = format!("/proc/{pid}/status");
    wait_until("gdb", || {
        !std::fs::read_to_string(&traced)
            .expect("procfs")
            .contains("TracerPid:\t0")
    });
    let error = patch(program.pid(), &objects, &options).expect_err("it is traced");
    assert!(
        error.to_string().contains("is traced by process") && error.to_string().contains("(gdb)"),
        "{error}"
    );
    drop(gdb);
    wait_until("gdb's end", || {
        std::fs::read_to_string(&traced)
            .expect("procfs")
            .contains("TracerPid:\t0")
    });
    // gdb attaches by SIGSTOP, which outlives a gdb that is killed early.
    folder.tool("kill", &["-CONT", &pid]);
    patch(program.pid(), &objects, &options).expect("the patch");
    assert_eq!(program.ask("ab"), "302");
}

#[test]
fn system_calls_go_on_as_if_nothing_had_stopped_them() {
    let folder = Folder::new();
    let source = PROGRAM.replace("int main(void) {", "int main(void) { start();").replace(
        "static int calls;",
        r#"
            #include <errno.h>
            #include <poll.h>
            #include <pthread.h>
            #include <signal.h>
            #include <stdatomic.h>
            #include <sys/epoll.h>
            #include <sys/sem.h>
            #include <time.h>
            #include <unistd.h>
            static int calls;
            atomic_int failed, slept;
            static void *waits(void *unused) {
                int set = epoll_create1(0);
                struct epoll_event event;
                for (;;) if (epoll_wait(set, &event, 1, -1) < 0) failed |= 1;
                return unused;
            }
            static void *semaphores(void *unused) {
                int set = semget(IPC_PRIVATE, 1, 0600);
                struct sembuf take = {0, -1, 0};
                for (;;) if (semop(set, &take, 1) < 0) { if (errno != EINTR) break; failed |= 2; }
                return unused;
            }
            static void *polls(void *unused) {
                for (;;) if (poll(0, 0, -1) < 0) failed |= 4;
                return unused;
            }
            static void *signals(void *unused) {
                sigset_t set;
                sigemptyset(&set);
                sigaddset(&set, SIGUSR2);
                sigprocmask(SIG_BLOCK, &set, 0);
                for (;;) if (sigwaitinfo(&set, 0) < 0) failed |= 8;
                return unused;
            }
            static void *sleeps(void *unused) {
                struct timespec before, after, time = {1, 0};
                for (;;) {
                    clock_gettime(CLOCK_MONOTONIC, &before);
                    if (nanosleep(&time, 0) != 0) failed |= 16;
                    clock_gettime(CLOCK_MONOTONIC, &after);
                    if ((after.tv_sec - before.tv_sec) * 1000 + (after.tv_nsec - before.tv_nsec) / 1000000 < 1000) failed |= 32;
                    slept++;
                }
                return unused;
            }
            static void start(void) {
                void *(*all[])(void *) = {waits, semaphores, polls, signals, sleeps};
                for (int i = 0; i < 5; i++) { pthread_t thread; pthread_create(&thread, 0, all[i], 0); }
            }
        "#,
    );
    let source = source.replace(
        "printf(\"%d\\n\", answer(line))",
        "printf(\"%d %d\\n\", answer(line), failed)",
    );
    folder.compile("gcc", "prog.c", &source, "prog", &["-O2", "-pthread"]);
    let objects = object(&folder);
    let mut program = Program::start(&folder.path("prog"), &[]);
    assert_eq!(program.ask("ab"), "31 0");
    for round in 1..20 {
        patch(program.pid(), &objects, &Options::default()).expect("the patch");
        assert_eq!(program.ask("ab"), format!("{} 0", 301 + round * 2 - 1));
        revert(program.pid(), &Which::Last, &Options::default()).expect("it is reverted");
        assert_eq!(program.ask("ab"), format!("{} 0", 31 + round * 2));
    }
}
