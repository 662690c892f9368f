//! Races in which calls do not return: they throw, jump, or are cancelled.

use std::cell::Cell;
use std::thread;

use restub::{Exposed, Linkage, Pin, Protection, Replace, Session, Slot};

use crate::profile::profiled;
use crate::support::compile;
use crate::world::{Called, Template, World, alone, collect_all, share};

fn session(protection: Protection, slot: Slot) -> Session {
    let builder = Session::builder().linkage(Linkage::Stubs).default_libraries(true);
    let builder = builder.exposed(Exposed::Free);
    builder.protection(protection).slot(slot).build()
}

fn load(session: &Session, name: &str, source: &str, flags: &[&str]) {
    // SAFETY: the test's own source.
    unsafe { session.load(&[compile(name, source, flags)]) }.unwrap_or_else(|error| panic!("{error}"));
}

/// What all sources of the C++ race start with.
const CLASSES: &str = "
    extern long alive;
    struct Counted {
        Counted() { __atomic_add_fetch(&alive, 1, __ATOMIC_RELAXED); }
        Counted(const Counted &) { __atomic_add_fetch(&alive, 1, __ATOMIC_RELAXED); }
        ~Counted() { __atomic_sub_fetch(&alive, 1, __ATOMIC_RELAXED); }
    };
    struct Thrown {
        explicit Thrown(unsigned long version) : version(version) {}
        virtual ~Thrown() {}
        virtual unsigned long get() const { return version; }
        unsigned long version;
        Counted counted;
    };
    extern \"C\" unsigned long f0(unsigned long);
    extern \"C\" unsigned long f1(unsigned long);
    extern \"C\" unsigned long f2(unsigned long);
    extern \"C\" unsigned long f3(unsigned long);
";

/// `f0` and `f1` throw, what `f0` throws passes through `f2`, and `f3` throws again what `f1` throws.
const THROWERS: [&str; 4] = [
    "unsigned long f0(unsigned long depth) { Counted one; if (depth) f0(depth - 1); throw Thrown(MARK(0)); }",
    "unsigned long f1(unsigned long depth) {
         Counted one, two;
         try { if (depth) f0(depth - 1); } catch (const Thrown &) { Counted three; throw Thrown(MARK(1)); }
         throw Thrown(MARK(1));
     }",
    "unsigned long f2(unsigned long depth) { Counted one; f0(depth); return MARK(2); }",
    "unsigned long f3(unsigned long depth) {
         Counted one;
         try { f1(depth); } catch (...) { Counted two; throw; }
         return MARK(3);
     }",
];

#[test]
fn exceptions_pass_through_functions_that_are_replaced_meanwhile() {
    let _alone = alone();
    for (protection, slot) in [
        (Protection::Strict, Slot::Inline),
        (Protection::Fast, Slot::Split),
        (Protection::Private, Slot::Split),
    ] {
        let session = session(protection, slot);
        let flags = ["-O1", "-fPIC"];
        let all = THROWERS.concat();
        let mut templates = vec![Template::compile("all.cc", &format!("{CLASSES}{all}"), &flags)];
        for (i, thrower) in THROWERS.iter().enumerate() {
            let source = format!("{CLASSES}{thrower}");
            templates.push(Template::compile(&format!("f{i}.cc"), &source, &flags));
        }
        load(
            &session,
            "alive.c",
            "long alive; unsigned long count(unsigned long unused) { return alive; }",
            &flags,
        );
        let world = &World::load(&session, &mut templates[0]);
        let catchers: String = (0..4)
            .map(|i| {
                format!(
                    "extern \"C\" unsigned long catch{i}(unsigned long depth) {{
                         try {{ Counted one; f{i}(depth); }} catch (const Thrown &thrown) {{ return thrown.get(); }}
                         return 0;
                     }}"
                )
            })
            .collect();
        load(&session, "catchers.cc", &format!("{CLASSES}{catchers}"), &flags);
        let counts = profiled(&session, || {
            thread::scope(|scope| {
                for seed in 0..4 {
                    scope.spawn(move || catch_without_pause(world, seed));
                }
                let (time, options) = (share(5.0), Replace::new());
                let enough = || world.reclaims();
                let replacements = world.replace_without_pause(&mut templates, time, &options, || (), enough);
                world.counts(&format!("exceptions, {protection:?} {slot:?}"), replacements)
            })
        });
        assert!(counts.reclaimed > 0);
        let count = world.function("count");
        // SAFETY: the function is of this type.
        let left = unsafe { count(0) };
        assert_eq!(left, 0, "objects were not destroyed");
        collect_all(&session);
    }
}

