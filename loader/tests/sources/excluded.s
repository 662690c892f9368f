// SHF_EXCLUDE sections, debug information and notes for tools are not part of the image; SHF_GNU_RETAIN is loaded as ever.
//#Check: u8 retained = 5
//#Absent: .excluded
//#Absent: .excluded_allocated
//#Absent: .debug_info
//#Absent: .comment
//#Check: u8 kept = 6
    .section .excluded, "e", @progbits
    .byte 1
    .section .excluded_allocated, "ae", @progbits
    .byte 1
    .section .debug_info, "", @progbits
    .quad nobody
    .section .comment, "MS", @progbits, 1
    .asciz "comment"
    .section .retained, "awR", @progbits
retained:
    .byte 5
    .section .note.kept, "a", @note
kept:
    .byte 6
