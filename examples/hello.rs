//! Compiles a C file with the system's compiler, loads the object, calls it, and loads a changed version.

use std::error::Error;
use std::ffi::{CStr, c_char, c_int};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use restub::Session;
use restub::loader::Input;

type Greet = unsafe extern "C" fn(*const c_char) -> c_int;

fn main() -> Result<(), Box<dyn Error>> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/hello.c");
    let folder = std::env::temp_dir().join(format!("restub-hello-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let result = load_twice(&source, &folder);
    std::fs::remove_dir_all(&folder)?;
    result
}

fn load_twice(source: &Path, folder: &Path) -> Result<(), Box<dyn Error>> {
    let session = Session::new();
    let object = compile(source, folder)?;
    let start = Instant::now();
    // SAFETY: the object is compiled from our own source.
    let first = unsafe { session.load(&[Input::open(&object)?]) }?;
    println!("loaded {} in {:?}", object.display(), start.elapsed());
    call(&session, c"restub")?;
    call(&session, c"restub")?;

    let changed = folder.join("changed.c");
    std::fs::write(
        &changed,
        std::fs::read_to_string(source)?.replace("Hello", "Good morning"),
    )?;
    let object = compile(&changed, folder)?;
    // SAFETY: no thread is in the module, and its function is looked up anew below.
    unsafe { session.unload(first) }?;
    // SAFETY: as above.
    unsafe { session.load(&[Input::open(&object)?]) }?;
    call(&session, c"again")
}

fn call(session: &Session, name: &CStr) -> Result<(), Box<dyn Error>> {
    // SAFETY: `greet` has this type in the source.
    let greet = unsafe { session.function::<Greet>("greet") }?;
    // SAFETY: the argument is a C string.
    unsafe { greet(name.as_ptr()) };
    Ok(())
}

fn compile(source: &Path, folder: &Path) -> Result<PathBuf, Box<dyn Error>> {
    let object = folder.join(source.file_name().unwrap_or_default()).with_extension("o");
    let compiler = std::env::var("CC").unwrap_or_else(|_| "cc".into());
    let status = Command::new(&compiler)
        .args(["-O2", "-c", "-o"])
        .arg(&object)
        .arg(source)
        .status()?;
    if !status.success() {
        return Err(format!("{compiler} failed: {status}").into());
    }
    Ok(object)
}
