// Types that stand in executables and shared objects only are refused by name.
//#Case: copy
//#Retype: 1 5
//#ExpectError: ^dynamic-only\.o: \.data\+0x8: R_X86_64_COPY against \.data: the type is for dynamic linking only
//#Case: glob-dat
//#Retype: 1 6
//#ExpectError: ^dynamic-only\.o: \.data\+0x8: R_X86_64_GLOB_DAT against \.data: the type is for dynamic linking only
//#Case: jump-slot
//#Retype: 1 7
//#ExpectError: ^dynamic-only\.o: \.data\+0x8: R_X86_64_JUMP_SLOT against \.data: the type is for dynamic linking only
//#Case: relative
//#Retype: 1 8
//#ExpectError: ^dynamic-only\.o: \.data\+0x8: R_X86_64_RELATIVE against \.data: the type is for dynamic linking only
//#Case: tlsdesc
//#Retype: 1 36
//#ExpectError: ^dynamic-only\.o: \.data\+0x8: R_X86_64_TLSDESC against \.data: the type is for dynamic linking only
//#Case: irelative
//#Retype: 1 37
//#ExpectError: ^dynamic-only\.o: \.data\+0x8: R_X86_64_IRELATIVE against \.data: the type is for dynamic linking only
//#Case: relative64
//#Retype: 1 38
//#ExpectError: ^dynamic-only\.o: \.data\+0x8: R_X86_64_RELATIVE64 against \.data: the type is for dynamic linking only
    .data
    .quad 0, target
target:
