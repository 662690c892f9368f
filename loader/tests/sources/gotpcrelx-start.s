// A relaxable relocation at the very start of its section, where no instruction fits before it.
//#Check: u32 .text = target@GOT - 4 - here
//#Check: u32 first = target@GOT - 4 - here
    .text
    .reloc ., R_X86_64_GOTPCRELX, target - 4
    .long 0
    .section .text.other, "ax"
    .byte 0x05
first:
    .reloc ., R_X86_64_REX_GOTPCRELX, target - 4
    .long 0
    .data
target:
    .quad 0
