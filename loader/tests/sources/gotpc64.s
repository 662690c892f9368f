// R_X86_64_GOTPC64: GOT + A - P in 64 bits, which wrap: no value is out of range.
//#Check: u64 load + 2 = .got + 2 - here
//#Check: u64 far = .got - 0x7fffffffffffffff - here
    .text
load:
    movabs $_GLOBAL_OFFSET_TABLE_ - load, %rax
far:
    .reloc ., R_X86_64_GOTPC64, _GLOBAL_OFFSET_TABLE_ - 0x7fffffffffffffff
    .quad 0
    .reloc ., R_X86_64_GOTPCREL, load
    .long 0
