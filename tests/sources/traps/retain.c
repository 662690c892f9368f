// Sections that a linker must keep, or must leave out.
#include <stdio.h>
__attribute__((retain, used, section("kept"))) static const int kept_value = 42;
extern const int __start_kept[], __stop_kept[];
__asm__(".section excluded,\"e\",@progbits\n.long 1\n.previous");
__asm__(".section .comment.own,\"MS\",@progbits,1\n.string \"text\"\n.previous");
int main(void) { return __stop_kept - __start_kept == 1 ? *__start_kept : 1; }
