#include "streams.h"
#include <iostream>
#include <string>

static const std::string text = (std::cout << "before main\n", "made before main");
std::ostream &operator<<(std::ostream &o, const Point &p) { return o << '(' << p.x << ',' << p.y << ')'; }
std::istream &operator>>(std::istream &i, Point &p) {
  char c;
  return i >> c >> p.x >> c >> p.y >> c;
}
bool same_facet(const std::ctype<char> &other) { return &std::use_facet<std::ctype<char>>(std::locale()) == &other; }
std::string before_main() { return text; }
