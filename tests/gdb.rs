//! Debuggers and profilers see loaded code: a real gdb on a real program.

use std::path::{Path, PathBuf};
use std::process::Command;

const SOURCE: &str = "\
#include <stdio.h>
int depth;
static int loaded_inner(int argument) {
    depth = argument;
    return printf(\"loaded_inner %d\\n\", argument);
}
int loaded_outer(int n) { return loaded_inner(n + 1) + 0 * n; }
int main(void) { return loaded_outer(41) != 16; }
";

fn object(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("gdb");
    std::fs::create_dir_all(&folder).expect("a folder for objects");
    let source = folder.join(name).with_extension("c");
    std::fs::write(&source, SOURCE).expect("the source can be written");
    let object = source.with_extension("o");
    let status = Command::new("gcc")
        .args(["-g", "-O0", "-c", "-o"])
        .arg(&object)
        .arg(&source)
        .status();
    assert!(status.expect("gcc is needed for this test").success());
    object
}

fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[test]
fn gdb_stops_in_loaded_code_and_knows_lines_variables_and_callers() {
    let object = object("stops");
    let text = run(Command::new("gdb")
        .args([
            "-nx",
            "-q",
            "-batch",
            "-ex",
            "set breakpoint pending on",
            "-ex",
            "set debuginfod enabled off",
        ])
        .args([
            "-ex",
            "break loaded_inner",
            "-ex",
            "run",
            "-ex",
            "bt",
            "-ex",
            "next",
            "-ex",
            "print depth",
        ])
        .args([
            "-ex",
            "info source",
            "-ex",
            "continue",
            "--args",
            env!("CARGO_BIN_EXE_restub"),
            "run",
            "--gdb",
        ])
        .arg(&object));
    assert!(text.contains("loaded_inner (argument=42) at "), "{text}");
    assert!(text.contains("stops.c:4"), "{text}");
    assert!(text.contains("loaded_outer (n=41)"), "{text}");
    assert!(text.contains("$1 = 42"), "{text}");
    // Behind the loaded frames come the host's.
    assert!(text.contains("run_main"), "{text}");
    assert!(text.contains("exited normally"), "{text}");
}

#[test]
fn perf_is_told_where_functions_are() {
    let object = object("told");
    let mut child = Command::new(env!("CARGO_BIN_EXE_restub"));
    let mut child = child.args(["run", "--perf"]).arg(&object).spawn().expect("restub");
    assert!(child.wait().expect("restub ends").success());
    let path = format!("/tmp/perf-{}.map", child.id());
    let map = std::fs::read_to_string(&path).expect("the map");
    std::fs::remove_file(path).expect("the map can go");
    for function in ["loaded_inner", "loaded_outer", "main"] {
        let line = map
            .lines()
            .find(|line| line.ends_with(&format!(" {function} [told.o]")));
        let fields: Vec<&str> = line
            .unwrap_or_else(|| panic!("{function} in {map}"))
            .split(' ')
            .collect();
        assert!(
            fields[..2]
                .iter()
                .all(|field| u64::from_str_radix(field, 16).is_ok_and(|number| number > 0))
        );
    }
}
