// Numbers 39 and 40, withdrawn with MPX: linkers read them as the plain types.
//#Retype: 2 39
//#Retype: 4 40
//#Case: in-range
//#Define: variable=0x20000000
//#Define: function=0x30000000 function
//#Check: u32 field = variable - here
//#Check: u32 call + 1 = function - 4 - here
//#Absent: function@PLT
//#Case: out-of-range
//#Define: variable=0x7ffff0000000
//#Define: function=0x30000000 function
//#ExpectError: ^bnd\.o: \.text\+0x0: R_X86_64_PC32_BND against variable: .* does not fit 32 bits signed
    .text
field:
    .reloc ., R_X86_64_PC32, variable
    .long 0
call:
    call function@PLT
