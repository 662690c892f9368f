//#Status: 42
//#Link: -lm
//#Args: -a -b value rest
//#Env: MATRIX=yes
//#Env: TZ=EST5
// Library data that the library changes after start: a private copy would go stale.
#define _GNU_SOURCE
#include <errno.h>
#include <getopt.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

int count_environment(const char *prefix);

int main(int argc, char **argv) {
  int option;
  while ((option = getopt(argc, argv, "ab:")) != -1)
    printf("option %c index %d argument %s\n", option, optind, option == 'b' ? optarg : "none");
  printf("rest %s\n", argv[optind]);
  opterr = 0;
  char *bad[] = {"program", "-z", NULL};
  optind = 1;
  option = getopt(2, bad, "a");
  printf("bad option %c %c\n", option, optopt);

  printf("%d\n", count_environment("MATRIX"));
  setenv("MATRIX_MORE", "1", 1);
  for (int i = 0; i < 100; i++) {
    char name[32];
    snprintf(name, sizeof name, "MATRIX_%d", i);
    setenv(name, "x", 1);
  }
  printf("%d\n", count_environment("MATRIX"));

  tzset();
  printf("%s %ld\n", tzname[0], timezone);
  double gamma = lgamma(-0.5);
  printf("%.3f %d\n", gamma, signgam);
  gamma = lgamma(0.5);
  printf("%.3f %d\n", gamma, signgam);
  return program_invocation_name != NULL && optind == 2 ? 42 : 1;
}
