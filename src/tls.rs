//! Thread-local storage of loaded modules (Drepper, "ELF Handling For Thread-Local Storage"; psABI section 6).
//!
//! - *Fixed offsets* (initial and local exec, which compilers emit by default) come from a reserve in the host's own
//!   static block. Threads that start later get a module's initial values because they are written into the template
//!   from which the C library initializes new threads; threads that exist are made to copy them by a signal.
//! - *Everything else* (general and local dynamic, descriptors) goes through [`get_address`], which restub supplies as
//!   `__tls_get_addr`. It knows restub's modules by their number and hands all others to the dynamic linker.

use std::alloc::Layout;
use std::arch::{asm, naked_asm};
use std::cell::{Cell, UnsafeCell};
use std::ffi::c_void;
use std::ptr;
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError, RwLock};
use std::time::{Duration, Instant};

use restub_loader::{ImageTls, MemoryError, TlsDescriptors, TlsPlacement, TlsRequest};

use crate::fault;
use crate::fork::Operation;
use crate::memory::Region;

/// Bytes of static thread-local storage that every thread of the host carries for modules that want fixed offsets.
pub const STATIC_RESERVE_BYTES: usize = 16 << 10;

/// Modules with a fixed block: the negated offset from the thread pointer follows in the lower bits.
const FIXED: u64 = 1 << 62;
/// Modules with a block for each thread that asks for it: a serial number and the place in [`MODULES`] follow.
const DYNAMIC: u64 = 1 << 63;
const INDEX_BITS: u32 = 24;

/// The argument of `__tls_get_addr` (psABI, `tls_index`).
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub(crate) struct TlsIndex {
    module: u64,
    offset: u64,
}

unsafe extern "C" {
    fn __tls_get_addr(index: *const TlsIndex) -> *mut c_void;
}

/// The reserve. Not all zero, so that it has a place in the template (`.tdata`).
#[repr(C, align(1024))]
struct Reserve {
    bytes: [u8; STATIC_RESERVE_BYTES - 64],
    marker: [u8; 64],
}

/// The largest alignment of a fixed block.
const RESERVE_ALIGN: u64 = align_of::<Reserve>() as u64;

thread_local! {
    static RESERVE: UnsafeCell<Reserve> =
        const { UnsafeCell::new(Reserve { bytes: [0; STATIC_RESERVE_BYTES - 64], marker: [1; 64] }) };
    static BLOCKS: Cell<*mut Blocks> = const { Cell::new(ptr::null_mut()) };
}

/// One thread's blocks of dynamic modules, by the module's place in [`MODULES`].
#[derive(Default)]
struct Blocks(Vec<Option<Block>>);

struct Block {
    module: u64,
    start: *mut u8,
    layout: Layout,
}

impl Drop for Block {
    fn drop(&mut self) {
        // SAFETY: the block was allocated with this layout, and its thread is ending or uses it no more.
        unsafe { std::alloc::dealloc(self.start, self.layout) };
    }
}

/// A dynamic module: what a thread's block of it starts as.
#[derive(Debug, Clone, Copy)]
struct Module {
    id: u64,
    tls: Option<ImageTls>,
}

static MODULES: RwLock<Vec<Option<Module>>> = RwLock::new(Vec::new());
static SERIAL: Mutex<u64> = Mutex::new(0);

/// The reserve's place relative to every thread's pointer, its template, and which part of it is taken.
struct FixedStorage {
    /// Free offsets, as addresses in the thread that asked first, and from where on every thread's copy is still zero.
    region: Mutex<(Region, u64)>,
    /// The reserve in the thread that asked first.
    start: u64,
    /// Offset of `start` from the thread pointer.
    offset: i64,
    /// Where new threads copy the reserve from.
    template: u64,
    /// Whether the template has to be made writable first.
    read_only: bool,
}

