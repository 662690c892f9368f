//! Calls through stubs beside direct calls, calls through a linkage table, and LLVM ORC's indirect stubs, in turns and in
//! one process; calls while another thread retargets what they go through; retargeting alone.
//!
//! `race SECONDS` instead runs the race that ORC loses: one thread calls, another replaces and removes.
#[path = "../../tests/programs/compile.rs"]
mod compile;
#[path = "race.rs"]
mod race;

mod support {
    include!("../../stubs/tests/support/memory.rs");
}

use std::error::Error;
use std::ffi::{CStr, CString, c_char, c_void};
use std::hint::black_box;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use restub_stubs::{OnUnbound, Slot, Stub, StubTable};
use support::TwoViews;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

const ROUNDS: usize = 301;
/// How many calls a turn of the calling loop makes.
const CALLS: i64 = 16;
const TURNS: i64 = 10_000;
/// While another thread retargets: few, so that both have a processor all the while.
const TURNS_TOGETHER: i64 = 500;
const RETARGETS: u32 = 1000;
/// Under this name ORC knows its stub.
const NAME: &CStr = c"one";

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args()
        .skip(1)
        .filter(|argument| argument != "--bench")
        .collect();
    let folder = tempfile::tempdir()?;
    let orc = Orc::build(folder.path())?;
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["race", seconds] => race::run(seconds.parse()?),
        ["orc-race", files @ ..] => race::run_orc(&orc, files),
        rounds => {
            let rounds = rounds.first().map_or(Ok(ROUNDS), |count| count.parse())?;
            compare(&Subjects::new(&Calls::build(folder.path())?, &orc)?, rounds);
            Ok(())
        }
    }
}

/// What `calls.c` defines.
struct Calls {
    one: u64,
    table_entry: u64,
    calls: unsafe extern "C" fn(u64, i64) -> i64,
    /// A second function, for stubs to alternate with.
    other: u64,
}

impl Calls {
    fn build(folder: &Path) -> Result<Self> {
        let open = |name: &str| -> Result<Library> {
            let library = folder.join(name);
            let mut command = Command::new("gcc");
            command
                .args(["-O2", "-fPIC", "-shared", "-Wl,-z,now", "-o"])
                .arg(&library);
            compile::output(command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("calls.c")))?;
            Library::open(&library)
        };
        let (library, other) = (open("calls.so")?, open("other.so")?);
        // SAFETY: the source defines a function of this type.
        let table_entry: extern "C" fn() -> u64 = unsafe { std::mem::transmute(library.find(c"table_entry")?) };
        Ok(Calls {
            one: library.find(c"one")? as u64,
            table_entry: table_entry(),
            // SAFETY: as above.
            calls: unsafe { std::mem::transmute::<usize, _>(library.find(c"calls")?) },
            other: other.find(c"one")? as u64,
        })
    }
}

/// What `orc.cc` defines.
struct Orc {
    version: unsafe extern "C" fn() -> *const c_char,
    stub: unsafe extern "C" fn(*const c_char, u64) -> u64,
    retarget: unsafe extern "C" fn(*const c_char, u64),
    race: unsafe extern "C" fn(*const *const c_char, *const *const c_char, f64),
}

impl Orc {
    fn build(folder: &Path) -> Result<Self> {
        let path = folder.join("orc.so");
        let config = |option: &str| compile::output(Command::new("llvm-config-19").args([option, "--link-shared"]));
        let (headers, libraries) = (config("--includedir")?, config("--libdir")?);
        let mut command = Command::new("g++");
        command.args(["-std=c++17", "-O2", "-fPIC", "-shared", "-isystem", headers.trim()]);
        command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("orc.cc"));
        command.arg(format!("-L{}", libraries.trim()));
        command.args(["-lLLVM-19", "-o"]).arg(&path);
        compile::output(&mut command)?;
        let library = Library::open(&path)?;
        Ok(Orc {
            // SAFETY: the source defines a function of this type.
            version: unsafe { std::mem::transmute::<usize, _>(library.find(c"orc_version")?) },
            // SAFETY: as above.
            stub: unsafe { std::mem::transmute::<usize, _>(library.find(c"orc_stub")?) },
            // SAFETY: as above.
            retarget: unsafe { std::mem::transmute::<usize, _>(library.find(c"orc_retarget")?) },
            // SAFETY: as above.
            race: unsafe { std::mem::transmute::<usize, _>(library.find(c"orc_race")?) },
        })
    }

    fn name(&self) -> String {
        // SAFETY: takes nothing and returns a constant.
        let version = unsafe { (self.version)() };
        // SAFETY: the constant is a string.
        let version = unsafe { CStr::from_ptr(version) };
        format!("LLVM {} ORC stub", version.to_string_lossy())
    }
}

