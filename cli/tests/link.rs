//! `restub link`: the ELF file is what other tools read, and means what it says.

#![allow(missing_docs, reason = "tests have names")]

mod support;

use std::collections::BTreeMap;

use serde_json::Value;
use support::{Folder, hex};

const MATHS: &str = "
struct point { int x, y; };
static int scale(int value) {
    return value * 3;
}
int area(struct point *p) {
    int width = scale(p->x);
    int height = scale(p->y);
    return width * height;
}
";
const MAIN: &str = "
struct point { int x, y; };
int area(struct point *p);
int counter = 5;
int zeros[100];
static int calls;
int work(int n) {
    struct point p = { n, counter };
    calls++;
    zeros[n] = area(&p);
    return zeros[n];
}
";

/// Two objects that call each other, compiled without what `ld` would relax or align differently.
fn two_objects(folder: &Folder, flags: &[&str]) {
    folder.compile("maths.c", MATHS, flags);
    folder.compile("main.c", MAIN, flags);
}

/// The symbols that `nm` prints: name to address and letter.
fn nm(folder: &Folder, file: &str) -> BTreeMap<String, (u64, char)> {
    let text = folder.tool("nm", &[file]);
    let symbols = text.lines().map(|line| {
        let mut words = line.split_whitespace();
        let (address, letter, name) = (words.next(), words.next(), words.next());
        let letter = letter.and_then(|letter| letter.chars().next()).expect("a letter");
        (
            name.expect("a name").to_owned(),
            (hex(address.expect("an address")), letter),
        )
    });
    symbols.collect()
}

/// What readelf, objdump and gdb have to read without a complaint.
fn tools_accept(folder: &Folder, file: &str) {
    folder.tool("readelf", &["-aW", file]);
    folder.tool(
        "readelf",
        &[
            "--debug-dump=info,abbrev,decodedline,aranges,Ranges,loc,str,frames",
            file,
        ],
    );
    folder.tool("objdump", &["-dhtS", file]);
    gdb(folder, file, &["info functions"]);
}

fn gdb(folder: &Folder, file: &str, commands: &[&str]) -> String {
    let mut arguments = vec!["-batch", "-nx", "-iex", "set width 0"];
    for command in commands {
        arguments.extend(["-ex", command]);
    }
    arguments.push(file);
    folder.tool("gdb", &arguments)
}

#[test]
fn tools_read_the_image() {
    let folder = Folder::new();
    two_objects(&folder, &["-g", "-O1"]);
    folder.restub_ok(&["link", "--at", "0x400000", "main.o", "maths.o", "-o", "image"]);
    tools_accept(&folder, "image");
    let symbols = nm(&folder, "image");
    let letter = |name: &str| symbols.get(name).map(|(_, letter)| *letter);
    assert_eq!(letter("work"), Some('T'));
    assert_eq!(letter("area"), Some('T'));
    assert_eq!(letter("counter"), Some('D'));
    assert_eq!(letter("zeros"), Some('B'));
    assert_eq!(letter("calls"), Some('b'));
    assert_eq!(symbols["work"].0, 0x40_0000);
    let header = folder.tool("readelf", &["-hlW", "image"]);
    assert!(
        header.contains("EXEC (Executable file)") && header.contains("X86-64"),
        "{header}"
    );
    let loads: Vec<&str> = header
        .lines()
        .filter(|line| line.trim_start().starts_with("LOAD"))
        .collect();
    assert_eq!(loads.len(), 3, "{header}");
    assert!(
        loads[0].contains("R E") && loads[1].contains(" R  ") && loads[2].contains("RW"),
        "{header}"
    );
}

