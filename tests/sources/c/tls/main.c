//#Status: 42
//#Flags: -pthread
//#Tls: yes
// Thread-local data: own, of the other file, static, aligned, large, in all models, in threads.
#include "tls.h"
#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

__thread int own = 1;
static __thread int own_static = 2;
static __thread long own_zero;
__thread __attribute__((aligned(64))) char aligned_here[64] = "aligned";
static __thread int *const pointer_to_data = &plain;
int plain = 5;

static int check(int id) {
  int faults = 0;
  faults += own != 1 || own_static != 2 || own_zero != 0;
  faults += strcmp(aligned_here, "aligned") != 0 || (uintptr_t)aligned_here % 64 != 0;
  faults += pointer_to_data != &plain;
  faults += there != 10 || there_zero[5] != 0 || *there_static() != 11;
  faults += initial_exec != 20 || *address_of(0) != 20 || address_of(0) != &initial_exec;
  faults += hidden_there != 30 || address_of(1) != &hidden_there;
  faults += local_dynamic_sum() != 1 + 2 + 3;
  faults += big_there()[9999] != 0;
  errno = id;
  own += id, own_static += id, own_zero += id, there += id, initial_exec += id, hidden_there += id;
  there_zero[5] = id, *there_static() += id, big_there()[9999] = id;
  faults += own != 1 + id || own_static != 2 + id || own_zero != id || there != 10 + id || *address_of(0) != 20 + id;
  faults += *there_static() != 11 + id || there_zero[5] != id || read_there() != 10 + id || errno != id;
  return faults;
}

static pthread_barrier_t barrier;
static void *thread(void *argument) {
  int id = (int)(intptr_t)argument;
  pthread_barrier_wait(&barrier);
  int *address = &own;
  int faults = check(id);
  pthread_barrier_wait(&barrier);
  faults += own != 1 + id || address != &own;
  return (void *)(intptr_t)faults;
}

int main(void) {
  enum { THREADS = 6 };
  pthread_t threads[THREADS];
  printf("main %d\n", check(100));
  pthread_barrier_init(&barrier, NULL, THREADS);
  for (int i = 0; i < THREADS; i++)
    if (pthread_create(&threads[i], NULL, thread, (void *)(intptr_t)(i + 1)))
      return 2;
  int total = 0;
  for (int i = 0; i < THREADS; i++) {
    void *faults;
    pthread_join(threads[i], &faults);
    total += (int)(intptr_t)faults;
  }
  printf("threads %d\n", total);
  printf("after %d %d %d\n", own, there, initial_exec);
  return total == 0 && own == 101 && there == 110 && initial_exec == 120 ? 42 : 1;
}
