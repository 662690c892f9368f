// A shared library with functions, data, thread-local data and a constructor.
#include <stdio.h>
int library_data = 5;
int library_array[4] = {1, 2, 3, 4};
__thread int library_tls = 6;
static int constructed;
__attribute__((constructor)) static void construct(void) { constructed = 1; }
int library_function(int x) { return x + library_data + library_array[2] + library_tls; }
int library_constructed(void) { return constructed; }
int library_call(int (*f)(int), int x) { return f(x); }
