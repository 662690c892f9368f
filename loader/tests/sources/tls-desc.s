// R_X86_64_GOTPC32_TLSDESC: a TLS descriptor in the GOT; the call through it needs no relocation of its own.
//#Define: errno=0x40 tls 3 none
//#Case: in-range
//#Check: u32 own + 3 = .got - 4 - here
//#Check: u64 .got + 8 = TP + 8
//#Check: call = ff 10
//#Check: u32 external + 3 = .got + 32 - 4 - here
//#Check: u64 .got + 32 + 8 = .got + 32 + 16
//#Check: u64 .got + 32 + 16 = 3
//#Check: u64 .got + 32 + 24 = 0x40
//#Case: not-thread-local
//#Flags: --defsym ORDINARY=1
//#ExpectError: ^tls-desc\.o: \.text\+0x12: R_X86_64_GOTPC32_TLSDESC against ordinary: a thread-local relocation against a symbol that is not thread-local
//#Case: out-of-range
//#Flags: --defsym FAR=1
//#ExpectError: ^tls-desc\.o: \.text\+0x12: R_X86_64_GOTPC32_TLSDESC against second: 0x8000\w+ does not fit 32 bits signed
    .text
own:
    lea second@TLSDESC(%rip), %rax
call:
    call *second@TLSCALL(%rax)
external:
    lea errno@TLSDESC(%rip), %rax
    call *errno@TLSCALL(%rax)
.ifdef FAR
    .reloc ., R_X86_64_GOTPC32_TLSDESC, second + 0x7fffffff
.endif
.ifdef ORDINARY
    .reloc ., R_X86_64_GOTPC32_TLSDESC, ordinary
.endif
    .long 0
    .data
ordinary:
    .quad 0
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
