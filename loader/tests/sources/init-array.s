// Constructors and destructors in priority order: `.init_array.N` ascending, `.ctors.N` counting down from 65535, those
// without a number last; `.ctors` from its end. A table that is SHT_PROGBITS counts by its name, as nasm writes it.
//#Parts: 2
//#Preinit: p1 p2
//#Init: i5 c100 i101 i102 i65535 i1 c2 c1 i2 progbits
//#Fini: f2 d1 d2 f1 f102 f101
//#Check: u64 bounds = .init_array.00005
//#Check: u64 bounds + 8 = .init_array.00005 + 80
//#Check: address .preinit_array = .rodata + 8
    .text
.if PART == 1
p1: ret
i1: ret
i101: ret
i102: ret
i5: ret
i65535: ret
c1: ret
c2: ret
c100: ret
f1: ret
f101: ret
f102: ret
d1: ret
d2: ret
    .section .init_array, "aw", @init_array
    .quad i1
    .section .init_array.101, "aw", @init_array
    .quad i101
    .section .init_array.00005, "aw", @init_array
    .quad i5
    .section .init_array.65535, "aw", @init_array
    .quad i65535
    .section .ctors, "aw", @progbits
    .quad c1, c2
    .section .ctors.65435, "aw", @progbits
    .quad c100
    .section .fini_array, "aw", @fini_array
    .quad f1
    .section .fini_array.101, "aw", @fini_array
    .quad f101
    .section .fini_array.102, "aw", @fini_array
    .quad f102
    .section .dtors, "aw", @progbits
    .quad d1, d2
    .section .preinit_array, "aw", @preinit_array
    .quad p1
    .section .init_array.102, "aw", @init_array
    .quad i102
.else
p2: ret
i2: ret
f2: ret
progbits: ret
    .section .preinit_array, "aw", @preinit_array
    .quad p2
    .section .init_array, "aw", @init_array
    .quad i2, progbits
    .section .fini_array, "aw", @fini_array
    .quad f2
    .data
bounds:
    .quad __init_array_start, __init_array_end
    .section .rodata
    .byte 0
.endif
