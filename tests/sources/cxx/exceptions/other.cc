#include "exceptions.h"
#include <exception>
#include <stdexcept>

static int count;
Base::~Base() {}
Derived::~Derived() {}
const char *Derived::what() const { return text; }

namespace {
struct Hidden {};
struct Releaser {
  ~Releaser() { ++count; }
};
} // namespace

void raise_kind(int kind) {
  Releaser r;
  switch (kind) {
  case 0: throw Base("zero");
  case 1: throw Derived("one");
  case 2: throw Derived("two");
  case 3: throw std::runtime_error("three");
  case 4: throw 4;
  case 5: throw Hidden();
  }
}

int checked(int value) {
  if (value < 0)
    throw Derived("negative");
  return value;
}

void rethrow_wrapped() {
  try {
    throw Base("inner");
  } catch (...) {
    std::throw_with_nested(std::logic_error("outer"));
  }
}

int released() {
  int released = count - 3;
  return released;
}
