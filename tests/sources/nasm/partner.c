#include <stdio.h>
extern long asm_value;
extern long asm_function(long);
extern long (*table[])(long);
long partner_value = 77;
long partner(long x) {
  printf("partner %ld %ld %ld\n", asm_value, asm_function(x), table[0](x));
  return table[2] == partner ? x * 3 : -1;
}
