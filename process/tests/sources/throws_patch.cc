#include <atomic>
#include <cstdio>
#include <pthread.h>
#include <stdexcept>
#include <string>
#include <unistd.h>
struct Noted { static std::atomic<int> destroyed; ~Noted() { destroyed++; } };
extern std::atomic<int> waiting;
struct Problem : std::runtime_error { using std::runtime_error::runtime_error; };
__attribute__((noinline)) void call_through(void (*function)(int), int argument) {
    Noted noted; Noted again;
    function(argument);
    asm volatile("");
}
__attribute__((noinline)) void thrower(int argument) {
    if (argument == 5) throw std::logic_error("caught inside");
    if (argument > 2) throw Problem("new " + std::to_string(argument));
}
__attribute__((noinline)) int catcher(int argument) {
    try { call_through(thrower, argument); } catch (const std::logic_error &) { return 3; }
    return 1;
}
__attribute__((noinline)) void wait_for_cancel() {
    Noted noted; Noted more;
    waiting++;
    for (;;) pause();
}
