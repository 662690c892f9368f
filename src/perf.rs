//! Telling perf of loaded functions: `/tmp/perf-PID.map`, a line a function (perf's `jit-interface.txt`).

use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::io::Write as _;

use restub_loader::{Image, SymbolKind};

/// Appends an image's functions. What the file says of addresses that are used again, later lines say anew.
///
/// A file that cannot be written is no reason not to load.
pub(crate) fn append(image: &Image) {
    let mut lines = String::new();
    for symbol in image
        .symbols
        .iter()
        .filter(|symbol| symbol.kind == SymbolKind::Function)
    {
        let object = image.objects.get(symbol.object as usize).map_or("", String::as_str);
        let object = object.rsplit('/').next().unwrap_or(object);
        let size = symbol.size.max(1);
        // Writing to a string cannot fail.
        let _ = writeln!(lines, "{:x} {size:x} {} [{object}]", symbol.address, symbol.name);
    }
    let path = format!("/tmp/perf-{}.map", std::process::id());
    let file = OpenOptions::new().create(true).append(true).open(path);
    let _ = file.and_then(|mut file| file.write_all(lines.as_bytes()));
}
