#include <stdio.h>
int first(int), second(int);
int main(void) {
  printf("%d %d\n", first(1), second(2));
  return 42;
}
