# Addends other than -4, named symbols and sections, stores of immediates, comparisons through the GOT.
        .data
        .globl  array, flag
array:  .long   10, 20, 30, 40
flag:   .quad   7
        .text
        .globl  main
main:   subq    $8, %rsp
        xorl    %edi, %edi
        movl    $5, array+4(%rip)               # -4 + 4 - 4
        addb    $1, flag(%rip)                  # -5
        movw    $3, array+12(%rip)              # -6 + 12
        cmpq    $0, flag@GOTPCREL(%rip)         # -5 through the GOT
        je      bad
        testl   $-1, flag@GOTPCREL(%rip)        # -8
        je      bad
        pushq   array@GOTPCREL(%rip)
        popq    %rax
        addl    (%rax), %edi                    # 10
        addl    4(%rax), %edi                   # 5
        addl    array+8(%rip), %edi             # 30
        addl    12(%rax), %edi                  # 3
        leaq    array-39444(%rip), %rcx
        addl    39444(%rcx), %edi               # 10
        leaq    flag(%rip), %rdx
        cmpl    $8, (%rdx)
        jne     bad
        leaq    numbers(%rip), %rsi
        movslq  (%rsi), %rax
        addq    %rsi, %rax
        call    *%rax                           # subtracts 16
        call    down@PLT
        movl    %edi, %eax
        addq    $8, %rsp
        ret
bad:    movl    $1, %eax
        addq    $8, %rsp
        ret
minus:  subl    $15, %edi
        ret
down:   subl    $1, %edi
        ret
        .section .rodata
        .long   0
numbers:
        .long   minus-numbers
        .long   down-numbers+1000
        .section .note.GNU-stack,"",@progbits
