//! Sources on the command line, compiled by the user's compilers.

use std::io::IsTerminal as _;
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::time::SystemTime;

use anyhow::Context as _;

use crate::assemble;
use crate::stamp::{AsRead, Stamp};

/// A language whose sources `restub run` takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Language {
    C,
    Cxx,
    /// Assembly that goes through the C preprocessor.
    CppAssembly,
    Assembly,
    Rust,
}

impl Language {
    /// The language of a file, by the end of its name; `None` for objects and everything else.
    pub(crate) fn of(path: &Path) -> Option<Self> {
        match path.extension()?.to_str()? {
            "c" | "i" => Some(Language::C),
            "cc" | "cpp" | "cxx" | "c++" | "C" | "ii" => Some(Language::Cxx),
            "S" | "sx" => Some(Language::CppAssembly),
            "s" => Some(Language::Assembly),
            "rs" => Some(Language::Rust),
            _ => None,
        }
    }
}

/// The user's compilers and their flags.
#[derive(Debug, Clone)]
pub(crate) struct Compilers {
    c: Vec<String>,
    cxx: Vec<String>,
    rust: Vec<String>,
    /// Whether messages are shown on a terminal.
    colour: bool,
}

/// What a compiler made.
#[derive(Debug)]
pub(crate) struct Compiled {
    pub(crate) object: Vec<u8>,
    /// The files that the source includes, as they were when the compiler read them.
    pub(crate) dependencies: Vec<AsRead>,
    /// Warnings.
    pub(crate) messages: String,
}

/// Why there is no object.
#[derive(Debug)]
pub(crate) struct Failure {
    /// What the compiler says.
    pub(crate) messages: String,
    /// One line: who failed, and how.
    pub(crate) reason: String,
}

/// One source to compile.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Job<'a> {
    pub(crate) source: &'a Path,
    pub(crate) language: Language,
    /// Tells the files of this source from those of others.
    pub(crate) number: usize,
}

/// Debug information, and code that refers to nothing by a fixed address.
const C_FLAGS: [&str; 4] = ["-g", "-fPIC", "-ffunction-sections", "-fdata-sections"];
const RUST_FLAGS: [&str; 3] = ["-Cdebuginfo=2", "-Ccodegen-units=1", "-Crelocation-model=pic"];
const RUST_EDITION: &str = "--edition=2021";

impl Compilers {
    /// Those that the environment names, or the system's; `flags` come behind those of the environment.
    pub(crate) fn from_environment(flags: &str) -> anyhow::Result<Self> {
        let flags = split("--cflags", flags)?;
        let of = |compiler: &str, default: &str, flag_variable: &str| {
            let mut words = from_environment(compiler)?;
            if words.is_empty() {
                words.push(default.into());
            }
            let with_flags = from_environment(flag_variable)?;
            anyhow::Ok((words, with_flags))
        };
        let common = C_FLAGS.map(String::from);
        let (c, c_flags) = of("CC", "cc", "CFLAGS")?;
        let (cxx, cxx_flags) = of("CXX", "c++", "CXXFLAGS")?;
        let (rust, rust_flags) = of("RUSTC", "rustc", "RUSTFLAGS")?;
        let mut common_rust = RUST_FLAGS.map(String::from).to_vec();
        if !rust_flags.iter().any(|flag| flag.starts_with("--edition")) {
            common_rust.push(RUST_EDITION.into());
        }
        Ok(Compilers {
            c: [&c, &common[..], &c_flags, &flags].concat(),
            cxx: [&cxx, &common[..], &cxx_flags, &flags].concat(),
            rust: [&rust, &common_rust[..], &rust_flags].concat(),
            colour: std::io::stderr().is_terminal(),
        })
    }

