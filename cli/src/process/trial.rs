//! A patch on trial: it is taken back if a command says that it is bad, or if the process does not bear it.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Command, ExitStatus};
use std::time::{Duration, Instant};

use clap::Args;
use restub_process::{PatchReport, is_alive};

use super::interrupt;
use super::targets::executable;

/// When a patch is taken back again.
#[derive(Debug, Args)]
#[command(next_help_heading = "On trial")]
pub(crate) struct TrialArguments {
    /// Run CMD in a shell once the patch is applied, and take the patch back if it fails. In its environment are
    /// RESTUB_PID, RESTUB_PATCH (the patch's name), RESTUB_FUNCTIONS and RESTUB_EXECUTABLE
    #[arg(long, value_name = "CMD")]
    pub(crate) verify: Option<String>,
    /// How many seconds CMD may take
    #[arg(long, value_name = "SECONDS", default_value = "60", requires = "verify")]
    pub(crate) verify_timeout: f64,
    /// Watch the process for so long, and take the patch back if it logs a crash, or if restub is told to end (SIGINT,
    /// SIGTERM, SIGHUP); at the end CMD is run again. If the process ends, that is reported. A line of what it writes to
    /// standard output and error, where these are files, or to the files of --log is a crash if it has one of: segfault,
    /// Segmentation fault, SIGSEGV, SIGABRT, SIGBUS, core dumped, Assertion, assertion failed, ASSERTION FAILED, CRASH,
    /// panicked at, terminate called, stack smashing
    #[arg(long, value_name = "SECONDS")]
    pub(crate) probation: Option<f64>,
    /// A log file of the process (repeatable)
    #[arg(long, value_name = "FILE", requires = "probation")]
    pub(crate) log: Vec<PathBuf>,
}

/// Words by which a log says that there was a crash; the help names them.
const CRASHES: [&str; 13] = [
    "segfault",
    "Segmentation fault",
    "SIGSEGV",
    "SIGABRT",
    "SIGBUS",
    "core dumped",
    "Assertion",
    "assertion failed",
    "ASSERTION FAILED",
    "CRASH",
    "panicked at",
    "terminate called",
    "stack smashing",
];
const PAUSE: Duration = Duration::from_millis(20);

/// Why a patch does not stay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Verdict {
    pub(crate) reason: String,
    /// Whether there is a process to take the patch back from.
    pub(crate) alive: bool,
}

/// What a process logs from now on.
#[derive(Debug)]
pub(crate) struct Logs(Vec<(PathBuf, File, String)>);

impl TrialArguments {
    /// Begins a trial before the patch is applied: remembers where logs end.
    pub(crate) fn begin(&self, pid: i32) -> Logs {
        if self.probation.is_some() || self.verify.is_some() {
            interrupt::catch();
        }
        if self.probation.is_none() {
            return Logs(Vec::new());
        }
        let own = ["1", "2"].map(|number| PathBuf::from(format!("/proc/{pid}/fd/{number}")));
        let open = |path: PathBuf| {
            let regular = std::fs::metadata(&path).is_ok_and(|metadata| metadata.is_file());
            let mut file = File::open(&path).ok().filter(|_| regular)?;
            file.seek(SeekFrom::End(0)).ok()?;
            Some((std::fs::read_link(&path).unwrap_or(path), file, String::new()))
        };
        Logs(
            own.into_iter()
                .chain(self.log.iter().cloned())
                .filter_map(open)
                .collect(),
        )
    }

    /// Judges a patch that is applied.
    pub(crate) fn judge(&self, report: &PatchReport, mut logs: Logs) -> Option<Verdict> {
        let pid = report.plan.pid;
        if let Some(verdict) = self.verify(report) {
            return Some(verdict);
        }
        let window = Duration::try_from_secs_f64(self.probation?).unwrap_or_default();
        let begin = Instant::now();
        loop {
            if let Some(verdict) = ended(pid) {
                return Some(verdict);
            }
            if let Some(reason) = logs.crash().or_else(interrupted) {
                return Some(Verdict { reason, alive: true });
            }
            if begin.elapsed() >= window {
                return self.verify(report);
            }
            std::thread::sleep(PAUSE.min(window.saturating_sub(begin.elapsed())));
        }
    }

    fn verify(&self, report: &PatchReport) -> Option<Verdict> {
        let text = self.verify.as_ref()?;
        let plan = &report.plan;
        let functions: Vec<&str> = plan.functions.iter().map(|function| function.name.as_str()).collect();
        let mut command = Command::new("sh");
        command
            .args(["-c", text])
            .env("RESTUB_PID", plan.pid.to_string())
            .env("RESTUB_PATCH", &plan.name)
            .env("RESTUB_FUNCTIONS", functions.join(" "))
            .env("RESTUB_EXECUTABLE", executable(plan.pid))
            // What it starts ends with it.
            .process_group(0);
        let limit = Duration::try_from_secs_f64(self.verify_timeout).unwrap_or_default();
        let reason = match run(&mut command, limit) {
            Ok(Some(status)) if status.success() => return ended(plan.pid),
            Ok(_) if interrupted().is_some() => interrupted().unwrap_or_default(),
            Ok(Some(status)) => format!("{text}: {status}"),
            Ok(None) => format!("{text}: not done within {limit:?}"),
            Err(error) => format!("{text}: {error}"),
        };
        Some(ended(plan.pid).unwrap_or(Verdict { reason, alive: true }))
    }
}

fn ended(pid: i32) -> Option<Verdict> {
    (!is_alive(pid)).then(|| Verdict {
        reason: format!("process {pid} has ended"),
        alive: false,
    })
}

/// That restub is asked to end before the trial does.
fn interrupted() -> Option<String> {
    interrupt::received().map(|signal| format!("restub was ended by {signal}"))
}

/// Runs a command that is the first of its process group. `None` if it took too long, or restub is asked to end.
fn run(command: &mut Command, limit: Duration) -> std::io::Result<Option<ExitStatus>> {
    let mut child = command.spawn()?;
    let begin = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if begin.elapsed() > limit || interrupted().is_some() {
            if let Some(group) = rustix::process::Pid::from_raw(child.id().cast_signed()) {
                // It fails if the group has ended just now.
                let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
            }
            child.wait()?;
            return Ok(None);
        }
        std::thread::sleep(PAUSE);
    }
}

impl Logs {
    /// The first new line that says that there was a crash.
    fn crash(&mut self) -> Option<String> {
        for (path, file, rest) in &mut self.0 {
            let mut bytes = Vec::new();
            // A log that cannot be read says nothing.
            let _ = file.read_to_end(&mut bytes);
            rest.push_str(&String::from_utf8_lossy(&bytes));
            let complete = rest.rfind('\n').map_or(0, |end| end + 1);
            let lines: String = rest.drain(..complete).collect();
            let found = lines
                .lines()
                .find(|line| CRASHES.iter().any(|word| line.contains(word)));
            if let Some(line) = found {
                return Some(format!("{}: {}", path.display(), line.trim()));
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use clap::{Args as _, Command};

    use super::*;

    #[test]
    fn the_help_names_what_counts_as_a_crash() {
        let command = TrialArguments::augment_args(Command::new("patch"));
        let option = command
            .get_arguments()
            .find(|argument| argument.get_id() == "probation");
        let help = option.and_then(|option| option.get_help()).expect("a help").to_string();
        for word in CRASHES {
            assert!(help.contains(word), "{word}");
        }
    }
}
