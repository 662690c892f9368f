#pragma once
#include <coroutine>
#include <exception>
struct Guard {
  static inline int alive = 0;
  Guard() { ++alive; }
  ~Guard() { --alive; }
};
class Generator {
public:
  struct promise_type {
    long current = 0;
    std::exception_ptr failed;
    Generator get_return_object() { return Generator(std::coroutine_handle<promise_type>::from_promise(*this)); }
    std::suspend_always initial_suspend() noexcept { return {}; }
    std::suspend_always final_suspend() noexcept { return {}; }
    std::suspend_always yield_value(long v) {
      current = v;
      return {};
    }
    void return_void() {}
    void unhandled_exception() { failed = std::current_exception(); }
  };
  explicit Generator(std::coroutine_handle<promise_type> h) : handle(h) {}
  Generator(Generator &&other) noexcept : handle(other.handle) { other.handle = nullptr; }
  ~Generator();
  bool next();
  long value() const { return handle.promise().current; }

private:
  std::coroutine_handle<promise_type> handle;
};
Generator squares_from(long start);
