// Strings that may be merged: references by section and addend reach the same bytes.
//#Parts: 2
//#Check: 1:.rodata.str1.1 = 61 62 00 63 64 00
//#Check: u64 reference = 1:.rodata.str1.1 + 3
//#Check: u64 2:reference = 2:.rodata.str1.1 + 3
    .section .rodata.str1.1, "aMS", @progbits, 1
.Lone:
    .asciz "ab"
.Ltwo:
    .asciz "cd"
    .data
reference:
    .quad .Ltwo