/// A shared library that is never closed.
struct Library(*mut c_void);

impl Library {
    fn open(path: &Path) -> Result<Self> {
        let path = CString::new(path.as_os_str().as_encoded_bytes())?;
        // SAFETY: the library's constructors are the compiler's and LLVM's.
        let handle = unsafe { libc::dlopen(path.as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL) };
        if handle.is_null() {
            // SAFETY: the last call has failed, so there is a message.
            let reason = unsafe { CStr::from_ptr(libc::dlerror()) };
            return Err(reason.to_string_lossy().into());
        }
        Ok(Library(handle))
    }

    fn find(&self, name: &CStr) -> Result<usize> {
        // SAFETY: the handle is that of an open library.
        let address = unsafe { libc::dlsym(self.0, name.as_ptr()) };
        if address.is_null() {
            return Err(format!("no {name:?}").into());
        }
        Ok(address as usize)
    }
}

/// Something to call.
struct Subject {
    name: String,
    address: u64,
    /// Aims it at a function, if it can be aimed.
    retarget: Option<Box<dyn Fn(u64) + Sync>>,
}

struct Subjects {
    all: Vec<Subject>,
    calls: unsafe extern "C" fn(u64, i64) -> i64,
    targets: [u64; 2],
}

impl Subjects {
    fn new(calls: &Calls, orc: &Orc) -> Result<Self> {
        let mut all = vec![
            Subject {
                name: "direct".to_owned(),
                address: calls.one,
                retarget: None,
            },
            Subject {
                name: "linkage table".to_owned(),
                address: calls.table_entry,
                retarget: None,
            },
        ];
        for slot in Slot::ALL {
            all.push(restub(slot, calls.one)?);
        }
        let retarget = orc.retarget;
        all.push(Subject {
            name: orc.name(),
            // SAFETY: the arguments are a string and the address of a function.
            address: unsafe { (orc.stub)(NAME.as_ptr(), calls.one) },
            // SAFETY: as above, and the stub exists.
            retarget: Some(Box::new(move |target| unsafe { retarget(NAME.as_ptr(), target) })),
        });
        Ok(Subjects {
            all,
            calls: calls.calls,
            targets: [calls.one, calls.other],
        })
    }

    /// Nanoseconds for a call, on average over so many turns of the loop.
    fn time(&self, subject: &Subject, turns: i64) -> f64 {
        let start = Instant::now();
        // SAFETY: the address is that of a function that returns 1, or of something that jumps to one.
        let sum = unsafe { (self.calls)(black_box(subject.address), turns) };
        let time = start.elapsed().as_nanos() as f64;
        assert_eq!(sum, CALLS * turns, "{} has called something else", subject.name);
        time / (CALLS * turns) as f64
    }
}

fn restub(slot: Slot, target: u64) -> Result<Subject> {
    /// One that several threads may aim, one at a time: the benchmark sees to that.
    struct Table(std::cell::UnsafeCell<StubTable<TwoViews>>);
    // SAFETY: as above.
    unsafe impl Sync for Table {}
    impl Table {
        fn publish(&self, stub: Stub, target: u64) {
            // SAFETY: as above.
            let table = unsafe { &mut *self.0.get() };
            table.publish(stub, target).expect("the stub exists");
        }
    }
    let mut table = StubTable::new(TwoViews::new()?, slot, OnUnbound::Abort);
    let stub = table.add("one")?;
    table.publish(stub, target)?;
    let table: &'static Table = Box::leak(Box::new(Table(table.into())));
    Ok(Subject {
        name: format!("restub stub, {slot:?}"),
        address: stub.address(),
        retarget: Some(Box::new(move |target| table.publish(stub, target))),
    })
}

fn compare(subjects: &Subjects, rounds: usize) {
    println!("medians of {rounds} rounds, nanoseconds");
    println!();
    println!("{:<26}{:>10}{:>10}{:>10}", "call", "time", "- direct", "x direct");
    let mut times = vec![Vec::new(); subjects.all.len()];
    for _ in 0..rounds {
        for (subject, times) in subjects.all.iter().zip(&mut times) {
            times.push(subjects.time(subject, TURNS));
        }
    }
    let undisturbed: Vec<f64> = times.iter().map(|times| median(times.clone())).collect();
    for (subject, of) in subjects.all.iter().zip(&times) {
        let added = median(of.iter().zip(&times[0]).map(|(time, direct)| time - direct).collect());
        let time = median(of.clone());
        println!(
            "{:<26}{time:>10.2}{added:>10.2}{:>10.2}",
            subject.name,
            time / undisturbed[0]
        );
    }
    under_retargeting(subjects, rounds, &undisturbed);
    retargeting(subjects, rounds);
}

