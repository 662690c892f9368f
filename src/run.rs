//! Calls into loaded code that the loader itself makes: constructors, destructors, IFUNC resolvers.

use std::arch::naked_asm;
use std::ffi::{CString, c_char, c_int, c_void};
use std::os::unix::ffi::OsStringExt;
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use restub_loader::{FunctionArray, Ifunc, Image};

unsafe extern "C" {
    static environ: *const *const c_char;
    fn __cxa_finalize(handle: *mut c_void);
    fn __cxa_atexit(function: unsafe extern "C" fn(*mut c_void), argument: *mut c_void, handle: *mut c_void) -> c_int;
}

/// `argc` and `argv` for constructors and `main`, as C wants them.
#[derive(Debug)]
pub(crate) struct Arguments {
    /// Owns what the words point to.
    _strings: Vec<CString>,
    count: usize,
    /// As the kernel lays them out (psABI section 3.4.1): arguments and a zero, the environment of the moment and a zero,
    /// the auxiliary vector. Some run-time systems walk from the first to the last.
    words: Vec<usize>,
}

// SAFETY: the pointers are to the strings beside them, which nothing changes.
unsafe impl Send for Arguments {}
// SAFETY: as above.
unsafe impl Sync for Arguments {}

impl Arguments {
    /// Arguments without zero bytes; anything behind one is cut off, as the kernel would.
    pub(crate) fn new(arguments: impl IntoIterator<Item = std::ffi::OsString>) -> Self {
        let strings = arguments.into_iter().map(|argument| {
            let bytes: Vec<u8> = argument.into_vec().into_iter().take_while(|byte| *byte != 0).collect();
            CString::new(bytes).unwrap_or_default()
        });
        let strings: Vec<CString> = strings.collect();
        let pointers = strings.iter().map(|string| string.as_ptr().expose_provenance());
        let words = pointers.chain([0]).chain(environment_words()).chain([0]);
        let words = words.chain(auxiliary_vector()).collect();
        Arguments {
            count: strings.len(),
            _strings: strings,
            words,
        }
    }

    pub(crate) fn count(&self) -> c_int {
        c_int::try_from(self.count).unwrap_or(c_int::MAX)
    }

    pub(crate) fn pointer(&self) -> *const *const c_char {
        self.words.as_ptr().cast()
    }
}

fn environment_words() -> impl Iterator<Item = usize> {
    let mut next = environment().cast::<usize>();
    std::iter::from_fn(move || {
        // SAFETY: `environ` is null for an empty environment, or points to words of which the last is null.
        let word = unsafe { next.as_ref() }.copied().filter(|word| *word != 0)?;
        next = next.wrapping_add(1);
        Some(word)
    })
}

/// The words of `/proc/self/auxv`, whose last pair is zero; just such a pair where procfs is missing.
fn auxiliary_vector() -> Vec<usize> {
    let bytes = std::fs::read("/proc/self/auxv").unwrap_or_else(|_| vec![0; 16]);
    let (words, _) = bytes.as_chunks::<8>();
    words.iter().map(|word| usize::from_ne_bytes(*word)).collect()
}

/// The environment as C has it at this moment.
pub(crate) fn environment() -> *const *const c_char {
    // SAFETY: the C library's variable always exists. It may change when the environment does, as for any C program.
    unsafe { environ }
}

/// The implementation that an IFUNC's resolver chooses.
///
/// # Safety
/// The image is finalized, and its author's resolver may be called.
pub(crate) unsafe fn resolve(ifunc: &Ifunc) -> u64 {
    type Resolver = unsafe extern "C-unwind" fn() -> u64;
    // SAFETY: the address of a function in the image.
    let resolver: Resolver = unsafe { std::mem::transmute(ifunc.resolver as usize) };
    // SAFETY: the caller's promise.
    unsafe { resolver() }
}

/// C's `main`, and constructors, which get the same and return nothing.
pub(crate) type Main = unsafe extern "C-unwind" fn(c_int, *const *const c_char, *const *const c_char) -> c_int;

/// Calls a `main`, a constructor or a destructor. The frame has no unwind information on purpose: unwinding ends here, as
/// it does in the C start files, so that an exception ends the process by `std::terminate`. It does not reach Rust's frames,
/// which would stop a foreign exception with a message of their own, or leave a load half done.
///
/// # Safety
/// The function takes these parameters or fewer, and its author's code may be called.
#[unsafe(naked)]
pub(crate) unsafe extern "C" fn call_main(
    main: Main,
    count: c_int,
    arguments: *const *const c_char,
    environment: *const *const c_char,
) -> c_int {
    naked_asm!(
        "push rbp",
        "mov rbp, rsp",
        "mov rax, rdi",
        "mov edi, esi",
        "mov rsi, rdx",
        "mov rdx, rcx",
        "call rax",
        "pop rbp",
        "ret",
    )
}

