// An archive that is asked last defines what objects have referred to in every way: what their relocations need is
// known before the definition is.
//#Parts: 2
//#Fallback: 2
//#Flags: -mrelax-relocations=yes
//#Check: u32 call + 1 = helper - 4 - here
//#Check: load = 48 8d 05
//#Check: u32 load + 3 = helper - 4 - here
//#Check: u32 slot = helper@GOT - here
//#Check: u64 helper@GOT = helper
//#Check: u32 ifunc_call + 1 = chosen@PLT - 4 - here
//#Check: u64 tls_offset = TP
//#Check: u32 ie + 3 = .got + 16 - 4 - here
    .text
.if PART == 1
call:
    call helper@PLT
load:
    mov helper@GOTPCREL(%rip), %rax
slot:
    .reloc ., R_X86_64_GOTPCREL, helper
    .long 0
ifunc_call:
    call chosen@PLT
ie:
    mov variable@GOTTPOFF(%rip), %rax
    .data
tls_offset:
    .reloc ., R_X86_64_TPOFF64, variable
    .quad 0
.else
    .globl helper, chosen, variable
helper:
    ret
    .type chosen, @gnu_indirect_function
chosen:
    ret
    .section .tbss, "awT", @nobits
    .type variable, @tls_object
variable:
    .quad 0
.endif
