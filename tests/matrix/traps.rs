//! What loaders stumble over, one trap a recipe; and inputs that have to be refused by name.
use crate::expected::Expectation::{Dies, Refused};
use crate::recipe::Recipe;
use crate::tools::{AR, CLANG, CLANGXX, GCC, GXX, LLD, Tool};

/// All traps.
pub(crate) static RECIPES: &[Recipe] = &[
    Recipe {
        axes: &[&["-O0", "-O2", "-O2 -fPIC", "-O2 -mcmodel=medium", "-O2 -fno-pic -no-pie"]],
        ..c(
            "traps/big_bss",
            &["gcc {flags} -c {src}/traps/big_bss.c -o main.o"],
            "main.o",
        )
    },
    Recipe {
        axes: &[&["-O0", "-O2", "-O2 -fPIC", "-O2 -fno-pic -no-pie"]],
        ..c(
            "traps/align",
            &["gcc {flags} -c {src}/traps/align.c -o main.o"],
            "main.o",
        )
    },
    c(
        "traps/tls_align",
        &["gcc -pthread -c {src}/traps/tls_align.c -o main.o"],
        "main.o",
    ),
    c("traps/addends", &["gcc -c {src}/traps/addends.s -o main.o"], "main.o"),
    c("traps/weak", &["gcc -c {src}/traps/weak.s -o main.o"], "main.o"),
    Recipe {
        link: "",
        ..c(
            "traps/unused_undefined",
            &["gcc -c {src}/traps/unused_undefined.s -o main.o"],
            "main.o",
        )
    },
    c("traps/sections", &["gcc -c {src}/traps/sections.s -o main.o"], "main.o"),
    c("traps/symver", &["gcc -c {src}/traps/symver.s -o main.o"], "main.o"),
    c("traps/ctors", &["gcc -c {src}/traps/ctors.s -o main.o"], "main.o"),
    Recipe {
        axes: &[
            &["-O2", "-O2 -fPIC", "-O2 -fno-pic -no-pie"],
            &["", "-mlarge-data-threshold=100"],
        ],
        ..c(
            "traps/large_common",
            &[
                "gcc {flags} -fcommon -mcmodel=medium -c {src}/traps/large_common.c -o main.o",
                "gcc {flags} -fcommon -mcmodel=medium -c {src}/traps/large_common_too.c -o too.o",
            ],
            "main.o too.o",
        )
    },
    Recipe {
        axes: &[&["-O0", "-O2", "-O2 -fPIC -g", "-O0 -ffunction-sections"]],
        ..cxx(
            "traps/comdat",
            &[
                "g++ {flags} -c {src}/traps/comdat_a.cc -o a.o",
                "g++ {flags} -c {src}/traps/comdat_b.cc -o b.o",
            ],
            "a.o b.o",
        )
    },
    Recipe {
        axes: &[&["-O0", "-O2"]],
        ..cxx(
            "traps/comdat_reversed",
            &[
                "g++ {flags} -c {src}/traps/comdat_a.cc -o a.o",
                "g++ {flags} -c {src}/traps/comdat_b.cc -o b.o",
            ],
            "b.o a.o",
        )
    },
    cxx(
        "traps/unique",
        &[
            "g++ -c {src}/traps/unique.cc -o a.o",
            "g++ -fno-gnu-unique -c {src}/traps/unique_too.cc -o b.o",
        ],
        "a.o b.o",
    ),
    Recipe {
        axes: &[&["-O0", "-O2", "-O2 -fPIC"]],
        ..c("traps/retain", &["gcc {flags} -c {src}/traps/retain.c -o a.o"], "a.o")
    },
    Recipe {
        axes: &[&["", "-fPIC", "-fno-pic", "-mcmodel=large"]],
        link: "",
        ..c(
            "traps/one_address",
            &[
                "gcc {flags} -c {src}/traps/one_address.c -o a.o",
                "gcc {flags} -c {src}/traps/one_address_too.c -o b.o",
            ],
            "a.o b.o",
        )
    },
    Recipe {
        axes: &[&["-O2", "-O2 -g -fPIC", "-O0 -ffunction-sections"]],
        needs: &[&LLD],
        link: "clang-19 {pie} --ld-path=ld.lld-19 a.o b.o -o reference",
        ..Recipe {
            steps: &[
                "clang-19 {flags} -Wa,--crel,--allow-experimental-crel -Wno-unused-command-line-argument -c {src}/c/control/main.c -o a.o",
                "clang-19 {flags} -Wa,--crel,--allow-experimental-crel -Wno-unused-command-line-argument -c {src}/c/control/other.c -o b.o",
            ],
            load: "a.o b.o",
            ..Recipe::of("traps/crel", &CLANG)
        }
    },
    Recipe {
        axes: &[&["-gz=zlib", "-gz=zstd", "-gz=none"]],
        steps: &[
            "clang++-19 -O2 -g {flags} -c {src}/cxx/exceptions/main.cc -o a.o",
            "clang++-19 -O2 -g {flags} -c {src}/cxx/exceptions/other.cc -o b.o",
        ],
        link: "clang++-19 --ld-path=ld.lld-19 a.o b.o -o reference",
        load: "a.o b.o",
        needs: &[&LLD],
        ..Recipe::of("traps/compressed_debug", &CLANGXX)
    },
    // Archives.
    archive("traps/duplicate_members", DUPLICATE_MEMBERS, "main.o lib.a"),
    archive("traps/thin_archive", THIN, "main.o lib.a"),
    archive("traps/archive_by_index", BOTH_MEMBERS, "main.o lib.a"),
    Recipe {
        link: "gcc main.o -Wl,--start-group one.a two.a -Wl,--end-group -o reference",
        ..archive("traps/circular", CIRCULAR, "main.o one.a two.a")
    },
    Recipe {
        link: "gcc main.o two.a lib.a -o reference",
        ..archive("traps/first_archive_wins", FIRST_WINS, "main.o two.a lib.a")
    },
    Recipe {
        // `ld` refuses an archive that has no symbol table.
        link: "",
        ..archive("traps/no_index", NO_INDEX, "main.o lib.a")
    },
    // Objects that went through other tools.
    cxx(
        "traps/ld_r",
        &[
            "g++ -O2 -g -c {src}/cxx/exceptions/main.cc -o a.o",
            "g++ -O2 -ffunction-sections -c {src}/cxx/exceptions/other.cc -o b.o",
            "ld -r a.o b.o -o all.o",
        ],
        "all.o",
    ),
    cxx(
        "traps/ld_r_templates",
        &[
            "g++ -O0 -c {src}/cxx/templates/main.cc -o a.o",
            "g++ -O0 -c {src}/cxx/templates/third.cc -o c.o",
            "ld -r a.o c.o -o ac.o",
            "g++ -O0 -c {src}/cxx/templates/other.cc -o b.o",
        ],
        "ac.o b.o",
    ),
    cxx(
        "traps/stripped_debug",
        &[
            "g++ -O2 -g -c {src}/cxx/templates/main.cc -o a.o",
            "g++ -O2 -g -c {src}/cxx/templates/third.cc -o c.o",
            "g++ -O2 -g -c {src}/cxx/templates/other.cc -o b.o",
            "strip --strip-unneeded a.o",
            "objcopy --strip-debug --localize-hidden b.o",
            "objcopy --compress-debug-sections c.o",
        ],
        "a.o b.o c.o",
    ),
    // Run-time libraries as archives, and as shared libraries.
    Recipe {
        link: "gcc --coverage a.o -o reference",
        ..c(
            "traps/coverage",
            &["gcc --coverage -c {src}/traps/coverage.c -o a.o"],
            "a.o {gcclib}/libgcov.a",
        )
    },
    Recipe {
        axes: &[&["-O0", "-O2"]],
        link: "gcc -fsanitize=undefined a.o b.o -o reference",
        ..c(
            "traps/ubsan",
            &[
                "gcc -fsanitize=undefined {flags} -c {src}/c/control/main.c -o a.o",
                "gcc -fsanitize=undefined {flags} -c {src}/c/control/other.c -o b.o",
            ],
            "-L {gcclib} -l ubsan a.o b.o",
        )
    },
    Recipe {
        axes: &[&[
            "-O0",
            "-O2",
            "-O2 -fPIC",
            "-O2 -fPIC -mtls-dialect=gnu2",
            "-O2 -fno-plt",
            "-O2 -mcmodel=large -fPIC",
        ]],
        link: "gcc -pthread a.o ./liblibrary.so -Wl,-rpath,$ORIGIN -o reference",
        ..c("traps/shared_library", SHARED_LIBRARY, "-L . -l library a.o")
    },
    Recipe {
        axes: &[&["", "-O2"]],
        link: "gcc -fsplit-stack a.o -o reference",
        ..c(
            "traps/split_stack",
            &["gcc -fsplit-stack {flags} -c {src}/traps/split.c -o a.o"],
            "a.o",
        )
    },
    Recipe {
        link: "gcc -no-pie a.o -Wl,--defsym=main=start_here,--defsym=defined=0x12345678 -o reference",
        args: "argument",
        ..c(
            "traps/options",
            &["gcc -c {src}/traps/options.c -o a.o"],
            "--entry start_here -D defined=0x12345678 a.o",
        )
    },
    // Endings.
    ending("quick"),
    ending("immediate"),
    ending("wide"),
    ending("thread"),
    ending("leave-main"),
    ending("running-threads"),
    crash("null", &["SIGSEGV", "crash_here", "crash.o"]),
    crash("divide", &["SIGFPE", "crash_here", "crash.o"]),
    crash("trap", &["SIGILL", "main", "crash.o"]),
    crash("abort", &[]),
    crash("kill", &[]),
    Recipe {
        expect: Dies {
            says: &["terminate called after throwing", "uncaught"],
        },
        ..cxx("traps/uncaught", &["g++ -c {src}/traps/uncaught.cc -o a.o"], "a.o")
    },
    // Refused, with the reason.
    refused(
        "traps/undefined",
        UNDEFINED,
        "a.o b.o",
        &[
            "missing_function",
            "missing_data",
            "used_by_both",
            "other_missing",
            "a.o",
            "b.o",
        ],
    ),
    refused(
        "traps/duplicate",
        DUPLICATE,
        "main.o a.o b.o",
        &["helper", "a.o", "b.o"],
    ),
    refused(
        "traps/no_main",
        &["gcc -c {src}/traps/helper.c -o a.o"],
        "a.o",
        &["main"],
    ),
    refused(
        "traps/slim_lto",
        &["gcc -flto -c {src}/traps/answer.c -o a.o"],
        "a.o",
        &["a.o", "LTO"],
    ),
    Recipe {
        compiler: &CLANG,
        ..refused(
            "traps/bitcode",
            &["clang-19 -flto -c {src}/traps/answer.c -o a.o"],
            "a.o",
            &["a.o", "bitcode"],
        )
    },
    Recipe {
        compiler: &CLANG,
        ..refused(
            "traps/wrapped_bitcode",
            &["clang-19 -emit-llvm -c {src}/traps/answer.c -o a.o"],
            "a.o",
            &["a.o", "bitcode"],
        )
    },
    Recipe {
        compiler: &CLANG,
        ..refused(
            "traps/aarch64",
            &["clang-19 --target=aarch64-linux-gnu -c {src}/traps/answer.c -o a.o"],
            "a.o",
            &["a.o", "AArch64"],
        )
    },
    Recipe {
        compiler: &CLANG,
        ..refused(
            "traps/riscv64",
            &["clang-19 --target=riscv64-linux-gnu -c {src}/traps/answer.c -o a.o"],
            "a.o",
            &["a.o", "RISC-V"],
        )
    },
    Recipe {
        compiler: &CLANG,
        ..refused(
            "traps/powerpc",
            &["clang-19 --target=powerpc64-linux-gnu -c {src}/traps/answer.c -o a.o"],
            "a.o",
            &["a.o"],
        )
    },
    Recipe {
        compiler: &CLANG,
        ..refused(
            "traps/i386",
            &["clang-19 -m32 -c {src}/traps/answer.c -o a.o"],
            "a.o",
            &["a.o", "32"],
        )
    },
    Recipe {
        compiler: &CLANG,
        ..refused(
            "traps/x32",
            &["clang-19 -mx32 -c {src}/traps/answer.c -o a.o"],
            "a.o",
            &["a.o", "32"],
        )
    },
    Recipe {
        compiler: &CLANG,
        ..refused(
            "traps/coff",
            &["clang-19 --target=x86_64-windows-gnu -c {src}/traps/answer.c -o a.o"],
            "a.o",
            &["a.o", "COFF"],
        )
    },
    Recipe {
        compiler: &CLANG,
        ..refused(
            "traps/mach_o",
            &["clang-19 --target=x86_64-apple-darwin -c {src}/traps/answer.c -o a.o"],
            "a.o",
            &["a.o", "Mach-O"],
        )
    },
    Recipe {
        compiler: &CLANG,
        ..refused(
            "traps/wasm",
            &["clang-19 --target=wasm32 -c {src}/traps/answer.c -o a.o"],
            "a.o",
            &["a.o", "WebAssembly"],
        )
    },
    refused(
        "traps/shared_library_by_path",
        SHARED_LIBRARY,
        "a.o ./liblibrary.so",
        &["./liblibrary.so", "-l"],
    ),
    refused("traps/executable", EXECUTABLE, "a.o", &["a.o", "executable"]),
    refused(
        "traps/nested",
        &["gcc -c {src}/traps/nested.c -o a.o"],
        "a.o",
        &["a.o", "executable stack", ".note.GNU-stack"],
    ),
    refused("traps/source", &["cp {src}/traps/answer.c a.o"], "a.o", &["a.o"]),
    refused("traps/empty", &["touch a.o"], "a.o", &["a.o", "empty"]),
    refused("traps/truncated", TRUNCATED, "a.o", &["a.o"]),
    refused("traps/no_file", &["true"], "absent.o", &["absent.o"]),
];

