//! Committed objects of compilers that are too heavy to install for every test run.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../tests/fixtures")
        .join(name)
}

fn restub(arguments: &[&str], object: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_restub"));
    command
        .args(arguments)
        .arg(fixture(object))
        .output()
        .expect("restub runs")
}

#[test]
fn zig_programs_run() {
    for object in ["zig.o", "zig_pic.o"] {
        let run = restub(&["run"], object);
        let text = String::from_utf8_lossy(&run.stdout);
        assert_eq!(
            text, "2 even\n4 even\n7 odd\n2000 large\nsum 2013\n",
            "{object}: {run:?}"
        );
        assert_eq!(run.status.code(), Some(42), "{object}");
    }
}

#[test]
fn a_haskell_object_is_described_with_all_that_it_lacks() {
    let run = restub(&["inspect"], "haskell.o");
    let text = String::from_utf8_lossy(&run.stdout);
    for symbol in ["stg_catchzh", "base_GHCziTopHandler_runMainIO1_closure", "newCAF"] {
        assert!(text.contains(symbol), "{symbol} in {text}");
    }
    assert_eq!(run.status.code(), Some(1), "it does not load without its libraries");
}