fn fixed_storage() -> Option<&'static FixedStorage> {
    static STORAGE: OnceLock<Option<FixedStorage>> = OnceLock::new();
    let make = || {
        let start = RESERVE.with(|reserve| reserve.get() as u64);
        let (template, read_only) = crate::host::tls_template(start)?;
        let region = Mutex::new((Region::new(start, STATIC_RESERVE_BYTES as u64 - 64), start));
        Some(FixedStorage {
            region,
            start,
            offset: start.wrapping_sub(thread_pointer()).cast_signed(),
            template,
            read_only,
        })
    };
    STORAGE.get_or_init(make).as_ref()
}

/// The thread pointer: the address in the first word of the block that `%fs` points to.
pub(crate) fn thread_pointer() -> u64 {
    let pointer: u64;
    // SAFETY: on x86-64 Linux the first word behind `%fs` is its own address (psABI section 6.1).
    unsafe { asm!("mov {}, fs:0", out(reg) pointer, options(nostack, readonly, preserves_flags)) };
    pointer
}

/// Gives a module's block its place.
pub(crate) fn allocate(request: &TlsRequest) -> Result<TlsPlacement, MemoryError> {
    if request.fixed_offset {
        return allocate_fixed(request);
    }
    let mut serial = SERIAL.lock().unwrap_or_else(PoisonError::into_inner);
    let mut modules = MODULES.write().unwrap_or_else(PoisonError::into_inner);
    let index = modules.iter().position(Option::is_none).unwrap_or(modules.len());
    if index >= 1 << INDEX_BITS {
        return Err(MemoryError::Refused("too many modules with thread-local variables"));
    }
    *serial += 1;
    let id = DYNAMIC | (*serial << INDEX_BITS) & (FIXED - 1) | index as u64;
    let module = Some(Module { id, tls: None });
    if index == modules.len() {
        modules.push(module);
    } else {
        modules[index] = module;
    }
    Ok(TlsPlacement {
        module: id,
        block_offset: None,
    })
}

fn allocate_fixed(request: &TlsRequest) -> Result<TlsPlacement, MemoryError> {
    const NO_STORAGE: MemoryError =
        MemoryError::Refused("restub was itself loaded with dlopen, and so has no static thread-local storage to give");
    let storage = fixed_storage().ok_or(NO_STORAGE)?;
    let (region, _) = &mut *storage.region.lock().unwrap_or_else(PoisonError::into_inner);
    let none_left = MemoryError::StaticTls {
        wanted_bytes: request.size_bytes,
        free_bytes: STATIC_RESERVE_BYTES as u64 - 64 - region.used(),
    };
    if request.align > RESERVE_ALIGN {
        return Err(MemoryError::Refused(
            "a thread-local variable with a fixed offset is aligned to more than 1024 bytes; compile with -fPIC -ftls-model=global-dynamic",
        ));
    }
    // A fixed block of no bytes still has an address.
    let start = region
        .allocate(request.size_bytes.max(1), request.align)
        .ok_or(none_left)?;
    let offset = storage.offset + (start - storage.start).cast_signed();
    Ok(TlsPlacement {
        module: FIXED | offset.unsigned_abs(),
        block_offset: Some(offset),
    })
}

/// Lets threads use a module's block: from here on its initial values are found at the image's template.
pub(crate) fn activate(tls: &ImageTls) -> Result<(), MemoryError> {
    match tls.placement.block_offset {
        Some(offset) => initialize_fixed(tls, offset),
        None => {
            let index = (tls.placement.module & ((1 << INDEX_BITS) - 1)) as usize;
            let mut modules = MODULES.write().unwrap_or_else(PoisonError::into_inner);
            if let Some(Some(module)) = modules.get_mut(index) {
                module.tls = Some(*tls);
            }
            Ok(())
        }
    }
}