const MEMBER_MAIN: &str = "gcc -O2 -c {src}/traps/members.c -o main.o";

const DUPLICATE_MEMBERS: &[&str] = &[
    MEMBER_MAIN,
    "mkdir one two",
    "gcc -c -DNAME=first -DRESULT=10 {src}/traps/member.c -o one/member.o",
    "gcc -c -DNAME=second -DRESULT=20 {src}/traps/member.c -o two/member.o",
    "ar qcs lib.a one/member.o two/member.o",
];
const THIN: &[&str] = &[
    MEMBER_MAIN,
    "mkdir one two",
    "gcc -c -DNAME=first -DRESULT=10 {src}/traps/member.c -o one/a_member_with_a_long_name.o",
    "gcc -c -DNAME=second -DRESULT=20 {src}/traps/member.c -o two/member.o",
    "ar qcsT lib.a one/a_member_with_a_long_name.o two/member.o",
];
const BOTH_MEMBERS: &[&str] = &[
    MEMBER_MAIN,
    "gcc -c -DNAME=first -DRESULT=10 -DCALLS=second {src}/traps/member.c -o a_member_with_a_rather_long_name.o",
    "gcc -c -DNAME=second -DRESULT=20 -DCALLS=first {src}/traps/member.c -o b.o",
    "cp {src}/traps/member.c notes.txt",
    "ar rcs lib.a notes.txt b.o a_member_with_a_rather_long_name.o",
];
const CIRCULAR: &[&str] = &[
    MEMBER_MAIN,
    "gcc -c -DNAME=first -DRESULT=10 -DCALLS=third {src}/traps/member.c -o a.o",
    "gcc -c -DNAME=second -DRESULT=20 {src}/traps/member.c -o b.o",
    "gcc -c -DNAME=third -DRESULT=30 -DCALLS=fourth {src}/traps/member.c -o c.o",
    "gcc -c -DNAME=fourth -DRESULT=40 -DCALLS=second {src}/traps/member.c -o d.o",
    "ar rcs one.a a.o d.o",
    "ar rcs two.a b.o c.o",
];
const FIRST_WINS: &[&str] = &[
    MEMBER_MAIN,
    "gcc -c -DNAME=first -DRESULT=10 {src}/traps/member.c -o a.o",
    "gcc -c -DNAME=second -DRESULT=20 {src}/traps/member.c -o b.o",
    "ar rcs lib.a a.o b.o",
    "gcc -c -DNAME=second -DRESULT=99 {src}/traps/member.c -o b.o",
    "ar rcs two.a b.o",
];
const NO_INDEX: &[&str] = &[
    MEMBER_MAIN,
    "gcc -c -DNAME=first -DRESULT=10 {src}/traps/member.c -o a.o",
    "gcc -c -DNAME=second -DRESULT=20 {src}/traps/member.c -o b.o",
    "ar rcS lib.a a.o b.o",
];
const SHARED_LIBRARY: &[&str] = &[
    "gcc -O2 -shared -fPIC {src}/traps/library.c -o liblibrary.so",
    "gcc {flags} -pthread -c {src}/traps/uses_library.c -o a.o",
];
const UNDEFINED: &[&str] = &[
    "gcc -c {src}/traps/undefined.c -o a.o",
    "gcc -c {src}/traps/undefined_too.c -o b.o",
];
const DUPLICATE: &[&str] = &[
    "gcc -c {src}/traps/answer.c -o main.o",
    "gcc -c {src}/traps/helper.c -o a.o",
    "gcc -c {src}/traps/helper.c -o b.o",
];
const EXECUTABLE: &[&str] = &["gcc {src}/traps/answer.c {src}/traps/helper.c -o a.o"];
const TRUNCATED: &[&str] = &[
    "gcc -c {src}/traps/answer.c -o whole.o",
    "dd if=whole.o of=a.o bs=1 count=700 status=none",
];

