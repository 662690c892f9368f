//! A patch for any number of processes, and what became of each.
//!
//! Each process is patched by itself, one after the other. One that cannot be patched leaves the others as they are, unless
//! all or none was asked for. After a trial that failed no further process is tried.

use std::fmt::Write as _;
use std::process::ExitCode;

use restub::loader::Input;
use restub_process::{Error, Options, PatchReport, RevertReport, Which};
use serde::Serialize;
use serde_json::Value;

use super::interrupt;
use super::targets::{TargetArguments, executable};
use super::trial::{TrialArguments, Verdict};
use super::{UNDONE, code_of, patch_json, patch_text, revert_json, revert_text};
use crate::output;

/// What became of one process.
#[derive(Debug)]
pub(super) enum Outcome {
    Patched(PatchReport),
    Already(PatchReport),
    /// The patch was applied and has been taken back.
    Undone(PatchReport, String),
    /// The process has ended on trial.
    Ended(PatchReport, String),
    Failed(Error),
    NotTried,
}

/// What `--json` prints for several processes.
#[derive(Debug, Serialize)]
struct Processes {
    processes: Vec<Process>,
}

#[derive(Debug, Serialize)]
struct Process {
    pid: i32,
    executable: String,
    outcome: &'static str,
    error: Option<String>,
    report: Value,
}

impl Outcome {
    pub(super) fn name(&self) -> &'static str {
        match self {
            Outcome::Patched(_) => "patched",
            Outcome::Already(_) => "already applied",
            Outcome::Undone(..) => "undone",
            Outcome::Ended(..) => "ended",
            Outcome::Failed(_) => "failed",
            Outcome::NotTried => "not tried",
        }
    }

    pub(super) fn error(&self) -> Option<String> {
        match self {
            Outcome::Undone(_, reason) | Outcome::Ended(_, reason) => Some(reason.clone()),
            Outcome::Failed(error) => Some(error.to_string()),
            _ => None,
        }
    }

    pub(super) fn report(&self) -> Option<&PatchReport> {
        match self {
            Outcome::Patched(report)
            | Outcome::Already(report)
            | Outcome::Undone(report, _)
            | Outcome::Ended(report, _) => Some(report),
            Outcome::Failed(_) | Outcome::NotTried => None,
        }
    }

    pub(super) fn code(&self) -> u8 {
        match self {
            Outcome::Patched(_) | Outcome::Already(_) | Outcome::NotTried => 0,
            Outcome::Undone(..) | Outcome::Ended(..) => UNDONE,
            Outcome::Failed(error) => code_of(error),
        }
    }
}

/// Patches one process, on trial if that is asked for.
pub(super) fn patch_one(pid: i32, inputs: &[Input<'_>], options: &Options, trial: &TrialArguments) -> Outcome {
    let logs = trial.begin(pid);
    let report = match restub_process::patch(pid, inputs, options) {
        Ok(report) if report.plan.already_applied.is_some() => return Outcome::Already(report),
        Ok(report) => report,
        Err(error) => return Outcome::Failed(error),
    };
    match trial.judge(&report, logs) {
        None => Outcome::Patched(report),
        Some(Verdict { reason, alive: false }) => Outcome::Ended(report, reason),
        Some(Verdict { reason, alive: true }) => take_back(report, reason, options.kill_at_step),
    }
}

fn take_back(report: PatchReport, reason: String, kill_at_step: Option<u64>) -> Outcome {
    let which = Which::Name(report.plan.name.clone());
    let options = Options {
        kill_at_step,
        ..Options::default()
    };
    match restub_process::revert(report.plan.pid, &which, &options) {
        Ok(_) => Outcome::Undone(report, reason),
        Err(Error::NoProcess(_)) => Outcome::Ended(report, reason),
        Err(error) => Outcome::Failed(error),
    }
}

/// How several processes are patched.
pub(super) struct Several<'a> {
    pub(super) targets: &'a TargetArguments,
    pub(super) inputs: &'a [Input<'static>],
    pub(super) options: &'a Options,
    pub(super) trial: &'a TrialArguments,
    pub(super) all_or_none: bool,
    pub(super) json: bool,
}

