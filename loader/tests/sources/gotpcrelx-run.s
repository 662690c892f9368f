// Relaxed instructions do what the originals did.
//#Flags: -mrelax-relocations=yes
//#Run: 42
    .text
    .globl run
run:
    push %rbx
    call *thirty@GOTPCREL(%rip)
    mov %eax, %ebx
    mov constant@GOTPCREL(%rip), %rcx
    add (%rcx), %ebx
    mov constant@GOTPCREL(%rip), %r9
    add (%r9), %ebx
    mov %ebx, %edi
    pop %rbx
    jmp *finish@GOTPCREL(%rip)
thirty:
    mov $30, %eax
    ret
finish:
    lea 2(%rdi), %eax
    ret
    .section .rodata
constant:
    .long 5
