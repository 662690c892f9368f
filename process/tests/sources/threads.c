// Threads that call one function over and over and check every result; the rest sleep in a system call.
// Arguments: threads in all, threads that call. A line on standard input is answered by counts; its end ends the program.
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static atomic_ulong calls, wrong, versions[4];
int generation = 1;
static long hidden = 7;

__attribute__((noinline)) static long mix(long x) {
    for (int i = 0; i < 200; i++)
        x = x * 6364136223846793005L + 1442695040888963407L;
    return x;
}

__attribute__((noinline)) long work(long x, long *seen) {
    *seen = mix(x);
    hidden += x & 1;
    return x * 4 + generation;
}

static void *caller(void *unused) {
    (void)unused;
    for (long x = 0;; x++) {
        long seen = 0;
        long result = work(x, &seen);
        long version = result - x * 4;
        long expected = x;
        for (int i = 0; i < 200; i++)
            expected = expected * 6364136223846793005L + 1442695040888963407L;
        if (version < 1 || version > 3 || seen != expected)
            atomic_fetch_add(&wrong, 1);
        else
            atomic_fetch_add(&versions[version], 1);
        atomic_fetch_add(&calls, 1);
    }
    return 0;
}

static void *sleeper(void *unused) {
    (void)unused;
    for (;;) {
        if (usleep(1000000) != 0)
            atomic_fetch_add(&wrong, 1);
    }
    return 0;
}

int main(int count, char **arguments) {
    int all = count > 1 ? atoi(arguments[1]) : 1, calling = count > 2 ? atoi(arguments[2]) : 1;
    for (int i = 0; i < all - 1; i++) {
        pthread_t thread;
        if (pthread_create(&thread, 0, i < calling ? caller : sleeper, 0) != 0)
            return 1;
    }
    char line[16];
    while (fgets(line, sizeof line, stdin)) {
        if (all == 1) {
            long seen, result = work(5, &seen);
            atomic_fetch_add(&calls, 1);
            atomic_fetch_add(&versions[(result - 20) & 3], 1);
        }
        printf("%lu %lu %lu %lu %lu %ld\n", calls, wrong, atomic_exchange(&versions[1], 0), atomic_exchange(&versions[2], 0),
               atomic_exchange(&versions[3], 0), hidden);
        fflush(stdout);
    }
    return 0;
}
