//! Standard output.

use std::io::Write as _;

use anyhow::Context as _;
use serde::{Serialize, Serializer};

/// An address or another number that is read best in hexadecimal; in JSON a string, because JSON's readers keep only 53
/// bits of a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Hex(pub(crate) u64);

impl Serialize for Hex {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{:#x}", self.0))
    }
}

/// Prints a whole report.
pub(crate) fn print(text: &str) -> anyhow::Result<()> {
    let mut output = std::io::stdout().lock();
    let written = output.write_all(text.as_bytes()).and_then(|()| output.flush());
    written.context("cannot write to standard output")
}

/// Prints a report as JSON, and a line break.
pub(crate) fn print_json(report: &impl Serialize) -> anyhow::Result<()> {
    let mut text = serde_json::to_string_pretty(report)?;
    text.push('\n');
    print(&text)
}

/// Gives SIGPIPE its default action, which Rust programs ignore: a reader that has gone ends the command quietly, and a
/// loaded program finds what an ordinary one does.
pub(crate) fn end_by_sigpipe() {
    // SAFETY: sets a signal to its default action, before any other thread exists.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
}
