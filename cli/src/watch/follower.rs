//! The thread of the program's process that replaces modules, and frees their old versions.

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use restub::loader::{Input, Object};
use restub::{Constructors, Data, ModuleId, Replace, Report, Session};
use rustix::event::{PollFd, PollFlags, Timespec};

use super::ending::{self, MainEnded};
use super::groups::{self, Names};
use super::message::Message;
use super::report::{Swap, refusal};
use super::{Tone, difference, duration, say};
use crate::arguments::{ConstructorsArgument, ReclaimArgument, WatchArguments};
use crate::files;
use crate::program::Program;
use crate::run::reference_to_entry;

/// When it is looked again whether old versions can be freed: each time after twice as long, since every thread is
/// interrupted for it.
const AGAIN_FROM: Duration = Duration::from_millis(100);
const AGAIN_TO: Duration = Duration::from_secs(60);
/// Old versions may take this much before they are freed, unless the user says when.
const FULL_BYTES: u64 = 64 << 20;

/// A file of the program, as it is loaded.
#[derive(Debug)]
struct File {
    name: String,
    object: Vec<u8>,
    names: Names,
}

impl File {
    fn new(name: &str, object: Vec<u8>) -> restub::loader::Result<Self> {
        let names = Names::of(&Object::parse(name, &object)?)?;
        Ok(File {
            name: name.to_owned(),
            object,
            names,
        })
    }

    fn input(&self) -> Input<'_> {
        Input::from_bytes(self.name.as_str(), &self.object[..])
    }
}

/// Files that are one module.
#[derive(Debug)]
struct Group {
    files: Vec<usize>,
    module: ModuleId,
}

/// What the follower does and knows.
#[derive(Debug)]
pub(super) struct Follower {
    session: &'static Session,
    entry: String,
    files: Vec<File>,
    groups: Vec<Group>,
    archives: Vec<Input<'static>>,
    /// Objects that are to be loaded when all files compile, or when what they were refused for is put right.
    waiting: BTreeMap<usize, Vec<u8>>,
    arguments: WatchArguments,
    /// When to look for old versions that can be freed, and how long after that to look again.
    look: Option<(Instant, Duration)>,
}

