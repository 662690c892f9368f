// R_X86_64_PC8: S + A - P in 8 bits, signed.
//#At: 0x10000000
//#Case: upper-edge
//#Define: target=0x10000087
//#Check: u8 field = target - here
//#Case: lower-edge
//#Define: target=0xfffff88
//#Check: u8 field = target - here
//#Case: beyond-upper-edge
//#Define: target=0x10000088
//#ExpectError: ^pc8\.o: \.data\+0x8: R_X86_64_PC8 against target: 0x80 does not fit 8 bits signed
//#Case: beyond-lower-edge
//#Define: target=0xfffff87
//#ExpectError: ^pc8\.o: \.data\+0x8: R_X86_64_PC8 against target: 0xffffffffffffff7f does not fit 8 bits signed
    .data
    .quad 0
field:
    .reloc ., R_X86_64_PC8, target
    .byte 0
