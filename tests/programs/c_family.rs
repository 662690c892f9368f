//! Programs in C and C++: libraries from crates, each with a driver that makes them work.
use std::fs;
use std::path::{Path, PathBuf};

use crate::compile::Cache;
use crate::crates::Crates;
use crate::form::{self, Form};

/// One program.
pub(crate) struct Program {
    pub(crate) name: &'static str,
    /// The crate with the library's sources.
    package: &'static str,
    /// Folders below the crate with sources, also searched for headers, and what to compile there: `*.c` for all.
    sources: &'static [(&'static str, &'static str)],
    /// The main file, in `drivers`.
    driver: &'static str,
    flags: &'static [&'static str],
    /// Arguments of the program: `{drivers}` and `{crate}` stand for folders.
    arguments: &'static [&'static str],
    /// In which ways it is compiled.
    pub(crate) forms: &'static [Form],
}

const PLAIN: Program = Program {
    name: "",
    package: "",
    sources: &[],
    driver: "",
    flags: &[],
    arguments: &[],
    forms: form::C,
};

/// All of them.
pub(crate) static PROGRAMS: &[Program] = &[
    Program {
        name: "sqlite",
        package: "libsqlite3-sys",
        sources: &[("sqlite3", "sqlite3.c")],
        driver: "sqlite.c",
        flags: &[
            "-DSQLITE_ENABLE_FTS5",
            "-DSQLITE_ENABLE_RTREE",
            "-DSQLITE_ENABLE_MATH_FUNCTIONS",
            "-DSQLITE_ENABLE_STAT4",
            "-DSQLITE_THREADSAFE=1",
        ],
        arguments: &[
            "{drivers}/sqlite.sql",
            "{drivers}/sqlite_more.sql",
            "{drivers}/sqlite.sql",
            "{drivers}/sqlite_more.sql",
        ],
        forms: form::SQLITE,
    },
    Program {
        name: "lua",
        package: "lua-src",
        sources: &[("lua-5.4.9", "*.c")],
        driver: "lua.c",
        flags: &["-DLUA_USE_LINUX"],
        arguments: &["{drivers}/program.lua", "one", "two"],
        ..PLAIN
    },
    Program {
        name: "zlib",
        package: "libz-sys",
        sources: &[("src/zlib", "*.c")],
        driver: "zlib.c",
        flags: &["-DHAVE_UNISTD_H"],
        ..PLAIN
    },
    Program {
        name: "zstd",
        package: "zstd-sys",
        sources: &[
            ("zstd/lib", ""),
            ("zstd/lib/common", "*.c"),
            ("zstd/lib/compress", "*.c"),
            ("zstd/lib/decompress", "*.c"),
            ("zstd/lib/decompress", "*.S"),
            ("zstd/lib/dictBuilder", "*.c"),
        ],
        driver: "zstd.c",
        flags: &["-DZSTD_MULTITHREAD", "-DXXH_NAMESPACE=ZSTD_"],
        ..PLAIN
    },
    Program {
        name: "harfbuzz",
        package: "harfbuzz-sys",
        sources: &[("harfbuzz/src", "harfbuzz.cc")],
        driver: "harfbuzz.cc",
        flags: &["-std=c++17", "-DHAVE_PTHREAD"],
        arguments: &["{crate}/harfbuzz/perf"],
        forms: form::CXX,
    },
];

impl Program {
    /// Its objects, the driver's first.
    pub(crate) fn objects(&self, form: &Form, cache: &Cache, crates: &Crates) -> Result<Vec<PathBuf>, String> {
        let folder = crates.folder(self.package)?;
        let mut flags = vec!["-O2".to_owned(), "-w".to_owned()];
        flags.extend(form.flags.iter().chain(self.flags).map(|flag| (*flag).to_owned()));
        flags.extend(
            self.sources
                .iter()
                .map(|(below, _)| format!("-I{}", folder.join(below).display())),
        );
        let mut sources = vec![drivers().join(self.driver)];
        for (below, pattern) in self.sources {
            sources.extend(matching(&folder.join(below), pattern)?);
        }
        let compiled = sources.iter().map(|source| cache.object(form.compiler, &flags, source));
        compiled.collect()
    }

    /// The arguments that it is run with.
    pub(crate) fn arguments(&self, crates: &Crates) -> Result<Vec<String>, String> {
        let folder = crates.folder(self.package)?.display().to_string();
        let drivers = drivers().display().to_string();
        let fill = |argument: &&str| argument.replace("{crate}", &folder).replace("{drivers}", &drivers);
        Ok(self.arguments.iter().map(fill).collect())
    }
}

/// The folder of the main files and scripts.
pub(crate) fn drivers() -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/programs/drivers");
    folder.canonicalize().unwrap_or(folder)
}

fn matching(folder: &Path, pattern: &str) -> Result<Vec<PathBuf>, String> {
    let Some(extension) = pattern.strip_prefix('*') else {
        return Ok(if pattern.is_empty() {
            Vec::new()
        } else {
            vec![folder.join(pattern)]
        });
    };
    let entries = fs::read_dir(folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    let mut names: Vec<String> = entries
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .collect();
    names.retain(|name| name.ends_with(extension));
    names.sort();
    Ok(names.iter().map(|name| folder.join(name)).collect())
}
