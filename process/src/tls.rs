//! Thread-local variables: the target's, and those that a patch adds.
//!
//! Threads that exist have no room for new variables at a fixed distance from the thread pointer, and the dynamic linker
//! knows nothing of a patch. So code that asks for an address (general and local dynamic, descriptors) asks code of
//! restub's own in the target, in the place of `__tls_get_addr`. It is put there once a process, and takes each pair of
//! words that the linker made by the first one:
//!
//! | first word | what it does |
//! |---|---|
//! | of the dynamic linker's | goes on to the dynamic linker's function |
//! | [`FIXED`] and a distance | takes that from the thread pointer: variables whose module's number is not known |
//! | [`DYNAMIC`] and the address of a [control block](control_block) | finds this thread's block by `pthread_getspecific`, and makes it first if need be |
//!
//! A thread's blocks are in a table of its own, which the C library frees when the thread ends. All calls of the C
//! library are made where the program itself calls a function of the patch. Code that asks for an address takes no
//! failure for an answer: where `malloc` fails, memory comes from a **reserve** that was mapped with the code, and once
//! that is used up, the process is ended as glibc ends it when the first use of a variable finds no memory: by a message
//! and exit status 127 (`__tls_get_addr` in `elf/dl-tls.c`).

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use crate::arena::Region;
use crate::machine_code;
use crate::module::{Kind, Module};
use crate::plan::Planner;
use crate::retarget::PatchObject;

/// Marks the distance of a block below the thread pointer.
pub(crate) const FIXED: u64 = 1 << 62;
/// Marks the address of a control block.
pub(crate) const DYNAMIC: u64 = 1 << 63;
pub(crate) const CONTROL_BYTES: u64 = 64;
/// The word with the key, and one with how much of the reserve is used, which follows.
const KEY_BYTES: u64 = 64;
/// What thread-local variables may take where `malloc` fails. Memory that is not touched costs nothing.
const RESERVE_BYTES: u64 = 256 << 10;

/// What of the C library is called, in the order in which the code has it.
const FUNCTIONS: [&str; 6] = [
    "pthread_key_create",
    "pthread_key_delete",
    "pthread_getspecific",
    "pthread_setspecific",
    "malloc",
    "free",
];

/// The code in the target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Runtime {
    /// The function in the place of `__tls_get_addr`.
    pub(crate) get_address: u64,
    /// The two functions for descriptors.
    pub(crate) fixed_descriptor: u64,
    pub(crate) dynamic_descriptor: u64,
    /// Why it has no new variables, if it has none.
    pub(crate) refused: Option<String>,
    /// The next patch's place in the tables of threads.
    pub(crate) next: u64,
}

/// What a patch's control block holds: its place in the tables, and the block's size, alignment and initial contents.
pub(crate) fn control_block(index: u64, size: u64, align: u64, template: u64, filled: u64) -> Vec<u8> {
    [index, size, align.max(16), template, filled]
        .iter()
        .flat_map(|word| word.to_le_bytes())
        .collect()
}

impl Planner<'_, '_> {
    /// Has the code put into the target, if the patch asks for addresses of thread-local variables.
    pub(crate) fn prepare_tls(&mut self, home: &Module, objects: &[PatchObject<'_>]) {
        if self.registry.tls.is_some() || !objects.iter().any(PatchObject::asks_for_tls_addresses) {
            return;
        }
        let modules = &self.state.modules;
        let real = exported(modules, "__tls_get_addr");
        let functions = library_functions(modules);
        let place = |planner: &mut Self, bytes: u64| -> Option<(u64, u64)> {
            let start = planner.space.near_block(&home.range, bytes)?;
            let arena = planner.space.arena_of(start)?;
            let bytes = KEY_BYTES + RESERVE_BYTES;
            let key = planner.space.find_free(&arena, Region::Data, bytes, KEY_BYTES)?;
            planner.space.take(key..key + bytes);
            Some((start, key))
        };
        // The code is as long wherever it is.
        let length = code(0, real, functions.as_ref().ok()).len() as u64;
        let Some((start, key)) = place(self, length) else {
            return;
        };
        let bytes = code(key, real, functions.as_ref().ok());
        let offset = |index: u64| start + index * ENTRY_BYTES;
        self.writes.push((start, bytes));
        self.writes.push((key, vec![0; 16]));
        self.registry.tls = Some(Runtime {
            get_address: offset(0),
            fixed_descriptor: offset(1),
            dynamic_descriptor: offset(2),
            refused: functions.err(),
            next: 0,
        });
        self.registry
            .add_own([(start, length), (0, 0), (key, KEY_BYTES + RESERVE_BYTES), (0, 0)]);
    }
}

/// A function that the dynamic linker would bind all modules to; in a static program, the program's.
fn exported(modules: &[Module], name: &str) -> Option<u64> {
    let is_static = modules.len() == 1;
    let found = modules.iter().find_map(|module| {
        let only = || is_static.then(|| module.shared(name)).flatten();
        module
            .exported(name)
            .or_else(only)
            .map(|symbol| (symbol.kind, symbol.address))
    });
    found
        .filter(|(kind, _)| *kind == Kind::Function)
        .map(|(_, address)| address)
}

/// The functions of the C library, or which of them the process has not.
fn library_functions(modules: &[Module]) -> Result<[u64; 6], String> {
    let found = FUNCTIONS.map(|name| exported(modules, name));
    let missing: Vec<&str> = FUNCTIONS
        .iter()
        .zip(found)
        .filter(|(_, found)| found.is_none())
        .map(|(name, _)| *name)
        .collect();
    if missing.is_empty() {
        Ok(found.map(Option::unwrap_or_default))
    } else {
        Err(format!("the process has no {}", missing.join(", ")))
    }
}

/// Bytes of each of the first three entries.
const ENTRY_BYTES: u64 = 32;

fn code(key: u64, real: Option<u64>, functions: Option<&[u64; 6]>) -> Vec<u8> {
    let (save, restore) = (machine_code::save_vectors(), machine_code::restore_vectors());
    let onward = match real {
        Some(_) => "jmpq *real(%rip)",
        // A static program has one module, the executable, whose distance is known whenever it is asked for.
        None => "ud2",
    };
    let mut source = format!(
        "endbr64
         jmp get_address
         .org {ENTRY_BYTES}
         endbr64
         mov 8(%rax), %rax
         ret
         .org 2 * {ENTRY_BYTES}
         endbr64
         jmp descriptor
         .org 3 * {ENTRY_BYTES}
         get_address:
         mov (%rdi), %rax
         mov 8(%rdi), %rdx
         test %rax, %rax
         js dynamic
         btr $62, %rax
         jc fixed
         {onward}
         fixed:
         sub %rax, %rdx
         mov %rdx, %rax
         add %fs:0, %rax
         ret
         descriptor:
         push %rbp
         mov %rsp, %rbp
         push %rdi; push %rsi; push %rdx; push %rcx; push %r8; push %r9; push %r10; push %r11
         mov 8(%rax), %rdi
         {save}
         cld
         call get_address
         mov %rax, %r11
         {restore}
         mov %r11, %rax
         sub %fs:0, %rax
         lea -64(%rbp), %rsp
         pop %r11; pop %r10; pop %r9; pop %r8; pop %rcx; pop %rdx; pop %rsi; pop %rdi
         pop %rbp
         ret
        "
    );
    match functions {
        Some(functions) => {
            source.push_str(DYNAMIC_CODE);
            let _ = writeln!(
                source,
                ".equ RESERVE_BYTES, {RESERVE_BYTES}\n.equ WRITE, {}\n.equ EXIT, {}",
                libc::SYS_write,
                libc::SYS_exit_group,
            );
            for (name, address) in FUNCTIONS.iter().zip(functions) {
                let _ = writeln!(source, "{name}: .quad {address:#x}");
            }
        }
        None => source.push_str("dynamic:\nud2\n.p2align 3\n"),
    }
    let _ = writeln!(
        source,
        "key: .quad {key:#x}\nreal: .quad {:#x}\nreserve: .quad {:#x}",
        real.unwrap_or_default(),
        key + KEY_BYTES,
    );
    machine_code::assemble(&source)
}

/// `rbx`: the control block; `r12`: the offset in the thread's block; `r13`: the word with the key and one; `r14`: the
/// key, then this thread's table, which holds how many places it has, and then the blocks. Eight bytes in front of each
/// block lies what was allocated for it.
const DYNAMIC_CODE: &str = "
    dynamic:
    push %rbp
    mov %rsp, %rbp
    push %rbx; push %r12; push %r13; push %r14; push %r15; sub $24, %rsp
    btr $63, %rax
    mov %rax, %rbx
    mov %rdx, %r12
    mov key(%rip), %r13
    mov (%r13), %r15
    test %r15, %r15
    jz new_key
    have_key:
    dec %r15
    mov %r15d, %edi
    call *pthread_getspecific(%rip)
    mov %rax, %r14
    mov (%rbx), %rcx
    test %r14, %r14
    jz grow
    cmp (%r14), %rcx
    jae grow
    have_place:
    mov 8(%r14,%rcx,8), %rax
    test %rax, %rax
    jz new_block
    have_block:
    add %r12, %rax
    lea -40(%rbp), %rsp
    pop %r15; pop %r14; pop %r13; pop %r12; pop %rbx; pop %rbp
    ret

