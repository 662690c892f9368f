//! What compilers' drivers link by default, found by need.

use std::path::{Path, PathBuf};

use restub_loader::Input;

/// Shared libraries by the prefix of the symbols that they define.
const BY_PREFIX: [(&str, &[&str]); 14] = [
    ("_gfortran_", &["libgfortran.so.5"]),
    ("GOMP_", &["libgomp.so.1"]),
    ("omp_", &["libgomp.so.1"]),
    ("GOACC_", &["libgomp.so.1"]),
    ("__kmpc_", &["libomp.so.5", "libomp.so"]),
    ("__atomic_", &["libatomic.so.1"]),
    ("__ubsan_", &["libubsan.so.1"]),
    ("_ITM_", &["libitm.so.1"]),
    ("__objc_", &["libobjc.so.4"]),
    ("objc_", &["libobjc.so.4"]),
    (
        "_D",
        &[
            "libgphobos.so.3",
            "libphobos2-ldc-shared.so.100",
            "libdruntime-ldc-shared.so.100",
        ],
    ),
    ("_d_", &["libgdruntime.so.3", "libdruntime-ldc-shared.so.100"]),
    ("go.", &["libgo.so.21"]),
    ("runtime.", &["libgo.so.21"]),
];

/// Shared libraries that define symbols without a common prefix.
const GENERAL: [&str; 4] = ["libm.so.6", "libgcc_s.so.1", "libstdc++.so.6", "libquadmath.so.0"];

/// The libraries that may define a symbol, the likeliest first.
pub(crate) fn candidates(symbol: &str) -> impl Iterator<Item = &'static str> {
    let by_prefix = BY_PREFIX
        .iter()
        .filter(|(prefix, _)| symbol.starts_with(prefix))
        .flat_map(|(_, names)| names.iter());
    // Names of the C++ ABI are many, so its library need not wait for the others.
    let cxx = symbol.starts_with("_Z") || symbol.starts_with("__cxa_") || symbol.starts_with("__gxx_");
    let first = if cxx { Some("libstdc++.so.6") } else { None };
    let ada = ["__gnat_", "system__", "ada__", "gnat__", "interfaces__"]
        .iter()
        .any(|prefix| symbol.starts_with(prefix));
    const ADA: [&str; 3] = ["libgnat-14.so", "libgnat-13.so", "libgnat-12.so"];
    let ada: &'static [&'static str] = if ada { &ADA } else { &[] };
    first.into_iter().chain(by_prefix.chain(ada).copied()).chain(GENERAL)
}

/// The archives of the compilers' runtimes, for what no shared library defines.
pub(crate) fn runtime_archives() -> Vec<Input<'static>> {
    newest_libgcc()
        .and_then(|path| Input::open(path).ok())
        .into_iter()
        .collect()
}

/// The libgcc.a of the newest gcc.
fn newest_libgcc() -> Option<PathBuf> {
    const ROOTS: [&str; 4] = [
        "/usr/lib/gcc/x86_64-linux-gnu",
        "/usr/lib/gcc/x86_64-redhat-linux",
        "/usr/lib64/gcc/x86_64-suse-linux",
        "/usr/lib/gcc/x86_64-pc-linux-gnu",
    ];
    let versions = ROOTS
        .iter()
        .filter_map(|root| Path::new(root).read_dir().ok())
        .flatten();
    let version = |path: &Path| path.file_name()?.to_str()?.split('.').next()?.parse::<u32>().ok();
    versions
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.join("libgcc.a").is_file())
        .max_by_key(|path| version(path))
        .map(|path| path.join("libgcc.a"))
}
