// Absolute addresses in code and unwind tables, which the large model and non-PIC code have: all are applied before the
// code becomes executable.
//#Define: target=0x123456789abc
//#Check: u64 load + 2 = target + 5
//#Check: u64 own + 2 = variable
    .text
load:
    movabs $target + 5, %rax
own:
    movabs $variable, %rcx
    .data
variable:
    .quad 0
