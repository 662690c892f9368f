#include <stdio.h>
int further(int);
int counter;
__attribute__((constructor)) static void start(void) { counter++; }
int needed(int x) {
  counter++;
  fprintf(stderr, "needed\n");
  return further(x) + 1;
}