/// Takes back what [`allocate`] gave. Blocks that threads still have go when the thread ends or the place is reused.
pub(crate) fn free(placement: &TlsPlacement, size_bytes: u64) {
    if let (Some(offset), Some(storage)) = (placement.block_offset, fixed_storage()) {
        let start = storage.start.wrapping_add_signed(offset - storage.offset);
        storage
            .region
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .0
            .free(start, size_bytes.max(1));
        return;
    }
    let index = (placement.module & ((1 << INDEX_BITS) - 1)) as usize;
    let mut modules = MODULES.write().unwrap_or_else(PoisonError::into_inner);
    if let Some(module) = modules.get_mut(index) {
        *module = None;
    }
}

/// Writes initial values into the template for threads to come, and into the block of each thread that exists.
fn initialize_fixed(tls: &ImageTls, offset: i64) -> Result<(), MemoryError> {
    let storage = fixed_storage().ok_or(MemoryError::Refused("no static thread-local storage"))?;
    let (_, zero_from) = &mut *storage.region.lock().unwrap_or_else(PoisonError::into_inner);
    let mut initial = vec![0_u8; usize::try_from(tls.size_bytes).unwrap_or(0)];
    let filled = usize::try_from(tls.filled_bytes).unwrap_or(0);
    if filled > 0 {
        // SAFETY: the image's template holds that many bytes, and lives until the module is freed.
        let template = unsafe { std::slice::from_raw_parts(pointer(tls.template), filled) };
        initial[..filled].copy_from_slice(template);
    }
    let start = storage.start.wrapping_add_signed(offset - storage.offset);
    let untouched = start >= *zero_from;
    *zero_from = (*zero_from).max(start + tls.size_bytes);
    if untouched && initial.iter().all(|byte| *byte == 0) {
        return Ok(());
    }
    let at = storage.template.wrapping_add_signed(offset - storage.offset);
    write_template(at, &initial, storage.read_only)?;
    copy_to_threads(offset, &initial)
}

fn write_template(at: u64, bytes: &[u8], read_only: bool) -> Result<(), MemoryError> {
    use rustix::mm::MprotectFlags;
    let page = restub_loader::PAGE_BYTES;
    let first = at & !(page - 1);
    let length = (at + bytes.len() as u64 - first).next_multiple_of(page);
    let protect = |flags| {
        let changed = fault::point().and_then(|()| {
            // SAFETY: the pages hold the host's template, which nothing but the C library's thread creation reads.
            unsafe { rustix::mm::mprotect(pointer(first).cast(), length as usize, flags) }
        });
        changed.map_err(|error| MemoryError::System {
            operation: "mprotect",
            reason: error.to_string(),
        })
    };
    if read_only {
        protect(MprotectFlags::READ | MprotectFlags::WRITE)?;
    }
    // SAFETY: the reserve's part of the template, which `host::tls_template` found inside the host's PT_TLS segment.
    unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), pointer(at), bytes.len()) };
    if read_only {
        protect(MprotectFlags::READ)
    } else {
        Ok(())
    }
}

/// What the signal handler copies. Written before the first signal is sent, and only one request is under way at once.
static COPY_FROM: AtomicPtr<u8> = AtomicPtr::new(ptr::null_mut());
static COPY_LENGTH: AtomicUsize = AtomicUsize::new(0);
static COPY_OFFSET: AtomicUsize = AtomicUsize::new(0);
static COPIED: AtomicUsize = AtomicUsize::new(0);

extern "C" fn copy_in_this_thread(_signal: libc::c_int) {
    // Acquire: pairs with the release store of the length in `copy_to_threads`.
    let length = COPY_LENGTH.load(Ordering::Acquire);
    let from = COPY_FROM.load(Ordering::Relaxed);
    let to = thread_pointer().wrapping_add(COPY_OFFSET.load(Ordering::Relaxed) as u64);
    // SAFETY: the reserve is at the same offset from the thread pointer in every thread, and the sender keeps the
    // source alive until this thread has counted itself.
    unsafe { ptr::copy_nonoverlapping(from, pointer(to), length) };
    // Release: pairs with the acquire load in `copy_to_threads`.
    COPIED.fetch_add(1, Ordering::Release);
}

