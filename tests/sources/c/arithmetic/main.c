//#Status: 42
//#Link: -lm
// Arithmetic that needs constants in memory and helpers of libgcc and libm.
#include <complex.h>
#include <fenv.h>
#include <float.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>

typedef __int128 i128;
typedef unsigned __int128 u128;
u128 divide(u128 a, u128 b);
i128 remainder_of(i128 a, i128 b);
long double series(int terms);
double complex rotate(double complex z, int times);
unsigned bits(unsigned long x);

static void show(const char *what, u128 v) { printf("%s %016llx%016llx\n", what, (unsigned long long)(v >> 64), (unsigned long long)v); }

typedef float v4 __attribute__((vector_size(16)));
static v4 scale(v4 v, float by) { return v * (v4){by, by, by, by} + (v4){1, 2, 3, 4}; }

int main(void) {
  volatile u128 large = ((u128)0x123456789abcdef0 << 64) | 0xfedcba9876543210;
  volatile i128 negative = -(i128)large / 3;
  show("udiv", divide(large, 1000000007));
  show("udiv wide", divide(large, (u128)7 << 66));
  show("mod", (u128)remainder_of(negative, 1234567));
  printf("to double %.6e %.6e\n", (double)large, (double)negative);
  volatile double from = 1.5e30;
  show("from double", (u128)from);
  printf("long double %.12Lf %.10Lf\n", series(40), sqrtl(2.0L) + powl(1.1L, 10));
  double complex z = rotate(1 + 2 * I, 5);
  double complex q = z / (3 - 4 * I);
  printf("complex %.6f %.6f %.6f %.6f %.6f\n", creal(z), cimag(z), creal(q), cimag(q), cabs(cexp(z / 10)));
  volatile float complex f = 1.0f + 1.0f * I;
  float complex g = f * f / (2.0f + 0.5f * I);
  printf("float complex %.5f %.5f\n", crealf(g), cimagf(g));
  volatile __float128 wide = 1.0Q / 3.0Q;
  wide = wide * 3.0Q + (__float128)from;
  printf("float128 %.6e %d\n", (double)wide, wide > 1.0Q);
  printf("bits %u %u %u %d %d\n", bits(0xff00ff), bits(~0ul), bits(0), __builtin_parityl(7ul), __builtin_clrsbl(5));
  int64_t overflow;
  volatile int64_t huge = INT64_MAX;
  printf("overflow %d\n", __builtin_mul_overflow(huge, (int64_t)3, &overflow));
  v4 v = scale((v4){1, 2, 3, 4}, 2.5f);
  printf("vector %.2f %.2f %.2f %.2f\n", v[0], v[1], v[2], v[3]);
  fesetround(FE_UPWARD);
  volatile double one = 1.0, three = 3.0;
  double up = one / three;
  fesetround(FE_DOWNWARD);
  printf("rounding %d\n", up > one / three);
  fesetround(FE_TONEAREST);
  printf("math %.10f %.10f %.10f %d\n", sin(0.5), tgamma(4.5), fma(2.0, 3.0, 1.0), isnan(NAN));
  return 42;
}
