// An ordinary relocation against a thread-local symbol has no meaning: every one is refused.
//#Case: 64
//#Flags: --defsym TYPE_64=1
//#ExpectError: ^tls-ordinary\.o: \.data\+0x0: R_X86_64_64 against variable: the symbol is thread-local, the relocation is not
//#Case: 32
//#Flags: --defsym TYPE_32=1
//#ExpectError: ^tls-ordinary\.o: \.data\+0x0: R_X86_64_32 against variable: the symbol is thread-local, the relocation is not
//#Case: 32s
//#Flags: --defsym TYPE_32S=1
//#ExpectError: ^tls-ordinary\.o: \.data\+0x0: R_X86_64_32S against variable: the symbol is thread-local, the relocation is not
//#Case: 16
//#Flags: --defsym TYPE_16=1
//#ExpectError: ^tls-ordinary\.o: \.data\+0x0: R_X86_64_16 against variable: the symbol is thread-local, the relocation is not
//#Case: 8
//#Flags: --defsym TYPE_8=1
//#ExpectError: ^tls-ordinary\.o: \.data\+0x0: R_X86_64_8 against variable: the symbol is thread-local, the relocation is not
//#Case: pc64
//#Flags: --defsym TYPE_PC64=1
//#ExpectError: ^tls-ordinary\.o: \.data\+0x0: R_X86_64_PC64 against variable: the symbol is thread-local, the relocation is not
//#Case: pc32
//#Flags: --defsym TYPE_PC32=1
//#ExpectError: ^tls-ordinary\.o: \.data\+0x0: R_X86_64_PC32 against variable: the symbol is thread-local, the relocation is not
//#Case: pc16
//#Flags: --defsym TYPE_PC16=1
//#ExpectError: ^tls-ordinary\.o: \.data\+0x0: R_X86_64_PC16 against variable: the symbol is thread-local, the relocation is not
//#Case: pc8
//#Flags: --defsym TYPE_PC8=1
//#ExpectError: ^tls-ordinary\.o: \.data\+0x0: R_X86_64_PC8 against variable: the symbol is thread-local, the relocation is not
//#Case: plt32
//#Flags: --defsym TYPE_PLT32=1
//#ExpectError: ^tls-ordinary\.o: \.data\+0x0: R_X86_64_PLT32 against variable: the symbol is thread-local, the relocation is not
//#Case: pltoff64
//#Flags: --defsym TYPE_PLTOFF64=1
//#ExpectError: ^tls-ordinary\.o: \.data\+0x0: R_X86_64_PLTOFF64 against variable: the symbol is thread-local, the relocation is not
//#Case: gotpcrel
//#Flags: --defsym TYPE_GOTPCREL=1
//#ExpectError: ^tls-ordinary\.o: \.data\+0x0: R_X86_64_GOTPCREL against variable: the symbol is thread-local, the relocation is not
//#Case: got32
//#Flags: --defsym TYPE_GOT32=1
//#ExpectError: ^tls-ordinary\.o: \.data\+0x0: R_X86_64_GOT32 against variable: the symbol is thread-local, the relocation is not
//#Case: got64
//#Flags: --defsym TYPE_GOT64=1
//#ExpectError: ^tls-ordinary\.o: \.data\+0x0: R_X86_64_GOT64 against variable: the symbol is thread-local, the relocation is not
//#Case: gotpcrel64
//#Flags: --defsym TYPE_GOTPCREL64=1
//#ExpectError: ^tls-ordinary\.o: \.data\+0x0: R_X86_64_GOTPCREL64 against variable: the symbol is thread-local, the relocation is not
//#Case: gotplt64
//#Flags: --defsym TYPE_GOTPLT64=1
//#ExpectError: ^tls-ordinary\.o: \.data\+0x0: R_X86_64_GOTPLT64 against variable: the symbol is thread-local, the relocation is not
//#Case: gotoff64
//#Flags: --defsym TYPE_GOTOFF64=1
//#ExpectError: ^tls-ordinary\.o: \.data\+0x0: R_X86_64_GOTOFF64 against variable: the symbol is thread-local, the relocation is not
//#Case: gotpcrelx
//#Flags: --defsym TYPE_GOTPCRELX=1
//#ExpectError: ^tls-ordinary\.o: \.data\+0x0: R_X86_64_GOTPCRELX against variable: the symbol is thread-local, the relocation is not
//#Case: rex_gotpcrelx
//#Flags: --defsym TYPE_REX_GOTPCRELX=1
//#ExpectError: ^tls-ordinary\.o: \.data\+0x0: R_X86_64_REX_GOTPCRELX against variable: the symbol is thread-local, the relocation is not
    .data
.ifdef TYPE_64
    .reloc ., R_X86_64_64, variable
.endif
.ifdef TYPE_32
    .reloc ., R_X86_64_32, variable
.endif
.ifdef TYPE_32S
    .reloc ., R_X86_64_32S, variable
.endif
.ifdef TYPE_16
    .reloc ., R_X86_64_16, variable
.endif
.ifdef TYPE_8
    .reloc ., R_X86_64_8, variable
.endif
.ifdef TYPE_PC64
    .reloc ., R_X86_64_PC64, variable
.endif
.ifdef TYPE_PC32
    .reloc ., R_X86_64_PC32, variable
.endif
.ifdef TYPE_PC16
    .reloc ., R_X86_64_PC16, variable
.endif
.ifdef TYPE_PC8
    .reloc ., R_X86_64_PC8, variable
.endif
.ifdef TYPE_PLT32
    .reloc ., R_X86_64_PLT32, variable
.endif
.ifdef TYPE_PLTOFF64
    .reloc ., R_X86_64_PLTOFF64, variable
.endif
.ifdef TYPE_GOTPCREL
    .reloc ., R_X86_64_GOTPCREL, variable
.endif
.ifdef TYPE_GOT32
    .reloc ., R_X86_64_GOT32, variable
.endif
.ifdef TYPE_GOT64
    .reloc ., R_X86_64_GOT64, variable
.endif
.ifdef TYPE_GOTPCREL64
    .reloc ., R_X86_64_GOTPCREL64, variable
.endif
.ifdef TYPE_GOTPLT64
    .reloc ., R_X86_64_GOTPLT64, variable
.endif
.ifdef TYPE_GOTOFF64
    .reloc ., R_X86_64_GOTOFF64, variable
.endif
.ifdef TYPE_GOTPCRELX
    .reloc ., R_X86_64_GOTPCRELX, variable
.endif
.ifdef TYPE_REX_GOTPCRELX
    .reloc ., R_X86_64_REX_GOTPCRELX, variable
.endif
    .quad 0
    .section .tbss, "awT", @nobits
variable:
    .quad 0
