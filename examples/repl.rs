//! As a REPL would have it: functions that call one another, each in a module of its own, are changed one at a time while
//! threads run them. No caller is linked again, and no thread stops.
//!
//! What the functions compute does not change, so that every result can be checked; how they do it changes with every
//! version, and which version answered comes back with the result. Some calls end in an exception, which passes through
//! all the functions of a chain.
//!
//! ```text
//! cargo run --example repl [FUNCTIONS [CHANGES]]
//! ```

use std::error::Error;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::thread;
use std::time::Instant;

use restub::loader::Input;
use restub::{Linkage, Protection, Replace, Session};

/// A chain of so many calls begins at the function; with [`THROWS`] an exception ends it.
type Function = unsafe extern "C-unwind" fn(u64) -> u64;

const THROWS: u64 = 1 << 32;
const LONGEST_CHAIN: u64 = 20;

/// What all versions start with. Names and numbers are filled in for each function and version.
const HEAD: &str = "
    struct Thrown { unsigned long value; };
    extern \"C\" unsigned long f00000000(unsigned long n);
    extern \"C\" unsigned long f00000001(unsigned long n);
    static const unsigned long throws = 1ul << 32;
    static inline unsigned long filled_in(unsigned long number) {
        __asm__ (\"\" : \"+r\" (number)); // the compiler must not compute with it
        return number;
    }
    #define own filled_in(0x1122334400000000)
    #define version filled_in(0x1122334400000001)
";

/// A function that others may call, and that is yet to be written.
const DECLARED: &str = "unsigned long f00000000(unsigned long n) { return own + version; }";

/// Three ways to compute the same.
const BODIES: [&str; 3] = [
    // As one would write it.
    "unsigned long f00000000(unsigned long n) {
         if (n == throws) throw Thrown{version << 32 | own};
         return version << 32 | (n ? (f00000001(n - 1) * 3 + own) & 0xffffffff : own);
     }",
    // By a call of itself, which may reach another version.
    "unsigned long f00000000(unsigned long n) {
         const unsigned long again = 1ul << 33;
         if (!(n & again)) return version << 32 | (f00000000(n | again) & 0xffffffff);
         n &= ~again;
         if (n == throws) throw Thrown{version << 32 | own};
         unsigned long next = n ? f00000001(n - 1) : 0;
         return n ? (next + next + next + own) & 0xffffffff : own;
     }",
    // With an object to destroy, and an exception that is caught and thrown on.
    "struct Sum { unsigned long value; ~Sum() { value = 0; } };
     unsigned long f00000000(unsigned long n) {
         Sum sum{own};
         try {
             if (n == throws) throw Thrown{version << 32 | own};
             if (n) sum.value += 3 * f00000001(n - 1);
         } catch (const Thrown &) {
             sum.value = 0;
             throw;
         }
         return version << 32 | (sum.value & 0xffffffff);
     }",
];

/// Catches what a chain ends in.
const CATCHER: &str = "
    struct Thrown { unsigned long value; };
    extern \"C\" unsigned long caught(unsigned long (*function)(unsigned long), unsigned long n) {
        try { function(n); } catch (const Thrown &thrown) { return thrown.value; }
        return 0;
    }";

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1).map(|text| text.parse());
    let functions = arguments.next().unwrap_or(Ok(1000))?;
    let changes = arguments.next().unwrap_or(Ok(10_000))?;
    run(functions, changes)
}

/// Loads functions, and changes some of them while four threads call.
pub(crate) fn run(functions: u32, changes: u32) -> Result<(), Box<dyn Error>> {
    const THREADS: u32 = 4;
    let folder = tempfile::tempdir()?;
    let mut versions = Vec::new();
    for (number, body) in BODIES.iter().enumerate() {
        versions.push(compile(
            folder.path(),
            &format!("version{number}"),
            &format!("{HEAD}{body}"),
        )?);
    }
    let session = Session::builder()
        .linkage(Linkage::Stubs)
        .protection(Protection::Fast)
        .default_libraries(true)
        .build();
    let start = Instant::now();
    let declared = compile(folder.path(), "declared", &format!("{HEAD}{DECLARED}"))?;
    for own in 0..functions {
        // SAFETY: the objects are our own.
        unsafe { session.load(&[fill_in(&declared, own, next(own, functions), 0)]) }?;
    }
    for own in 0..functions {
        let object = fill_in(&versions[0], own, next(own, functions), 1);
        // SAFETY: as above, and nobody calls yet.
        unsafe { session.replace(&[object], &Replace::new()) }?;
    }
    let catcher = compile(folder.path(), "catcher", CATCHER)?;
    // SAFETY: as above.
    unsafe { session.load(&[Input::from_bytes("catcher.o", catcher)]) }?;
    println!("{functions} functions loaded and replaced in {:?}", start.elapsed());

    let running = Running {
        session: &session,
        newest: (0..functions).map(|_| (AtomicU32::new(1), AtomicU32::new(1))).collect(),
        stop: AtomicBool::new(false),
        calls: AtomicU64::new(0),
    };
    let start = Instant::now();
    thread::scope(|scope| {
        for seed in 0..THREADS {
            let running = &running;
            scope.spawn(move || running.call_without_pause(Random(seed.into())));
        }
        let changed = running.change(changes, &versions);
        running.stop.store(true, Ordering::Relaxed);
        changed
    })?;
    let took = start.elapsed();
    session.collect()?;
    let reclaimed = session.stats().reclaim.reclaimed.items;
    println!(
        "{changes} changes in {took:?}, {} chains of calls meanwhile, {reclaimed} modules reclaimed",
        running.calls.load(Ordering::Relaxed)
    );
    Ok(())
}

