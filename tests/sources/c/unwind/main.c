//#Status: 42
//#Flags: -fexceptions -pthread
// Unwinding through C frames of two files: backtrace, cleanup attributes, forced unwinding.
#define _GNU_SOURCE
#include <execinfo.h>
#include <pthread.h>
#include <stdio.h>
#include <unwind.h>

int descend(int depth, int (*bottom)(void));
extern int cleanups;

static _Unwind_Reason_Code count_frame(struct _Unwind_Context *context, void *count) {
  if (_Unwind_GetIP(context))
    ++*(int *)count;
  return _URC_NO_REASON;
}
static int frames(void) {
  int count = 0;
  _Unwind_Backtrace(count_frame, &count);
  return count;
}
static int traced(void) {
  void *addresses[100];
  return backtrace(addresses, 100);
}
static void *leave_deep(void *argument);
static int exit_thread(void) { pthread_exit("exited"); }
static void *leave_deep(void *argument) {
  (void)argument;
  descend(7, exit_thread);
  return "returned";
}

int main(void) {
  int shallow = descend(1, frames), deep = descend(11, frames);
  printf("frames differ by %d\n", deep - shallow);
  shallow = descend(1, traced), deep = descend(11, traced);
  printf("backtrace differs by %d\n", deep - shallow);
  printf("cleanups %d\n", cleanups);
  pthread_t thread;
  void *result;
  pthread_create(&thread, NULL, leave_deep, NULL);
  pthread_join(thread, &result);
  printf("thread %s, cleanups %d\n", (char *)result, cleanups);
  return deep - shallow == 10 ? 42 : 1;
}