#[test]
fn code_is_what_ld_makes_of_it() {
    let folder = Folder::new();
    // Without data, so that ld's layout and ours agree.
    let flags = ["-O2", "-fno-asynchronous-unwind-tables", "-ffunction-sections"];
    folder.compile(
        "a.c",
        "int b(int); int c(int); int a(int x) { return b(x) + c(x + 1); }",
        &flags,
    );
    folder.compile(
        "b.c",
        "int c(int); int b(int x) { return x ? c(x - 1) * 2 : 1; }",
        &flags,
    );
    folder.compile("c.c", "int b(int); int c(int x) { return b(x / 2) ^ 21; }", &flags);
    for at in ["0x10000", "0x7f1234567000"] {
        folder.restub_ok(&["link", "--at", at, "a.o", "b.o", "c.o", "-o", "ours"]);
        folder.tool("ld", &["-e", "a", "-Ttext", at, "a.o", "b.o", "c.o", "-o", "theirs"]);
        let code = |file: &str| -> Vec<String> {
            let listing = folder.tool("objdump", &["-dw", file]);
            let lines = listing.lines().filter(|line| line.contains(":\t"));
            // ld pads with no-ops.
            let instructions = lines.filter(|line| !line.ends_with("int3") && !line.contains("nop"));
            instructions.map(str::to_owned).collect()
        };
        let (ours, theirs) = (code("ours"), code("theirs"));
        assert!(
            ours.len() > 20 && ours[0].trim_start().starts_with(at.trim_start_matches("0x")),
            "{ours:?}"
        );
        assert_eq!(ours, theirs, "at {at}");
    }
}

/// What `addr2line` says of each function's first bytes, by name.
fn lines(folder: &Folder, file: &str, functions: &[&str]) -> BTreeMap<String, String> {
    let symbols = nm(folder, file);
    let mut lines = BTreeMap::new();
    for function in functions {
        for offset in [0, 4, 7] {
            let address = format!("{:#x}", symbols[*function].0 + offset);
            let said = folder.tool("addr2line", &["-f", "-i", "-e", file, &address]);
            lines.insert(format!("{function}+{offset}"), said);
        }
    }
    lines
}

#[test]
fn lines_are_those_of_the_linked_program() {
    let folder = Folder::new();
    let variants: [&[&str]; 6] = [
        &["-g"],
        &["-g", "-gdwarf-4", "-ffunction-sections", "-O2"],
        &["-g3", "-O1", "-fPIC"],
        &["-g", "-gz=zlib"],
        &["-g", "-gz=zlib-gnu"],
        &["-g", "-gdwarf-5", "-fno-pic", "-mcmodel=large"],
    ];
    for flags in variants {
        two_objects(&folder, flags);
        folder.restub_ok(&["link", "--at", "0x400000", "main.o", "maths.o", "-o", "ours"]);
        folder.tool("ld", &["-e", "work", "main.o", "maths.o", "-o", "theirs"]);
        tools_accept(&folder, "ours");
        let (ours, theirs) = (
            lines(&folder, "ours", &["work", "area"]),
            lines(&folder, "theirs", &["work", "area"]),
        );
        assert!(ours["work+0"].contains("main.c:7"), "{flags:?}: {ours:?}");
        assert!(ours["area+0"].contains("maths.c:"), "{flags:?}: {ours:?}");
        assert_eq!(ours, theirs, "{flags:?}");
    }
}

#[test]
fn zstd_debug_sections_are_decompressed() {
    let folder = Folder::new();
    two_objects(&folder, &["-g"]);
    folder.restub_ok(&["link", "--at", "0x400000", "main.o", "maths.o", "-o", "plain"]);
    for object in ["main.o", "maths.o"] {
        folder.tool("objcopy", &["--compress-debug-sections=zstd", object]);
        let headers = folder.tool("readelf", &["-SW", object]);
        assert!(
            headers
                .lines()
                .any(|line| line.contains(".debug_info") && line.contains(" C ")),
            "{headers}"
        );
    }
    folder.restub_ok(&["link", "--at", "0x400000", "main.o", "maths.o", "-o", "zstd"]);
    let read = |file: &str| std::fs::read(folder.file(file)).expect("the image");
    assert_eq!(read("plain"), read("zstd"));
}

