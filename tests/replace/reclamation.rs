//! What keeps an old version, beside pins: objects that threads have of it, and memory that may point to it.

use restub::{Data, Linkage, Replace, Session};

use crate::support::compile;
use crate::{call, load, replace, session};

#[test]
fn a_module_stays_while_threads_have_objects_of_it() {
    let session = Session::builder()
        .linkage(Linkage::Stubs)
        .default_libraries(true)
        .build();
    let source = |value: i32| {
        format!(
            "extern \"C\" {{ int destroyed; }}
             struct Object {{ int value = {value}; ~Object() {{ destroyed += value; }} }};
             static thread_local Object object;
             extern \"C\" int touch() {{ return object.value; }}
             extern \"C\" int count() {{ return destroyed; }}"
        )
    };
    let object = |value| compile("object.cc", &source(value), &["-O1", "-fPIC"]);
    load(&session, &[object(1)]);
    let (touched, wait) = std::sync::mpsc::channel();
    let (end, ended) = std::sync::mpsc::channel::<()>();
    std::thread::scope(|scope| {
        let session = &session;
        let thread = scope.spawn(move || {
            touched.send(call(session, "touch")).expect("a receiver");
            ended.recv().expect("a sender");
        });
        assert_eq!(wait.recv().expect("a thread that touches"), 1);
        replace(session, &[object(2)], &Replace::new().data(Data::Reset));
        assert_eq!(session.collect().expect("no scan").modules, 0);
        end.send(()).expect("a receiver");
        // A thread that is joined has destroyed its objects; the scope's end alone does not wait for that.
        thread.join().expect("no panic");
    });
    assert_eq!(session.collect().expect("no scan").modules, 1);
    // The destructor was registered by its address, which is that of its stub.
    assert_eq!(call(&session, "count"), 1);
}

#[test]
fn what_memory_may_point_to_stays() {
    let session = session();
    let source = |value: i32| {
        format!(
            "const char *text; int (*callback)(void); int plain(void) {{ return {value}; }}
             static int local(void) {{ return {value}; }}
             void remember(void) {{ text = \"number {value}\"; }}
             int digit(void) {{ return text[7]; }}
             int called(void) {{ return callback(); }}
             void LOCAL(void) {{ callback = local; }}"
        )
    };
    let run = |name: &str| {
        let pin = session.pin();
        // SAFETY: the tests' own functions, of this type.
        let function =
            unsafe { pin.function::<unsafe extern "C" fn()>(name) }.unwrap_or_else(|error| panic!("{error}"));
        // SAFETY: as above.
        unsafe { function() };
    };
    // Without the function that hands a local one over, only the constants stay.
    let strings = |value| {
        compile(
            "text.c",
            &source(value).replace("callback = local", "local()"),
            &["-O1", "-fPIC"],
        )
    };
    let mut module = load(&session, &[strings(1)]);
    module = replace(&session, &[strings(2)], &Replace::new().whole(module)).module;
    run("remember");
    replace(&session, &[strings(3)], &Replace::new().whole(module));
    assert_eq!(session.collect().expect("no scan").modules, 1);
    let strings_bytes = session.stats().kept_bytes;
    assert!(strings_bytes > 0);
    assert_eq!(call(&session, "digit"), i32::from(b'2'));
    // With it, all of the module stays.
    for flags in [
        &["-O1", "-fPIC"][..],
        &["-O1", "-ffunction-sections"],
        &["-O1", "-fno-pic"],
    ] {
        let session = Session::builder().linkage(Linkage::Stubs).build();
        let name = |value| compile("callback.c", &source(value), flags);
        load(&session, &[name(1)]);
        replace(&session, &[name(2)], &Replace::new());
        let pin = session.pin();
        // SAFETY: the tests' own functions, of this type.
        let hand_over = unsafe { pin.function::<unsafe extern "C" fn()>("LOCAL") }.expect("LOCAL");
        // SAFETY: as above.
        unsafe { hand_over() };
        drop(pin);
        replace(&session, &[name(3)], &Replace::new());
        session.collect().expect("no scan");
        assert_eq!(call(&session, "called"), 2, "{flags:?}");
        assert_eq!(call(&session, "plain"), 3, "{flags:?}");
    }
    // Who promises that nothing is held gets the memory back.
    let session = Session::builder()
        .linkage(Linkage::Stubs)
        .exposed(restub::Exposed::Free)
        .build();
    load(&session, &[compile("free.c", &source(1), &["-O1"])]);
    for value in 2..5 {
        replace(
            &session,
            &[compile("free.c", &source(value), &["-O1"])],
            &Replace::new(),
        );
    }
    session.collect().expect("no scan");
    assert_eq!((session.stats().kept_bytes, session.stats().modules), (0, 2));
}
