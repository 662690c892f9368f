// A nested function that is called through a pointer needs a trampoline on an executable stack, which restub does not make.
#include <stdio.h>
#include <stdlib.h>
static int call(int (*f)(int), int x) { return f(x); }
int main(int argc, char **argv) {
  int base = argc * 40;
  int add(int x) { return x + base; }
  int (*volatile f)(int) = add;
  printf("%s %d\n", argv[argc] ? "?" : "end", call(f, 1));
  return call(f, 2);
}