fn catch_without_pause(world: &World<'_>, seed: usize) {
    let catchers: Vec<_> = (0..4).map(|i| world.function(&format!("catch{i}"))).collect();
    let mut turn = seed;
    while world.goes_on() {
        turn += 1;
        for (i, catcher) in catchers.iter().enumerate() {
            let _pin = world.session.pin();
            // What comes out of `f2` is `f0`'s, and what comes out of `f3` is `f1`'s.
            // SAFETY: the function is of this type, and lets no exception out; the pin keeps what it calls.
            world.check(i % 2, || unsafe { catcher((turn % 3) as u64) });
        }
        world.count(4);
    }
}

/// A place for the pin of a call that is left by a jump, and what the jump needs.
struct Jump<'world> {
    world: &'world World<'world>,
    function: Called,
    /// Taken by whoever made the call, when it is over.
    pin: Cell<Option<Pin<'world>>>,
    forgets: bool,
}

/// Pins, and makes a call that does not return. No frame of Rust's has anything to drop then.
unsafe extern "C-unwind" fn pin_and_call(jump: *const Jump<'_>, landing: u64) {
    // SAFETY: the jump belongs to a frame below.
    let jump = unsafe { &*jump };
    let pin = jump.world.session.pin();
    if jump.forgets {
        std::mem::forget(pin);
    } else {
        jump.pin.set(Some(pin));
    }
    // SAFETY: the function is of this type; this frame holds nothing.
    unsafe { (jump.function)(landing) };
}

const LANDING: &str = "
    #include <setjmp.h>
    struct landing { jmp_buf place; volatile unsigned long value; };
";

fn jump_templates() -> Vec<Template> {
    let function = |i: usize| {
        format!(
            "unsigned long f{i}(unsigned long address) {{
                 struct landing *landing = (struct landing *)address;
                 landing->value = MARK({i});
                 longjmp(landing->place, 1);
             }}\n"
        )
    };
    let flags = ["-O1", "-fPIC"];
    let mut templates = vec![Template::compile(
        "all_jump.c",
        &[LANDING, &function(0), &function(1)].concat(),
        &flags,
    )];
    for i in 0..2 {
        let source = [LANDING, &function(i)].concat();
        templates.push(Template::compile(&format!("jump{i}.c"), &source, &flags));
    }
    templates
}

/// `jump` comes back by a jump out of a function that is replaced, across the frame that pinned.
const JUMPS: &str = "
    void pin_and_call(unsigned long jump, struct landing *landing);
    unsigned long jump(unsigned long jump) {
        struct landing landing;
        if (setjmp(landing.place)) return landing.value;
        pin_and_call(jump, &landing);
        return 0;
    }";

