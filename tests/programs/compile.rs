//! Objects, compiled once for each compiler version, set of flags and source.
use std::collections::HashMap;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};

/// A folder of compiled objects that outlives the test run.
pub(crate) struct Cache {
    folder: PathBuf,
    /// What each compiler says of itself.
    versions: Mutex<HashMap<String, String>>,
}

impl Cache {
    /// Keeps objects in `folder`.
    pub(crate) fn new(folder: PathBuf) -> Self {
        let versions = Mutex::new(HashMap::new());
        Self { folder, versions }
    }

    /// Compiles one source with `-c`.
    pub(crate) fn object(&self, compiler: &str, flags: &[String], source: &Path) -> Result<PathBuf, String> {
        let stem = source.file_stem().unwrap_or_default().to_string_lossy();
        self.made(compiler, flags, source, &format!("{stem}.o"), |file| {
            let mut command = Command::new(compiler);
            command.args(flags).arg("-c").arg(source).arg("-o").arg(file);
            output(&mut command).map(drop)
        })
    }

    /// The file `name` that `make` makes of a source. It is the only one of its folder until the folder is in place.
    pub(crate) fn made(
        &self,
        compiler: &str,
        flags: &[String],
        source: &Path,
        name: &str,
        make: impl FnOnce(&Path) -> Result<(), String>,
    ) -> Result<PathBuf, String> {
        let contents = fs::read(source).map_err(|e| format!("{}: {e}", source.display()))?;
        let mut hasher = DefaultHasher::new();
        (self.version(compiler)?, flags, source, name, contents).hash(&mut hasher);
        let folder = self.folder.join(format!("{:016x}", hasher.finish()));
        if !folder.is_dir() {
            fs::create_dir_all(&self.folder).map_err(|e| format!("{}: {e}", self.folder.display()))?;
            let fresh = tempfile::tempdir_in(&self.folder).map_err(|e| e.to_string())?;
            make(&fresh.path().join(name))?;
            // Another test may have made the same in the meantime; then this one goes away.
            let _ = fs::rename(fresh.path(), &folder);
        }
        Ok(folder.join(name))
    }

    fn version(&self, compiler: &str) -> Result<String, String> {
        let mut versions = self.versions.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(version) = versions.get(compiler) {
            return Ok(version.clone());
        }
        let version = output(Command::new(compiler).arg("--version"))?;
        versions.insert(compiler.to_owned(), version.clone());
        Ok(version)
    }
}

/// The standard output of a tool, which has to succeed.
pub(crate) fn output(command: &mut Command) -> Result<String, String> {
    let words = || {
        let arguments = command.get_args().map(|argument| argument.to_string_lossy());
        let words: Vec<_> = std::iter::once(command.get_program().to_string_lossy())
            .chain(arguments)
            .collect();
        words.join(" ")
    };
    let name = words();
    let output = command
        .stdin(Stdio::null())
        .output()
        .map_err(|e| format!("{name}: {e}"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(format!(
        "{name}: {}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    ))
}
