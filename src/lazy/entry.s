# Between an unbound stub and its resolver. Found on the stack: the stub's context, its index, and the return address of
# the call. Calls `resolve(context, index, return address)`, and goes on at the address that it returns with every
# register as the call had it, so that neither side's calling convention matters.
#
# The frame is an ordinary one, with the caller's rbp below the return address, so whoever follows frame pointers finds
# the caller too. Nothing returns through `ret` that was not called, which shadow stacks would not allow.
#
# SAVE_BYTES, SAVE_LOW, SAVE_HIGH and the instructions' choice, USE_XSAVEC or USE_XSAVE, are the processor's.
        .intel_syntax noprefix
        .text
        .globl  restub_lazy_entry
        .type   restub_lazy_entry, @function
        .p2align 4
restub_lazy_entry:
        .cfi_startproc
        .cfi_def_cfa rsp, 24
        endbr64
        xchg    [rsp+8], rbp            # the index for the caller's rbp
        .cfi_offset rbp, -16
        push    rbp
        .cfi_adjust_cfa_offset 8
        lea     rbp, [rsp+16]
        .cfi_def_cfa rbp, 16
        pushfq
        push    rax                     # the number of vector registers, of a call with variable arguments
        push    rcx
        push    rdx
        push    rsi
        push    rdi
        push    r8
        push    r9
        push    r10                     # the static chain
        push    r11
        sub     rsp, SAVE_BYTES
        and     rsp, -64
        xor     eax, eax
        .if USE_XSAVEC | USE_XSAVE
        .set    word, 0
        .rept   8                       # the header, which xrstor checks and xsave does not write as a whole
        mov     [rsp+512+word], rax
        .set    word, word + 8
        .endr
        mov     eax, SAVE_LOW
        mov     edx, SAVE_HIGH
        .endif
        .if USE_XSAVEC
        xsavec64 [rsp]
        .elseif USE_XSAVE
        xsave64 [rsp]
        .else
        fxsave64 [rsp]
        .endif
        cld
        mov     rdi, [rbp-8]
        mov     rsi, [rbp-16]
        mov     rdx, [rbp+8]
        movabs  rax, offset restub_lazy_resolve
        call    rax
        mov     [rbp-8], rax            # the answer for the context
        .if USE_XSAVEC | USE_XSAVE
        mov     eax, SAVE_LOW
        mov     edx, SAVE_HIGH
        xrstor64 [rsp]
        .else
        fxrstor64 [rsp]
        .endif
        lea     rsp, [rbp-96]
        pop     r11
        pop     r10
        pop     r9
        pop     r8
        pop     rdi
        pop     rsi
        pop     rdx
        pop     rcx
        pop     rax
        popfq
        lea     rsp, [rsp+8]
        .cfi_def_cfa rsp, 24
        mov     rbp, [rsp+8]
        .cfi_restore rbp
        lea     rsp, [rsp+16]
        .cfi_def_cfa rsp, 8
        jmp     qword ptr [rsp-16]      # in the red zone, which signals leave alone
        .cfi_endproc
        .size   restub_lazy_entry, . - restub_lazy_entry
        .section .note.GNU-stack, "", @progbits
