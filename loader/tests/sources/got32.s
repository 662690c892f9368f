// R_X86_64_GOT32: G - GOT + A in 32 bits, signed.
//#Case: in-range
//#Define: target=0x7ffff0000000
//#Check: u32 field = target@GOT - .got
//#Check: u32 second = other@GOT - .got + 7
//#Check: u64 target@GOT = target
//#Check: u64 other@GOT = other
//#Case: out-of-range
//#Flags: --defsym FAR=1
//#Define: target=0x7ffff0000000
//#ExpectError: ^got32\.o: \.text\+0x8: R_X86_64_GOT32 against other: 0x8000\w+ does not fit 32 bits signed
    .text
field:
    .reloc ., R_X86_64_GOT32, target
    .long 0
second:
    .reloc ., R_X86_64_GOT32, other + 7
    .long 0
.ifdef FAR
    .reloc ., R_X86_64_GOT32, other + 0x80000000
.endif
    .long 0
    .data
other:
    .quad 0
