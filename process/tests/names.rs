//! Which function of a process is meant by a name.

#![allow(missing_docs, reason = "tests have names")]

mod support;

use restub_process::{Options, patch};
use support::{Folder, Program};

#[test]
fn a_function_that_the_kernel_implements_is_called() {
    // `time` is an IFUNC of libc, which chooses the kernel's own code that is mapped into each process.
    let folder = Folder::new();
    let source = "#include <stdio.h>
        #include <time.h>
        __attribute__((noipa)) long now(void) { return time(0) > 1000000000; }
        int main(void) { while (getchar() != EOF) { printf(\"%ld\\n\", now()); fflush(stdout); } }";
    let flags = ["-O2", "-fPIE", "-pie", "-Wl,-z,now"];
    let program = folder.compile("gcc", "clock.c", source, "clock", &flags);
    let mut program = Program::start(&program, &[]);
    assert_eq!(program.ask(""), "1");
    let fix = "#include <time.h>
        long now(void) { return 10 + (time(0) > 1000000000); }";
    let fix = folder.object("gcc", "fix.c", fix, &["-O2", "-fPIE"]);
    patch(program.pid(), &fix, &Options::default()).expect("the patch");
    assert_eq!(program.ask(""), "11");
    program.end();
}

#[test]
fn a_static_function_of_another_file_is_not_a_copy() {
    let folder = Folder::new();
    let other = "static inline __attribute__((always_inline)) int find(int x) { return x + 5; }
        int other(int x) { return find(x); }";
    let other_object = folder.compile("gcc", "other.c", other, "other.o", &["-O2", "-g", "-fPIE", "-c"]);
    let source = "#include <stdio.h>
        int other(int x);
        __attribute__((noipa)) int find(int x) { asm volatile(\"\" : \"+r\"(x)); return x * 3 + 1; }
        int main(void) { while (getchar() != EOF) { printf(\"%d %d\\n\", find(1), other(1)); fflush(stdout); } }";
    let flags = ["-O2", "-g", "-fPIE", "-pie", other_object.to_str().expect("text")];
    let program = folder.compile("gcc", "main.c", source, "main", &flags);
    let mut program = Program::start(&program, &[]);
    assert_eq!(program.ask(""), "4 6");
    let fix = folder.object("gcc", "fix.c", "int find(int x) { return 100; }", &["-O2", "-fPIE"]);
    patch(program.pid(), &fix, &Options::default()).expect("the patch");
    assert_eq!(program.ask(""), "100 6");
    program.end();
}
