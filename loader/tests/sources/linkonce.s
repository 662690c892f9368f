// The older form of COMDAT: a section named `.gnu.linkonce.*` is its own key.
//#Parts: 2
//#Check: u8 1:.gnu.linkonce.t.old = 1
//#Absent: 2:.gnu.linkonce.t.old
//#Check: u64 use = 1:old
//#Check: u64 2:use = 1:old
    .section .gnu.linkonce.t.old, "ax", @progbits
    .weak old
old:
    .byte PART
    .data
use:
    .quad old
