// Hidden and internal symbols are seen by the objects of one unit only, and so is one that somebody refers to as hidden;
// protected ones are seen by all.
//#Parts: 2
//#Check: u64 2:uses = hidden_one
//#Check: u64 2:uses + 8 = internal_one
//#Check: u64 2:uses + 16 = protected_one
//#Check: u64 2:uses + 24 = default_one
//#Check: u64 2:uses + 32 = hidden_by_reference
//#Symbol: hidden_one data local
//#Symbol: internal_one data local
//#Symbol: protected_one data strong
//#Symbol: default_one data strong
//#Symbol: hidden_by_reference data local
    .data
.if PART == 1
    .globl hidden_one, internal_one, protected_one, default_one, hidden_by_reference
    .hidden hidden_one
    .internal internal_one
    .protected protected_one
hidden_one: .byte 1
internal_one: .byte 2
protected_one: .byte 3
default_one: .byte 4
hidden_by_reference: .byte 5
.else
    .hidden hidden_by_reference
uses:
    .quad hidden_one, internal_one, protected_one, default_one, hidden_by_reference
.endif
