//! restub beside other systems that load the same code, measured in turns, in one run.
//!
//! Each peer is a process that loads and unloads as often as it is told, and answers with the CPU time of its thread.
//! A round asks every peer for a few loads in sequence, so that what else the machine does falls on all of them alike.
#[path = "../../tests/programs/compile.rs"]
mod compile;
#[path = "../../tests/programs/crates.rs"]
mod crates;
#[path = "../objects/function.rs"]
mod function;
#[path = "loaders.rs"]
mod loaders;
#[path = "../objects/sections.rs"]
mod sections;
#[path = "../objects/sqlite.rs"]
mod sqlite;

use std::error::Error;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use function::Function;
use loaders::LOADERS;
use sections::Sections;

const ROUNDS: usize = 101;
/// What needs longer for one load is not asked again.
const PATIENCE: Duration = Duration::from_secs(1);

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// What to load.
struct Subject {
    name: String,
    object: PathBuf,
    /// The same, compiled without relocations that a linker may relax.
    unrelaxed: PathBuf,
    /// A function in it.
    symbol: String,
    /// The object, linked as a shared library.
    library: PathBuf,
    /// What that link took.
    link: Duration,
    /// Loads in sequence; the first of many finds cold caches.
    sequence: usize,
}

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args()
        .skip(1)
        .filter(|argument| argument != "--bench")
        .collect();
    if let [loader, file, symbol] = arguments.as_slice() {
        return loaders::serve(loader, Path::new(file), symbol);
    }
    let rounds = arguments.first().map_or(Ok(ROUNDS), |count| count.parse())?;
    let folder = tempfile::tempdir()?;
    let lljit = build_lljit(folder.path())?;
    println!("medians of {rounds} rounds, thread CPU time in microseconds");
    for subject in subjects(folder.path())? {
        compare(&subject, &lljit, rounds)?;
    }
    Ok(())
}

fn build_lljit(folder: &Path) -> Result<PathBuf> {
    let program = folder.join("lljit");
    let config = |option: &str| compile::output(Command::new("llvm-config-19").args([option, "--link-shared"]));
    let (headers, libraries) = (config("--includedir")?, config("--libdir")?);
    let mut command = Command::new("g++");
    command.args(["-std=c++17", "-O2", "-isystem", headers.trim()]);
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("lljit.cc"));
    command
        .arg(format!("-L{}", libraries.trim()))
        .args(["-lLLVM-19", "-o"])
        .arg(&program);
    compile::output(&mut command)?;
    Ok(program)
}

fn subjects(folder: &Path) -> Result<Vec<Subject>> {
    let one = folder.join("function.o");
    fs::write(&one, Function::compile()?.numbered(0))?;
    let mut subjects = Vec::new();
    let mut add = |name: String, [object, unrelaxed]: [PathBuf; 2], symbol: &str, sequence: usize| -> Result<()> {
        let library = folder.join(format!("{}.so", subjects.len()));
        let before = children_time();
        compile::output(Command::new("ld").arg("-shared").arg(&object).arg("-o").arg(&library))?;
        subjects.push(Subject {
            name,
            object,
            unrelaxed,
            symbol: symbol.to_owned(),
            library,
            link: children_time().saturating_sub(before),
            sequence,
        });
        Ok(())
    };
    for (_, flags) in sqlite::FORMS {
        let unrelaxed = [flags, &["-Wa,-mrelax-relocations=no"]].concat();
        let objects = [sqlite::compile(flags)?, sqlite::compile(&unrelaxed)?];
        add(format!("SQLite {}", flags.join(" ")), objects, "sqlite3_open", 3)?;
    }
    add("one function".to_owned(), [one.clone(), one], "f00000000", 50)?;
    Ok(subjects)
}