/// Copies `bytes` to `offset` from the thread pointer, in this thread and in every other one.
fn copy_to_threads(offset: i64, bytes: &[u8]) -> Result<(), MemoryError> {
    const DEADLINE: Duration = Duration::from_secs(2);
    let own = thread_pointer().wrapping_add_signed(offset);
    // SAFETY: the reserve of this thread, in which the offset was allocated.
    unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), pointer(own), bytes.len()) };
    let mut done = vec![rustix::thread::gettid().as_raw_nonzero().get()];
    let mut handler = None;
    loop {
        let new: Vec<i32> = thread_ids()?.into_iter().filter(|id| !done.contains(id)).collect();
        if new.is_empty() {
            return Ok(());
        }
        if handler.is_none() {
            COPY_FROM.store(bytes.as_ptr().cast_mut(), Ordering::Relaxed);
            COPY_OFFSET.store(offset.cast_unsigned() as usize, Ordering::Relaxed);
            // Release: pairs with the acquire load in the handler.
            COPY_LENGTH.store(bytes.len(), Ordering::Release);
            handler = Some(Handler::install());
        }
        COPIED.store(0, Ordering::Relaxed);
        let sent = new.iter().filter(|id| send_copy_signal(**id)).count();
        let start = Instant::now();
        // Acquire: pairs with the release increment in the handler.
        while COPIED.load(Ordering::Acquire) < sent {
            if start.elapsed() > DEADLINE {
                return Err(MemoryError::Refused(
                    "a thread blocks the signal that gives it its copy of new thread-local variables; load before such threads start, or compile with -fPIC -ftls-model=global-dynamic",
                ));
            }
            std::thread::yield_now();
        }
        done.extend(new);
    }
}

fn thread_ids() -> Result<Vec<i32>, MemoryError> {
    let failed = |error: std::io::Error| MemoryError::System {
        operation: "reading /proc/self/task",
        reason: error.to_string(),
    };
    let entries = std::fs::read_dir("/proc/self/task").map_err(failed)?;
    Ok(entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .collect())
}

/// A real-time signal that the C library does not use itself, from the end that programs rarely take theirs from.
fn copy_signal() -> libc::c_int {
    libc::SIGRTMAX() - 3
}

fn send_copy_signal(thread: i32) -> bool {
    let process = std::process::id();
    // SAFETY: tgkill takes no pointers; a thread that has ended since is reported, and not counted.
    unsafe { libc::syscall(libc::SYS_tgkill, process, thread, copy_signal()) == 0 }
}

/// The handler of the copy signal; the one that was there before comes back on drop.
struct Handler(libc::sigaction);

impl Handler {
    fn install() -> Self {
        // SAFETY: a sigaction of zeros is valid: default action, empty mask.
        let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
        action.sa_sigaction = copy_in_this_thread as extern "C" fn(libc::c_int) as usize;
        action.sa_flags = libc::SA_RESTART | libc::SA_ONSTACK;
        let mut old = action;
        // SAFETY: both structures are valid; the handler does only what is allowed in a signal handler.
        unsafe { libc::sigaction(copy_signal(), &raw const action, &raw mut old) };
        Handler(old)
    }
}

impl Drop for Handler {
    fn drop(&mut self) {
        // SAFETY: restores what `install` found.
        unsafe { libc::sigaction(copy_signal(), &raw const self.0, ptr::null_mut()) };
    }
}

/// The address of `__tls_get_addr` for loaded code.
pub(crate) fn get_address_function() -> u64 {
    get_address as unsafe extern "C" fn(*const TlsIndex) -> *mut c_void as usize as u64
}

