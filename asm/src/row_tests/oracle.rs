//! Other assemblers, given all lines in one run.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

use object::{Object, ObjectSection, ObjectSymbol};

use crate::Syntax;

/// What an assembler makes of a line.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Theirs {
    Bytes(Vec<u8>),
    /// With its reason.
    Refused(String),
}

/// The source of all lines, each behind a label.
fn source(lines: &[String], syntax: Syntax, keep: impl Fn(usize) -> bool) -> String {
    let mut text = String::from(match syntax {
        Syntax::Intel => ".intel_syntax noprefix\n",
        Syntax::Att => ".att_syntax prefix\n",
    });
    for (i, line) in lines.iter().enumerate() {
        let _ = writeln!(text, "L{i}: {}", if keep(i) { line } else { "" });
    }
    let _ = writeln!(text, "L{}:", lines.len());
    text
}

/// Runs an assembler until it takes the file; lines that it refuses are left out of the next try.
fn assemble(
    lines: &[String],
    syntax: Syntax,
    command: &dyn Fn(&Path, &Path) -> Command,
    error: &dyn Fn(&str) -> Option<(usize, String)>,
) -> Vec<Theirs> {
    let dir = tempfile::tempdir().unwrap();
    let (input, output) = (dir.path().join("rows.s"), dir.path().join("rows.o"));
    let mut refused: Vec<Option<String>> = vec![None; lines.len()];
    for _ in 0..4 {
        std::fs::write(&input, source(lines, syntax, |i| refused[i].is_none())).unwrap();
        let run = command(&input, &output).output().expect("the assembler runs");
        if run.status.success() {
            break;
        }
        for (line, reason) in String::from_utf8_lossy(&run.stderr).lines().filter_map(error) {
            refused[line - 2].get_or_insert(reason);
        }
    }
    let data = std::fs::read(&output).unwrap();
    let (bytes, offsets) = labelled(&data, lines.len());
    refused
        .into_iter()
        .enumerate()
        .map(|(i, refused)| match refused {
            Some(reason) => Theirs::Refused(reason),
            None => Theirs::Bytes(bytes[offsets[i]..offsets[i + 1]].to_vec()),
        })
        .collect()
}

/// The code, and where the labels are.
fn labelled(data: &[u8], count: usize) -> (Vec<u8>, Vec<usize>) {
    let file = object::File::parse(data).unwrap();
    let bytes = file.section_by_name(".text").unwrap().data().unwrap();
    let mut offsets = vec![0; count + 1];
    for symbol in file.symbols() {
        let number = symbol.name().ok().and_then(|n| n.strip_prefix('L'));
        if let Some(Ok(index)) = number.map(str::parse::<usize>) {
            offsets[index] = symbol.address() as usize;
        }
    }
    (bytes.to_vec(), offsets)
}

/// `file:12: Error: reason`, `file:12:3: error: reason`
fn message(line: &str) -> Option<(usize, String)> {
    let (place, rest) = line.split_once(": ")?;
    let reason = rest.strip_prefix("Error: ").or_else(|| rest.strip_prefix("error: "))?;
    let number = place.split(':').nth(1)?.parse().ok()?;
    Some((number, reason.to_string()))
}

pub(super) fn gnu_as(lines: &[String], syntax: Syntax) -> Vec<Theirs> {
    let command = |input: &Path, output: &Path| {
        let mut command = Command::new("as");
        command.arg("-o").arg(output).arg(input);
        command
    };
    assemble(lines, syntax, &command, &message)
}

pub(super) fn llvm_mc(lines: &[String], syntax: Syntax) -> Vec<Theirs> {
    // Without this, APX instructions are unknown.
    const FEATURES: &str = "+egpr,+push2pop2,+ppx,+ndd,+ccmp,+nf,+cf,+zu";
    let command = |input: &Path, output: &Path| {
        let mut command = Command::new("llvm-mc-22");
        command
            .args(["-triple=x86_64", "-filetype=obj", "-mattr", FEATURES, "-o"])
            .arg(output)
            .arg(input);
        command
    };
    assemble(lines, syntax, &command, &message)
}

/// Our own text assembler; it takes every line or the test has failed.
pub(super) fn ours(lines: &[String], syntax: Syntax) -> Vec<Theirs> {
    let mut refused: Vec<Option<String>> = vec![None; lines.len()];
    loop {
        let text = source(lines, syntax, |i| refused[i].is_none());
        match crate::assemble(&text, &crate::Options::default()) {
            Ok(data) => {
                let (bytes, offsets) = labelled(&data, lines.len());
                return (0..lines.len())
                    .map(|i| match &refused[i] {
                        Some(reason) => Theirs::Refused(reason.clone()),
                        None => Theirs::Bytes(bytes[offsets[i]..offsets[i + 1]].to_vec()),
                    })
                    .collect();
            }
            Err(errors) => {
                for error in errors.0 {
                    refused[error.line as usize - 2].get_or_insert(error.message);
                }
                // Where much is wrong, the first reasons are enough.
                if refused.iter().flatten().count() > 2000 {
                    panic!("{:?}", refused.iter().flatten().take(20).collect::<Vec<_>>());
                }
            }
        }
    }
}
