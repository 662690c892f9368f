#include "templates.h"
int third_inline() { return ++inline_counter; }
int third_static() { return local_static(); }
int third_made() {
  Stack<int> s;
  s.push(2);
  return Stack<int>::made;
}
Function third_address() { return address<long>(); }