    /// Compiles a source. `folder` is for files that nobody needs afterwards.
    pub(crate) fn compile(&self, job: Job<'_>, folder: &Path) -> Result<Compiled, Failure> {
        let start = SystemTime::now();
        let (object, dependencies, messages) = match job.language {
            Language::Assembly => {
                let object = assemble::object_of(job.source).map_err(|error| Failure {
                    messages: String::new(),
                    reason: format!("{error:#}"),
                })?;
                (object.bytes().to_vec(), Vec::new(), String::new())
            }
            _ => self.run(job, folder)?,
        };
        let as_read = |path: PathBuf| {
            let stamp = Stamp::of(&path).filter(|stamp| !stamp.is_between(start, SystemTime::now()));
            (path, stamp)
        };
        Ok(Compiled {
            object,
            dependencies: dependencies.into_iter().map(as_read).collect(),
            messages,
        })
    }

    /// Compiles sources, several at a time.
    pub(crate) fn compile_all(&self, jobs: &[Job<'_>], folder: &Path) -> Vec<Result<Compiled, Failure>> {
        let threads = std::thread::available_parallelism().map_or(1, NonZero::get);
        let next = Mutex::new(jobs.iter().enumerate());
        let results: Vec<_> = jobs.iter().map(|_| Mutex::new(None)).collect();
        let work = || {
            while let Some((index, job)) = next.lock().expect("nothing panics under the lock").next() {
                let result = self.compile(*job, folder);
                *results[index].lock().expect("nothing panics under the lock") = Some(result);
            }
        };
        std::thread::scope(|scope| {
            for _ in 1..threads.min(jobs.len()) {
                scope.spawn(work);
            }
            work();
        });
        let results = results.into_iter().map(|slot| slot.into_inner().ok().flatten());
        results
            .map(|result| result.expect("every job has been taken"))
            .collect()
    }

    /// Makes an archive of Rust's standard library, with what rustc adds when it links a program.
    pub(crate) fn rust_library(&self, folder: &Path) -> anyhow::Result<PathBuf> {
        let source = folder.join("std.rs");
        let archive = folder.join("std.a");
        std::fs::write(&source, "").with_context(|| format!("cannot write {}", source.display()))?;
        let mut command = command(&self.rust);
        command.args(["--crate-type=staticlib", "--crate-name=restub_std", "-o"]);
        let made = run(command.arg(&archive).arg(&source)).map_err(|failure| {
            eprint!("{}", failure.messages);
            anyhow::anyhow!("no archive of Rust's standard library: {}", failure.reason)
        });
        made.map(|_| archive)
    }

    fn run(&self, job: Job<'_>, folder: &Path) -> Result<(Vec<u8>, Vec<PathBuf>, String), Failure> {
        let object = folder.join(format!("{}.o", job.number));
        let rules = folder.join(format!("{}.d", job.number));
        let mut command = match job.language {
            Language::Rust => self.rust_command(job.source, &object, &rules),
            language => self.c_command(language, job.source, &object, &rules),
        };
        let messages = run(&mut command).map_err(|failure| Failure {
            reason: format!("{}: {}", job.source.display(), failure.reason),
            ..failure
        })?;
        let read = std::fs::read(&object).map_err(|error| Failure {
            messages: messages.clone(),
            reason: format!("{}: the compiler wrote no object: {error}", job.source.display()),
        })?;
        // A compiler that cannot write them leaves no rules; then only the source itself is watched.
        let rules = std::fs::read(&rules).unwrap_or_default();
        let dependencies = prerequisites(&String::from_utf8_lossy(&rules));
        Ok((read, dependencies, messages))
    }

    fn c_command(&self, language: Language, source: &Path, object: &Path, rules: &Path) -> Command {
        let words = if language == Language::Cxx { &self.cxx } else { &self.c };
        let mut command = command(words);
        if self.colour {
            command.arg("-fdiagnostics-color=always");
        }
        command.args(["-MMD", "-MF"]).arg(rules);
        command.arg("-c").arg(source).arg("-o").arg(object);
        command
    }

    fn rust_command(&self, source: &Path, object: &Path, rules: &Path) -> Command {
        let mut command = command(&self.rust);
        let colour = if self.colour { "always" } else { "never" };
        let kind = if has_rust_main(source) { "bin" } else { "lib" };
        command
            .arg(format!("--color={colour}"))
            .arg(format!("--crate-type={kind}"));
        command.arg(format!("--emit=obj={},dep-info={}", object.display(), rules.display()));
        command.arg(source);
        command
    }
}

fn command(words: &[String]) -> Command {
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]).stdin(Stdio::null());
    command
}

