//#Status: 42
// Virtual inheritance, RTTI and member pointers with the classes in two files.
#include "rtti.h"
#include <cstdio>
#include <typeinfo>

struct Local final : Diamond, virtual Named {
  int area() const override { return 9; }
  const char *name() const override { return "local"; }
};

template <class T> static int cast(Shape *s) { return dynamic_cast<T *>(s) != nullptr; }

int main() {
  Shape *shapes[] = {make(0), make(1), make(2), new Local};
  for (Shape *s : shapes) {
    std::printf("%s area %d casts %d%d%d%d id %s\n", s->name(), s->area(), cast<Square>(s), cast<Round>(s), cast<Diamond>(s),
                cast<Local>(s), typeid(*s).name());
  }
  std::printf("equal %d before %d\n", typeid(*shapes[1]) == typeid(Round), typeid(*shapes[0]) == typeid(*shapes[1]));
  Named *n = dynamic_cast<Named *>(shapes[2]);
  std::printf("cross %d most derived %d\n", n != nullptr, dynamic_cast<void *>(n) == dynamic_cast<void *>(shapes[2]));
  try {
    (void)dynamic_cast<Round &>(*shapes[0]);
  } catch (const std::bad_cast &) {
    std::printf("bad_cast\n");
  }
  Shape *null = nullptr;
  try {
    std::printf("%s", typeid(*null).name());
  } catch (const std::bad_typeid &) {
    std::printf("bad_typeid\n");
  }
  int (Shape::*area)() const = &Shape::area;
  int Square::*side = side_pointer();
  Square square;
  square.*side = 6;
  std::printf("member pointers %d %d %d\n", (shapes[1]->*area)(), (square.*area)(), (square.*method_pointer())(2));
  std::printf("covariant %s\n", shapes[0]->clone()->name());
  for (Shape *s : shapes)
    delete s;
  std::printf("destroyed %d\n", destroyed);
  return destroyed == 4 ? 42 : 1;
}
