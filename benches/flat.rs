//! Whether a load costs the same however many modules there are: CPU time, memory and mappings of each of many objects
//! with one function, at 100, 1,000, 10,000 and 100,000 of them.
#[path = "../tests/programs/compile.rs"]
mod compile;
#[path = "objects/function.rs"]
mod function;
#[path = "objects/thread_time.rs"]
mod thread_time;

use std::error::Error;
use std::fs;
use std::process::Command;
use std::time::Duration;

use function::Function;
use restub::loader::Input;
use restub::{ModuleId, Protection, Session};
use thread_time::ThreadTime;

const MILESTONES: [u32; 4] = [100, 1_000, 10_000, 100_000];
/// Loads and unloads that are timed one by one at each milestone.
const SAMPLES: u32 = 99;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    // `cargo test --benches` asks for a run that only shows that the bench works.
    let last = if arguments.iter().any(|argument| argument == "--bench") {
        4
    } else {
        1
    };
    match arguments.first().map(String::as_str) {
        Some("Fast") => measure("Fast", Protection::Fast, last),
        Some("Strict") => measure("Strict", Protection::Strict, last),
        _ => {
            println!(
                "{:<8}{:>8}{:>12}{:>12}{:>12}{:>14}{:>14}{:>10}",
                "", "modules", "mean us", "load us", "reload us", "unload old us", "RSS KiB each", "mappings"
            );
            for protection in ["Fast", "Strict"] {
                // A process each, so that neither finds memory that the other has left.
                let status = Command::new(std::env::current_exe()?)
                    .arg(protection)
                    .args(&arguments)
                    .status()?;
                if !status.success() {
                    return Err(format!("{protection}: {status}").into());
                }
            }
            Ok(())
        }
    }
}

fn measure(name: &str, protection: Protection, milestones: usize) -> Result<(), Box<dyn Error>> {
    let mut function = Function::compile()?;
    let session = Session::builder().protection(protection).build();
    let before = resident_bytes()?;
    let mut loaded = 0;
    for milestone in &MILESTONES[..milestones] {
        let start = ThreadTime::now();
        let from = loaded;
        while loaded + SAMPLES < *milestone {
            load(&session, &mut function, loaded)?;
            loaded += 1;
        }
        let mean = (ThreadTime::now() - start) / (loaded - from).max(1);
        let mut loads = Vec::new();
        while loaded < *milestone {
            let start = ThreadTime::now();
            load(&session, &mut function, loaded)?;
            loads.push(ThreadTime::now() - start);
            loaded += 1;
        }
        let (resident, mappings) = (resident_bytes()?.saturating_sub(before), mappings()?);
        let (reloads, unloads) = replace_oldest(&session, &mut function)?;
        println!(
            "{name:<8}{loaded:>8}{:>12.2}{:>12.2}{:>12.2}{:>14.2}{:>14.2}{mappings:>10}",
            microseconds(mean),
            microseconds(median(loads)),
            microseconds(median(reloads)),
            microseconds(median(unloads)),
            resident as f64 / 1024.0 / f64::from(loaded),
        );
    }
    Ok(())
}

/// Unloads the modules that were loaded first, and loads their objects again.
fn replace_oldest(
    session: &Session,
    function: &mut Function,
) -> Result<(Vec<Duration>, Vec<Duration>), Box<dyn Error>> {
    let (mut loads, mut unloads) = (Vec::new(), Vec::new());
    for number in 0..SAMPLES {
        let symbol = session
            .symbol(&format!("f{number:08}"))
            .ok_or("a function is not there")?;
        let start = ThreadTime::now();
        // SAFETY: nothing calls the function.
        unsafe { session.unload(symbol.module) }?;
        unloads.push(ThreadTime::now() - start);
        let start = ThreadTime::now();
        load(session, function, number)?;
        loads.push(ThreadTime::now() - start);
    }
    Ok((loads, unloads))
}

fn load(session: &Session, function: &mut Function, number: u32) -> Result<ModuleId, restub::Error> {
    let input = [Input::from_bytes("function.o", function.numbered(number))];
    // SAFETY: the object has one function, which nothing calls.
    unsafe { session.load(&input) }
}

fn resident_bytes() -> Result<u64, Box<dyn Error>> {
    let statm = fs::read_to_string("/proc/self/statm")?;
    let pages: u64 = statm.split(' ').nth(1).ok_or("statm has no second number")?.parse()?;
    Ok(pages * 4096)
}

fn mappings() -> Result<usize, Box<dyn Error>> {
    Ok(fs::read_to_string("/proc/self/maps")?.lines().count())
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

fn microseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}
