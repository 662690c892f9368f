// R_X86_64_NONE: nothing is written, and the symbol need not exist.
//#Check: place = 11 22 33 44
    .data
place:
    .reloc ., R_X86_64_NONE, nowhere
    .byte 0x11, 0x22, 0x33, 0x44
