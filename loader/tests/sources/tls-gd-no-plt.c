// General dynamic under -fno-plt: the padded call to `__tls_get_addr` keeps its slot also where the function is in reach,
// since no shorter form of `66 48 ff 15` means the same to every processor.
//#Flags: -O2 -fPIC -fno-plt -fcf-protection=none -fomit-frame-pointer
//#Define: __tls_get_addr=0x20000000 function
//#Define: variable=0x40 tls 3 none
//#Check: u64 __tls_get_addr@GOT = __tls_get_addr
//#Case: gcc
//#Compilers: gcc
//#Check: f = 48 83 ec 08 66 48 8d 3d ?? ?? ?? ?? 66 48 ff 15
//#Check: u32 f + 16 = __tls_get_addr@GOT - 4 - here
//#Case: clang
//#Compilers: clang-19
//#Check: f = 50 66 48 8d 3d ?? ?? ?? ?? 66 48 ff 15
//#Check: u32 f + 13 = __tls_get_addr@GOT - 4 - here
extern __thread int variable;
int f(void) { return variable; }