/// The entries for TLS descriptors.
pub(crate) fn descriptors() -> TlsDescriptors {
    // CPUID costs microseconds in a virtual machine, so it is asked once.
    static DESCRIPTORS: OnceLock<TlsDescriptors> = OnceLock::new();
    *DESCRIPTORS.get_or_init(|| {
        let dynamic = if has_xsave() {
            XSAVE_BYTES.store(xsave_bytes(), Ordering::Relaxed);
            descriptor_dynamic_xsave as unsafe extern "C" fn() as usize as u64
        } else {
            descriptor_dynamic_fxsave as unsafe extern "C" fn() as usize as u64
        };
        TlsDescriptors {
            fixed: descriptor_fixed as unsafe extern "C" fn() as usize as u64,
            dynamic,
        }
    })
}

/// `__tls_get_addr` for loaded code.
///
/// # Safety
/// `index` is a pair that the loader or the dynamic linker made.
unsafe extern "C" fn get_address(index: *const TlsIndex) -> *mut c_void {
    // SAFETY: the caller's promise.
    let TlsIndex { module, offset } = unsafe { *index };
    if module & (FIXED | DYNAMIC) == 0 {
        // SAFETY: no number of restub's, so the pair is one of the dynamic linker's.
        return unsafe { __tls_get_addr(index) };
    }
    let block = if module & DYNAMIC == 0 {
        thread_pointer().wrapping_sub(module & !FIXED)
    } else {
        dynamic_block(module) as u64
    };
    pointer(block.wrapping_add(offset)).cast()
}

/// This thread's block of a dynamic module, made at its first use.
fn dynamic_block(module: u64) -> *mut u8 {
    let index = (module & ((1 << INDEX_BITS) - 1)) as usize;
    let blocks = BLOCKS.get();
    if !blocks.is_null() {
        // SAFETY: the table belongs to this thread, and this reference ends before anything changes it.
        let blocks = unsafe { &*blocks };
        if let Some(Some(block)) = blocks.0.get(index)
            && block.module == module
        {
            return block.start;
        }
    }
    new_dynamic_block(module, index)
}

#[cold]
fn new_dynamic_block(module: u64, index: usize) -> *mut u8 {
    let _operation = Operation::begin();
    let known = MODULES
        .read()
        .unwrap_or_else(PoisonError::into_inner)
        .get(index)
        .copied()
        .flatten();
    let tls = known.filter(|known| known.id == module).and_then(|known| known.tls);
    let Some(tls) = tls else {
        // Code of a module that was unloaded is running: there is no block to give it.
        std::process::abort();
    };
    let size = usize::try_from(tls.size_bytes).unwrap_or(usize::MAX).max(1);
    let align = usize::try_from(tls.align).unwrap_or(1).max(16);
    let Ok(layout) = Layout::from_size_align(size, align) else {
        std::process::abort()
    };
    // SAFETY: the layout's size is not zero.
    let start = unsafe { std::alloc::alloc_zeroed(layout) };
    if start.is_null() {
        std::alloc::handle_alloc_error(layout);
    }
    // SAFETY: the template holds that many bytes, at most as many as the block.
    unsafe { ptr::copy_nonoverlapping(pointer(tls.template), start, tls.filled_bytes as usize) };
    let blocks = this_threads_blocks();
    if blocks.0.len() <= index {
        blocks.0.resize_with(index + 1, || None);
    }
    blocks.0[index] = Some(Block { module, start, layout });
    start
}

/// This thread's table, which goes when the thread ends: after the destructors of thread-local variables in loaded
/// code, which the C library runs before those of `pthread_key_create`.
fn this_threads_blocks() -> &'static mut Blocks {
    static KEY: OnceLock<libc::pthread_key_t> = OnceLock::new();
    unsafe extern "C" fn free_blocks(blocks: *mut c_void) {
        BLOCKS.set(ptr::null_mut());
        // SAFETY: the value of the key is the box that was leaked below, and the thread uses it no more.
        drop(unsafe { Box::from_raw(blocks.cast::<Blocks>()) });
    }
    let key = KEY.get_or_init(|| {
        let mut key = 0;
        // SAFETY: `key` is valid, and the destructor takes what is set below.
        unsafe { libc::pthread_key_create(&raw mut key, Some(free_blocks)) };
        key
    });
    if BLOCKS.get().is_null() {
        let blocks = Box::into_raw(Box::<Blocks>::default());
        BLOCKS.set(blocks);
        // SAFETY: the key exists.
        unsafe { libc::pthread_setspecific(*key, blocks.cast()) };
    }
    // SAFETY: the table belongs to this thread; the callers hold the reference only while they change it.
    unsafe { &mut *BLOCKS.get() }
}

