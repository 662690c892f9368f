//! What is compiled: files of this package, and programs that crates carry.

use std::fs;
use std::path::{Path, PathBuf};

use crate::builds::{self, Build};
use crate::crates::Crates;

/// A program, or a part of one.
struct Program {
    /// The crate with the sources; empty for this package.
    package: &'static str,
    builds: &'static [Build],
    flags: &'static [&'static str],
    /// Folders below the crate, also searched for headers, and what to compile there: `*.c` for all.
    files: &'static [(&'static str, &'static str)],
    always: Always,
}

/// What of a program is compiled when not everything is asked for.
enum Always {
    Nothing,
    /// Every file, in the common builds.
    Common,
    /// These files, in one build that has these flags.
    One(&'static [&'static str], &'static [&'static str]),
}

const NONE: &[&str] = &[];

static PROGRAMS: &[Program] = &[
    Program {
        package: "",
        builds: builds::C,
        flags: NONE,
        files: &[("tests/sources", "*.c")],
        always: Always::Common,
    },
    Program {
        package: "",
        builds: builds::CXX,
        flags: &["-std=c++20"],
        files: &[("tests/sources", "*.cc")],
        always: Always::Common,
    },
    Program {
        package: "",
        builds: builds::ASSEMBLY,
        flags: NONE,
        files: &[("tests/sources", "*.s")],
        always: Always::Common,
    },
    Program {
        package: "libsqlite3-sys",
        builds: builds::C,
        flags: &[
            "-DSQLITE_ENABLE_FTS5",
            "-DSQLITE_ENABLE_RTREE",
            "-DSQLITE_ENABLE_MATH_FUNCTIONS",
        ],
        files: &[("sqlite3", "sqlite3.c")],
        always: Always::Nothing,
    },
    Program {
        package: "lua-src",
        builds: builds::C,
        flags: &["-DLUA_USE_LINUX"],
        files: &[("lua-5.4.9", "*.c")],
        always: Always::One(&["-O2"], &["lvm.c", "lstrlib.c"]),
    },
    Program {
        package: "zstd-sys",
        builds: builds::C,
        flags: &["-DZSTD_MULTITHREAD", "-DXXH_NAMESPACE=ZSTD_"],
        files: &[
            ("zstd/lib", ""),
            ("zstd/lib/common", "*.c"),
            ("zstd/lib/compress", "*.c"),
            ("zstd/lib/decompress", "*.c"),
        ],
        always: Always::One(&["-O2", "-g"], &["zstd_double_fast.c", "huf_decompress.c"]),
    },
    Program {
        package: "rquickjs-sys",
        builds: builds::C,
        flags: &["-D_GNU_SOURCE", "-DNDEBUG"],
        files: &[
            ("quickjs", "quickjs.c"),
            ("quickjs", "libregexp.c"),
            ("quickjs", "libunicode.c"),
            ("quickjs", "dtoa.c"),
        ],
        always: Always::One(&["-O2", "-masm=intel"], &["libregexp.c", "dtoa.c"]),
    },
    Program {
        package: "harfbuzz-sys",
        builds: builds::CXX,
        flags: &["-std=c++17", "-DHAVE_PTHREAD"],
        files: &[("harfbuzz/src", "harfbuzz.cc")],
        always: Always::Nothing,
    },
    Program {
        package: "",
        builds: builds::RUST,
        flags: &["--edition=2024", "--crate-type=bin"],
        files: &[("../tests/programs/drivers", "program.rs")],
        always: Always::Common,
    },
    Program {
        package: "memchr",
        builds: builds::RUST,
        flags: &[
            "--edition=2021",
            "--crate-type=lib",
            "--cfg=feature=\"std\"",
            "--cfg=feature=\"alloc\"",
        ],
        files: &[("src", "lib.rs")],
        always: Always::One(&["-Copt-level=2"], &["lib.rs"]),
    },
    Program {
        package: "regex-syntax",
        builds: builds::RUST,
        flags: &[
            "--edition=2021",
            "--crate-type=lib",
            "--cfg=feature=\"std\"",
            "--cfg=feature=\"unicode\"",
        ],
        files: &[("src", "lib.rs")],
        always: Always::Nothing,
    },
    Program {
        package: "regex-automata",
        builds: builds::RUST,
        flags: &[
            "--edition=2021",
            "--crate-type=lib",
            "--cfg=feature=\"std\"",
            "--cfg=feature=\"alloc\"",
            "--cfg=feature=\"dfa-build\"",
            "--cfg=feature=\"dfa-search\"",
            "--cfg=feature=\"dfa-onepass\"",
            "--cfg=feature=\"nfa-thompson\"",
            "--cfg=feature=\"nfa-pikevm\"",
            "--cfg=feature=\"nfa-backtrack\"",
            "--cfg=feature=\"hybrid\"",
        ],
        files: &[("src", "lib.rs")],
        always: Always::Nothing,
    },
    Program {
        package: "zstd-sys",
        builds: builds::ASSEMBLY,
        flags: NONE,
        files: &[("zstd/lib/decompress", "*.S")],
        always: Always::Common,
    },
];

/// One source with the flags that it needs.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) name: String,
    pub(crate) path: PathBuf,
    pub(crate) flags: Vec<String>,
    pub(crate) build: &'static Build,
}

/// Every source in each of its builds; without `full`, those that are quick to compile.
pub(crate) fn all(crates: &Crates, full: bool) -> Result<Vec<Source>, String> {
    let mut sources = Vec::new();
    for program in PROGRAMS {
        let folder = match program.package {
            "" => Path::new(env!("CARGO_MANIFEST_DIR")),
            package => crates.folder(package)?,
        };
        let mut flags: Vec<String> = program.flags.iter().map(|flag| (*flag).to_owned()).collect();
        if program.builds.iter().all(|build| build.compiler != "rustc") {
            let below = program.files.iter().map(|(below, _)| folder.join(below));
            flags.extend(below.map(|folder| format!("-I{}", folder.display())));
        }
        for (below, pattern) in program.files {
            for path in matching(&folder.join(below), pattern)? {
                let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
                for build in program
                    .builds
                    .iter()
                    .filter(|build| full || program.always(&file, build))
                {
                    let name = if program.package.is_empty() {
                        file.clone()
                    } else {
                        format!("{}/{file}", program.package)
                    };
                    let (path, flags) = (path.clone(), flags.clone());
                    sources.push(Source {
                        name,
                        path,
                        flags,
                        build,
                    });
                }
            }
        }
    }
    Ok(sources)
}

impl Program {
    fn always(&self, file: &str, build: &Build) -> bool {
        match self.always {
            Always::Nothing => false,
            Always::Common => build.always,
            Always::One(flags, files) => build.flags == flags && files.contains(&file),
        }
    }
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
        .filter(|name| name.ends_with(extension))
        .collect();
    names.sort();
    Ok(names.iter().map(|name| folder.join(name)).collect())
}
