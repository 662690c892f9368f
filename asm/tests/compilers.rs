//! What compilers write, assembled here and by GNU as: section bytes, relocations and symbols are the same.

mod compare;

use std::path::{Path, PathBuf};
use std::process::Command;

use restub_asm::{Options, Syntax, assemble};

/// Assembles one file with both; what differs.
fn check(path: &Path) -> Vec<String> {
    let bytes = std::fs::read(path).expect("a source");
    let source = String::from_utf8_lossy(&bytes);
    let options = Options {
        file_name: path.display().to_string(),
        syntax: Syntax::Att,
        ..Options::default()
    };
    let ours = match assemble(&source, &options) {
        Ok(object) => object,
        Err(errors) => {
            let text = errors.to_string();
            return vec![format!(
                "refused: {}",
                text.lines().take(6).collect::<Vec<_>>().join("\n")
            )];
        }
    };
    let theirs = match gnu_as(path, &source) {
        Ok(object) => object,
        Err(message) => return vec![format!("GNU as refuses it: {message}")],
    };
    compare::differences(&ours, &theirs)
}

/// GNU as on the same file less `.addrsig`, which it does not know.
fn gnu_as(path: &Path, source: &str) -> Result<Vec<u8>, String> {
    let object = path.with_extension("gnu.o");
    let plain: String = source
        .lines()
        .filter(|line| !line.trim_start().starts_with(".addrsig"))
        .fold(String::with_capacity(source.len()), |mut text, line| {
            text.push_str(line);
            text.push('\n');
            text
        });
    let input = path.with_extension("gnu.s");
    std::fs::write(&input, plain).expect("a file");
    let mut message = String::new();
    for dwarf in [None, Some("--gdwarf-5")] {
        let run = Command::new("as")
            .args(dwarf)
            .arg("-o")
            .arg(&object)
            .arg(&input)
            .output()
            .expect("GNU as runs");
        if run.status.success() {
            let data = std::fs::read(&object).expect("an object");
            let _ = std::fs::remove_file(&object);
            let _ = std::fs::remove_file(&input);
            return Ok(data);
        }
        message = String::from_utf8_lossy(&run.stderr)
            .lines()
            .take(4)
            .collect::<Vec<_>>()
            .join("\n");
    }
    let _ = std::fs::remove_file(&input);
    Err(message)
}

/// Compiler and arguments, and whether there is one.
const BUILDS: &[(&str, &str, &[&str])] = &[
    ("gcc", "c", &["-O0"]),
    ("gcc", "c", &["-O1"]),
    ("gcc", "c", &["-O2"]),
    ("gcc", "c", &["-O3"]),
    ("gcc", "c", &["-Os"]),
    ("gcc", "c", &["-O2", "-g"]),
    ("gcc", "c", &["-O2", "-gdwarf-4"]),
    ("gcc", "c", &["-O2", "-fPIC"]),
    ("gcc", "c", &["-O2", "-fno-pic"]),
    ("gcc", "c", &["-O2", "-fPIC", "-mtls-dialect=gnu2"]),
    ("gcc", "c", &["-O2", "-mcmodel=large"]),
    ("gcc", "c", &["-O2", "-mcmodel=large", "-fPIC"]),
    ("gcc", "c", &["-O2", "-mcmodel=medium"]),
    ("gcc", "c", &["-O3", "-march=x86-64-v3"]),
    ("gcc", "c", &["-O3", "-march=x86-64-v4"]),
    ("gcc", "c", &["-O2", "-fcf-protection=full", "-mmanual-endbr"]),
    ("gcc", "c", &["-O2", "-ffunction-sections", "-fdata-sections"]),
    ("gcc", "c", &["-O2", "-fsanitize=address,undefined"]),
    ("gcc", "c", &["-O2", "-fpatchable-function-entry=8,2"]),
    ("gcc", "c", &["-O2", "-masm=intel"]),
    ("gcc", "c", &["-O0", "-masm=intel"]),
    ("gcc", "c", &["-O3", "-masm=intel", "-march=x86-64-v4"]),
    ("gcc", "c", &["-O2", "-masm=intel", "-g"]),
    ("g++", "cc", &["-O0"]),
    ("g++", "cc", &["-O2"]),
    ("g++", "cc", &["-O2", "-g"]),
    ("g++", "cc", &["-O2", "-masm=intel"]),
    ("clang-19", "c", &["-O0"]),
    ("clang-19", "c", &["-O2"]),
    ("clang-19", "c", &["-O2", "-fPIC"]),
    ("clang-19", "c", &["-O3", "-march=x86-64-v4"]),
    ("clang-19", "c", &["-O2", "-g"]),
    ("clang-19", "c", &["-O2", "-masm=intel"]),
    ("clang++-19", "cc", &["-O0"]),
    ("clang++-19", "cc", &["-O2", "-g"]),
];

fn sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sources")
}

fn files_in(dir: &Path, extension: &str) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(dir)
        .expect("a directory")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|e| e == extension))
        .collect();
    files.sort();
    files
}

#[test]
fn compiler_output_assembles_as_with_gnu_as() {
    let out = Path::new(env!("CARGO_TARGET_TMPDIR")).join("compilers");
    std::fs::create_dir_all(&out).expect("a directory");
    let mut wrong = Vec::new();
    let mut count = 0;
    for (compiler, extension, arguments) in BUILDS {
        for source in files_in(&sources(), extension) {
            let stem = source.file_stem().expect("a name").to_string_lossy().into_owned();
            let assembly = out.join(format!(
                "{stem}-{compiler}{}.s",
                arguments.concat().replace(['=', ','], "_")
            ));
            let run = Command::new(compiler)
                .args(*arguments)
                .args(["-w", "-S", "-o"])
                .arg(&assembly)
                .arg(&source)
                .output()
                .unwrap_or_else(|error| panic!("{compiler}: {error}"));
            assert!(
                run.status.success(),
                "{compiler} {arguments:?}: {}",
                String::from_utf8_lossy(&run.stderr)
            );
            count += 1;
            let differences = check(&assembly);
            if differences.is_empty() {
                let _ = std::fs::remove_file(&assembly);
            } else {
                wrong.push(format!("{}:\n{}", assembly.display(), differences.join("\n")));
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of {count} files differ:\n{}",
        wrong.len(),
        wrong.join("\n\n")
    );
}

/// Hand-written sources, compared in the same way.
#[test]
fn hand_written_sources_assemble_as_with_gnu_as() {
    let mut wrong = Vec::new();
    let out = Path::new(env!("CARGO_TARGET_TMPDIR"));
    for source in files_in(&sources(), "s") {
        let copy = out.join(source.file_name().expect("a name"));
        std::fs::copy(&source, &copy).expect("a copy");
        let differences = check(&copy);
        if !differences.is_empty() {
            wrong.push(format!("{}:\n{}", source.display(), differences.join("\n")));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

/// `RESTUB_ASM_CORPUS=DIR cargo test` compares every `.s` file of a directory too.
#[test]
fn corpus_assembles_as_with_gnu_as() {
    let Ok(corpus) = std::env::var("RESTUB_ASM_CORPUS") else {
        return;
    };
    let files = files_in(Path::new(&corpus), "s");
    let mut wrong = Vec::new();
    for file in &files {
        let differences = check(file);
        if !differences.is_empty() {
            wrong.push(format!("{}:\n{}", file.display(), differences.join("\n")));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of {} files differ:\n{}",
        wrong.len(),
        files.len(),
        wrong.join("\n\n")
    );
}
