//! Encoding: a mix of 20 instructions with registers, displacements and immediates that vary, by restub's typed and
//! dynamic instructions, cranelift-assembler-x64, asmjit, dynasm-rs, and iced-x86's `Encoder` and `CodeAssembler`; and
//! a mix with labels.
//!
//! Encoders are seen to write the same bytes before they are timed, except dynasm-rs, which writes more of them, and
//! asmjit's forward jumps, which stay long. One element is one instruction; times are of the thread's processor.

#[path = "encode/asmjit.rs"]
mod asmjit;
#[path = "encode/cranelift.rs"]
mod cranelift;
#[path = "encode/dynasm.rs"]
mod dynasm;
#[path = "encode/iced.rs"]
mod iced;
#[path = "encode/ours.rs"]
mod ours;
#[path = "encode/time.rs"]
mod time;

use std::hint::black_box;

use asmjit::Asmjit;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use time::CpuTime;

/// Instructions in the mix.
const MIX: usize = 20;
/// How often it is repeated.
const ROUNDS: usize = 500;

/// What varies in one round of the mix.
#[derive(Clone, Copy)]
struct Round {
    /// General registers, none of them `rsp`.
    r: [u8; 4],
    /// Vector registers.
    x: [u8; 3],
    small: i8,
    large: i32,
}

fn rounds() -> Vec<Round> {
    // `add eax` and its like have forms of their own, which not all encoders choose; for 5 to 7, cranelift writes a REX
    // prefix that `movzx` does not need.
    const GENERAL: [u8; 11] = [1, 2, 3, 8, 9, 10, 11, 12, 13, 14, 15];
    let pick = |n: usize| GENERAL[n % GENERAL.len()];
    (0..ROUNDS)
        .map(|i| Round {
            r: [pick(i), pick(i * 3 + 1), pick(i * 5 + 2), pick(i * 7 + 3)],
            x: [(i % 16) as u8, (i * 3 % 16) as u8, (i * 5 % 16) as u8],
            small: 1 + (i % 100) as i8,
            large: 0x1000 + i as i32 * 77,
        })
        .collect()
}

fn mix(c: &mut Criterion<CpuTime>) {
    let rounds = rounds();
    let expected = ours::typed(&rounds);
    for (name, bytes) in [
        ("builder, typed", ours::builder_typed(&rounds)),
        ("builder, dynamic", ours::builder_dynamic(&rounds)),
        ("encode", ours::encode(&rounds)),
        ("cranelift", cranelift::encode(&rounds)),
        ("iced Encoder", iced::encoder(&rounds)),
        ("iced CodeAssembler", iced::code_assembler(&rounds)),
    ] {
        assert!(bytes == expected, "{name}: {}", first_difference(&bytes, &expected));
    }
    let mut memory = vec![0; ROUNDS * MIX * 16];
    let asmjit = asmjit(&rounds);
    if let Some(asmjit) = &asmjit {
        let bytes = asmjit.bytes();
        assert!(bytes == expected, "asmjit: {}", first_difference(&bytes, &expected));
    }
    let mut group = c.benchmark_group("mix");
    group.throughput(Throughput::Elements((MIX * ROUNDS) as u64));
    group.bench_function("restub typed, into a buffer", |b| {
        b.iter(|| ours::typed_into(black_box(&rounds), &mut memory));
    });
    group.bench_function("restub typed, Builder", |b| {
        b.iter(|| ours::builder_typed_length(black_box(&rounds)))
    });
    group.bench_function("restub dynamic, Builder", |b| {
        b.iter(|| ours::builder_dynamic_length(black_box(&rounds)))
    });
    group.bench_function("restub encode", |b| b.iter(|| ours::encode(black_box(&rounds))));
    group.bench_function("cranelift-assembler-x64", |b| {
        b.iter(|| cranelift::encode(black_box(&rounds)))
    });
    if let Some(asmjit) = &asmjit {
        group.bench_function("asmjit", |b| b.iter_custom(|times| asmjit.time("mix", times)));
    }
    group.bench_function("dynasm-rs", |b| b.iter(|| dynasm::mix(black_box(&rounds))));
    group.bench_function("iced Encoder", |b| b.iter(|| iced::encoder(black_box(&rounds))));
    group.bench_function("iced CodeAssembler", |b| {
        b.iter(|| iced::code_assembler(black_box(&rounds)))
    });
    group.finish();
}

fn asmjit(rounds: &[Round]) -> Option<Asmjit> {
    let started = Asmjit::start(rounds);
    started
        .inspect_err(|why| eprintln!("without asmjit (libasmjit-dev): {why}"))
        .ok()
}

fn first_difference(a: &[u8], b: &[u8]) -> String {
    let at = a
        .iter()
        .zip(b)
        .position(|(a, b)| a != b)
        .unwrap_or(a.len().min(b.len()));
    let near = |bytes: &[u8]| bytes[at.saturating_sub(8)..(at + 8).min(bytes.len())].to_vec();
    format!("at {at}: {:02x?}, not {:02x?}", near(a), near(b))
}

/// Loops with forward and backward jumps: 9 instructions a round, 3 of them jumps, all of which are short in the end.
fn labels(c: &mut Criterion<CpuTime>) {
    const INSTRUCTIONS: usize = 9;
    let rounds = rounds();
    let expected = ours::labels(&rounds);
    let iced = iced::labels(&rounds);
    assert!(iced == expected, "{}", first_difference(&iced, &expected));
    let mut group = c.benchmark_group("labels");
    group.throughput(Throughput::Elements((INSTRUCTIONS * ROUNDS) as u64));
    group.bench_function("restub", |b| b.iter(|| ours::labels(black_box(&rounds))));
    if let Some(asmjit) = asmjit(&rounds) {
        group.bench_function("asmjit", |b| b.iter_custom(|times| asmjit.time("labels", times)));
    }
    group.bench_function("dynasm-rs", |b| b.iter(|| dynasm::labels(black_box(&rounds))));
    group.bench_function("iced CodeAssembler", |b| b.iter(|| iced::labels(black_box(&rounds))));
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().with_measurement(CpuTime);
    targets = mix, labels
}
criterion_main!(benches);
