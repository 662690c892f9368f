// SHN_X86_64_LCOMMON (medium code model): a tentative definition that may lie out of reach of the code.
//#Parts: 2
//#Check: u64 absolute = huge
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
    .quad huge
    .largecomm huge, 0x100000 * PART, 64
