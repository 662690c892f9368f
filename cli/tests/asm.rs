//! `restub asm`: sources to objects, listings, and what is said about wrong ones.

#![allow(missing_docs, reason = "tests have names")]

mod support;

use std::io::Write as _;
use std::process::{Command, Stdio};

use support::Folder;

/// A program that ends with status 42, in the two syntaxes.
const ATT: &str = "
    .globl main
    .type main, @function
main:
    movl $42, %eax
    ret
    .size main, .-main
    .section .note.GNU-stack,\"\",@progbits
";
const INTEL: &str = "
    .globl main
main:
    mov eax, 42
    ret
    .section .note.GNU-stack,\"\",@progbits
";

/// Links an object with the system's compiler and runs it.
fn status_of(folder: &Folder, object: &str) -> Option<i32> {
    folder.tool("gcc", &[object, "-o", "program"]);
    let program = folder.file("program");
    folder.output(program.to_str().expect("UTF-8"), &[]).status.code()
}

#[test]
fn both_syntaxes_make_objects_that_link_and_run() {
    let folder = Folder::new();
    folder.write("att.s", ATT);
    assert_eq!(folder.restub_ok(&["asm", "att.s", "-o", "att.o"]), "");
    assert_eq!(status_of(&folder, "att.o"), Some(42));
    folder.write("intel.s", INTEL);
    folder.restub_ok(&["asm", "--syntax", "intel", "intel.s", "-o", "intel.o"]);
    assert_eq!(status_of(&folder, "intel.o"), Some(42));
    // The same without an object in between.
    assert_eq!(folder.restub(&["run", "att.s"]).status.code(), Some(42));
}

#[test]
fn the_source_may_be_standard_input() {
    let folder = Folder::new();
    let mut child = Command::new(env!("CARGO_BIN_EXE_restub"))
        .args(["asm", "-", "-o", "main.o"])
        .current_dir(folder.path())
        .stdin(Stdio::piped())
        .spawn()
        .expect("restub runs");
    let mut input = child.stdin.take().expect("a pipe");
    input.write_all(ATT.as_bytes()).expect("restub reads");
    drop(input);
    assert!(child.wait().expect("restub ends").success());
    assert_eq!(status_of(&folder, "main.o"), Some(42));
}

#[test]
fn compiler_output_is_assembled_as_gnu_as_does() {
    let folder = Folder::new();
    folder.write(
        "sum.c",
        "int sum(const int *a, int n) { int s = 0; while (n--) s += *a++; return s; }",
    );
    folder.tool("gcc", &["-O2", "-g", "-S", "sum.c", "-o", "sum.s"]);
    folder.tool("as", &["sum.s", "-o", "gnu.o"]);
    folder.restub_ok(&["asm", "sum.s", "-o", "sum.o"]);
    let text = |object: &str| folder.tool("objdump", &["-s", "-r", "-j", ".text", "-j", ".debug_line", object]);
    assert_eq!(text("sum.o").replace("sum.o", ""), text("gnu.o").replace("gnu.o", ""));
}

#[test]
fn folders_and_symbols_of_the_command_line_are_used() {
    let folder = Folder::new();
    std::fs::create_dir(folder.file("include")).expect("a folder");
    folder.write("include/status.inc", "movl $STATUS + BIAS, %eax\n");
    folder.write("include/blob", "bytes");
    let source = ATT.replace("movl $42, %eax", ".include \"status.inc\"\n") + ".data\n.incbin \"blob\"\n";
    folder.write("main.s", &source);
    let defined = ["-D", "STATUS=0x2b", "-D", "BIAS=-1"];
    folder.restub_ok(&[&["asm", "main.s", "-I", "include", "-o", "main.o"][..], &defined].concat());
    assert_eq!(status_of(&folder, "main.o"), Some(42));
    assert!(
        folder
            .tool("objdump", &["-s", "-j", ".data", "main.o"])
            .contains("bytes")
    );
    let error = folder.restub_error(1, &["asm", "main.s", "-o", "other.o", "-D", "STATUS=1", "-D", "BIAS=0"]);
    assert!(
        error.contains("main.s:5:") && error.contains("cannot read status.inc"),
        "{error}"
    );
    let error = folder.restub_error(2, &["asm", "main.s", "-o", "other.o", "-D", "STATUS=many"]);
    assert!(error.contains("many is no number"), "{error}");
}