impl Several<'_> {
    pub(super) fn patch(&self, mut pids: Vec<i32>) -> anyhow::Result<ExitCode> {
        let mut done: Vec<(i32, String, Outcome)> = Vec::new();
        let mut ends = false;
        if self.all_or_none {
            interrupt::catch();
        }
        while !pids.is_empty() {
            for pid in pids {
                let name = executable(pid);
                ends |= interrupt::received().is_some();
                let outcome = if ends {
                    Outcome::NotTried
                } else {
                    patch_one(pid, self.inputs, self.options, self.trial)
                };
                ends |= match outcome {
                    Outcome::Undone(..) | Outcome::Ended(..) => true,
                    Outcome::Failed(_) => self.all_or_none,
                    _ => false,
                };
                done.push((pid, name, outcome));
            }
            // Processes that were started meanwhile may come from one that was not patched yet.
            pids = if ends {
                Vec::new()
            } else {
                self.targets.find().unwrap_or_default()
            };
            pids.retain(|pid| done.iter().all(|(known, ..)| known != pid));
        }
        if self.all_or_none && ends {
            done = done
                .into_iter()
                .map(|(pid, name, outcome)| (pid, name, undo(outcome)))
                .collect();
        }
        let summary = done.iter().map(|(pid, name, outcome)| Process {
            pid: *pid,
            executable: name.clone(),
            outcome: outcome.name(),
            error: outcome.error(),
            report: outcome.report().map_or(Value::Null, |report| {
                serde_json::to_value(patch_json(report)).unwrap_or_default()
            }),
        });
        let text = |index: usize| done[index].2.report().map(patch_text);
        print(summary.collect(), text, self.json)?;
        Ok(one_code(done.iter().map(|(_, _, outcome)| outcome.code())))
    }
}

fn undo(outcome: Outcome) -> Outcome {
    match outcome {
        Outcome::Patched(report) => take_back(report, "another process could not be patched".into(), None),
        other => other,
    }
}

/// Takes a patch back in several processes. One that has no such patch is no failure if another one had it.
pub(super) fn revert(pids: &[i32], which: &Which, options: &Options, json: bool) -> anyhow::Result<ExitCode> {
    let results: Vec<(i32, String, Result<RevertReport, Error>)> = pids
        .iter()
        .map(|pid| (*pid, executable(*pid), restub_process::revert(*pid, which, options)))
        .collect();
    let some = results.iter().any(|(_, _, result)| result.is_ok());
    let absent = |error: &Error| some && matches!(error, Error::NoPatch { .. });
    let summary = results.iter().map(|(pid, name, result)| Process {
        pid: *pid,
        executable: name.clone(),
        outcome: match result {
            Ok(report) if report.patches.is_empty() => "nothing to revert",
            Ok(_) => "reverted",
            Err(error) if absent(error) => "nothing to revert",
            Err(_) => "failed",
        },
        error: result
            .as_ref()
            .err()
            .filter(|error| !absent(error))
            .map(Error::to_string),
        report: result.as_ref().ok().map_or(Value::Null, |report| {
            serde_json::to_value(revert_json(report)).unwrap_or_default()
        }),
    });
    let text = |index: usize| {
        let (_, _, result): &(i32, String, Result<RevertReport, Error>) = &results[index];
        result.as_ref().ok().map(revert_text)
    };
    print(summary.collect(), text, json)?;
    let codes = results.iter().map(|(_, _, result)| match result {
        Err(error) if !absent(error) => code_of(error),
        _ => 0,
    });
    Ok(one_code(codes))
}

/// Prints what became of each process, and how many became what.
fn print(processes: Vec<Process>, text_of: impl Fn(usize) -> Option<String>, json: bool) -> anyhow::Result<()> {
    let mut text = String::new();
    let mut counts: Vec<(&str, usize)> = Vec::new();
    for (index, process) in processes.iter().enumerate() {
        match counts.iter_mut().find(|(outcome, _)| *outcome == process.outcome) {
            Some((_, count)) => *count += 1,
            None => counts.push((process.outcome, 1)),
        }
        let _ = write!(text, "{} {}: {}", process.pid, process.executable, process.outcome);
        match &process.error {
            Some(error) => {
                let _ = writeln!(text);
                for line in error.lines() {
                    eprintln!("restub: process {}: {line}", process.pid);
                }
            }
            None => {
                let detail = text_of(index).unwrap_or_default();
                let mut lines = detail.lines();
                let _ = writeln!(
                    text,
                    "{}",
                    lines.next().map_or_else(String::new, |line| format!(": {line}"))
                );
                for line in lines {
                    let _ = writeln!(text, "  {line}");
                }
            }
        }
    }
    let counts: Vec<String> = counts
        .iter()
        .map(|(outcome, count)| format!("{count} {outcome}"))
        .collect();
    let _ = writeln!(
        text,
        "{}: {}",
        super::count_of(processes.len(), "process", "processes"),
        counts.join(", ")
    );
    if json {
        return output::print_json(&Processes { processes });
    }
    output::print(&text)
}

/// The exit status for all: what all failures have in common, or that something failed.
fn one_code(codes: impl Iterator<Item = u8>) -> ExitCode {
    let mut failures: Vec<u8> = codes.filter(|code| *code != 0).collect();
    failures.sort_unstable();
    failures.dedup();
    match failures.as_slice() {
        [] => ExitCode::SUCCESS,
        [only] => ExitCode::from(*only),
        _ => ExitCode::from(crate::FAILED),
    }
}
