// A tentative definition takes a member that really defines the symbol, as Fortran's block data wants it, and none that
// has only another tentative definition.
//#Parts: 3
//#Archive: 2 3
//#Check: u64 uses = 2:initialized
//#Check: u32 initialized = 77
//#Check: address tentative = 1:tentative
//#Check: u64 size = 4
//#Absent: unrelated
    .data
.if PART == 1
    .comm initialized, 4, 4
    .comm tentative, 4, 4
uses:
    .quad initialized, tentative
size:
    .reloc ., R_X86_64_SIZE64, tentative
    .quad 0
.elseif PART == 2
    .globl initialized
initialized:
    .long 77
.else
    .comm tentative, 400, 4
    .globl unrelated
unrelated:
    .quad 0
.endif
