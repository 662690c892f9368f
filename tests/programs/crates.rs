//! The folders of crates that carry the sources of real programs.
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// Where cargo has unpacked each crate of the workspace's dependencies.
pub(crate) struct Crates(BTreeMap<String, PathBuf>);

impl Crates {
    /// Asks cargo, and has it fetch what is missing.
    pub(crate) fn locate() -> Result<Self, String> {
        let metadata = ["metadata", "--format-version=1", "--offline"];
        let output = match cargo(&metadata) {
            Ok(output) => output,
            // A build fetches no more than it needs, which the sources of other programs are not.
            Err(_) => cargo(&["fetch"]).and_then(|_| cargo(&metadata))?,
        };
        let metadata: Value = serde_json::from_slice(&output).map_err(|e| format!("cargo metadata: {e}"))?;
        let packages = metadata["packages"]
            .as_array()
            .ok_or("cargo metadata lists no packages")?;
        let located = packages.iter().filter_map(|package| {
            let folder = Path::new(package["manifest_path"].as_str()?).parent()?;
            Some((package["name"].as_str()?.to_owned(), folder.to_owned()))
        });
        Ok(Self(located.collect()))
    }

    /// The folder of one crate.
    pub(crate) fn folder(&self, name: &str) -> Result<&Path, String> {
        let folder = self.0.get(name).map(PathBuf::as_path);
        folder.ok_or_else(|| format!("no package depends on the crate {name}"))
    }
}

fn cargo(arguments: &[&str]) -> Result<Vec<u8>, String> {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command
        .args(arguments)
        .arg("--locked")
        .arg("--manifest-path")
        .arg(manifest);
    let output = command.output().map_err(|e| format!("cargo: {e}"))?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    Err(format!(
        "cargo {}: {}",
        arguments[0],
        String::from_utf8_lossy(&output.stderr)
    ))
}
