// A symbol of a group that was not chosen is a plain reference then: if the chosen copy does not define it, it is
// undefined, weak or not.
//#Parts: 2
//#Case: defined
//#Flags: --defsym BOTH=1
//#Check: u64 use = 1:extra
//#Case: missing
//#ExpectError: ^undefined symbol extra, wanted by comdat-missing-2\.o$
    .section .text.inline, "axG", @progbits, inline, comdat
    .weak inline
inline:
    ret
.ifdef BOTH
    .weak extra
extra:
    ret
.elseif PART == 2
    .weak extra
extra:
    ret
.endif
.if PART == 2
    .data
use:
    .quad extra
.endif
