//! The compilers and tools of the matrix, and where they come from.
use std::path::{Path, PathBuf};

/// A program that a case needs.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Tool {
    /// Its command.
    pub(crate) command: &'static str,
    /// What to install to get it: a Debian package, or rustup.
    pub(crate) package: &'static str,
}

macro_rules! tools {
    ($($name:ident = $command:literal from $package:literal;)*) => {
        $(pub(crate) static $name: Tool = Tool { command: $command, package: $package };)*
        /// Every tool that a case may need.
        pub(crate) static ALL: &[&Tool] = &[$(&$name),*];
    };
}

tools! {
    GCC = "gcc" from "gcc";
    GXX = "g++" from "g++";
    CLANG = "clang-19" from "clang-19";
    CLANGXX = "clang++-19" from "clang-19";
    LLD = "ld.lld-19" from "lld-19";
    AR = "ar" from "binutils";
    GFORTRAN = "gfortran" from "gfortran";
    GNAT = "gnat" from "gnat";
    NASM = "nasm" from "nasm";
    YASM = "yasm" from "yasm";
    TCC = "tcc" from "tcc";
    GDC = "gdc" from "gdc";
    LDC = "ldc2" from "ldc";
    GCCGO = "gccgo" from "gccgo";
    FPC = "fpc" from "fp-compiler";
    OCAMLOPT = "ocamlopt" from "ocaml";
    RUSTC = "rustc" from "rustup";
}

impl Tool {
    /// Where `PATH` has the command.
    pub(crate) fn path(&self) -> Option<PathBuf> {
        let path = std::env::var_os("PATH")?;
        std::env::split_paths(&path)
            .map(|directory| directory.join(self.command))
            .find(|file| Path::is_file(file))
    }
}
