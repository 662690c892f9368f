//! Files that are no relocatable objects for x86-64: each is refused with what it is and what to do about it.

mod linking;
mod toolchain;

use std::process::Command;

use linking::{link_object, message};
use toolchain::{assemble, compile_text, run};

const SOURCE: &str = "int shared; int f(int x) { return x + shared; } int main(void) { return f(0); }";

fn clang(target: &str) -> Vec<u8> {
    compile_text("clang-19", "a.c", SOURCE, &[&format!("--target={target}")])
}

#[track_caller]
fn refused(bytes: &[u8], what: &str, remedy: &str) {
    assert_eq!(message(link_object(bytes)), format!("a.o: {what}; {remedy}"));
}

const OTHER_MACHINE: &str = "compile for x86-64 (64-bit ELF)";

#[test]
fn bitcode() {
    let what = "is LLVM bitcode (clang -flto or rustc's linker-plugin LTO)";
    let remedy = "compile without -flto, or with -ffat-lto-objects";
    refused(&compile_text("clang-19", "a.c", SOURCE, &["-flto"]), what, remedy);
    refused(&compile_text("clang-19", "a.c", SOURCE, &["-flto=thin"]), what, remedy);
    let mut wrapped = 0x0b17_c0de_u32.to_le_bytes().to_vec();
    wrapped.extend([0; 16]);
    refused(&wrapped, what, remedy);
}

#[test]
fn slim_lto() {
    refused(
        &compile_text("gcc", "a.c", SOURCE, &["-flto", "-fno-fat-lto-objects"]),
        "holds only gcc's LTO bytecode (slim LTO)",
        "compile with -fno-lto or -ffat-lto-objects",
    );
}

#[test]
fn fat_lto_links() {
    for compiler in ["gcc", "clang-19"] {
        let object = compile_text(compiler, "a.c", SOURCE, &["-flto", "-ffat-lto-objects", "-fPIC"]);
        let linked = link_object(&object).expect("machine code stands beside the bytecode");
        linked.address("f");
        assert!(
            linked
                .image
                .sections
                .iter()
                .all(|section| !section.name.contains("lto"))
        );
    }
}

#[test]
fn other_formats() {
    refused(&clang("x86_64-apple-darwin"), "is a Mach-O file", OTHER_MACHINE);
    refused(&clang("arm64-apple-darwin"), "is a Mach-O file", OTHER_MACHINE);
    refused(&[0xca, 0xfe, 0xba, 0xbe, 0, 0, 0, 2], "is a Mach-O file", OTHER_MACHINE);
    refused(&clang("x86_64-pc-windows-msvc"), "is a COFF or PE file", OTHER_MACHINE);
    refused(&clang("i686-pc-windows-gnu"), "is a COFF or PE file", OTHER_MACHINE);
    refused(b"MZ\x90\0", "is a COFF or PE file", OTHER_MACHINE);
    refused(&clang("wasm32"), "is a WebAssembly module", OTHER_MACHINE);
    refused(
        b"go object linux amd64 go1.22\n",
        "is the Go toolchain's own object format",
        "build with gccgo, or as a C archive (-buildmode=c-archive)",
    );
    let remedy = "give a relocatable object (.o) or an archive (.a)";
    refused(b"int main(void) { return 0; }", "is no ELF object", remedy);
    refused(b"#!/bin/sh\n", "is no ELF object", remedy);
    refused(&[0x7f], "is no ELF object", remedy);
    refused(b"", "is empty", "compile it again");
}

#[test]
fn other_machines() {
    refused(&clang("i686-linux-gnu"), "is a 32-bit ELF file", "compile with -m64");
    refused(
        &clang("x86_64-linux-gnux32"),
        "is an x32 object (32-bit pointers)",
        "compile with -m64",
    );
    refused(&clang("aarch64-linux-gnu"), "is an AArch64 object", OTHER_MACHINE);
    refused(&clang("riscv64-linux-gnu"), "is a RISC-V object", OTHER_MACHINE);
    refused(&clang("s390x-linux-gnu"), "is a big-endian ELF file", OTHER_MACHINE);
    refused(
        &clang("loongarch64-linux-gnu"),
        "is an ELF file for another machine",
        OTHER_MACHINE,
    );
}

