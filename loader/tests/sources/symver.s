// `.symver`: a reference to one version asks for just that; a default version defines the plain name too.
//#Parts: 2
//#Define: memcpy@GLIBC_2.2.5=0x2000 function
//#Define: memcpy=0x3000 function
//#Case: bound
//#Check: u64 uses = 0x2000
//#Check: u64 uses + 8 = 0x3000
//#Check: u64 uses + 16 = new_api
//#Check: u64 uses + 24 = old_api
//#Symbol: api function strong
//#Case: missing
//#Flags: --defsym MISSING=1
//#ExpectError: ^undefined symbol api@V3, wanted by symver-1\.o$
    .data
.if PART == 1
    .symver old_memcpy, memcpy@GLIBC_2.2.5
    .symver api_v1, api@V1
uses:
    .quad old_memcpy, memcpy, api, api_v1
.ifdef MISSING
    .symver api_v3, api@V3
    .quad api_v3
.endif
.else
    .text
    .globl new_api, old_api
    .symver new_api, api@@V2
    .symver old_api, api@V1
    .type new_api, @function
    .type old_api, @function
new_api:
    ret
old_api:
    ret
.endif
