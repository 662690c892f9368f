// What tcc compiles: data, calls, floating point, varargs, function pointers, with a partner compiled by it or by gcc.
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct point { double x, y; };
extern int counter;
extern const char *const names[];
struct point middle(struct point a, struct point b);
long apply(long (*f)(long), long x);
unsigned long long divide(unsigned long long a, unsigned long long b);

static long twice(long x) { return 2 * x; }
static long (*const functions[])(long) = {twice, labs};
static int compare(const void *a, const void *b) { return *(const int *)a - *(const int *)b; }
static int total(int count, ...) {
  va_list list;
  int sum = 0;
  va_start(list, count);
  while (count--)
    sum += va_arg(list, int);
  va_end(list);
  return sum;
}
static char buffer[100000];
static char *const end = buffer + sizeof buffer - 1;

int main(int argc, char **argv) {
  int numbers[] = {4, 2, 9, 1};
  qsort(numbers, 4, sizeof *numbers, compare);
  printf("%d %d %d %d\n", numbers[0], numbers[1], numbers[2], numbers[3]);
  struct point m = middle((struct point){1, 2}, (struct point){3, 5});
  printf("%.2f %.2f %.1Lf\n", m.x, m.y, 2.5L);
  printf("%ld %ld %d\n", apply(functions[0], 21), apply(functions[1], -5), total(7, 1, 2, 3, 4, 5, 6, 7));
  *end = 'z';
  memset(buffer, 'a', 10);
  printf("%s %c %s\n", buffer, buffer[99999], names[1]);
  fprintf(stderr, "stderr %d %llu %.3f\n", ++counter, divide(1ULL << 63, 10), (double)(1ULL << 63) / 3);
  switch (argc) {
  case 1: return 1;
  case 2: return strcmp(argv[1], "x") == 0 && counter == 11 ? 42 : 2;
  default: return 3;
  }
}
