// Sections of the large code model are data out of reach of the code; `.lrodata` is constant.
//#Check: u64 addresses = ldata
//#Check: u64 addresses + 8 = lbss
//#Check: u64 addresses + 16 = lrodata
//#Check: u64 lbss = 0
//#Check: u8 lrodata = 3
//#Check: u8 ldata = 2
    .text
    nop
    .section .ldata, "awl", @progbits
ldata:
    .byte 2
    .section .lbss, "awl", @nobits
lbss:
    .zero 100
    .section .lrodata, "al", @progbits
lrodata:
    .byte 3
    .data
addresses:
    .quad ldata, lbss, lrodata
