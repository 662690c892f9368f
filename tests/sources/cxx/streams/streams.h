#pragma once
#include <iosfwd>
#include <locale>
struct Point { int x, y; };
std::ostream &operator<<(std::ostream &, const Point &);
std::istream &operator>>(std::istream &, Point &);
bool same_facet(const std::ctype<char> &);
std::string before_main();
