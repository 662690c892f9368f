//! The text assembler next to GNU as and llvm-mc, on what gcc and clang make of SQLite.
//!
//! Each run is a process of its own that reads a file and writes an object; the assemblers take turns. Times are CPU
//! times of the process, user and system; memory is its peak.
//!
//! `cargo bench -p restub-asm --bench text -- [--rounds N] [FILE.s]...`; with files, those instead of SQLite.
#[path = "../../tests/programs/compile.rs"]
#[allow(dead_code, reason = "only assembly is made here")]
mod compile;
#[path = "../../tests/programs/crates.rs"]
mod crates;

use std::fs::File;
use std::io::{BufRead as _, BufReader, BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use compile::Cache;
use crates::Crates;

/// Name, compiler, flags.
const FORMS: [(&str, &str, &[&str]); 6] = [
    ("gcc -O2", "gcc", &["-O2"]),
    ("gcc -O2, Intel", "gcc", &["-O2", "-masm=intel"]),
    ("gcc -O2 -g", "gcc", &["-O2", "-g"]),
    ("gcc -O2 -g, Intel", "gcc", &["-O2", "-g", "-masm=intel"]),
    ("gcc -O0", "gcc", &["-O0"]),
    ("clang -O2", "clang-19", &["-O2"]),
];

/// The argument by which this program is told to assemble and do nothing else.
const ASSEMBLE: &str = "assemble";

fn main() -> Result<(), String> {
    // cargo puts `--bench` behind.
    let mut arguments: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    if let [word, input, output] = &arguments[..]
        && word == ASSEMBLE
    {
        return assemble(Path::new(input), Path::new(output));
    }
    let mut rounds = 11;
    if let Some(at) = arguments.iter().position(|argument| argument == "--rounds") {
        let count = arguments.get(at + 1).and_then(|count| count.parse().ok());
        rounds = count.ok_or("--rounds needs a number")?;
        arguments.drain(at..at + 2);
    }
    let sources: Vec<(String, PathBuf)> = if arguments.is_empty() {
        sqlite()?
    } else {
        arguments.into_iter().map(|file| (file.clone(), file.into())).collect()
    };
    println!(
        "{:18} {:9} {:>8} {:>8} {:>6} {:>7} {:>8} {:>7}",
        "", "", "CPU ms", "ns/line", "MB/s", "times", "peak MB", "/source"
    );
    for (name, path) in sources {
        compare(&name, &path, rounds)?;
    }
    Ok(())
}

fn assemble(input: &Path, output: &Path) -> Result<(), String> {
    let source = std::fs::read(input).map_err(|e| e.to_string())?;
    let object = restub_asm::assemble(source, &restub_asm::Options::default()).map_err(|e| e.to_string())?;
    std::fs::write(output, object).map_err(|e| e.to_string())
}

fn sqlite() -> Result<Vec<(String, PathBuf)>, String> {
    let crates = Crates::locate()?;
    let source = crates.folder("libsqlite3-sys")?.join("sqlite3/sqlite3.c");
    let cache = Cache::new(Path::new(env!("CARGO_TARGET_TMPDIR")).join("text"));
    let made = FORMS.iter().map(|(name, compiler, flags)| {
        let flags: Vec<String> = flags.iter().map(|flag| (*flag).to_owned()).collect();
        let path = cache.made(compiler, &flags, &source, "sqlite3.s", |file| {
            let mut command = Command::new(compiler);
            command.args(&flags).args(["-w", "-S"]).arg(&source).arg("-o").arg(file);
            compile::output(&mut command).map(drop)
        })?;
        Ok(((*name).to_owned(), path))
    });
    made.collect()
}

/// CPU seconds and peak bytes of one run.
struct Cost {
    seconds: f64,
    peak_bytes: f64,
}

fn compare(name: &str, path: &Path, rounds: usize) -> Result<(), String> {
    // GNU as does not know clang's `.addrsig`. Nothing of the source is kept: a child's peak is at least its parent's.
    let folder = tempfile::tempdir().map_err(|e| e.to_string())?;
    let plain = folder.path().join("plain.s");
    let (bytes, lines) = without_addrsig(path, &plain).map_err(|e| format!("{}: {e}", path.display()))?;
    let output = folder.path().join("output.o");
    let ours = std::env::current_exe().map_err(|e| e.to_string())?;
    let command = |program: &Path, arguments: &[&str], input: &Path| {
        let mut command = Command::new(program);
        command.args(arguments);
        if program == ours {
            command.arg(input).arg(&output);
        } else {
            command.arg(input).arg("-o").arg(&output);
        }
        command
    };
    let peers: [(&str, &Path, &[&str], &Path); 3] = [
        ("restub", &ours, &[ASSEMBLE], path),
        ("GNU as", Path::new("as"), &[], &plain),
        (
            "llvm-mc",
            Path::new("llvm-mc-19"),
            &["-triple=x86_64-linux-gnu", "-filetype=obj"],
            path,
        ),
    ];
    let mut costs: Vec<Vec<Cost>> = peers.iter().map(|_| Vec::new()).collect();
    for _ in 0..rounds {
        for ((_, program, arguments, input), costs) in peers.iter().zip(&mut costs) {
            costs.extend(run(command(program, arguments, input))?);
        }
    }
    let median = |costs: &[Cost], of: fn(&Cost) -> f64| {
        let mut values: Vec<f64> = costs.iter().map(of).collect();
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    };
    let mut first = None;
    for ((peer, ..), costs) in peers.iter().zip(&costs) {
        if costs.is_empty() {
            println!("{name:18} {peer:9} refuses it");
            continue;
        }
        let seconds = median(costs, |cost| cost.seconds);
        let peak = median(costs, |cost| cost.peak_bytes);
        let ours = *first.get_or_insert(seconds);
        println!(
            "{name:18} {peer:9} {:8.1} {:8.0} {:6.0} {:7.2} {:8.1} {:7.2}",
            seconds * 1e3,
            seconds * 1e9 / lines,
            bytes / seconds / 1e6,
            seconds / ours,
            peak / 1e6,
            peak / bytes
        );
    }
    Ok(())
}

/// Copies a source less the lines with `.addrsig`; the bytes and lines of the whole.
fn without_addrsig(from: &Path, to: &Path) -> std::io::Result<(f64, f64)> {
    let mut source = BufReader::new(File::open(from)?);
    let mut plain = BufWriter::new(File::create(to)?);
    let (mut bytes, mut lines) = (0, 0);
    let mut line = Vec::new();
    while source.read_until(b'\n', &mut line)? != 0 {
        bytes += line.len();
        lines += 1;
        if !line.trim_ascii().starts_with(b".addrsig") {
            plain.write_all(&line)?;
        }
        line.clear();
    }
    plain.flush()?;
    Ok((bytes as f64, f64::from(lines)))
}

/// `None` if it failed.
fn run(mut command: Command) -> Result<Option<Cost>, String> {
    let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    let child = child.map_err(|e| format!("{}: {e}", command.get_program().to_string_lossy()))?;
    let pid = child.id().cast_signed();
    let mut status = 0;
    let mut usage = std::mem::MaybeUninit::<libc::rusage>::uninit();
    // SAFETY: both pointers are to live locals, and the child has not been waited for.
    let ended = unsafe { libc::wait4(pid, &mut status, 0, usage.as_mut_ptr()) };
    if ended != pid {
        return Err(std::io::Error::last_os_error().to_string());
    }
    // SAFETY: wait4 succeeded, so it has filled in the usage.
    let usage = unsafe { usage.assume_init() };
    let seconds = |time: libc::timeval| time.tv_sec as f64 + time.tv_usec as f64 / 1e6;
    Ok((status == 0).then(|| Cost {
        seconds: seconds(usage.ru_utime) + seconds(usage.ru_stime),
        peak_bytes: usage.ru_maxrss as f64 * 1024.0,
    }))
}
