//#Status: 42
//#Flags: -std=c++20
// C++20: concepts, spaceship, constinit, designated initialisers, span, member pointers across files.
#include "modern.h"
#include <array>
#include <cstdio>
#include <span>

constinit int started = square(6);
constinit thread_local int per_thread = square(2);

template <class T>
concept Measured = requires(const T &t) {
  t.size();
};
static long measure(const Measured auto &value) { return static_cast<long>(value.size()); }

struct Options {
  int level = 1;
  const char *name = "none";
};

int main() {
  std::array<int, 6> numbers{5, 2, 8, 1, 9, 3};
  long sum = 0;
  for (auto odd = []<class T>(T n) { return n % 2 != 0; }; int n : std::span<const int>(numbers))
    sum += odd(n) ? n * n : 0;
  std::printf("sum %ld size %ld\n", sum, measure(std::span(numbers).subspan(2)));
  Version a{1, 2, 3}, b{1, 3, 0};
  std::printf("order %d %d %d\n", a < b, a == b, (a <=> b) < 0);
  Options o{.name = "designated"};
  std::printf("%d %s %d %d\n", o.level, o.name, started, per_thread);
  for (auto method : methods())
    std::printf("method %d\n", (b.*method)());
  std::printf("pack %d\n", apply_all(3, [](int x) { return x + 1; }, [](int x) { return x * 2; }));
  return sum == 116 ? 42 : 1;
}
