//! One case: objects made by a compiler, linked by the compiler's driver, run; then run by restub; and compared.
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::time::Duration;

use crate::expected::Expectation;
use crate::process::{Environment, Outcome, Status, run};
use crate::program::list;
use crate::tools::Tool;

/// The longest that a compiler or linker may take.
const TOOL_LIMIT: Duration = Duration::from_secs(120);
/// The longest that a program may run, under `ld`'s linking or ours.
const PROGRAM_LIMIT: Duration = Duration::from_secs(20);

/// Command lines are split at white space; `{src}` and its like are replaced (see [`Bench::expand`]), and a word with
/// one `*` stands for the matching files.
#[derive(Default)]
pub(crate) struct Case {
    /// Program, compiler and flags, as in `c/tls: gcc -O2 -fPIC`.
    pub(crate) name: String,
    /// The compiler that the case counts for.
    pub(crate) compiler: &'static str,
    pub(crate) needs: Vec<&'static Tool>,
    /// The code is for x86-64-v3.
    pub(crate) v3: bool,
    /// What makes the objects, in an empty directory.
    pub(crate) steps: Vec<String>,
    /// What makes the program `reference` from them; empty if no linker would.
    pub(crate) link: String,
    /// What makes `reference` in a directory of its own where `ld` cannot link these objects.
    pub(crate) plain: Vec<String>,
    /// What follows `restub run`.
    pub(crate) load: String,
    /// The program's arguments.
    pub(crate) args: Vec<String>,
    pub(crate) env: Vec<(String, String)>,
    /// The exit status of a program that is content.
    pub(crate) status: i32,
    pub(crate) expect: Expectation,
}

/// What all cases share.
pub(crate) struct Bench {
    /// The `restub` command.
    pub(crate) restub: String,
    /// `tests/sources`.
    pub(crate) sources: PathBuf,
    /// Where to leave the files of failed cases, if anywhere.
    pub(crate) keep: Option<PathBuf>,
}

impl Bench {
    fn expand(&self, line: &str, directory: &Path) -> Result<Vec<String>, String> {
        let mut words = Vec::new();
        for word in line.split_whitespace() {
            let mut word = word.to_owned();
            if word.contains('{') {
                word = word.replace("{src}", &self.sources.to_string_lossy());
                for (name, value) in PLACES {
                    if word.contains(name) {
                        word = word.replace(name, value);
                    }
                }
            }
            match word.split_once('*') {
                Some(around) => words.extend(glob(directory, around)?),
                None => words.push(word),
            }
        }
        Ok(words)
    }
}

/// Directories that a tool has to be asked for.
static PLACES: &[(&str, &LazyLock<String>)] = &[
    ("{lib}", &LIB),
    ("{adalib}", &ADALIB),
    ("{gcclib}", &GCCLIB),
    ("{rustlib}", &RUSTLIB),
    ("{ocaml}", &OCAML),
    ("{fpc}", &FPC),
];
static LIB: LazyLock<String> = LazyLock::new(|| "/usr/lib/x86_64-linux-gnu".to_owned());
static ADALIB: LazyLock<String> = LazyLock::new(|| ask("gcc -print-file-name=adalib"));
static GCCLIB: LazyLock<String> = LazyLock::new(|| ask("gcc -print-file-name=libgcc.a").replace("/libgcc.a", ""));
static RUSTLIB: LazyLock<String> = LazyLock::new(|| ask("rustc --print target-libdir"));
static OCAML: LazyLock<String> = LazyLock::new(|| ask("ocamlopt -where"));
static FPC: LazyLock<String> = LazyLock::new(|| {
    let version = ask("fpc -iV");
    format!("/usr/lib/x86_64-linux-gnu/fpc/{version}/units/x86_64-linux/rtl")
});

fn ask(line: &str) -> String {
    let argv: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
    match run(&argv, Path::new("/"), &Environment::Tool, TOOL_LIMIT) {
        Ok(outcome) => String::from_utf8_lossy(&outcome.stdout).trim().to_owned(),
        Err(error) => format!("/{line}: {error}"),
    }
}

