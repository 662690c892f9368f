// Instructions that keep their slot although the target is in reach: other opcodes, an addend other than -4, and a
// relaxable type on bytes that are none of the instructions it is meant for.
//#Flags: -mrelax-relocations=yes
//#Case: kept
//#Check: test = 48 85 05
//#Check: u32 test + 3 = target@GOT - 4 - here
//#Check: add = 48 03 05
//#Check: cmp = 48 3b 05
//#Check: push = ff 35
//#Check: u32 compare + 3 = target@GOT - 5 - here
//#Check: compare = 48 83 3d
//#Check: u32 beside + 3 = target@GOT - here
//#Check: beside = 48 8b 05
//#Check: no_rex = 90 8b 05
//#Check: u32 no_rex + 3 = target@GOT - 4 - here
//#Check: u64 target@GOT = target
//#Check: mov = 48 8d 05
//#Case: out-of-range
//#Flags: --defsym FAR=1
//#ExpectError: ^gotpcrelx-kept\.o: \.text\+0x[0-9a-f]+: R_X86_64_REX_GOTPCRELX against target: 0x8000\w+ does not fit 32 bits signed
    .text
test:
    test %rax, target@GOTPCREL(%rip)
add:
    add target@GOTPCREL(%rip), %rax
cmp:
    cmp target@GOTPCREL(%rip), %rax
push:
    push target@GOTPCREL(%rip)
compare:
    cmpq $0, target@GOTPCREL(%rip)
beside:
    mov target@GOTPCREL+4(%rip), %rax
no_rex:
    .byte 0x90, 0x8b, 0x05
    .reloc ., R_X86_64_REX_GOTPCRELX, target - 4
    .long 0
mov:
    mov target@GOTPCREL(%rip), %rax
.ifdef FAR
    .reloc ., R_X86_64_REX_GOTPCRELX, target + 0x7fffffff
.endif
    .long 0
    .data
target:
    .quad 0
