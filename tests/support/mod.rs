//! What the end-to-end tests share: compiling sources, and looking at this process's mappings.

use std::path::PathBuf;
use std::process::Command;

use restub::loader::Input;

/// Compiles a source with the system's compiler. The name, which has to be unique in its test, ends in `.c`, `.cc` or
/// `.s`.
pub(crate) fn compile(name: &str, source: &str, flags: &[&str]) -> Input<'static> {
    Input::from_bytes(format!("{name}.o"), object(name, source, flags))
}

/// As [`compile`], for the bytes of the object.
pub(crate) fn object(name: &str, source: &str, flags: &[&str]) -> Vec<u8> {
    let test = std::thread::current().name().unwrap_or("unnamed").replace("::", "-");
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("objects").join(test);
    std::fs::create_dir_all(&folder).expect("a folder for objects");
    let (source_path, object_path) = (folder.join(name), folder.join(format!("{name}.o")));
    std::fs::write(&source_path, source).expect("the source can be written");
    let compiler = if name.ends_with(".cc") { "g++" } else { "gcc" };
    let mut command = Command::new(compiler);
    command
        .args(flags)
        .arg("-c")
        .arg(&source_path)
        .arg("-o")
        .arg(&object_path);
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("{compiler} is needed for this test: {error}"));
    assert!(
        output.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    std::fs::read(&object_path).expect("the object can be read")
}

/// The lines of `/proc/self/maps`.
#[allow(dead_code, reason = "not every test that shares this module looks at mappings")]
pub(crate) fn mappings() -> Vec<String> {
    let maps = std::fs::read_to_string("/proc/self/maps").expect("procfs");
    maps.lines().map(str::to_owned).collect()
}

/// Memory of this process that is in use, in KiB.
#[allow(dead_code, reason = "not every test that shares this module looks at memory")]
pub(crate) fn resident_kib() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("procfs");
    statm
        .split(' ')
        .nth(1)
        .and_then(|pages| pages.parse::<usize>().ok())
        .expect("statm")
        * 4
}
