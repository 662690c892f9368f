//! asmjit, from Debian's libasmjit-dev, in a process of its own: nothing else of the crate is C++.

use std::cell::RefCell;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{ChildStdin, ChildStdout, Command, Stdio};

use super::Round;

pub(super) struct Asmjit {
    pipes: RefCell<(ChildStdin, BufReader<ChildStdout>)>,
}

impl Asmjit {
    /// Builds and starts it. Says why there is none.
    pub(super) fn start(rounds: &[Round]) -> Result<Self, String> {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/encode/asmjit.cc");
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let (program, input) = (folder.join("asmjit-peer"), folder.join("asmjit-rounds"));
        let mut compiler = Command::new("g++");
        compiler.arg("-O2").arg(&source).arg("-o").arg(&program).arg("-lasmjit");
        let output = compiler.output().map_err(|e| format!("g++: {e}"))?;
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into_owned());
        }
        std::fs::write(&input, rounds.iter().flat_map(as_in_c).collect::<Vec<u8>>()).map_err(|e| e.to_string())?;
        let mut command = Command::new(program);
        command.arg(input).stdin(Stdio::piped()).stdout(Stdio::piped());
        let child = command.spawn().map_err(|e| e.to_string())?;
        let (Some(stdin), Some(stdout)) = (child.stdin, child.stdout) else {
            return Err("its pipes are not there".into());
        };
        Ok(Self {
            pipes: RefCell::new((stdin, BufReader::new(stdout))),
        })
    }

    fn ask(&self, question: &str) -> String {
        let (stdin, stdout) = &mut *self.pipes.borrow_mut();
        writeln!(stdin, "{question}").expect("it reads");
        let mut answer = String::new();
        stdout.read_line(&mut answer).expect("it answers");
        answer.trim_end().to_owned()
    }

    /// The bytes of the mix.
    pub(super) fn bytes(&self) -> Vec<u8> {
        let digits = self.ask("bytes");
        let byte = |at: usize| u8::from_str_radix(&digits[at..at + 2], 16).expect("hexadecimal digits");
        (0..digits.len() / 2).map(|index| byte(index * 2)).collect()
    }

    /// Nanoseconds that so many times of `mix` or `labels` take.
    pub(super) fn time(&self, what: &str, times: u64) -> u64 {
        self.ask(&format!("{what} {times}")).parse().expect("a number")
    }
}

/// A round as asmjit.cc declares it.
fn as_in_c(round: &Round) -> [u8; 12] {
    let mut bytes = [0; 12];
    bytes[..4].copy_from_slice(&round.r);
    bytes[4..7].copy_from_slice(&round.x);
    bytes[7] = round.small.cast_unsigned();
    bytes[8..].copy_from_slice(&round.large.to_le_bytes());
    bytes
}
