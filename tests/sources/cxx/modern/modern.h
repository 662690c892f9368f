#pragma once
#include <array>
#include <compare>
consteval int square(int x) { return x * x; }
struct Version {
  int major, minor, patch;
  auto operator<=>(const Version &) const = default;
  int packed() { return major * 100 + minor * 10 + patch; }
  virtual int negated() { return -packed(); }
  Version(int a, int b, int c) : major(a), minor(b), patch(c) {}
};
std::array<int (Version::*)(), 2> methods();
template <class... F> int apply_all(int x, F... f) {
  ((x = f(x)), ...);
  return x;
}
