#include "threads.h"
#include <stdexcept>
thread_local int there = 7;
int work(int x) {
  if (x < 0)
    throw std::invalid_argument("negative");
  return x * there;
}
