#include "templates.h"
template int scaled<int>(int);
int start() { return 10; }
int other_inline() { return ++inline_counter; }
int other_static() { return local_static(); }
int other_made() {
  Stack<int> s;
  s.push(1);
  return Stack<int>::made;
}
Function other_address() { return address<long>(); }
const std::type_info *other_type() { return &type_of<Stack<int>>(); }
int count_there() {
  auto counter = make_counter();
  return counter() + counter();
}
