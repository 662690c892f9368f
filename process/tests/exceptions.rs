//! Exceptions through and out of patched functions, and cancelled threads.

#![allow(missing_docs, reason = "tests have names")]

mod support;

use restub_process::{Options, Which, patch, revert};
use support::{Folder, Program};

const PROGRAM: &str = include_str!("sources/throws.cc");
const PATCH: &str = include_str!("sources/throws_patch.cc");

fn exceptions(compiler: &str, link: &[&str]) {
    let folder = Folder::new();
    let flags = [&["-O2", "-pthread"], link].concat();
    let program = folder.compile(compiler, "throws.cc", PROGRAM, "program", &flags);
    let objects = folder.object(compiler, "patch.cc", PATCH, &["-O2", "-fPIE"]);
    let mut program = Program::start(&program, &[]);
    let options = Options::default();
    assert_eq!(program.ask("1"), "returned 0, cancelled, 2");
    assert_eq!(program.ask("4"), "old 4, cancelled, 4");
    patch(program.pid(), &objects, &options).expect("the patch");
    // The patched functions have one more object each to destroy.
    assert_eq!(program.ask("1"), "returned 1, cancelled, 8");
    assert_eq!(program.ask("4"), "new 4, cancelled, 12");
    assert_eq!(program.ask("5"), "returned 3, cancelled, 16");
    revert(program.pid(), &Which::All, &options).expect("it is reverted");
    assert_eq!(program.ask("4"), "old 4, cancelled, 18");
    assert_eq!(program.ask("5"), "old 5, cancelled, 20");
    patch(program.pid(), &objects, &options).expect("the patch again");
    assert_eq!(program.ask("5"), "returned 3, cancelled, 24");
    program.end();
}

#[test]
fn gcc_dynamic() {
    exceptions("g++", &[]);
}

#[test]
fn gcc_static() {
    exceptions("g++", &["-static"]);
}

#[test]
fn clang_dynamic() {
    exceptions("clang++-19", &["-fPIE", "-pie"]);
}
