// clang's local dynamic form of TLS descriptors uses `_TLS_MODULE_BASE_`, undefined: the start of the module's block.
//#Case: offset
//#Check: u32 field = 0
//#Check: u32 tp = TP
    .data
field:
    .reloc ., R_X86_64_DTPOFF32, _TLS_MODULE_BASE_
    .long 0
tp:
    .reloc ., R_X86_64_TPOFF32, _TLS_MODULE_BASE_
    .long 0
    .type _TLS_MODULE_BASE_, @tls_object
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
