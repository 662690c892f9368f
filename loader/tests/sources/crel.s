// SHT_CREL, the compact form of relocations that clang 19 writes on request.
//#Compilers: clang-19
//#Flags: -Wa,--crel,--allow-experimental-crel
//#Define: function=0x20000000
//#Case: read
//#Check: u32 call + 1 = function - 4 - here
//#Check: u32 load + 3 = variable + 100 - 4 - here
//#Check: u64 pointers = function
//#Check: u64 pointers + 8 = variable - 8
//#Check: u64 pointers + 16 = 0
//#Check: u64 pointers + 24 = variable + 0x123456789
//#Case: out-of-range
//#At: 0x7ffff0000000
//#ExpectError: ^crel\.o: \.text\+0x8: R_X86_64_PC32 against function: .* does not fit 32 bits signed
    .text
call:
    call function@PLT
    lea function(%rip), %rax
load:
    lea variable+100(%rip), %rax
    .data
pointers:
    .quad function, variable - 8, 0, variable + 0x123456789
    .bss
variable:
    .zero 8
