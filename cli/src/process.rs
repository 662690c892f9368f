//! `restub plan`, `patch`, `status`, `revert` and `history`: what is done to running processes.

mod interrupt;
mod several;
pub(crate) mod targets;
pub(crate) mod trial;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use restub_process::{
    Consistency, Error, Event, Exposed, Options, PatchReport, PlanReport, RevertReport, Status, SymbolFile, Which,
};
use serde::Serialize;

use self::several::{Outcome, Several, patch_one};
use self::targets::{Operands, TargetArguments, operands};
use crate::files;
use crate::output::{self, Hex};
use crate::process_arguments::{
    ConsistencyArgument, HistoryArguments, PatchArguments, PatchFiles, PlanArguments, RevertArguments, StatusArguments,
};

/// The patch is refused.
pub(crate) const REFUSED: u8 = 3;
/// Threads were in the way.
const BUSY: u8 = 4;
/// The process may not be traced.
const FORBIDDEN: u8 = 5;
/// The patch was applied, and did not stand its trial.
const UNDONE: u8 = 6;

/// What a plan says of one function, in JSON.
#[derive(Debug, Serialize)]
struct Function {
    name: String,
    file: Option<String>,
    address: Hex,
    size: u64,
    new_address: Hex,
    new_size: u64,
    method: &'static str,
    changed_bytes: u64,
}

/// What `plan --json` prints.
#[derive(Debug, Serialize)]
struct Plan {
    pid: i32,
    name: String,
    hash: String,
    module: String,
    build_id: String,
    already_applied: bool,
    functions: Vec<Function>,
    replaces: Vec<String>,
    kept_variables: Vec<String>,
    new_symbols: Vec<String>,
    bytes: u64,
    mapped_bytes: u64,
    needs_stop: bool,
    notes: Vec<String>,
    blockers: Vec<String>,
}

/// What `patch --json` prints.
#[derive(Debug, Serialize)]
struct Patch {
    #[serde(flatten)]
    plan: Plan,
    stop_us: Option<f64>,
    attempts: u32,
    threads: usize,
    undone: Option<String>,
}

/// What `revert --json` prints.
#[derive(Debug, Serialize)]
struct Revert {
    pid: i32,
    reverted: Vec<String>,
    restored: Vec<String>,
    stop_us: Option<f64>,
    lingering: Vec<String>,
}

/// What `status --json` prints.
#[derive(Debug, Serialize)]
struct StatusJson {
    pid: i32,
    executable: String,
    patched_before: bool,
    patches: Vec<PatchJson>,
    functions: Vec<FunctionJson>,
    mapped_bytes: u64,
    retained_bytes: u64,
}

#[derive(Debug, Serialize)]
struct PatchJson {
    name: String,
    hash: String,
    files: Vec<String>,
    time: u64,
    functions: Vec<String>,
    bytes: u64,
    depends: Vec<String>,
}

#[derive(Debug, Serialize)]
struct FunctionJson {
    name: String,
    module: String,
    build_id: String,
    address: Hex,
    entry: &'static str,
    runs: Option<String>,
    runs_at: Hex,
    stack: Vec<String>,
    original: String,
}

/// One line of `history --json`.
#[derive(Debug, Serialize)]
struct EventJson {
    time: u64,
    action: String,
    patch: String,
    hash: String,
    functions: usize,
    stop_us: Option<f64>,
    user: u32,
}

