// The same inline function with another body in each file: the first copy is everybody's.
#include <cstdio>
struct Large { char bytes[3]; int which; Large() : which(1) {} };
inline const char *which() { static const char *const name = "first"; return name; }
template <class T> int body(T x) { int sum = 0; for (int i = 0; i < 100; i++) sum += i; return x + sum - 4950 + 1; }
const char *which_there();
int body_there(int);
int main() {
  std::printf("%s %s %d %d\n", which(), which_there(), body(1), body_there(1));
  return 42;
}
