// A bit of everything that a C compiler has to say to an assembler.
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

_Thread_local int counter = 3;
static _Thread_local char buffer[100];
extern _Thread_local int foreign;
int common_array[50];
static int zeroed[1000];
const char *names[] = {"zero", "one", "two", "three\n\t\"quoted\" \\ \001\377"};
static const double table[] = {1.0, 2.5, -3.25, 1e300};
__attribute__((visibility("hidden"))) int hidden_value = 42;
__attribute__((weak)) int weak_value;
__attribute__((section(".special"))) int special = 7;
__attribute__((aligned(64))) char aligned_bytes[64] = {1, 2, 3};

static int chosen(void) { return 1; }
static int (*resolve(void))(void) { return chosen; }
int indirect(void) __attribute__((ifunc("resolve")));

__attribute__((weak)) void maybe(void);
__attribute__((noinline)) static long sum(const long *p, int n) {
    long s = 0;
    for (int i = 0; i < n; i++) s += p[i] * i;
    return s;
}

int dispatch(int op, int a, int b) {
    switch (op) {
    case 0: return a + b;
    case 1: return a - b;
    case 2: return a * b;
    case 3: return b ? a / b : 0;
    case 4: return a << (b & 31);
    case 5: return a >> (b & 31);
    case 6: return (unsigned)a >> (b & 31);
    case 7: return a ^ b;
    case 8: return __builtin_popcount(a) + __builtin_clz(b | 1);
    case 9: return indirect();
    default: return -1;
    }
}

int interpret(const unsigned char *code) {
    static const void *labels[] = {&&add, &&sub, &&stop};
    int value = 0;
    goto *labels[*code++];
add:
    value += *code++;
    goto *labels[*code++];
sub:
    value -= *code++;
    goto *labels[*code++];
stop:
    return value;
}

double numbers(double x, float y, long double z, int i, unsigned long u) {
    float f = y * i + (float)u;
    z = z * x + sqrtl(z) - fabsl(z);
    return sqrt(x) + f + (double)z + table[i & 3] + (double)(long)x + (unsigned long)y + floor(x);
}

__int128 wide(__int128 a, __int128 b) { return a * b / (b + 1); }

void variadic(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    vprintf(format, arguments);
    va_end(arguments);
}

atomic_int shared;
int atomics(atomic_long *p, unsigned __int128 *q) {
    atomic_fetch_add(&shared, 1);
    long expected = 5;
    atomic_compare_exchange_strong(p, &expected, 6);
    atomic_fetch_or(p, 3);
    return atomic_exchange(&shared, 2) + (int)*q;
}

void copy(char *to, const char *from, size_t n) {
    memcpy(to, from, n);
    memset(buffer, 0, sizeof buffer);
    for (size_t i = 0; i < n; i++) to[i] ^= from[n - i - 1];
}

void floats(float *restrict a, const float *restrict b, const float *restrict c, int n) {
    for (int i = 0; i < n; i++) a[i] = b[i] * c[i] + a[i];
}

void ints(int *restrict a, const short *restrict b, const unsigned char *restrict c, int n) {
    for (int i = 0; i < n; i++) a[i] = b[i] * c[i] > 50 ? a[i] : -a[i];
}

static jmp_buf environment;
int tls(int n) {
    if (setjmp(environment)) return counter;
    counter += n + foreign;
    buffer[n & 63] = (char)n;
    if (maybe) maybe();
    return counter + zeroed[n & 7] + common_array[n & 7] + hidden_value + weak_value + special;
}

struct fields { unsigned a : 3; int b : 17; long c : 40; } bits;
int fields(struct fields *f) { f->b += 3; f->c = f->a; return f->b; }

int inline_assembly(int x) {
    int result;
    __asm__ volatile("77: {addl %1, %0|add %0, %1}\n\tjc 77b\n\tjmp 78f\n78:\n\t.pushsection .notes,\"a\"\n\t.long 77b - .\n\t.popsection"
                     : "=r"(result) : "r"(x), "0"(1) : "cc");
    __asm__ volatile("cpuid" : "+a"(x) : : "ebx", "ecx", "edx");
    return result + x;
}

__attribute__((constructor)) static void before(void) { common_array[1] = 1; }
__attribute__((destructor)) static void after(void) { common_array[1] = 0; }
__attribute__((cold, noinline)) static void failed(int n) { fprintf(stderr, "failed %d %s\n", n, names[n & 3]); abort(); }
__asm__(".symver old_name, versioned@VERS_1");
void old_name(void) {}

int main(int argc, char **argv) {
    long values[] = {1, 2, 3, 4};
    if (argc > 5) failed(argc);
    variadic("%s %d %f\n", names[argc & 3], dispatch(argc, 3, 4), numbers(1, 2, 3, 4, 5));
    return (int)sum(values, 4) + tls(argc) + interpret((const unsigned char *)argv[0]);
}
