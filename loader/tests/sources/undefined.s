// Undefined symbols that no loaded section refers to are no error. The others are listed all at once, in the order in
// which they are met, with everybody who wants them.
//#Parts: 2
//#Case: unused
//#Check: u8 here_only = 1
//#Case: listed
//#Flags: --defsym USED=1
//#ExpectError: ^undefined symbol first, wanted by undefined-1\.o\nundefined symbol both, wanted by undefined-1\.o, undefined-2\.o\nundefined symbol second, wanted by undefined-2\.o$
//#Case: hints
//#Flags: --defsym HINT=1
//#ExpectError: undefined symbol __asan_report_load4, wanted by undefined-1\.o, undefined-2\.o \(the AddressSanitizer runtime
//#ExpectError: undefined symbol __morestack, .* \(split-stack code: compile without -fsplit-stack
    .globl _GLOBAL_OFFSET_TABLE_, unused
    .section .debug_info, "", @progbits
    .quad debugged
    .section .note.GNU-stack, "", @progbits
    .data
here_only:
    .byte 1
.ifdef HINT
    .quad __asan_report_load4, __morestack
.endif
.ifdef USED
.if PART == 1
    .quad first, both, first
.else
    .quad second, both
.endif
.endif
