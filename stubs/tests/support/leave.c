// Ways out of a function other than returning, for tests of what is left behind. Thread-local variables are of the kind
// that allocates nothing on first use: what calls `leave` may have been interrupted in the middle of `malloc`.
#include <pthread.h>
#include <setjmp.h>

static __thread enum { RETURN, JUMP, CANCEL } way;
static __thread jmp_buf back;

// Called from inside of a function that is replaced and unmapped.
void leave(void) {
    if (way == JUMP) longjmp(back, 1);
    if (way == CANCEL) pthread_testcancel();
}

// Runs a body that calls such a function, and comes back past both.
int jump_out_of(void (*body)(void *), void *argument) {
    way = JUMP;
    if (setjmp(back) == 0) {
        body(argument);
        return 0;
    }
    way = RETURN;
    return 1;
}

// Runs a body in a thread that is cancelled inside of such a function. Whether it was.
int cancel_in(void *(*body)(void *), void *argument) {
    pthread_t thread;
    void *result;
    if (pthread_create(&thread, 0, body, argument)) return 0;
    pthread_join(thread, &result);
    return result == PTHREAD_CANCELED;
}

void cancel_me(void) {
    way = CANCEL;
    pthread_cancel(pthread_self());
}
