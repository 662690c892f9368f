//! The process that watches files and runs compilers.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use restub::Session;
use restub::loader::Object;
use rustix::event::{PollFd, PollFlags};
use rustix::process::{Pid, PidfdFlags, Signal, WaitOptions};
use tempfile::TempDir;

use super::disk::{Changes, Disk, QUIET, Trees};
use super::follower::Follower;
use super::message::Message;
use super::{Tone, duration, say, show};
use crate::arguments::WatchArguments;
use crate::compile::{Compiled, Compilers, Failure, Job, Language};
use crate::program::{Part, Program};
use crate::stamp::Stamp;

/// How long an object may be incomplete before that is said.
const INCOMPLETE: Duration = Duration::from_secs(2);

/// The watcher, as the program's process sees it.
#[derive(Debug)]
pub(crate) struct Watcher(UnixStream);

impl Watcher {
    /// Starts the watcher. The program's process is its only thread, and is forked.
    pub(crate) fn start(program: &mut Program, arguments: &WatchArguments) -> anyhow::Result<Self> {
        let (ours, theirs) = UnixStream::pair().context("no connection to a watcher")?;
        let us = rustix::process::pidfd_open(rustix::process::getpid(), PidfdFlags::empty());
        let us = us.context("a process cannot watch another one")?;
        let files: Vec<File> = program.parts.iter().map(File::of).collect::<anyhow::Result<_>>()?;
        let sources: &[PathBuf] = if arguments.on_change.is_some() {
            &arguments.sources
        } else {
            &[]
        };
        // As they are before the program runs: it may take a while until they are watched.
        let trees = Trees::of(sources)?;
        let Some(child) = fork()? else {
            drop(ours);
            // Its parent ends at once: the program has no child that it did not start.
            match fork() {
                Ok(None) => {
                    let watching = Watching {
                        files,
                        compilers: program.compilers.clone(),
                        folder: program.folder.take(),
                        arguments: arguments.clone(),
                        failing: BTreeMap::new(),
                        incomplete: BTreeMap::new(),
                    };
                    watching.serve(trees, theirs, us)
                }
                Ok(Some(_)) => exit_at_once(0),
                Err(_) => exit_at_once(1),
            }
        };
        let ended = rustix::process::waitpid(Some(child), WaitOptions::empty()).context("no watcher")?;
        let started = ended.is_some_and(|(_, status)| status.exit_status() == Some(0));
        anyhow::ensure!(started, "the watcher cannot be started");
        if let Some(folder) = program.folder.take() {
            // The watcher removes it.
            let _ = folder.keep();
        }
        Ok(Watcher(ours))
    }

    /// Loads the program, and has it follow what changes from here on.
    pub(crate) fn load(
        self,
        session: &'static Session,
        program: Program,
        entry: &str,
        arguments: WatchArguments,
    ) -> anyhow::Result<()> {
        Follower::load(session, program, entry, arguments)?.follow(self.0)
    }
}

/// Makes a child of this process; `None` in the child.
fn fork() -> anyhow::Result<Option<Pid>> {
    // SAFETY: no other thread exists, so the child may go on with everything that this one has.
    let child = unsafe { libc::fork() };
    anyhow::ensure!(child >= 0, "cannot fork: {}", std::io::Error::last_os_error());
    Ok(Pid::from_raw(child))
}

fn exit_at_once(status: i32) -> ! {
    // SAFETY: always callable. Nothing that is registered for an exit is to run in this process.
    unsafe { libc::_exit(status) }
}

/// A file of the program.
#[derive(Debug)]
struct File {
    /// As the command line has it.
    path: PathBuf,
    absolute: PathBuf,
    language: Option<Language>,
    /// The files that it is made of, absolute, itself among them.
    read: BTreeMap<PathBuf, Option<Stamp>>,
    /// Of the object that the program has, or has been sent.
    hash: u64,
}

impl File {
    fn of(part: &Part) -> anyhow::Result<Self> {
        let absolute = |path: &Path| {
            std::path::absolute(path).with_context(|| format!("{} has no place in the file system", path.display()))
        };
        let read = part.read.iter().map(|(path, stamp)| Ok((absolute(path)?, *stamp)));
        Ok(File {
            path: part.path.clone(),
            absolute: absolute(&part.path)?,
            language: part.language,
            read: read.collect::<anyhow::Result<_>>()?,
            hash: hash(part.object.bytes()),
        })
    }

    fn name(&self) -> String {
        self.path.display().to_string()
    }
}

fn hash(bytes: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    hasher.finish()
}

/// What the watcher does and knows.
#[derive(Debug)]
struct Watching {
    files: Vec<File>,
    compilers: Compilers,
    folder: Option<TempDir>,
    arguments: WatchArguments,
    /// Files that do not compile, or objects that are not whole, with their names.
    failing: BTreeMap<usize, String>,
    /// Objects that are being written, it seems, and since when.
    incomplete: BTreeMap<usize, Instant>,
}

impl Watching {
    /// Serves the program until it ends.
    fn serve(mut self, trees: Trees, mut program: UnixStream, process: OwnedFd) -> ! {
        let prepared = self.prepare(&program, process);
        if let Err(error) = prepared.and_then(|()| self.watch(trees, &mut program)) {
            say(Tone::Bad, &format!("changes are not seen any more: {error:#}"));
        }
        // What is left is done where the end of the program is seen.
        loop {
            std::thread::park();
        }
    }

    fn prepare(&mut self, program: &UnixStream, process: OwnedFd) -> anyhow::Result<()> {
        // Away from the terminal, whose signals are for the program.
        rustix::process::setsid().context("no session for the watcher")?;
        // SAFETY: the name is a C string.
        unsafe { libc::prctl(libc::PR_SET_NAME, c"restub-watch".as_ptr()) };
        // SAFETY: sets a signal's action, before any other thread exists. Writing to a program that has ended is an error.
        unsafe { libc::signal(libc::SIGPIPE, libc::SIG_IGN) };
        let nothing = std::fs::File::open("/dev/null")?;
        rustix::stdio::dup2_stdin(&nothing)?;
        // Who reads the program's output gets its end when the program ends.
        rustix::stdio::dup2_stdout(std::io::stderr())?;
        let folder = self.folder.as_ref().map(|folder| folder.path().to_owned());
        let connection = program.try_clone()?;
        std::thread::spawn(move || end_with(&process, &connection, folder.as_deref()));
        Ok(())
    }

    fn watch(&mut self, trees: Trees, program: &mut UnixStream) -> anyhow::Result<()> {
        let mut disk = Disk::new(trees)?;
        for (path, stamp) in self.files.iter().flat_map(|file| &file.read) {
            disk.watch(path, *stamp);
        }
        loop {
            let again = (!self.incomplete.is_empty()).then_some(QUIET);
            let mut changes = disk.wait(again)?;
            if !changes.sources.is_empty() {
                changes.files.extend(self.build(&mut disk)?);
            }
            let failing = self.failing.clone();
            let message = self.objects_of(&changes, &mut disk);
            if !message.objects.is_empty() || failing != self.failing {
                message.send(program).context("the program does not listen")?;
            }
        }
    }

    /// Runs the user's own build, and once more if sources have changed meanwhile. Returns which files have changed.
    fn build(&self, disk: &mut Disk) -> anyhow::Result<BTreeSet<PathBuf>> {
        let mut files = BTreeSet::new();
        let Some(build) = &self.arguments.on_change else {
            return Ok(files);
        };
        // A build may write sources itself, so what changes during the second one is taken to be its own.
        for _ in 0..2 {
            let start = Instant::now();
            let status = Command::new("sh").args(["-c", build]).stdin(Stdio::null()).status();
            match status {
                Ok(status) if status.success() => {
                    say(Tone::Good, &format!("{build}: built in {}", duration(start.elapsed())));
                }
                Ok(status) => say(
                    Tone::Bad,
                    &format!("{build}: failed ({status}); the old version runs on"),
                ),
                Err(error) => say(Tone::Bad, &format!("{build}: cannot be run: {error}")),
            }
            let changes = disk.drain()?;
            files.extend(changes.files);
            if changes.sources.is_empty() {
                break;
            }
        }
        Ok(files)
    }

