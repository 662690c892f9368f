//! Real servers, built from source with their ordinary flags: functions of them are patched and taken back over and over
//! while their own load generators ask, and clients check every answer.
//!
//! `tests/servers/build target/servers` builds them first. `RESTUB_CYCLES` says how often they are patched; `--nocapture`
//! shows latencies with and without.

mod nginx;
mod redis;
mod source;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

/// How often a server is patched and taken back.
fn cycles() -> usize {
    std::env::var("RESTUB_CYCLES").map_or(10, |text| text.parse().expect("RESTUB_CYCLES is a number"))
}

/// The folder of a server that was built.
fn built(server: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../target/servers")
        .join(server);
    assert!(
        folder.join("built").exists(),
        "{} is not built: run tests/servers/build target/servers",
        folder.display()
    );
    folder.canonicalize().expect("a folder")
}

/// Runs the command, which has to succeed, and gives what it prints.
fn restub(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_restub"))
        .args(arguments)
        .output()
        .expect("restub runs");
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "restub {arguments:?}: {}: {text}",
        output.status
    );
    String::from_utf8(output.stdout).expect("text")
}

/// A server, which ends with the test.
struct Server(Child);

impl Server {
    fn start(command: &mut Command) -> Self {
        Server(command.spawn().expect("the server starts"))
    }

    fn pid(&self) -> i32 {
        i32::try_from(self.0.id()).expect("a process number")
    }

    /// Fails if the server has ended.
    fn check(&mut self) {
        let ended = self.0.try_wait().expect("a child");
        assert!(ended.is_none(), "the server has ended: {ended:?}");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Asked to end, a server ends its workers, too.
        // SAFETY: sends a signal to a child that is not waited for yet.
        unsafe { libc::kill(self.pid(), libc::SIGTERM) };
        let begin = Instant::now();
        while matches!(self.0.try_wait(), Ok(None)) && begin.elapsed() < Duration::from_secs(5) {
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !condition() {
        assert!(begin.elapsed() < Duration::from_secs(60), "{what} does not happen");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// What clients share: whether they go on, and how many answers they have checked.
#[derive(Default)]
struct Clients {
    end: AtomicBool,
    answers: AtomicU64,
}

impl Clients {
    fn go_on(&self) -> bool {
        !self.end.load(Ordering::Relaxed)
    }

    fn checked(&self) {
        self.answers.fetch_add(1, Ordering::Relaxed);
    }

    fn answers(&self) -> u64 {
        self.answers.load(Ordering::Relaxed)
    }
}

/// Ends what others wait for, also when the test fails.
struct EndOnDrop<'a>(&'a Clients);

impl Drop for EndOnDrop<'_> {
    fn drop(&mut self) {
        self.0.end.store(true, Ordering::Relaxed);
    }
}

/// How long threads stood, as the command reports.
#[derive(Default)]
struct Stops {
    patch: Vec<f64>,
    revert: Vec<f64>,
}

impl Stops {
    fn note(list: &mut Vec<f64>, report: &str) {
        let report: Value = serde_json::from_str(report).expect("JSON");
        list.extend(report["stop_us"].as_f64());
    }

    fn text(&mut self) -> String {
        let mut text = String::new();
        for (what, list) in [("patch", &mut self.patch), ("revert", &mut self.revert)] {
            let (median, most) = (percentile(list, 50), percentile(list, 100));
            let _ = write!(
                text,
                "; stopped to {what}: median {median:.0} us, longest {most:.0} us ({})",
                list.len()
            );
        }
        text
    }
}

fn percentile(list: &mut [f64], percent: usize) -> f64 {
    list.sort_by(f64::total_cmp);
    let last = list.len().saturating_sub(1);
    list.get(last * percent / 100).copied().unwrap_or(f64::NAN)
}

#[test]
fn redis() {
    redis::run();
}

#[test]
fn nginx() {
    nginx::run();
}
