//! Real programs, run by `restub run` from their objects and by themselves as the compiler's driver linked the same
//! objects. Standard output, standard error, exit status and the files left behind have to be equal.
//!
//! The sources come from crates, which cargo fetches; compiled objects are kept in cargo's target folder.
//!
//! | variable | effect |
//! |---|---|
//! | `RESTUB` | the `restub` command to test instead of the one just built |
//! | `CI` | a missing compiler is a failure, not a skip |
mod c_family;
mod compile;
mod crates;
mod form;
mod rust;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Output, Stdio};
use std::sync::Arc;

use c_family::Program;
use compile::Cache;
use crates::Crates;
use form::Form;
use libtest_mimic::{Arguments, Failed, Trial};

/// Seconds after which a program is ended.
const LIMIT_SECONDS: &str = "300";

/// What the tests share.
struct Shared {
    restub: OsString,
    cache: Cache,
    crates: Crates,
}

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    match trials() {
        Ok(trials) => libtest_mimic::run(&arguments, trials).exit_code(),
        Err(problem) => {
            eprintln!("programs: {problem}");
            ExitCode::FAILURE
        }
    }
}

fn trials() -> Result<Vec<Trial>, String> {
    let shared = Arc::new(Shared {
        restub: std::env::var_os("RESTUB").unwrap_or_else(|| env!("CARGO_BIN_EXE_restub").into()),
        cache: Cache::new(Path::new(env!("CARGO_TARGET_TMPDIR")).join("programs")),
        crates: Crates::locate()?,
    });
    let mut trials = Vec::new();
    for program in c_family::PROGRAMS {
        for form in program.forms {
            let shared = Arc::clone(&shared);
            let name = format!("{}/{}", program.name, form.name);
            let run = move || shared.run(program, form);
            trials.push(Trial::test(name, run).with_ignored_flag(skipped(form.compiler)));
        }
    }
    for (name, flags) in rust::FORMS {
        let shared = Arc::clone(&shared);
        let run = move || {
            let built = rust::build(flags, &shared.cache)?;
            shared.compare(&built.program, &built.inputs, &["one".into(), "two words".into()])
        };
        trials.push(Trial::test(format!("rust/{name}"), run));
    }
    Ok(trials)
}

/// Whether a compiler is not there, and need not be.
fn skipped(compiler: &str) -> bool {
    std::env::var_os("CI").is_none() && Command::new(compiler).arg("--version").output().is_err()
}

impl Shared {
    fn run(&self, program: &Program, form: &Form) -> Result<(), Failed> {
        let objects = program.objects(form, &self.cache, &self.crates)?;
        let folder = tempfile::tempdir().map_err(|e| e.to_string())?;
        let reference = folder.path().join("reference");
        let mut link = Command::new(form.compiler);
        link.args(form.link)
            .args(&objects)
            .args(["-lm", "-lpthread", "-ldl", "-o"])
            .arg(&reference);
        compile::output(&mut link)?;
        self.compare(&reference, &objects, &program.arguments(&self.crates)?)
    }

    /// Runs both, and says in what they differ.
    fn compare(&self, reference: &Path, inputs: &[PathBuf], arguments: &[String]) -> Result<(), Failed> {
        let expected = Outcome::of(&[reference.as_os_str().to_owned()], arguments)?;
        let mut command = vec![self.restub.clone(), "run".into()];
        command.extend(inputs.iter().map(|input| input.clone().into_os_string()));
        command.push("--".into());
        let actual = Outcome::of(&command, arguments)?;
        let differences = expected.differences(&actual);
        if differences.is_empty() {
            Ok(())
        } else {
            Err(differences.join("\n").into())
        }
    }
}

/// What a program did.
struct Outcome {
    output: Output,
    /// By name.
    files: BTreeMap<OsString, Vec<u8>>,
}

impl Outcome {
    /// Runs a command in a folder of its own, with nothing in the environment but what is set here.
    fn of(command: &[OsString], arguments: &[String]) -> Result<Self, String> {
        let folder = tempfile::tempdir().map_err(|e| e.to_string())?;
        let output = Command::new("timeout")
            .args(["--kill-after=5", LIMIT_SECONDS])
            .args(command)
            .args(arguments)
            .current_dir(folder.path())
            .env_clear()
            .envs([("PATH", "/usr/bin:/bin"), ("LC_ALL", "C.UTF-8"), ("TZ", "UTC")])
            .stdin(Stdio::null())
            .output()
            .map_err(|e| format!("timeout: {e}"))?;
        let entries = fs::read_dir(folder.path()).map_err(|e| e.to_string())?;
        let files = entries.filter_map(|entry| {
            let entry = entry.ok()?;
            Some((entry.file_name(), fs::read(entry.path()).ok()?))
        });
        let files = files.collect();
        Ok(Self { output, files })
    }

    fn differences(&self, actual: &Self) -> Vec<String> {
        let mut differences = Vec::new();
        if self.output.status != actual.output.status {
            differences.push(format!("expected {}, got {}", self.output.status, actual.output.status));
        }
        differences.extend(line_of_difference("stdout", &self.output.stdout, &actual.output.stdout));
        differences.extend(line_of_difference("stderr", &self.output.stderr, &actual.output.stderr));
        for name in self.files.keys().chain(actual.files.keys()) {
            if self.files.get(name) != actual.files.get(name) {
                differences.push(format!("the file {} differs", name.display()));
            }
        }
        if self.output.stdout.is_empty() {
            differences.push("the linked program printed nothing".to_owned());
        }
        differences
    }
}

/// The first line in which two outputs differ.
fn line_of_difference(stream: &str, expected: &[u8], actual: &[u8]) -> Option<String> {
    if expected == actual {
        return None;
    }
    let (expected, actual) = (String::from_utf8_lossy(expected), String::from_utf8_lossy(actual));
    let mut pairs = expected
        .lines()
        .map(Some)
        .chain(std::iter::repeat(None))
        .zip(actual.lines().map(Some).chain(std::iter::repeat(None)));
    let (number, (expected, actual)) = pairs
        .by_ref()
        .take(1 << 20)
        .enumerate()
        .find(|(_, (expected, actual))| expected != actual)?;
    let show = |line: Option<&str>| line.map_or("its end".to_owned(), |line| format!("{line:?}"));
    Some(format!(
        "{stream}, line {}: expected {}, got {}",
        number + 1,
        show(expected),
        show(actual)
    ))
}
