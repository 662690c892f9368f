//! `restub run --watch`: what changes on disk takes the place of its old version while the program runs.
//!
//! The files are watched, and the compilers run, by a process of its own (the *watcher*), because this one belongs to
//! the program: a child that it did not start would turn up in its `wait`, and a descriptor among its own. All that is
//! added here is one thread (the *follower*), which gets new objects from the watcher, replaces modules, and frees old
//! versions.

mod difference;
mod disk;
mod ending;
mod follower;
mod groups;
mod message;
mod report;
mod watcher;

use std::fmt::Write as _;
use std::io::{IsTerminal as _, Write as _};

pub(crate) use watcher::Watcher;

/// What a line on standard error tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tone {
    Good,
    Waiting,
    Bad,
}

/// Prints lines on standard error, all at once, behind the command's name; the first one coloured on a terminal.
fn say(tone: Tone, text: &str) {
    let colour = match tone {
        Tone::Good => "\x1b[32m",
        Tone::Waiting => "\x1b[33m",
        Tone::Bad => "\x1b[31m",
    };
    let is_coloured =
        std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let (colour, plain) = if is_coloured { (colour, "\x1b[0m") } else { ("", "") };
    let (first, rest) = text.split_once('\n').unwrap_or((text, ""));
    let mut message = String::new();
    // Writing to a string cannot fail.
    let _ = writeln!(message, "{colour}restub: {first}{plain}");
    for line in rest.lines() {
        let _ = writeln!(message, "{line}");
    }
    // The program may have closed it, and runs on.
    let _ = std::io::stderr().write_all(message.as_bytes());
}

/// Shows what a compiler says.
fn show(messages: &str) {
    // As above.
    let _ = std::io::stderr().write_all(messages.as_bytes());
}

/// A duration with few digits.
fn duration(time: std::time::Duration) -> String {
    let microseconds = time.as_secs_f64() * 1e6;
    let (value, unit) = match microseconds {
        ..1e3 => (microseconds, "us"),
        ..1e6 => (microseconds / 1e3, "ms"),
        _ => (microseconds / 1e6, "s"),
    };
    let digits = if value < 10.0 { 1 } else { 0 };
    format!("{value:.digits$} {unit}")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::duration;

    #[test]
    fn durations_are_short() {
        assert_eq!(duration(Duration::from_nanos(4_260)), "4.3 us");
        assert_eq!(duration(Duration::from_micros(41_400)), "41 ms");
        assert_eq!(duration(Duration::from_millis(1_250)), "1.2 s");
    }
}
