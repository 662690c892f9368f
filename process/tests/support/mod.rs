//! What the tests share: compilers, and programs that run.

#![allow(dead_code, reason = "each test uses its own part")]

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use restub_loader::Input;
use tempfile::TempDir;

/// A folder that is deleted after the test.
pub(crate) struct Folder(TempDir);

impl Folder {
    pub(crate) fn new() -> Self {
        Folder(TempDir::new().expect("a temporary folder"))
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Runs a compiler on a source in the folder.
    pub(crate) fn compile(
        &self,
        compiler: &str,
        source: &str,
        contents: &str,
        output: &str,
        flags: &[&str],
    ) -> PathBuf {
        std::fs::write(self.path(source), contents).expect("the source can be written");
        self.tool(compiler, &[flags, &[source, "-o", output]].concat());
        self.path(output)
    }

    pub(crate) fn tool(&self, tool: &str, arguments: &[&str]) {
        let mut command = Command::new(tool);
        let output = command.args(arguments).current_dir(self.0.path()).output();
        let output = output.unwrap_or_else(|error| panic!("{tool} is needed for this test: {error}"));
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{tool} {arguments:?}: {text}");
    }

    /// Compiles an object, and opens it.
    pub(crate) fn object(&self, compiler: &str, source: &str, contents: &str, flags: &[&str]) -> Vec<Input<'static>> {
        let output = format!("{source}.o");
        let path = self.compile(compiler, source, contents, &output, &[&["-c"], flags].concat());
        vec![Input::open(path).expect("an object")]
    }
}

/// A program that answers lines.
pub(crate) struct Program {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Program {
    pub(crate) fn start(path: &Path, arguments: &[&str]) -> Self {
        Self::start_with(Command::new(path).args(arguments))
    }

    pub(crate) fn start_with(command: &mut Command) -> Self {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let input = child.stdin.take();
        let output = BufReader::new(child.stdout.take().expect("a pipe"));
        Program { child, input, output }
    }

    pub(crate) fn pid(&self) -> i32 {
        i32::try_from(self.child.id()).expect("a process number")
    }

    /// Sends a line and gives the answer.
    pub(crate) fn ask(&mut self, line: &str) -> String {
        self.send(line);
        self.answer()
    }

    pub(crate) fn send(&mut self, line: &str) {
        let input = self.input.as_mut().expect("the program was not ended");
        // One write: the program may look at each byte.
        input
            .write_all(format!("{line}\n").as_bytes())
            .expect("the program lives");
    }

    pub(crate) fn answer(&mut self) -> String {
        let mut answer = String::new();
        self.output.read_line(&mut answer).expect("the program answers");
        assert!(!answer.is_empty(), "the program has ended: {:?}", self.child.try_wait());
        answer.trim_end().to_owned()
    }

    /// Asks for numbers.
    pub(crate) fn numbers(&mut self) -> Vec<u64> {
        let answer = self.ask("");
        let numbers = answer
            .split(' ')
            .map(|number| number.parse::<i64>().expect("a number").cast_unsigned());
        numbers.collect()
    }

    /// Ends the input, after which the program has to end well.
    pub(crate) fn end(mut self) {
        drop(self.input.take());
        let status = self.child.wait().expect("the program ends");
        assert!(status.success(), "{status}");
    }

    /// Waits for the program to end by itself.
    pub(crate) fn wait(&mut self) -> std::process::ExitStatus {
        self.child.wait().expect("the program ends")
    }

    /// A field of `/proc/PID/status` in KiB.
    pub(crate) fn memory_kib(&self, field: &str) -> u64 {
        let text = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("procfs");
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix(field))
            .expect("the field");
        line.split_whitespace()
            .nth(1)
            .and_then(|number| number.parse().ok())
            .expect("a number")
    }

    pub(crate) fn mappings(&self) -> usize {
        let text = std::fs::read_to_string(format!("/proc/{}/maps", self.pid())).expect("procfs");
        text.lines().count()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        if std::thread::panicking()
            && let Ok(Some(status)) = self.child.try_wait()
        {
            eprintln!("the program has ended: {status}");
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits until something is so, and fails if it does not become so.
pub(crate) fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !condition() {
        assert!(begin.elapsed() < Duration::from_secs(30), "{what} does not happen");
        std::thread::yield_now();
    }
}

/// A number that a test can be told by the environment.
pub(crate) fn setting(name: &str, default: usize) -> usize {
    std::env::var(name).map_or(default, |text| text.parse().expect("a number"))
}

pub(crate) fn median(times: &mut [Duration]) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}
