// A COMDAT group is keyed by its signature's name, whatever the symbol's binding: the first one is kept, and references
// to its global symbols from every object go to that copy.
//#Parts: 3
//#Check: u64 uses = 1:inline
//#Check: u64 2:uses = 1:inline
//#Check: u64 3:uses = 1:inline
//#Check: u8 inline = 1
//#Check: u8 local_signature = 1
//#Check: u64 local_uses = .text.ctor
//#Check: u8 2:not_comdat = 2
//#Check: u8 1:not_comdat = 1
//#Check: u8 3:not_comdat = 3
//#Absent: 2:.text.inline
//#Absent: 2:.text.ctor
//#Absent: 3:.rodata.inline
//#Check: u8 1:strong_one = 1
//#Check: u64 2:strong_uses = 1:strong_one
//#Absent: 2:.text.strong
    .section .text.inline, "axG", @progbits, inline, comdat
    .weak inline
inline:
    .byte PART
    .section .rodata.inline, "aG", @progbits, inline, comdat
    .quad inline
    .section .text.ctor, "axG", @progbits, _ZN1XC5Ev, comdat
local_signature:
    .byte PART
    .section .text.strong, "axG", @progbits, strong_one, comdat
    .globl strong_one
strong_one:
    .byte PART
    .section .text.plain, "axG", @progbits, plain_group
not_comdat:
    .byte PART
    .data
uses:
    .quad inline
strong_uses:
    .quad strong_one
.if PART == 1
local_uses:
    .quad local_signature
.endif
