//! Exceptions, panics, cancellation and backtraces through loaded code.

mod support;

use std::panic::{AssertUnwindSafe, catch_unwind};

use restub::Session;
use restub::loader::Input;
use support::compile;

fn load(session: &Session, inputs: &[Input<'_>]) -> restub::ModuleId {
    // SAFETY: the tests' own sources.
    unsafe { session.load(inputs) }.unwrap_or_else(|error| panic!("{error}"))
}

fn session() -> Session {
    Session::builder().default_libraries(true).build()
}

fn call(session: &Session, name: &str) -> i32 {
    // SAFETY: the tests call functions of this type only.
    let function = unsafe { session.function::<unsafe extern "C-unwind" fn() -> i32>(name) };
    let function = function.unwrap_or_else(|error| panic!("{error}"));
    // SAFETY: the tests' own sources.
    unsafe { function() }
}

const THROWS: &str = "#include <stdexcept>\n extern \"C\" int thrower() { throw std::runtime_error(\"four\"); }";

#[test]
fn an_exception_passes_from_module_to_module_through_a_host_frame() {
    for (name, flags) in [
        ("default", &["-O2"][..]),
        ("pic", &["-fPIC"]),
        ("low", &["-fno-pic"]),
        ("large", &["-fPIC", "-mcmodel=large"]),
    ] {
        // The host's frame: called by one module, and calling the other.
        unsafe extern "C-unwind" fn between(inner: unsafe extern "C-unwind" fn() -> i32) -> i32 {
            struct Dropped<'a>(&'a std::cell::Cell<i32>);
            impl Drop for Dropped<'_> {
                fn drop(&mut self) {
                    self.0.set(self.0.get() + 1);
                }
            }
            thread_local! { static DROPS: std::cell::Cell<i32> = const { std::cell::Cell::new(0) }; }
            DROPS.with(|drops| {
                let _dropped = Dropped(drops);
                // SAFETY: the test's own function.
                unsafe { inner() }
            })
        }
        let session = session();
        let host: unsafe extern "C-unwind" fn(unsafe extern "C-unwind" fn() -> i32) -> i32 = between;
        session.define("between", host as usize as u64);
        load(&session, &[compile(&format!("throws_{name}.cc"), THROWS, flags)]);
        let catches = "#include <stdexcept>\n#include <string>\n extern \"C\" int between(int (*)()); extern \"C\" int thrower(); \
             extern \"C\" int catcher() { try { return between(thrower); } \
             catch (const std::runtime_error &e) { return std::string(e.what()).size() + 38; } }";
        load(&session, &[compile(&format!("catches_{name}.cc"), catches, flags)]);
        assert_eq!(call(&session, "catcher"), 42, "{name}");
    }
}

#[test]
fn throwing_is_possible_after_other_modules_have_come_and_gone() {
    let session = session();
    let source = "extern \"C\" int round_trip() { try { throw 41; } catch (int i) { return i + 1; } }";
    load(&session, &[compile("round_trip.cc", source, &["-O1"])]);
    let other = [compile(
        "passes_by.c",
        "int passes_by(int n) { return n ? passes_by(n - 1) : 0; }",
        &["-O0"],
    )];
    for _ in 0..300 {
        let module = load(&session, &other);
        assert_eq!(call(&session, "round_trip"), 42);
        // SAFETY: nothing runs in it.
        unsafe { session.unload(module) }.expect("nothing uses it");
        assert_eq!(call(&session, "round_trip"), 42);
    }
}

#[test]
fn a_panic_passes_through_loaded_frames() {
    unsafe extern "C-unwind" fn panics() -> i32 {
        std::panic::resume_unwind(Box::new(42))
    }
    let session = session();
    session.define("panics", panics as unsafe extern "C-unwind" fn() -> i32 as usize as u64);
    let source = "int panics(void); extern int cleaned; static void clean(int *n) { cleaned += *n; } \
         int passes(void) { __attribute__((cleanup(clean))) int n = 7; return panics() + n; }";
    let cleaned: &'static i32 = Box::leak(Box::new(0));
    session.define("cleaned", std::ptr::from_ref(cleaned) as u64);
    load(
        &session,
        &[compile("passes.c", source, &["-fexceptions", "-mcmodel=large"])],
    );
    let result = catch_unwind(AssertUnwindSafe(|| call(&session, "passes")));
    assert_eq!(
        *result
            .expect_err("the panic arrives")
            .downcast::<i32>()
            .expect("its own payload"),
        42
    );
    // SAFETY: nothing writes it any more.
    assert_eq!(unsafe { std::ptr::from_ref(cleaned).read_volatile() }, 7);
}

