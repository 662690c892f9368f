//! `restub inspect`: what it says agrees with binutils, and with what a load does.

#![allow(missing_docs, reason = "tests have names")]

mod support;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use support::{Folder, texts};

/// Runs `inspect --json` and gives the report with the exit status.
fn inspect(folder: &Folder, arguments: &[&str]) -> (Value, Option<i32>) {
    let output = folder.restub(&[&["inspect", "--json"], arguments].concat());
    let (stdout, stderr) = texts(&output);
    assert_eq!(stderr, "", "{arguments:?}");
    (serde_json::from_str(&stdout).expect("JSON"), output.status.code())
}

fn list(value: &Value) -> Vec<&str> {
    let items = value.as_array().unwrap_or_else(|| panic!("a list: {value}"));
    items.iter().map(|item| item.as_str().expect("text")).collect()
}

/// `[{"what": .., "count": ..}]` as a map.
fn counts(value: &Value) -> BTreeMap<String, u64> {
    let items = value.as_array().unwrap_or_else(|| panic!("a list: {value}"));
    let count = |item: &Value| {
        (
            item["what"].as_str().expect("text").to_owned(),
            item["count"].as_u64().expect("a number"),
        )
    };
    items.iter().map(count).collect()
}

/// The relocation types of loaded sections, counted by readelf.
fn readelf_types(folder: &Folder, object: &str) -> BTreeMap<String, u64> {
    let mut types = BTreeMap::new();
    let mut loaded = false;
    for line in folder.tool("readelf", &["-rW", object]).lines() {
        if line.starts_with("Relocation section") {
            loaded = !line.contains("'.rela.debug");
        } else if let (true, Some(name)) = (
            loaded,
            line.split_whitespace().nth(2).filter(|w| w.starts_with("R_X86")),
        ) {
            *types.entry(name.to_owned()).or_insert(0) += 1;
        }
    }
    types
}

const PROGRAM: &str = r#"
    #include <stdio.h>
    extern int missing_weak(void) __attribute__((weak));
    __thread int local = 1;
    extern __thread int errno_like;
    static int table[4] = { 1, 2, 3, 4 };
    int *pointer = table;
    __attribute__((constructor)) static void start(void) { puts("constructor ran"); }
    static int (*choose(void))(int) { puts("resolver ran"); return 0; }
    int chosen(int) __attribute__((ifunc("choose")));
    int main(int argc, char **argv) {
        fprintf(stderr, "%d\n", table[argc] + local);
        return chosen(argc) + (missing_weak ? missing_weak() : 0);
    }
"#;

#[test]
fn contents_are_those_that_binutils_see() {
    let folder = Folder::new();
    for flags in [
        &["-O1"][..],
        &["-fPIC", "-g", "-O2"],
        &["-fno-pic", "-ffunction-sections"],
        &["-mcmodel=large"],
    ] {
        let object = folder.compile("program.c", PROGRAM, flags);
        let (report, status) = inspect(&folder, &[&object]);
        assert_eq!(status, Some(0), "{flags:?}: {}", report["load"]);
        let file = &report["files"][0];
        assert_eq!(
            (file["file"].as_str(), file["kind"].as_str()),
            (Some("program.o"), Some("object"))
        );
        let object_report = &file["objects"][0];
        let types = counts(&object_report["relocation_types"]);
        assert_eq!(types, readelf_types(&folder, &object), "{flags:?}");
        // Each of them becomes something.
        let outcomes: u64 = counts(&object_report["outcomes"]).values().sum();
        assert_eq!(outcomes, types.values().sum::<u64>(), "{flags:?}");
        let nm = folder.tool("nm", &["-u", "--format=just-symbols", &object]);
        let undefined: BTreeSet<&str> = nm.lines().collect();
        assert_eq!(
            list(&object_report["undefined"]).into_iter().collect::<BTreeSet<_>>(),
            undefined,
            "{flags:?}"
        );
        let size = std::fs::metadata(folder.file(&object)).expect("the object").len();
        assert_eq!(object_report["size_bytes"], size);
        let needs = list(&object_report["needs"]).join(", ");
        for need in [
            "thread-local storage",
            "constructors",
            "unwind tables",
            "IFUNC resolvers",
        ] {
            assert!(needs.contains(need), "{flags:?}: {needs}");
        }
        assert_eq!(
            needs.contains("below 2 GiB"),
            flags.contains(&"-fno-pic"),
            "{flags:?}: {needs}"
        );
    }
}

