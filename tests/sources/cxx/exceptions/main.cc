//#Status: 42
// Exceptions across files, through C frames, rethrown, stored, with cleanups.
#include "exceptions.h"
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <new>
#include <stdexcept>
#include <typeinfo>

static int alive;
struct Counted {
  Counted() { ++alive; }
  Counted(const Counted &) { ++alive; }
  ~Counted() { --alive; }
};

static void nested(int depth) {
  Counted c;
  if (depth == 0)
    raise_kind(2);
  nested(depth - 1);
}

static int compare(const void *, const void *) { throw Derived("out of qsort"); }

struct Member {
  int value;
  Member(int v) try : value(checked(v)) { } catch (const Base &b) { std::printf("constructor %s\n", b.what()); }
};

static int filter() noexcept {
  try {
    raise_kind(4);
  } catch (int number) {
    return number;
  }
  return 0;
}

static std::exception_ptr stored() {
  try {
    nested(3);
  } catch (...) {
    return std::current_exception();
  }
  return nullptr;
}

int main() {
  for (int kind = 0; kind < 6; kind++) {
    try {
      Counted c;
      raise_kind(kind);
      std::printf("kind %d returned\n", kind);
    } catch (const Derived &d) {
      std::printf("derived %s %s\n", d.what(), typeid(d).name());
    } catch (const Base &b) {
      std::printf("base %s\n", b.what());
    } catch (const std::runtime_error &e) {
      std::printf("runtime_error %s\n", e.what());
    } catch (const std::exception &e) {
      std::printf("exception %s\n", e.what());
    } catch (int i) {
      std::printf("int %d\n", i);
    } catch (...) {
      std::printf("something else\n");
    }
  }
  int numbers[4] = {3, 1, 2, 0};
  try {
    std::qsort(numbers, 4, sizeof(int), compare);
  } catch (const Base &b) {
    std::printf("%s\n", b.what());
  }
  try {
    Member m(-1);
  } catch (const Derived &) {
    std::printf("left the constructor\n");
  }
  if (std::exception_ptr p = stored())
    try {
      std::rethrow_exception(p);
    } catch (Base &b) {
      std::printf("stored %s\n", b.what());
    }
  try {
    rethrow_wrapped();
  } catch (const std::exception &e) {
    std::printf("%s:", e.what());
    try {
      std::rethrow_if_nested(e);
    } catch (const Base &b) {
      std::printf(" nested %s\n", b.what());
    }
  }
  try {
    std::printf("%p", ::operator new(static_cast<std::size_t>(-1) / 2 - static_cast<std::size_t>(filter())));
  } catch (const std::bad_alloc &) {
    std::printf("bad_alloc\n");
  }
  std::printf("filter %d alive %d uncaught %d\n", filter(), alive, std::uncaught_exceptions());
  return alive == 0 && released() == 6 ? 42 : 1 + released();
}
