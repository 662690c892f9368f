//! Help, completions, manual pages, and the description of the JSON output.

#![allow(missing_docs, reason = "tests have names")]

mod support;

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;
use support::Folder;

const COMMANDS: [&str; 13] = [
    "asm",
    "fuzz-object",
    "run",
    "inspect",
    "link",
    "plan",
    "patch",
    "status",
    "revert",
    "history",
    "diff",
    "completions",
    "man",
];

#[test]
fn every_command_has_examples_and_they_parse() {
    let folder = Folder::new();
    for command in COMMANDS {
        let help = folder.restub_ok(&["help", command]);
        assert_eq!(help, folder.restub_ok(&[command, "--help"]));
        let examples: Vec<&str> = help
            .lines()
            .map(str::trim)
            .filter(|line| line.starts_with("restub "))
            .collect();
        assert!(help.contains("\nExamples:\n") && examples.len() >= 2, "{help}");
        for example in examples {
            // Up to the shell's part of the line. The files do not exist, which is failure, and not bad usage.
            let words = example
                .split_whitespace()
                .take_while(|word| !["|", ">", "<", "&&"].contains(word))
                .skip(1);
            let words: Vec<&str> = words
                .map(|word| if word.starts_with('~') { "folder" } else { word })
                .collect();
            let output = folder.restub(&words);
            assert_ne!(output.status.code(), Some(2), "{example}: {output:?}");
        }
    }
    let version = folder.restub_ok(&["--version"]);
    assert_eq!(version, format!("restub {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn shells_accept_the_completions() {
    let folder = Folder::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = folder.restub_ok(&["completions", shell]);
        for word in COMMANDS.iter().chain(&["relocs", "no-default-libs"]) {
            assert!(script.contains(word), "{shell}: {word}");
        }
        folder.write(shell, &script);
    }
    folder.tool("bash", &["-n", "bash"]);
    // Completing `restub insp` with the script gives `inspect`.
    let complete =
        "source ./bash; COMP_WORDS=(restub insp); COMP_CWORD=1; _restub restub insp restub; echo ${COMPREPLY[@]}";
    assert_eq!(folder.tool("bash", &["-c", complete]), "inspect\n");
}

#[test]
fn manual_pages_are_written_for_every_command() {
    let folder = Folder::new();
    folder.restub_ok(&["man", "--dir", "new/folder"]);
    let mut pages: Vec<String> = COMMANDS.iter().map(|command| format!("restub-{command}.1")).collect();
    pages.push("restub.1".into());
    let written: BTreeSet<String> = std::fs::read_dir(folder.file("new/folder"))
        .expect("the folder")
        .map(|entry| entry.expect("an entry").file_name().into_string().expect("a name"))
        .collect();
    assert_eq!(written, pages.iter().cloned().collect());
    for page in &pages {
        let text = std::fs::read_to_string(folder.file("new/folder").join(page)).expect("the page");
        assert!(
            text.contains(".SH NAME") && text.contains(".SH SYNOPSIS") && text.contains("Examples:"),
            "{page}: {text}"
        );
    }
    let page = folder.restub_ok(&["man"]);
    assert_eq!(
        page,
        std::fs::read_to_string(folder.file("new/folder/restub.1")).expect("the page")
    );
    folder.write("file", "");
    let error = folder.restub_error(1, &["man", "--dir", "file"]);
    assert!(error.starts_with("restub: cannot make file: "), "{error}");
}

/// Every key of a JSON value, at any depth.
fn keys(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                found.insert(key.clone());
                keys(value, found);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| keys(item, found)),
        _ => {}
    }
}

#[test]
fn every_field_of_the_json_is_described() {
    let folder = Folder::new();
    let source = "
        __thread int t = 1; extern int gone(void); int x;
        static int (*pick(void))(void) { return gone; }
        int ifunc(void) __attribute__((ifunc(\"pick\")));
        __attribute__((constructor)) void begin(void) {} __attribute__((destructor)) void end(void) {}
        int f(void) { return t + x + ifunc(); }
    ";
    folder.compile("all.c", source, &["-fPIC", "-O1"]);
    folder.compile("group.cc", "inline int g() { return 1; } int h() { return g(); }", &[]);
    let link = folder.restub_ok(&[
        "link",
        "--json",
        "--at",
        "0x400000",
        "-Dgone=1",
        "-D__tls_get_addr=2",
        "all.o",
    ]);
    let inspected = folder.restub(&["inspect", "--json", "--relocs", "--symbols", "all.o", "group.o"]);
    let described = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("JSON.md")).expect("JSON.md");
    let (link_part, inspect_part) = described.split_once("## `restub inspect --json`").expect("two parts");
    let (inspect_part, _) = inspect_part
        .split_once("## `restub plan --json`")
        .expect("a third part");
    for (text, part) in [
        (link.as_str(), link_part),
        (std::str::from_utf8(&inspected.stdout).expect("text"), inspect_part),
    ] {
        let mut found = BTreeSet::new();
        keys(&serde_json::from_str(text).expect("JSON"), &mut found);
        assert!(found.len() > 20, "{found:?}");
        for key in found {
            assert!(part.contains(&format!("`{key}`")), "{key} is not described in JSON.md");
        }
    }
}
