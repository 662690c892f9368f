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
    trees: Trees,
    /// Something may have happened in the trees since they were looked at.
    is_stale: bool,
}

/// Folders with all that is below them, but for hidden folders and what cargo builds, as they were at some moment.
#[derive(Debug, Default)]
pub(super) struct Trees {
    roots: Vec<PathBuf>,
    folders: BTreeSet<PathBuf>,
    sources: BTreeMap<PathBuf, Option<Stamp>>,
}

/// What has changed.
#[derive(Debug, Default)]
pub(super) struct Changes {
    /// Files that are watched by name, as they are absolute.
    pub(super) files: BTreeSet<PathBuf>,
    /// Sources in the watched trees.
    pub(super) sources: BTreeSet<PathBuf>,
}

impl Trees {
    /// Looks at these folders.
    pub(super) fn of(folders: &[PathBuf]) -> anyhow::Result<Self> {
        let mut trees = Trees::default();
        for folder in folders {
            let folder = std::path::absolute(folder)?;
            trees
                .add(&folder)
                .with_context(|| format!("cannot read {}", folder.display()))?;
            trees.roots.push(folder);
        }
        Ok(trees)
    }

    /// The same folders, as they are by now.
    fn again(&self) -> Self {
        let mut trees = Trees {
            roots: self.roots.clone(),
            ..Trees::default()
        };
        for root in &self.roots {
            // One that is gone has nothing to watch.
            let _ = trees.add(root);
        }
        trees
    }

    fn add(&mut self, folder: &Path) -> std::io::Result<()> {
        let entries = std::fs::read_dir(folder)?;
        self.folders.insert(folder.to_owned());
        for entry in entries.flatten() {
            let (name, path) = (entry.file_name(), entry.path());
            if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                if is_source(&path) {
                    let stamp = Stamp::of(&path);
                    self.sources.insert(path, stamp);
                }
            } else if !name.as_encoded_bytes().starts_with(b".") && name != "target" {
                // One below that cannot be read has nothing to watch.
                let _ = self.add(&path);
            }
        }
        Ok(())
    }

    /// Sources that are in one of the two only, or not the same in both.
    fn difference<'a>(&'a self, other: &'a Self) -> impl Iterator<Item = &'a PathBuf> {
        let sources = self.sources.keys().chain(other.sources.keys());
        sources.filter(|path| self.sources.get(*path) != other.sources.get(*path))
    }
}

impl Disk {
    /// Watches trees that were like this. What has changed since is seen by the first look.
    pub(super) fn new(trees: Trees) -> anyhow::Result<Self> {
        let (sender, events) = mpsc::channel();
        let watcher = notify::recommended_watcher(sender).context("files cannot be watched")?;
        Ok(Disk {
            watcher,
            events,
            files: BTreeMap::new(),
            trees,
            is_stale: true,
        })
    }

    /// Watches a file that had this stamp when it was read. If it is watched already, it is known how it was before.
    pub(super) fn watch(&mut self, path: &Path, stamp: Option<Stamp>) {
        self.files.entry(path.to_owned()).or_insert(stamp);
    }

    /// Waits until files change, and then until nothing more happens for a moment; or until a time has passed.
    pub(super) fn wait(&mut self, at_most: Option<Duration>) -> anyhow::Result<Changes> {
        let mut changes = Changes::default();
        // Folders may have been made anew, and a file may have changed before its folder was watched.
        self.look(&mut changes)?;
        if !changes.files.is_empty() || !changes.sources.is_empty() {
            return Ok(changes);
        }
        let first = match at_most {
            None => self.events.recv().ok(),
            Some(time) => match self.events.recv_timeout(time) {
                Err(RecvTimeoutError::Timeout) => return Ok(changes),
                event => event.ok(),
            },
        };
        self.note(&first.context("files are not watched any more")?);
        self.settle();
        self.look(&mut changes)?;
        Ok(changes)
    }

