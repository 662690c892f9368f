// A zero length ends an unwind table. One in the middle, such as crtend.o's, ends only its own object's: what stands
// behind it there is left out, and the records of the other objects follow one another.
//#Parts: 3
//#Check: .eh_frame = 04 00 00 00 aa aa aa aa 04 00 00 00 bb bb bb bb 00 00 00 00
    .section .eh_frame, "a", @progbits
.if PART == 1
    .long 4, 0xaaaaaaaa, 0, 4, 0xcccccccc
.elseif PART == 2
    .long 4, 0xbbbbbbbb
.else
    .long 0
    .long 0x11111111, 0x22222222, 0x33333333
    .reloc ., R_X86_64_32, 0
    .long 0
.endif
    .text
    nop
