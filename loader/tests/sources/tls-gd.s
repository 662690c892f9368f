// R_X86_64_TLSGD (general dynamic): a pair of GOT words for `__tls_get_addr`: the module, and the offset in its block.
//#Define: __tls_get_addr=0x20000000 function
//#Define: errno=0x40 tls 3 none
//#Case: in-range
//#Check: u32 own + 4 = .got - 4 - here
//#Check: u64 .got = MODULE
//#Check: u64 .got + 8 = 8
//#Check: u32 external + 4 = .got + 16 - 4 - here
//#Check: u64 .got + 16 = 3
//#Check: u64 .got + 24 = 0x40
//#Check: u32 own + 12 = __tls_get_addr - 4 - here
//#Case: not-thread-local
//#Flags: --defsym ORDINARY=1
//#ExpectError: ^tls-gd\.o: \.text\+0x20: R_X86_64_TLSGD against ordinary: a thread-local relocation against a symbol that is not thread-local
//#Case: out-of-range
//#Flags: --defsym FAR=1
//#ExpectError: ^tls-gd\.o: \.text\+0x20: R_X86_64_TLSGD against second: 0x8000\w+ does not fit 32 bits signed
    .text
own:
    data16 lea second@TLSGD(%rip), %rdi
    .value 0x6666
    rex64 call __tls_get_addr@PLT
external:
    data16 lea errno@TLSGD(%rip), %rdi
    .value 0x6666
    rex64 call __tls_get_addr@PLT
.ifdef FAR
    .reloc ., R_X86_64_TLSGD, second + 0x7fffffff
.endif
.ifdef ORDINARY
    .reloc ., R_X86_64_TLSGD, ordinary
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