    /// The changes that are known by now, without waiting for any.
    pub(super) fn drain(&mut self) -> anyhow::Result<Changes> {
        let mut changes = Changes::default();
        self.settle();
        self.look(&mut changes)?;
        Ok(changes)
    }

    /// Waits until nothing happens for a moment.
    fn settle(&mut self) {
        let since = Instant::now();
        while let Ok(event) = self.events.recv_timeout(QUIET) {
            self.note(&event);
            if since.elapsed() > AT_LEAST {
                break;
            }
        }
    }

    /// Adds what is not as it was.
    fn look(&mut self, changes: &mut Changes) -> anyhow::Result<()> {
        loop {
            self.watch_folders()?;
            if !std::mem::take(&mut self.is_stale) {
                break;
            }
            let now = self.trees.again();
            let changed = self.trees.difference(&now);
            let changed = changed.filter(|path| !self.files.contains_key(*path));
            changes.sources.extend(changed.cloned());
            // Sources may have been written to a folder before it is watched.
            self.is_stale = !now.folders.is_subset(&self.trees.folders);
            self.trees = now;
        }
        self.compare(changes);
        Ok(())
    }

    fn watch_folders(&mut self) -> anyhow::Result<()> {
        let mut folders: BTreeSet<PathBuf> = self.trees.folders.clone();
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

    fn note(&mut self, event: &notify::Result<notify::Event>) {
        // An error is the loss of events.
        self.is_stale |= event.as_ref().map_or(true, |event| {
            let is_reading = match event.kind {
                EventKind::Access(kind) => kind != AccessKind::Close(AccessMode::Write),
                _ => false,
            };
            let is_below = |path: &PathBuf| path.parent().is_some_and(|parent| self.trees.folders.contains(parent));
            event.need_rescan() || (!is_reading && event.paths.iter().any(is_below))
        });
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

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// The names of the sources that have changed. Events that tell of no change come as well.
    fn changed(disk: &mut Disk) -> Vec<String> {
        let deadline = Instant::now() + Duration::from_secs(60);
        let mut sources = BTreeSet::new();
        while sources.is_empty() && Instant::now() < deadline {
            sources = disk.wait(Some(QUIET)).expect("folders can be watched").sources;
        }
        let name = |path: &PathBuf| path.file_name().expect("a name").to_string_lossy().into_owned();
        sources.iter().map(name).collect()
    }

    #[test]
    fn sources_are_seen_whenever_they_change() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = |name: &str| folder.path().join(name);
        for below in ["parts", ".hidden", "target"] {
            fs::create_dir(file(below)).expect("a folder");
        }
        for name in ["parts/a.h", "parts/b.h", "parts/gone.h"] {
            fs::write(file(name), "1").expect("a file");
        }
        let trees = Trees::of(&[folder.path().to_owned()]).expect("the folder is there");
        // Before anything is watched.
        for name in ["parts/a.h", "parts/c.c", ".hidden/d.h", "target/e.h", "parts/f.txt"] {
            fs::write(file(name), "22").expect("a file");
        }
        fs::remove_file(file("parts/gone.h")).expect("the file is there");
        let mut disk = Disk::new(trees).expect("files can be watched");
        assert_eq!(changed(&mut disk), ["a.h", "c.c", "gone.h"]);
        // While it is.
        fs::write(file("parts/b.h"), "22").expect("a file");
        assert_eq!(changed(&mut disk), ["b.h"]);
        // In a folder that is new.
        fs::create_dir_all(file("more/below")).expect("a folder");
        fs::write(file("more/below/g.h"), "1").expect("a file");
        assert_eq!(changed(&mut disk), ["g.h"]);
        fs::write(file("more/below/g.h"), "22").expect("a file");
        assert_eq!(changed(&mut disk), ["g.h"]);
        let quiet = disk.wait(Some(Duration::ZERO)).expect("folders can be watched");
        assert!(quiet.sources.is_empty(), "nothing has changed: {quiet:?}");
    }
}
