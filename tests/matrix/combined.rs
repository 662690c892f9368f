//! Sets of flags that are not on the axes, for the programs that are most sensitive to them.
use std::path::Path;

use crate::c_family::written_out;
use crate::case::Case;

const PROGRAMS: &[&str] = &[
    "c/linkage",
    "c/tls",
    "c/unwind",
    "c/sections",
    "cxx/exceptions",
    "cxx/initialisation",
    "cxx/rtti",
    "cxx/templates",
];

/// Which compiler a set of flags is for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum For {
    Both,
    Gcc,
    Clang,
}

const FLAGS: &[(For, &str)] = &[
    (For::Both, "-O2 -fPIC -mcmodel=large"),
    (For::Both, "-O2 -fPIC -mcmodel=medium"),
    (For::Both, "-O2 -fno-pic -no-pie -mcmodel=large"),
    (For::Both, "-O2 -fno-pic -no-pie -mcmodel=medium"),
    (For::Gcc, "-O2 -fno-pic -no-pie -mcmodel=kernel"),
    (For::Both, "-O2 -fPIC -fno-plt -mtls-dialect=gnu2"),
    (For::Both, "-O2 -fno-pic -no-pie -fno-plt"),
    (
        For::Gcc,
        "-O2 -fPIE -fno-semantic-interposition -mno-direct-extern-access",
    ),
    (For::Both, "-Os -fno-asynchronous-unwind-tables -fmerge-all-constants"),
    (For::Both, "-O1 -fstack-protector-all -D_FORTIFY_SOURCE=2"),
    (For::Both, "-O2 -g3 -gz=zlib"),
    (For::Both, "-O2 -gsplit-dwarf -fdebug-types-section"),
    (For::Both, "-O2 -fpatchable-function-entry=16,4"),
    (For::Both, "-O2 -finstrument-functions"),
    (For::Gcc, "-O2 -fno-gnu-unique"),
    (
        For::Gcc,
        "-O2 -fPIC -mindirect-branch=thunk -mfunction-return=thunk -fcf-protection=none",
    ),
    (
        For::Both,
        "-Og -mno-red-zone -fno-omit-frame-pointer -falign-functions=64",
    ),
    (For::Both, "-O2 -flto -ffat-lto-objects"),
    (For::Both, "-O2 -fPIC -ftls-model=initial-exec"),
    (For::Both, "-O2 -fPIC -mcmodel=large -mtls-dialect=gnu2"),
    (
        For::Both,
        "-O2 -fno-jump-tables -fstack-clash-protection -fcf-protection=branch -fno-inline",
    ),
    (For::Gcc, "-O2 -fno-dwarf2-cfi-asm"),
    (For::Clang, "-O2 -fbasic-block-sections=all"),
    (For::Clang, "-O2 -fbasic-block-address-map -fstack-size-section"),
    (For::Clang, "-O1 -femulated-tls"),
    (
        For::Clang,
        "-O2 -fPIC -fno-direct-access-external-data -fno-semantic-interposition",
    ),
    (For::Clang, "-O2 -fno-pic -no-pie -fdirect-access-external-data"),
];

/// Every set of flags for every program; with `full` unset the compilers take turns.
pub(crate) fn cases(sources: &Path, full: bool) -> Result<Vec<Case>, String> {
    let mut cases = Vec::new();
    for (turn, program) in PROGRAMS.iter().enumerate() {
        for (number, (compilers, flags)) in FLAGS.iter().enumerate() {
            let [gcc, clang] = written_out(sources, program, flags)?;
            match compilers {
                For::Gcc => cases.push(gcc),
                For::Clang => cases.push(clang),
                For::Both if full => cases.extend([gcc, clang]),
                For::Both => cases.push(if (turn + number) % 2 == 0 { gcc } else { clang }),
            }
        }
    }
    Ok(cases)
}
