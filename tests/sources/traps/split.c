// Deep recursion on a split stack.
#include <stdio.h>
static int deep(int n) {
  volatile char frame[1000];
  frame[n % 1000] = (char)n;
  return n == 0 ? 0 : deep(n - 1) + frame[n % 1000] * 0 + 1;
}
int main(void) {
  printf("%d\n", deep(2000));
  return 42;
}
