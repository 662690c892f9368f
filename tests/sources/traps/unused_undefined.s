# Undefined symbols that nothing but sections outside memory use, and one that nothing uses.
        .globl  main, _GLOBAL_OFFSET_TABLE_, never_used
        .text
main:   movl    $42, %eax
        ret
        .section .debug_own,"",@progbits
        .quad   defined_nowhere_at_all
        .long   another_one_of_those
        .section .note.GNU-stack,"",@progbits
