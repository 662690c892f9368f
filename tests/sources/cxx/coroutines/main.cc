//#Status: 42
//#Flags: -std=c++20
// Coroutines, resumed and destroyed from another file than the one that made them.
#include "coroutines.h"
#include <cstdio>
#include <stdexcept>

static Generator fibonacci(int limit) {
  long a = 0, b = 1;
  while (a < limit) {
    co_yield a;
    long next = a + b;
    a = b, b = next;
  }
}
static Generator failing() {
  Guard guard;
  co_yield 1;
  throw std::runtime_error("from a coroutine");
}

int main() {
  long sum = 0;
  for (Generator g = fibonacci(100); g.next();)
    sum += g.value();
  std::printf("sum %ld\n", sum);
  Generator squares = squares_from(4);
  for (int i = 0; i < 3 && squares.next(); i++)
    std::printf("square %ld\n", squares.value());
  try {
    Generator f = failing();
    while (f.next())
      std::printf("value %ld\n", f.value());
  } catch (const std::exception &e) {
    std::printf("%s\n", e.what());
  }
  { Generator dropped = failing(); dropped.next(); }
  std::printf("guards %d\n", Guard::alive);
  return sum == 232 && Guard::alive == 0 ? 42 : 1;
}
