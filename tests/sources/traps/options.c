// Run with another entry than main and with a symbol that the command line defines.
#include <stdio.h>
extern char defined[];
static char *const address = defined;
int start_here(int argc, char **argv) {
  printf("%d %s %p\n", argc, argv[1], (void *)address);
  return 42;
}
