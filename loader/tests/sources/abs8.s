// R_X86_64_8: S + A in 8 bits, signed or unsigned.
//#At: 0x10000000
//#Case: lower-edge
//#Define: target=-0x80
//#Check: u8 field = target
//#Case: upper-edge
//#Define: target=0xff
//#Check: u8 field = target
//#Case: beyond-upper-edge
//#Define: target=0x100
//#ExpectError: ^abs8\.o: \.data\+0x8: R_X86_64_8 against target: 0x100 does not fit 8 bits signed or unsigned$
//#Case: beyond-lower-edge
//#Define: target=-0x81
//#ExpectError: ^abs8\.o: \.data\+0x8: R_X86_64_8 against target: 0xffffffffffffff7f does not fit 8 bits
    .data
    .quad 0
field:
    .reloc ., R_X86_64_8, target
    .byte 0