fn compare(subject: &Subject, lljit: &Path, rounds: usize) -> Result<()> {
    let mut peers = Vec::new();
    for (name, file) in LOADERS {
        let file = match file {
            loaders::File::Object => &subject.object,
            loaders::File::Unrelaxed => &subject.unrelaxed,
            loaders::File::Library => &subject.library,
        };
        let mut command = Command::new(std::env::current_exe()?);
        command.arg(name).arg(file).arg(&subject.symbol);
        peers.push(Peer::start(command)?);
    }
    let mut command = Command::new(lljit);
    command.arg(&subject.object).arg(&subject.symbol);
    peers.push(Peer::start(command)?);
    for _ in 0..rounds {
        for peer in &mut peers {
            peer.turn(subject.sequence);
        }
    }
    let bytes = fs::read(&subject.object)?;
    println!();
    println!(
        "{}, {} bytes of sections",
        subject.name,
        Sections::of(&bytes)?.size_bytes()
    );
    println!(
        "{:<26}{:>12}{:>12}{:>10}{:>12}{:>10}",
        "", "first load", "load", "x copy", "unload", "loads"
    );
    let copy = peers.first_mut().map_or(1.0, |peer| median(&mut peer.loads.clone()));
    for peer in &mut peers {
        if let Some(problem) = &peer.problem {
            println!("{:<26}{problem}", peer.name);
            continue;
        }
        let first = peer.loads.first().copied().unwrap_or_default();
        let (load, unload) = (median(&mut peer.loads), median(&mut peer.unloads));
        println!(
            "{:<26}{:>12.1}{load:>12.1}{:>10.2}{unload:>12.1}{:>10}",
            peer.name,
            first.as_secs_f64() * 1e6,
            load / copy,
            peer.loads.len()
        );
    }
    println!("(ld -shared, for dlopen:{:>13.1})", subject.link.as_secs_f64() * 1e6);
    Ok(())
}

/// A process that loads.
struct Peer {
    name: String,
    child: Child,
    requests: ChildStdin,
    answers: BufReader<ChildStdout>,
    loads: Vec<Duration>,
    unloads: Vec<Duration>,
    /// Why it is not asked any more.
    problem: Option<String>,
}

impl Peer {
    fn start(mut command: Command) -> Result<Self> {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let requests = child.stdin.take().ok_or("no pipe")?;
        let mut answers = BufReader::new(child.stdout.take().ok_or("no pipe")?);
        let mut name = String::new();
        answers.read_line(&mut name)?;
        let name = name.trim().to_owned();
        let (loads, unloads) = (Vec::new(), Vec::new());
        Ok(Self {
            name,
            child,
            requests,
            answers,
            loads,
            unloads,
            problem: None,
        })
    }

    /// Loads and unloads a few times, unless that has failed before or takes too long.
    fn turn(&mut self, sequence: usize) {
        let sequence = if self.loads.is_empty() { 1 } else { sequence };
        if self.problem.is_some() || self.loads.first().is_some_and(|first| *first > PATIENCE) {
            return;
        }
        if self.ask(sequence).is_err() {
            let mut reason = String::new();
            let stderr = self.child.stderr.take();
            let read = stderr.and_then(|pipe| BufReader::new(pipe).read_line(&mut reason).ok());
            self.problem = Some(read.map_or("failed".to_owned(), |_| format!("failed: {}", reason.trim())));
        }
    }

    fn ask(&mut self, sequence: usize) -> Result<()> {
        writeln!(self.requests, "{sequence}")?;
        for _ in 0..sequence {
            let mut answer = String::new();
            self.answers.read_line(&mut answer)?;
            let (load, unload) = answer.trim().split_once(' ').ok_or("no answer")?;
            self.loads.push(Duration::from_nanos(load.parse()?));
            self.unloads.push(Duration::from_nanos(unload.parse()?));
        }
        Ok(())
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// In microseconds.
fn median(times: &mut [Duration]) -> f64 {
    times.sort();
    times.get(times.len() / 2).map_or(0.0, |time| time.as_secs_f64() * 1e6)
}

/// CPU time of the processes that this one has waited for.
fn children_time() -> Duration {
    // SAFETY: all of its fields are numbers, for which zero is a value.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: `usage` has room for the answer.
    unsafe { libc::getrusage(libc::RUSAGE_CHILDREN, &mut usage) };
    let time = |value: libc::timeval| Duration::new(value.tv_sec as u64, value.tv_usec as u32 * 1000);
    time(usage.ru_utime) + time(usage.ru_stime)
}
