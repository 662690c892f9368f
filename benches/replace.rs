//! What a replacement costs, however many modules there are: an object with one function is linked, its stub aimed at
//! it, and the one before given up; the memory of the last that was given up is freed.
//!
//! All times are CPU times of the thread that replaces.
#[path = "../tests/programs/compile.rs"]
mod compile;
#[path = "objects/function.rs"]
mod function;
#[path = "objects/thread_time.rs"]
mod thread_time;

use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use function::Function;
use restub::loader::Input;
use restub::{Linkage, Protection, Replace, Session};
use thread_time::ThreadTime;

const PROTECTIONS: [(&str, Protection); 2] = [("Fast", Protection::Fast), ("Strict", Protection::Strict)];
const MODULES: [u32; 3] = [10, 1_000, 100_000];
/// Modules are replaced in an order that has nothing to do with that in which they were loaded. Prime, so that all of
/// them come.
const STRIDE: u32 = 7919;

fn replace(criterion: &mut Criterion<ThreadTime>) {
    // `cargo test --benches` asks for a run that only shows that the bench works.
    let sizes = match std::env::args().any(|argument| argument == "--bench") {
        true => &MODULES[..],
        false => &MODULES[..1],
    };
    let mut function = Function::compile().expect("an object");
    for (name, protection) in PROTECTIONS {
        let mut group = criterion.benchmark_group(format!("replace/{name}"));
        for modules in sizes {
            let mut replaced = None;
            group.bench_function(modules.to_string(), |bencher| {
                // Not before it is known that the bench is to run.
                let replaced = replaced.get_or_insert_with(|| Replaced::load(protection, *modules, &mut function));
                bencher.iter_custom(|count| (0..count).map(|_| replaced.replace_next(&mut function)).sum());
            });
            if let Some(replaced) = replaced {
                replaced.check();
            }
        }
        group.finish();
    }
}

/// A session whose modules are replaced one after the other.
struct Replaced {
    session: Session,
    modules: u32,
    next: u32,
    options: Replace,
}

impl Replaced {
    fn load(protection: Protection, modules: u32, function: &mut Function) -> Self {
        let session = Session::builder()
            .linkage(Linkage::Stubs)
            .protection(protection)
            .build();
        for number in 0..modules {
            // SAFETY: the object has no constructors.
            unsafe { session.load(&[input(function, number)]) }.expect("a load");
        }
        Replaced {
            session,
            modules,
            next: 0,
            options: Replace::new(),
        }
    }

    fn replace_next(&mut self, function: &mut Function) -> Duration {
        self.next = (self.next + STRIDE) % self.modules;
        let input = [input(function, self.next)];
        let start = ThreadTime::now();
        // SAFETY: the functions are of one type, and nobody calls them.
        let report = unsafe { self.session.replace(&input, &self.options) }.expect("a replacement");
        let time = ThreadTime::now() - start;
        assert_eq!(report.superseded.len(), 1);
        time
    }

    /// What was replaced is gone.
    fn check(&self) {
        self.session.collect().expect("no scan");
        let stats = self.session.stats();
        assert_eq!(stats.modules, self.modules as usize);
        assert_eq!(stats.reclaim.held.items, 0);
    }
}

fn input(function: &mut Function, number: u32) -> Input<'_> {
    Input::from_bytes("function.o", function.numbered(number))
}

criterion_group! {
    name = benches;
    config = Criterion::default().with_measurement(ThreadTime);
    targets = replace
}
criterion_main!(benches);
