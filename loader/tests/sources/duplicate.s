// Two strong definitions are an error that names both objects; weak and unique ones stand beside one another.
//#Parts: 2
//#Case: strong
//#Flags: --defsym STRONG=1
//#ExpectError: ^duplicate-2\.o: duplicate definition of strong, which duplicate-1\.o defines already$
//#Case: weak
//#Check: u64 uses = 1:weak
//#Check: u64 2:uses = 1:weak
//#Check: u64 uses + 8 = 2:overridden
//#Check: u64 uses + 16 = 1:unique
//#Check: u64 2:uses + 16 = 1:unique
//#Symbol: unique data weak
    .data
uses:
    .quad weak, overridden, unique
    .weak weak
weak:
    .byte PART
.if PART == 1
    .weak overridden
.else
    .globl overridden
.endif
overridden:
    .byte PART
    .globl unique
    .type unique, @gnu_unique_object
unique:
    .byte PART
.ifdef STRONG
    .globl strong
strong:
    .byte PART
.endif
