// A function out of reach whose address is also taken by R_X86_64_PC32 or R_X86_64_32 has the PLT entry as its one
// address everywhere.
//#Define: function=0x7ffff0000000 function
//#Check: u32 call + 1 = function@PLT - 4 - here
//#Check: u32 near + 3 = function@PLT - 4 - here
//#Check: u64 absolute = function@PLT
//#Check: u64 function@GOT = function@PLT
//#Check: u32 slot = function@GOT - here
//#Check: u32 narrow = function@PLT
    .text
call:
    call function@PLT
near:
    lea function(%rip), %rax
slot:
    .reloc ., R_X86_64_GOTPCREL, function
    .long 0
    .data
absolute:
    .quad function
narrow:
    .reloc ., R_X86_64_32, function
    .long 0
