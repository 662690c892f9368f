// `__start_SEC` and `__stop_SEC` bound all sections of that name, which must be a C identifier.
//#Parts: 2
//#Case: data
//#Check: u64 bounds = 1:list
//#Check: u64 bounds + 8 = 2:list + 8
//#Check: u64 bounds + 8 = __sum
//#Check: 1:list = 01
//#Check: 2:list = 02
//#Define: __sum=0x10000028
//#Case: mixed
//#Flags: --defsym MIXED=1
//#Check: u64 bounds + 16 = 1:mixed
//#Check: u64 bounds + 24 = 2:mixed + 24
//#Check: address 2:mixed = 1:mixed + 8
//#Check: u64 1:mixed = 5
//#Case: thread-local
//#Flags: --defsym TLS=1
//#ExpectError: undefined symbol __start_threads, wanted by start-stop-1.o
//#Case: missing
//#Flags: --defsym MISSING=1
//#ExpectError: undefined symbol __start_nowhere, wanted by start-stop-1.o
//#Case: no-identifier
//#Flags: --defsym ODD=1
//#ExpectError: undefined symbol __start_my\.list, wanted by start-stop-1.o
//#Case: weak
//#Flags: --defsym WEAK=1
//#Check: u64 bounds + 16 = 0
    .section list, "aw"
    .quad PART
.ifdef MIXED
.if PART == 1
    .section mixed, "a", @progbits
    .quad 5
    .data
.else
    .section mixed, "aw", @nobits
    .zero 24
    .data
.endif
.endif
.if PART == 1
    .section other, "aw"
    .quad 7
    .data
bounds:
    .quad __start_list, __stop_list
.ifdef MIXED
    .quad __start_mixed, __stop_mixed
.endif
.ifdef MISSING
    .quad __start_nowhere
.endif
.ifdef WEAK
    .weak __start_nowhere
    .quad __start_nowhere
.endif
.ifdef ODD
    .quad __start_my.list
    .section my.list, "aw"
    .quad 1
.endif
.ifdef TLS
    .quad __start_threads
    .section threads, "awT"
    .quad 1
.endif
.endif
