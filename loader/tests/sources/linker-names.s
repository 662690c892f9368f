// The names that speak of the image itself mean this image, whatever the surroundings or an earlier image define under
// them (a host that was linked with -rdynamic defines most). A definition in an object wins over them.
//#Parts: 2
//#Earlier: end=0x1000
//#Earlier: __dso_handle=0x1000
//#Earlier: __init_array_start=0x1000
//#Define: _etext=0x2000
//#Define: _edata=0x2000
//#Define: __bss_start=0x2000
//#Define: __data_start=0x2000
//#Define: __ehdr_start=0x2000
//#Define: __executable_start=0x2000
//#Define: _GLOBAL_OFFSET_TABLE_=0x2000
//#Define: __init_array_end=0x2000
//#Define: __preinit_array_start=0x2000
//#Define: __preinit_array_end=0x2000
//#Define: __fini_array_start=0x2000
//#Define: __fini_array_end=0x2000
//#Define: __rela_iplt_start=0x2000
//#Define: __rela_iplt_end=0x2000
//#Define: __GNU_EH_FRAME_HDR=0x2000
//#Define: __TMC_END__=0x2000
//#Define: __FRAME_END__=0x2000
//#Check: u64 names = .bss + 24
//#Check: u64 names + 8 = .bss + 16
//#Check: u64 names + 16 = .init_array
//#Check: u64 names + 24 = .init_array + 8
//#Check: u64 names + 32 = .text + 1
//#Check: u64 names + 40 = .bss
//#Check: u64 names + 48 = .bss
//#Check: u64 names + 56 = .data
//#Check: u64 names + 64 = .text
//#Check: u64 names + 72 = .text
//#Check: u64 names + 80 = .got - here
//#Check: u64 names + 104 = .fini_array
//#Check: u64 names + 112 = .fini_array + 16
//#Check: u64 names + 136 = .bss
//#Check: u64 names + 144 = edata
//#Check: u8 edata = 9
    .text
.if PART == 1
    ret
    .section .init_array, "aw", @init_array
    .quad 0
    .section .fini_array, "aw", @fini_array
    .quad 0, 0
    .data
names:
    .quad end, __dso_handle, __init_array_start, __init_array_end, _etext, _edata, __bss_start, __data_start
    .quad __ehdr_start, __executable_start, _GLOBAL_OFFSET_TABLE_, __preinit_array_start, __preinit_array_end
    .quad __fini_array_start, __fini_array_end, __rela_iplt_start, __rela_iplt_end, __TMC_END__, edata
    .reloc ., R_X86_64_GOTPCREL, names
    .quad 0
    .bss
    .zero 16
.else
    .section .rodata
    .globl edata
edata:
    .byte 9
.endif
