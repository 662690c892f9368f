// Calls Pascal, which calls back.
#include <stdio.h>
int pascal_gcd(int a, int b);
long pascal_sum(int *values, int count);
void pascal_call(void (*f)(int), int x);
static int seen;
static void callback(int x) { seen = seen * 2 + x; }
int main(void) {
  int values[] = {1, 2, 3, 2147483647};
  printf("%d %ld\n", pascal_gcd(84, 36), pascal_sum(values, 4));
  for (int i = 0; i < 10; i++)
    pascal_call(callback, i);
  printf("%d\n", seen);
  return pascal_gcd(126, 84);
}
