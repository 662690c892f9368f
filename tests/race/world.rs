//! Functions that are replaced while threads call them, and what a call may return.
//!
//! Every version of a function returns a number of its own, which is in its code and once more in its constants: a call
//! that meets memory which was freed or used again returns something else, or faults.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use restub::loader::Input;
use restub::{Replace, Session};

use crate::support::object;

/// How many functions are called and replaced.
pub(crate) const FUNCTIONS: usize = 4;

/// A function of the race: how deep it goes on calling the others.
pub(crate) type Called = unsafe extern "C-unwind" fn(u64) -> u64;

/// The first of the numbers that stand in the templates for what the functions return.
const MARK: u64 = 0x1122_3344_5566_7700;

/// Version `n` of function `i` returns this.
pub(crate) fn value(i: usize, n: u64) -> u64 {
    n * FUNCTIONS as u64 + i as u64
}

/// An object in which versions are numbers at known places.
pub(crate) struct Template {
    name: String,
    bytes: Vec<u8>,
    /// Places, each with the function whose number it is.
    marks: Vec<(usize, usize)>,
}

impl Template {
    /// Compiles a source in which `MARK(i)` stands for what function `i` returns.
    pub(crate) fn compile(name: &str, source: &str, flags: &[&str]) -> Self {
        let source = format!("#define MARK(i) ({MARK:#x}ul + i)\n{source}");
        let bytes = object(name, &source, flags);
        let mark = |at: usize| {
            let word = bytes[at..].first_chunk().map(|word| u64::from_le_bytes(*word))?;
            (word & !0xff == MARK).then_some((at, (word & 0xff) as usize))
        };
        let marks: Vec<_> = (0..bytes.len()).filter_map(mark).collect();
        assert!(!marks.is_empty(), "{name} has no number to replace");
        let name = format!("{name}.o");
        Template { name, bytes, marks }
    }

    /// The object with the functions' versions `n`.
    pub(crate) fn version(&mut self, n: u64) -> Input<'_> {
        for &(at, i) in &self.marks {
            self.bytes[at..at + 8].copy_from_slice(&value(i, n).to_le_bytes());
        }
        Input::from_bytes(self.name.as_str(), self.bytes.as_slice())
    }

    /// The functions that it defines.
    pub(crate) fn functions(&self) -> Vec<usize> {
        let mut functions: Vec<_> = self.marks.iter().map(|(_, i)| *i).collect();
        functions.sort_unstable();
        functions.dedup();
        functions
    }
}

/// What each function is: it calls the next one, as often as it is told, and compares its number in the code with that
/// in the constants.
fn function(i: usize, padding: usize) -> String {
    let next = (i + 1) % FUNCTIONS;
    format!(
        "unsigned long f{next}(unsigned long);
         static const unsigned long constant{i} = MARK({i});
         unsigned long f{i}(unsigned long depth) {{
             __asm__ volatile (\".skip {padding}, 0x90\");
             if (depth && f{next}(depth - 1) % {FUNCTIONS} != {next}) return 0;
             const unsigned long *there = &constant{i};
             unsigned long here = MARK({i});
             __asm__ volatile (\"\" : \"+r\" (there), \"+r\" (here));
             return *there == here ? here : 0;
         }}\n"
    )
}

/// Objects of different sizes, so that what is freed is not used again for the same: one with all functions first, then
/// each function alone, twice.
pub(crate) fn templates() -> Vec<Template> {
    let all: String = (0..FUNCTIONS).map(|i| function(i, 16 * i)).collect();
    let mut templates = vec![Template::compile("all.c", &all, &["-O1", "-fPIC"])];
    for padding in [1, 60] {
        for i in 0..FUNCTIONS {
            let name = format!("f{i}_{padding}.c");
            templates.push(Template::compile(&name, &function(i, padding), &["-O2", "-fPIC"]));
        }
    }
    templates
}

/// What callers and the replacing thread share.
pub(crate) struct World<'session> {
    pub(crate) session: &'session Session,
    /// For each function the versions that a call may meet: published at the latest, and being published.
    newest: Vec<(AtomicU64, AtomicU64)>,
    stop: AtomicBool,
    calls: AtomicU64,
}

/// Ends the callers' loops, also when the replacing thread fails.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// What a run has done.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Counts {
    pub(crate) calls: u64,
    pub(crate) replacements: u64,
    pub(crate) reclaimed: u64,
}

impl<'session> World<'session> {
    /// Loads the first version of every function from the first template.
    pub(crate) fn load(session: &'session Session, first: &mut Template) -> Self {
        // SAFETY: the test's own source.
        unsafe { session.load(&[first.version(1)]) }.unwrap_or_else(|error| panic!("{error}"));
        let newest = || (AtomicU64::new(1), AtomicU64::new(1));
        World {
            session,
            newest: (0..FUNCTIONS).map(|_| newest()).collect(),
            stop: AtomicBool::new(false),
            calls: AtomicU64::new(0),
        }
    }