const fn c(name: &'static str, steps: &'static [&'static str], load: &'static str) -> Recipe {
    linked(name, &GCC, steps, load, "gcc {pie} {load} -o reference")
}

const fn cxx(name: &'static str, steps: &'static [&'static str], load: &'static str) -> Recipe {
    linked(name, &GXX, steps, load, "g++ {pie} {load} -o reference")
}

const fn archive(name: &'static str, steps: &'static [&'static str], load: &'static str) -> Recipe {
    Recipe {
        needs: WITH_AR,
        ..c(name, steps, load)
    }
}

const fn linked(
    name: &'static str,
    compiler: &'static Tool,
    steps: &'static [&'static str],
    load: &'static str,
    link: &'static str,
) -> Recipe {
    Recipe {
        steps,
        link,
        load,
        ..Recipe::of(name, compiler)
    }
}

const fn refused(
    name: &'static str,
    steps: &'static [&'static str],
    load: &'static str,
    says: &'static [&'static str],
) -> Recipe {
    Recipe {
        steps,
        load,
        expect: Refused {
            says,
            why: "the input is not what can be loaded",
        },
        ..Recipe::of(name, &GCC)
    }
}

const fn ending(how: &'static str) -> Recipe {
    Recipe {
        args: how,
        ..c(
            "traps/endings",
            &["gcc -O2 -pthread -c {src}/traps/endings.c -o main.o"],
            "main.o",
        )
    }
}

const fn crash(how: &'static str, says: &'static [&'static str]) -> Recipe {
    Recipe {
        args: how,
        expect: Dies { says },
        ..c("traps/crash", &["gcc -O1 -c {src}/traps/crash.c -o crash.o"], "crash.o")
    }
}

/// A `const fn` cannot borrow a list that it makes itself.
const WITH_AR: &[&Tool] = &[&AR];
