// R_X86_64_64: S + A in 64 bits, which take every address.
//#At: 0x10000000
//#Case: low
//#Define: target=0x1234
//#Check: u64 field = target
//#Case: top
//#Define: target=0xffffffffffffffff
//#Check: u64 field = target
    .data
    .quad 0
field:
    .reloc ., R_X86_64_64, target
    .quad 0
