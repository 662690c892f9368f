#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

struct big { long values[12]; };
struct mixed { double d; int i; float f; };

static int twice(int x) { return x * 2; }
static int square(int x) { return x * x; }
static int negate(int x) { return -x; }
static int (*const operations[])(int) = {twice, square, negate, abs};

int dispatch(int operation, int value) {
  switch (operation) {
  case 0: case 1: case 2: case 3: return operations[operation](value);
  case 4: return value << 3;
  case 5: return value % 7;
  case 6: return operations[0](operations[1](value));
  case 7: return ~value;
  case 8: return value ^ 0x55;
  case 9: return value / 3;
  default: return -operation;
  }
}

struct big make_big(long seed) {
  struct big b;
  for (int i = 0; i < 12; i++)
    b.values[i] = seed * i;
  return b;
}

struct mixed swap(struct mixed m, struct big b) { return (struct mixed){m.f + b.values[1], (int)b.values[2] + m.i, (float)m.d}; }

long sum_of(int count, ...) {
  va_list list;
  long sum = 0;
  va_start(list, count);
  while (count--)
    sum += va_arg(list, long);
  va_end(list);
  return sum;
}

double mean_of(int count, ...) {
  va_list list;
  double sum = 0;
  va_start(list, count);
  for (int i = 0; i < count; i++)
    sum += va_arg(list, double);
  va_end(list);
  return sum / count;
}

void leave(jmp_buf where, int depth) { longjmp(where, depth); }
