//! Patching and reverting over and over, while many threads call the function: every result is checked.
//!
//! `RESTUB_CYCLES` says how often; `--nocapture` shows how long the threads stood.

#![allow(missing_docs, reason = "tests have names")]

mod support;

use restub_process::{Options, Which, patch, revert, status};
use support::{Folder, Program, median, setting};

const PROGRAM: &str = include_str!("sources/threads.c");
const PATCH: &str = "
    extern int generation;
    static long hidden = 7;
    static __attribute__((noinline)) long mix(long x) {
        for (int i = 0; i < 200; i++)
            x = x * 6364136223846793005L + 1442695040888963407L;
        return x;
    }
    __attribute__((noinline)) long work(long x, long *seen) {
        *seen = mix(x);
        hidden += x & 1;
        return x * 4 + generation + ADDED;
    }
";

/// Patches and reverts, and after each asks for a result of the version that has to run then.
fn cycles(compiler: &str, kind: &[&str], threads: usize, calling: usize, count: usize) {
    let folder = Folder::new();
    let flags = [&["-O2", "-pthread"], kind].concat();
    let program = folder.compile(compiler, "threads.c", PROGRAM, "program", &flags);
    let code = kind
        .iter()
        .copied()
        .filter(|flag| flag.starts_with("-f"))
        .chain(["-O2"]);
    let one: Vec<&str> = code.clone().chain(["-DADDED=1"]).collect();
    let two: Vec<&str> = code.chain(["-DADDED=2"]).collect();
    std::fs::create_dir(folder.path("patch")).expect("a folder");
    let first = folder.object(compiler, "patch/threads.c", PATCH, &one);
    let second = folder.object(
        compiler,
        "patch/second.c",
        PATCH.replace("threads", "second").as_str(),
        &two,
    );
    let mut program = Program::start(&program, &[&threads.to_string(), &calling.to_string()]);
    let pid = program.pid();
    let options = Options::default();
    let other = Options {
        name: Some("second".into()),
        ..Options::default()
    };
    program.numbers();
    let mut stops = Vec::new();
    let mut reverts = Vec::new();
    let mut memory = None;
    for cycle in 0..count {
        let report = patch(pid, &first, &options).expect("the patch");
        assert!(cycle > 0 || report.plan.functions.iter().any(|function| function.name == "work"));
        stops.extend(report.stop);
        runs(&mut program, 2);
        // A second patch of a function that is redirected stops nobody.
        let report = patch(pid, &second, &other).expect("the second patch");
        assert_eq!((report.stop, report.plan.needs_stop), (None, false));
        runs(&mut program, 3);
        let report = revert(pid, &Which::Last, &options).expect("the second patch is reverted");
        assert_eq!(report.patches, ["second"]);
        runs(&mut program, 2);
        let report = revert(pid, &Which::All, &options).expect("the patch is reverted");
        reverts.extend(report.stop);
        runs(&mut program, 1);
        if cycle == count / 2 {
            memory = Some((program.memory_kib("VmSize"), program.mappings()));
        }
    }
    let status = status(pid).expect("the status");
    assert!(status.patches.is_empty() && status.functions.iter().all(|function| function.runs.is_none()));
    assert_eq!(
        memory,
        Some((program.memory_kib("VmSize"), program.mappings())),
        "memory grows"
    );
    let numbers = program.numbers();
    assert!(numbers[0] > 0);
    assert_eq!(numbers[1], 0, "of {} calls some are wrong", numbers[0]);
    println!(
        "{compiler} {kind:?}: {threads} threads, {count} cycles, {} calls; stopped for {:?} to patch, {:?} to revert (medians)",
        numbers[0],
        median(&mut stops),
        median(&mut reverts)
    );
    program.end();
}

/// The version that is called is the one that has to be: within the next calls no other one is.
fn runs(program: &mut Program, version: usize) {
    // Calls that had begun before the switch end in the version before.
    support::wait_until("a call", || {
        program.numbers();
        let numbers = program.numbers();
        let others = (1..4)
            .filter(|other| *other != version)
            .map(|other| numbers[1 + other])
            .sum::<u64>();
        others == 0 && numbers[1 + version] > 0
    });
}

#[test]
fn gcc_pie() {
    cycles("gcc", &["-fPIE", "-pie"], 64, 10, setting("RESTUB_CYCLES", 3));
}

#[test]
fn gcc_no_pie() {
    cycles("gcc", &["-fno-pie", "-no-pie"], 64, 10, setting("RESTUB_CYCLES", 3));
}

#[test]
fn clang_pie() {
    cycles("clang-19", &["-fPIE", "-pie"], 64, 10, setting("RESTUB_CYCLES", 3));
}

#[test]
fn clang_no_pie() {
    cycles(
        "clang-19",
        &["-fno-pie", "-no-pie"],
        64,
        10,
        setting("RESTUB_CYCLES", 3),
    );
}

#[test]
fn one_thread() {
    cycles("gcc", &["-fPIE", "-pie"], 1, 0, setting("RESTUB_CYCLES", 3));
}

#[test]
fn sixteen_threads() {
    cycles("gcc", &["-fPIE", "-pie"], 16, 10, setting("RESTUB_CYCLES", 3));
}
