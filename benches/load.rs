//! What a load costs: SQLite in three forms, and an object with one function.
//!
//! `copy` is the `memcpy` of the same sections into pages that are mapped anew: the least that any loader does. All
//! times are CPU times.
#[path = "../tests/programs/compile.rs"]
mod compile;
#[path = "../tests/programs/crates.rs"]
mod crates;
#[path = "objects/function.rs"]
mod function;
#[path = "objects/sections.rs"]
mod sections;
#[path = "objects/sqlite.rs"]
mod sqlite;
#[path = "objects/thread_time.rs"]
mod thread_time;

use std::time::Duration;

use criterion::{BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main};
use function::Function;
use restub::loader::Input;
use restub::{Protection, Session};
use sections::Sections;
use thread_time::ThreadTime;

const PROTECTIONS: [(&str, Protection); 2] = [("Fast", Protection::Fast), ("Strict", Protection::Strict)];

fn sqlites(criterion: &mut Criterion<ThreadTime>) {
    for (form, flags) in sqlite::FORMS {
        let path = sqlite::compile(flags).expect("SQLite's object");
        let bytes = std::fs::read(path).expect("SQLite's object");
        let sections = Sections::of(&bytes).expect("sections");
        let mut group = criterion.benchmark_group(format!("sqlite/{form}"));
        group.throughput(Throughput::Bytes(sections.size_bytes() as u64));
        group.bench_function("copy", |bencher| bencher.iter(|| sections.copy()));
        both(&mut group, &bytes);
        group.finish();
    }
}

fn functions(criterion: &mut Criterion<ThreadTime>) {
    let mut function = Function::compile().expect("an object");
    let mut group = criterion.benchmark_group("function");
    both(&mut group, function.numbered(0));
    group.finish();
}

fn both(group: &mut BenchmarkGroup<'_, ThreadTime>, bytes: &[u8]) {
    let input = [Input::from_bytes("object.o", bytes)];
    for (name, protection) in PROTECTIONS {
        let session = Session::builder().protection(protection).build();
        group.bench_function(format!("load/{name}"), |bencher| {
            bencher.iter_custom(|count| (0..count).map(|_| load_and_unload(&session, &input).0).sum());
        });
        group.bench_function(format!("unload/{name}"), |bencher| {
            bencher.iter_custom(|count| (0..count).map(|_| load_and_unload(&session, &input).1).sum());
        });
    }
}

fn load_and_unload(session: &Session, input: &[Input<'_>]) -> (Duration, Duration) {
    let start = ThreadTime::now();
    // SAFETY: the objects have no constructors, and nothing in them is called.
    let module = unsafe { session.load(input) }.expect("a load");
    let loaded = ThreadTime::now();
    // SAFETY: as above.
    unsafe { session.unload(module) }.expect("an unload");
    (loaded - start, ThreadTime::now() - loaded)
}

criterion_group! {
    name = benches;
    config = Criterion::default().with_measurement(ThreadTime);
    targets = sqlites, functions
}
criterion_main!(benches);
