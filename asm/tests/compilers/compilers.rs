//! What compilers write, assembled here and by GNU as: section bytes, relocations and symbols are the same.
//!
//! Sections are the same byte for byte, but for `.debug_line` where GNU as states an address that it could have advanced
//! to: then the tables' headers are the same byte for byte, and their files and rows one by one.
//!
//! What GNU as does not take (APX, AVX10.2, some of rustc's DWARF) is compared with llvm-mc's output instead; `meaning` has
//! what of it. Assembly and reference objects are kept in cargo's target folder. The last lines count files and lines.
//!
//! | variable | effect |
//! |---|---|
//! | `RESTUB_ASM_SOURCES=full` | every source in every build; best with `--release` |
//! | `RESTUB_ASM_CORPUS=DIR` | every `.s` and `.S` file below a folder too |
mod builds;
mod code;
mod compare;
#[path = "../../../tests/programs/compile.rs"]
#[allow(dead_code, reason = "no objects are compiled here")]
mod compile;
#[path = "../../../tests/programs/crates.rs"]
mod crates;
mod debug;
mod meaning;
mod oracle;
mod sources;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::{Arc, Mutex, PoisonError};

use compile::Cache;
use crates::Crates;
use libtest_mimic::{Arguments, Failed, Trial};
use oracle::Reference;
use restub_asm::{Options, assemble};
use sources::Source;

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    // Line tables name the working directory, and the references are kept.
    std::env::set_current_dir(env!("CARGO_MANIFEST_DIR")).expect("this package's folder");
    match trials() {
        Ok(trials) => {
            let conclusion = libtest_mimic::run(&arguments, trials);
            for (what, (files, lines)) in COUNTS.lock().unwrap_or_else(PoisonError::into_inner).iter() {
                println!("{files} files, {lines} lines: {what}");
            }
            conclusion.exit_code()
        }
        Err(problem) => {
            eprintln!("compilers: {problem}");
            ExitCode::FAILURE
        }
    }
}

/// Files and lines by what came of them.
static COUNTS: Mutex<BTreeMap<&str, (usize, usize)>> = Mutex::new(BTreeMap::new());

fn count(what: &'static str, source: &[u8]) {
    let mut counts = COUNTS.lock().unwrap_or_else(PoisonError::into_inner);
    let (files, lines) = counts.entry(what).or_default();
    *files += 1;
    *lines += source.iter().filter(|&&byte| byte == b'\n').count();
}

fn trials() -> Result<Vec<Trial>, String> {
    let cache = Arc::new(Cache::new(Path::new(env!("CARGO_TARGET_TMPDIR")).join("compilers")));
    let full = std::env::var_os("RESTUB_ASM_SOURCES").is_some_and(|value| value == "full");
    let mut trials = Vec::new();
    for source in sources::all(&Crates::locate()?, full)? {
        let flags = source.build.flags.concat();
        let name = format!("{}/{}{flags}", source.name, source.build.compiler);
        let cache = Arc::clone(&cache);
        trials.push(Trial::test(name, move || {
            check(&assembly(&source, &cache)?, &cache, true)
        }));
    }
    if let Some(folder) = std::env::var_os("RESTUB_ASM_CORPUS") {
        let mut files = Vec::new();
        assembly_below(Path::new(&folder), &mut files).map_err(|e| e.to_string())?;
        for file in files {
            let cache = Arc::clone(&cache);
            trials.push(Trial::test(file.display().to_string(), move || {
                check(&file, &cache, false)
            }));
        }
    }
    Ok(trials)
}

fn assembly_below(folder: &Path, files: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            assembly_below(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "s") {
            files.push(path);
        }
    }
    files.sort();
    Ok(())
}

/// The assembly that a compiler makes of a source.
fn assembly(source: &Source, cache: &Cache) -> Result<PathBuf, String> {
    let compiler = source.build.compiler;
    let mut flags: Vec<String> = source.build.flags.iter().map(|flag| (*flag).to_owned()).collect();
    flags.extend_from_slice(&source.flags);
    let name = format!("{}.s", source.path.file_stem().unwrap_or_default().to_string_lossy());
    cache.made(compiler, &flags, &source.path, &name, |file| {
        let mut command = Command::new(compiler);
        match compiler {
            "rustc" => command
                .args(["-Awarnings", "-Ccodegen-units=1"])
                .arg(format!("--emit=asm={}", file.display())),
            _ if source.build.flags.contains(&"-E") => command.args(["-xassembler-with-cpp", "-P", "-o"]).arg(file),
            _ => command.args(["-w", "-S", "-o"]).arg(file),
        };
        command.args(&flags).arg(&source.path);
        // What a compiler writes besides belongs to the same folder.
        command.current_dir(file.parent().unwrap_or(Path::new(".")));
        compile::output(&mut command).map(drop)
    })
}

/// Assembles one file with both. What no other assembler takes has to be refused, which what compilers write never is.
fn check(path: &Path, cache: &Cache, compiled: bool) -> Result<(), Failed> {
    let source = fs::read(path).map_err(|e| format!("{}: {e}", path.display()))?;
    let reference = oracle::reference(path, &source, cache)?;
    let options = Options {
        file_name: path.display().to_string(),
        include_dirs: path.parent().map(Path::to_owned).into_iter().collect(),
        dwarf5: matches!(reference, Reference::Gnu { dwarf5: true, .. }),
        ..Options::default()
    };
    let what = match &reference {
        Reference::Gnu { .. } => "as GNU as",
        Reference::Llvm(_) => "as llvm-mc, which takes what GNU as does not",
        Reference::Refused(_) => "refused by all",
    };
    let differences = match (assemble(&source, &options), reference) {
        (Ok(ours), Reference::Gnu { object, .. }) => compare::differences(&ours, &object),
        (Ok(ours), Reference::Llvm(object)) => meaning::differences(&ours, &object)?,
        (Ok(_), Reference::Refused(message)) => vec![format!("only restub takes it:\n{message}")],
        (Err(_), Reference::Refused(_)) if !compiled => Vec::new(),
        (Err(errors), _) => {
            let text = errors.to_string();
            vec![format!(
                "refused: {}",
                text.lines().take(9).collect::<Vec<_>>().join("\n")
            )]
        }
    };
    count(if differences.is_empty() { what } else { "different" }, &source);
    if differences.is_empty() {
        return Ok(());
    }
    Err(format!("{}:\n{}", path.display(), differences.join("\n")).into())
}