#[test]
fn damaged_compression_is_refused() {
    let folder = Folder::new();
    two_objects(&folder, &["-g", "-gz=zlib"]);
    let mut object = std::fs::read(folder.file("main.o")).expect("the object");
    // A zlib stream starts with 78 9c or its like, behind the 24 bytes of the compression header.
    let streams = object
        .windows(26)
        .position(|bytes| bytes[..8] == [1, 0, 0, 0, 0, 0, 0, 0] && bytes[24] == 0x78);
    let stream = streams.expect("a compressed section");
    object[stream + 24..stream + 40].fill(0xff);
    std::fs::write(folder.file("main.o"), object).expect("the object can be written");
    let error = folder.restub_error(1, &["link", "--at", "0x400000", "main.o", "maths.o", "-o", "image"]);
    assert!(error.starts_with("restub: main.o: malformed: .debug_"), "{error}");
    assert!(!folder.file("image").exists());
    // Who does not ask for debug sections is not bothered by them.
    folder.restub_ok(&["link", "--at", "0x400000", "main.o", "maths.o"]);
}

#[test]
fn gdb_shows_source_types_and_macros() {
    let folder = Folder::new();
    folder.compile(
        "macros.c",
        "#define LIMIT 77\nint limited(int x) {\n    return x < LIMIT;\n}\n",
        &["-g3"],
    );
    two_objects(&folder, &["-g3"]);
    folder.restub_ok(&[
        "link",
        "--at",
        "0x7f0000400000",
        "main.o",
        "maths.o",
        "macros.o",
        "-o",
        "image",
    ]);
    let said = gdb(
        &folder,
        "image",
        &[
            "info line area",
            "list scale",
            "ptype struct point",
            "print sizeof(struct point)",
            "print &counter",
            "print counter",
            "info scope work",
            "list limited",
            "info macro LIMIT",
            "x/i work",
        ],
    );
    for expected in [
        "Line 6 of \"maths.c\" starts at address 0x7f00004000",
        "return value * 3;",
        "int x;",
        "$1 = 8",
        "<counter>",
        "$3 = 5",
        "Symbol p is a ",
        "return x < LIMIT;",
        "#define LIMIT 77",
        "0x7f0000400000 <work>:",
    ] {
        assert!(said.contains(expected), "{expected}: {said}");
    }
}

#[test]
fn macros_of_discarded_groups_are_found_in_the_kept_ones() {
    let folder = Folder::new();
    folder.write("shared.h", "#define SHARED 123\n#define OTHER(x) ((x) + SHARED)\n");
    folder.compile(
        "one.c",
        "#include \"shared.h\"\nint one(void) {\n    return OTHER(1);\n}\n",
        &["-g3"],
    );
    folder.compile(
        "two.c",
        "#include \"shared.h\"\nint two(void) {\n    return OTHER(2);\n}\n",
        &["-g3"],
    );
    folder.restub_ok(&["link", "--at", "0x400000", "one.o", "two.o", "-o", "image"]);
    for function in ["one", "two"] {
        let list = format!("list {function}");
        let said = gdb(&folder, "image", &[&list, "macro expand OTHER(5)"]);
        assert!(said.contains("expands to: ((5) + 123)"), "{function}: {said}");
    }
}

#[test]
fn inline_functions_of_two_objects_are_debugged_once() {
    let folder = Folder::new();
    folder.write("twice.h", "inline int twice(int x) {\n    return x + x;\n}\n");
    folder.compile(
        "one.cc",
        "#include \"twice.h\"\nint one() { return twice(1); }\n",
        &["-g"],
    );
    folder.compile(
        "two.cc",
        "#include \"twice.h\"\nint two() { return twice(2); }\n",
        &["-g"],
    );
    folder.restub_ok(&["link", "--at", "0x400000", "one.o", "two.o", "-o", "image"]);
    tools_accept(&folder, "image");
    let said = gdb(&folder, "image", &["info line twice", "break twice"]);
    assert!(said.contains("twice.h\" starts at address 0x4000"), "{said}");
    assert!(said.contains("Breakpoint 1 at 0x4000"), "{said}");
    assert!(!said.contains("(2 locations)"), "{said}");
    let symbols = nm(&folder, "image");
    let twice = format!("{:#x}", symbols["_Z5twicei"].0);
    assert!(
        folder
            .tool("addr2line", &["-fC", "-e", "image", &twice])
            .starts_with("twice(int)\n")
    );
}

