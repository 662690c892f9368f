// R_X86_64_TLSLD (local dynamic): one pair of GOT words for the module, and R_X86_64_DTPOFF32 or DTPOFF64 for each
// variable; R_X86_64_DTPMOD64 is the module.
//#Define: __tls_get_addr=0x20000000 function
//#Case: in-range
//#Check: u32 load + 3 = .got - 4 - here
//#Check: u64 .got = MODULE
//#Check: u64 .got + 8 = 0
//#Check: u32 offset + 2 = 8
//#Check: u32 offset_of_zero + 2 = 16 + 4
//#Check: u64 wide = 16 + 7
//#Check: u64 module = MODULE
//#Check: u32 edge = 0x7fffffff
//#Case: out-of-range
//#Flags: --defsym FAR=1
//#ExpectError: ^tls-ld\.o: \.text\+0x1c: R_X86_64_TLSLD against first: 0x8000\w+ does not fit 32 bits signed
//#Case: offset-out-of-range
//#Flags: --defsym FAROFFSET=1
//#ExpectError: ^tls-ld\.o: \.text\+0x1c: R_X86_64_DTPOFF32 against second: 0x80000000 does not fit 32 bits signed
//#Case: not-thread-local
//#Flags: --defsym ORDINARY=1
//#ExpectError: ^tls-ld\.o: \.text\+0x1c: R_X86_64_DTPOFF32 against ordinary: a thread-local relocation against a symbol that is not thread-local
//#Case: other-module
//#Flags: --defsym OTHER=1
//#Define: errno=0x40 tls 3 none
//#ExpectError: ^tls-ld\.o: \.text\+0x1c: R_X86_64_DTPOFF32 against errno: the code looks for the variable in its own module's thread-local block, but another module defines it
    .text
load:
    lea first@TLSLD(%rip), %rdi
    call __tls_get_addr@PLT
offset:
    .byte 0x8b, 0x80
    .reloc ., R_X86_64_DTPOFF32, second
    .long 0
offset_of_zero:
    .byte 0x8b, 0x80
    .reloc ., R_X86_64_DTPOFF32, zero + 4
    .long 0
    .space 4
.ifdef FAR
    .reloc ., R_X86_64_TLSLD, first + 0x7fffffff
.endif
.ifdef FAROFFSET
    .reloc ., R_X86_64_DTPOFF32, second + 0x7ffffff8
.endif
.ifdef OTHER
    .reloc ., R_X86_64_DTPOFF32, errno
.endif
.ifdef ORDINARY
    .reloc ., R_X86_64_DTPOFF32, ordinary
.endif
    .long 0
edge:
    .reloc ., R_X86_64_DTPOFF32, second + 0x7ffffff7
    .long 0
    .data
wide:
    .reloc ., R_X86_64_DTPOFF64, zero + 7
    .quad 0
module:
    .reloc ., R_X86_64_DTPMOD64, first
    .quad 0
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
