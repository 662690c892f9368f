//#Status: 42
//#Flags: -pthread
// The library calls back: qsort, signal handlers, threads, cancellation, fork handlers.
#define _GNU_SOURCE
#include <pthread.h>
#include <search.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

int by_length(const void *a, const void *b);
void *worker(void *argument);
extern pthread_mutex_t lock;
extern pthread_cond_t changed;
extern int produced;

static volatile sig_atomic_t signals;
static void on_signal(int number, siginfo_t *info, void *context) {
  signals += number == SIGUSR1 && info->si_signo == SIGUSR1 && context != NULL;
}
static sigjmp_buf escape;
static void on_fault(int number) { siglongjmp(escape, number); }

static pthread_once_t once = PTHREAD_ONCE_INIT;
static int onces;
static void run_once(void) { onces++; }

static int cleaned;
static void clean(void *argument) { cleaned += *(int *)argument; }
static void *cancelled(void *argument) {
  int amount = 5;
  pthread_cleanup_push(clean, &amount);
  pthread_barrier_wait(argument);
  for (;;)
    pause();
  pthread_cleanup_pop(0);
  return NULL;
}

static pthread_key_t key;
static int destroyed;
static void destroy(void *value) { destroyed += *(int *)value; }
static void *with_key(void *argument) {
  pthread_once(&once, run_once);
  pthread_setspecific(key, argument);
  return NULL;
}

static int in_parent, in_child;
static void parent(void) { in_parent = 1; }
static void child(void) { in_child = 7; }

static void visit(const void *node, VISIT which, int depth) {
  (void)depth;
  if (which == postorder || which == leaf)
    printf("%s ", *(const char *const *)node);
}
static int compare(const void *a, const void *b) { return strcmp(a, b); }

int main(void) {
  const char *words[] = {"linker", "a", "relocation", "of", "the", "symbol"};
  qsort(words, 6, sizeof *words, by_length);
  void *root = NULL;
  for (int i = 0; i < 6; i++) {
    printf("%s ", words[i]);
    tsearch(words[i], &root, compare);
  }
  twalk(root, visit);
  puts("");

  struct sigaction action = {.sa_sigaction = on_signal, .sa_flags = SA_SIGINFO};
  volatile long nowhere = 0;
  sigaction(SIGUSR1, &action, NULL);
  raise(SIGUSR1);
  pthread_kill(pthread_self(), SIGUSR1);
  signal(SIGSEGV, on_fault);
  int fault = sigsetjmp(escape, 1);
  if (fault == 0)
    *(volatile int *)nowhere = 1;
  printf("signals %d fault %d\n", (int)signals, fault == SIGSEGV);

  pthread_t thread;
  int value = 3;
  pthread_create(&thread, NULL, worker, &value);
  pthread_mutex_lock(&lock);
  while (produced < 10)
    pthread_cond_wait(&changed, &lock);
  pthread_mutex_unlock(&lock);
  void *result;
  pthread_join(thread, &result);
  printf("produced %d %s\n", produced, (char *)result);

  pthread_key_create(&key, destroy);
  for (int i = 0; i < 3; i++) {
    pthread_create(&thread, NULL, with_key, &value);
    pthread_join(thread, NULL);
  }
  pthread_barrier_t barrier;
  pthread_barrier_init(&barrier, NULL, 2);
  pthread_create(&thread, NULL, cancelled, &barrier);
  pthread_barrier_wait(&barrier);
  pthread_cancel(thread);
  pthread_join(thread, &result);
  printf("once %d destroyed %d cancelled %d cleaned %d\n", onces, destroyed, result == PTHREAD_CANCELED, cleaned);

  pthread_atfork(NULL, parent, child);
  fflush(stdout);
  pid_t pid = fork();
  if (pid == 0)
    _exit(in_child + 10);
  int status;
  waitpid(pid, &status, 0);
  printf("fork %d %d\n", WEXITSTATUS(status), in_parent);
  return onces == 1 && destroyed == 9 && cleaned == 5 ? 42 : 1;
}