#[test]
fn a_listing_has_lines_offsets_and_bytes() {
    let folder = Folder::new();
    let source = "\
.macro twice what
\\what
\\what
.endm
f:  je f
    twice nop
    je far
    .skip 200, 0x11
far: call g
    .data
text: .asciz \"ten bytes\"
    .bss
    .zero 16
";
    folder.write("f.s", source);
    let listing = folder.restub_ok(&["asm", "--listing", "f.s", "-o", "f.o"]);
    let lines: Vec<&str> = listing.lines().collect();
    let bytes = |line: usize| -> Vec<&str> {
        let own = |row: &&&str| row[..5].trim().parse() == Ok(line);
        let at = lines.iter().position(|row| own(&row)).expect("the line is listed");
        let more = lines[at + 1..].iter().take_while(|row| row.starts_with("      "));
        let rows = std::iter::once(&lines[at]).chain(more);
        rows.map(|row| row[5..].trim_start().split("  ").next().unwrap_or_default())
            .collect()
    };
    assert_eq!(bytes(5), ["0000 74fe"]);
    assert_eq!(bytes(6), ["0002 90", "0003 90"]);
    // Sizes are the final ones.
    assert_eq!(bytes(7), ["0004 0f84c8000000"]);
    assert_eq!(bytes(8)[0], "000a 1111111111111111");
    assert_eq!(bytes(8).last(), Some(&"... 136 more"));
    assert_eq!(bytes(9), ["00d2 e800000000"]);
    assert_eq!(bytes(11), ["0000 74656e2062797465", "0008 7300"]);
    assert_eq!(bytes(13), ["0000"]);
    // The source is there as it is.
    assert!(listing.contains("text: .asciz \"ten bytes\"\n"), "{listing}");
}

#[test]
fn all_errors_of_a_source_are_told_with_their_places() {
    let folder = Folder::new();
    folder.write(
        "bad.s",
        "nop\n\tmovl\t%eax, %xyz\n\taddq $1, %eax\n.long 1f\n\t.bogus 1\n\tpush $\n",
    );
    let error = folder.restub_error(1, &["asm", "bad.s", "-o", "bad.o"]);
    assert!(
        error.starts_with("restub: bad.s:2:13: there is no such register\n    \tmovl\t%eax, %xyz\n"),
        "{error}"
    );
    for place in [
        "bad.s:3:2: ",
        "bad.s:4: there is no label 1",
        "bad.s:5:2: there is no directive .bogus",
        "bad.s:6:8: ",
    ] {
        assert!(error.contains(place), "{place}: {error}");
    }
    // Every caret stands under its column.
    for (line, caret) in error
        .lines()
        .zip(error.lines().skip(1))
        .filter(|(_, next)| next.trim() == "^")
    {
        assert!(line.len() + 1 >= caret.len(), "{error}");
    }
    assert!(!folder.file("bad.o").exists(), "nothing is written of a wrong source");
}

#[test]
fn what_was_expected_is_said() {
    let folder = Folder::new();
    for (source, said) in [
        ("mov $1, 2(%eax", "a `)` is expected"),
        ("movzbl %rax, %ebx", "it takes"),
        ("lea 1(%rax,%rbx,3), %rcx", "the scale is 1, 2, 4 or 8"),
        (".align 3", "an alignment is a power of two"),
        (".if 1", "ends within an .if"),
        (".macro m\nnop", "the end of this macro"),
        ("x: x:", "defined already"),
        (".rept 100000000000\nnop\n.endr", "too many repetitions"),
        (".macro m\nm\nm\n.endm\nm", "nested too deep"),
    ] {
        folder.write("bad.s", &format!("{source}\n"));
        let error = folder.restub_error(1, &["asm", "bad.s", "-o", "bad.o"]);
        assert!(error.contains(said), "{source}: {error}");
    }
}

#[test]
fn missing_files_are_named() {
    let folder = Folder::new();
    let error = folder.restub_error(1, &["asm", "missing.s", "-o", "a.o"]);
    assert!(error.contains("cannot read missing.s"), "{error}");
    folder.write("main.s", ATT);
    let error = folder.restub_error(1, &["asm", "main.s", "-o", "no/such/folder.o"]);
    assert!(error.contains("cannot write no/such/folder.o"), "{error}");
}
