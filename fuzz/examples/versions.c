// What the seeds of object_diff compare: with OLD, and with NEW.
#ifdef NEW
enum { STEP = 3, SIZE = 8 };
#else
enum { STEP = 2, SIZE = 4 };
#endif
extern int other(const char *text, ...);
extern __thread int tls;
static int calls;
int table[SIZE] = {STEP};
static const char *const names[] = {"one", "two", "three", "four", "five", "six"};

#ifdef NEW
int added(int x) { return other("added %d", x); }
#else
int removed(int x) { return other("removed %d", x); }
#endif

__attribute__((noinline)) static int helper(int x) {
  static int count;
  return (count += STEP) + x;
}

int same(int x) { return helper(x) + tls; }

int choose(int x) {
  static int count;
  switch (x) {
  case 0: return other(names[calls++]);
  case 1: return same(count);
  case 2: return helper(table[1]) * STEP;
  case 3: return other("three %d", STEP);
  case 4: return other("four %d", __LINE__);
  case 5: return table[count++];
  default: return other(names[x], choose);
  }
}

__attribute__((constructor)) static void start(void) { calls = STEP; }
