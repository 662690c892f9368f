// Thread-local data of an alignment above that of the cache's lines, in two threads.
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
static __thread __attribute__((aligned(1024))) int zero;
static __thread __attribute__((aligned(256))) int value = 21;
static void *thread(void *result) {
  *(int *)result = value + (int)((uintptr_t)&zero % 1024 + (uintptr_t)&value % 256);
  return NULL;
}
int main(void) {
  int here, there;
  pthread_t id;
  pthread_create(&id, NULL, thread, &there);
  pthread_join(id, NULL);
  thread(&here);
  printf("%d %d\n", here, there);
  return here + there;
}
