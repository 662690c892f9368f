//! What a debugger that is attached sees of versions, and of variables that are kept.

use std::sync::Mutex;

use restub::{Linkage, Replace, Session};

use crate::support::compile;
use crate::{call, load, replace};

/// What gdb, attached to this very process, says to some commands.
fn gdb(commands: &[&str]) -> String {
    // A process has one debugger at a time, and the tests share theirs.
    static ATTACHED: Mutex<()> = Mutex::new(());
    let _attached = ATTACHED.lock();
    // SAFETY: lets a debugger attach where only ancestors may (Yama); takes no pointers.
    unsafe { libc::prctl(libc::PR_SET_PTRACER, libc::PR_SET_PTRACER_ANY) };
    let mut gdb = std::process::Command::new("gdb");
    gdb.args(["-nx", "-q", "-batch", "-ex", "set debuginfod enabled off", "-p"]);
    gdb.arg(std::process::id().to_string());
    for command in commands {
        gdb.args(["-ex", command]);
    }
    let output = gdb
        .output()
        .unwrap_or_else(|error| panic!("gdb is needed for this test: {error}"));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn debuggers_see_the_current_version_once_the_old_one_is_reclaimed() {
    let session = Session::builder().linkage(Linkage::Stubs).gdb(true).build();
    let version = |name: &str, value: i32| {
        compile(
            name,
            &format!("int watched(void) {{ return {value}; }}"),
            &["-g", "-O1"],
        )
    };
    load(&session, &[version("watched-1.c", 1)]);
    let pin = session.pin();
    replace(&session, &[version("watched-2.c", 2)], &Replace::new());
    let both = gdb(&["info scope watched", "info functions -n ^watched$"]);
    assert!(both.contains("watched-1.c") && both.contains("watched-2.c"), "{both}");
    drop(pin);
    assert_eq!(session.collect().expect("no scan").modules, 1);
    let current = gdb(&["info functions -n ^watched$", "info line watched"]);
    assert!(
        !current.contains("watched-1.c") && current.contains("watched-2.c"),
        "{current}"
    );
    assert_eq!(call(&session, "watched"), 2);
}

#[test]
fn debuggers_see_variables_where_they_are_kept() {
    for flags in [&["-g", "-O1"][..], &["-g", "-O1", "-fPIC", "-fdata-sections"]] {
        let session = Session::builder().linkage(Linkage::Stubs).gdb(true).build();
        let version = |step: i32| {
            let source = format!(
                "static int before, kept = 40; int shared = 1;
                 int counted(void) {{ return before += {step}, shared += {step}, kept += {step}; }}"
            );
            compile("counted.c", &source, flags)
        };
        load(&session, &[version(1)]);
        assert_eq!(call(&session, "counted"), 41);
        replace(&session, &[version(10)], &Replace::new());
        assert_eq!(call(&session, "counted"), 51);
        let seen = gdb(&["print before", "print kept", "print shared"]);
        assert!(
            ["$1 = 11", "$2 = 51", "$3 = 12"].iter().all(|line| seen.contains(line)),
            "{flags:?} {seen}"
        );
    }
}
