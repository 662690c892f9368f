//! SQLite's object in several forms.
use std::path::{Path, PathBuf};

use crate::compile::Cache;
use crate::crates::Crates;

/// The forms of SQLite, each with its flags.
pub(crate) const FORMS: [(&str, &[&str]); 3] = [
    ("O2", &["-O2", "-fPIC"]),
    ("sections", &["-O2", "-fPIC", "-ffunction-sections"]),
    ("debug", &["-O2", "-fPIC", "-ffunction-sections", "-g"]),
];

/// SQLite's object in one of its [forms](FORMS), compiled once and kept.
pub(crate) fn compile(flags: &[&str]) -> Result<PathBuf, String> {
    let crates = Crates::locate()?;
    let source = crates.folder("libsqlite3-sys")?.join("sqlite3/sqlite3.c");
    let cache = Cache::new(Path::new(env!("CARGO_TARGET_TMPDIR")).join("programs"));
    let flags: Vec<String> = flags.iter().map(|flag| (*flag).to_owned()).collect();
    cache.object("gcc", &flags, &source)
}
