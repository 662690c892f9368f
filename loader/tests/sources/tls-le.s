// R_X86_64_TPOFF32 and TPOFF64 (local exec): S + A - TP. The block ends at the thread pointer (psABI 6.1, variant II).
//#Case: in-range
//#Check: u32 load + 4 = TP
//#Check: u32 other + 5 = TP + 8 + 3
//#Check: u32 of_zero + 5 = TP + 16
//#Check: u64 wide = TP + 16
//#Check: u64 TEMPLATE = 0x1122334455667788
//#Check: address first = 0
//#Check: address second = 8
//#Check: address zero = 16
//#Check: u32 local = TP + 8
//#Symbol: first tls local
//#Case: out-of-range
//#Flags: --defsym FAR=1
//#ExpectError: ^tls-le\.o: \.text\+0x\w+: R_X86_64_TPOFF32 against first: 0xffffffff7\w+ does not fit 32 bits signed
    .text
load:
    .byte 0x64, 0x8b, 0x04, 0x25
    .reloc ., R_X86_64_TPOFF32, first
    .long 0
other:
    mov %fs:second@TPOFF + 3, %rax
of_zero:
    mov %fs:zero@TPOFF, %rax
local:
    .reloc ., R_X86_64_TPOFF32, .tdata + 8
    .long 0
.ifdef FAR
    .reloc ., R_X86_64_TPOFF32, first - 0x80000000
.endif
    .long 0
    .data
wide:
    .reloc ., R_X86_64_TPOFF64, zero
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
