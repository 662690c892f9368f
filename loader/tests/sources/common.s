// Tentative definitions (SHN_COMMON): the largest size and alignment of all; a strong definition wins, a weak one does
// not; a hidden one is shared by the objects of the unit and by nobody else.
//#Parts: 2
//#Check: u64 uses = 1:shared
//#Check: u64 uses + 8 = 1:hidden_one
//#Check: u64 uses + 16 = defined
//#Check: u64 uses + 24 = over_weak
//#Check: u64 2:uses = 1:shared
//#Check: u64 2:uses + 8 = 1:hidden_one
//#Check: u64 2:uses + 16 = defined
//#Check: u64 2:uses + 24 = over_weak
//#Check: u32 defined = 77
//#Check: address defined = 2:values
//#Check: u32 over_weak = 0
//#Check: u64 shared + 248 = 0
//#Check: u64 shared_size = 256
//#Symbol: shared data strong
//#Symbol: hidden_one data local
//#Symbol: defined data strong
    .data
uses:
    .quad shared, hidden_one, defined, over_weak
    .hidden hidden_one
.if PART == 1
    .comm shared, 8, 8
    .comm hidden_one, 8, 8
    .comm defined, 4, 4
    .comm over_weak, 4, 4
.else
    .comm shared, 256, 64
    .comm hidden_one, 16, 16
    .globl defined
    .weak over_weak
values:
defined:
    .long 77
over_weak:
    .long 88
shared_size:
    .reloc ., R_X86_64_SIZE64, shared
    .quad 0
.endif
