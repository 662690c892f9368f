//! What the command's tests share: a folder for each test, compilers, other tools, and the command itself.

#![allow(dead_code, unused_imports, reason = "each test uses its own part")]

mod program;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

pub(crate) use program::Program;
use tempfile::TempDir;

/// A folder that is deleted after the test. Sources, objects and images in it go by their names alone.
pub(crate) struct Folder(TempDir);

impl Folder {
    pub(crate) fn new() -> Self {
        Folder(TempDir::new().expect("a temporary folder"))
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, contents: &str) {
        std::fs::write(self.file(name), contents).expect("the file can be written");
    }

    /// Compiles a source named `name` and gives the name of the object: `a.c` becomes `a.o`.
    pub(crate) fn compile(&self, name: &str, source: &str, flags: &[&str]) -> String {
        self.write(name, source);
        let (stem, extension) = name.rsplit_once('.').expect("the name has an extension");
        let object = format!("{stem}.o");
        let compiler = if extension == "cc" { "g++" } else { "gcc" };
        self.tool(compiler, &[flags, &["-c", name, "-o", &object]].concat());
        object
    }

    /// Runs a tool in the folder, which has to succeed without a complaint, and gives what it prints.
    pub(crate) fn tool(&self, tool: &str, arguments: &[&str]) -> String {
        let output = self.output(tool, arguments);
        let (stdout, stderr) = texts(&output);
        assert!(output.status.success(), "{tool} {arguments:?}: {stdout}{stderr}");
        assert_eq!(stderr, "", "{tool} {arguments:?} complains");
        stdout
    }

    /// Runs a tool in the folder.
    pub(crate) fn output(&self, tool: &str, arguments: &[&str]) -> Output {
        let mut command = Command::new(tool);
        command
            .args(arguments)
            .current_dir(self.path())
            .env("LC_ALL", "C")
            .env("DEBUGINFOD_URLS", "");
        command
            .output()
            .unwrap_or_else(|error| panic!("{tool} is needed for this test: {error}"))
    }

    /// Runs restub in the folder.
    pub(crate) fn restub(&self, arguments: &[&str]) -> Output {
        self.output(env!("CARGO_BIN_EXE_restub"), arguments)
    }

    /// Starts restub in the folder, with pipes for what it prints. No signal is ignored, even if the tests run in the
    /// background or under `nohup`.
    pub(crate) fn start_restub(&self, arguments: &[&str]) -> Child {
        let mut restub = Command::new("env");
        restub.args(["--default-signal", env!("CARGO_BIN_EXE_restub")]);
        restub.args(arguments).current_dir(self.path());
        let restub = restub.stdout(Stdio::piped()).stderr(Stdio::piped());
        restub.spawn().expect("restub starts")
    }

    /// Runs restub, which has to succeed, and gives what it prints.
    pub(crate) fn restub_ok(&self, arguments: &[&str]) -> String {
        self.tool(env!("CARGO_BIN_EXE_restub"), arguments)
    }

    /// Runs restub, which has to fail with exit status `code` and without output, and gives its error.
    pub(crate) fn restub_error(&self, code: i32, arguments: &[&str]) -> String {
        let output = self.restub(arguments);
        let (stdout, stderr) = texts(&output);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {stdout}{stderr}");
        assert_eq!(stdout, "", "{arguments:?}");
        assert!(stderr.starts_with("restub: "), "{arguments:?}: {stderr}");
        stderr
    }
}

/// Standard output and standard error.
pub(crate) fn texts(output: &Output) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("text");
    (text(&output.stdout), text(&output.stderr))
}

/// A number written as `0x...`.
pub(crate) fn hex(text: &str) -> u64 {
    let digits = text.trim().trim_start_matches("0x");
    u64::from_str_radix(digits, 16).unwrap_or_else(|error| panic!("{text}: {error}"))
}
