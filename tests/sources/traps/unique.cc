// STB_GNU_UNIQUE here, weak in the other file.
#include <cstdio>
inline int *counter() { static int count = 40; return &count; }
template <class T> struct Cell { static int value; };
template <class T> int Cell<T>::value = 1;
int *counter_there();
int *cell_there();
int main() {
  ++*counter();
  ++*counter_there();
  std::printf("%d %d\n", counter() == counter_there(), &Cell<int>::value == cell_there());
  return *counter();
}