fn has_xsave() -> bool {
    let features = std::arch::x86_64::__cpuid(1);
    features.ecx & (1 << 27) != 0
}

/// The size of the area that XSAVE writes (SDM vol. 1, section 13.2), with room to align it.
fn xsave_bytes() -> usize {
    std::arch::x86_64::__cpuid_count(0xd, 0).ebx as usize + 64
}

static XSAVE_BYTES: AtomicUsize = AtomicUsize::new(0);

/// The descriptor's argument is the offset itself.
#[unsafe(naked)]
unsafe extern "C" fn descriptor_fixed() {
    naked_asm!("mov rax, [rax + 8]", "ret")
}

/// Calls [`get_address`] with the descriptor's argument and returns the result relative to the thread pointer. Every
/// register but `rax` is kept; of the extended state, x87, SSE, AVX and AVX-512, since the callee uses no other.
#[unsafe(naked)]
unsafe extern "C" fn descriptor_dynamic_xsave() {
    naked_asm!(
        "push rbp",
        "mov rbp, rsp",
        "push rdi", "push rsi", "push rdx", "push rcx", "push r8", "push r9", "push r10", "push r11",
        "mov rdi, [rax + 8]",
        "sub rsp, [rip + {bytes}]",
        "and rsp, -64",
        // The header has to be zero where XSAVE does not write it (SDM vol. 1, section 13.4.2).
        "xor eax, eax",
        "mov [rsp + 512], rax", "mov [rsp + 520], rax", "mov [rsp + 528], rax", "mov [rsp + 536], rax",
        "mov [rsp + 544], rax", "mov [rsp + 552], rax", "mov [rsp + 560], rax", "mov [rsp + 568], rax",
        "mov eax, 0xe7",
        "xor edx, edx",
        "xsave64 [rsp]",
        "cld",
        "call {get_address}",
        "mov r11, rax",
        "mov eax, 0xe7",
        "xor edx, edx",
        "xrstor64 [rsp]",
        "mov rax, r11",
        "sub rax, fs:0",
        "lea rsp, [rbp - 64]",
        "pop r11", "pop r10", "pop r9", "pop r8", "pop rcx", "pop rdx", "pop rsi", "pop rdi",
        "pop rbp",
        "ret",
        bytes = sym XSAVE_BYTES,
        get_address = sym get_address,
    )
}

/// The same for processors without XSAVE, which have no state beyond that of FXSAVE.
#[unsafe(naked)]
unsafe extern "C" fn descriptor_dynamic_fxsave() {
    naked_asm!(
        "push rbp",
        "mov rbp, rsp",
        "push rdi", "push rsi", "push rdx", "push rcx", "push r8", "push r9", "push r10", "push r11",
        "mov rdi, [rax + 8]",
        "sub rsp, 512",
        "and rsp, -16",
        "fxsave64 [rsp]",
        "cld",
        "call {get_address}",
        "fxrstor64 [rsp]",
        "sub rax, fs:0",
        "lea rsp, [rbp - 64]",
        "pop r11", "pop r10", "pop r9", "pop r8", "pop rcx", "pop rdx", "pop rsi", "pop rdi",
        "pop rbp",
        "ret",
        get_address = sym get_address,
    )
}

fn pointer(address: u64) -> *mut u8 {
    ptr::with_exposed_provenance_mut(address as usize)
}
