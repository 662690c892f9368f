#pragma once
#include <cstdio>
struct Traced {
  const char *name;
  int touched = 0;
  static int count;
  explicit Traced(const char *n) : name(n) { std::printf("+ %s %d\n", name, ++count); }
  ~Traced() { std::printf("- %s %d\n", name, touched); }
  void touch() { ++touched; }
};
template <class T> struct Holder { static int value; };
int set_up();
template <class T> int Holder<T>::value = set_up();
Traced *other_inline();
int *other_holder();
int next_value();
Traced &other_thread_local();
extern thread_local int other_value;
extern int constant_in_time;
