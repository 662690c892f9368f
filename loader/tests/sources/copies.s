// Non-PIC code out of reach of a library's variable works on a copy where that is harmless, and is refused with the
// remedy where the copy would go stale.
//#Case: in-reach
//#Define: variable=0x20000000 stale 8
//#Check: u32 load + 3 = variable - 4 - here
//#Case: zeroed
//#Define: variable=0x7ffff0000040 zeroed 8
//#Check: u32 load + 3 = copy_of - 4 - here
//#Check: u64 absolute = copy_of
//#Check: u64 copy_of = 0
//#Define: copy_of=0x10001040
//#Case: stale
//#Define: variable=0x7ffff0000000 stale 8
//#ExpectError: ^copies\.o: \.text\+0x3: R_X86_64_PC32 against variable: non-PIC code reads the library's variable at 0x7ffff0000000, which is out of its reach, and a private copy would go stale; compile with -fPIC or -fPIE
    .text
load:
    mov variable(%rip), %rax
    .data
absolute:
    .quad variable