fn glob(directory: &Path, (before, after): (&str, &str)) -> Result<Vec<String>, String> {
    let (parent, prefix) = before
        .rsplit_once('/')
        .map_or(("", before), |(parent, prefix)| (parent, prefix));
    let names = list(&directory.join(parent))?;
    let matching = names
        .into_iter()
        .filter(|name| name.starts_with(prefix) && name.ends_with(after));
    Ok(matching
        .map(|name| {
            if parent.is_empty() {
                name
            } else {
                format!("{parent}/{name}")
            }
        })
        .collect())
}

impl Case {
    /// Runs the case; the error says what differs and how to repeat it.
    pub(crate) fn run(&self, bench: &Bench) -> Result<(), String> {
        let directory = tempfile::Builder::new()
            .prefix("restub-matrix-")
            .tempdir()
            .map_err(|e| e.to_string())?;
        let result = self.check(bench, directory.path());
        let Err(problem) = result else { return Ok(()) };
        let mut text = format!("{problem}\nto repeat, in an empty directory:\n");
        for line in self.steps.iter().chain([&self.link]) {
            let words = bench.expand(line, directory.path()).unwrap_or_default();
            let _ = writeln!(text, "  {}", words.join(" "));
        }
        let words = self.restub(bench, directory.path()).unwrap_or_default();
        let _ = writeln!(text, "  {}", words.join(" "));
        if let Some(keep) = &bench.keep {
            let safe: String = self
                .name
                .chars()
                .map(|c| if c.is_ascii_alphanumeric() { c } else { '_' })
                .collect();
            let kept = keep.join(safe);
            let _ = fs::create_dir_all(keep);
            let _ = fs::remove_dir_all(&kept);
            match fs::rename(directory.keep(), &kept) {
                Ok(()) => text += &format!("files: {}\n", kept.display()),
                Err(error) => text += &format!("files not kept: {error}\n"),
            }
        }
        Err(text)
    }

    fn restub(&self, bench: &Bench, directory: &Path) -> Result<Vec<String>, String> {
        let mut argv = vec![bench.restub.clone(), "run".to_owned()];
        argv.extend(bench.expand(&self.load, directory)?);
        if !self.args.is_empty() {
            argv.push("--".to_owned());
            argv.extend(self.args.iter().cloned());
        }
        Ok(argv)
    }

    fn check(&self, bench: &Bench, directory: &Path) -> Result<(), String> {
        if let Some(problem) = self.make(bench, &self.steps, directory)? {
            return Err(problem);
        }
        let reference = self.reference(bench, directory)?;
        let argv = self.restub(bench, directory)?;
        let ours = run(&argv, directory, &Environment::Program(&self.env), PROGRAM_LIMIT)
            .map_err(|e| format!("{}: {e}", bench.restub))?;
        match (&self.expect, reference) {
            (Expectation::Refused { says, why }, _) => {
                refused(&ours, says).map_err(|problem| format!("{problem}\nit is to be refused: {why}"))
            }
            (Expectation::Fails { says, why }, _) if ours.status != Status::Exited(self.status) => {
                contains_all(&text(&ours.stderr), says).map_err(|problem| format!("{problem}\nexpected, because {why}"))
            }
            (Expectation::Fails { why, .. }, _) => Err(format!("it runs, against the table of expectations: {why}")),
            (Expectation::Dies { says }, Some(reference)) => {
                contains_all(&text(&ours.stderr), says)?;
                same(
                    &reference,
                    &Outcome {
                        stderr: reference.stderr.clone(),
                        ..ours
                    },
                )
            }
            (_, Some(reference)) => same(&reference, &ours),
            (_, None) => content("restub run", &ours, self.status),
        }
    }

