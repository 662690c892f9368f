//#Status: 42
// IFUNC: global, local, hidden, called, taken by address, in data, from two files.
#include "ifunc.h"
#include <stdio.h>

static int local_plain(int x) { return x + 1000; }
static int (*resolve_local(void))(int) { return local_plain; }
static int local_choice(int) __attribute__((ifunc("resolve_local")));

int (*const table[])(int) = {choice, local_choice, hidden_choice};

int main(void) {
  printf("global %d there %d\n", choice(1), call_choice(1));
  printf("local %d\n", local_choice(1));
  printf("hidden %d there %d\n", hidden_choice(1), call_hidden(1));
  for (int i = 0; i < 3; i++)
    printf("table %d %d\n", i, table[i](2));
  printf("cpu %d\n", feature(0) == 64);
  return resolved >= 1 && address_of_choice()(3) == 14 && address_of_hidden()(3) == 13 ? 42 : 1;
}
