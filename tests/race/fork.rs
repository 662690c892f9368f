//! Children are made while functions are called and replaced. They have the functions as they were, and replace, load
//! and unload for themselves.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;

use restub::loader::Input;
use restub::{Exposed, Linkage, Protection, Replace, Session, Slot};

use crate::support::compile;
use crate::world::{FUNCTIONS, Template, World, alone, collect_all, share, templates, value};

/// Versions that only children have.
const CHILDS: u64 = 1 << 40;

#[test]
fn children_replace_and_unload_for_themselves() {
    let _alone = alone();
    for (protection, slot) in [
        (Protection::Strict, Slot::Inline),
        (Protection::Fast, Slot::Inline),
        (Protection::Private, Slot::Split),
    ] {
        let session = Session::builder()
            .linkage(Linkage::Stubs)
            .protection(protection)
            .slot(slot)
            .exposed(Exposed::Free)
            .build();
        let (mut own, mut childs) = (templates(), templates());
        let source = "unsigned long f0(unsigned long); unsigned long more(unsigned long n) { return f0(n) + 1; }";
        let more = compile("more.c", source, &["-O1", "-fPIC"]);
        let world = &World::load(&session, &mut own[0]);
        let children = thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| call_without_pause(world));
            }
            let forker = scope.spawn(|| {
                let mut children = 0;
                while children == 0 || world.goes_on() {
                    fork(|| live(world, &mut childs, &more));
                    children += 1;
                }
                children
            });
            let (time, options) = (share(3.0), Replace::new());
            let replacements = world.replace_without_pause(&mut own, time, &options, || (), || true);
            world.counts(&format!("forks, {protection:?}"), replacements);
            forker.join().expect("no child failed")
        });
        println!("{children} children");
        collect_all(&session);
    }
}

fn call_without_pause(world: &World<'_>) {
    let functions: Vec<_> = (0..FUNCTIONS).map(|i| world.function(&format!("f{i}"))).collect();
    while world.goes_on() {
        for (i, function) in functions.iter().enumerate() {
            let _pin = world.session.pin();
            // SAFETY: the function is of this type in all of its versions, and the pin keeps them.
            world.check(i, || unsafe { function(3) });
        }
        world.count(FUNCTIONS as u64);
    }
}

/// Runs something in a child, and waits for it.
fn fork(child: impl FnOnce()) {
    const LIMIT_SECONDS: u32 = 60;
    // SAFETY: the child does what it may do beside restub, whose handlers see to its own locks, and the C library's.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        // SAFETY: no pointers; ends a child that hangs.
        unsafe { libc::alarm(LIMIT_SECONDS) };
        let failed = catch_unwind(AssertUnwindSafe(child)).is_err();
        // SAFETY: ends the process at once: nothing of the parent's is to be cleaned up here.
        unsafe { libc::_exit(i32::from(failed)) };
    }
    assert!(pid > 0, "no child");
    let mut status = 0;
    // SAFETY: the status is a local variable.
    let waited = unsafe { libc::waitpid(pid, &raw mut status, 0) };
    assert_eq!((waited, status), (pid, 0), "a child failed");
}

/// What a child does.
fn live(world: &World<'_>, templates: &mut [Template], more: &Input<'_>) {
    let session = world.session;
    let functions: Vec<_> = (0..FUNCTIONS).map(|i| world.function(&format!("f{i}"))).collect();
    for (n, template) in (CHILDS..).zip(templates) {
        let replaced = template.functions();
        // SAFETY: the test's own sources, of one type in all versions, and the child has one thread.
        unsafe { session.replace(&[template.version(n)], &Replace::new()) }.unwrap_or_else(|error| panic!("{error}"));
        for i in replaced {
            let _pin = session.pin();
            // SAFETY: the function is of this type.
            assert_eq!(unsafe { functions[i](4) }, value(i, n));
        }
    }
    // SAFETY: the test's own source.
    let module = unsafe { session.load(std::slice::from_ref(more)) }.unwrap_or_else(|error| panic!("{error}"));
    let more = world.function("more");
    // SAFETY: the function is of this type.
    assert!(unsafe { more(0) } > CHILDS);
    // SAFETY: nothing runs in it.
    unsafe { session.unload(module) }.unwrap_or_else(|error| panic!("{error}"));
    session.collect().unwrap_or_else(|error| panic!("{error}"));
}