#[test]
fn longjmp_leaves_functions_that_are_replaced_meanwhile() {
    let _alone = alone();
    for forgets in [false, true] {
        let session = session(Protection::Fast, Slot::Inline);
        let mut templates = jump_templates();
        let world = &World::load(&session, &mut templates[0]);
        let host: unsafe extern "C-unwind" fn(*const Jump<'_>, u64) = pin_and_call;
        session.define("pin_and_call", host as usize as u64);
        load(&session, "jumps.c", &[LANDING, JUMPS].concat(), &["-O1", "-fPIC"]);
        let counts = thread::scope(|scope| {
            let start = |seed| {
                // One that forgets its pin keeps memory for good: only one of the threads does, in the end.
                scope.spawn(move || jump_without_pause(world, forgets && seed == 0))
            };
            let threads: Vec<_> = (0..4).map(start).collect();
            let (time, options) = (share(2.5), Replace::new());
            let enough = || forgets || world.reclaims();
            let replacements = world.replace_without_pause(&mut templates, time, &options, || (), enough);
            // The scope alone would not wait for what a thread does after its function.
            for thread in threads {
                thread.join().expect("the thread ends well");
            }
            world.counts(&format!("longjmp, pins forgotten: {forgets}"), replacements)
        });
        if forgets {
            session.collect().expect("no scan");
            let stats = session.stats().reclaim;
            assert!(stats.held.items > 0 && stats.oldest_guard.expect("a forgotten pin").is_abandoned);
        } else {
            assert!(counts.reclaimed > 0);
            collect_all(&session);
        }
    }
}

fn jump_without_pause(world: &World<'_>, forgets: bool) {
    let jump = world.function("jump");
    let functions: Vec<_> = (0..2).map(|i| world.function(&format!("f{i}"))).collect();
    let mut calls = 0;
    while world.goes_on() {
        let i = calls % 2;
        calls += 1;
        let context = Jump {
            world,
            function: functions[i],
            pin: Cell::new(None),
            forgets: forgets && calls % 1000 == 0,
        };
        let address = std::ptr::from_ref(&context).expose_provenance() as u64;
        // SAFETY: the function is of this type, and returns here by a jump.
        world.check(i, || unsafe { jump(address) });
        drop(context.pin.take());
        world.count(1);
    }
}

/// What a thread that is cancelled shares with the one that cancels it, as the C sources know it.
const SHARED: &str = "
    #include <pthread.h>
    struct shared { void *session; volatile unsigned long value; volatile long cleaned; int forgets; };
";

fn cancel_template() -> Template {
    let source = "
        static void clean(struct shared **shared) { (*shared)->cleaned++; }
        unsigned long f0(unsigned long address) {
            __attribute__((cleanup(clean))) struct shared *shared = (struct shared *)address;
            shared->value = MARK(0);
            for (;;) pthread_testcancel();
        }";
    Template::compile(
        "cancelled.c",
        &[SHARED, source].concat(),
        &["-O1", "-fPIC", "-fexceptions"],
    )
}

/// `cancel` has a thread of its own enter `f0`, and cancels it there.
const CANCELS: &str = "
    #include <sched.h>
    void *pin_begin(void *session);
    void pin_end(void *pin);
    unsigned long f0(unsigned long);
    static void unpin(void **pin) { pin_end(*pin); }
    static void *keeps(struct shared *shared) {
        __attribute__((cleanup(unpin))) void *pin = pin_begin(shared->session);
        f0((unsigned long)shared);
        return pin;
    }
    static void *forgets(struct shared *shared) {
        pin_begin(shared->session);
        f0((unsigned long)shared);
        return shared;
    }
    static void *run(void *argument) {
        struct shared *shared = argument;
        return shared->forgets ? forgets(shared) : keeps(shared);
    }
    unsigned long cancel(void *session, int forgets) {
        struct shared shared = { session, 0, 0, forgets };
        pthread_t thread;
        void *result;
        if (pthread_create(&thread, 0, run, &shared)) return 0;
        while (!shared.value) sched_yield();
        pthread_cancel(thread);
        if (pthread_join(thread, &result)) return 0;
        return result == PTHREAD_CANCELED && shared.cleaned == 1 ? shared.value : 0;
    }
    unsigned long cancel_and_unpin(unsigned long session) { return cancel((void *)session, 0); }
    unsigned long cancel_and_forget(unsigned long session) { return cancel((void *)session, 1); }";

extern "C" fn pin_begin(session: &Session) -> *mut Pin<'_> {
    Box::into_raw(Box::new(session.pin()))
}

unsafe extern "C" fn pin_end(pin: *mut Pin<'_>) {
    // SAFETY: it comes from `pin_begin`, in this thread, and ends here.
    drop(unsafe { Box::from_raw(pin) });
}

#[test]
fn threads_are_cancelled_in_functions_that_are_replaced_meanwhile() {
    let _alone = alone();
    for forgets in [false, true] {
        let session = &session(Protection::Private, Slot::Split);
        let mut templates = [cancel_template()];
        let world = &World::load(session, &mut templates[0]);
        let (begin, end): (
            extern "C" fn(&Session) -> *mut Pin<'_>,
            unsafe extern "C" fn(*mut Pin<'_>),
        ) = (pin_begin, pin_end);
        session.define("pin_begin", begin as usize as u64);
        session.define("pin_end", end as usize as u64);
        load(
            session,
            "cancels.c",
            &[SHARED, CANCELS].concat(),
            &["-O1", "-fPIC", "-fexceptions"],
        );
        let counts = thread::scope(|scope| {
            for seed in 0..4 {
                scope.spawn(move || {
                    let unpins = world.function("cancel_and_unpin");
                    let forgetful = world.function("cancel_and_forget");
                    let mut calls = 0;
                    while world.goes_on() {
                        calls += 1;
                        let forgets = forgets && seed == 0 && calls % 10 == 0;
                        let cancel = if forgets { forgetful } else { unpins };
                        let address = std::ptr::from_ref(session).expose_provenance() as u64;
                        // SAFETY: the function is of this type, and its module is never replaced.
                        world.check(0, || unsafe { cancel(address) });
                        world.count(1);
                    }
                });
            }
            let (time, options) = (share(2.5), Replace::new());
            let enough = || forgets || world.reclaims();
            let replacements = world.replace_without_pause(&mut templates, time, &options, || (), enough);
            world.counts(&format!("pthread_cancel, pins forgotten: {forgets}"), replacements)
        });
        if forgets {
            assert!(session.stats().reclaim.held.items > 0);
        } else {
            assert!(counts.reclaimed > 0);
            collect_all(session);
        }
    }
}
