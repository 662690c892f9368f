//! Which files have changed on disk.
//!
//! Folders are watched, not files: editors and compilers write another file and give it the name. What an event says is
//! not relied on, since several come together and some get lost; it is a reason to look at the files.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use notify::event::{AccessKind, AccessMode, EventKind};
use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};

use crate::compile::Language;
use crate::stamp::Stamp;

/// After the last event it is quiet for this long before files are looked at: writing one takes several steps.
pub(super) const QUIET: Duration = Duration::from_millis(30);
/// Files that are written all the time are looked at after this.
const AT_LEAST: Duration = Duration::from_secs(1);

/// Files that are watched, as they were last.
#[derive(Debug)]
pub(super) struct Disk {
    watcher: RecommendedWatcher,
    events: Receiver<notify::Result<notify::Event>>,
    files: BTreeMap<PathBuf, Option<Stamp>>,
    /// Folders of which every source is watched.
    trees: BTreeSet<PathBuf>,
}

/// What has changed.
#[derive(Debug, Default)]
pub(super) struct Changes {
    /// Files that are watched by name, as they are absolute.
    pub(super) files: BTreeSet<PathBuf>,
    /// Sources in the watched trees.
    pub(super) sources: BTreeSet<PathBuf>,
}

impl Disk {
    pub(super) fn new() -> anyhow::Result<Self> {
        let (sender, events) = mpsc::channel();
        let watcher = notify::recommended_watcher(sender).context("files cannot be watched")?;
        Ok(Disk {
            watcher,
            events,
            files: BTreeMap::new(),
            trees: BTreeSet::new(),
        })
    }

    /// Watches a file that had this stamp when it was read. If it is watched already, it is known how it was before.
    pub(super) fn watch(&mut self, path: &Path, stamp: Option<Stamp>) {
        self.files.entry(path.to_owned()).or_insert(stamp);
    }

    /// Watches every source in a folder and in those below, but for hidden ones and what cargo builds.
    pub(super) fn watch_tree(&mut self, folder: &Path) -> anyhow::Result<()> {
        let entries = std::fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
        self.trees.insert(folder.to_owned());
        for entry in entries.flatten() {
            let name = entry.file_name();
            let is_hidden = name.as_encoded_bytes().starts_with(b".");
            if !is_hidden && name != "target" && entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                // One below that cannot be read has nothing to watch.
                let _ = self.watch_tree(&entry.path());
            }
        }
        Ok(())
    }

    /// Waits until files change, and then until nothing more happens for a moment; or until a time has passed.
    pub(super) fn wait(&mut self, at_most: Option<Duration>) -> anyhow::Result<Changes> {
        let mut changes = Changes::default();
        // Folders may have been made anew, and a file may have changed before its folder was watched.
        self.watch_folders()?;
        self.compare(&mut changes);
        if !changes.files.is_empty() {
            return Ok(changes);
        }
        let first = match at_most {
            None => self.events.recv().ok(),
            Some(time) => match self.events.recv_timeout(time) {
                Err(RecvTimeoutError::Timeout) => return Ok(changes),
                event => event.ok(),
            },
        };
        self.note(first.context("files are not watched any more")?, &mut changes);
        let since = Instant::now();
        while let Ok(event) = self.events.recv_timeout(QUIET) {
            self.note(event, &mut changes);
            if since.elapsed() > AT_LEAST {
                break;
            }
        }
        self.compare(&mut changes);
        Ok(changes)
    }

    /// The changes that are known by now, without waiting for any.
    pub(super) fn drain(&mut self) -> Changes {
        let mut changes = Changes::default();
        while let Ok(event) = self.events.recv_timeout(QUIET) {
            self.note(event, &mut changes);
        }
        self.compare(&mut changes);
        changes
    }

    fn watch_folders(&mut self) -> anyhow::Result<()> {
        let mut folders: BTreeSet<PathBuf> = self.trees.clone();
        for path in self.files.keys() {
            folders.extend(path.parent().and_then(nearest_folder));
            // The file may be a symbolic link, and change where it leads.
            let target = path.canonicalize().ok();
            folders.extend(target.as_deref().and_then(Path::parent).map(Path::to_owned));
        }
        for folder in folders.iter().filter(|folder| folder.is_dir()) {
            self.watcher
                .watch(folder, RecursiveMode::NonRecursive)
                .with_context(|| format!("{} cannot be watched", folder.display()))?;
        }
        Ok(())
    }

    fn note(&mut self, event: notify::Result<notify::Event>, changes: &mut Changes) {
        let Ok(event) = event else { return };
        let writes = match event.kind {
            EventKind::Access(kind) => kind == AccessKind::Close(AccessMode::Write),
            _ => true,
        };
        for path in event.paths.into_iter().filter(|_| writes) {
            let in_tree = path.parent().is_some_and(|parent| self.trees.contains(parent));
            if !in_tree {
                continue;
            }
            if path.is_dir() {
                let is_hidden = path
                    .file_name()
                    .is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
                if !is_hidden && !path.ends_with("target") {
                    let _ = self.watch_tree(&path);
                }
            } else if is_source(&path) && !self.files.contains_key(&path) {
                changes.sources.insert(path);
            }
        }
    }

    /// Adds the files that are not as they were. One that is gone will come again, as far as anybody knows.
    fn compare(&mut self, changes: &mut Changes) {
        for (path, known) in &mut self.files {
            let stamp = Stamp::of(path);
            if stamp != *known {
                *known = stamp;
                if stamp.is_some() {
                    changes.files.insert(path.clone());
                }
            }
        }
    }
}

/// The folder itself, or the nearest one above it that exists.
fn nearest_folder(folder: &Path) -> Option<PathBuf> {
    folder.ancestors().find(|folder| folder.is_dir()).map(Path::to_owned)
}

/// Whether compilers read such files.
fn is_source(path: &Path) -> bool {
    const OTHERS: [&str; 22] = [
        "h", "hh", "hpp", "hxx", "h++", "inc", "inl", "ipp", "tcc", "def", "asm", "nasm", "f", "f90", "f95", "f03",
        "f08", "adb", "ads", "d", "go", "zig",
    ];
    let extension = path.extension().and_then(|extension| extension.to_str());
    Language::of(path).is_some() || extension.is_some_and(|extension| OTHERS.contains(&extension))
}
