# More sections than fit in the header's 16 bits.
        .altmacro
        .macro  one n
        .section .text.f\n,"ax",@progbits
        .globl  f\n
f\n:    movl    $\n, %eax
        ret
        .endm
        .set    n, 0
        .rept   66000
        one     %n
        .set    n, n+1
        .endr
        .text
        .globl  main
main:   subq    $8, %rsp
        call    f65999
        movl    %eax, %edx
        call    f65500
        subl    %eax, %edx
        call    f457
        subl    %eax, %edx
        movl    %edx, %eax
        addq    $8, %rsp
        ret
        .section .note.GNU-stack,"",@progbits
