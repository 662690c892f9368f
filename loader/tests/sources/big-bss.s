// A .bss of 1 GiB costs no bytes, and all of it is in reach; behind 3 GiB, what can be read through the GOT is.
//#Flags: -mrelax-relocations=yes
//#Case: one
//#Check: u32 load + 3 = last - 4 - here
//#Check: load = 48 8d 05
//#Check: address last - first = 0x3ffffff8
//#Case: three
//#Flags: --defsym MORE=1
//#Check: load = 48 8b 05
//#Check: u32 load + 3 = last@GOT - 4 - here
//#Check: u64 last@GOT = last
//#Case: three-direct
//#Flags: --defsym MORE=1 --defsym DIRECT=1
//#ExpectError: ^big-bss\.o: \.text\+0xa: R_X86_64_PC32 against last: 0xc000\w+ does not fit 32 bits signed
    .text
load:
    mov last@GOTPCREL(%rip), %rax
.ifdef DIRECT
    lea last(%rip), %rax
.endif
    .bss
    .globl last
first:
    .zero 0x3ffffff8
.ifdef MORE
    .zero 0x40000000
    .zero 0x40000000
.endif
last:
    .zero 8
