//! gdb, attached to a patched process that has its JIT interface: names and lines, with nothing to be told.

#![allow(missing_docs, reason = "tests have names")]

mod support;

use std::process::Command;

use restub_process::{Options, Which, patch, plan, revert, status};
use support::{Folder, Program, wait_until};

/// With the interface, and an entry of the program's own in the list.
const PROGRAM: &str = r#"
    #include <stdint.h>
    #include <stdio.h>
    #include <unistd.h>
    #ifdef JIT
    struct jit_code_entry { struct jit_code_entry *next, *prev; const char *file; uint64_t size; };
    struct { uint32_t version, action; struct jit_code_entry *relevant, *first; } __jit_debug_descriptor = {1, 0, 0, 0};
    __attribute__((noinline, used)) void __jit_debug_register_code(void) { __asm__ volatile(""); }
    static struct jit_code_entry own;
    static int count(void) { int n = 0; for (struct jit_code_entry *e = __jit_debug_descriptor.first; e; e = e->next) n++; return n; }
    #else
    static int count(void) { return 0; }
    #endif
    __attribute__((noipa, noinline)) int waits(int n) { char c; return read(0, &c, 1) + n; }
    int main(void) {
        #ifdef JIT
        __jit_debug_descriptor.first = &own;
        #endif
        for (;;) { int n = waits(1); printf("%d %d\n", n, count()); fflush(stdout); }
    }
"#;
const PATCH: &str = "#include <unistd.h>
int waits(int n) {
    char c;
    int got = read(0, &c, 1);
    return got + n + 10;
}
";

fn backtrace(pid: i32) -> String {
    let mut gdb = Command::new("gdb");
    gdb.args([
        "-nx",
        "-q",
        "-batch",
        "-iex",
        "set debuginfod enabled off",
        "-p",
        &pid.to_string(),
        "-ex",
        "bt",
    ]);
    let output = gdb.output().expect("gdb is needed for this test");
    let complaints = String::from_utf8_lossy(&output.stderr);
    // One about the program's own entry, which has no file.
    assert_eq!(complaints.matches("JIT").count(), 1, "{complaints}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn waits_in_the_patch(program: &Program, address: u64) {
    wait_until("the call", || {
        let text = std::fs::read_to_string(format!("/proc/{}/syscall", program.pid())).expect("procfs");
        let sp = text
            .split_whitespace()
            .nth_back(1)
            .and_then(|word| u64::from_str_radix(word.trim_start_matches("0x"), 16).ok());
        let memory = std::fs::File::open(format!("/proc/{}/mem", program.pid())).expect("procfs");
        let mut stack = [0; 256];
        let read = sp.is_some_and(|sp| std::os::unix::fs::FileExt::read_exact_at(&memory, &mut stack, sp).is_ok());
        let mut words = stack
            .chunks_exact(8)
            .map(|word| u64::from_le_bytes(word.try_into().expect("8 bytes")));
        read && words.any(|word| (address..address + 200).contains(&word))
    });
}

#[test]
fn names_and_lines_of_patches_are_known() {
    for compiler in ["gcc", "clang-19"] {
        let folder = Folder::new();
        let flags = ["-O2", "-DJIT", "-fPIE", "-pie"];
        let mut program = Program::start(&folder.compile(compiler, "prog.c", PROGRAM, "prog", &flags), &[]);
        let pid = program.pid();
        assert_eq!(program.ask(""), "2 1");
        let objects = folder.object(compiler, "fix.c", PATCH, &["-O2", "-g", "-fPIE"]);
        for _ in 0..3 {
            let report = patch(pid, &objects, &Options::default()).expect("the patch");
            // The call that had begun is the old one. The list has the program's own entry, the anchor and the patch's.
            assert_eq!(program.ask(""), "2 3");
            waits_in_the_patch(&program, report.plan.functions[0].new_address);
            let text = backtrace(pid);
            assert!(
                text.contains("in waits (n=") && text.contains("fix.c:4"),
                "{compiler}: {text}"
            );
            revert(pid, &Which::All, &Options::default()).expect("it is reverted");
            assert_eq!(program.ask(""), "12 2");
        }
    }
}

#[test]
fn a_program_without_the_interface_is_patched_even_so() {
    let folder = Folder::new();
    let program = Program::start(&folder.compile("gcc", "prog.c", PROGRAM, "prog", &["-O2"]), &[]);
    let objects = folder.object("gcc", "fix.c", PATCH, &["-O2", "-g", "-fPIE"]);
    let options = Options::default();
    let report = plan(program.pid(), &objects, &options).expect("the plan");
    assert!(
        report
            .notes
            .iter()
            .any(|note| note.contains("gdb does not know the patch by itself")),
        "{:?}",
        report.notes
    );
    patch(program.pid(), &objects, &options).expect("the patch");
    assert_eq!(status(program.pid()).expect("the status").patches.len(), 1);
}
