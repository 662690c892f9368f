// SHN_X86_64_LCOMMON (medium code model): a tentative definition that may lie out of reach of the code, unless it is
// an ordinary one (SHN_COMMON) for another object.
//#Parts: 2
//#Check: u64 absolute = huge
//#Check: address mixed = 0x10002040
//#Check: u64 2:absolute + 8 = mixed
//#Check: u64 2:absolute = huge
//#Check: address huge = 0x10003000
//#Symbol: huge data strong
//#Check: u32 load + 3 = huge@GOT - 4 - here
//#Check: load = 48 8b 05
//#Flags: -mrelax-relocations=yes
    .text
.if PART == 1
load:
    mov huge@GOTPCREL(%rip), %rax
.endif
    .data
absolute:
    .quad huge, mixed
    .largecomm huge, 0x100000 * PART, 64
.if PART == 1
    .largecomm mixed, 64, 64
.else
    .comm mixed, 64, 64
.endif
