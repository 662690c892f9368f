// 1 GiB of zeros, of which three pages are touched.
#include <stdio.h>
#define SIZE (1L << 30)
static char big[SIZE];
char other[1 << 20];
int main(void) {
  big[0] = 1, big[SIZE / 2] = 2, big[SIZE - 1] = 39;
  long sum = 0;
  for (long i = 0; i < SIZE; i += SIZE / 16)
    sum += big[i];
  printf("%ld %d\n", sum, other[1000]);
  return big[0] + big[SIZE / 2] + big[SIZE - 1];
}