#[test]
fn sections_are_listed_with_their_flags() {
    let folder = Folder::new();
    let object = folder.compile("program.c", PROGRAM, &["-g"]);
    let (report, _) = inspect(&folder, &[&object]);
    let sections = report["files"][0]["objects"][0]["sections"]
        .as_array()
        .expect("sections")
        .clone();
    let headers = folder.tool("readelf", &["-SW", &object]);
    for section in &sections {
        let (name, index) = (
            section["name"].as_str().expect("a name"),
            section["index"].as_u64().expect("a number"),
        );
        let line = headers
            .lines()
            .find(|line| line.trim_start().starts_with(&format!("[{index:2}]")))
            .expect("a header");
        let words: Vec<&str> = line.split(']').nth(1).expect("columns").split_whitespace().collect();
        assert_eq!(words[0], name);
        let size = u64::from_str_radix(words[4], 16).expect("a size");
        assert_eq!(section["size_bytes"], size, "{line}");
        let flags = if words.len() == 10 { words[6] } else { "" };
        assert_eq!(section["flags"], flags, "{line}");
    }
    let kind = |name: &str| {
        sections
            .iter()
            .find(|section| section["name"] == name)
            .map(|s| s["kind"].clone())
    };
    for (name, expected) in [
        (".text", "code"),
        (".data", "data"),
        (".bss", "zeros"),
        (".rodata", "constants"),
        (".tdata", "thread-local"),
        (".init_array", "constructors"),
        (".debug_info", "debug"),
    ] {
        assert_eq!(kind(name), Some(expected.into()), "{name}");
    }
}

#[test]
fn nothing_is_run() {
    let folder = Folder::new();
    let object = folder.compile("program.c", PROGRAM, &[]);
    let text = folder.restub_ok(&["inspect", &object]);
    assert!(!text.contains("ran\n"), "{text}");
    assert!(text.contains("\nloads: "), "{text}");
}

/// The relocations of the only object, by symbol: outcome and rewrite.
fn outcomes(report: &Value) -> BTreeMap<String, BTreeSet<String>> {
    let mut outcomes: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for relocation in report["files"][0]["objects"][0]["relocations"]
        .as_array()
        .expect("relocations")
    {
        let symbol = relocation["symbol"].as_str().expect("a symbol").to_owned();
        let outcome = relocation["outcome"].as_str().expect("an outcome");
        let rewrite = relocation["relaxation"].as_str().map(|r| format!("{outcome}: {r}"));
        outcomes
            .entry(symbol)
            .or_default()
            .insert(rewrite.unwrap_or_else(|| outcome.to_owned()));
    }
    outcomes
}

#[test]
fn relocations_say_what_they_become() {
    let folder = Folder::new();
    let source = r#"
        .text
        .globl own
        own:    call puts@PLT
                call own
                mov own@GOTPCREL(%rip), %rax
                call *own@GOTPCREL(%rip)
                jmp *own@GOTPCREL(%rip)
                push kept@GOTPCREL(%rip)
                mov weak@GOTPCREL(%rip), %rbx
                mov %fs:exec@tpoff, %eax
                mov initial@gottpoff(%rip), %rax
                lea dynamic@tlsgd(%rip), %rdi
                lea locals@tlsld(%rip), %rdi
                lea locals@dtpoff(%rax), %rax
                lea descriptor@tlsdesc(%rip), %rax
                call *descriptor@tlscall(%rax)
        .weak weak
        .data
        kept:   .quad own
        .section .tdata,"awT",@progbits
        exec:   .long 1
        initial: .long 2
        dynamic: .long 3
        locals: .long 4
        descriptor: .long 5
    "#;
    let object = folder.compile("forms.s", source, &[]);
    let (report, status) = inspect(&folder, &["--relocs", &object]);
    assert_eq!(status, Some(0), "{}", report["load"]);
    let outcomes = outcomes(&report);
    let of = |symbol: &str| {
        outcomes
            .get(symbol)
            .cloned()
            .unwrap_or_default()
            .into_iter()
            .collect::<Vec<_>>()
    };
    assert!(of("puts") == ["direct"] || of("puts") == ["plt"], "{:?}", of("puts"));
    assert_eq!(
        of("own"),
        [
            "direct",
            "relaxed: call *foo@GOTPCREL(%rip) -> addr32 call foo",
            "relaxed: jmp *foo@GOTPCREL(%rip) -> jmp foo; nop",
            "relaxed: mov foo@GOTPCREL(%rip), %reg -> lea foo(%rip), %reg",
        ]
    );
    assert_eq!(of("kept"), ["got"]);
    assert_eq!(of("exec"), ["tls-le"]);
    assert_eq!(of("initial"), ["tls-ie"]);
    assert_eq!(of("dynamic"), ["tls-gd"]);
    assert_eq!(of("locals"), ["tls-block", "tls-ld"]);
    assert_eq!(of("descriptor"), ["mark", "tls-desc"]);
    let models = list(&report["files"][0]["objects"][0]["tls_models"]).join(",");
    assert_eq!(
        models,
        "general dynamic,local dynamic,descriptors,initial exec,local exec"
    );
}

