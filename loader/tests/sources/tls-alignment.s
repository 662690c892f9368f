// The thread-local block of several objects: each section at its alignment, contents before zeros, and the block's end,
// which is the thread pointer, at the largest alignment.
//#Parts: 2
//#Check: address 1:data = 0
//#Check: address 2:data = 64
//#Check: address 1:zero = 80
//#Check: address 2:zero = 256
//#Check: address wide_common = 384
//#Check: address TP = 0 - 512
//#Check: u64 offsets = TP
//#Check: u64 offsets + 8 = TP + 80
//#Check: u64 2:offsets = TP + 64
//#Check: u64 2:offsets + 8 = TP + 256
//#Check: u64 2:offsets + 16 = TP + 384
//#Check: u8 TEMPLATE = 1
//#Check: u8 TEMPLATE + 64 = 2
//#Check: u8 TEMPLATE + 63 = 0
//#Symbol: wide_common tls strong
    .section .tdata, "awT", @progbits
.if PART == 2
    .balign 64
.endif
data:
    .byte PART
    .zero 15
    .section .tbss, "awT", @nobits
.if PART == 2
    .balign 256
.endif
zero:
    .zero 20
    .data
offsets:
    .reloc ., R_X86_64_TPOFF64, data
    .quad 0
    .reloc ., R_X86_64_TPOFF64, zero
    .quad 0
.if PART == 2
    .reloc ., R_X86_64_TPOFF64, wide_common
    .quad 0
    .tls_common wide_common, 100, 128
.endif
