// A section with SHF_LINK_ORDER goes with the one that it is linked to.
//#Parts: 2
//#Check: u64 1:__patchable_function_entries = 1:.text.inline
//#Absent: 2:__patchable_function_entries
    .section .text.inline, "axG", @progbits, inline, comdat
    .weak inline
inline:
label:
    ret
    .section __patchable_function_entries, "awo", @progbits, .text.inline
    .quad label
