# .ctors and .dtors, which run in reverse order and before .init_array's own of a lower priority.
        .section .ctors.65000,"aw",@progbits
        .quad   early
        .section .ctors,"aw",@progbits
        .quad   one
        .quad   two
        .section .dtors,"aw",@progbits
        .quad   three
        .section .init_array,"aw",@init_array
        .quad   four
        .section .fini_array,"aw",@fini_array
        .quad   five
        .section .rodata
t0:     .asciz  "early"
t1:     .asciz  "ctors one"
t2:     .asciz  "ctors two"
t3:     .asciz  "dtors"
t4:     .asciz  "init_array"
t5:     .asciz  "fini_array"
        .text
early:  leaq    t0(%rip), %rdi
        jmp     puts@PLT
one:    leaq    t1(%rip), %rdi
        jmp     puts@PLT
two:    leaq    t2(%rip), %rdi
        jmp     puts@PLT
three:  leaq    t3(%rip), %rdi
        jmp     puts@PLT
four:   leaq    t4(%rip), %rdi
        jmp     puts@PLT
five:   leaq    t5(%rip), %rdi
        jmp     puts@PLT
        .globl  main
main:   movl    $42, %eax
        ret
        .section .note.GNU-stack,"",@progbits
