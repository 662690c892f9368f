// Ends by a signal: the argument says which.
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
__attribute__((noinline)) int crash_here(volatile int *where, volatile int zero) {
  *where = 3;
  return 5 / zero;
}
int main(int argc, char **argv) {
  puts("before");
  fflush(stdout);
  int on_stack = 0;
  if (argc < 2)
    return 1;
  if (!strcmp(argv[1], "null"))
    crash_here(NULL, 1);
  if (!strcmp(argv[1], "divide"))
    crash_here(&on_stack, 0);
  if (!strcmp(argv[1], "trap"))
    __builtin_trap();
  if (!strcmp(argv[1], "abort"))
    abort();
  if (!strcmp(argv[1], "kill"))
    raise(SIGKILL);
  return 2;
}
