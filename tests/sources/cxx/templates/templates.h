#pragma once
#include <typeinfo>
int start();
inline int inline_counter = 0;
inline int local_static() {
  static int calls = start();
  return ++calls;
}
template <class T> class Stack {
  T items[16];
  T *data = items;
  int size = 0, room = 16;

public:
  static int made;
  Stack() { ++made; }
  virtual ~Stack() {
    if (data != items)
      delete[] data;
  }
  virtual void push(T item) {
    if (size == room) {
      T *bigger = new T[room *= 2];
      for (int i = 0; i < size; i++)
        bigger[i] = data[i];
      if (data != items)
        delete[] data;
      data = bigger;
    }
    data[size++] = item;
  }
  virtual T pop() { return data[--size]; }
};
template <class T> int Stack<T>::made = 0;
template <class T> void marker() {}
using Function = void (*)();
template <class T> Function address() { return marker<T>; }
template <class T> const std::type_info &type_of() { return typeid(T); }
template <class... T> int sum(T... values) { return (values + ...); }
template <int N> inline const char *const name = "many";
template <> inline const char *const name<3> = "three";
inline auto make_counter() {
  return [n = 0]() mutable { return ++n; };
}
template <class T> T scaled(T value) { return value * 10; }
extern template int scaled<int>(int);
int other_inline();
int other_static();
int other_made();
Function other_address();
const std::type_info *other_type();
int count_there();
int third_inline();
int third_static();
int third_made();
Function third_address();
