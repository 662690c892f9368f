// R_X86_64_PLTOFF64: L + A - GOT in 64 bits, which wrap: no value is out of range.
//#Case: far
//#Define: target=0x7ffff0000000 function
//#Check: u64 field = target@PLT - .got
//#Check: u64 own = callee - .got
//#Absent: callee@PLT
//#Case: near
//#Define: target=0x20000000 function
//#Check: u64 field = target - .got
//#Absent: target@PLT
    .text
callee:
    ret
field:
    .reloc ., R_X86_64_PLTOFF64, target
    .quad 0
own:
    .reloc ., R_X86_64_PLTOFF64, callee
    .quad 0
    .reloc ., R_X86_64_GOTPCREL, callee
    .long 0
