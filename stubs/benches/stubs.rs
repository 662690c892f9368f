//! What stubs cost: a call directly and through each layout, a retarget, a pin, and a call while another thread
//! retargets the same stub as fast as it can.
#![allow(missing_docs, reason = "criterion's macros make public functions")]
#![allow(clippy::unwrap_used, reason = "a benchmark that cannot be set up is of no use")]

#[path = "../tests/support/mod.rs"]
mod support;

use std::hint::black_box;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use restub_stubs::{OnUnbound, Reclaimer, ScanOptions, Slot, Stub, StubTable, scan};
use support::{Page, TwoViews, function};

/// `mov eax, 1; ret`.
const ONE: [u8; 6] = [0xb8, 1, 0, 0, 0, 0xc3];

fn bound(slot: Slot, page: &Page) -> (StubTable<TwoViews>, Stub) {
    let mut table = StubTable::new(TwoViews::new().unwrap(), slot, OnUnbound::Abort);
    let stub = table.add("one").unwrap();
    table.publish(stub, page.address()).unwrap();
    (table, stub)
}

fn call(address: u64) -> u64 {
    // SAFETY: the benchmarks keep table and page while they call.
    let callee = unsafe { function(black_box(address)) };
    // SAFETY: as above.
    unsafe { callee() }
}

fn calls(c: &mut Criterion) {
    let page = Page::with_code(&ONE).unwrap();
    let mut group = c.benchmark_group("call");
    group.bench_function("direct", |b| b.iter(|| call(page.address())));
    for slot in Slot::ALL {
        let (_table, stub) = bound(slot, &page);
        group.bench_function(BenchmarkId::new("stub", format!("{slot:?}")), |b| {
            b.iter(|| call(stub.address()))
        });
    }
    group.finish();
}

fn calls_under_retargeting(c: &mut Criterion) {
    let pages = [Page::with_code(&ONE).unwrap(), Page::with_code(&ONE).unwrap()];
    let mut group = c.benchmark_group("call_under_retargeting");
    for slot in Slot::ALL {
        let (mut table, stub) = bound(slot, &pages[0]);
        let stop = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    for page in &pages {
                        table.publish(stub, page.address()).unwrap();
                    }
                }
            });
            group.bench_function(BenchmarkId::new("stub", format!("{slot:?}")), |b| {
                b.iter(|| call(stub.address()))
            });
            stop.store(true, Ordering::Relaxed);
        });
    }
    group.finish();
}

fn retargets(c: &mut Criterion) {
    let pages = [Page::with_code(&ONE).unwrap(), Page::with_code(&ONE).unwrap()];
    let mut group = c.benchmark_group("retarget");
    for slot in [Slot::Inline, Slot::Split] {
        let (mut table, stub) = bound(slot, &pages[0]);
        let mut turn = 0;
        group.bench_function(format!("{slot:?}"), |b| {
            b.iter(|| {
                turn ^= 1;
                table.publish(stub, pages[turn].address()).unwrap()
            });
        });
        let mut fresh = StubTable::new(Discards::default(), slot, OnUnbound::Abort);
        group.bench_function(BenchmarkId::new("add", format!("{slot:?}")), |b| {
            b.iter(|| fresh.add("f").unwrap())
        });
    }
    group.finish();
}

/// Memory that is none: what is left is the table's own cost.
#[derive(Debug, Default)]
struct Discards {
    blocks: u64,
}

impl restub_stubs::StubMemory for Discards {
    fn allocate(&mut self, _: u64) -> Result<restub_stubs::Block, restub_stubs::MemoryError> {
        self.blocks += 1;
        let code = self.blocks * 8192;
        Ok(restub_stubs::Block {
            code,
            words: code + 4096,
        })
    }

    fn write(&mut self, _: u64, bytes: &[u8]) -> Result<(), restub_stubs::MemoryError> {
        black_box(bytes);
        Ok(())
    }

    fn expose(&mut self, _: restub_stubs::Block) -> Result<(), restub_stubs::MemoryError> {
        Ok(())
    }

    fn store(&mut self, words: &[restub_stubs::WordStore]) -> Result<(), restub_stubs::MemoryError> {
        black_box(words);
        Ok(())
    }

    fn free(&mut self, _: restub_stubs::Block, _: u64) {}
}

fn reclaiming(c: &mut Criterion) {
    let reclaimer = Reclaimer::new();
    let mut group = c.benchmark_group("reclaim");
    group.bench_function("pin", |b| b.iter(|| reclaimer.pin()));
    group.bench_function("pin/crossbeam alone", |b| b.iter(crossbeam_epoch::pin));
    let outer = reclaimer.pin();
    group.bench_function("pin/nested", |b| b.iter(|| reclaimer.pin()));
    drop(outer);
    group.bench_function("retire and collect", |b| {
        b.iter(|| {
            reclaimer.retire(1u64, 1);
            reclaimer.collect()
        });
    });
    group.bench_function("stats", |b| b.iter(|| reclaimer.stats()));
    let page = Page::with_code(&ONE).unwrap();
    let options = ScanOptions::default();
    group.bench_function("scan", |b| b.iter(|| scan(&[page.range()], &options).unwrap()));
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(1));
    targets = calls, calls_under_retargeting, retargets, reclaiming
}
criterion_main!(benches);