#[test]
fn code_that_is_not_position_independent_gets_copies() {
    let folder = Folder::new();
    let source = "#include <stdio.h>\nint main(void) { return stdout != 0; }";
    let object = folder.compile("low.c", source, &["-fno-pic", "-O1"]);
    let (report, status) = inspect(&folder, &["--relocs", &object]);
    assert_eq!(status, Some(0), "{}", report["load"]);
    let object_report = &report["files"][0]["objects"][0];
    let reads_stdout = outcomes(&report).remove("stdout").unwrap_or_default();
    // With a 32-bit absolute field the object goes below 2 GiB, where a library's variable is out of reach.
    let low = list(&object_report["needs"]).join(",").contains("below 2 GiB");
    let expected = if low { "copy" } else { "direct" };
    assert_eq!(
        reads_stdout.into_iter().collect::<Vec<_>>(),
        [expected],
        "{object_report}"
    );
    let absolute = folder.compile("copy.s", ".globl main\nmain: mov stdout, %rax\nret\n", &[]);
    let (report, status) = inspect(&folder, &["--relocs", &absolute]);
    assert_eq!(status, Some(0), "{}", report["load"]);
    assert!(outcomes(&report)["stdout"].contains("copy"), "{report}");
}

#[test]
fn processor_features_are_read_from_the_notes() {
    let folder = Folder::new();
    let source = "int f(void) { return 1; }";
    let needs = |flags: &[&str]| {
        let object = folder.compile("features.c", source, flags);
        let (report, _) = inspect(&folder, &[&object]);
        list(&report["files"][0]["objects"][0]["needs"]).join(", ")
    };
    let plain = needs(&["-fcf-protection=none"]);
    assert!(!plain.contains("x86-64") && !plain.contains("IBT"), "{plain}");
    let v3 = needs(&["-march=x86-64-v3", "-mneeded"]);
    assert!(v3.contains("x86-64-v3") && !v3.contains("x86-64-v4"), "{v3}");
    let protected = needs(&["-fcf-protection=full"]);
    assert!(protected.contains("IBT") && protected.contains("SHSTK"), "{protected}");
    let split = needs(&["-fsplit-stack"]);
    assert!(split.contains("split stacks"), "{split}");
    let common = needs(&["-fcommon", "-Dint=int common; int"]);
    assert!(common.contains("common symbols"), "{common}");
}

#[test]
fn undefined_symbols_are_listed_with_who_wants_them() {
    let folder = Folder::new();
    folder.compile(
        "one.c",
        "int gone(void), lost; int one(void) { return gone() + lost; }",
        &["-fPIC", "-O1"],
    );
    folder.compile(
        "two.c",
        "int gone(void), one(void); int two(void) { return gone() + one(); }",
        &["-fPIC", "-O1"],
    );
    folder.compile(
        "asan.c",
        "void __asan_init(void); void three(void) { __asan_init(); }",
        &[],
    );
    let (report, status) = inspect(&folder, &["--relocs", "one.o", "two.o", "asan.o"]);
    assert_eq!(status, Some(1));
    let load = &report["load"];
    assert_eq!(load["loads"], false);
    let undefined = load["undefined"].as_array().expect("a list");
    assert_eq!(undefined.len(), 2, "{load}");
    assert_eq!(
        (&undefined[0]["symbol"], list(&undefined[0]["wanted_by"])),
        (&"gone".into(), vec!["one.o", "two.o"])
    );
    assert_eq!(undefined[1]["symbol"], "__asan_init");
    assert!(
        undefined[1]["hint"]
            .as_str()
            .is_some_and(|hint| hint.contains("AddressSanitizer"))
    );
    // The error is that of a load.
    let run = folder.restub_error(1, &["run", "--entry", "two", "one.o", "two.o", "asan.o"]);
    assert_eq!(run, format!("restub: {}\n", load["error"].as_str().expect("an error")));
    // All the rest still says what it becomes.
    let one = outcomes(&report);
    assert_eq!(one["gone"].iter().collect::<Vec<_>>(), ["undefined"]);
    assert!(
        one["lost"].iter().all(|outcome| outcome.starts_with("relaxed")),
        "{one:?}"
    );
    let text = texts(&folder.restub(&["inspect", "one.o", "two.o", "asan.o"])).0;
    assert!(
        text.contains("does not load:\n  undefined symbol gone, wanted by one.o, two.o\n"),
        "{text}"
    );
}