#[test]
fn cancelling_a_thread_runs_the_cleanups_of_loaded_frames() {
    let source = r"
        #include <pthread.h>
        #include <semaphore.h>
        static sem_t ready, never;
        static int cleaned;
        static void clean(int *n) { cleaned += *n; }
        static void *blocks(void *unused) {
            __attribute__((cleanup(clean))) int n = 5;
            sem_post(&ready);
            sem_wait(&never);
            return unused;
        }
        int cancel(void) {
            pthread_t thread;
            void *result;
            sem_init(&ready, 0, 0);
            sem_init(&never, 0, 0);
            if (pthread_create(&thread, 0, blocks, 0)) return -1;
            sem_wait(&ready);
            pthread_cancel(thread);
            pthread_join(thread, &result);
            return result == PTHREAD_CANCELED ? cleaned : -2;
        }";
    let session = session();
    load(&session, &[compile("cancel.c", source, &["-fexceptions", "-O1"])]);
    assert_eq!(call(&session, "cancel"), 5);
}

#[test]
fn a_backtrace_goes_through_loaded_frames_to_the_host() {
    let source = r"
        #include <execinfo.h>
        static void *frames[200];
        static int deep(int n) {
            if (n) return deep(n - 1) + 0 * n;
            return backtrace(frames, 200);
        }
        int depth(void) { return deep(10); }";
    let session = session();
    load(&session, &[compile("depth.c", source, &["-O0"])]);
    // Twelve loaded frames, and the host's behind them.
    assert!(call(&session, "depth") > 12 + 3);
}

#[test]
fn throwing_is_possible_wherever_memory_is_free() {
    // libgcc does not see a function at a multiple of 4 GiB. An arena as close below this variable as it can be would
    // begin at one.
    const MULTIPLE: u64 = 0x2100 << 32;
    const ARENA_BYTES: u64 = 256 << 20;
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED_NOREPLACE;
    let address = std::ptr::with_exposed_provenance_mut((MULTIPLE + ARENA_BYTES) as usize);
    // SAFETY: only an address that nothing uses is taken.
    let variable = unsafe { libc::mmap(address, 4096, libc::PROT_READ, flags, -1, 0) };
    assert_eq!(variable, address);
    let session = session();
    session.define("variable", variable as u64);
    let source = "extern \"C\" int thrown() { int n; asm(\"mov variable(%%rip), %0\" : \"=r\"(n)); \
                  try { throw n + 41; } catch (int i) { return i + 1; } }";
    load(&session, &[compile("wherever.cc", source, &["-fPIC", "-O1"])]);
    let function = session.symbol("thrown").expect("it was loaded").address;
    assert!(function.abs_diff(MULTIPLE) <= ARENA_BYTES, "{function:#x}");
    assert_eq!(call(&session, "thrown"), 42);
}

#[test]
fn throwing_is_possible_in_modules_that_fill_the_holes_others_left() {
    // libgcc before 13 takes registered tables for ones whose ranges of code do not overlap.
    const MODULES: usize = 600;
    let session = session();
    let input = |i: usize| {
        let source = format!("extern \"C\" int round_trip() {{ try {{ throw {i}; }} catch (int i) {{ return i; }} }}");
        [compile(&format!("round_{i}.cc"), &source, &["-O1"])]
    };
    let template = input(123_456_789);
    let bytes = template[0].bytes();
    let places = |pattern: &[u8]| {
        let found = (0..bytes.len()).filter(|&at| bytes[at..].starts_with(pattern));
        found.collect::<Vec<_>>()
    };
    let (names, numbers) = (places(b"round_trip\0"), places(&123_456_789u32.to_le_bytes()));
    assert!(!names.is_empty() && !numbers.is_empty());
    let numbered = |i: usize| {
        let mut bytes = bytes.to_vec();
        for at in &names {
            bytes[*at..at + 10].copy_from_slice(format!("round_{i:04}").as_bytes());
        }
        for at in &numbers {
            bytes[*at..at + 4].copy_from_slice(&(i as u32).to_le_bytes());
        }
        [Input::from_bytes(format!("round_{i}.o"), bytes)]
    };
    let mut modules: Vec<_> = (0..MODULES).map(|i| load(&session, &numbered(i))).collect();
    for round in 0..3 {
        for i in (round..MODULES).step_by(3 + round) {
            // SAFETY: nothing runs in it.
            unsafe { session.unload(modules[i]) }.expect("nothing uses it");
        }
        for i in (round..MODULES)
            .step_by(3 + round)
            .collect::<Vec<_>>()
            .into_iter()
            .rev()
        {
            modules[i] = load(&session, &numbered(i));
        }
        for i in 0..MODULES {
            assert_eq!(call(&session, &format!("round_{i:04}")), i as i32);
        }
    }
}
