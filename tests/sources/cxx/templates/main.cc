//#Status: 42
//#Archive: third.cc
// COMDAT: templates, inline functions and variables, local statics, vtables, in three files of which one is in an archive.
#include "templates.h"
#include <cstdio>

int main() {
  std::printf("inline %d %d %d\n", ++inline_counter, other_inline(), third_inline());
  std::printf("static %d %d %d\n", local_static(), other_static(), third_static());
  std::printf("template %d %d %d\n", Stack<int>::made, other_made(), third_made());
  Stack<int> s;
  for (int i = 0; i < 20; i++)
    s.push(i * i);
  std::printf("stack %d %d made %d\n", s.pop(), s.pop(), Stack<int>::made);
  std::printf("same function %d %d\n", address<long>() == other_address(), address<long>() == third_address());
  std::printf("same type %d\n", &type_of<Stack<int>>() == other_type());
  std::printf("fold %d %s\n", sum(1, 2, 3, 4), name<3>);
  auto lambda = make_counter();
  lambda(), lambda();
  std::printf("lambda %d there %d\n", lambda(), count_there());
  std::printf("extern %d\n", scaled(3));
  return inline_counter == 3 && Stack<int>::made == 3 ? 42 : 1;
}
