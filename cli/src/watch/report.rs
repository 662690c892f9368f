//! What is said about a replacement.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use restub::loader::OwnKind;
use restub::{Change, Error, Refusal, Report, What};

use super::duration;

/// How many names of one kind are in a line.
const NAMES: usize = 6;

/// A replacement that was made.
#[derive(Debug)]
pub(super) struct Swap<'a> {
    /// The files' names.
    pub(super) files: &'a str,
    /// How long compiling took, as text.
    pub(super) took: &'a str,
    pub(super) swapped: Duration,
    pub(super) report: &'a Report,
    /// Functions and constants that are as they were.
    pub(super) same: &'a BTreeSet<String>,
    /// The function that has been running since the start.
    pub(super) running: &'a str,
    pub(super) verbose: bool,
}

/// What became of a function or a variable, as users see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Outcome {
    Changed,
    New,
    Kept,
    Reset,
    Dropped,
    Same,
}

impl Outcome {
    const ALL: [(Outcome, &'static str); 5] = [
        (Outcome::Changed, "changed"),
        (Outcome::New, "new"),
        (Outcome::Kept, "kept"),
        (Outcome::Reset, "reset"),
        (Outcome::Dropped, "dropped"),
    ];

    fn of(change: &Change, same: &BTreeSet<String>) -> Self {
        let code = matches!(change.kind, OwnKind::Function | OwnKind::Constant);
        match change.what {
            What::Kept if code => Outcome::Same,
            What::Changed if code && same.contains(&change.name) => Outcome::Same,
            What::Changed if code => Outcome::Changed,
            What::Changed => Outcome::Reset,
            What::Kept => Outcome::Kept,
            What::New => Outcome::New,
            What::Dropped => Outcome::Dropped,
        }
    }
}

impl fmt::Display for Swap<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}swapped in {}", self.files, self.took, duration(self.swapped))?;
        let mut changes: Vec<(Outcome, &Change)> = self
            .report
            .changes
            .iter()
            .map(|change| (Outcome::of(change, self.same), change))
            .filter(|(outcome, change)| *outcome != Outcome::Same || change.kind == OwnKind::Function)
            .collect();
        changes.sort_by(|a, b| (a.0, &a.1.name).cmp(&(b.0, &b.1.name)));
        let mut separator = ": ";
        for (outcome, word) in Outcome::ALL {
            let mut names: Vec<&str> = changes
                .iter()
                .filter(|(of, _)| *of == outcome)
                .map(|(_, change)| shown(&change.name))
                .collect();
            names.dedup();
            if names.is_empty() {
                continue;
            }
            write!(f, "{separator}{word} {}", names[..names.len().min(NAMES)].join(", "))?;
            if names.len() > NAMES {
                write!(f, " and {} more", names.len() - NAMES)?;
            }
            if outcome == Outcome::Kept {
                let plural = if names.len() == 1 { "" } else { "s" };
                write!(f, " ({} variable{plural})", names.len())?;
            }
            separator = "; ";
        }
        if separator == ": " {
            write!(f, ": no function changed")?;
        }
        if self.report.constructors_skipped {
            write!(f, "; constructors not run")?;
        }
        let is_running =
            |(outcome, change): &(Outcome, &Change)| *outcome == Outcome::Changed && change.name == self.running;
        if changes.iter().any(is_running) {
            write!(f, "; {} runs on as it was until it is called again", self.running)?;
        }
        if self.verbose {
            for (outcome, change) in changes {
                let word = Outcome::ALL
                    .iter()
                    .find(|(of, _)| *of == outcome)
                    .map_or("same", |(_, word)| word);
                write!(f, "\n  {word:7} {} {}", kind(change.kind), change.name)?;
            }
        }
        Ok(())
    }
}

fn kind(kind: OwnKind) -> &'static str {
    match kind {
        OwnKind::Function => "function",
        OwnKind::Variable => "variable",
        OwnKind::Constant => "constant",
        OwnKind::ThreadLocal => "thread-local variable",
    }
}

/// A name without the number that compilers give to variables of functions.
fn shown(name: &str) -> &str {
    name.rsplit_once('.')
        .filter(|(stem, digits)| !stem.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()))
        .map_or(name, |(stem, _)| stem)
}

/// Why a replacement was not made, a line for each reason, and what can be done.
pub(super) fn refusal(error: &Error) -> String {
    let mut text: String = error.to_string().lines().map(|line| format!("\n  {line}")).collect();
    let Error::Refused(refusals) = error else {
        return text;
    };
    let mut remedies = BTreeSet::new();
    for refusal in refusals {
        remedies.insert(match refusal {
            Refusal::SizeChanged { .. } | Refusal::KindChanged { .. } => {
                "give the variable another name, or start the program again with --data-reset"
            }
            Refusal::StaticsUnclear { .. } | Refusal::ConstantChanged { .. } => {
                "start the program again, with --data-reset if that is to happen to values each time"
            }
            Refusal::StillCalled { .. } => "change the callers too, or start the program again with --allow-dangling",
            Refusal::Constructors { .. } => "start the program again with --constructors run or --constructors skip",
            _ => "start the program again",
        });
    }
    text.extend(remedies.into_iter().map(|remedy| format!("\n  remedy: {remedy}")));
    text
}
