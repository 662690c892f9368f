//#Status: 42
//#Args: x y
//#Env: MATRIX=1
// What runs before and after main, in which order, and with which arguments.
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void say(const char *text);
int seen_arguments(void);

static int order;
static int pre_arguments, plain_arguments;
static char **environment;

static void early(int argc, char **argv, char **envp) { pre_arguments = argc == 3 && !strcmp(argv[1], "x") && envp[0]; }
__attribute__((section(".preinit_array"), used)) static void (*const preinit)(int, char **, char **) = early;

__attribute__((constructor)) static void plain(int argc, char **argv, char **envp) {
  plain_arguments = argc == 3 && !strcmp(argv[2], "y") && envp != NULL && (environment = envp);
  say("constructor without priority");
}
__attribute__((constructor(101))) static void first(void) { say("constructor 101"); order = 101; }
__attribute__((constructor(65000))) static void late(void) { say("constructor 65000"); }
__attribute__((constructor(2000))) static void middle(void) { say(order == 101 ? "constructor 2000" : "wrong order"); }
__attribute__((destructor)) static void last(void) { say("destructor without priority"); }
__attribute__((destructor(101))) static void very_last(void) { say("destructor 101"); }
__attribute__((destructor(2000))) static void before_last(void) { say("destructor 2000"); }

static void at_exit_one(void) { say("atexit one"); }
static void at_exit_nested(void) { say("atexit nested"); }
static void at_exit_two(void) {
  say("atexit two");
  atexit(at_exit_nested);
}
static void on_exit_handler(int status, void *argument) { printf("on_exit %d %s\n", status, (char *)argument); }

int main(int argc, char **argv, char **envp) {
  say("main");
  atexit(at_exit_one);
  on_exit(on_exit_handler, "argument");
  atexit(at_exit_two);
  printf("arguments %d %d %d %d\n", pre_arguments, plain_arguments, seen_arguments(), envp == environment);
  if (argc == 3 && argv[3] == NULL)
    exit(42);
  return 1;
}
