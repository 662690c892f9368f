//! The architecture, as far as a test can hold it: which crate may use which, and where `unsafe` is.

use std::collections::BTreeSet;
use std::path::Path;

/// Each package, with the packages of restub's that it may use.
const ARROWS: [(&str, &str, &[&str]); 6] = [
    ("asm", "asm/Cargo.toml", &[]),
    ("stubs", "stubs/Cargo.toml", &[]),
    ("loader", "loader/Cargo.toml", &["restub-asm"]),
    ("restub", "Cargo.toml", &["restub-loader", "restub-stubs", "restub-asm"]),
    (
        "process",
        "process/Cargo.toml",
        &["restub-loader", "restub-stubs", "restub-asm"],
    ),
    ("cli", "cli/Cargo.toml", &["restub", "restub-process", "restub-asm"]),
];

/// The only files of the loader that may contain `unsafe` code.
const UNSAFE_IN_LOADER: [&str; 1] = ["input.rs"];

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn crates_use_only_what_is_below_them() {
    for (name, manifest, allowed) in ARROWS {
        let text = read(manifest);
        let dependencies = text.split_once("[dependencies]").map_or("", |(_, rest)| rest);
        let dependencies = dependencies.split("\n[").next().unwrap_or_default();
        let ours: BTreeSet<&str> = dependencies
            .lines()
            .filter_map(|line| line.split(['.', ' ', '=']).next())
            .filter(|dependency| dependency.starts_with("restub"))
            .collect();
        let allowed: BTreeSet<&str> = allowed.iter().copied().collect();
        assert!(
            ours.is_subset(&allowed),
            "{name} uses {ours:?}, and may use {allowed:?}"
        );
    }
}

#[test]
fn link_logic_has_no_unsafe_code() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("loader/src");
    let files = ["", "fuzzing"].map(|part| std::fs::read_dir(folder.join(part)).expect("the loader's sources"));
    for path in files.into_iter().flatten().map(|entry| entry.expect("an entry").path()) {
        if path.is_dir() {
            continue;
        }
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or_default()
            .to_owned();
        let text = std::fs::read_to_string(&path).expect("a source");
        let found = text.lines().find(|line| {
            let code = line.split("//").next().unwrap_or_default();
            code.contains("unsafe {") || code.contains("unsafe fn") || code.contains("unsafe impl")
        });
        assert!(
            found.is_none() || UNSAFE_IN_LOADER.contains(&name.as_str()),
            "{name}: {found:?}"
        );
    }
}