/// A thread that aims one stub at one function and at another, without pause.
struct Retargeter<'a> {
    subjects: &'a Subjects,
    /// Which, or one of the constants.
    subject: AtomicUsize,
    done: AtomicU64,
}

impl Retargeter<'_> {
    const NOBODY: usize = usize::MAX;
    const END: usize = usize::MAX - 1;

    fn run(&self) {
        loop {
            match self.subject.load(Ordering::Acquire) {
                Self::NOBODY => std::hint::spin_loop(),
                Self::END => break,
                subject => {
                    let retarget = self.subjects.all[subject].retarget.as_ref().expect("it can be aimed");
                    self.subjects.targets.iter().for_each(|&target| retarget(target));
                    self.done.fetch_add(2, Ordering::Release);
                }
            }
        }
    }

    /// Nanoseconds for a call, and from one retarget to the next.
    fn time(&self, subject: usize) -> (f64, f64) {
        let before = self.done.load(Ordering::Acquire);
        self.subject.store(subject, Ordering::Release);
        while self.done.load(Ordering::Acquire) == before {
            thread::yield_now();
        }
        let first = self.done.load(Ordering::Relaxed);
        let time = self.subjects.time(&self.subjects.all[subject], TURNS_TOGETHER);
        let retargets = self.done.load(Ordering::Relaxed) - first;
        self.subject.store(Self::NOBODY, Ordering::Release);
        (time, time * (CALLS * TURNS_TOGETHER) as f64 / retargets.max(1) as f64)
    }
}

/// Calls while another thread retargets what they go through. Both threads need a processor at the same time: what was
/// measured while the other had none does not count.
fn under_retargeting(subjects: &Subjects, rounds: usize, undisturbed: &[f64]) {
    const PATIENCE: Duration = Duration::from_secs(30);
    const AT_LEAST_EVERY: f64 = 1000.0;
    let retargeter = Retargeter {
        subjects,
        subject: AtomicUsize::new(Retargeter::NOBODY),
        done: AtomicU64::new(0),
    };
    let aimed = || (0..subjects.all.len()).filter(|&i| subjects.all[i].retarget.is_some());
    let mut measured = vec![Vec::new(); subjects.all.len()];
    thread::scope(|scope| {
        scope.spawn(|| retargeter.run());
        let end = Instant::now() + PATIENCE;
        while Instant::now() < end && aimed().any(|i| measured[i].len() < rounds) {
            for i in aimed().filter(|&i| measured[i].len() < rounds).collect::<Vec<_>>() {
                let (time, every) = retargeter.time(i);
                if every < AT_LEAST_EVERY {
                    measured[i].push((time, every));
                }
            }
        }
        retargeter.subject.store(Retargeter::END, Ordering::Release);
    });
    println!();
    println!(
        "{:<26}{:>10}{:>10}{:>16}{:>8}",
        "call under retargeting", "time", "x alone", "retarget every", "rounds"
    );
    for i in aimed() {
        let (times, every): (Vec<_>, Vec<_>) = measured[i].iter().copied().unzip();
        let (rounds, time, every) = (times.len(), median(times), median(every));
        let (name, alone) = (&subjects.all[i].name, time / undisturbed[i]);
        println!("{name:<26}{time:>10.2}{alone:>10.2}{every:>16.0}{rounds:>8}");
    }
}

fn retargeting(subjects: &Subjects, rounds: usize) {
    let mut times = vec![Vec::new(); subjects.all.len()];
    for _ in 0..rounds {
        for (subject, times) in subjects.all.iter().zip(&mut times) {
            let Some(retarget) = &subject.retarget else { continue };
            let start = Instant::now();
            for turn in 0..RETARGETS {
                retarget(subjects.targets[turn as usize % 2]);
            }
            times.push(start.elapsed().as_nanos() as f64 / f64::from(RETARGETS));
        }
    }
    println!();
    println!("{:<26}{:>10}", "retarget", "time");
    for (subject, times) in subjects.all.iter().zip(times).filter(|(_, times)| !times.is_empty()) {
        println!("{:<26}{:>10.1}", subject.name, median(times));
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}
