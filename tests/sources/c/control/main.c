//#Status: 42
// Control flow: computed goto, jump tables, setjmp, varargs, large frames, aggregates.
#include <alloca.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

struct big { long values[12]; };
struct mixed { double d; int i; float f; };
int dispatch(int operation, int value);
struct big make_big(long seed);
struct mixed swap(struct mixed m, struct big b);
long sum_of(int count, ...);
double mean_of(int count, ...);
void leave(jmp_buf where, int depth);

static int interpret(const unsigned char *code) {
  static const void *const labels[] = {&&push, &&add, &&multiply, &&duplicate, &&jump_back, &&stop};
  int stack[16], top = 0, left = 3;
  const unsigned char *next = code;
  goto *labels[*next++];
push: stack[top++] = *next++; goto *labels[*next++];
add: top--; stack[top - 1] += stack[top]; goto *labels[*next++];
multiply: top--; stack[top - 1] *= stack[top]; goto *labels[*next++];
duplicate: stack[top] = stack[top - 1]; top++; goto *labels[*next++];
jump_back: if (left-- > 0) next -= *next; else next++; goto *labels[*next++];
stop: return stack[top - 1];
}

static const char *name_of(int day) {
  switch (day) {
  case 0: return "monday";
  case 1: return "tuesday";
  case 2: return "wednesday";
  case 3: return "thursday";
  case 4: return "friday";
  case 5: return "saturday";
  case 6: return "sunday";
  default: return "none";
  }
}

static int ackermann(int m, int n) { return m == 0 ? n + 1 : n == 0 ? ackermann(m - 1, 1) : ackermann(m - 1, ackermann(m, n - 1)); }

static unsigned long large_frame(int rounds) {
  volatile char frame[300 * 1024];
  unsigned long sum = 0;
  for (int i = 0; i < rounds; i++)
    frame[(i * 7919) % sizeof frame] = (char)i;
  for (unsigned i = 0; i < sizeof frame; i += 7919)
    sum += i;
  char *dynamic = alloca(rounds);
  memset(dynamic, 1, rounds);
  return sum + frame[0] + dynamic[rounds - 1];
}

static char *format(char *buffer, const char *pattern, ...) {
  va_list list, copy;
  va_start(list, pattern);
  va_copy(copy, list);
  int need = vsnprintf(NULL, 0, pattern, copy);
  va_end(copy);
  vsnprintf(buffer, need + 1, pattern, list);
  va_end(list);
  return buffer;
}

int main(void) {
  char buffer[200];
  printf("interpreted %d\n", interpret((const unsigned char[]){0, 2, 3, 2, 4, 3, 5}));
  for (int i = -1; i < 8; i += 2)
    printf("%s ", name_of(i));
  puts("");
  for (int i = 0; i < 12; i++)
    printf("%d ", dispatch(i, 10 + i));
  puts("");
  struct big b = make_big(3);
  struct mixed m = swap((struct mixed){1.5, 2, 3.5f}, b);
  printf("%ld %.2f %d %.2f\n", b.values[11], m.d, m.i, m.f);
  printf("%ld %.3f\n", sum_of(7, 1L, 2L, 3L, 4L, 5L, 6L, 7L), mean_of(9, 1., 2., 3., 4., 5., 6., 7., 8., 9.5));
  puts(format(buffer, "%s %d %5.2f %c %lld %Lf", "text", 7, 2.5, 'z', 1LL << 40, 1.25L));
  jmp_buf where;
  volatile int returns = 0;
  int got = setjmp(where);
  if (got < 3) {
    returns++;
    leave(where, got + 1);
  }
  printf("longjmp %d %d\n", got, returns);
  printf("ackermann %d\n", ackermann(2, 6));
  printf("frame %lu\n", large_frame(5000));
  return returns == 3 ? 42 : 1;
}
