#include <stdio.h>
#include <stdlib.h>

static int arguments;

void say(const char *text) { puts(text); }
int seen_arguments(void) { return arguments; }

static void registered(void) { say("atexit from a constructor"); }
__attribute__((constructor(1500))) static void other(int argc, char **argv, char **envp) {
  arguments = argc == 3 && argv[0] != NULL && envp != NULL;
  say("constructor 1500 of the other file");
  atexit(registered);
}
__attribute__((constructor)) static void plain(void) { say("constructor of the other file"); }
__attribute__((destructor)) static void done(void) { say("destructor of the other file"); }
__attribute__((destructor(1500))) static void done_at(void) { say("destructor 1500 of the other file"); }
