// clang 19 writes REX_GOTPCRELX under a REX2 prefix too. A payload that looks like a REX prefix is relaxed, with the same
// registers; any other payload keeps its slot.
//#Check: like_rex = d5 48 8d 05
//#Check: u32 like_rex + 4 = target - 4 - here
//#Check: other = d5 18 8b 05
//#Check: u32 other + 4 = target@GOT - 4 - here
    .text
like_rex:
    .byte 0xd5, 0x48, 0x8b, 0x05
    .reloc ., R_X86_64_REX_GOTPCRELX, target - 4
    .long 0
other:
    .byte 0xd5, 0x18, 0x8b, 0x05
    .reloc ., R_X86_64_REX_GOTPCRELX, target - 4
    .long 0
    .data
target:
    .quad 0
