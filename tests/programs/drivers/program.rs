//! Panics that are caught, threads, thread-locals, hash maps: what Rust's standard library asks of a linker.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt::{self, Display, Write as _};
use std::io::{Read as _, Seek as _, Write as _};
use std::panic::{self, AssertUnwindSafe, PanicHookInfo};
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::sync::{Arc, Condvar, LazyLock, Mutex, OnceLock, RwLock};
use std::thread;

static DROPPED: AtomicUsize = AtomicUsize::new(0);
static TABLE: LazyLock<HashMap<&'static str, usize>> =
    LazyLock::new(|| "the quick brown fox jumps over the lazy dog".split(' ').enumerate().map(|(i, w)| (w, i)).collect());

struct Loud(&'static str);

impl Drop for Loud {
    fn drop(&mut self) {
        DROPPED.fetch_add(1, Ordering::Relaxed);
        println!("dropping {} (panicking: {})", self.0, thread::panicking());
    }
}

thread_local! {
    static DEPTH: Cell<u32> = const { Cell::new(0) };
    static NAMES: RefCell<Vec<String>> = RefCell::new(vec!["first".to_owned()]);
    static GUARD: Loud = const { Loud("a thread's guard") };
}

#[derive(Debug)]
struct Refused {
    code: u32,
}

impl Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "refused with {}", self.code)
    }
}

impl std::error::Error for Refused {}

/// The default hook prints thread numbers, which differ.
fn report(info: &PanicHookInfo<'_>) {
    let text = info.payload_as_str().unwrap_or("something else");
    let line = info.location().map_or(0, |location| location.line());
    eprintln!("panic in {:?}, line {line}: {text}", thread::current().name());
}

#[inline(never)]
fn descend(depth: u32) -> u32 {
    let _guard = (depth % 10 == 0).then_some(Loud("a frame"));
    DEPTH.set(depth);
    if depth == 30 {
        panic!("at depth {depth}");
    }
    descend(depth + 1) + 1
}

fn panics() {
    let caught = panic::catch_unwind(|| descend(1)).expect_err("a panic");
    println!("{:?} at {}", caught.downcast_ref::<String>(), DEPTH.get());
    let caught = panic::catch_unwind(|| panic::panic_any(Refused { code: 4 })).expect_err("a panic");
    println!("{}", caught.downcast::<Refused>().expect("its type"));
    let values = std::hint::black_box(vec![1, 2, 3]);
    let index = std::hint::black_box(7);
    println!("{}", panic::catch_unwind(|| values[index]).is_err());
    let zero = std::hint::black_box(0);
    println!("{}", panic::catch_unwind(|| 1 / zero).is_err());
    println!("{}", panic::catch_unwind(|| None::<u32>.expect("nothing there")).is_err());
    let mut inner = 0;
    let outer = panic::catch_unwind(AssertUnwindSafe(|| {
        inner = panic::catch_unwind(|| descend(28)).map_or(1, |_| 2);
        panic::resume_unwind(Box::new("again"));
    }));
    println!("{inner} {:?}", outer.expect_err("a panic").downcast_ref::<&str>());
}

extern "C" fn compare(a: *const i64, b: *const i64) -> i32 {
    // SAFETY: called with two elements of the array.
    unsafe { (*a).cmp(&*b) as i32 }
}

extern "C-unwind" fn compare_and_panic(_: *const i64, _: *const i64) -> i32 {
    panic!("in a comparison that C called")
}

#[allow(clashing_extern_declarations)]
mod c {
    unsafe extern "C" {
        pub fn qsort(base: *mut i64, count: usize, size: usize, compare: extern "C" fn(*const i64, *const i64) -> i32);
    }
    pub mod unwinding {
        unsafe extern "C-unwind" {
            pub fn qsort(
                base: *mut i64,
                count: usize,
                size: usize,
                compare: extern "C-unwind" fn(*const i64, *const i64) -> i32,
            );
        }
    }
}

fn through_c() {
    let mut numbers = [5_i64, 3, 9, -2, 7];
    // SAFETY: the array's own size.
    unsafe { c::qsort(numbers.as_mut_ptr(), numbers.len(), 8, compare) };
    println!("{numbers:?}");
    let caught = panic::catch_unwind(AssertUnwindSafe(|| {
        // SAFETY: the array's own size.
        unsafe { c::unwinding::qsort(numbers.as_mut_ptr(), numbers.len(), 8, compare_and_panic) };
    }));
    println!("through C: {}", caught.is_err());
}