/// Runs an image's constructors: `.preinit_array`, then `.init_array` and `.ctors` by priority.
///
/// # Safety
/// The image is ready to run, and its author's code may be called.
pub(crate) unsafe fn construct(image: &Image, arguments: &Arguments) {
    for array in image.preinit.iter().chain(&image.init) {
        for address in pointers(array) {
            // SAFETY: a word of the image's array, which the author filled with functions of this type.
            let constructor: Main = unsafe { std::mem::transmute(address as usize) };
            // SAFETY: the caller's promise.
            unsafe { call_main(constructor, arguments.count(), arguments.pointer(), environment()) };
        }
    }
}

/// What has to run before an image goes: its destructors, once.
#[derive(Debug)]
pub(crate) struct Finalizer {
    fini: Vec<FunctionArray>,
    dso_handle: Option<u64>,
    /// What the arrays would destroy was constructed by another module.
    without_arrays: AtomicBool,
    done: AtomicBool,
}

impl Finalizer {
    pub(crate) fn new(image: &Image) -> Arc<Self> {
        Arc::new(Finalizer {
            fini: image.fini.clone(),
            dso_handle: image.dso_handle,
            without_arrays: AtomicBool::new(false),
            done: AtomicBool::new(false),
        })
    }

    /// Has the destructors run when the process exits, after every function that the image itself registers for that.
    pub(crate) fn run_at_exit(self: &Arc<Self>) {
        unsafe extern "C" fn at_exit(finalizer: *mut c_void) {
            // SAFETY: the pointer was leaked below for this one call.
            let finalizer = unsafe { Arc::from_raw(finalizer.cast::<Finalizer>().cast_const()) };
            // SAFETY: the image is still in memory: unloading it would have run the destructors before.
            unsafe { finalizer.run() };
        }
        if self.fini.is_empty() {
            return;
        }
        let argument = Arc::into_raw(Arc::clone(self)).cast_mut().cast();
        // SAFETY: the function takes the argument that goes with it.
        unsafe { __cxa_atexit(at_exit, argument, ptr::null_mut()) };
    }

    /// Has only what the image registers itself run, since its constructors do not.
    pub(crate) fn leave_arrays_out(&self) {
        self.without_arrays.store(true, Ordering::Relaxed);
    }

    /// Runs `.fini_array` and `.dtors` backwards, and then what the image registered with `__cxa_atexit`.
    ///
    /// # Safety
    /// The image is in memory, and its author's code may be called.
    pub(crate) unsafe fn run(&self) {
        // AcqRel: whoever comes second must see what the destructors did.
        if self.done.swap(true, Ordering::AcqRel) {
            return;
        }
        let arrays = if self.without_arrays.load(Ordering::Relaxed) {
            &[][..]
        } else {
            &self.fini
        };
        for array in arrays.iter().rev() {
            let functions: Vec<u64> = pointers(array).collect();
            for address in functions.into_iter().rev() {
                // SAFETY: a word of the image's array, which the author filled with functions of this type.
                let destructor: Main = unsafe { std::mem::transmute(address as usize) };
                // SAFETY: the caller's promise.
                unsafe { call_main(destructor, 0, ptr::null(), ptr::null()) };
            }
        }
        if let Some(handle) = self.dso_handle {
            // SAFETY: the C library calls what was registered with the handle, all of which is in the image.
            unsafe { __cxa_finalize(ptr::with_exposed_provenance_mut(handle as usize)) };
        }
    }
}

/// What messages call a module: by its first object.
pub(crate) fn module_name(objects: &[String]) -> String {
    match objects {
        [one] => one.clone(),
        [first, rest @ ..] => format!("{first} (and {} more)", rest.len()),
        [] => "empty module".into(),
    }
}

/// The functions of an array in the order in which they run at the start; 0 and -1 are placeholders (gABI).
pub(crate) fn pointers(array: &FunctionArray) -> impl Iterator<Item = u64> {
    let (address, count, backwards) = (array.address, array.count, array.backwards);
    (0..count).filter_map(move |index| {
        let index = if backwards { count - 1 - index } else { index };
        let word = ptr::with_exposed_provenance::<u64>((address + index * 8) as usize);
        // SAFETY: the array lies in the image's constants; `.init_array` of some assemblers is not aligned.
        let function = unsafe { word.read_unaligned() };
        (function != 0 && function != u64::MAX).then_some(function)
    })
}
