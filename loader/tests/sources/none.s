// R_X86_64_NONE: nothing is written, and the symbol need not exist. A section without contents may have it, too.
//#Check: place = 11 22 33 44
//#Symbol: zeros data local
    .data
place:
    .reloc ., R_X86_64_NONE, nowhere
    .byte 0x11, 0x22, 0x33, 0x44
    .bss
    .p2align 6
zeros:
    .reloc ., R_X86_64_NONE, place
    .skip 8
