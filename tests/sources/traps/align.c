// Alignments up to 2 MiB: data, zeros, code, thread-local data.
#include <stdint.h>
#include <stdio.h>
#define ALIGNED(n) __attribute__((aligned(n)))
ALIGNED(2097152) int data = 20;
ALIGNED(2097152) static int zeros;
ALIGNED(65536) const int constant = 20;
ALIGNED(65536) static int function(int x) { return x + 1; }
static __thread ALIGNED(64) int per_thread = 1;
static long rest(const void *p, uintptr_t n) { return (long)((uintptr_t)p % n); }
int main(void) {
  int (*volatile f)(int) = function;
  zeros = 1;
  printf("%ld %ld %ld %ld %ld\n", rest(&data, 2097152), rest(&zeros, 2097152), rest(&constant, 65536),
         rest((void *)f, 65536), rest(&per_thread, 64));
  return data + constant + per_thread + zeros;
}
