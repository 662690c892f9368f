// R_X86_64_SIZE32 and SIZE64: Z + A. SIZE32 is unsigned.
//#Case: in-range
//#Check: u32 narrow = 24
//#Check: u32 narrow_more = 24 + 100
//#Check: u64 wide = 24
//#Check: u64 wide_less = 24 - 100
//#Case: library
//#Define: library=0x7ffff0000000 data 40
//#Flags: --defsym LIBRARY=1
//#Check: u32 of_library = 40
//#Check: u64 of_library + 4 = 41
//#Case: common
//#Check: u32 of_common = 0x123
//#Case: beyond-upper-edge
//#Flags: --defsym FAR=4294967272
//#ExpectError: ^size\.o: \.data\+0x[0-9a-f]+: R_X86_64_SIZE32 against object: 0x100000000 does not fit 32 bits unsigned
//#Case: upper-edge
//#Flags: --defsym FAR=4294967271
//#Check: u32 far = 0xffffffff
//#Case: negative
//#Flags: --defsym FAR=-25
//#ExpectError: R_X86_64_SIZE32 against object: 0xffffffffffffffff does not fit 32 bits unsigned
    .data
narrow:
    .reloc ., R_X86_64_SIZE32, object
    .long 0
narrow_more:
    .reloc ., R_X86_64_SIZE32, object + 100
    .long 0
wide:
    .reloc ., R_X86_64_SIZE64, object
    .quad 0
wide_less:
    .reloc ., R_X86_64_SIZE64, object - 100
    .quad 0
of_common:
    .reloc ., R_X86_64_SIZE32, common
    .long 0
of_library:
.ifdef LIBRARY
    .reloc ., R_X86_64_SIZE32, library
    .long 0
    .reloc ., R_X86_64_SIZE64, library + 1
    .quad 0
.endif
far:
.ifdef FAR
    .reloc ., R_X86_64_SIZE32, object + FAR
.endif
    .long 0
    .globl object
    .type object, @object
    .size object, 24
object:
    .zero 24
    .comm common, 0x123, 8
