// The ways for a program to end: the argument says which.
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
static void quick(void) { puts("at_quick_exit"); fflush(stdout); }
static void normal(void) { puts("atexit"); }
__attribute__((destructor)) static void destructor(void) { puts("destructor"); }
static void *leave(void *unused) { (void)unused; exit(42); }
static pthread_t first;
static void *outlive(void *unused) {
  (void)unused;
  pthread_join(first, NULL);
  puts("after main");
  exit(42);
}
static void *forever(void *unused) {
  (void)unused;
  for (;;)
    pause();
}
int main(int argc, char **argv) {
  atexit(normal);
  at_quick_exit(quick);
  fputs("unflushed ", stdout);
  pthread_t thread;
  if (argc < 2)
    return 1;
  if (!strcmp(argv[1], "quick"))
    quick_exit(42);
  if (!strcmp(argv[1], "immediate"))
    _exit(42);
  if (!strcmp(argv[1], "wide"))
    return 42 + 256;
  if (!strcmp(argv[1], "thread")) {
    pthread_create(&thread, NULL, leave, NULL);
    pthread_join(thread, NULL);
  }
  if (!strcmp(argv[1], "leave-main")) {
    first = pthread_self();
    pthread_create(&thread, NULL, outlive, NULL);
    pthread_exit(NULL);
  }
  if (!strcmp(argv[1], "running-threads")) {
    pthread_create(&thread, NULL, forever, NULL);
    pthread_create(&thread, NULL, forever, NULL);
    return 42;
  }
  return 2;
}
