// R_X86_64_PC64: S + A - P in 64 bits, which wrap.
//#At: 0x10000000
//#Case: near
//#Define: target=0x10000000
//#Check: u64 field = target - here
//#Case: far
//#Define: target=0x7fffffffffff
//#Check: u64 field = target - here
//#Case: behind
//#Define: target=1
//#Check: u64 field = target - here
    .data
    .quad 0
field:
    .reloc ., R_X86_64_PC64, target
    .quad 0
