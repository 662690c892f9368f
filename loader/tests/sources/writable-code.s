// A section that is writable and executable is refused with the remedy.
//#ExpectError: ^writable-code\.o: section \.both is both writable and executable; split it into code and data
    .section .both, "awx"
    nop
