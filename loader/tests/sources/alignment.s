// Alignments up to 2 MiB and more are kept, in code and data; padding between functions is int3.
//#Check: address function = 0x10000040
//#Check: address page = 0x10400000
//#Check: 0x10000001 = cc cc cc
    .section .text.a, "ax"
    nop
    .section .text.b, "ax"
    .balign 64
function:
    ret
    .section .data.huge, "aw"
    .balign 0x200000
    .byte 1
    .section .data.page, "aw"
    .balign 0x200000
page:
    .byte 2
