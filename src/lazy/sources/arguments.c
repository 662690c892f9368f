// Arguments of every class (psABI, 3.2.3), twenty of a kind, so that registers and stack are both used.
#include <errno.h>
#include <stdarg.h>

#ifdef __AVX512F__
#define BYTES 64
#elif defined __AVX__
#define BYTES 32
#else
#define BYTES 16
#endif
typedef double vector __attribute__((vector_size(BYTES)));
struct large {
    long a[9];
};

#define EACH(m, type) m(type, 0), m(type, 1), m(type, 2), m(type, 3), m(type, 4), m(type, 5), m(type, 6), m(type, 7), \
        m(type, 8), m(type, 9), m(type, 10), m(type, 11), m(type, 12), m(type, 13), m(type, 14), m(type, 15), m(type, 16), \
        m(type, 17), m(type, 18), m(type, 19)
#define PARAMETER(type, i) type a##i
#define NAME(type, i) a##i
#define VALUE(type, i) (type)(i * i + 1)
#define SPLAT(type, i) ((type){} + (double)(i * i + 1))

#ifdef CALLEE
#define FUNCTION(name) real_##name
#else
#define FUNCTION(name) name
#endif
int FUNCTION(integers)(EACH(PARAMETER, long));
int FUNCTION(doubles)(EACH(PARAMETER, double));
int FUNCTION(vectors)(EACH(PARAMETER, vector));
int FUNCTION(mixed)(int a, double b, struct large c, vector d, long double e, char f, float g, _Complex double h, void *i);
double FUNCTION(variable)(int count, ...);
struct large FUNCTION(big)(long first, struct large *second, double third);
int FUNCTION(read_errno)(void);

#ifdef CALLEE
int real_integers(EACH(PARAMETER, long)) {
    long a[] = {EACH(NAME, )};
    for (int i = 0; i < 20; i++)
        if (a[i] != i * i + 1) return i;
    return 42;
}

int real_doubles(EACH(PARAMETER, double)) {
    double a[] = {EACH(NAME, )};
    for (int i = 0; i < 20; i++)
        if (a[i] != i * i + 1) return i;
    return 42;
}

int real_vectors(EACH(PARAMETER, vector)) {
    vector a[] = {EACH(NAME, )};
    for (int i = 0; i < 20; i++)
        for (unsigned j = 0; j < BYTES / sizeof(double); j++)
            if (a[i][j] != i * i + 1) return i;
    return 42;
}

int real_mixed(int a, double b, struct large c, vector d, long double e, char f, float g, _Complex double h, void *i) {
    return a == 1 && b == 2 && c.a[0] == 3 && c.a[8] == 4 && d[1] == 5 && e == 6 && f == 7 && g == 8 &&
            __real__ h == 9 && __imag__ h == 10 && i == &errno ? 42 : 0;
}

double real_variable(int count, ...) {
    va_list list;
    double sum = 0;
    va_start(list, count);
    for (int i = 0; i < count; i++) sum += i % 2 ? va_arg(list, int) : va_arg(list, double);
    va_end(list);
    return sum;
}

struct large real_big(long first, struct large *second, double third) {
    struct large result = *second;
    result.a[0] += first;
    result.a[8] += (long)third;
    return result;
}

int real_read_errno(void) { return errno; }
#endif

#ifdef CALLER
int call_integers(void) { return integers(EACH(VALUE, long)); }

int call_doubles(void) { return doubles(EACH(VALUE, double)); }

int call_vectors(void) { return vectors(EACH(SPLAT, vector)); }

int call_mixed(void) {
    struct large c = {{3, 0, 0, 0, 0, 0, 0, 0, 4}};
    return mixed(1, 2, c, (vector){} + 5.0, 6, 7, 8, 9 + 10 * 1.0i, &errno);
}

int call_variable(void) {
    double sum = variable(20, 1.0, 2, 3.0, 4, 5.0, 6, 7.0, 8, 9.0, 10, 11.0, 12, 13.0, 14, 15.0, 16, 17.0, 18, 19.0, 20);
    return sum == 210 ? 42 : (int)sum;
}

int call_big(void) {
    struct large second = {{1, 0, 0, 0, 0, 0, 0, 0, 2}};
    struct large result = big(20, &second, 19);
    return result.a[0] + result.a[8];
}

int call_read_errno(void) {
    errno = 42;
    return read_errno();
}
#endif
