//#Status: 42
//#Tls: yes
//#Flags: -pthread
// Initialisation and destruction: namespace scope, function-local, inline, thread_local.
#include "initialisation.h"
#include <pthread.h>

Traced first("first of main");
__attribute__((init_priority(200))) Traced early("priority 200");
inline Traced shared_inline("inline variable");
static Traced last("last of main");

thread_local Traced per_thread("thread_local of main");
thread_local int dynamic_value = next_value();

static Traced &local() {
  static Traced object("function-local");
  return object;
}

static void *thread(void *) {
  per_thread.touch();
  other_thread_local().touch();
  std::printf("values %d %d\n", dynamic_value, other_value);
  dynamic_value += 100;
  return nullptr;
}

int main() {
  std::puts("main");
  std::printf("same inline %d same template %d\n", &shared_inline == other_inline(), &Holder<int>::value == other_holder());
  local().touch();
  local().touch();
  for (int i = 0; i < 2; i++) {
    pthread_t id;
    pthread_create(&id, nullptr, thread, nullptr);
    pthread_join(id, nullptr);
  }
  thread(nullptr);
  std::printf("constant %d %d\n", constant_in_time, Holder<int>::value);
  return Traced::count == 14 ? 42 : Traced::count;
}