#[test]
fn other_kinds_of_elf_files() {
    let folder = tempfile::tempdir().expect("a folder");
    let object = folder.path().join("a.o");
    std::fs::write(&object, compile_text("gcc", "a.c", SOURCE, &["-fPIC"])).expect("the object can be written");
    let linked = |flags: &[&str]| {
        let output = folder.path().join("out");
        let mut command = Command::new("gcc");
        run(command.arg(&object).args(flags).arg("-o").arg(&output)).expect("gcc links");
        std::fs::read(output).expect("the output can be read")
    };
    let dynamic = "is a shared object or position-independent executable (ET_DYN)";
    let remedy = "load a shared library with dlopen (-l)";
    refused(&linked(&["-shared"]), dynamic, remedy);
    refused(&linked(&["-pie"]), dynamic, remedy);
    let remedy = "give the objects it was linked from";
    refused(&linked(&["-no-pie"]), "is an executable (ET_EXEC)", remedy);
    let mut core = linked(&["-no-pie"]);
    core[16] = 4;
    refused(&core, "is a core file", "give a relocatable object (.o)");
    core[16] = 9;
    refused(
        &core,
        "is an ELF file of unknown type",
        "give a relocatable object (.o)",
    );
}

#[test]
fn stripped_objects() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("a.o");
    let object = compile_text("gcc", "a.c", SOURCE, &["-fPIC"]);
    for tool in ["strip", "llvm-strip-19"] {
        std::fs::write(&path, &object).expect("the object can be written");
        run(Command::new(tool).arg("--strip-all").arg(&path)).expect("strip works");
        let stripped = std::fs::read(&path).expect("the output can be read");
        // What is left has no symbols: it links, as long as no relocation misses one.
        if let Err(error) = link_object(&stripped) {
            assert!(error.to_string().starts_with("a.o: malformed: "), "{error}");
        }
    }
    std::fs::write(&path, &object).expect("the object can be written");
    run(Command::new("strip").arg("--strip-unneeded").arg(&path)).expect("strip works");
    let stripped = std::fs::read(&path).expect("the output can be read");
    link_object(&stripped)
        .expect("what relocations need was kept")
        .address("f");
}

#[test]
fn partially_linked_objects_link() {
    let folder = tempfile::tempdir().expect("a folder");
    let parts = [
        assemble("    .globl a\na: .quad b\n    .section .text.i, \"axG\", @progbits, i, comdat\n    .weak i\ni: ret"),
        assemble("    .globl b\nb: .quad a\n    .section .text.i, \"axG\", @progbits, i, comdat\n    .weak i\ni: ret"),
    ];
    for (name, part) in ["a.o", "b.o"].iter().zip(&parts) {
        std::fs::write(folder.path().join(name), part).expect("the object can be written");
    }
    for linker in ["ld", "ld.lld-19"] {
        let mut command = Command::new(linker);
        run(command
            .current_dir(folder.path())
            .args(["-r", "a.o", "b.o", "-o", "both.o"]))
        .expect("ld works");
        let object = std::fs::read(folder.path().join("both.o")).expect("the output can be read");
        let linked = link_object(&object).expect("the output of `ld -r` links");
        assert_eq!(linked.word(linked.address("a")), linked.address("b"));
    }
}

#[test]
fn files_cut_off() {
    let object = compile_text("gcc", "a.c", SOURCE, &["-g"]);
    for length in (1..object.len()).step_by(7).chain(object.len() - 64..object.len()) {
        let error = message(link_object(&object[..length]));
        assert!(error.starts_with("a.o: "), "{length}: {error}");
    }
}

#[test]
fn files_that_are_not_there() {
    for (path, reason) in [("/nowhere/a.o", "No such file or directory"), ("/", "is a directory")] {
        let error = restub_loader::Input::open(path).expect_err("no file");
        assert!(error.to_string().contains(path), "{error}");
        let source = std::error::Error::source(&error)
            .expect("the system's reason")
            .to_string();
        assert!(source.contains(reason), "{source}");
    }
}
