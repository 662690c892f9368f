// A common symbol's alignment is its value, up to 2 MiB and more.
//#Case: aligned
//#Check: address large = 0x10200000
//#Check: address small = 0x10200800
//#Case: unaligned
//#Flags: --defsym BYTES=1
//#Check: address odd = 0x10200808
    .text
    nop
    .comm large, 0x800, 0x200000
    .comm small, 8, 8
.ifdef BYTES
    .data
    .comm odd, 3, 1
.endif
