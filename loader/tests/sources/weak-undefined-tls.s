// A weak thread-local variable that nothing defines: its address is never used, so every model links.
//#Define: __tls_get_addr=0x10002000 function
//#Check: u64 ie = 0
//#Check: u32 le = 0
//#Check: u32 ld = 0
//#Check: u64 wide = 0
    .weak weak
    .type weak, @tls_object
    .text
    .reloc ., R_X86_64_GOTTPOFF, weak
    .long 0
    .reloc ., R_X86_64_TLSGD, weak
    .long 0
    .reloc ., R_X86_64_GOTPC32_TLSDESC, weak
    .long 0
le:
    .reloc ., R_X86_64_TPOFF32, weak
    .long 0
ld:
    .reloc ., R_X86_64_DTPOFF32, weak
    .long 0
    .data
wide:
    .reloc ., R_X86_64_DTPOFF64, weak
    .quad 0
ie:
    .reloc ., R_X86_64_TPOFF64, weak
    .quad 0
    .section .tbss, "awT", @nobits
own:
    .zero 8
