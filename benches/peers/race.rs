//! One thread calls a function without pause while another replaces it and frees what was replaced.
use std::ffi::{CString, c_char};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use restub::loader::Input;
use restub::{Linkage, Protection, Replace, Session};

use crate::compile::Cache;
use crate::{Orc, Result};

/// The functions' names. ORC has two objects at a time, so it cannot have one name.
const NAMES: [&str; 2] = ["f0", "f1"];

/// Both of them, each for so many seconds or until it fails.
pub(crate) fn run(seconds: f64) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let files = NAMES.map(|name| compile(folder.path(), name));
    let [a, b] = files;
    let (a, b) = (a?, b?);
    println!("one thread calls, another replaces and removes, for {seconds} s");
    let mut orc = Command::new(std::env::current_exe()?);
    orc.args(["orc-race", &seconds.to_string()]).args([&a, &b]);
    let output = orc.output()?;
    let said = String::from_utf8_lossy(&output.stdout);
    println!(
        "LLVM ORC: {}",
        if said.is_empty() {
            output.status.to_string()
        } else {
            said.trim().to_owned()
        }
    );
    for protection in [Protection::Fast, Protection::Strict] {
        restub(protection, &fs::read(&a)?, Duration::from_secs_f64(seconds))?;
    }
    Ok(())
}

/// An object with a function that takes a few microseconds, as functions do.
fn compile(folder: &Path, name: &str) -> Result<PathBuf> {
    let source = folder.join(name).with_extension("c");
    let text = format!("int {name}(int x) {{ for (volatile int i = 0; i < 2000; i++) {{}} return x + 1; }}\n");
    fs::write(&source, text)?;
    let flags = ["-O2".to_owned(), "-fPIC".to_owned()];
    Ok(Cache::new(folder.join("objects")).object("gcc", &flags, &source)?)
}

/// ORC's, in a process of its own.
pub(crate) fn run_orc(orc: &Orc, arguments: &[&str]) -> Result<()> {
    let [seconds, a, b] = arguments else {
        return Err("seconds and two files".into());
    };
    let files = [Path::new(a), Path::new(b)].map(|file| CString::new(file.as_os_str().as_encoded_bytes()));
    let [a, b] = files;
    let (a, b) = (a?, b?);
    let files: [*const c_char; 2] = [a.as_ptr(), b.as_ptr()];
    let names: [*const c_char; 2] = [c"f0".as_ptr(), c"f1".as_ptr()];
    // SAFETY: two of each; that it may fault is what is looked at.
    unsafe { (orc.race)(files.as_ptr(), names.as_ptr(), seconds.parse()?) };
    Ok(())
}

fn restub(protection: Protection, object: &[u8], time: Duration) -> Result<()> {
    let session = Session::builder()
        .linkage(Linkage::Stubs)
        .protection(protection)
        .build();
    let (stop, called) = (AtomicBool::new(false), AtomicU64::new(0));
    let load = || [Input::from_bytes("f.o", object)];
    // SAFETY: the object has no constructors, and its function is called under a pin.
    unsafe { session.load(&load()) }?;
    let mut replacements = 0u64;
    thread::scope(|scope| -> Result<()> {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                let pin = session.pin();
                // SAFETY: the function has this type.
                let function = unsafe { pin.function::<extern "C" fn(i32) -> i32>(NAMES[0]) };
                let function = function.expect("it is always defined");
                for _ in 0..64 {
                    assert_eq!(function(41), 42);
                }
                called.fetch_add(64, Ordering::Relaxed);
            }
        });
        let end = Instant::now() + time;
        while Instant::now() < end {
            // SAFETY: as above.
            unsafe { session.replace(&load(), &Replace::new()) }?;
            session.collect()?;
            replacements += 1;
        }
        stop.store(true, Ordering::Relaxed);
        Ok(())
    })?;
    session.collect()?;
    let calls = called.into_inner();
    let left = session.stats().modules;
    println!(
        "restub {protection:?}: no failure after {replacements} replacements and {calls} calls; {left} module left"
    );
    Ok(())
}
