// The names that `ld`'s default script and the C start files define, where the segments they speak of have no bytes:
// code without data and constants has an end all the same.
//#Case: code-only
//#At: 0x7ffff0000000
//#Check: address start = .text
//#Check: u32 lea_end + 3 = .text + 35 - 4 - here
//#Check: u32 lea_edata + 3 = .text + 35 - 4 - here
//#Check: u32 lea_start + 3 = .text - 4 - here
//#Check: u32 lea_etext + 3 = .text + 35 - 4 - here
//#Case: code-and-data
//#Flags: --defsym DATA=1
//#At: 0x7ffff0000000
//#Check: u32 lea_end + 3 = .bss + 32 - 4 - here
//#Check: u32 lea_edata + 3 = .bss - 4 - here
//#Check: u32 lea_start + 3 = .text - 4 - here
//#Check: u32 lea_etext + 3 = .text + 35 - 4 - here
    .text
start:
lea_end:
    lea _end(%rip), %rax
lea_edata:
    lea _edata(%rip), %rax
lea_start:
    lea __executable_start(%rip), %rax
lea_etext:
    lea etext(%rip), %rax
    lea nothing(%rip), %rax
.ifdef DATA
    .data
    .quad 1, 2
    .bss
    .zero 32
.endif
    .section .rodata
nothing:
