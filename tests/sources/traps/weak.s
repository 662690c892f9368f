# Weak undefined symbols by every kind of relocation.
        .weak   nowhere, nowhere_data, nowhere_tls
        .globl  main
        .data
        .quad   nowhere_data
address: .quad  nowhere
offset: .quad   nowhere_data+16
        .text
main:   subq    $8, %rsp
        cmpq    $0, address(%rip)
        jne     bad
        cmpq    $16, offset(%rip)
        jne     bad
        movq    nowhere@GOTPCREL(%rip), %rax
        testq   %rax, %rax
        jne     skip
        cmpq    $0, nowhere_data@GOTPCREL(%rip)
        jne     bad
        movabsq $nowhere, %rax
        testq   %rax, %rax
        jne     bad
        movl    $42, %eax
        addq    $8, %rsp
        ret
skip:   call    nowhere@PLT
        call    nowhere
        jmp     nowhere@PLT
bad:    movl    $1, %eax
        addq    $8, %rsp
        ret
        .section .note.GNU-stack,"",@progbits