impl Follower {
    /// Loads the program: each file as a module of its own, and what archives give as one more.
    pub(super) fn load(
        session: &'static Session,
        program: Program,
        entry: &str,
        arguments: WatchArguments,
    ) -> anyhow::Result<Self> {
        let mut files = Vec::new();
        for part in program.parts {
            files.push(File::new(part.object.name(), part.object.bytes().to_vec())?);
        }
        let mut follower = Follower {
            session,
            entry: entry.to_owned(),
            files,
            groups: Vec::new(),
            archives: program.archives,
            waiting: BTreeMap::new(),
            arguments,
            look: None,
        };
        for number in 0..follower.files.len() {
            let mut object = std::mem::take(&mut follower.files[number].object);
            follower.unhide(number, &mut object);
            follower.files[number].object = object;
        }
        let names: Vec<_> = follower.files.iter().map(|file| &file.names).collect();
        let groups = groups::groups(&names);
        let nothing_arrived = BTreeMap::new();
        let mut units: Vec<Vec<Input<'_>>> = groups
            .iter()
            .map(|files| follower.inputs(files, &nothing_arrived))
            .collect();
        let needed = follower.references(follower.files.iter().map(|file| &file.names));
        let rest = follower.archives.iter().map(Input::share);
        let rest = rest.chain(needed).chain([reference_to_entry(entry)]).collect();
        units.push(rest);
        let units: Vec<&[Input<'_>]> = units.iter().map(Vec::as_slice).collect();
        // SAFETY: running the program is what the user asked for.
        let modules = unsafe { session.load_each(&units) }?;
        follower.groups = groups
            .into_iter()
            .zip(modules)
            .map(|(files, module)| Group { files, module })
            .collect();
        Ok(follower)
    }

    /// Starts the thread.
    pub(super) fn follow(mut self, watcher: UnixStream) -> anyhow::Result<()> {
        let ended = MainEnded::new().context("the end of main cannot be seen")?;
        // Signals are for the program's threads. A thread that is started has the mask of the one that starts it.
        let before = block_signals();
        let thread = std::thread::Builder::new().name("restub".into());
        let started = thread.spawn(move || self.run(watcher, &ended));
        set_signals(&before);
        started.context("no thread for the watcher")?;
        Ok(())
    }

    fn run(&mut self, watcher: UnixStream, ended: &MainEnded) {
        let mut watcher = Some(watcher);
        loop {
            let mut watched = vec![PollFd::from_borrowed_fd(ended.event().as_fd(), PollFlags::IN)];
            watched.extend(
                watcher
                    .iter()
                    .map(|watcher| PollFd::from_borrowed_fd(watcher.as_fd(), PollFlags::IN)),
            );
            let time = self.look.map(|(at, _)| at.saturating_duration_since(Instant::now()));
            let time = time.and_then(|time| Timespec::try_from(time).ok());
            if rustix::event::poll(&mut watched, time.as_ref()).is_err() {
                continue;
            }
            let is_ready: Vec<bool> = watched.iter().map(|fd| !fd.revents().is_empty()).collect();
            if is_ready[0] {
                ending::end_with_the_last_thread();
            }
            if is_ready.get(1) == Some(&true)
                && let Some(connection) = &mut watcher
            {
                match Message::receive(connection) {
                    Ok(message) => self.take(message),
                    Err(_) => {
                        say(Tone::Bad, "the watcher has ended; the program runs on as it is");
                        watcher = None;
                    }
                }
            }
            if self.look.is_some_and(|(at, _)| at <= Instant::now()) {
                self.collect();
            }
        }
    }

    /// Loads what the watcher sends, unless files are missing that do not compile.
    fn take(&mut self, message: Message) {
        let arrived: Vec<_> = message
            .objects
            .iter()
            .map(|(file, _)| self.files[*file].name.clone())
            .collect();
        let took = message.took.map(|took| format!("compiled in {}; ", duration(took)));
        let took = took.unwrap_or_default();
        for (file, mut object) in message.objects {
            self.unhide(file, &mut object);
            if self.files[file].object == object {
                // It is again as it was, after a version that could not be loaded.
                self.waiting.remove(&file);
                say(Tone::Good, &format!("{}: {took}as it is loaded", self.files[file].name));
            } else {
                self.waiting.insert(file, object);
            }
        }
        if !message.failing.is_empty() {
            if !self.waiting.is_empty() && !arrived.is_empty() {
                let text = format!("{}: {took}waits for {}", arrived.join(", "), message.failing.join(", "));
                say(Tone::Waiting, &text);
            }
        } else if !self.waiting.is_empty() {
            self.swap(&took);
        }
    }

    /// Replaces the modules of the files that wait, all of them in one transaction.
    fn swap(&mut self, took: &str) {
        let names: Vec<_> = self.waiting.keys().map(|file| self.files[*file].name.clone()).collect();
        let names = names.join(", ");
        let arrived: restub::loader::Result<BTreeMap<usize, File>> = self
            .waiting
            .iter()
            .map(|(file, object)| Ok((*file, File::new(&self.files[*file].name, object.clone())?)))
            .collect();
        let start = Instant::now();
        let replaced = arrived.map_err(restub::Error::from).and_then(|arrived| {
            let report = self.replace(&arrived)?;
            Ok((arrived, report))
        });
        let swapped = start.elapsed();
        let (arrived, report) = match replaced {
            Ok(replaced) => replaced,
            Err(error) => {
                let text = format!(
                    "{names}: {took}not swapped, the old version runs on:{}",
                    refusal(&error)
                );
                return say(Tone::Bad, &text);
            }
        };
        let same = arrived
            .iter()
            .flat_map(|(file, after)| difference::unchanged(&self.files[*file].object, &after.object));
        let swap = Swap {
            files: &names,
            took,
            swapped,
            report: &report,
            same: &same.collect(),
            running: &self.entry,
            verbose: self.arguments.verbose,
        };
        say(Tone::Good, &swap.to_string());
        for (number, file) in arrived {
            self.files[number] = file;
        }
        self.waiting.clear();
        if self.is_to_free() {
            self.look = Some((Instant::now(), AGAIN_FROM));
        }
    }

    /// Replaces the modules of these files.
    fn replace(&mut self, arrived: &BTreeMap<usize, File>) -> restub::Result<Report> {
        let is_changed = |group: &&mut Group| group.files.iter().any(|file| arrived.contains_key(file));
        let mut groups = std::mem::take(&mut self.groups);
        let mut changed: Vec<&mut Group> = groups.iter_mut().filter(is_changed).collect();
        let units = changed.iter().map(|group| self.inputs(&group.files, arrived));
        // Archive members that are new to the program are a module of their own.
        let needed = self.references(arrived.values().map(|file| &file.names));
        let needed = needed.map(|needed| self.archives.iter().map(Input::share).chain([needed]).collect());
        let units: Vec<Vec<Input<'_>>> = units.chain(needed).collect();
        let units: Vec<&[Input<'_>]> = units.iter().map(Vec::as_slice).collect();
        let options = changed
            .iter()
            .fold(self.options(), |options, group| options.whole(group.module));
        // SAFETY: replacing what runs is what the user asked for. The session scans for threads in old versions.
        let result = unsafe { self.session.replace_each(&units, &options) };
        if let Ok(report) = &result {
            for (group, module) in changed.iter_mut().zip(&report.modules) {
                group.module = *module;
            }
        }
        self.groups = groups;
        result
    }

    fn options(&self) -> Replace {
        let data = if self.arguments.data_reset {
            Data::Reset
        } else {
            Data::Keep
        };
        let constructors = match self.arguments.constructors {
            ConstructorsArgument::Auto => Constructors::IfNeeded,
            ConstructorsArgument::Run => Constructors::Run,
            ConstructorsArgument::Skip => Constructors::Skip,
        };
        let dangling = self.arguments.allow_dangling;
        Replace::new()
            .data(data)
            .constructors(constructors)
            .allow_dangling(dangling)
    }

    /// The objects of files, those that have arrived in place of those that are loaded.
    fn inputs<'a>(&'a self, files: &[usize], arrived: &'a BTreeMap<usize, File>) -> Vec<Input<'a>> {
        let file = |number: &usize| arrived.get(number).unwrap_or(&self.files[*number]);
        files.iter().map(|number| file(number).input()).collect()
    }

    /// A reference to each symbol that these files need of archives, or of libraries that are not open yet, if there is
    /// one. What comes from archives is a module of its own, which is not replaced with the file that needed it first.
    fn references<'a>(&self, files: impl Iterator<Item = &'a Names>) -> Option<Input<'static>> {
        let is_there = |name: &str| {
            self.files.iter().any(|file| file.names.defines(name))
                || self.session.symbol(name).is_some()
                || restub::host_symbol(name).is_some()
        };
        let wanted: BTreeSet<&str> = files.flat_map(Names::wanted).collect();
        let mut needed = wanted.into_iter().filter(|name| !is_there(name)).peekable();
        needed.peek()?;
        Some(files::references_to("the program", needed.map(str::as_bytes)))
    }