fn threads() {
    let sum = Arc::new(Mutex::new(BTreeMap::new()));
    let workers: Vec<_> = (0..4)
        .map(|worker: u64| {
            let sum = Arc::clone(&sum);
            let body = move || {
                NAMES.with_borrow_mut(|names| names.push(format!("worker {worker}")));
                let mut map = HashMap::new();
                for i in 0..5000_u64 {
                    *map.entry(i * (worker + 3) % 97).or_insert(0_u64) += i;
                }
                let mut values: Vec<_> = map.into_iter().collect();
                values.sort_unstable();
                sum.lock().unwrap().insert(worker, values.iter().map(|(k, v)| k * v).sum::<u64>());
                NAMES.with_borrow(|names| names.join(" and "))
            };
            thread::Builder::new().name(format!("worker {worker}")).spawn(body).expect("a thread")
        })
        .collect();
    for worker in workers {
        println!("{}", worker.join().expect("no panic"));
    }
    println!("{:?} {:?}", sum.lock().unwrap(), NAMES.with_borrow(Vec::len));
    let shared = Arc::new(RwLock::new(vec![1]));
    let poisoner = Arc::clone(&shared);
    let result = thread::Builder::new().name("poisoner".to_owned()).spawn(move || {
        GUARD.with(|guard| println!("{} is there", guard.0));
        poisoner.write().unwrap().push(2);
        let _held = poisoner.write().unwrap();
        panic!("while the lock is held");
    });
    println!("{} {}", result.expect("a thread").join().is_err(), shared.is_poisoned());
    println!("{:?}", shared.read().unwrap_or_else(|poisoned| poisoned.into_inner()));
    let (sender, receiver) = mpsc::sync_channel(3);
    let pair = (Mutex::new(false), Condvar::new());
    let mut data = vec![0_u32; 64];
    thread::scope(|scope| {
        for (i, part) in data.chunks_mut(16).enumerate() {
            let sender = sender.clone();
            scope.spawn(move || {
                part.iter_mut().for_each(|value| *value = i as u32 * 10);
                sender.send(i).unwrap();
            });
        }
        scope.spawn(|| {
            *pair.0.lock().unwrap() = true;
            pair.1.notify_all();
        });
        drop(sender);
        let mut order: Vec<_> = receiver.iter().collect();
        order.sort_unstable();
        println!("{order:?}");
        let _done = pair.1.wait_while(pair.0.lock().unwrap(), |done| !*done).unwrap();
    });
    println!("{}", data.iter().sum::<u32>());
}

fn collections() -> Result<(), Box<dyn std::error::Error>> {
    println!("{:?} {:?} {}", TABLE.get("fox"), TABLE.get("cat"), TABLE.len());
    let words: HashSet<String> = TABLE.keys().map(|word| word.to_uppercase()).collect();
    let mut sorted: Vec<_> = words.iter().collect();
    sorted.sort_by_key(|word| (word.len(), word.as_str()));
    println!("{sorted:?}");
    let mut text = String::new();
    write!(text, "{:>8.3}|{:<6}|{:#010b}|{:e}|{:?}", 3.14159, "ab", 37, 12345.678, 'ß')?;
    println!("{text} {} {:?}", i128::MAX, "1.5e3".parse::<f64>()?);
    println!("{:?} {:?}", "x".parse::<u8>(), u8::try_from(300_u32));
    let dynamic: Vec<Box<dyn Fn(i32) -> i32>> = vec![Box::new(|x| x + 1), Box::new(move |x| x * text.len() as i32)];
    println!("{}", dynamic.iter().fold(1, |value, function| function(value)));
    println!("{:.12} {:.12} {}", 2.0_f64.sqrt().sin(), 10_f64.ln(), 2_f64.powf(0.5).mul_add(2.0, 1.0));
    let mut file = std::fs::File::options().read(true).write(true).create(true).truncate(true).open("rust.txt")?;
    writeln!(file, "written by Rust")?;
    file.rewind()?;
    let mut back = String::new();
    file.read_to_string(&mut back)?;
    print!("{back}");
    println!("{:?}", std::fs::read("no such file").map_err(|error| error.kind()));
    static ONCE: OnceLock<String> = OnceLock::new();
    println!("{} {}", ONCE.get_or_init(|| "once".into()), ONCE.get_or_init(|| "twice".into()));
    Err(Box::new(Refused { code: 9 }))
}

fn main() -> ExitCode {
    panic::set_hook(Box::new(report));
    println!("{:?}", std::env::args().skip(1).collect::<Vec<_>>());
    GUARD.with(|guard| println!("{} is there", guard.0));
    panics();
    through_c();
    threads();
    if let Err(error) = collections() {
        println!("{error}: {error:?}");
    }
    println!("{} dropped", DROPPED.load(Ordering::Relaxed));
    ExitCode::from(23)
}