pub(crate) fn plan(arguments: &PlanArguments) -> anyhow::Result<ExitCode> {
    let patch = &arguments.patch;
    let (pids, inputs) = patch_operands(&patch.targets, &patch.operands)?;
    let mut plans = Vec::new();
    for pid in pids {
        match restub_process::plan(pid, &inputs, &options(patch, None)) {
            Ok(report) => plans.push(report),
            Err(error) => return failed(&error),
        }
    }
    let several = patch.targets.given();
    match plans.as_slice() {
        [only] if patch.json && !several => output::print_json(&plan_json(only))?,
        all if patch.json => {
            let processes: Vec<Plan> = all.iter().map(plan_json).collect();
            output::print_json(&serde_json::json!({ "processes": processes }))?;
        }
        all => {
            let title = |report: &PlanReport| match several {
                true => format!("process {}: {}\n", report.pid, targets::executable(report.pid)),
                false => String::new(),
            };
            let texts: Vec<String> = all.iter().map(|report| title(report) + &plan_text(report)).collect();
            output::print(&texts.concat())?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

pub(crate) fn patch(arguments: &PatchArguments) -> anyhow::Result<ExitCode> {
    let patch = &arguments.patch;
    let (pids, inputs) = patch_operands(&patch.targets, &patch.operands)?;
    let options = options(patch, arguments.kill_at_step);
    let several = Several {
        targets: &patch.targets,
        inputs: &inputs,
        options: &options,
        trial: &arguments.trial,
        all_or_none: arguments.all_or_none,
        json: patch.json,
    };
    if patch.targets.given() {
        return several.patch(pids);
    }
    let outcome = patch_one(pids[0], &inputs, &options, &arguments.trial);
    if let Outcome::Failed(error) = &outcome {
        return failed(error);
    }
    let undone = outcome.error();
    if let (Some(report), true) = (outcome.report(), patch.json) {
        let undone = undone.clone();
        output::print_json(&Patch {
            undone,
            ..patch_json(report)
        })?;
    } else if let Some(report) = outcome.report() {
        output::print(&patch_text(report))?;
    }
    if let Some(reason) = undone {
        let what = match outcome {
            Outcome::Ended(..) => "the patch was applied",
            _ => "the patch is taken back",
        };
        eprintln!("restub: {what}: {reason}");
    }
    Ok(ExitCode::from(outcome.code()))
}

/// The processes, and the files of the patch.
fn patch_operands(
    targets: &TargetArguments,
    words: &[String],
) -> anyhow::Result<(Vec<i32>, Vec<restub::loader::Input<'static>>)> {
    let Operands { pids, rest } = operands(targets, words)?;
    anyhow::ensure!(!rest.is_empty(), "no object or archive is given");
    let paths: Vec<PathBuf> = rest.into_iter().map(PathBuf::from).collect();
    Ok((pids, files::open_all(&paths)?))
}

fn patch_json(report: &PatchReport) -> Patch {
    Patch {
        plan: plan_json(&report.plan),
        stop_us: report.stop.map(microseconds),
        attempts: report.attempts,
        threads: report.threads,
        undone: None,
    }
}

pub(crate) fn revert(arguments: &RevertArguments) -> anyhow::Result<ExitCode> {
    let Operands { pids, rest } = operands(&arguments.targets, &arguments.operands)?;
    let which = match (rest.as_slice(), arguments.all) {
        ([name], false) => Which::Name(name.clone()),
        ([], true) => Which::All,
        ([], false) => Which::Last,
        ([_], true) => anyhow::bail!("a patch's name and --all exclude each other"),
        (more, _) => anyhow::bail!("{} patches are named; give one, or --all", more.len()),
    };
    let options = Options {
        exposed: exposed(arguments.free_exposed),
        kill_at_step: arguments.kill_at_step,
        ..Options::default()
    };
    if arguments.targets.given() {
        return several::revert(&pids, &which, &options, arguments.json);
    }
    let report = match restub_process::revert(pids[0], &which, &options) {
        Ok(report) => report,
        Err(error) => return failed(&error),
    };
    if arguments.json {
        output::print_json(&revert_json(&report))?;
    } else {
        output::print(&revert_text(&report))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn revert_json(report: &RevertReport) -> Revert {
    Revert {
        pid: report.pid,
        reverted: report.patches.clone(),
        restored: report.restored.clone(),
        stop_us: report.stop.map(microseconds),
        lingering: report.lingering.clone(),
    }
}

pub(crate) fn status(arguments: &StatusArguments) -> anyhow::Result<ExitCode> {
    let status = match restub_process::status(arguments.pid) {
        Ok(status) => status,
        Err(error) => return failed(&error),
    };
    if let Some(folder) = &arguments.symbols {
        match restub_process::symbol_files(arguments.pid) {
            Ok(files) => write_symbols(folder, &files)?,
            Err(error) => return failed(&error),
        }
    }
    if arguments.json {
        output::print_json(&status_json(status))?;
    } else {
        output::print(&status_text(&status))?;
    }
    Ok(ExitCode::SUCCESS)
}

pub(crate) fn history(arguments: &HistoryArguments) -> anyhow::Result<ExitCode> {
    let events = match restub_process::history(arguments.pid) {
        Ok(events) => events,
        Err(error) => return failed(&error),
    };
    if arguments.json {
        let events: Vec<EventJson> = events.into_iter().map(event_json).collect();
        output::print_json(&events)?;
    } else {
        let mut text = String::new();
        for event in &events {
            let stop = event.stop.map_or_else(String::new, |stop| {
                format!(", threads stopped for {:.0} us,", microseconds(stop))
            });
            let _ = writeln!(
                text,
                "{}  {:6}  {}  {}{stop} by user {}",
                utc(event.time),
                event.action,
                event.patch,
                count(event.functions, "function"),
                event.user
            );
        }
        output::print(&text)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn write_symbols(folder: &Path, files: &[SymbolFile]) -> anyhow::Result<()> {
    std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    for file in files {
        let path = folder.join(format!("{}.elf", file.patch.replace('/', "_")));
        std::fs::write(&path, &file.bytes).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

fn exposed(free: bool) -> Exposed {
    if free { Exposed::Free } else { Exposed::Keep }
}

fn options(files: &PatchFiles, kill_at_step: Option<u64>) -> Options {
    Options {
        name: files.name.clone(),
        consistency: match files.consistency {
            ConsistencyArgument::Entry => Consistency::Entry,
            ConsistencyArgument::Quiet => Consistency::Quiet,
        },
        timeout: Duration::try_from_secs_f64(files.timeout).unwrap_or_default(),
        allow: files.allow.clone(),
        constructors: files.constructors,
        replace: files.replace,
        exposed: exposed(files.free_exposed),
        kill_at_step,
    }
}

/// Prints an error, each reason on a line of its own, and says what kind it is by the exit status.
fn failed(error: &Error) -> anyhow::Result<ExitCode> {
    for line in error.to_string().lines() {
        eprintln!("restub: {line}");
    }
    Ok(ExitCode::from(code_of(error)))
}

fn code_of(error: &Error) -> u8 {
    match error {
        Error::Refused(_) | Error::Needed { .. } | Error::Unsupported { .. } => REFUSED,
        Error::Busy { .. } | Error::NotStopped { .. } | Error::Loading(_) => BUSY,
        Error::Permission { .. } | Error::Traced { .. } => FORBIDDEN,
        _ => crate::FAILED,
    }
}

fn microseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

fn count(number: usize, noun: &str) -> String {
    count_of(number, noun, &format!("{noun}s"))
}

fn count_of(number: usize, one: &str, more: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { more })
}

fn plan_json(report: &PlanReport) -> Plan {
    let functions = report.functions.iter().map(|function| Function {
        name: function.name.clone(),
        file: function.file.clone(),
        address: Hex(function.address),
        size: function.size,
        new_address: Hex(function.new_address),
        new_size: function.new_size,
        method: function.method.map_or("store", restub_process::Method::name),
        changed_bytes: function.method.map_or(0, restub_process::Method::bytes),
    });
    Plan {
        pid: report.pid,
        name: report.name.clone(),
        hash: report.hash.clone(),
        module: report.module.clone(),
        build_id: report.build_id.clone(),
        already_applied: report.already_applied.is_some(),
        functions: functions.collect(),
        replaces: report.replaces.clone(),
        kept_variables: report.kept_variables.clone(),
        new_symbols: report.new_symbols.clone(),
        bytes: report.bytes,
        mapped_bytes: report.mapped_bytes,
        needs_stop: report.needs_stop,
        notes: report.notes.clone(),
        blockers: report.blockers.clone(),
    }
}

fn plan_text(report: &PlanReport) -> String {
    let mut text = String::new();
    if let Some(name) = &report.already_applied {
        let _ = writeln!(text, "already applied, as {name}");
        return text;
    }
    let _ = writeln!(
        text,
        "patch {} for {} (build-id {})",
        report.name, report.module, report.build_id
    );
    for function in &report.functions {
        let how = function.method.map_or("one store", restub_process::Method::name);
        let file = function
            .file
            .as_ref()
            .map_or_else(String::new, |file| format!(" ({file})"));
        let _ = writeln!(
            text,
            "  {:#014x} {:6} bytes  {}{file}: {how} to {:#x}, {} bytes",
            function.address, function.size, function.name, function.new_address, function.new_size
        );
    }
    list(&mut text, "takes the place of", &report.replaces);
    list(&mut text, "variables that stay", &report.kept_variables);
    list(&mut text, "new in the process", &report.new_symbols);
    let _ = writeln!(
        text,
        "{} bytes, {} bytes of address space mapped",
        report.bytes, report.mapped_bytes
    );
    let stop = if report.needs_stop {
        "threads are stopped to switch"
    } else {
        "no thread is stopped"
    };
    let _ = writeln!(text, "{stop}");
    for line in report.notes.iter().chain(&report.blockers) {
        let _ = writeln!(text, "note: {line}");
    }
    text
}

fn list(text: &mut String, title: &str, items: &[String]) {
    if !items.is_empty() {
        let _ = writeln!(text, "{title}: {}", items.join(", "));
    }
}

fn patch_text(report: &PatchReport) -> String {
    let mut text = String::new();
    let plan = &report.plan;
    if let Some(name) = &plan.already_applied {
        let _ = writeln!(text, "already applied, as {name}");
        return text;
    }
    let _ = write!(
        text,
        "patched {}: {}",
        plan.name,
        count(plan.functions.len(), "function")
    );
    let _ = match report.stop {
        Some(stop) => writeln!(
            text,
            ", {} stopped for {:.0} us",
            count(report.threads, "thread"),
            microseconds(stop)
        ),
        None => writeln!(text, ", no thread stopped"),
    };
    for note in &plan.notes {
        let _ = writeln!(text, "note: {note}");
    }
    text
}

fn revert_text(report: &RevertReport) -> String {
    let mut text = String::new();
    if report.patches.is_empty() {
        text.push_str("nothing to revert\n");
        list(&mut text, "restored after a patcher that was killed", &report.restored);
        return text;
    }
    let _ = write!(text, "reverted {}", report.patches.join(", "));
    let _ = match report.stop {
        Some(stop) => writeln!(text, ", threads stopped for {:.0} us", microseconds(stop)),
        None => writeln!(text),
    };
    for line in &report.lingering {
        let _ = writeln!(text, "note: threads are still in {line}, and finish their calls");
    }
    text
}

fn status_json(status: Status) -> StatusJson {
    let patches = status.patches.into_iter().map(|patch| PatchJson {
        name: patch.name,
        hash: patch.hash,
        files: patch.files,
        time: patch.time,
        functions: patch.functions,
        bytes: patch.bytes,
        depends: patch.depends,
    });
    let functions = status.functions.into_iter().map(|function| FunctionJson {
        name: function.name,
        module: function.module,
        build_id: function.build_id,
        address: Hex(function.address),
        entry: function.entry.name(),
        runs: function.runs,
        runs_at: Hex(function.runs_at),
        stack: function.stack,
        original: function.original.iter().map(|byte| format!("{byte:02x}")).collect(),
    });
    StatusJson {
        pid: status.pid,
        executable: status.executable,
        patched_before: status.patched_before,
        patches: patches.collect(),
        functions: functions.collect(),
        mapped_bytes: status.mapped_bytes,
        retained_bytes: status.retained_bytes,
    }
}

fn status_text(status: &Status) -> String {
    let mut text = String::new();
    let _ = writeln!(text, "process {}: {}", status.pid, status.executable);
    if status.patches.is_empty() {
        let _ = writeln!(text, "no patch is applied");
    }
    for patch in &status.patches {
        let _ = writeln!(text, "patch {}  {}  {} bytes", patch.name, utc(patch.time), patch.bytes);
        list(&mut text, "  uses", &patch.depends);
    }
    for function in &status.functions {
        let runs = function
            .runs
            .as_ref()
            .map_or_else(|| "the original".to_owned(), |name| format!("patch {name}"));
        let _ = writeln!(
            text,
            "  {:#014x} {}: {}, runs {runs}",
            function.address,
            function.name,
            function.entry.name()
        );
    }
    text
}

fn event_json(event: Event) -> EventJson {
    EventJson {
        time: event.time,
        action: event.action,
        patch: event.patch,
        hash: event.hash,
        functions: event.functions,
        stop_us: event.stop.map(microseconds),
        user: event.user,
    }
}

/// A time in UTC, as `2026-01-31 12:34:56Z`: days to a date by Hinnant's `civil_from_days`.
fn utc(seconds: u64) -> String {
    let (days, second) = (seconds / 86400 + 719_468, seconds % 86400);
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    format!(
        "{year}-{month:02}-{day:02} {:02}:{:02}:{:02}Z",
        second / 3600,
        second / 60 % 60,
        second % 60
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_dates() {
        assert_eq!(utc(0), "1970-01-01 00:00:00Z");
        assert_eq!(utc(951_827_696), "2000-02-29 12:34:56Z");
        assert_eq!(utc(1_798_761_599), "2026-12-31 23:59:59Z");
    }
}
