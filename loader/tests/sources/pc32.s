// R_X86_64_PC32: S + A - P in 32 bits, signed; with the addends that compilers write besides -4.
//#Case: in-range
//#Define: target=0x20000000
//#Check: u32 edge = target - here
//#Check: u32 load + 3 = target - 4 - here
//#Check: u32 compare + 2 = target - 5 - here
//#Check: u32 beyond = target + 39444 - here
//#Check: u32 data = local + 8 - here
//#Check: u32 section = .text - here
//#Case: high
//#At: 0x7ffff0000000
//#Define: target=0x7fffe0000000
//#Check: u32 edge = target - here
//#Case: upper-edge
//#Define: target=0x8fff65fe
//#Check: u32 beyond = 0x7fffffff
//#Case: beyond-upper-edge
//#Define: target=0x8fff65ff
//#ExpectError: ^pc32\.o: \.text\+0x13: R_X86_64_PC32 against target: 0x80000000 does not fit 32 bits signed
//#Case: lower-edge
//#At: 0x100000000
//#Define: target=0x80000012
//#Check: u32 compare + 2 = 0x80000000
//#Case: beyond-lower-edge
//#At: 0x100000000
//#Define: target=0x80000011
//#ExpectError: ^pc32\.o: \.text\+0xd: R_X86_64_PC32 against target: 0xffffffff7fffffff does not fit 32 bits signed
    .text
edge:
    .reloc ., R_X86_64_PC32, target
    .long 0
load:
    lea target(%rip), %rax
compare:
    cmpb $1, target(%rip)
beyond = . + 1
    .byte 0x90, 0x90
    .reloc beyond, R_X86_64_PC32, target + 39444
    .long 0
    .byte 0x90
data:
    .reloc ., R_X86_64_PC32, local + 8
    .long 0
section:
    .reloc ., R_X86_64_PC32, .text
    .long 0
    .data
local:
    .quad 0, 0
