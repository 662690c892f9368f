//! The one table of what is not "the same as linked by `ld`", each with its reason.

/// What a case has to show.
#[derive(Clone, Copy, Default)]
pub(crate) enum Expectation {
    /// Output and status equal those of the program linked by `ld`, which returns what its source says.
    #[default]
    Same,
    /// `ld` cannot link it, and says so; restub runs it all the same, like the program compiled without these flags.
    BeyondLd {
        says: &'static [&'static str],
        why: &'static str,
    },
    /// restub refuses it, with a message that has all these parts.
    Refused {
        says: &'static [&'static str],
        why: &'static str,
    },
    /// restub runs it, and it cannot work: it fails, with a message that has all these parts.
    Fails {
        says: &'static [&'static str],
        why: &'static str,
    },
    /// The program dies by a signal; restub dies by the same one, and says these words about it on standard error.
    Dies { says: &'static [&'static str] },
}

struct Row {
    /// The program; `*` at the end stands for anything.
    program: &'static str,
    compiler: &'static str,
    /// All of these are among the case's flags.
    flags: &'static [&'static str],
    expectation: Expectation,
}

use Expectation::{BeyondLd, Fails, Refused};

const ROWS: &[Row] = &[
    Row {
        program: "c/ifunc",
        compiler: "*",
        flags: &["-mcmodel=large"],
        expectation: BeyondLd {
            says: &["STT_GNU_IFUNC", "isn't supported"],
            why: "GNU ld has no PLTOFF64 and GOTOFF64 against an IFUNC",
        },
    },
    Row {
        program: "c/libc_stale",
        compiler: "*",
        flags: &["-fno-pic"],
        expectation: Refused {
            says: STALE,
            why: "getopt and others write to the library's variables, not to a copy",
        },
    },
    Row {
        program: "cxx/streams",
        compiler: "*",
        flags: &["-fno-pic"],
        expectation: Refused {
            says: STALE,
            why: "a facet's std::locale::id gets its value when it is first used",
        },
    },
    Row {
        program: "cxx/regex",
        compiler: "*",
        flags: &["-fno-pic"],
        expectation: Refused {
            says: STALE,
            why: "a facet's std::locale::id gets its value when it is first used",
        },
    },
    Row {
        program: "ada/shared",
        compiler: "*",
        flags: &["-fno-pic"],
        expectation: Refused {
            says: STALE,
            why: "the elaboration counters of the run-time library are its variables",
        },
    },
    Row {
        program: "ada/static",
        compiler: "*",
        flags: &["-fno-pic"],
        expectation: Refused {
            says: STALE,
            why: "the run-time library reads _r_debug of the dynamic linker",
        },
    },
    Row {
        program: "d/shared",
        compiler: "*",
        flags: &[],
        expectation: Fails {
            says: &["Failed to find image header"],
            why: D_RUN_TIME,
        },
    },
    Row {
        program: "d/static",
        compiler: "*",
        flags: &[],
        expectation: Fails {
            says: &["Failed to find image header"],
            why: D_RUN_TIME,
        },
    },
];

/// Of a refusal to give non-PIC code a copy of a library's variable.
const STALE: &[&str] = &["a private copy would go stale", "-fPIC"];
const D_RUN_TIME: &str = "D's run-time system looks for the program's headers in the dynamic linker's list";

/// What is expected of a program compiled so.
pub(crate) fn expectation(program: &str, compiler: &str, flags: &str) -> Expectation {
    let flags: Vec<&str> = flags.split_whitespace().collect();
    let fits = |pattern: &str, name: &str| match pattern.strip_suffix('*') {
        Some(prefix) => name.starts_with(prefix),
        None => name == pattern,
    };
    ROWS.iter()
        .find(|row| {
            fits(row.program, program)
                && fits(row.compiler, compiler)
                && row.flags.iter().all(|flag| flags.contains(flag))
        })
        .map_or(Expectation::Same, |row| row.expectation)
}
