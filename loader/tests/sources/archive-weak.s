// A weak reference takes no member from an archive; a strong one from a member that was taken since does, also where the
// weak one was met before.
//#Parts: 4
//#Case: taken
//#Archive: 2 3 4
//#Check: address third = 3:third
//#Check: u64 weak_reference = third
//#Check: u64 chain = second
//#Check: u64 chain + 8 = 0
//#Absent: fourth
//#Case: circular
//#Archive: 2 3
//#Archive: 4
//#Check: u64 weak_reference = third
    .data
.if PART == 1
    .weak third
    .weak fourth
weak_reference:
    .quad third
chain:
    .quad second, fourth
.elseif PART == 2
    .globl second
second:
    .quad third
.elseif PART == 3
    .globl third
third:
    .quad second
.else
    .globl fourth
fourth:
    .quad 0
.endif
