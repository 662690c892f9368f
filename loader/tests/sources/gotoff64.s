// R_X86_64_GOTOFF64: S + A - GOT in 64 bits, which wrap: no value is out of range.
//#Define: target=0x7ffff0000000 function
//#Check: u64 field = target - .got
//#Check: u64 wrapped = target - .got + 0x7fffffffffffffff
//#Check: u64 own = other - .got - 3
    .text
    .byte 0
field:
    .reloc ., R_X86_64_GOTOFF64, target
    .quad 0
wrapped:
    .reloc ., R_X86_64_GOTOFF64, target + 0x7fffffffffffffff
    .quad 0
own:
    .reloc ., R_X86_64_GOTOFF64, other - 3
    .quad 0
    .reloc ., R_X86_64_GOTPCREL, other
    .long 0
    .data
other:
    .quad 0
