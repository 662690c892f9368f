//! The other languages: one program each, over the flags that their compilers have.
use crate::axes::{MODEL, OPT};
use crate::recipe::Recipe;
use crate::tools::{AR, FPC, GCC, GCCGO, GDC, GFORTRAN, GNAT, LDC, NASM, OCAMLOPT, RUSTC, TCC, Tool, YASM};

/// One recipe a program.
pub(crate) static RECIPES: &[Recipe] = &[
    Recipe {
        axes: &[OPT, MODEL, &["", "-g", "-ffunction-sections -fdata-sections"]],
        steps: &[
            "gfortran {flags} -c {src}/fortran/shapes.f90 -o shapes.o",
            "gfortran {flags} -c {src}/fortran/main.f90 -o main.o",
            "gcc {flags} -c {src}/fortran/helpers.c -o helpers.o",
            "ar rcs lib.a shapes.o helpers.o",
        ],
        link: "gfortran {pie} main.o lib.a -o reference",
        load: "-L {gcclib} -l gfortran main.o lib.a",
        needs: &[&GCC, &AR],
        ..Recipe::of("fortran/main", &GFORTRAN)
    },
    Recipe {
        axes: &[OPT, MODEL, &["", "-g", "-ffunction-sections -fdata-sections"]],
        steps: ADA_STEPS,
        link: "gcc {pie} b~demo.o demo.o parts.o call_back.o -L{adalib} -lgnarl -lgnat -o reference",
        load: "-L {adalib} -l gnarl -l gnat b~demo.o demo.o parts.o call_back.o",
        needs: &[&GCC],
        ..Recipe::of("ada/shared", &GNAT)
    },
    Recipe {
        axes: &[OPT, &["", "-fPIC", "-fno-pic -no-pie", "-mcmodel=large"]],
        steps: ADA_STEPS,
        link: "gcc {pie} b~demo.o demo.o parts.o call_back.o {adalib}/libgnarl.a {adalib}/libgnat.a -o reference",
        load: "b~demo.o demo.o parts.o call_back.o {adalib}/libgnarl.a {adalib}/libgnat.a",
        needs: &[&GCC],
        ..Recipe::of("ada/static", &GNAT)
    },
    Recipe {
        axes: &[&["-O0", "-Ox"], &["-DPIC", "-no-pie"], &["", "-g -F dwarf"]],
        steps: &[
            "nasm -f elf64 {flags} {src}/nasm/main.asm -o main.o",
            "gcc -O2 -c {src}/nasm/partner.c -o partner.o",
        ],
        link: "gcc {pie} main.o partner.o -o reference",
        load: "main.o partner.o",
        needs: &[&GCC],
        ..Recipe::of("nasm/main", &NASM)
    },
    Recipe {
        axes: &[&["-DPIC", "-no-pie"], &["", "-g dwarf2"]],
        steps: &[
            "yasm -f elf64 {flags} {src}/nasm/main.asm -o main.o",
            "gcc -O2 -c {src}/nasm/partner.c -o partner.o",
        ],
        link: "gcc {pie} main.o partner.o -o reference",
        load: "main.o partner.o",
        needs: &[&GCC],
        ..Recipe::of("nasm/main", &YASM)
    },
    tcc(
        "tcc/main",
        &[
            "tcc {flags} -c {src}/tcc/main.c -o main.o",
            "tcc {flags} -c {src}/tcc/other.c -o other.o",
        ],
        "x",
    ),
    tcc(
        "tcc/mixed",
        &[
            "tcc {flags} -c {src}/tcc/main.c -o main.o",
            "gcc -O2 -c {src}/tcc/other.c -o other.o",
        ],
        "x",
    ),
    tcc(
        "c/control",
        &[
            "tcc {flags} -c {src}/c/control/main.c -o main.o",
            "tcc {flags} -c {src}/c/control/other.c -o other.o",
        ],
        "",
    ),
    tcc(
        "c/callbacks",
        &[
            "tcc {flags} -c {src}/c/callbacks/main.c -o main.o",
            "tcc {flags} -c {src}/c/callbacks/other.c -o other.o",
        ],
        "",
    ),
    tcc(
        "c/libc_data",
        &[
            "tcc {flags} -c {src}/c/libc_data/main.c -o main.o",
            "tcc {flags} -c {src}/c/libc_data/report.c -o other.o",
        ],
        "one two",
    ),
    Recipe {
        axes: &[
            OPT,
            &["", "-fPIC", "-fno-plt"],
            &["", "-g", "-ffunction-sections -fdata-sections"],
        ],
        steps: &[
            "gdc {flags} -I{src}/d -c {src}/d/main.d -o main.o",
            "gdc {flags} -I{src}/d -c {src}/d/other.d -o other.o",
        ],
        link: "gdc {pie} -static-libphobos main.o other.o -o reference",
        load: "main.o other.o {gcclib}/libgphobos.a {gcclib}/libgdruntime.a",
        needs: &[&GCC],
        ..Recipe::of("d/static", &GDC)
    },
    Recipe {
        axes: &[&["-O0", "-O2"]],
        steps: &[
            "gdc {flags} -I{src}/d -c {src}/d/main.d -o main.o",
            "gdc {flags} -I{src}/d -c {src}/d/other.d -o other.o",
        ],
        link: "gdc {pie} main.o other.o -o reference",
        load: "-L {gcclib} -l gphobos -l gdruntime main.o other.o",
        needs: &[&GCC],
        ..Recipe::of("d/shared", &GDC)
    },
    Recipe {
        axes: &[OPT, MODEL, &["", "-g", "-ffunction-sections -fdata-sections"]],
        steps: &["gdc -fno-druntime {flags} -c {src}/d/plain.d -o plain.o"],
        link: "gcc {pie} plain.o -o reference",
        load: "plain.o",
        needs: &[&GCC],
        ..Recipe::of("d/plain", &GDC)
    },
    Recipe {
        axes: &[&["-O0", "-O3 -mcpu=x86-64-v3"], LDC_MODEL],
        steps: &[
            "ldc2 {flags} -I{src}/d -c {src}/d/main.d -of=main.o",
            "ldc2 {flags} -I{src}/d -c {src}/d/other.d -of=other.o",
        ],
        link: "gcc main.o other.o /usr/lib/ldc_rt.dso.o {lib}/libphobos2-ldc.a {lib}/libdruntime-ldc.a -lz -lm -o reference",
        load: "main.o other.o /usr/lib/ldc_rt.dso.o {lib}/libphobos2-ldc.a {lib}/libdruntime-ldc.a -l z",
        needs: &[&GCC],
        ..Recipe::of("d/static", &LDC)
    },
    Recipe {
        axes: &[&["-O0", "-O2"]],
        steps: &[
            "ldc2 {flags} -I{src}/d -c {src}/d/main.d -of=main.o",
            "ldc2 {flags} -I{src}/d -c {src}/d/other.d -of=other.o",
        ],
        link: "ldc2 main.o other.o -of=reference",
        load: "-l phobos2-ldc-shared -l druntime-ldc-shared main.o other.o /usr/lib/ldc_rt.dso.o",
        needs: &[&GCC],
        ..Recipe::of("d/shared", &LDC)
    },
    Recipe {
        axes: &[&["-O0", "-O2", "-O3 -mcpu=x86-64-v3"], LDC_MODEL, &["", "-g"]],
        steps: &["ldc2 -betterC {flags} -c {src}/d/plain.d -of=plain.o"],
        link: "gcc plain.o -o reference",
        load: "plain.o",
        needs: &[&GCC],
        ..Recipe::of("d/plain", &LDC)
    },
    Recipe {
        axes: &[&["-O0", "-O2"], &["", "-fno-split-stack"], &["", "-g"]],
        steps: &[
            "cp {src}/go/main.go {src}/go/parts.go .",
            "gccgo {flags} -c parts.go -o parts.o",
            "gccgo {flags} -c main.go -o main.o",
        ],
        link: "gccgo -static-libgo main.o parts.o -o reference",
        load: "main.o parts.o {gcclib}/libgobegin.a {gcclib}/libgo.a {gcclib}/libgcc.a",
        needs: &[&GCC],
        ..Recipe::of("go/main", &GCCGO)
    },
    Recipe {
        axes: &[&["-O-", "-O2", "-O3"], &["", "-gw2", "-Cg", "-CX"]],
        // Its start-up object takes over the process, so a small one in C stands for that.
        steps: &[
            "fpc -Cn {flags} -FE. {src}/pascal/demo.pas",
            "gcc -O2 -c {src}/pascal/start.c -o start.o",
        ],
        link: "fpc {flags} -FE. -oreference {src}/pascal/demo.pas",
        load: "--entry start start.o demo.o {fpc}/system.o {fpc}/objpas.o {fpc}/sysutils.o {fpc}/classes.o parts.o \
               {fpc}/linux.o {fpc}/unix.o {fpc}/errors.o {fpc}/sysconst.o {fpc}/unixtype.o {fpc}/baseunix.o \
               {fpc}/unixutil.o {fpc}/types.o {fpc}/typinfo.o {fpc}/rtlconsts.o {fpc}/math.o",
        needs: &[&GCC],
        ..Recipe::of("pascal/demo", &FPC)
    },
    Recipe {
        axes: &[&["-O-", "-O2", "-O3"], &["-no-pie", "-gw2 -no-pie", "-Cg"]],
        steps: &[
            "fpc -Cn {flags} -FE. {src}/pascal/arithmetic.pas",
            "gcc -O2 -c {src}/pascal/main.c -o main.o",
        ],
        link: "gcc {pie} main.o arithmetic.o -o reference",
        load: "main.o arithmetic.o",
        needs: &[&GCC],
        ..Recipe::of("pascal/arithmetic", &FPC)
    },
    Recipe {
        axes: &[&["", "-fno-PIC -no-pie", "-inline 100"], &["", "-g"]],
        steps: &[
            "cp {src}/ocaml/main.ml program.ml",
            "ocamlopt {flags} -output-complete-obj -o all.o program.ml",
            "gcc -O2 -I{ocaml} -c {src}/ocaml/main.c -o main.o",
        ],
        link: "gcc {pie} main.o all.o -lm -ldl -o reference",
        load: "main.o all.o",
        needs: &[&GCC],
        ..Recipe::of("ocaml/complete", &OCAMLOPT)
    },
    Recipe {
        axes: &[&["", "-g", "-inline 100"]],
        steps: &[
            "cp {src}/ocaml/main.ml program.ml",
            "ocamlopt {flags} -output-obj -o part.o program.ml",
            "gcc -O2 -I{ocaml} -c {src}/ocaml/main.c -o main.o",
        ],
        link: "gcc main.o part.o {ocaml}/libasmrun_pic.a -lm -ldl -o reference",
        load: "main.o part.o {ocaml}/libasmrun_pic.a",
        needs: &[&GCC],
        ..Recipe::of("ocaml/archive", &OCAMLOPT)
    },
    Recipe {
        axes: &[
            &["-Copt-level=0", "-Copt-level=2", "-Copt-level=3 -Ctarget-cpu=x86-64-v3"],
            &["", "-Crelocation-model=static -no-pie", "-Ccode-model=large"],
            &["", "-Cdebuginfo=2 -Crelocation-model=pic", "-Ccodegen-units=1"],
        ],
        steps: &[
            "rustc --edition 2021 {flags} --crate-type=rlib --crate-name=parts {src}/rust/parts.rs -o libparts.rlib",
            "rustc --edition 2021 {flags} -Csave-temps {src}/rust/main.rs --extern parts=libparts.rlib -o program",
        ],
        link: "gcc {pie} program.*.rcgu.o -Wl,--start-group libparts.rlib {rustlib}/libstd-*.rlib \
               {rustlib}/libpanic_unwind-*.rlib {rustlib}/libobject-*.rlib {rustlib}/libmemchr-*.rlib \
               {rustlib}/libaddr2line-*.rlib {rustlib}/libgimli-*.rlib {rustlib}/libcfg_if-*.rlib \
               {rustlib}/librustc_demangle-*.rlib {rustlib}/libstd_detect-*.rlib {rustlib}/libhashbrown-*.rlib \
               {rustlib}/libminiz_oxide-*.rlib {rustlib}/libadler2-*.rlib {rustlib}/libunwind-*.rlib \
               {rustlib}/liblibc-*.rlib {rustlib}/liballoc-*.rlib {rustlib}/libcore-*.rlib \
               {rustlib}/libcompiler_builtins-*.rlib -Wl,--end-group -lm -o reference",
        load: "program.*.rcgu.o libparts.rlib {rustlib}/libstd-*.rlib {rustlib}/libpanic_unwind-*.rlib \
               {rustlib}/libobject-*.rlib {rustlib}/libmemchr-*.rlib {rustlib}/libaddr2line-*.rlib \
               {rustlib}/libgimli-*.rlib {rustlib}/libcfg_if-*.rlib {rustlib}/librustc_demangle-*.rlib \
               {rustlib}/libstd_detect-*.rlib {rustlib}/libhashbrown-*.rlib {rustlib}/libminiz_oxide-*.rlib \
               {rustlib}/libadler2-*.rlib {rustlib}/libunwind-*.rlib {rustlib}/liblibc-*.rlib \
               {rustlib}/liballoc-*.rlib {rustlib}/libcore-*.rlib {rustlib}/libcompiler_builtins-*.rlib",
        needs: &[&GCC],
        ..Recipe::of("rust/main", &RUSTC)
    },
];

const ADA_STEPS: &[&str] = &[
    "gcc -gnat2012 {flags} -I{src}/ada -c {src}/ada/demo.adb -o demo.o",
    "gcc -gnat2012 {flags} -I{src}/ada -c {src}/ada/parts.adb -o parts.o",
    "gcc -fexceptions {flags} -c {src}/ada/call_back.c -o call_back.o",
    "gnatbind demo.ali",
    "gcc {flags} -c b~demo.adb -o b~demo.o",
];

const LDC_MODEL: &[&str] = &["", "-relocation-model=pic -g", "--function-sections --data-sections"];

const fn tcc(name: &'static str, steps: &'static [&'static str], args: &'static str) -> Recipe {
    Recipe {
        axes: &[&["", "-g"]],
        steps,
        link: "tcc main.o other.o -lm -lpthread -o reference",
        load: "main.o other.o {lib}/tcc/libtcc1.a",
        needs: WITH_GCC,
        args,
        ..Recipe::of(name, &TCC)
    }
}

/// A `const fn` cannot borrow a list that it makes itself.
const WITH_GCC: &[&Tool] = &[&GCC];
