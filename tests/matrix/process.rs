//! Running one command with a time limit, its whole output kept.
use std::fmt;
use std::io;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};

/// How a command ended.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Status {
    Exited(i32),
    Signaled(i32),
    TimedOut(Duration),
}

impl Status {
    fn of(status: ExitStatus) -> Self {
        match (status.code(), status.signal()) {
            (Some(code), _) => Self::Exited(code),
            (None, signal) => Self::Signaled(signal.unwrap_or_default()),
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exited(code) => write!(f, "exit status {code}"),
            Self::Signaled(signal) => write!(f, "signal {signal}"),
            Self::TimedOut(limit) => write!(f, "still running after {limit:?}"),
        }
    }
}

/// What a command did.
pub(crate) struct Outcome {
    pub(crate) status: Status,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: Vec<u8>,
}

/// The environment of a command.
pub(crate) enum Environment<'a> {
    /// A tool: the caller's environment, messages in English.
    Tool,
    /// A program under test: nothing but `PATH`, the C locale and the program's own variables.
    Program(&'a [(String, String)]),
}

/// Runs `argv` in `directory` with nothing on standard input; kills its process group after `limit`.
pub(crate) fn run(argv: &[String], directory: &Path, env: &Environment<'_>, limit: Duration) -> io::Result<Outcome> {
    let (program, arguments) = argv.split_first().ok_or(io::ErrorKind::InvalidInput)?;
    let mut command = Command::new(program);
    command.args(arguments).current_dir(directory).process_group(0);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    if let Environment::Program(variables) = env {
        command.env_clear();
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.envs(variables.iter().map(|(name, value)| (name, value)));
    }
    command.env("LC_ALL", "C");
    let child = command.spawn()?;
    let group = Pid::from_raw(child.id().cast_signed());
    let (ended, watched) = channel::<()>();
    let watch = std::thread::spawn(move || {
        let late = watched.recv_timeout(limit) == Err(RecvTimeoutError::Timeout);
        if let (true, Some(group)) = (late, group) {
            // The group may have ended on its own in the same moment; then there is nothing to kill.
            let _ = kill_process_group(group, Signal::KILL);
        }
        late
    });
    let output = child.wait_with_output();
    drop(ended);
    let late = watch.join().unwrap_or(false);
    let output = output?;
    let status = if late {
        Status::TimedOut(limit)
    } else {
        Status::of(output.status)
    };
    Ok(Outcome {
        status,
        stdout: output.stdout,
        stderr: output.stderr,
    })
}
