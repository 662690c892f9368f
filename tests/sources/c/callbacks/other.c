#include <pthread.h>
#include <string.h>

pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
int produced;

int by_length(const void *a, const void *b) {
  const char *x = *(const char *const *)a, *y = *(const char *const *)b;
  int difference = (int)strlen(x) - (int)strlen(y);
  return difference ? difference : strcmp(x, y);
}

void *worker(void *argument) {
  for (int i = 0; i < 10; i++) {
    pthread_mutex_lock(&lock);
    produced++;
    pthread_cond_signal(&changed);
    pthread_mutex_unlock(&lock);
  }
  return *(int *)argument == 3 ? "worker done" : "worker got something else";
}
