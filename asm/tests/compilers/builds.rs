//! Compilers and their flags.

/// A compiler with flags.
#[derive(Debug)]
pub(crate) struct Build {
    pub(crate) compiler: &'static str,
    pub(crate) flags: &'static [&'static str],
    /// Whether the small sources are compiled so even when not everything is asked for.
    pub(crate) always: bool,
}

const fn often(compiler: &'static str, flags: &'static [&'static str]) -> Build {
    let always = true;
    Build {
        compiler,
        flags,
        always,
    }
}

const fn build(compiler: &'static str, flags: &'static [&'static str]) -> Build {
    let always = false;
    Build {
        compiler,
        flags,
        always,
    }
}

/// For C.
pub(crate) static C: &[Build] = &[
    often("gcc", &["-O0"]),
    build("gcc", &["-O1"]),
    often("gcc", &["-O2"]),
    often("gcc", &["-O3"]),
    often("gcc", &["-Os"]),
    build("gcc", &["-O0", "-g"]),
    often("gcc", &["-O2", "-g"]),
    often("gcc", &["-O2", "-gdwarf-4"]),
    build("gcc", &["-O3", "-g3", "-gdwarf-5"]),
    build("gcc", &["-O2", "-gsplit-dwarf"]),
    often("gcc", &["-O2", "-fPIC"]),
    often("gcc", &["-O2", "-fno-pic"]),
    often("gcc", &["-O2", "-fPIC", "-mtls-dialect=gnu2"]),
    often("gcc", &["-O2", "-mcmodel=large"]),
    often("gcc", &["-O2", "-mcmodel=large", "-fPIC"]),
    often("gcc", &["-O2", "-mcmodel=medium"]),
    build("gcc", &["-O2", "-mcmodel=medium", "-fPIC"]),
    often("gcc", &["-O3", "-march=x86-64-v3"]),
    often("gcc", &["-O3", "-march=x86-64-v4"]),
    build("gcc", &["-O3", "-march=x86-64-v4", "-mprefer-vector-width=512"]),
    build("gcc", &["-O3", "-march=sapphirerapids", "-ffast-math"]),
    often("gcc", &["-O2", "-fcf-protection=full", "-mmanual-endbr"]),
    build("gcc", &["-O2", "-fcf-protection=full"]),
    often("gcc", &["-O2", "-ffunction-sections", "-fdata-sections"]),
    often("gcc", &["-O2", "-fsanitize=address,undefined"]),
    build("gcc", &["-O1", "-fsanitize=thread"]),
    often("gcc", &["-O2", "-fpatchable-function-entry=8,2"]),
    build("gcc", &["-O2", "-pg", "-mfentry"]),
    build("gcc", &["-O2", "--coverage"]),
    build(
        "gcc",
        &[
            "-O2",
            "-mindirect-branch=thunk",
            "-mfunction-return=thunk",
            "-fcf-protection=none",
        ],
    ),
    build("gcc", &["-O2", "-fno-plt", "-fPIC"]),
    build("gcc", &["-O2", "-mno-sse4", "-mfpmath=387"]),
    build("gcc", &["-O2", "-fverbose-asm"]),
    often("gcc", &["-O0", "-masm=intel"]),
    often("gcc", &["-O2", "-masm=intel"]),
    often("gcc", &["-O2", "-masm=intel", "-g"]),
    often("gcc", &["-O3", "-masm=intel", "-march=x86-64-v4"]),
    build("gcc", &["-O2", "-masm=intel", "-mcmodel=large", "-fPIC"]),
    build("gcc", &["-Os", "-masm=intel", "-fPIC", "-mtls-dialect=gnu2"]),
    often("clang-19", &["-O0"]),
    often("clang-19", &["-O2"]),
    build("clang-19", &["-O3"]),
    build("clang-19", &["-Os"]),
    often("clang-19", &["-O2", "-fPIC"]),
    build("clang-19", &["-O2", "-fPIC", "-mtls-dialect=gnu2"]),
    build("clang-19", &["-O2", "-mcmodel=large"]),
    build("clang-19", &["-O2", "-mcmodel=medium", "-fPIC"]),
    build("clang-19", &["-O3", "-march=x86-64-v3"]),
    often("clang-19", &["-O3", "-march=x86-64-v4"]),
    often("clang-19", &["-O2", "-g"]),
    often("clang-19", &["-O2", "-gdwarf-4"]),
    build("clang-19", &["-O2", "-gsplit-dwarf"]),
    build("clang-19", &["-O2", "-fcf-protection=full"]),
    // Comments that tell its 82,000 constants without a name apart take clang an hour for SQLite.
    build("clang-19", &["-O1", "-fsanitize=address,undefined", "-fno-verbose-asm"]),
    build("clang-19", &["-O2", "-ffunction-sections", "-fdata-sections"]),
    build("clang-19", &["-O2", "-fprofile-instr-generate", "-fcoverage-mapping"]),
    often("clang-19", &["-O2", "-masm=intel"]),
    build("clang-19", &["-O3", "-masm=intel", "-march=x86-64-v4"]),
    build("clang-19", &["-O1", "-fsanitize=thread"]),
    often("clang-19", &["-O2", "-mapxf"]),
    build("clang-19", &["-O2", "-mapxf", "-g"]),
    build("clang-19", &["-O2", "-mapxf", "-mcmodel=large", "-fPIC"]),
    build("clang-19", &["-O3", "-mapxf", "-march=x86-64-v4"]),
    build("clang-19", &["-O2", "-mapxf", "-masm=intel"]),
    build("clang-19", &["-O3", "-mavx10.1-512", "-ffast-math"]),
];

/// For C++.
pub(crate) static CXX: &[Build] = &[
    often("g++", &["-O0"]),
    often("g++", &["-O2"]),
    often("g++", &["-O2", "-g"]),
    build("g++", &["-O2", "-gdwarf-4"]),
    build("g++", &["-O3", "-march=x86-64-v4"]),
    build("g++", &["-O2", "-fPIC", "-mtls-dialect=gnu2"]),
    build("g++", &["-O2", "-mcmodel=large"]),
    build("g++", &["-O2", "-fsanitize=address,undefined"]),
    build("g++", &["-O2", "-fcf-protection=full", "-ffunction-sections"]),
    often("g++", &["-O2", "-masm=intel"]),
    build("g++", &["-O3", "-masm=intel", "-g", "-march=x86-64-v3"]),
    often("clang++-19", &["-O0"]),
    build("clang++-19", &["-O2"]),
    often("clang++-19", &["-O2", "-g"]),
    build("clang++-19", &["-O2", "-gdwarf-4"]),
    build("clang++-19", &["-O3", "-march=x86-64-v4"]),
    build("clang++-19", &["-O2", "-fPIC", "-fsanitize=address"]),
    build("clang++-19", &["-O2", "-masm=intel"]),
    build("clang++-19", &["-O2", "-fPIC", "-mtls-dialect=gnu2"]),
    often("clang++-19", &["-O2", "-mapxf", "-g"]),
];

/// For Rust.
pub(crate) static RUST: &[Build] = &[
    often("rustc", &["-Copt-level=0"]),
    often("rustc", &["-Copt-level=2"]),
    build("rustc", &["-Copt-level=3", "-Ctarget-cpu=x86-64-v3"]),
    build("rustc", &["-Copt-level=3", "-Ctarget-cpu=x86-64-v4"]),
    often("rustc", &["-Copt-level=2", "-Cdebuginfo=2"]),
    build("rustc", &["-Copt-level=1", "-Cdebuginfo=2", "-Cdwarf-version=5"]),
    build("rustc", &["-Copt-level=s", "-Crelocation-model=static"]),
    build("rustc", &["-Copt-level=2", "-Cllvm-args=-x86-asm-syntax=intel"]),
    // APX and AVX10.2.
    often("rustc", &["-Copt-level=3", "-Ctarget-cpu=diamondrapids"]),
    build(
        "rustc",
        &["-Copt-level=3", "-Ctarget-cpu=diamondrapids", "-Cdebuginfo=2"],
    ),
    build(
        "rustc",
        &[
            "-Copt-level=3",
            "-Ctarget-cpu=diamondrapids",
            "-Cllvm-args=-x86-asm-syntax=intel",
        ],
    ),
];

/// For sources in assembly, which the C preprocessor reads first.
pub(crate) static ASSEMBLY: &[Build] = &[often("gcc", &["-E"])];
