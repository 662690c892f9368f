//#Status: 42
//#Args: one two
// Library data that default code reads by PC32 and non-PIC code through a harmless copy.
#define _GNU_SOURCE
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int report(FILE *to, const char *what);
extern FILE *const *const streams[];

// A pointer to library data in initialised memory: R_X86_64_64.
FILE **const out_pointer = &stdout;

int main(int argc, char **argv) {
  if (report(stdout, "stdout") < 0 || report(stderr, "stderr") < 0)
    return 1;
  fprintf(*out_pointer, "through a pointer\n");
  if (out_pointer != streams[0] || streams[1] != (FILE *const *)&stderr)
    return 2;
  if (getc(stdin) != EOF || !feof(stdin))
    return 3;
  errno = 0;
  if (strtol("999999999999999999999", NULL, 10) != 0x7fffffffffffffff || errno != ERANGE)
    return 4;
  for (int i = 1; i < argc; i++)
    fprintf(stderr, "%d %s\n", i, argv[i]);
  if (argv[argc] != NULL || !isalpha('x') || toupper('q') != 'Q')
    return 5;
  setvbuf(stdout, NULL, _IOFBF, 4096);
  printf("left in the buffer for exit to flush");
  return argc == 3 ? 42 : 6;
}
