// A reference to a local symbol of a group that was not chosen: nothing to bind to from code or data, and 0 in tables of
// unwinding, which skip it.
//#Parts: 2
//#Case: eh-frame
//#Flags: --defsym TABLE=1
//#Check: 1:.eh_frame = 08 00 00 00 00 00 00 00 ?? ?? ?? ??
//#Check: u32 1:.eh_frame + 8 = .text.inline - here
//#Check: 2:.eh_frame = 08 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00
//#Check: u64 2:.gcc_except_table = 0
//#Case: data
//#Flags: --defsym DATA=1
//#ExpectError: ^comdat-local-reference-2\.o: \.data\+0x0: R_X86_64_64 against hidden_label: the symbol is local to a section that was discarded with its group
    .section .text.inline, "axG", @progbits, inline, comdat
    .weak inline
inline:
    ret
hidden_label:
    ret
.ifdef TABLE
    .section .gcc_except_table, "a", @progbits
    .reloc ., R_X86_64_64, hidden_label
    .quad 0
    .section .eh_frame, "a", @progbits
    .long 8, 0
    .reloc ., R_X86_64_PC32, .text.inline
    .long 0
.endif
.ifdef DATA
    .data
    .reloc ., R_X86_64_64, hidden_label
    .quad 0
.endif
