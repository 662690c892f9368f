#include <complex.h>

typedef __int128 i128;
typedef unsigned __int128 u128;

u128 divide(u128 a, u128 b) { return a / b; }
i128 remainder_of(i128 a, i128 b) { return a % b; }

long double series(int terms) {
  long double sum = 0, sign = 1;
  for (int i = 0; i < terms; i++, sign = -sign)
    sum += sign * 4.0L / (2 * i + 1);
  return sum;
}

double complex rotate(double complex z, int times) {
  static const double complex by = 0.6 + 0.8 * I;
  while (times--)
    z *= by;
  return z;
}

unsigned bits(unsigned long x) { return (unsigned)__builtin_popcountl(x) + (x ? (unsigned)__builtin_ctzl(x) : 99); }
