//! `restub diff`: a patch of what differs between two versions of an object.

use std::fmt::Write as _;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use restub_process::{Change, DiffOptions, Difference};
use serde::Serialize;

use crate::process::REFUSED;
use crate::process_arguments::DiffArguments;
use crate::{files, output};

/// What `diff --json` prints.
#[derive(Debug, Serialize)]
struct Report {
    functions: Vec<Function>,
    inexpressible: Vec<Inexpressible>,
}

#[derive(Debug, Serialize)]
struct Function {
    name: String,
    change: &'static str,
    reason: Option<String>,
}

#[derive(Debug, Serialize)]
struct Inexpressible {
    code: &'static str,
    subject: String,
    reason: String,
}

pub(crate) fn diff(arguments: &DiffArguments) -> anyhow::Result<ExitCode> {
    let [old, new] = [files::open(&arguments.old)?, files::open(&arguments.new)?];
    if let Some(archive) = [&old, &new].into_iter().find(|input| input.is_archive()) {
        bail!("{}: is an archive; compare its members", archive.name());
    }
    let options = DiffOptions {
        ignore_line_numbers: arguments.ignore_line_numbers,
    };
    let difference = restub_process::diff((old.name(), old.bytes()), (new.name(), new.bytes()), &options)?;
    if let (Some(path), Some(patch)) = (&arguments.output, &difference.patch) {
        std::fs::write(path, patch).with_context(|| format!("cannot write {}", path.display()))?;
    }
    let inexpressible = !difference.inexpressible.is_empty();
    if arguments.json {
        output::print_json(&report(difference))?;
    } else {
        output::print(&text(&difference))?;
    }
    Ok(ExitCode::from(if inexpressible { REFUSED } else { 0 }))
}

fn change_name(change: &Change) -> &'static str {
    match change {
        Change::Changed(_) => "changed",
        Change::Constants(_) => "constants",
        Change::Lines => "lines",
        Change::Added => "added",
        Change::Removed => "removed",
        Change::Same => "same",
    }
}

fn report(difference: Difference) -> Report {
    let functions = difference.functions.into_iter().map(|(name, change)| Function {
        name,
        change: change_name(&change),
        reason: match change {
            Change::Changed(reason) | Change::Constants(reason) => Some(reason),
            _ => None,
        },
    });
    let inexpressible = difference.inexpressible.into_iter().map(|refusal| Inexpressible {
        code: refusal.code,
        subject: refusal.subject,
        reason: refusal.reason,
    });
    Report {
        functions: functions.collect(),
        inexpressible: inexpressible.collect(),
    }
}

fn text(difference: &Difference) -> String {
    let mut text = String::new();
    for (name, change) in &difference.functions {
        let _ = match change {
            Change::Same | Change::Lines => Ok(()),
            Change::Changed(reason) => writeln!(text, "changed  {name}  {reason}"),
            Change::Constants(reason) => writeln!(text, "changed  {name}  only constants: {reason}"),
            other => writeln!(text, "{:7}  {name}", change_name(other)),
        };
    }
    let count = |wanted: Change| {
        difference
            .functions
            .iter()
            .filter(|(_, change)| *change == wanted)
            .count()
    };
    let _ = match count(Change::Lines) {
        0 => writeln!(text, "{} unchanged", count(Change::Same)),
        lines => writeln!(
            text,
            "{} unchanged, and {lines} but for line numbers",
            count(Change::Same)
        ),
    };
    for refusal in &difference.inexpressible {
        let _ = writeln!(text, "no patch can bring about: {refusal}");
    }
    text
}
