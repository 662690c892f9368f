//! Links every file in `sources/` as its head comment says, and checks the linked bytes. Nothing is executed, but for
//! the cases that ask for it.
//!
//! A source is one or more *cases*. Its directives are lines that start with `//#`; those before the first `//#Case:`
//! hold for every case, those behind it for that case only (a directive that names one value replaces the common one, a
//! directive that may be repeated adds to it).
//!
//! | directive | meaning |
//! |---|---|
//! | `//#Case: NAME` | starts another case, which is called `FILE/NAME`. A file without one is a single case. |
//! | `//#Compilers: as clang-19` | compile with each of these, one case for each. Default: `as` for `.s`, `gcc` for `.c`, `g++` for `.cc`. |
//! | `//#Flags: -O2 -fPIC` | arguments for the compiler. May be repeated. |
//! | `//#Parts: 2` | compile the source that many times, with `PART` defined as 1, 2, ...: several objects from one file. They are called `FILE-1.o`, `FILE-2.o`. |
//! | `//#Archive: 2 3` | those parts are members of an archive, `FILE-2.a`, in that order. May be repeated. |
//! | `//#Fallback: 2 3` | those parts are members of an archive that is asked last. |
//! | `//#Retype: 9 43` | relocations of type number 9 become number 43, for types that no assembler writes. May be repeated. |
//! | `//#At: ADDR` | the pretend address. Default: `0x10000000`. |
//! | `//#Define: NAME=ADDR [KIND]` | a symbol that the surroundings define. KIND is `absolute` (default), `function`, `data SIZE`, `stale SIZE`, `zeroed SIZE` or `tls MODULE BLOCK-OFFSET`. May be repeated. |
//! | `//#Earlier: NAME=ADDR [KIND]` | the same, as a definition by an image linked before. |
//! | `//#Check: u32 PLACE = EXPR` | the field of that width (`u8` to `u64`) at PLACE holds EXPR, modulo its width. May be repeated, as all checks. |
//! | `//#Check: address PLACE = EXPR` | PLACE is that address. |
//! | `//#Check: PLACE = 67 e8 ??` | the bytes at PLACE; `??` is any byte. |
//! | `//#Symbol: NAME KIND BINDING` | what the image says of a symbol: `function`, `data`, `tls`, `absolute` or `synthetic`; `local`, `strong` or `weak`. |
//! | `//#Absent: NAME` | the image has no such symbol: `foo@GOT` says that no slot was made. |
//! | `//#Preinit:`, `//#Init:`, `//#Fini: a b` | the functions of these arrays, in the order in which they run. |
//! | `//#ExpectError: REGEX` | the link fails, and the message matches. May be repeated: all of them match. |
//! | `//#Run: 42` | link it where it can run, call `run`, and compare what it returns (an `int`). |
//!
//! PLACE and EXPR are sums such as `.text+0x3` or `foo@GOT - 4 - here` of numbers, sections, symbols (synthetic and
//! defined ones too), and the words `here` (the address of PLACE), `TP` (the thread-local block's offset from the thread
//! pointer), `MODULE` (its identifier) and `TEMPLATE` (the address of its initial contents). Where several objects have a
//! section or local symbol of that name, the first one is meant; `2:.text` is that of the second object.

mod case;
mod toolchain;

use std::path::Path;

use libtest_mimic::{Arguments, Trial};

fn main() {
    let arguments = Arguments::from_args();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sources");
    let mut sources: Vec<_> = std::fs::read_dir(&folder)
        .expect("tests/sources is part of the crate")
        .map(|entry| entry.expect("the folder can be read").path())
        .collect();
    sources.sort();
    let mut trials = Vec::new();
    for source in sources {
        for case in case::read(&source) {
            trials.push(Trial::test(case.name.clone(), move || case.run().map_err(Into::into)));
        }
    }
    libtest_mimic::run(&arguments, trials).exit();
}
