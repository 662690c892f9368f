// R_X86_64_32S: S + A in 32 bits, signed.
//#At: 0x10000000
//#Case: lower-edge
//#Define: target=-0x80000000
//#Check: u32 field = target
//#Case: upper-edge
//#Define: target=0x7fffffff
//#Check: u32 field = target
//#Case: beyond-upper-edge
//#Define: target=0x80000000
//#ExpectError: ^abs32s\.o: \.data\+0x8: R_X86_64_32S against target: 0x80000000 does not fit 32 bits signed
//#Case: beyond-lower-edge
//#Define: target=-0x80000001
//#ExpectError: ^abs32s\.o: \.data\+0x8: R_X86_64_32S against target: 0xffffffff7fffffff does not fit 32 bits signed
    .data
    .quad 0
field:
    .reloc ., R_X86_64_32S, target
    .long 0
