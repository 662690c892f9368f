// R_X86_64_GOTPCRELX and REX_GOTPCRELX: G + A - P; an instruction whose target is in reach needs no slot (psABI B.2).
//#Flags: -mrelax-relocations=yes
//#Case: near
//#Define: target=0x20000000
//#Check: mov = 48 8d 05
//#Check: u32 mov + 3 = target - 4 - here
//#Check: mov_high = 4c 8d 3d
//#Check: u32 mov_high + 3 = target - 4 - here
//#Check: mov_plain = 8d 0d
//#Check: u32 mov_plain + 2 = target - 4 - here
//#Check: call = 67 e8
//#Check: u32 call + 2 = target - 4 - here
//#Check: jmp = e9 ?? ?? ?? ?? 90
//#Check: u32 jmp + 1 = target - 4 - here
//#Absent: target@GOT
//#Case: far
//#Define: target=0x7ffff0000000
//#Check: mov = 48 8b 05
//#Check: u32 mov + 3 = target@GOT - 4 - here
//#Check: mov_high = 4c 8b 3d
//#Check: mov_plain = 8b 0d
//#Check: call = ff 15
//#Check: u32 call + 2 = target@GOT - 4 - here
//#Check: jmp = ff 25
//#Check: u32 jmp + 2 = target@GOT - 4 - here
//#Check: u64 target@GOT = target
    .text
mov:
    mov target@GOTPCREL(%rip), %rax
mov_high:
    mov target@GOTPCREL(%rip), %r15
mov_plain:
    mov target@GOTPCREL(%rip), %ecx
call:
    call *target@GOTPCREL(%rip)
jmp:
    jmp *target@GOTPCREL(%rip)
