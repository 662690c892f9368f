// R_X86_64_GOTPLT64: G - GOT + A in 64 bits, which wrap: no value is out of range.
//#Define: target=0x7ffff0000000 function
//#Check: u64 field = target@GOT - .got
//#Check: u64 wrapped = target@GOT - .got + 0x7fffffffffffffff
//#Check: u64 target@GOT = target
//#Check: u64 own = other@GOT - .got - 3
    .text
    .byte 0
field:
    .reloc ., R_X86_64_GOTPLT64, target
    .quad 0
wrapped:
    .reloc ., R_X86_64_GOTPLT64, target + 0x7fffffffffffffff
    .quad 0
own:
    .reloc ., R_X86_64_GOTPLT64, other - 3
    .quad 0
    .reloc ., R_X86_64_GOTPCREL, other
    .long 0
    .data
other:
    .quad 0
