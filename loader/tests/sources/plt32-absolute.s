// `call 0x20001234` is a relocation against no symbol: there is nothing that a PLT entry could stand for.
//#Case: near
//#At: 0x10000000
//#Check: u32 call + 1 = 0x20001234 - 4 - here
//#Check: u32 plt + 1 = 0x20001234 - 4 - here
//#Case: out-of-range
//#At: 0x7ffff0000000
//#Flags: --defsym FAR=1
//#ExpectError: ^plt32-absolute\.o: \.text\+0x6: R_X86_64_PLT32 against absolute 0x0: .* does not fit 32 bits signed
    .text
call:
.ifndef FAR
    call 0x20001234
.else
    .space 5
.endif
plt:
    .byte 0xe8
    .reloc ., R_X86_64_PLT32, 0x20001234 - 4
    .long 0
