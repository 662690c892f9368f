//! The peers that are written in Rust: each loads a file, finds a function in it, and unloads it.
use std::error::Error;
use std::ffi::{CStr, CString};
use std::io::{BufRead, Write};
use std::path::Path;
use std::time::Duration;

use elf_loader::image::{ModuleHandle, SyntheticModule, SyntheticSymbol};
use elf_loader::{AddressSpaceId, Domain, Loader, Relocator};
use object::{Object as _, ObjectSymbol as _};
use restub::loader::Input;
use restub::{Protection, Session};

use crate::sections::Sections;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// What a loader is given.
pub(crate) enum File {
    Object,
    /// The object as compiled without `R_X86_64_(REX_)GOTPCRELX`, which elf_loader 0.18 does not know.
    Unrelaxed,
    Library,
}

/// All of them, the copy with which the others are compared first.
pub(crate) const LOADERS: &[(&str, File)] = &[
    ("copy", File::Object),
    ("restub Fast", File::Object),
    ("restub Strict", File::Object),
    ("restub Fast, cold", File::Object),
    ("restub Strict, cold", File::Object),
    ("dlopen", File::Library),
    ("elf_loader", File::Unrelaxed),
];

/// Prints its name; for each number on standard input, loads and unloads as often and prints what each took.
pub(crate) fn serve(loader: &str, file: &Path, symbol: &str) -> Result<()> {
    println!("{loader}");
    let bytes = std::fs::read(file)?;
    match loader {
        "copy" => {
            let sections = Sections::of(&bytes)?;
            turns(|| {
                let start = cpu_time();
                sections.copy();
                Ok((cpu_time() - start, Duration::ZERO))
            })
        }
        "restub Fast" => warm(Protection::Fast, &bytes, symbol),
        "restub Strict" => warm(Protection::Strict, &bytes, symbol),
        "restub Fast, cold" => cold(Protection::Fast, &bytes, symbol),
        "restub Strict, cold" => cold(Protection::Strict, &bytes, symbol),
        "dlopen" => dlopen(file, symbol),
        "elf_loader" => elf_loader(&bytes, symbol),
        _ => Err(format!("no loader is called {loader}").into()),
    }
}

fn turns(mut turn: impl FnMut() -> Result<(Duration, Duration)>) -> Result<()> {
    for line in std::io::stdin().lock().lines() {
        let mut times = Vec::new();
        for _ in 0..line?.parse()? {
            times.push(turn()?);
        }
        let mut out = std::io::stdout().lock();
        for (load, unload) in times {
            writeln!(out, "{} {}", load.as_nanos(), unload.as_nanos())?;
        }
        out.flush()?;
    }
    Ok(())
}

/// One session for all turns.
fn warm(protection: Protection, bytes: &[u8], symbol: &str) -> Result<()> {
    let session = Session::builder().protection(protection).build();
    turns(|| load_in(&session, bytes, symbol))
}

/// A session for each turn, which has to reserve its memory and touch every page for the first time.
fn cold(protection: Protection, bytes: &[u8], symbol: &str) -> Result<()> {
    turns(|| {
        let start = cpu_time();
        let session = Session::builder().protection(protection).build();
        let input = [Input::from_bytes("object.o", bytes)];
        // SAFETY: the objects have no constructors, and nothing in them is called.
        unsafe { session.load(&input) }?;
        session.symbol(symbol).ok_or("no symbol")?;
        let loaded = cpu_time();
        drop(session);
        Ok((loaded - start, cpu_time() - loaded))
    })
}

fn load_in(session: &Session, bytes: &[u8], symbol: &str) -> Result<(Duration, Duration)> {
    let start = cpu_time();
    let input = [Input::from_bytes("object.o", bytes)];
    // SAFETY: the objects have no constructors, and nothing in them is called.
    let module = unsafe { session.load(&input) }?;
    session.symbol(symbol).ok_or("no symbol")?;
    let loaded = cpu_time();
    // SAFETY: as above.
    unsafe { session.unload(module) }?;
    Ok((loaded - start, cpu_time() - loaded))
}

fn dlopen(file: &Path, symbol: &str) -> Result<()> {
    let path = CString::new(file.as_os_str().as_encoded_bytes())?;
    let symbol = CString::new(symbol)?;
    turns(|| {
        let start = cpu_time();
        // SAFETY: the library has no constructors.
        let library = unsafe { libc::dlopen(path.as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL) };
        // SAFETY: the library is open, if it is.
        if library.is_null() || unsafe { libc::dlsym(library, symbol.as_ptr()) }.is_null() {
            return Err("dlopen failed".into());
        }
        let loaded = cpu_time();
        // SAFETY: opened above, and nothing of it is in use.
        unsafe { libc::dlclose(library) };
        Ok((loaded - start, cpu_time() - loaded))
    })
}

fn elf_loader(bytes: &[u8], symbol: &str) -> Result<()> {
    let loader = Loader::new();
    let domain = Domain::native(AddressSpaceId::PROCESS);
    let host = ModuleHandle::from(SyntheticModule::new(&domain, "host", host_symbols(bytes)?));
    turns(|| {
        let start = cpu_time();
        let raw = loader.run(domain.clone()).load_object(bytes)?;
        let loaded = Relocator::new().run(raw).with_modules([host.clone()])?.relocate()?;
        // SAFETY: the function is not called.
        let found = unsafe { loaded.get::<extern "C" fn()>(symbol) }?.is_some();
        let linked = cpu_time();
        drop(loaded);
        let unloaded = cpu_time();
        if found {
            Ok((linked - start, unloaded - linked))
        } else {
            Err("no symbol".into())
        }
    })
}

/// The functions and variables of this process that an object refers to, and a place for the global offset table, which
/// objects name and which nothing in this code model uses.
fn host_symbols(bytes: &[u8]) -> Result<Vec<SyntheticSymbol>> {
    let file = object::File::parse(bytes)?;
    static TABLE: u64 = 0;
    let mut symbols = vec![SyntheticSymbol::function(
        c"_GLOBAL_OFFSET_TABLE_",
        (&raw const TABLE).cast(),
    )];
    for symbol in file.symbols().filter(|symbol| symbol.is_undefined()) {
        let name = CString::new(symbol.name_bytes()?)?;
        let name: &'static CStr = Box::leak(name.into_boxed_c_str());
        // SAFETY: the name ends with a zero.
        let address = unsafe { libc::dlsym(libc::RTLD_DEFAULT, name.as_ptr()) };
        if !address.is_null() {
            symbols.push(SyntheticSymbol::function(name, address.cast_const().cast()));
        }
    }
    Ok(symbols)
}

/// Of this thread.
fn cpu_time() -> Duration {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `now` has room for the answer.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut now) };
    Duration::new(now.tv_sec as u64, now.tv_nsec as u32)
}
