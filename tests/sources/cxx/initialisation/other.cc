#include "initialisation.h"

int Traced::count;
Traced one("first of the other file");
inline Traced shared_inline("inline variable");
__attribute__((init_priority(150))) Traced earliest("priority 150");
static Traced two("last of the other file");
thread_local int other_value = next_value() * 10;
int constant_in_time = 77;

Traced *other_inline() { return &shared_inline; }
int *other_holder() { return &Holder<int>::value; }
int set_up() { return constant_in_time + 1; }
int next_value() {
  static int value = 0;
  return ++value;
}
Traced &other_thread_local() {
  static thread_local Traced object("thread_local of the other file");
  return object;
}
