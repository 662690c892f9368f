// R_X86_64_PLT32: L + A - P in 32 bits, signed, where L is the function, or a PLT entry where that is out of reach.
//#Case: near
//#Define: function=0x20000000 function
//#Check: u32 call + 1 = function - 4 - here
//#Check: u32 jump + 1 = function - 4 - here
//#Absent: function@PLT
//#Check: u32 section = .text - here
//#Check: u32 object = table + 8 - here
//#Check: u32 relative_vtable = callee - here
//#Case: far
//#Define: function=0x7ffff0000000 function
//#Check: u32 call + 1 = function@PLT - 4 - here
//#Check: u32 jump + 1 = function@PLT - 4 - here
//#Check: function@PLT = f3 0f 1e fa ff 25 ?? ?? ?? ?? cc cc cc cc cc cc
//#Symbol: function@PLT synthetic local
//#Case: far-absolute
//#Define: function=0x7ffff0000000
//#Check: u32 call + 1 = function@PLT - 4 - here
//#Case: edge
//#Define: function=0x8efffff0 function
//#Check: u32 call + 1 = function - 4 - here
//#Case: out-of-range
//#Flags: --defsym FAR=1
//#Define: function=0x20000000 function
//#ExpectError: ^plt32\.o: \.text\+0xb: R_X86_64_PLT32 against callee: 0x8000\w+ does not fit 32 bits signed$
    .text
callee:
    ret
call:
    call function@PLT
jump:
    jmp function@PLT
.ifdef FAR
    .reloc ., R_X86_64_PLT32, callee + 0x7fffffff + 0x100
.endif
    .long 0
section:
    .reloc ., R_X86_64_PLT32, .text
    .long 0
object:
    .reloc ., R_X86_64_PLT32, table + 8
    .long 0
    .section .rodata
relative_vtable:
    .reloc ., R_X86_64_PLT32, callee
    .long 0
    .data
    .type table, @object
table:
    .quad 0, 0