    /// Runs the program as `ld` links it, from these objects or from plain ones.
    fn reference(&self, bench: &Bench, directory: &Path) -> Result<Option<Outcome>, String> {
        if self.link.is_empty() {
            return Ok(None);
        }
        let mut home = directory.to_owned();
        let problem = self.make(bench, std::slice::from_ref(&self.link), directory)?;
        match (&self.expect, problem) {
            (Expectation::BeyondLd { says, .. }, Some(problem)) => {
                contains_all(&problem, says)?;
                home = directory.join("plain");
                fs::create_dir(&home).map_err(|e| e.to_string())?;
                if let Some(problem) = self.make(bench, &self.plain, &home)? {
                    return Err(problem);
                }
            }
            (Expectation::BeyondLd { why, .. }, None) => {
                return Err(format!("ld linked it, which was not expected: {why}"));
            }
            (_, Some(problem)) => return Err(problem),
            (_, None) => {}
        }
        let mut argv = vec!["./reference".to_owned()];
        argv.extend(self.args.iter().cloned());
        let outcome = run(&argv, &home, &Environment::Program(&self.env), PROGRAM_LIMIT).map_err(|e| e.to_string())?;
        if !matches!(self.expect, Expectation::Dies { .. }) {
            content("the program linked by ld", &outcome, self.status)?;
        }
        Ok(Some(outcome))
    }

    /// Runs `lines` in turn. The inner result is the output of the first that fails.
    fn make(&self, bench: &Bench, lines: &[String], directory: &Path) -> Result<Option<String>, String> {
        for line in lines {
            let argv = bench.expand(line, directory)?;
            let outcome = run(&argv, directory, &Environment::Tool, TOOL_LIMIT)
                .map_err(|e| format!("{}: {e}", argv.join(" ")))?;
            if outcome.status != Status::Exited(0) {
                let said = text(&outcome.stderr) + &text(&outcome.stdout);
                return Ok(Some(format!("{}: {}\n{said}", argv.join(" "), outcome.status)));
            }
        }
        Ok(None)
    }
}

fn text(bytes: &[u8]) -> String {
    const SHOWN: usize = 3000;
    let text = String::from_utf8_lossy(bytes);
    let end = text.char_indices().nth(SHOWN).map_or(text.len(), |(at, _)| at);
    text[..end].to_owned()
}

fn contains_all(said: &str, wanted: &[&str]) -> Result<(), String> {
    match wanted.iter().find(|part| !said.contains(**part)) {
        None => Ok(()),
        Some(part) => Err(format!("`{part}` is missing in:\n{said}")),
    }
}

/// A refusal: status 1, the reason on standard error, nothing on standard output.
fn refused(ours: &Outcome, says: &[&str]) -> Result<(), String> {
    if ours.status != Status::Exited(1) || !ours.stdout.is_empty() {
        let (stdout, stderr) = (text(&ours.stdout), text(&ours.stderr));
        return Err(format!(
            "a refusal was expected, got {}\n--- stdout\n{stdout}\n--- stderr\n{stderr}",
            ours.status
        ));
    }
    contains_all(&text(&ours.stderr), says)
}

fn content(who: &str, outcome: &Outcome, status: i32) -> Result<(), String> {
    if outcome.status == Status::Exited(status) {
        return Ok(());
    }
    let (stdout, stderr) = (text(&outcome.stdout), text(&outcome.stderr));
    Err(format!(
        "{who}: {}, expected {status}\n--- stdout\n{stdout}\n--- stderr\n{stderr}",
        outcome.status
    ))
}

fn same(reference: &Outcome, ours: &Outcome) -> Result<(), String> {
    let mut problem = String::new();
    if reference.status != ours.status {
        let _ = writeln!(problem, "{}, linked by ld: {}", ours.status, reference.status);
    }
    for (name, theirs, ours) in [
        ("stdout", &reference.stdout, &ours.stdout),
        ("stderr", &reference.stderr, &ours.stderr),
    ] {
        if theirs != ours {
            let _ = writeln!(
                problem,
                "--- {name} linked by ld\n{}\n--- {name} of restub\n{}",
                text(theirs),
                text(ours)
            );
        }
    }
    if problem.is_empty() { Ok(()) } else { Err(problem) }
}
