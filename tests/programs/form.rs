//! The ways in which a program is compiled.

/// A compiler with flags.
pub(crate) struct Form {
    /// Part of the test's name.
    pub(crate) name: &'static str,
    pub(crate) compiler: &'static str,
    /// For every compilation, next to `-O2`.
    pub(crate) flags: &'static [&'static str],
    /// For the link by the compiler's driver.
    pub(crate) link: &'static [&'static str],
}

const fn form(name: &'static str, compiler: &'static str, flags: &'static [&'static str]) -> Form {
    let link = &[];
    Form {
        name,
        compiler,
        flags,
        link,
    }
}

const GCC: Form = form("gcc", "gcc", &[]);
const GCC_PIC: Form = form("gcc-pic", "gcc", &["-fPIC"]);
const GCC_NO_PIC: Form = Form {
    link: &["-no-pie"],
    ..form("gcc-no-pic", "gcc", &["-fno-pic"])
};
const GCC_LARGE: Form = form("gcc-large", "gcc", &["-mcmodel=large"]);
const CLANG: Form = form("clang", "clang-19", &[]);
const CLANG_SECTIONS: Form = form(
    "clang-sections",
    "clang-19",
    &["-ffunction-sections", "-fdata-sections", "-g"],
);

/// Of programs in C.
pub(crate) static C: &[Form] = &[GCC, GCC_PIC, GCC_NO_PIC, GCC_LARGE, CLANG, CLANG_SECTIONS];

/// Of SQLite.
pub(crate) static SQLITE: &[Form] = &[
    GCC,
    GCC_PIC,
    form("gcc-sections", "gcc", &["-fPIC", "-ffunction-sections"]),
    form("gcc-sections-debug", "gcc", &["-fPIC", "-ffunction-sections", "-g"]),
    CLANG,
];

/// Of programs in C++.
pub(crate) static CXX: &[Form] = &[form("g++", "g++", &[]), form("g++-pic", "g++", &["-fPIC"])];
