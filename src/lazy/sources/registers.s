# Every register that a call may carry something in, given and seen. The offsets are those of registers.c.
        .intel_syntax noprefix
        .bss
        .globl  given, seen, function
        .p2align 6
given:  .skip   4096
seen:   .skip   4096
function: .skip 8

        .text
        .macro  each_general operation
        \operation rax, 0
        \operation rcx, 1
        \operation rdx, 2
        \operation rsi, 3
        \operation rdi, 4
        \operation r8, 5
        \operation r9, 6
        \operation r10, 7
        \operation r11, 8
        \operation rbx, 9
        \operation rbp, 10
        \operation r12, 11
        \operation r13, 12
        \operation r14, 13
        \operation r15, 14
        .endm
        .macro  give register, i
        mov     \register, [rip+given+8*\i]
        .endm
        .macro  see register, i
        mov     [rip+seen+8*\i], \register
        .endm

# void call_function(void)
        .globl  call_function
call_function:
        push    rbx
        push    rbp
        push    r12
        push    r13
        push    r14
        push    r15
        sub     rsp, 8
        mov     rax, [rip+level@GOTPCREL]
        mov     eax, [rax]
        ldmxcsr [rip+given+15*8]
        cmp     eax, 2
        je      2f
        cmp     eax, 1
        je      1f
        .irp    i, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
        movups  xmm\i, [rip+given+256+64*\i]
        .endr
        jmp     3f
1:
        .irp    i, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
        vmovups ymm\i, [rip+given+256+64*\i]
        .endr
        jmp     3f
2:
        .irp    i, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
        vmovups zmm\i, [rip+given+256+64*\i]
        .endr
        .irp    i, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31
        vmovups zmm\i, [rip+given+256+64*\i]
        .endr
        .irp    i, 0, 1, 2, 3, 4, 5, 6, 7
        kmovq   k\i, [rip+given+2304+8*\i]
        .endr
3:
        push    [rip+given+16*8]
        popfq
        each_general give
        call    [rip+function]
        cld
        add     rsp, 8
        pop     r15
        pop     r14
        pop     r13
        pop     r12
        pop     rbp
        pop     rbx
        ret

# What `function` turns out to be.
        .globl  store
        .type   store, @function
store:
        each_general see
        pushfq
        pop     [rip+seen+16*8]
        stmxcsr [rip+seen+15*8]
        mov     rax, [rip+level@GOTPCREL]
        mov     eax, [rax]
        cmp     eax, 2
        je      2f
        cmp     eax, 1
        je      1f
        .irp    i, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
        movups  [rip+seen+256+64*\i], xmm\i
        .endr
        ret
1:
        .irp    i, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
        vmovups [rip+seen+256+64*\i], ymm\i
        .endr
        ret
2:
        .irp    i, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
        vmovups [rip+seen+256+64*\i], zmm\i
        .endr
        .irp    i, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31
        vmovups [rip+seen+256+64*\i], zmm\i
        .endr
        .irp    i, 0, 1, 2, 3, 4, 5, 6, 7
        kmovq   [rip+seen+2304+8*\i], k\i
        .endr
        ret

# void clobber(void): leaves something else in every register that a function may change, and `errno`.
        .globl  clobber
        .type   clobber, @function
clobber:
        push    rbx
        mov     ebx, 0x5a5a5a5a
        call    __errno_location@PLT
        mov     [rax], ebx
        movd    xmm0, ebx
        divss   xmm0, xmm0              # sets exception flags
        sqrtss  xmm0, xmm0
        .irp    i, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
        movd    xmm\i, ebx
        .endr
        mov     rax, [rip+level@GOTPCREL]
        cmp     dword ptr [rax], 2
        jne     1f
        .irp    i, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
        vpbroadcastd zmm\i, ebx
        .endr
        .irp    i, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31
        vpbroadcastd zmm\i, ebx
        .endr
        .irp    i, 0, 1, 2, 3, 4, 5, 6, 7
        kmovq   k\i, rbx
        .endr
1:
        .irp    register, rax, rcx, rdx, rsi, rdi, r8, r9, r10, r11
        mov     \register, rbx
        .endr
        pop     rbx
        ret
        .section .note.GNU-stack, "", @progbits
