#include "coroutines.h"

Generator::~Generator() {
  if (handle)
    handle.destroy();
}
bool Generator::next() {
  handle.resume();
  if (handle.promise().failed)
    std::rethrow_exception(handle.promise().failed);
  return !handle.done();
}
Generator squares_from(long start) {
  for (;; ++start)
    co_yield start *start;
}
