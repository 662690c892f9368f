//! The program that `restub run` runs, as the command line gives it: objects, sources that are compiled, archives.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use restub::loader::Input;
use tempfile::TempDir;

use crate::arguments::RunArguments;
use crate::compile::{Compilers, Failure, Job, Language};
use crate::files;
use crate::stamp::{AsRead, Stamp};

/// A program.
#[derive(Debug)]
pub(crate) struct Program {
    /// Objects and sources, in the order of the command line.
    pub(crate) parts: Vec<Part>,
    pub(crate) archives: Vec<Input<'static>>,
    pub(crate) compilers: Compilers,
    /// For what compilers write; there if there are sources.
    pub(crate) folder: Option<TempDir>,
}

/// An object, or a source with the object that was made of it.
#[derive(Debug)]
pub(crate) struct Part {
    /// As the command line has it.
    pub(crate) path: PathBuf,
    /// `None` for an object.
    pub(crate) language: Option<Language>,
    pub(crate) object: Input<'static>,
    /// The file, and those that it includes, as they were when they were read.
    pub(crate) read: Vec<AsRead>,
}

impl Program {
    /// Reads the objects and archives of the command line, and compiles its sources.
    pub(crate) fn open(arguments: &RunArguments) -> anyhow::Result<Self> {
        let compilers = Compilers::from_environment(&arguments.cflags)?;
        let paths = &arguments.files;
        let stamps: Vec<_> = paths.iter().map(|path| Stamp::of(path)).collect();
        let jobs: Vec<_> = paths
            .iter()
            .enumerate()
            .filter_map(|(number, source)| {
                let language = Language::of(source)?;
                Some(Job {
                    source,
                    language,
                    number,
                })
            })
            .collect();
        let folder = match jobs.is_empty() {
            true => None,
            false => Some(temporary_folder()?),
        };
        let mut program = Program {
            parts: Vec::new(),
            archives: Vec::new(),
            compilers,
            folder,
        };
        let mut compiled = program.compile(&jobs)?.into_iter();
        for (path, stamp) in paths.iter().zip(stamps) {
            let language = Language::of(path);
            let (object, included) = match language {
                Some(_) => compiled.next().expect("every source has been compiled"),
                None if arguments.watching.watch => (read(path)?, Vec::new()),
                None => (files::open(path)?, Vec::new()),
            };
            if object.is_archive() {
                program.archives.push(object);
                continue;
            }
            let own = [(path.clone(), stamp)];
            program.parts.push(Part {
                path: path.clone(),
                language,
                object,
                read: own.into_iter().chain(included).collect(),
            });
        }
        if jobs.iter().any(|job| job.language == Language::Rust)
            && let Some(folder) = &program.folder
        {
            let library = program.compilers.rust_library(folder.path())?;
            program.archives.push(Input::open(library)?);
        }
        Ok(program)
    }

    fn compile(&self, jobs: &[Job<'_>]) -> anyhow::Result<Vec<(Input<'static>, Vec<AsRead>)>> {
        let Some(folder) = &self.folder else {
            return Ok(Vec::new());
        };
        let results = self.compilers.compile_all(jobs, folder.path());
        let mut compiled = Vec::new();
        let mut reasons = BTreeSet::new();
        for (job, result) in jobs.iter().zip(results) {
            match result {
                Ok(made) => {
                    eprint!("{}", made.messages);
                    let own = |path: &PathBuf| path != job.source;
                    let included = made.dependencies.into_iter().filter(|(path, _)| own(path)).collect();
                    let name = job.source.display().to_string();
                    compiled.push((Input::from_bytes(name, made.object), included));
                }
                Err(Failure { messages, reason }) => {
                    eprint!("{messages}");
                    reasons.insert(reason);
                }
            }
        }
        if !reasons.is_empty() {
            bail!(Vec::from_iter(reasons).join("\n"));
        }
        Ok(compiled)
    }
}

fn temporary_folder() -> anyhow::Result<TempDir> {
    let folder = tempfile::Builder::new().prefix("restub-").tempdir();
    folder.context("cannot make a temporary folder")
}

/// Reads a file that may be rewritten at any time, so that it must not be mapped.
fn read(path: &Path) -> anyhow::Result<Input<'static>> {
    let opened = files::open(path)?;
    if opened.is_archive() {
        return Ok(opened);
    }
    let bytes = opened.bytes().to_vec();
    Ok(Input::from_bytes(opened.name().to_owned(), bytes))
}
