// Exceptions through and out of functions that are patched, and cancelled threads. Each line is answered.
#include <atomic>
#include <cstdio>
#include <pthread.h>
#include <stdexcept>
#include <string>
#include <unistd.h>

struct Noted {
    static std::atomic<int> destroyed;
    ~Noted() { destroyed++; }
};
std::atomic<int> Noted::destroyed{0};
std::atomic<int> waiting{0};

struct Problem : std::runtime_error {
    using std::runtime_error::runtime_error;
};

__attribute__((noinline)) void call_through(void (*function)(int), int argument) {
    Noted noted;
    function(argument);
    asm volatile("");
}

__attribute__((noinline)) void thrower(int argument) {
    if (argument > 2)
        throw Problem("old " + std::to_string(argument));
}

__attribute__((noinline)) int catcher(int argument) {
    try {
        call_through(thrower, argument);
    } catch (const std::logic_error &) {
        return 2;
    }
    return 0;
}

__attribute__((noinline)) void wait_for_cancel() {
    Noted noted;
    waiting++;
    for (;;)
        pause();
}

static void *cancelled(void *) {
    wait_for_cancel();
    return nullptr;
}

int main() {
    char line[32];
    while (fgets(line, sizeof line, stdin)) {
        std::string text;
        try {
            int result = catcher(line[0] - '0');
            text = "returned " + std::to_string(result);
        } catch (const Problem &problem) {
            text = problem.what();
        } catch (const std::exception &other) {
            text = std::string("other ") + other.what();
        }
        waiting = 0;
        pthread_t thread;
        void *result = nullptr;
        pthread_create(&thread, nullptr, cancelled, nullptr);
        while (waiting == 0)
            usleep(100);
        pthread_cancel(thread);
        pthread_join(thread, &result);
        printf("%s, %s, %d\n", text.c_str(), result == PTHREAD_CANCELED ? "cancelled" : "returned", Noted::destroyed.load());
        fflush(stdout);
    }
}
