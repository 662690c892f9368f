#include <stdio.h>

static int calls;

int greet(const char *name) {
    printf("Hello, %s! This is call %d of a function in an object file.\n", name, ++calls);
    fflush(stdout);
    return calls;
}
