// Numbers that the psABI does not know are refused by number, with their place.
//#Case: 52
//#Retype: 1 52
//#ExpectError: ^unknown\.o: \.data\+0x8: relocation type 52 against \.data: unknown relocation type
//#Case: 200
//#Retype: 1 200
//#ExpectError: ^unknown\.o: \.data\+0x8: relocation type 200 against \.data: unknown relocation type
//#Case: 250
//#Retype: 1 250
//#ExpectError: ^unknown\.o: \.data\+0x8: relocation type 250 against \.data: unknown relocation type
//#Case: 251
//#Retype: 1 251
//#ExpectError: ^unknown\.o: \.data\+0x8: relocation type 251 against \.data: unknown relocation type
//#Case: 4294967295
//#Retype: 1 4294967295
//#ExpectError: ^unknown\.o: \.data\+0x8: relocation type 4294967295 against \.data: unknown relocation type
    .data
    .quad 0, target
target:
