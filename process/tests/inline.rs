//! Inline functions and variables, templates, virtual tables and type information, of which target, libraries and
//! patches all have copies: there is one of each that has state, and types are the same everywhere.

#![allow(missing_docs, reason = "tests have names")]

mod support;

use restub_process::{Error, Options, Which, patch, plan, revert, status};
use support::{Folder, Program};

/// What everybody includes.
const HEADER: &str = r#"
    #pragma once
    #include <stdexcept>
    #include <string>
    #include <typeinfo>
    inline int total = 100;
    inline int &counter() { static int count = 10; return count; }
    template <typename T> struct Pool { static T free; T take() { return free--; } };
    template <typename T> T Pool<T>::free = 50;
    inline const std::string &name() { static const std::string name = "made once"; return name; }
    struct Shape { virtual ~Shape() {} virtual int area() const { return 1; } };
    struct Square : Shape { int side; explicit Square(int side) : side(side) {} int area() const override { return side * side; } };
    template <typename T> struct Problem : std::runtime_error { T what_of; explicit Problem(T of) : std::runtime_error("problem"), what_of(of) {} };
    static inline int twice(int n) { return 2 * n; }
    Shape *make(int n);
    int in_library();
    void throws(int n);
"#;
const LIBRARY: &str = r#"
    #include "header.h"
    inline int of_library = 7;
    int in_library() { return of_library++ + Pool<long>().take(); }
"#;
const PROGRAM: &str = r#"
    #include "header.h"
    #include <cstdio>
    #include <iostream>
    #define NOIPA __attribute__((noipa, noinline))
    NOIPA Shape *make(int n) { return new Square(n); }
    NOIPA void throws(int n) { if (n) throw Problem<int>(n); }
    NOIPA int calls(int n) { return twice(n) + counter()++ + total++ + Pool<int>().take(); }
    NOIPA int catches(int n) {
        try { throws(n); } catch (const Problem<int> &problem) { return problem.what_of; } catch (...) { return -1; }
        return 0;
    }
    NOIPA int area(Shape *shape) {
        Square *square = dynamic_cast<Square *>(shape);
        int area = square && typeid(*shape) == typeid(Square) ? shape->area() : -1;
        delete shape;
        return area;
    }
    const void *address() { return &name(); }
    NOIPA bool same() { return address() == &name(); }
    int main() {
        for (std::string line; std::getline(std::cin, line);) {
            int n = calls(1);
            std::cout << n << ' ' << catches(3) << ' ' << area(make(4)) << ' ' << in_library() << ' ' << same() << std::endl;
        }
    }
"#;
/// Of two objects, which have copies of everything, too. The answer is the old one and 1000.
const ONE: &str = r#"
    #include "header.h"
    const void *address();
    int helper(int n);
    Shape *make(int n) { return new Square(helper(n)); }
    int calls(int n) { return 1000 + twice(n) + counter()++ + total++ + Pool<int>().take(); }
    bool same() { return address() == &name() && name() == "made once"; }
"#;
const TWO: &str = r#"
    #include "header.h"
    inline int added = 3;
    inline int of_library = 7;
    int helper(int n) { return twice(n) / 2 + counter() * 0 + 0 * ++added + 0 * of_library; }
    void throws(int n) { if (n) throw Problem<int>(n + 1000); }
"#;

fn inline_copies(compiler: &str, flags: &[&str]) {
    let folder = Folder::new();
    std::fs::write(folder.path("header.h"), HEADER).expect("the header");
    let options = Options::default();
    let library = folder.compile(
        compiler,
        "library.cc",
        LIBRARY,
        "library.so",
        &["-O2", "-std=c++17", "-shared", "-fPIC"],
    );
    let library = library.to_str().expect("a path");
    let program = folder.compile(
        compiler,
        "prog.cc",
        PROGRAM,
        "prog",
        &[&["-O2", "-std=c++17", "-Wl,--no-as-needed", library], flags].concat(),
    );
    let mut program = Program::start(&program, &[]);
    let pid = program.pid();
    assert_eq!(program.ask(""), "162 3 16 57 1");
    let object = |name: &str, source: &str, more: &[&str]| {
        let flags = [&["-O2", "-std=c++17", "-fPIC"], more].concat();
        folder.object(compiler, &format!("{name}.cc"), source, &flags)
    };
    let both = [object("one", ONE, &["-O0"]), object("two", TWO, &[])].map(|mut objects| objects.remove(0));
    patch(pid, &both, &options).expect("the patch");
    // counter() and total go on from where they were; so does Pool<int>::free, the other way.
    assert_eq!(program.ask(""), "1163 1003 16 57 1");
    assert_eq!(program.ask(""), "1164 1003 16 57 1");
    // A patch on top of it finds what the first one has added, and what the library has.
    let top = "#include \"header.h\"\ninline int added = 3; inline int of_library = 7;
               int calls(int n) { return 10000 + added * 100 + of_library; }";
    let error = plan(pid, &object("top", top, &["-fPIE"]), &options).expect_err("no code reaches the library");
    assert!(
        error.to_string().contains("of_library") && error.to_string().contains("-fPIC"),
        "{error}"
    );
    let report = patch(pid, &object("top", top, &[]), &options).expect("the second patch");
    assert_eq!(report.plan.functions.len(), 1);
    // `added` was counted up by two calls of helper(), `of_library` by three of in_library().
    assert_eq!(program.ask(""), "10510 1003 16 57 1");
    let applied = status(pid).expect("the status").patches;
    assert_eq!(applied[1].depends, ["one.cc"], "{applied:?}");
    let error = revert(pid, &Which::Name("one.cc".into()), &options).expect_err("it is needed");
    assert!(matches!(error, Error::Needed { .. }), "{error}");
    let larger = "inline long added = 3; int in_library(); int calls(int n) { return ++added; }";
    let error = plan(pid, &object("larger", larger, &[]), &options).expect_err("another size");
    assert!(
        error
            .to_string()
            .contains("it has 4 bytes in the process and 8 in the patch"),
        "{error}"
    );
    revert(pid, &Which::All, &options).expect("all are reverted");
    assert_eq!(program.ask(""), "165 3 16 57 1");
    program.end();
}

#[test]
fn gcc() {
    inline_copies("g++", &["-fPIE", "-pie"]);
}

#[test]
fn gcc_with_hidden_inline_functions() {
    inline_copies(
        "g++",
        &[
            "-fvisibility-inlines-hidden",
            "-fvisibility=hidden",
            "-fPIE",
            "-pie",
            "-g",
        ],
    );
}

#[test]
fn clang() {
    inline_copies("clang++-19", &["-fno-pie", "-no-pie"]);
}

#[test]
fn a_static_function_of_another_file_is_no_counterpart() {
    let folder = Folder::new();
    let other = "static __attribute__((noipa, noinline)) int helper(int n) { __asm__ volatile(\"nop; nop; nop; nop\"); return n; }
                 int other(int n) { return helper(n); }";
    folder.compile("gcc", "other.c", other, "other.o", &["-O2", "-c"]);
    let program = "#include <stdio.h>
        int other(int n);
        __attribute__((noipa, noinline)) int own(int n) { __asm__ volatile(\"nop; nop; nop; nop\"); return n; }
        int main(void) { char line[9]; while (fgets(line, 9, stdin)) { printf(\"%d %d\\n\", own(1), other(1)); fflush(stdout); } }";
    let program = folder.compile("gcc", "prog.c", program, "prog", &["-O2", "other.o"]);
    let mut program = Program::start(&program, &[]);
    assert_eq!(program.ask(""), "1 1");
    std::fs::create_dir(folder.path("patch")).expect("a folder");
    let fix = "static __attribute__((noipa, noinline)) int helper(int n) { return n * 5; }\nint own(int n) { return helper(n); }";
    let objects = folder.object("gcc", "patch/prog.c", fix, &["-O2", "-fPIE"]);
    let report = patch(program.pid(), &objects, &Options::default()).expect("the patch");
    let names: Vec<&str> = report.plan.functions.iter().map(|function| &*function.name).collect();
    assert_eq!(names, ["own"]);
    assert_eq!(program.ask(""), "5 1");
}
