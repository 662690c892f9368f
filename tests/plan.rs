//! Linking without running, and naming the function at an address.

#![allow(missing_docs, reason = "tests have names")]

mod support;

use restub::Session;
use restub::loader::{Detail, SegmentKind};
use support::{compile, mappings};

const SOURCE: &str = "
    #include <stdlib.h>
    __thread int local = 3;
    static int (*choose(void))(void) { abort(); }
    int chosen(void) __attribute__((ifunc(\"choose\")));
    __attribute__((constructor)) static void early(void) { abort(); }
    int planned(void) { return local + chosen(); }
";

#[test]
fn a_plan_runs_nothing_and_leaves_nothing() {
    let session = Session::new();
    let objects = [compile("planned.c", SOURCE, &[])];
    let image = session.plan(&objects).expect("plan");
    assert!(image.relocations.iter().any(|relocation| relocation.symbol == "abort"));
    assert!(
        image
            .sections
            .iter()
            .any(|section| &*section.name == ".text" && section.segment == SegmentKind::Code)
    );
    assert!(image.symbols.iter().any(|symbol| &*symbol.name == "early"));
    assert_eq!(session.symbol("planned"), None);
    let (stats, before) = (session.stats(), mappings().len());
    assert_eq!((stats.modules, stats.symbols, stats.image_bytes), (0, 0, 0));
    for _ in 0..1000 {
        // The thread-local block comes from a reserve that would be used up.
        let again = session.plan(&objects).expect("plan");
        assert_eq!(again.placement, image.placement);
    }
    assert_eq!(session.stats(), stats);
    assert!(
        mappings().len() <= before + 2,
        "{before} mappings before, {} after",
        mappings().len()
    );
}

#[test]
fn a_plan_fails_as_a_load_does() {
    let session = Session::new();
    // SAFETY: the object has no constructors, and its function is not called.
    unsafe { session.load(&[compile("taken.c", "int taken(void) { return 1; }", &[])]) }.expect("load");
    let again = [compile(
        "taken_again.c",
        "int taken(void) { return 2; } int other(void) { return 3; }",
        &[],
    )];
    let planned = session.plan(&again).expect_err("duplicate").to_string();
    // SAFETY: as above.
    let loaded = unsafe { session.load(&again) }.expect_err("duplicate").to_string();
    assert_eq!(planned, loaded);
    assert!(planned.contains("duplicate definition of taken"), "{planned}");
}

#[test]
fn addresses_belong_to_functions() {
    let session = Session::builder().detail(Detail::Full).build();
    let source = "
        __attribute__((noipa)) static int inner(int x) { return x * 3; }
        int outer(int x) { return inner(x) + 1; }
        asm(\".globl bare\\nbare: ret\\n\");
    ";
    // SAFETY: the object has no constructors.
    let module = unsafe { session.load(&[compile("located.c", source, &["-O1"])]) }.expect("load");
    let at = |address: u64| {
        let mut found = None;
        let known = session.function_at(address, |name, offset, object| {
            found = Some((name.to_owned(), offset, object.to_owned()));
        });
        assert_eq!(known, found.is_some());
        found
    };
    let image = session.image(module).expect("image");
    for name in ["inner", "outer"] {
        let symbol = image
            .symbols
            .iter()
            .find(|symbol| &*symbol.name == name)
            .expect("the function");
        for offset in [0, 1, symbol.size - 1] {
            assert_eq!(
                at(symbol.address + offset),
                Some((name.to_owned(), offset, "located.c.o".to_owned()))
            );
        }
    }
    let bare = session.symbol("bare").expect("bare").address;
    assert_eq!(
        at(bare),
        Some(("bare".into(), 0, "located.c.o".into())),
        "a function without a size"
    );
    let code = image.placement.addresses[SegmentKind::Code as usize];
    assert_eq!(at(code - 1), None);
    assert_eq!(at(0), None);
    assert_eq!(at(restub::host_symbol("puts").expect("puts")), None);
    // SAFETY: nothing of the module is in use.
    unsafe { session.unload(module) }.expect("unload");
    assert_eq!(at(bare), None);
}