    /// A function of the session, for as long as the session exists: its stub stays where it is.
    pub(crate) fn function(&self, name: &str) -> Called {
        // SAFETY: the functions that tests ask for have this type.
        let function = unsafe { self.session.function::<Called>(name) };
        *function.unwrap_or_else(|error| panic!("{error}"))
    }

    pub(crate) fn goes_on(&self) -> bool {
        // Relaxed: only ends the loop.
        !self.stop.load(Ordering::Relaxed)
    }

    /// Makes a call of function `i`. It is right if what it returns was published no earlier than the last version before
    /// the call, and no later than the first after it.
    pub(crate) fn check(&self, i: usize, call: impl FnOnce() -> u64) {
        // Acquire: pairs with the release after publishing; that version or a later one must be met.
        let oldest = self.newest[i].0.load(Ordering::Acquire);
        let result = call();
        // Acquire: pairs with the release before publishing; nothing later can have been met.
        let youngest = self.newest[i].1.load(Ordering::Acquire);
        let alive = value(i, oldest)..=value(i, youngest);
        let is_its = result % FUNCTIONS as u64 == i as u64;
        assert!(
            is_its && alive.contains(&result),
            "f{i} returned {result}, of {alive:?}"
        );
    }

    pub(crate) fn count(&self, calls: u64) {
        self.calls.fetch_add(calls, Ordering::Relaxed);
    }

    /// Publishes the next version of a template's functions.
    pub(crate) fn replace(&self, template: &mut Template, options: &Replace, n: u64) {
        let functions = template.functions();
        for &i in &functions {
            // Release: pairs with the acquire behind a call.
            self.newest[i].1.store(n, Ordering::Release);
        }
        // SAFETY: the test's own sources, of one type in all versions, called under a pin or in a session that scans.
        let report = unsafe { self.session.replace(&[template.version(n)], options) };
        report.unwrap_or_else(|error| panic!("{error}"));
        for i in functions {
            // Release: pairs with the acquire before a call.
            self.newest[i].0.store(n, Ordering::Release);
        }
    }

    /// Replaces functions for as long as that is asked for, and until it is enough, as fast as it can. `between` two
    /// replacements it does something else.
    pub(crate) fn replace_without_pause(
        &self,
        templates: &mut [Template],
        duration: Duration,
        options: &Replace,
        mut between: impl FnMut(),
        enough: impl Fn() -> bool,
    ) -> u64 {
        const LIMIT: Duration = Duration::from_secs(60);
        let _stop = Stop(&self.stop);
        let end = Instant::now() + duration;
        let (mut n, mut replacements) = (1, 0);
        // On a busy machine it may be a while until the first call is over.
        let enough = || self.calls.load(Ordering::Relaxed) > 0 && enough() || Instant::now() > end + LIMIT;
        while Instant::now() < end || !enough() {
            n += 1;
            for template in &mut *templates {
                self.replace(template, options, n);
                n += 1;
                replacements += 1;
                between();
            }
        }
        replacements
    }

    /// Whether anything was reclaimed. On a busy machine that takes its time.
    pub(crate) fn reclaims(&self) -> bool {
        self.session.stats().reclaim.reclaimed.items > 0
    }

    /// What has been done, printed for who runs the test.
    pub(crate) fn counts(&self, title: &str, replacements: u64) -> Counts {
        let stats = self.session.stats();
        let counts = Counts {
            calls: self.calls.load(Ordering::Relaxed),
            replacements,
            reclaimed: stats.reclaim.reclaimed.items,
        };
        println!("{title}: {counts:?}, held {:?}", stats.reclaim.held);
        assert!(counts.calls > 0 && counts.replacements > 0, "{title}: {counts:?}");
        counts
    }
}

/// Frees everything that was superseded, now that nobody is pinned any more.
pub(crate) fn collect_all(session: &Session) {
    const ROUNDS: usize = 64;
    for _ in 0..ROUNDS {
        session.collect().unwrap_or_else(|error| panic!("{error}"));
        if session.stats().reclaim.held.items == 0 {
            return;
        }
    }
    panic!("not everything was reclaimed: {:?}", session.stats());
}

/// A share of the time for all races: `RESTUB_RACE_SECONDS`, by default 10.
pub(crate) fn share(percent: f64) -> Duration {
    let seconds = std::env::var("RESTUB_RACE_SECONDS").ok();
    let seconds = seconds.and_then(|text| text.parse().ok()).unwrap_or(10.0);
    Duration::from_secs_f64(seconds * percent / 100.0)
}

/// One race at a time: each has the cores to itself.
pub(crate) fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}