    /// Lets other files of the program see what is hidden in an object.
    fn unhide(&self, number: usize, object: &mut [u8]) {
        let others = self.files.iter().enumerate().filter(|(other, _)| *other != number);
        let others: Vec<_> = others.map(|(_, file)| &file.names).collect();
        groups::unhide(object, |name| {
            std::str::from_utf8(name).is_ok_and(|name| others.iter().any(|names| names.defines(name)))
        });
    }

    fn is_to_free(&self) -> bool {
        match self.arguments.reclaim {
            ReclaimArgument::Never => false,
            ReclaimArgument::Always => true,
            ReclaimArgument::Full => self.session.stats().reclaim.held.bytes > FULL_BYTES,
        }
    }

    /// Frees the old versions that nobody is in any more, and comes back for the rest.
    fn collect(&mut self) {
        let pause = self.look.map_or(AGAIN_FROM, |(_, pause)| pause);
        let verbose = self.arguments.verbose;
        match self.session.collect() {
            Ok(collected) => {
                if verbose && collected.modules > 0 {
                    let plural = if collected.modules == 1 { "" } else { "s" };
                    let text = format!(
                        "freed {} old version{plural}, {} bytes",
                        collected.modules, collected.bytes
                    );
                    say(Tone::Good, &text);
                }
            }
            Err(error) => say(Tone::Bad, &format!("old versions stay in memory: {error}")),
        }
        let held = self.session.stats().reclaim.held.items;
        self.look = (held > 0 && self.is_to_free()).then(|| (Instant::now() + pause, (pause * 2).min(AGAIN_TO)));
    }
}

/// Blocks every signal in this thread, and returns those that were blocked before.
fn block_signals() -> libc::sigset_t {
    let (mut all, mut before) = (no_signals(), no_signals());
    // SAFETY: the set is this function's own.
    unsafe { libc::sigfillset(&raw mut all) };
    // SAFETY: both sets are this function's own.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const all, &raw mut before) };
    before
}

fn set_signals(signals: &libc::sigset_t) {
    // SAFETY: the set is valid, and the one before is not asked for.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, signals, std::ptr::null_mut()) };
}

fn no_signals() -> libc::sigset_t {
    // SAFETY: a set of zeros is an empty one.
    unsafe { std::mem::zeroed() }
}
