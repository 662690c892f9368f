// R_X86_64_GOTPC32: GOT + A - P in 32 bits, signed.
//#Case: in-range
//#Check: u32 load + 3 = .got - 4 - here
//#Check: u32 symbol + 3 = .got - 4 - here
//#Case: out-of-range
//#Flags: --defsym FAR=1
//#ExpectError: ^gotpc32\.o: \.text\+0xe: R_X86_64_GOTPC32 against _GLOBAL_OFFSET_TABLE_: 0x8000\w+ does not fit 32 bits signed
    .text
load:
    lea _GLOBAL_OFFSET_TABLE_(%rip), %rbx
symbol:
    lea _GLOBAL_OFFSET_TABLE_(%rip), %rbx
.ifdef FAR
    .reloc ., R_X86_64_GOTPC32, _GLOBAL_OFFSET_TABLE_ + 0x7fffffff
.endif
    .long 0
    .reloc ., R_X86_64_GOTPCREL, load
    .long 0