    new_key:
    lea (%rsp), %rdi
    lea destroy(%rip), %rsi
    call *pthread_key_create(%rip)
    test %eax, %eax
    jnz no_memory
    mov (%rsp), %r15d
    inc %r15
    xor %eax, %eax
    lock cmpxchg %r15, (%r13)
    je have_key
    mov %rax, (%rsp)
    lea -1(%r15), %edi
    call *pthread_key_delete(%rip)
    mov (%rsp), %r15
    jmp have_key

    grow:
    lea 136(,%rcx,8), %rdi
    call allocate
    mov %rax, %r13
    mov (%rbx), %rdx
    add $16, %rdx
    cld
    lea 8(%r13), %rdi
    xor %ecx, %ecx
    test %r14, %r14
    jz 1f
    lea 8(%r14), %rsi
    mov (%r14), %rcx
    sub %rcx, %rdx
    rep movsq
    1:
    mov %rdx, %rcx
    xor %eax, %eax
    rep stosq
    mov (%rbx), %rdx
    add $16, %rdx
    mov %rdx, (%r13)
    mov %r15d, %edi
    mov %r13, %rsi
    call *pthread_setspecific(%rip)
    test %eax, %eax
    jnz no_memory
    mov %r14, %rdi
    mov %r13, %r14
    call release
    mov (%rbx), %rcx
    jmp have_place

    new_block:
    mov 8(%rbx), %rdi
    add 16(%rbx), %rdi
    add $8, %rdi
    call allocate
    mov 16(%rbx), %rdx
    lea 7(%rax,%rdx), %r13
    neg %rdx
    and %rdx, %r13
    mov %rax, -8(%r13)
    cld
    mov %r13, %rdi
    mov 24(%rbx), %rsi
    mov 32(%rbx), %rcx
    rep movsb
    mov 8(%rbx), %rcx
    sub 32(%rbx), %rcx
    xor %eax, %eax
    rep stosb
    mov (%rbx), %rcx
    mov %r13, 8(%r14,%rcx,8)
    mov %r13, %rax
    jmp have_block

    allocate:
    push %r12
    mov %rdi, %r12
    call *malloc(%rip)
    test %rax, %rax
    jnz 1f
    add $15, %r12
    and $-16, %r12
    mov key(%rip), %rdx
    mov %r12, %rax
    lock xadd %rax, 8(%rdx)
    add %rax, %r12
    cmp $RESERVE_BYTES, %r12
    ja no_memory
    add reserve(%rip), %rax
    1:
    pop %r12
    ret

    release:
    mov %rdi, %rax
    sub reserve(%rip), %rax
    cmp $RESERVE_BYTES, %rax
    jb 1f
    jmp *free(%rip)
    1:
    ret

    no_memory:
    mov $WRITE, %eax
    mov $2, %edi
    lea message(%rip), %rsi
    mov $message_end-message, %edx
    syscall
    mov $EXIT, %eax
    mov $127, %edi
    syscall
    ud2
    message:
    .ascii \"cannot allocate memory for thread-local data of a patch\\n\"
    message_end:

    destroy:
    endbr64
    push %rbx; push %r12; sub $8, %rsp
    mov %rdi, %rbx
    mov (%rbx), %r12
    1:
    dec %r12
    js 2f
    mov 8(%rbx,%r12,8), %rax
    test %rax, %rax
    jz 1b
    mov -8(%rax), %rdi
    call release
    jmp 1b
    2:
    mov %rbx, %rdi
    call release
    add $8, %rsp; pop %r12; pop %rbx
    ret
    .p2align 3
    ";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_code_is_as_long_wherever_it_is() {
        let functions = [1, 2, 3, 4, 5, 6];
        let lengths = [0, 0x7fff_1234_5678].map(|key| code(key, Some(8), Some(&functions)).len());
        assert_eq!(lengths[0], lengths[1]);
        let code = code(0x1111, None, None);
        assert_eq!(code[32..37], [0xf3, 0x0f, 0x1e, 0xfa, 0x48]);
    }
}