#[test]
fn comdat_groups_say_whose_copy_is_used() {
    let folder = Folder::new();
    let header = "inline int shared(int x) { static int calls; return x + ++calls; }\n";
    folder.compile("one.cc", &format!("{header} int one() {{ return shared(1); }}"), &[]);
    folder.compile("two.cc", &format!("{header} int two() {{ return shared(2); }}"), &[]);
    let (report, status) = inspect(&folder, &["one.o", "two.o"]);
    assert_eq!(status, Some(0), "{}", report["load"]);
    let kept = |file: usize| -> BTreeMap<String, bool> {
        let groups = report["files"][file]["objects"][0]["comdat_groups"]
            .as_array()
            .expect("groups");
        let group = |group: &Value| {
            (
                group["signature"].as_str().expect("text").to_owned(),
                group["kept"] == true,
            )
        };
        groups.iter().map(group).collect()
    };
    let names: Vec<String> = kept(0).into_keys().collect();
    assert_eq!(names, ["_Z6sharedi", "_ZZ6sharediE5calls"]);
    assert!(kept(0).values().all(|kept| *kept), "{:?}", kept(0));
    assert!(kept(1).values().all(|kept| !*kept), "{:?}", kept(1));
    let needs = list(&report["files"][0]["objects"][0]["needs"]).join(",");
    assert!(needs.contains("GNU_UNIQUE"), "{needs}");
}

#[test]
fn archives_give_what_is_needed_or_everything() {
    let folder = Folder::new();
    folder.compile("main.c", "int wanted(void); int main(void) { return wanted(); }", &[]);
    folder.compile("wanted.c", "int wanted(void) { return 1; }", &[]);
    folder.compile(
        "spare.c",
        "int nowhere(void); int spare(void) { return nowhere(); }",
        &[],
    );
    folder.tool("ar", &["rcs", "lib.a", "wanted.o", "spare.o"]);
    let linked = |report: &Value, file: usize| -> Vec<(String, bool)> {
        let objects = report["files"][file]["objects"].as_array().expect("objects");
        let object = |object: &Value| {
            (
                object["name"].as_str().expect("a name").to_owned(),
                object["linked"] == true,
            )
        };
        objects.iter().map(object).collect()
    };
    let (report, status) = inspect(&folder, &["main.o", "lib.a"]);
    assert_eq!(status, Some(0), "{}", report["load"]);
    assert_eq!(report["files"][1]["kind"], "archive");
    assert_eq!(
        linked(&report, 1),
        [("lib.a(wanted.o)".into(), true), ("lib.a(spare.o)".into(), false)]
    );
    let (report, status) = inspect(&folder, &["lib.a"]);
    assert_eq!(status, Some(1));
    assert_eq!(
        linked(&report, 0),
        [("lib.a(wanted.o)".into(), true), ("lib.a(spare.o)".into(), true)]
    );
    assert_eq!(report["load"]["undefined"][0]["symbol"], "nowhere");
}

#[test]
fn a_file_that_cannot_be_read_does_not_hide_the_others() {
    let folder = Folder::new();
    folder.compile("good.c", "int good(void) { return 1; }", &[]);
    folder.write("bad.o", "\x7fELF");
    folder.write("source.c", "int x;");
    let (report, status) = inspect(&folder, &["source.c", "good.o", "bad.o", "missing.o"]);
    assert_eq!(status, Some(1));
    let files = report["files"].as_array().expect("files");
    let error = |file: usize| files[file]["error"].as_str().unwrap_or_default();
    assert!(error(0).contains("compile it first: gcc -c source.c"), "{}", error(0));
    assert_eq!(error(1), "");
    assert!(error(2).starts_with("bad.o: malformed: "), "{}", error(2));
    assert!(
        error(3).starts_with("missing.o: cannot be read: No such file"),
        "{}",
        error(3)
    );
    assert_eq!(files[1]["objects"][0]["symbol_counts"]["global"], 1);
    assert_eq!(report["load"]["error"], files[0]["error"]);
}

