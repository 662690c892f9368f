//#Status: 42
//#Archive: needed.c further.c common.c unneeded.c
//#Flags: -fcommon
// Members of an archive are taken by need: directly, through another member, not for a common symbol.
#include <stdio.h>

int needed(int);
int tentative;
extern int counter;
int optional(void) __attribute__((weak));
// Local code of the same name as a member's is preferred.
int overridden(void) { return 5; }

int main(void) {
  printf("needed %d\n", needed(4));
  printf("counter %d tentative %d\n", counter, tentative);
  printf("weak reference takes no member: %d\n", optional == 0);
  return overridden() == 5 && counter == 2 ? 42 : 1;
}
