//! Files that are no ELF relocatable objects for x86-64: what they are, and what to do instead.

use object::elf;

const WRONG_MACHINE: &str = "compile for x86-64 (64-bit ELF)";

/// What a file is if it is no ELF relocatable object for x86-64, with the remedy.
pub(crate) fn kind(data: &[u8]) -> Option<(&'static str, &'static str)> {
    let at = |offset: usize, bytes: &[u8]| data.get(offset..offset + bytes.len()) == Some(bytes);
    let starts = |bytes: &[u8]| at(0, bytes);
    if starts(b"\x7fELF") {
        return elf_kind(data);
    }
    Some(if starts(b"BC\xc0\xde") || starts(b"\xde\xc0\x17\x0b") {
        (
            "is LLVM bitcode (clang -flto or rustc's linker-plugin LTO)",
            "compile without -flto, or with -ffat-lto-objects",
        )
    } else if [
        &b"\xcf\xfa\xed\xfe"[..],
        b"\xce\xfa\xed\xfe",
        b"\xca\xfe\xba\xbe",
        b"\xfe\xed\xfa\xcf",
    ]
    .iter()
    .any(|m| starts(m))
    {
        ("is a Mach-O file", WRONG_MACHINE)
    } else if starts(b"MZ") || starts(b"\x64\x86") || starts(b"\x4c\x01") || starts(b"\x00\x00\xff\xff") {
        ("is a COFF or PE file", WRONG_MACHINE)
    } else if starts(b"\0asm") {
        ("is a WebAssembly module", WRONG_MACHINE)
    } else if starts(b"go object ") {
        (
            "is the Go toolchain's own object format",
            "build with gccgo, or as a C archive (-buildmode=c-archive)",
        )
    } else if starts(b"!<arch>\n") || starts(b"!<thin>\n") {
        ("is an archive inside an archive", "add the inner archive itself")
    } else if data.is_empty() {
        ("is empty", "compile it again")
    } else {
        ("is no ELF object", "give a relocatable object (.o) or an archive (.a)")
    })
}

fn elf_kind(data: &[u8]) -> Option<(&'static str, &'static str)> {
    let half = |offset: usize| data.get(offset..offset + 2).map(|b| u16::from_le_bytes([b[0], b[1]]));
    // A header that is cut off is the parser's to report.
    let (class, order, kind, machine) = (*data.get(4)?, *data.get(5)?, half(16)?, half(18)?);
    if order == 2 {
        return Some(("is a big-endian ELF file", WRONG_MACHINE));
    }
    if class == 1 {
        let x32 = machine == elf::EM_X86_64.0;
        return Some((
            if x32 {
                "is an x32 object (32-bit pointers)"
            } else {
                "is a 32-bit ELF file"
            },
            "compile with -m64",
        ));
    }
    match (machine, kind) {
        (62, 1) => None,
        (62, 2) => Some(("is an executable (ET_EXEC)", "give the objects it was linked from")),
        (62, 3) => Some((
            "is a shared object or position-independent executable (ET_DYN)",
            "load a shared library with dlopen (-l)",
        )),
        (62, 4) => Some(("is a core file", "give a relocatable object (.o)")),
        (62, _) => Some(("is an ELF file of unknown type", "give a relocatable object (.o)")),
        (183, _) => Some(("is an AArch64 object", WRONG_MACHINE)),
        (243, _) => Some(("is a RISC-V object", WRONG_MACHINE)),
        _ => Some(("is an ELF file for another machine", WRONG_MACHINE)),
    }
}
