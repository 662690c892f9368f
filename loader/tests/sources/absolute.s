// Absolute symbols: no base is added, and two equal definitions are no conflict.
//#Parts: 2
//#Case: equal
//#Check: u64 use = 0x1234 + 1
//#Symbol: constant absolute strong
//#Case: different
//#Flags: --defsym DIFFERENT=1
//#ExpectError: ^absolute-2\.o: duplicate definition of constant, which absolute-1\.o defines already
    .globl constant
.if PART == 1
constant = 0x1234
    .data
use:
    .quad constant + 1
.else
.ifdef DIFFERENT
constant = 0x1235
.else
constant = 0x1234
.endif
.endif
