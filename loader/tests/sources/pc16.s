// R_X86_64_PC16: S + A - P in 16 bits, signed.
//#At: 0x10000000
//#Case: upper-edge
//#Define: target=0x10008007
//#Check: u16 field = target - here
//#Case: lower-edge
//#Define: target=0xfff8008
//#Check: u16 field = target - here
//#Case: beyond-upper-edge
//#Define: target=0x10008008
//#ExpectError: ^pc16\.o: \.data\+0x8: R_X86_64_PC16 against target: 0x8000 does not fit 16 bits signed
//#Case: beyond-lower-edge
//#Define: target=0xfff8007
//#ExpectError: ^pc16\.o: \.data\+0x8: R_X86_64_PC16 against target: 0xffffffffffff7fff does not fit 16 bits signed
    .data
    .quad 0
field:
    .reloc ., R_X86_64_PC16, target
    .short 0
