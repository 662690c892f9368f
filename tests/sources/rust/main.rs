//! Panics and catch_unwind, threads, thread-local data, collections, formatting, closures, traits; with another crate.
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::panic::{self, AssertUnwindSafe};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, mpsc};
use std::thread;

use parts::{Circle, Shape, generic_sum};

thread_local! {
    static DEPTH: Cell<u32> = const { Cell::new(1) };
    static NAMES: RefCell<Vec<String>> = RefCell::new(vec!["first".to_owned()]);
}
static DROPPED: AtomicUsize = AtomicUsize::new(0);
static TABLE: OnceLock<HashMap<&'static str, u32>> = OnceLock::new();

struct Square(f64);
impl Shape for Square {
    fn area(&self) -> f64 {
        self.0 * self.0
    }
}
struct Noisy;
impl Drop for Noisy {
    fn drop(&mut self) {
        DROPPED.fetch_add(1, Ordering::SeqCst);
    }
}
impl fmt::Display for Noisy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>8}|{:<6}|{:^7}|{:#x}", "noisy", 1.5, true, 255)
    }
}

fn descend(depth: u32) -> u32 {
    let _noisy = Noisy;
    DEPTH.set(DEPTH.get() + 1);
    if depth == 0 { panic!("at the bottom: {}", DEPTH.get()) } else { descend(depth - 1) + 1 }
}

fn main() {
    panic::set_hook(Box::new(|info| eprintln!("panic: {}", info.payload_as_str().unwrap_or("?"))));
    let caught = panic::catch_unwind(|| descend(5));
    let text = caught.unwrap_err().downcast::<String>().map(|s| *s).unwrap_or_default();
    println!("caught {text:?}, dropped {}", DROPPED.load(Ordering::SeqCst));
    let index = panic::catch_unwind(|| parts::element(&[1, 2, 3], std::env::args().count() + 10));
    println!("index {}", index.is_err());

    let shapes: Vec<Box<dyn Shape>> = vec![Box::new(Square(3.0)), Box::new(Circle(1.0))];
    println!("areas {:.3} {}", shapes.iter().map(|s| s.area()).sum::<f64>(), Noisy);

    let total = Arc::new(Mutex::new(0u64));
    let (sender, receiver) = mpsc::channel();
    let threads: Vec<_> = (0..6u64)
        .map(|id| {
            let (total, sender) = (Arc::clone(&total), sender.clone());
            thread::spawn(move || {
                NAMES.with_borrow_mut(|names| names.push(format!("thread {id}")));
                *total.lock().unwrap() += generic_sum(&[id, 10, u64::from(DEPTH.get())]);
                sender.send(NAMES.with_borrow(|names| names.len())).unwrap();
                assert!(id != 3, "thread {id} gives up");
            })
        })
        .collect();
    let failed = threads.into_iter().map(|t| t.join()).filter(Result::is_err).count();
    drop(sender);
    println!("total {} lengths {} failed {failed}", total.lock().unwrap(), receiver.iter().sum::<usize>());

    let table = TABLE.get_or_init(|| HashMap::from([("linker", 1), ("loader", 2)]));
    let sorted: BTreeMap<_, _> = table.iter().collect();
    println!("{sorted:?} {} {}", table["loader"], u128::MAX / 7);
    let nested = panic::catch_unwind(AssertUnwindSafe(|| {
        panic::catch_unwind(|| panic!("inner")).unwrap_err();
        panic::resume_unwind(Box::new(5u8));
    }));
    println!("resumed {:?}", nested.unwrap_err().downcast_ref::<u8>());
    let mut words: Vec<&str> = "the symbol is bound to a place".split(' ').collect();
    words.sort_by_key(|word| (word.len(), *word));
    println!("{}", words.join(" "));
    std::process::exit(if failed == 1 && DEPTH.get() == 7 { 42 } else { 1 });
}
