#include <pthread.h>
#include <stdio.h>
extern int library_data, library_array[4];
extern __thread int library_tls;
int library_function(int), library_constructed(void), library_call(int (*)(int), int);
static int twice(int x) { return 2 * x; }
static void *thread(void *result) {
  library_tls += 10;
  *(int *)result = library_function(0);
  return NULL;
}
int main(void) {
  library_data = 7;
  library_array[2] = 8;
  library_tls++;
  int in_thread;
  pthread_t id;
  pthread_create(&id, NULL, thread, &in_thread);
  pthread_join(id, NULL);
  printf("%d %d %d %d\n", library_function(1), library_constructed(), library_call(twice, 4), in_thread);
  return library_function(0) + 20;
}
