#include "rtti.h"

int destroyed;
Named::~Named() {}
Shape::~Shape() { ++destroyed; }
int Square::area() const { return side * side; }
Square *Square::clone() const {
  static Square copy;
  return &copy;
}
int Round::area() const { return 3 * radius * radius; }
int Diamond::area() const { return Square::area() + Round::area(); }
const char *Diamond::name() const { return "diamond"; }
Diamond *Diamond::clone() const { return nullptr; }

Shape *make(int kind) {
  switch (kind) {
  case 0: return new Square;
  case 1: return new Round;
  default: return new Diamond;
  }
}
int Square::*side_pointer() { return &Square::side; }
int (Square::*method_pointer())(int) { return &Square::grown; }
