// Callers of a lazy function that cannot be compiled, and what happens in its hook.
#include <execinfo.h>
#include <pthread.h>
#include <semaphore.h>

#include <stdexcept>
#include <string>

extern "C" {
int lazy();

int throws() { throw std::runtime_error("four"); }

int catches() {
    try {
        return lazy();
    } catch (const std::runtime_error &error) {
        return 38 + std::string(error.what()).size();
    }
}

int tests_cancel() {
    pthread_testcancel();
    return 0;
}

static int cleaned;
struct Cleans {
    ~Cleans() { cleaned += 42; }
};

static void *is_cancelled(void *) {
    Cleans cleans;
    pthread_cancel(pthread_self());
    lazy();
    return nullptr;
}

int cancels() {
    pthread_t thread;
    void *result;
    if (pthread_create(&thread, nullptr, is_cancelled, nullptr)) return -1;
    pthread_join(thread, &result);
    return result == PTHREAD_CANCELED ? cleaned : -2;
}

static void *frames[100];
static int depth;

int traces() {
    depth = backtrace(frames, 100);
    return 0;
}

int is_traced() {
    lazy();
    char *start = reinterpret_cast<char *>(is_traced);
    for (int i = 0; i < depth - 3; i++) {
        char *frame = static_cast<char *>(frames[i]);
        if (start < frame && frame < start + 64) return 42;
    }
    return depth;
}
}
