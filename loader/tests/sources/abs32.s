// R_X86_64_32: S + A in 32 bits, unsigned.
//#At: 0x10000000
//#Case: zero
//#Define: target=0
//#Check: u32 field = target
//#Case: upper-edge
//#Define: target=0xffffffff
//#Check: u32 field = target
//#Case: beyond
//#Define: target=0x100000000
//#ExpectError: ^abs32\.o: \.data\+0x8: R_X86_64_32 against target: 0x100000000 does not fit 32 bits unsigned
//#Case: negative
//#Define: target=-1
//#ExpectError: ^abs32\.o: \.data\+0x8: R_X86_64_32 against target: 0xffffffffffffffff does not fit 32 bits unsigned
    .data
    .quad 0
field:
    .reloc ., R_X86_64_32, target
    .long 0
