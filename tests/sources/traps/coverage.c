#include <stdio.h>
int main(int argc, char **argv) {
  (void)argv;
  printf("%s\n", argc > 1 ? "some" : "none");
  return argc > 1 ? 1 : 42;
}
