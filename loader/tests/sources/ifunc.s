// An IFUNC is reached by one PLT entry, whoever asks for its address and how: also where nothing in its own object does,
// since others may look it up.
//#Parts: 2
//#Case: referenced
//#Check: u32 call + 1 = chosen@PLT - 4 - here
//#Check: u32 pc32 + 3 = chosen@PLT - 4 - here
//#Check: u64 absolute = chosen@PLT
//#Check: u32 narrow = chosen@PLT
//#Check: u32 slot = chosen@GOT - here
//#Check: u64 chosen@GOT = chosen@PLT
//#Check: u64 pltoff = chosen@PLT - .got
//#Check: u64 gotoff = chosen@PLT - .got
//#Check: address chosen = chosen@PLT
//#Check: u64 weak_address = weak_one@PLT
//#Check: u64 local_address = local_one@PLT
//#Check: u64 hidden_address = hidden_one@PLT
//#Symbol: chosen function strong
//#Symbol: weak_one function weak
//#Case: only-looked-up
//#Check: address unreferenced = unreferenced@PLT
//#Symbol: unreferenced function strong
    .text
.if PART == 1
call:
    call chosen@PLT
pc32:
    lea chosen(%rip), %rax
slot:
    .reloc ., R_X86_64_GOTPCREL, chosen
    .long 0
    .data
absolute:
    .quad chosen
narrow:
    .reloc ., R_X86_64_32, chosen
    .long 0
pltoff:
    .reloc ., R_X86_64_PLTOFF64, chosen
    .quad 0
gotoff:
    .reloc ., R_X86_64_GOTOFF64, chosen
    .quad 0
weak_address:
    .quad weak_one
hidden_address:
    .quad hidden_one
.else
    .globl chosen, unreferenced, hidden_one
    .weak weak_one
    .hidden hidden_one
    .type chosen, @gnu_indirect_function
    .type weak_one, @gnu_indirect_function
    .type hidden_one, @gnu_indirect_function
    .type local_one, @gnu_indirect_function
    .type unreferenced, @gnu_indirect_function
    nop
chosen:
    nop
weak_one:
    nop
hidden_one:
    nop
local_one:
    nop
unreferenced:
    ret
    .data
local_address:
    .quad local_one
.endif
