// Common symbols above the threshold of the medium model.
#include <stdio.h>
char large[200000];
static char large_local[200000];
char large_data[100000] = {1, 2, 3};
const char large_constant[100000] = {4, 5, 6};
int small;
extern char shared[150000];
void fill(void);
int main(void) {
  fill();
  large[199999] = large_data[2], large_local[199999] = large_constant[2];
  printf("%d %d %d %d\n", large[199999], large_local[199999], small, shared[149999]);
  return large[199999] + large_local[199999] + shared[149999];
}
