//! Thread-local variables of loaded modules, in every model, in threads of every age.

mod support;

use std::sync::mpsc;
use std::thread;

use restub::loader::{Error as LinkError, Input, MemoryError};
use restub::{Error, Session};
use support::compile;

type Nullary = unsafe extern "C" fn() -> i32;

const MODELS: [(&str, &[&str]); 7] = [
    ("default", &[]),
    ("non_pic", &["-fno-pic"]),
    ("initial_exec", &["-fPIC", "-ftls-model=initial-exec"]),
    ("general_dynamic", &["-fPIC", "-ftls-model=global-dynamic"]),
    ("local_dynamic", &["-fPIC", "-ftls-model=local-dynamic"]),
    ("descriptor", &["-fPIC", "-mtls-dialect=gnu2"]),
    ("large", &["-fPIC", "-mcmodel=large"]),
];

fn load(session: &Session, inputs: &[Input<'_>]) -> restub::ModuleId {
    // SAFETY: the tests' own sources.
    unsafe { session.load(inputs) }.unwrap_or_else(|error| panic!("{error}"))
}

fn call(session: &Session, name: &str) -> i32 {
    // SAFETY: the tests call functions of this type only.
    let function = unsafe { session.function::<Nullary>(name) }.unwrap_or_else(|error| panic!("{error}"));
    // SAFETY: the tests' own sources.
    unsafe { function() }
}

/// Threads that wait for an address to call twice, and report the two results.
struct Waiting {
    address: mpsc::Sender<u64>,
    results: mpsc::Receiver<(i32, i32)>,
}

impl Waiting {
    fn start() -> Self {
        let (address, addresses) = mpsc::channel::<u64>();
        let (result, results) = mpsc::channel();
        thread::spawn(move || {
            for address in addresses {
                // SAFETY: the test sends addresses of functions of this type.
                let function: Nullary = unsafe { std::mem::transmute(address as usize) };
                // SAFETY: the tests' own sources.
                let twice = [(); 2].map(|()| unsafe { function() });
                result.send((twice[0], twice[1])).expect("the test waits for it");
            }
        });
        Waiting { address, results }
    }

    fn call_twice(&self, address: u64) -> (i32, i32) {
        self.address.send(address).expect("the thread waits for it");
        self.results.recv().expect("the thread answers")
    }
}

#[test]
fn every_thread_has_its_own_initialized_copy_in_every_model() {
    let waiting = [Waiting::start(), Waiting::start()];
    for (model, flags) in MODELS {
        for start in [5, 50] {
            let session = Session::new();
            let source = format!(
                "__thread int a = {start}; static __thread int b = 7; __thread char zeros[300]; \
                 int bump(void) {{ zeros[299]++; return a++ + b++ + zeros[299] - 1; }}"
            );
            let module = load(&session, &[compile(&format!("tls_{model}_{start}.c"), &source, flags)]);
            let address = session.symbol("bump").expect("bump").address;
            let expected = (start + 7, start + 10);
            for thread in &waiting {
                assert_eq!(
                    thread.call_twice(address),
                    expected,
                    "{model}: a thread from before the load"
                );
            }
            assert_eq!(
                Waiting::start().call_twice(address),
                expected,
                "{model}: a thread from after the load"
            );
            assert_eq!(
                (call(&session, "bump"), call(&session, "bump")),
                expected,
                "{model}: this thread"
            );
            // The next module may get the same place, and must not see these values.
            // SAFETY: no thread is in the module.
            unsafe { session.unload(module) }.expect("nothing uses it");
        }
    }
}

#[test]
fn modules_share_a_variable_across_models() {
    for (model, flags) in MODELS {
        let session = Session::new();
        let owner = "__thread int shared = 3; int *where(void) { return &shared; }";
        load(
            &session,
            &[compile(
                &format!("owner_{model}.c"),
                owner,
                &["-fPIC", "-ftls-model=initial-exec"],
            )],
        );
        let user = "extern __thread int shared; int *where(void); int check(void) { shared += 39; return *where() == shared ? shared : -1; }";
        let user = [compile(&format!("user_{model}.c"), user, flags)];
        if model == "local_dynamic" {
            // Code that was promised a variable of its own module cannot find another's.
            // SAFETY: the test's own source.
            let error = unsafe { session.load(&user) }
                .expect_err("it has to be refused")
                .to_string();
            assert!(
                error.contains("R_X86_64_DTPOFF32 against shared: ") && error.contains("another module"),
                "{error}"
            );
            continue;
        }
        load(&session, &user);
        assert_eq!(call(&session, "check"), 42, "{model}");
    }
}

#[test]
fn blocks_are_aligned() {
    for (model, flags) in MODELS {
        let session = Session::new();
        let source = "__thread char odd = 1; __thread __attribute__((aligned(64))) int aligned = 4; \
             int check(void) { return ((unsigned long)&aligned & 63) == 0 && odd == 1 ? aligned : -1; }";
        load(&session, &[compile(&format!("aligned_{model}.c"), source, flags)]);
        assert_eq!(call(&session, "check"), 4, "{model}");
    }
}

#[test]
fn a_fixed_block_that_does_not_fit_is_refused_with_both_sizes() {
    let session = Session::new();
    let source = format!("__thread char huge[{}]; int f(void) {{ return huge[1]; }}", 10 << 20);
    // SAFETY: the test's own source.
    let result = unsafe { session.load(&[compile("tls_huge.c", &source, &[])]) };
    match result {
        Err(Error::Link(LinkError::Memory(MemoryError::StaticTls {
            wanted_bytes,
            free_bytes,
        }))) => {
            assert_eq!(wanted_bytes, 10 << 20);
            assert!(free_bytes <= restub::STATIC_RESERVE_BYTES as u64);
        }
        other => panic!("{other:?}"),
    }
    // The same variable without a fixed offset is as large as it likes.
    load(&session, &[compile("tls_huge_pic.c", &source, &["-fPIC"])]);
    assert_eq!(call(&session, "f"), 0);
}

#[test]
fn destructors_of_thread_local_objects_run_when_their_thread_ends() {
    for (name, flags) in [("tls_dtor.cc", &["-O1"][..]), ("tls_dtor_pic.cc", &["-O1", "-fPIC"])] {
        let source = "extern \"C\" int ended; \
             struct Note { int n = 4; ~Note() { ended += n; } }; \
             static thread_local Note note; \
             extern \"C\" int touch() { return note.n++; }";
        let session = Session::builder().default_libraries(true).build();
        let ended: &'static i32 = Box::leak(Box::new(0));
        session.define("ended", std::ptr::from_ref(ended) as u64);
        // An absolute symbol may be far away, so the code has to be able to reach it.
        let flags = [flags, &["-mcmodel=large"]].concat();
        load(&session, &[compile(name, source, &flags)]);
        // Joining waits for the end of the thread itself, which the end of a scope does not.
        let touch = session.symbol("touch").expect("touch").address;
        let thread = thread::spawn(move || {
            // SAFETY: the address of a function of this type.
            let touch: Nullary = unsafe { std::mem::transmute(touch as usize) };
            // SAFETY: the test's own source.
            assert_eq!(unsafe { touch() }, 4);
        });
        thread.join().expect("the thread's own assertion");
        // SAFETY: the thread that wrote it has ended.
        assert_eq!(unsafe { std::ptr::from_ref(ended).read_volatile() }, 5, "{name}");
    }
}