/// What the threads share.
struct Running<'session> {
    session: &'session Session,
    /// For each function the versions that may answer: published at the latest, and being published.
    newest: Vec<(AtomicU32, AtomicU32)>,
    stop: AtomicBool,
    calls: AtomicU64,
}

impl Running<'_> {
    fn change(&self, changes: u32, versions: &[Vec<u8>]) -> restub::Result<()> {
        let mut random = Random(99);
        for change in 0..changes {
            let own = random.below(self.newest.len() as u64) as u32;
            let (published, publishing) = &self.newest[own as usize];
            let version = publishing.load(Ordering::Relaxed) + 1;
            let body = &versions[(change as usize) % versions.len()];
            let object = fill_in(body, own, next(own, self.newest.len() as u32), version);
            // Release, here and below: pairs with the acquire in `check`.
            publishing.store(version, Ordering::Release);
            // SAFETY: all versions are of one type, and the threads are pinned when they call.
            unsafe { self.session.replace(&[object], &Replace::new()) }?;
            published.store(version, Ordering::Release);
        }
        Ok(())
    }

    fn call_without_pause(&self, mut random: Random) {
        let catcher = "caught";
        // SAFETY: the function is of this type.
        let caught = unsafe {
            self.session
                .function::<unsafe extern "C" fn(Function, u64) -> u64>(catcher)
        };
        let caught = caught.expect("the catcher is loaded");
        while !self.stop.load(Ordering::Relaxed) {
            let own = random.below(self.newest.len() as u64) as u32;
            let n = random.below(LONGEST_CHAIN);
            let pin = self.session.pin();
            // SAFETY: the function is of this type in all of its versions.
            let function = unsafe { pin.function::<Function>(&format!("f{own:08}")) };
            let function = function.expect("every function has a definition");
            let functions = self.newest.len() as u32;
            if random.below(8) == 0 {
                // The last one of the chain throws.
                let last = (0..n).fold(own, |own, _| next(own, functions));
                // SAFETY: as above; the exception ends in the catcher.
                self.check(last, last, || unsafe { caught(*function, n | THROWS) });
            } else {
                // SAFETY: as above; nothing is thrown.
                self.check(own, expected(own, n, functions), || unsafe { function(n) });
            }
            self.calls.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Checks what is computed, and that the version which answered was there at some moment of the call.
    fn check(&self, answering: u32, value: u32, call: impl FnOnce() -> u64) {
        let (published, publishing) = &self.newest[answering as usize];
        let oldest = published.load(Ordering::Acquire);
        let result = call();
        let youngest = publishing.load(Ordering::Acquire);
        assert_eq!(result as u32, value, "f{answering:08}");
        let version = (result >> 32) as u32;
        assert!(
            (oldest..=youngest).contains(&version),
            "{version}, of {oldest}..={youngest}"
        );
    }
}

/// The function that a function calls.
fn next(own: u32, functions: u32) -> u32 {
    (own * 7 + 1) % functions
}

fn expected(own: u32, n: u64, functions: u32) -> u32 {
    match n {
        0 => own,
        _ => expected(next(own, functions), n - 1, functions)
            .wrapping_mul(3)
            .wrapping_add(own),
    }
}

fn compile(folder: &Path, name: &str, source: &str) -> Result<Vec<u8>, Box<dyn Error>> {
    let path = folder.join(format!("{name}.cc"));
    let object = path.with_extension("o");
    std::fs::write(&path, source)?;
    let flags = ["-O1", "-fPIC", "-c"];
    let status = Command::new("g++")
        .args(flags)
        .arg(&path)
        .arg("-o")
        .arg(&object)
        .status()?;
    if !status.success() {
        return Err(format!("g++: {status}").into());
    }
    Ok(std::fs::read(object)?)
}

/// A version of a function: its name, that of the one that it calls, its number and the version's.
fn fill_in(template: &[u8], own: u32, callee: u32, version: u32) -> Input<'static> {
    let name = |number: u32| format!("f{number:08}").into_bytes();
    let number = |number: u64| number.to_le_bytes().to_vec();
    let replacements = [
        (name(0), name(own)),
        (name(1), name(callee)),
        (number(0x1122_3344_0000_0000), number(own.into())),
        (number(0x1122_3344_0000_0001), number(version.into())),
    ];
    let mut bytes = template.to_vec();
    for at in 0..bytes.len() {
        let here = replacements.iter().find(|(from, _)| template[at..].starts_with(from));
        if let Some((from, to)) = here {
            bytes[at..at + from.len()].copy_from_slice(to);
        }
    }
    Input::from_bytes(format!("f{own:08}.o"), bytes)
}

/// Numbers that are the same in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}
