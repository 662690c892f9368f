#include <stdlib.h>
static int compare(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}
int twice(int x) { return 2 * x; }
void sort_numbers(int n, double *values) { qsort(values, n, sizeof *values, compare); }