/// Runs a compiler, and returns its warnings.
fn run(command: &mut Command) -> Result<String, Failure> {
    let compiler = command.get_program().display().to_string();
    let output = command.output().map_err(|error| Failure {
        messages: String::new(),
        reason: format!("cannot run {compiler}: {error}"),
    })?;
    let messages = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    if output.status.success() {
        return Ok(messages);
    }
    Err(Failure {
        messages,
        reason: format!("{compiler} failed ({})", output.status),
    })
}

/// Whether a Rust source is a program: it has a `main` at the outermost level, and says nothing else about itself.
fn has_rust_main(source: &Path) -> bool {
    let text = std::fs::read_to_string(source).unwrap_or_default();
    let is_main = |line: &str| line.strip_prefix("pub ").unwrap_or(line).starts_with("fn main(");
    let is_library = |line: &str| line.starts_with("#![no_main") || line.starts_with("#![crate_type");
    text.lines().any(is_main) && !text.lines().any(is_library)
}

fn from_environment(variable: &str) -> anyhow::Result<Vec<String>> {
    match std::env::var(variable) {
        Ok(text) => split(variable, &text),
        Err(std::env::VarError::NotPresent) => Ok(Vec::new()),
        Err(error) => Err(error).with_context(|| format!("${variable}")),
    }
}

/// Splits words as a shell does.
fn split(from: &str, text: &str) -> anyhow::Result<Vec<String>> {
    shlex::split(text).with_context(|| format!("{from}: a quote is not closed: {text}"))
}

/// The prerequisites of rules as `make` reads them and compilers write them, each once.
fn prerequisites(rules: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for rule in rules.replace("\\\n", " ").lines() {
        let rule = rule.split_once(": ").map_or("", |(_, prerequisites)| prerequisites);
        let mut word = String::new();
        let mut characters = rule.chars().chain(['\n']).peekable();
        while let Some(character) = characters.next() {
            match (character, characters.peek()) {
                ('\\', Some(' ' | '#')) | ('$', Some('$')) => word.extend(characters.next()),
                (' ' | '\t' | '\n', _) if word.is_empty() => {}
                (' ' | '\t' | '\n', _) => {
                    let path = PathBuf::from(std::mem::take(&mut word));
                    if !found.contains(&path) {
                        found.push(path);
                    }
                }
                _ => word.push(character),
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_of_compilers_are_read() {
        let gcc = "a.o: a.c a\\ b.h \\\n /usr/include/x.h c$$d.h e\\#f.h\n";
        let expected = ["a.c", "a b.h", "/usr/include/x.h", "c$d.h", "e#f.h"].map(PathBuf::from);
        assert_eq!(prerequisites(gcc), expected);
        let rustc = "/tmp/1.d: a.rs b/mod.rs\n\n/tmp/1.o: a.rs b/mod.rs\n\na.rs:\nb/mod.rs:\n\n# env-dep:HOME\n";
        assert_eq!(prerequisites(rustc), ["a.rs", "b/mod.rs"].map(PathBuf::from));
        assert_eq!(prerequisites(""), Vec::<PathBuf>::new());
        assert_eq!(
            prerequisites("odd.o: C:\\x.h end\\"),
            ["C:\\x.h", "end\\"].map(PathBuf::from)
        );
    }

    #[test]
    fn languages_go_by_the_end_of_the_name() {
        assert_eq!(Language::of(Path::new("a/b.cpp")), Some(Language::Cxx));
        assert_eq!(Language::of(Path::new("a.C")), Some(Language::Cxx));
        assert_eq!(Language::of(Path::new("a.s")), Some(Language::Assembly));
        assert_eq!(Language::of(Path::new("a.S")), Some(Language::CppAssembly));
        assert_eq!(Language::of(Path::new("a.o")), None);
        assert_eq!(Language::of(Path::new("c")), None);
    }
}
