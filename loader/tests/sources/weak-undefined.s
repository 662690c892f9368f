// A weak symbol that nothing defines is 0 for every kind of relocation, wherever the image is.
//#Case: high
//#At: 0x7ffff0000000
//#Check: u64 absolute = 0
//#Check: u32 narrow = 0
//#Check: u32 narrow_signed = 0
//#Check: u16 half = 0
//#Check: u8 byte = 0
//#Check: u64 pc64 = 0 - here
//#Check: u64 gotoff64 = 0 - .got
//#Check: u32 gotpcrel = weak@GOT - here
//#Check: u64 weak@GOT = 0
//#Check: u32 got32 = weak@GOT - .got
//#Check: u64 got64 = weak@GOT - .got
//#Check: u64 gotpcrel64 = weak@GOT - here
//#Check: u64 gotplt64 = weak@GOT - .got
//#Check: u64 pltoff64 = weak@PLT - .got
//#Check: u32 call + 1 = weak@PLT - 4 - here
//#Check: u32 mov + 3 = weak@GOT - 4 - here
//#Check: mov = 48 8b 05
//#Check: u32 size32 = 0
//#Check: u64 size64 = 0
//#Case: low
//#At: 0x10000
//#Check: u32 call + 1 = 0 - 4 - here
//#Check: mov = 48 8d 05
//#Check: u32 mov + 3 = 0 - 4 - here
//#Check: u64 weak@GOT = 0
//#Case: pc32-low
//#Flags: --defsym PC=1
//#At: 0x10000
//#Check: u32 pc32 = 0 - here
//#Case: pc32-high
//#Flags: --defsym PC=1
//#At: 0x7ffff0000000
//#ExpectError: ^weak-undefined\.o: \.text\+0x\w+: R_X86_64_PC32 against weak: 0xffff8000\w+ does not fit 32 bits signed; the weak symbol is not defined: compile with -fPIC
//#Case: defined
//#Define: weak=0x30
//#Check: u64 absolute = 0x30
//#Check: u64 weak@GOT = 0x30
    .weak weak
    .text
call:
    call weak@PLT
mov:
    .byte 0x48, 0x8b, 0x05
    .reloc ., R_X86_64_REX_GOTPCRELX, weak - 4
    .long 0
pc32:
.ifdef PC
    .reloc ., R_X86_64_PC32, weak
.endif
    .long 0
    .data
absolute:
    .quad weak
narrow:
    .reloc ., R_X86_64_32, weak
    .long 0
narrow_signed:
    .reloc ., R_X86_64_32S, weak
    .long 0
half:
    .reloc ., R_X86_64_16, weak
    .short 0
byte:
    .reloc ., R_X86_64_8, weak
    .byte 0
pc64:
    .reloc ., R_X86_64_PC64, weak
    .quad 0
gotoff64:
    .reloc ., R_X86_64_GOTOFF64, weak
    .quad 0
gotpcrel:
    .reloc ., R_X86_64_GOTPCREL, weak
    .long 0
got32:
    .reloc ., R_X86_64_GOT32, weak
    .long 0
got64:
    .reloc ., R_X86_64_GOT64, weak
    .quad 0
gotpcrel64:
    .reloc ., R_X86_64_GOTPCREL64, weak
    .quad 0
gotplt64:
    .reloc ., R_X86_64_GOTPLT64, weak
    .quad 0
pltoff64:
    .reloc ., R_X86_64_PLTOFF64, weak
    .quad 0
size32:
    .reloc ., R_X86_64_SIZE32, weak
    .long 0
size64:
    .reloc ., R_X86_64_SIZE64, weak
    .quad 0
