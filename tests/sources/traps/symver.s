# Versioned names: a default one, an old one, of the library.
        .globl  main
        .symver old_memcpy, memcpy@GLIBC_2.2.5
        .symver old_realpath, realpath@GLIBC_2.2.5
        .data
from:   .quad   42
to:     .quad   0
        .text
main:   subq    $8, %rsp
        leaq    to(%rip), %rdi
        leaq    from(%rip), %rsi
        movl    $8, %edx
        call    old_memcpy@PLT
        movq    old_realpath@GOTPCREL(%rip), %rax
        testq   %rax, %rax
        je      bad
        movl    to(%rip), %eax
        addq    $8, %rsp
        ret
bad:    movl    $1, %eax
        addq    $8, %rsp
        ret
        .section .note.GNU-stack,"",@progbits
