// An object that asks where the GOT is, and has neither slots nor constants: any place in reach is fine, as long as it is
// the same everywhere.
//#Case: low
//#Check: u32 load + 3 = .text + 18 - 4 - here
//#Case: high
//#At: 0x7ffff0000000
//#Check: u32 load + 3 = .text + 18 - 4 - here
//#Check: u64 offset + 2 = load - .text - 18
    .text
    .byte 0x90
load:
    lea _GLOBAL_OFFSET_TABLE_(%rip), %rbx
offset:
    movabs $load@GOTOFF, %rax
