//! A program in Rust, with the objects and archives that rustc hands to its linker.
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::c_family::drivers;
use crate::compile::{Cache, output};

/// Sets of flags, each with its part of the test's name.
pub(crate) static FORMS: &[(&str, &[&str])] = &[
    ("rustc", &["-Copt-level=2"]),
    ("rustc-debug", &["-Copt-level=0", "-Cdebuginfo=2", "-Ccodegen-units=4"]),
];

/// What [`build`] makes.
pub(crate) struct Built {
    /// Linked by rustc.
    pub(crate) program: PathBuf,
    /// The same program's objects, the allocator's entry points among them, and the standard library's archives.
    pub(crate) inputs: Vec<PathBuf>,
}

/// Compiles the program.
pub(crate) fn build(flags: &[&str], cache: &Cache) -> Result<Built, String> {
    let source = drivers().join("program.rs");
    let linker = drivers().join("../linker");
    let flags: Vec<String> = flags.iter().map(|flag| (*flag).to_owned()).collect();
    let program = cache.made("rustc", &flags, &source, "program", |program| {
        let folder = program.parent().unwrap_or(Path::new("."));
        let mut command = Command::new("rustc");
        command
            .args(["--edition=2024", "-Awarnings", "-Csave-temps"])
            .args(&flags);
        command
            .arg(format!("-Clinker={}", linker.display()))
            .arg(&source)
            .arg("-o")
            .arg(program);
        command.env("LINK_ARGUMENTS", folder.join("link-arguments"));
        output(&mut command).map(drop)
    })?;
    let folder = program.parent().unwrap_or(Path::new("."));
    let arguments = fs::read_to_string(folder.join("link-arguments")).map_err(|e| format!("link-arguments: {e}"))?;
    let inputs = arguments.lines().filter_map(|argument| {
        let path = Path::new(argument);
        match path.extension()?.to_str()? {
            // The build's folder has been renamed since.
            "o" => Some(folder.join(path.file_name()?)).filter(|object| object.is_file()),
            "rlib" | "a" => Some(path.to_owned()),
            _ => None,
        }
    });
    let inputs = inputs.collect();
    Ok(Built { program, inputs })
}
