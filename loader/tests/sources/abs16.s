// R_X86_64_16: S + A in 16 bits, signed or unsigned.
//#At: 0x10000000
//#Case: lower-edge
//#Define: target=-0x8000
//#Check: u16 field = target
//#Case: upper-edge
//#Define: target=0xffff
//#Check: u16 field = target
//#Case: beyond-upper-edge
//#Define: target=0x10000
//#ExpectError: ^abs16\.o: \.data\+0x8: R_X86_64_16 against target: 0x10000 does not fit 16 bits signed or unsigned$
//#Case: beyond-lower-edge
//#Define: target=-0x8001
//#ExpectError: ^abs16\.o: \.data\+0x8: R_X86_64_16 against target: 0xffffffffffff7fff does not fit 16 bits
    .data
    .quad 0
field:
    .reloc ., R_X86_64_16, target
    .short 0
