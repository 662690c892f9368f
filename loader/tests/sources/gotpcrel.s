// R_X86_64_GOTPCREL: G + A - P in 32 bits, signed. The instruction keeps its slot.
//#Case: in-range
//#Define: target=0x7ffff0000000
//#Check: u32 field = target@GOT - here
//#Check: u32 second = other@GOT - 5 - here
//#Check: u32 again = other@GOT - 4 - here
//#Check: u64 target@GOT = target
//#Check: u64 other@GOT = other
//#Check: load = 48 8b 05
//#Case: out-of-range
//#Flags: --defsym FAR=1
//#Define: target=0x7ffff0000000
//#ExpectError: ^gotpcrel\.o: \.text\+0xf: R_X86_64_GOTPCREL against other: 0x8000\w+ does not fit 32 bits signed
    .text
field:
    .reloc ., R_X86_64_GOTPCREL, target
    .long 0
second:
    .reloc ., R_X86_64_GOTPCREL, other - 5
    .long 0
load:
    .byte 0x48, 0x8b, 0x05
again:
    .reloc ., R_X86_64_GOTPCREL, other - 4
    .long 0
.ifdef FAR
    .reloc ., R_X86_64_GOTPCREL, other + 0x7fffffff
.endif
    .long 0
    .data
other:
    .quad 0
