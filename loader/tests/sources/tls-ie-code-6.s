// R_X86_64_CODE_6_GOTTPOFF: a GOT slot with the offset from the thread pointer. The instruction keeps its slot.
//#Retype: 22 50
//#Case: values
//#Define: errno=0x40 tls 3 -0x100
//#Check: load = 48 8b 05
//#Check: u32 again + 3 = .got - 4 - here
//#Check: u32 load + 3 = .got - 4 - here
//#Check: u32 external + 3 = .got + 8 - 4 - here
//#Check: u64 .got = TP + 8
//#Check: u64 .got + 8 = 0x40 - 0x100
//#Case: no-static-tls
//#Define: errno=0x40 tls 3 none
//#ExpectError: ^tls-ie-code-6\.o: \.text\+0x11: R_X86_64_CODE_6_GOTTPOFF against errno: the code wants a fixed offset from the thread pointer, but the library's block has none; compile with -fPIC -ftls-model=global-dynamic
//#Case: not-thread-local
//#Define: errno=0x20000000 data 4
//#ExpectError: ^tls-ie-code-6\.o: \.text\+0x11: R_X86_64_CODE_6_GOTTPOFF against errno: a thread-local relocation against a symbol that is not thread-local
//#Case: out-of-range
//#Flags: --defsym FAR=1
//#Define: errno=0x40 tls 3 -0x100
//#ExpectError: ^tls-ie-code-6\.o: \.text\+0x15: R_X86_64_CODE_6_GOTTPOFF against second: 0x8000\w+ does not fit 32 bits signed
    .text
load:
    mov second@GOTTPOFF(%rip), %rax
again:
    add second@GOTTPOFF(%rip), %rax
external:
    mov errno@GOTTPOFF(%rip), %rcx
.ifdef FAR
    .reloc ., R_X86_64_GOTTPOFF, second + 0x7fffffff
.endif
    .long 0
    .section .tdata, "awT", @progbits
    .balign 8
first:
    .quad 0x1122334455667788
second:
    .quad 2
    .section .tbss, "awT", @nobits
    .balign 16
zero:
    .zero 24
