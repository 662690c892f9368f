//! Writes the seeds that generated input starts from: `cargo run --example seeds`, in `fuzz/`.

use std::path::Path;
use std::process::Command;

use restub::loader::fuzzing::{Case, entropy, write_archive};
use restub_process::fuzzing::{difference_input, plan_input, records_after};

fn main() -> std::io::Result<()> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds");
    let write = |target: &str, name: String, bytes: &[u8]| {
        std::fs::create_dir_all(folder.join(target))?;
        std::fs::write(folder.join(target).join(name), bytes)
    };
    for seed in 0..6_u64 {
        let entropy = entropy(seed);
        let case = Case::from_seed(seed);
        write("object_parse", format!("generated-{seed}"), &case.objects[0].write())?;
        write(
            "archive_parse",
            format!("generated-{seed}"),
            &write_archive(&case.objects, seed % 2 == 0),
        )?;
        for kind in 0..3 {
            let rest = if kind == 0 {
                case.objects[0].write()
            } else {
                entropy[..1500].to_vec()
            };
            write(
                "link_in_buffer",
                format!("generated-{kind}-{seed}"),
                &[&[kind], &rest[..]].concat(),
            )?;
        }
        write(
            "link_vs_ld",
            format!("generated-{seed}"),
            &[&[seed as u8], &entropy[..4000]].concat(),
        )?;
        write("relocate_rows", format!("generated-{seed}"), &entropy[..100])?;
        write(
            "object_diff",
            format!("generated-{seed}"),
            &[&[1], &entropy[..1500]].concat(),
        )?;
        write("session_history", format!("generated-{seed}"), &entropy[..400])?;
    }
    let instructions: [&[u8]; 6] = [
        &[0x48, 0x8b, 0x44, 0x24, 0x08],
        &[0xc5, 0xfd, 0x6f, 0x07],
        &[0x62, 0xf1, 0x7c, 0x48, 0x58, 0xc2],
        &[0x66, 0x0f, 0x3a, 0x0f, 0xc1, 0x04],
        &[0x81, 0xc3, 0x00, 0x01, 0x00, 0x00],
        &[0xf3, 0x0f, 0xb8, 0xc1],
    ];
    for (index, bytes) in instructions.iter().enumerate() {
        write("asm_roundtrip", format!("instruction-{index}"), bytes)?;
    }
    let text = "    .text\n    .globl f\n    .type f, @function\nf:  .cfi_startproc\n    mov x@GOTPCREL(%rip), %rax\n1:  \
                dec %ecx\n    jne 1b\n    ret\n    .cfi_endproc\n    .size f, .-f\n    .data\nx:  .quad f+8, 1f-.\n1:\n";
    write("asm_text", "att".into(), text.as_bytes())?;
    let text = ".intel_syntax noprefix\n.macro m a\n mov rax, \\a\n.endm\n m [rdi+rcx*4+8]\n.rept 3\n nop\n.endr\n.if 1\n vaddps zmm1{k1}{z}, zmm2, zmm3\n.endif\n";
    write("asm_text", "intel".into(), text.as_bytes())?;
    const PROGRAM: [&str; 5] = [
        "-nostdlib",
        "-static",
        "-Wl,-z,noseparate-code",
        "-Wl,--build-id",
        "-fcf-protection=none",
    ];
    let pie = compile(
        "target.c",
        &[
            "-nostdlib",
            "-static-pie",
            "-fpie",
            "-Wl,-z,noseparate-code",
            "-Wl,--build-id",
        ],
    )?;
    let fixed = compile(
        "target.c",
        &[
            &PROGRAM[..],
            &["-fno-pie", "-no-pie", "-fpatchable-function-entry=16,14"],
        ]
        .concat(),
    )?;
    let debug = compile("target.c", &[&PROGRAM[..], &["-fno-pie", "-no-pie", "-g"]].concat())?;
    let patch = compile("patch.c", &["-c", "-fpie", "-g"])?;
    let sections = compile(
        "patch.c",
        &["-c", "-fPIC", "-ftls-model=initial-exec", "-ffunction-sections"],
    )?;
    let targets = [
        ("pie", pie, &patch, &sections),
        ("fixed", fixed, &sections, &patch),
        ("debug", debug, &patch, &sections),
    ];
    for (name, target, patch, other) in targets {
        write("patch_plan", name.into(), &plan_input(&target, patch, &[]))?;
        let records = records_after(&target, other).map_err(std::io::Error::other)?;
        write(
            "patch_plan",
            format!("{name}-patched"),
            &plan_input(&target, patch, &records),
        )?;
    }
    let kinds: [(&str, &[&str]); 4] = [
        ("plain", &[]),
        ("debug", &["-g", "-gz"]),
        ("sections", &["-fPIC", "-ffunction-sections", "-fdata-sections", "-g"]),
        ("large", &["-fPIC", "-mcmodel=large"]),
    ];
    for (name, flags) in kinds {
        let versions = ["-DOLD", "-DNEW"].map(|version| compile("versions.c", &[&["-c", version], flags].concat()));
        let [old, new] = versions;
        write("object_diff", name.into(), &difference_input(&old?, &new?))?;
    }
    Ok(())
}

fn compile(source: &str, flags: &[&str]) -> std::io::Result<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let output = folder.join("target/seed");
    let mut gcc = Command::new("gcc");
    gcc.current_dir(folder.join("examples"))
        .args(["-O2", source, "-o"])
        .arg(&output)
        .args(flags);
    assert!(gcc.status()?.success(), "{gcc:?}");
    std::fs::read(output)
}
