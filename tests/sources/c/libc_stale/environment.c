#define _GNU_SOURCE
#include <string.h>
#include <unistd.h>

int count_environment(const char *prefix) {
  int found = 0;
  for (char **entry = environ; *entry; entry++)
    found += strncmp(*entry, prefix, strlen(prefix)) == 0;
  return found;
}