#[test]
fn a_relocation_that_does_not_fit_is_the_exact_error() {
    let folder = Folder::new();
    let source = ".globl main\nmain: mov $far, %eax\nret\n.globl far\nfar = 0x123456789a\n";
    let object = folder.compile("far.s", source, &[]);
    let (report, status) = inspect(&folder, &[&object]);
    assert_eq!(status, Some(1));
    let error = report["load"]["error"].as_str().expect("an error");
    assert!(
        error.starts_with("far.o: .text+0x1: R_X86_64_32 against far: 0x123456789a does not fit"),
        "{error}"
    );
    assert_eq!(folder.restub_error(1, &["run", &object]), format!("restub: {error}\n"));
    let one = folder.compile("one.c", "int twice(void) { return 1; }", &[]);
    let two = folder.compile("two.c", "int twice(void) { return 2; }", &[]);
    let (report, status) = inspect(&folder, &[&one, &two]);
    assert_eq!(status, Some(1));
    assert_eq!(
        report["load"]["error"],
        "two.o: duplicate definition of twice, which one.o defines already"
    );
}

#[test]
fn symbols_are_those_of_readelf() {
    let folder = Folder::new();
    let object = folder.compile("program.c", PROGRAM, &["-fvisibility=hidden"]);
    let (report, _) = inspect(&folder, &["--symbols", &object]);
    let symbols = report["files"][0]["objects"][0]["symbols"]
        .as_array()
        .expect("symbols")
        .clone();
    let table = folder.tool("readelf", &["-sW", &object]);
    let rows: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
    let rows = rows
        .iter()
        .filter(|row| row.len() >= 7 && row[0].ends_with(':') && row[0] != "Num:" && row[0] != "0:");
    let rows: Vec<_> = rows.collect();
    assert_eq!(symbols.len(), rows.len());
    for (symbol, row) in symbols.iter().zip(rows) {
        assert_eq!(symbol["size"].as_u64().expect("a size").to_string(), row[2], "{row:?}");
        assert_eq!(
            symbol["binding"].as_str().expect("text").to_uppercase(),
            row[4],
            "{row:?}"
        );
        assert_eq!(
            symbol["visibility"].as_str().expect("text").to_uppercase(),
            row[5],
            "{row:?}"
        );
        assert_eq!(symbol["section"] == "<undefined>", row[6] == "UND", "{row:?}");
        if let (Some(name), false) = (row.get(7), row[3] == "SECTION") {
            assert_eq!(symbol["name"], *name);
        }
    }
    let text = folder.restub_ok(&["inspect", "--symbols", "--relocs", &object]);
    assert!(
        text.lines()
            .any(|line| line.contains(" ifunc ") && line.ends_with(" chosen")),
        "{text}"
    );
    assert!(
        text.lines()
            .any(|line| line.contains(" fprintf-0x4 ") && line.contains("R_X86_64_PLT32")),
        "{text}"
    );
}

#[test]
fn damaged_objects_are_described_or_refused() {
    let folder = Folder::new();
    let object = folder.compile("program.c", PROGRAM, &["-fPIC", "-g", "-O1"]);
    let whole = std::fs::read(folder.file(&object)).expect("the object");
    // A xorshift generator: the same damage in every run.
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut below = |limit: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % limit as u64) as usize
    };
    let mut loaded = 0;
    for round in 0..150 {
        let mut damaged = whole.clone();
        if round % 5 == 0 {
            damaged.truncate(below(whole.len()));
        } else {
            // Half of the damage is done to the headers, which are at the end.
            let start = below(2) * (whole.len() - 64 * 30);
            damaged[start + below(whole.len() - start)] = below(256) as u8;
        }
        std::fs::write(folder.file("damaged.o"), &damaged).expect("the object can be written");
        let output = folder.restub(&["inspect", "--relocs", "--symbols", "damaged.o"]);
        let (stdout, stderr) = texts_lossy(&output);
        assert!(matches!(output.status.code(), Some(0 | 1)), "round {round}: {stderr}");
        assert!(
            stdout.contains("\nloads: ") || stdout.contains("does not load:"),
            "round {round}: {stdout}"
        );
        assert_eq!(stderr, "", "round {round}");
        loaded += u32::from(output.status.success());
    }
    assert!(loaded > 20 && loaded < 150, "{loaded}");
}

/// Standard output and standard error, whatever bytes damaged names have.
fn texts_lossy(output: &std::process::Output) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (text(&output.stdout), text(&output.stderr))
}