    /// Gets the objects of the files that have changed, or that include what has.
    fn objects_of(&mut self, changes: &Changes, disk: &mut Disk) -> Message {
        let is_changed = |file: &File| file.read.keys().any(|path| changes.files.contains(path));
        let changed: Vec<_> = (0..self.files.len())
            .filter(|file| is_changed(&self.files[*file]))
            .collect();
        let mut message = Message::default();
        let sources: Vec<_> = changed
            .iter()
            .copied()
            .filter(|file| self.files[*file].language.is_some())
            .collect();
        if !sources.is_empty() {
            let start = Instant::now();
            for (file, result) in self.compile(&sources) {
                self.take(file, result, disk, &mut message);
            }
            message.took = Some(start.elapsed());
        }
        let objects = changed.into_iter().filter(|file| self.files[*file].language.is_none());
        let waiting: BTreeSet<_> = objects.chain(self.incomplete.keys().copied()).collect();
        for file in waiting {
            message.objects.extend(self.read(file).map(|bytes| (file, bytes)));
        }
        message.objects.retain(|(file, bytes)| {
            let hash = hash(bytes);
            let is_known = std::mem::replace(&mut self.files[*file].hash, hash) == hash;
            if is_known {
                let took = message
                    .took
                    .map_or_else(String::new, |took| format!("compiled in {}; ", duration(took)));
                say(
                    Tone::Good,
                    &format!("{}: {took}nothing changed", self.files[*file].name()),
                );
            }
            !is_known
        });
        message.failing = self.failing.values().cloned().collect();
        message
    }

    fn compile(&self, files: &[usize]) -> Vec<(usize, Result<Compiled, Failure>)> {
        let Some(folder) = &self.folder else {
            return Vec::new();
        };
        let jobs: Vec<_> = files
            .iter()
            .filter_map(|&number| {
                Some(Job {
                    source: &self.files[number].path,
                    language: self.files[number].language?,
                    number,
                })
            })
            .collect();
        files
            .iter()
            .copied()
            .zip(self.compilers.compile_all(&jobs, folder.path()))
            .collect()
    }

    /// Takes what a compiler made of a file, or says why there is nothing.
    fn take(&mut self, number: usize, result: Result<Compiled, Failure>, disk: &mut Disk, message: &mut Message) {
        let file = &mut self.files[number];
        match result {
            Ok(compiled) => {
                show(&compiled.messages);
                let own = file.absolute.clone();
                file.read.retain(|path, _| *path == own);
                for (path, stamp) in compiled.dependencies {
                    let Ok(path) = std::path::absolute(path) else { continue };
                    if path != own {
                        disk.watch(&path, stamp);
                        file.read.insert(path, stamp);
                    }
                }
                self.failing.remove(&number);
                message.objects.push((number, compiled.object));
            }
            Err(failure) => {
                show(&failure.messages);
                say(Tone::Bad, &format!("{}; the old version runs on", failure.reason));
                self.failing.insert(number, file.name());
            }
        }
    }

    /// Reads an object, if it is whole: somebody may be writing it.
    fn read(&mut self, number: usize) -> Option<Vec<u8>> {
        let file = &self.files[number];
        let before = Stamp::of(&file.absolute);
        let read = std::fs::read(&file.absolute).map_err(|error| format!("cannot be read: {error}"));
        let whole = read.and_then(|bytes| match Object::parse(file.name(), &bytes) {
            Ok(_) => Ok(bytes),
            Err(error) => Err(error.to_string()),
        });
        match whole {
            Ok(bytes) if before == Stamp::of(&file.absolute) => {
                self.incomplete.remove(&number);
                self.failing.remove(&number);
                Some(bytes)
            }
            Ok(_) => {
                self.incomplete.entry(number).or_insert_with(Instant::now);
                None
            }
            Err(reason) => {
                let since = *self.incomplete.entry(number).or_insert_with(Instant::now);
                if since.elapsed() > INCOMPLETE {
                    say(Tone::Bad, &format!("{reason}; the old version runs on"));
                    self.incomplete.remove(&number);
                    self.failing.insert(number, file.name());
                }
                None
            }
        }
    }
}

/// Waits for the end of the program, and ends this process, with the compilers that run and the files that they wrote.
fn end_with(process: &OwnedFd, connection: &UnixStream, folder: Option<&Path>) {
    // A program that becomes another one by `exec` closes the connection, and one that forks leaves it to its child.
    let mut watched = [
        PollFd::from_borrowed_fd(process.as_fd(), PollFlags::IN),
        PollFd::from_borrowed_fd(connection.as_fd(), PollFlags::empty()),
    ];
    while rustix::event::poll(&mut watched, None).is_err() {}
    if let Some(folder) = folder {
        // There is nobody to tell that it cannot be removed.
        let _ = std::fs::remove_dir_all(folder);
    }
    let _ = rustix::process::kill_current_process_group(Signal::TERM);
    exit_at_once(0)
}