#[test]
fn entries_that_were_made_are_named() {
    let folder = Folder::new();
    let source = "
        extern int far_function(int), far_variable, near_variable;
        extern __thread int far_thread __attribute__((tls_model(\"initial-exec\")));
        int near_variable = 2;
        int use(int x) { return far_function(x) + far_variable + near_variable; }
    ";
    let object = folder.compile("use.c", source, &["-fPIC", "-O1"]);
    folder.restub_ok(&[
        "link",
        "--at",
        "0x400000",
        "-Dfar_function=0x7f0000001000",
        "-Dfar_variable=0x7f0000002000",
        &object,
        "-o",
        "image",
    ]);
    tools_accept(&folder, "image");
    let symbols = nm(&folder, "image");
    assert_eq!(symbols["far_function"], (0x7f00_0000_1000, 'A'));
    assert_eq!(symbols["far_function@PLT"].1, 't');
    assert_eq!(symbols["far_variable@GOT"].1, 'r');
    assert!(!symbols.contains_key("near_variable@GOT"), "the instruction is relaxed");
    let code = folder.tool("objdump", &["-d", "image"]);
    assert!(code.contains("<far_function@PLT>:"), "{code}");
    assert!(
        code.lines()
            .any(|line| line.contains("call") && line.ends_with("<far_function@PLT>")),
        "{code}"
    );
    assert!(
        code.lines()
            .any(|line| line.contains("jmp") && line.ends_with("<far_function@GOTPLT>")),
        "{code}"
    );
    assert!(
        code.lines()
            .any(|line| line.contains("mov") && line.ends_with("<far_variable@GOT>")),
        "{code}"
    );
    // The words hold what they are named for.
    let word = format!("x/gx {:#x}", symbols["far_variable@GOT"].0);
    assert!(gdb(&folder, "image", &[&word]).contains("0x00007f0000002000"));
}

#[test]
fn thread_local_and_common_symbols_have_their_sections() {
    let folder = Folder::new();
    let source = "
        __thread int filled = 4; __thread long zeros[3]; static __thread char hidden = 1;
        int common[10]; static int local;
        int use(void) { return filled + zeros[1] + hidden + common[2] + local; }
    ";
    folder.compile("storage.c", source, &["-g", "-fcommon"]);
    folder.compile(
        "more.c",
        "__thread long more[2]; int common[20]; long use_more(void) { return more[1]; }",
        &["-fcommon"],
    );
    folder.restub_ok(&["link", "--at", "0x400000", "storage.o", "more.o", "-o", "image"]);
    tools_accept(&folder, "image");
    let headers = folder.tool("readelf", &["-lSsW", "image"]);
    let line = |words: &[&str]| {
        headers
            .lines()
            .find(|line| words.iter().all(|word| line.contains(word)))
    };
    assert!(line(&["TLS ", "0x000005 0x000040"]).is_some(), "{headers}");
    assert!(line(&[".tdata", "PROGBITS", "WAT"]).is_some(), "{headers}");
    assert!(line(&[".tbss", "NOBITS", "WAT"]).is_some(), "{headers}");
    for name in ["filled", "zeros", "hidden", "more"] {
        assert!(line(&["TLS ", &format!(" {name}")]).is_some(), "{name}: {headers}");
    }
    assert_eq!(nm(&folder, "image")["common"].1, 'B');
    let common = line(&["OBJECT", "GLOBAL", " common"]).expect("common");
    assert!(common.contains(" 80 "), "the larger definition counts: {common}");
}

#[test]
fn json_agrees_with_the_image() {
    let folder = Folder::new();
    two_objects(&folder, &["-fPIC"]);
    let text = folder.restub_ok(&["link", "--json", "--at", "0x400000", "main.o", "maths.o", "-o", "image"]);
    let report: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(report["at"], "0x400000");
    assert_eq!(report["objects"], serde_json::json!(["main.o", "maths.o"]));
    let symbols = nm(&folder, "image");
    let listed = report["symbols"].as_array().expect("symbols");
    assert_eq!(listed.len(), symbols.len());
    for symbol in listed {
        let name = symbol["name"].as_str().expect("a name");
        assert_eq!(
            hex(symbol["address"].as_str().expect("an address")),
            symbols[name].0,
            "{name}"
        );
    }
    let calls = report["relocations"].as_array().expect("relocations");
    let call = calls.iter().find(|r| r["type"] == "R_X86_64_PLT32").expect("a call");
    assert_eq!(
        (call["symbol"].as_str(), call["outcome"].as_str()),
        (Some("area"), Some("direct"))
    );
    // The value is what the field of the call holds: the distance from its end.
    let place = symbols["work"].0 + hex(call["offset"].as_str().expect("an offset"));
    let value = hex(call["value"].as_str().expect("a value"));
    assert_eq!(place.wrapping_add(4).wrapping_add(value), symbols["area"].0);
    let relaxed = calls
        .iter()
        .find(|r| r["outcome"] == "relaxed")
        .expect("a relaxed load");
    assert_eq!(
        relaxed["relaxation"],
        "mov foo@GOTPCREL(%rip), %reg -> lea foo(%rip), %reg"
    );
}

#[test]
fn the_map_lists_sections_and_symbols() {
    let folder = Folder::new();
    two_objects(&folder, &[]);
    let map = folder.restub_ok(&["link", "--at", "0x400000", "main.o", "maths.o"]);
    assert!(
        map.lines()
            .any(|line| line.starts_with("0x0000000000400000") && line.ends_with(" .text  main.o")),
        "{map}"
    );
    assert!(
        map.lines()
            .any(|line| line.starts_with("0x0000000000400000") && line.ends_with(" work")),
        "{map}"
    );
    assert!(map.contains("data segment, rw-"), "{map}");
    assert_eq!(folder.restub_ok(&["link", "--at", "4194304", "main.o", "maths.o"]), map);
}

#[test]
fn many_sections_need_wide_indexes() {
    let folder = Folder::new();
    let mut source = String::new();
    for number in 0..66_000 {
        source.push_str(&format!(
            ".section .text.f{number},\"ax\"\n.globl f{number}\nf{number}: ret\n"
        ));
    }
    let object = folder.compile("many.s", &source, &[]);
    folder.restub_ok(&["link", "--at", "0x400000", &object, "-o", "image"]);
    let symbols = nm(&folder, "image");
    assert_eq!(symbols["f0"], (0x40_0000, 'T'));
    assert_eq!(symbols["f65999"], (0x40_0000 + 65_999, 'T'));
    let header = folder.tool("readelf", &["-hW", "image"]);
    assert!(header.contains("Number of section headers:         0 (660"), "{header}");
}

#[test]
fn what_cannot_be_linked_is_refused() {
    let folder = Folder::new();
    let object = folder.compile("wants.c", "int wanted(void); int use(void) { return wanted(); }", &[]);
    let error = folder.restub_error(1, &["link", "--at", "0x400000", &object, "-o", "image"]);
    assert_eq!(error, "restub: undefined symbol wanted, wanted by wants.o\n");
    let low = folder.compile("low.c", "int value; int *use(void) { return &value; }", &["-fno-pic"]);
    let error = folder.restub_error(1, &["link", "--at", "0x7f0000000000", &low, "-o", "image"]);
    assert!(error.starts_with("restub: low.o: .text+0x"), "{error}");
    assert!(
        error.contains("R_X86_64_32 against value: ") && error.contains("does not fit"),
        "{error}"
    );
    assert!(!folder.file("image").exists());
    folder.restub_ok(&["link", "--at", "0x400000", &low, "-o", "image"]);
    let error = folder.restub_error(1, &["link", "--at", "0xffffffffffffff00", &object, "-D", "wanted=1"]);
    assert!(
        error.contains("no free range") && error.contains("at the address asked for"),
        "{error}"
    );
    let error = folder.restub_error(1, &["link", "--at", "0x400000", &low, "-o", "no/such/folder"]);
    assert!(error.starts_with("restub: cannot write no/such/folder: "), "{error}");
}

#[test]
fn an_image_may_replace_its_object() {
    let folder = Folder::new();
    // Large enough to be mapped rather than read.
    let object = folder.compile(
        "big.c",
        "char big[300000] = { 1 }; int f(void) { return big[7]; }",
        &["-g"],
    );
    folder.restub_ok(&["link", "--at", "0x400000", &object, "-o", &object]);
    assert_eq!(nm(&folder, &object)["f"], (0x40_0000, 'T'));
}
